//! The services that a test pretends: a closure answers, what was asked is kept.

use super::server;
use crate::http::{Error, Request, Response};

/// Of a body, either way.
const BODY: usize = 1 << 20;

type Answer = Box<dyn FnMut(&Request) -> Result<Response, Error>>;

pub(crate) struct Service {
    pub(crate) granted: bool,
    pub(crate) answer: Option<Answer>,
    pub(crate) requests: Vec<Request>,
}

impl Default for Service {
    fn default() -> Self {
        Self {
            granted: true,
            answer: None,
            requests: Vec::new(),
        }
    }
}

pub(crate) fn send(request: &Request) -> Result<Response, Error> {
    // Taken out while it runs: an answer may look at the store, the clock or the log itself.
    let answer = server(|server| {
        if !server.http.granted || server.inline {
            return Err(Error::NotGranted);
        }
        if request.body.len() > BODY {
            return Err(Error::TooLarge);
        }
        server.http.requests.push(request.clone());
        server.http.answer.take().ok_or(Error::Refused)
    });
    let mut answer = answer?;
    let response = answer(request);
    server(|server| {
        server.http.answer.get_or_insert(answer);
    });
    match response {
        Ok(response) if response.body.len() > BODY => Err(Error::TooLarge),
        response => response,
    }
}

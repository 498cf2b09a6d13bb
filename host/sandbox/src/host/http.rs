//! `http`: refused to every plugin until requests can be granted by host.

use super::State;
use crate::bindings::plugin::http::{Host, HttpError, Request, Response};

impl Host for State {
    fn send(&mut self, _request: Request) -> Result<Response, HttpError> {
        Err(HttpError::NotGranted)
    }
}

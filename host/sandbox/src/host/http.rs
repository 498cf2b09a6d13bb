//! `http`: requests of a plugin, sent by the host. On the media path every one answers `not-granted` at once; elsewhere the
//! guest waits for the answer, which counts neither as its running time nor holds a thread.

use std::time::Duration;

use bytes::Bytes;
use wasmtime::{StoreContextMut, component::Linker};

use super::{State, turn::waiting};
use crate::{
    bindings::plugin::http::{Host, HttpError, Request, Response},
    hits::Limit,
    services,
};

/// For a request that names no time.
const USUAL: Duration = Duration::from_secs(3);

impl Host for State {
    fn send(&mut self, _request: Request) -> Result<Response, HttpError> {
        Err(HttpError::NotGranted)
    }
}

/// Replaces `send` by the one that waits.
pub(super) fn add_waiting(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.instance("wasmtx:plugin/http@0.1.0")?.func_wrap_async(
        "send",
        |mut store: StoreContextMut<'_, State>, (request,): (Request,)| {
            let client = store.data().outside.http.clone();
            Box::new(async move {
                let Some(client) = client else {
                    return Ok((Err(HttpError::NotGranted),));
                };
                let timeout = match request.timeout {
                    0 => USUAL,
                    millis => Duration::from_millis(millis.into()),
                };
                let timeout = timeout.min(store.data().limits.http_timeout);
                let answer = match understood(request) {
                    Ok(request) => {
                        let answer = waiting(&mut store, client.send(request, timeout)).await;
                        let place = &store.data().place;
                        match &answer {
                            Err(services::HttpError::Timeout) => place.hits.hit(Limit::HttpTimeout),
                            Err(services::HttpError::TooLarge) => place.hits.hit(Limit::HttpBody),
                            _ => {}
                        }
                        answer.map(shown).map_err(error)
                    }
                    Err(error) => Err(error),
                };
                Ok((answer,))
            })
        },
    )
}

/// The guest's request, if it is one.
fn understood(request: Request) -> Result<http::Request<Bytes>, HttpError> {
    let mut builder = http::Request::builder()
        .method(request.method.as_bytes())
        .uri(request.url);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    builder.body(request.body.into()).map_err(|_| HttpError::Other)
}

/// The answer as the guest sees it. Header values that are no text are left out.
fn shown(response: http::Response<Bytes>) -> Response {
    let headers = response.headers().iter();
    Response {
        status: response.status().as_u16(),
        headers: headers
            .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
            .collect(),
        body: response.into_body().into(),
    }
}

fn error(error: services::HttpError) -> HttpError {
    match error {
        services::HttpError::NotGranted => HttpError::NotGranted,
        services::HttpError::Refused => HttpError::Refused,
        services::HttpError::Timeout => HttpError::Timeout,
        services::HttpError::TooLarge => HttpError::TooLarge,
        services::HttpError::Tls => HttpError::Tls,
        services::HttpError::Other => HttpError::Other,
    }
}

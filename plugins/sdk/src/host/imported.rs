//! The server's functions as a component imports them.

use crate::bindings::imports::wasmtx::plugin::{clock, frame, proof, random as entropy};
use crate::{FrameError, FrameInfo, Part};

pub(crate) use crate::bindings::imports::wasmtx::plugin::frame::{Held, hold, read};
pub(crate) use crate::bindings::imports::wasmtx::plugin::log::log;
pub(crate) use crate::bindings::imports::wasmtx::plugin::{control, kv, metrics, notify, recording, storage};
pub(crate) use clock::{monotonic, now, offset};
pub(crate) use entropy::bytes as random;
pub(crate) use proof::verify;

pub(crate) fn splice(parts: &[Part<'_>]) -> Result<(), FrameError> {
    frame::splice(&lower(parts))
}

pub(crate) fn emit(info: FrameInfo, parts: &[Part<'_>]) -> Result<(), FrameError> {
    frame::emit(info, &lower(parts))
}

fn lower<'a>(parts: &'a [Part<'a>]) -> Vec<frame::Part<'a>> {
    let lower = |part: &'a Part<'a>| match part {
        Part::Bytes(bytes) => frame::Part::Bytes(bytes),
        Part::Original(range) => frame::Part::Original(frame::Slice {
            offset: range.start,
            len: range.end.saturating_sub(range.start),
        }),
        Part::Held(held) => frame::Part::Held(&held.0),
    };
    parts.iter().map(lower).collect()
}

pub(crate) mod http {
    use crate::bindings::imports::wasmtx::plugin::http::{self, HttpError, Response};
    use crate::http::Request;

    /// Lowers the request; without a timeout of its own it says 0, the server's bound.
    pub(crate) fn send(request: &Request) -> Result<Response, HttpError> {
        let headers: Vec<_> = request
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let timeout = request
            .timeout
            .map(|timeout| timeout.as_millis().try_into().unwrap_or(u32::MAX).max(1));
        http::send(http::Request {
            method: &request.method,
            url: &request.url,
            headers: &headers,
            body: &request.body,
            timeout: timeout.unwrap_or_default(),
        })
    }
}

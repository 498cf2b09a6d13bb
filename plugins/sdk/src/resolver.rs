//! The `resolver` role: where a stream comes from that somebody wants to read and nobody publishes.
//!
//! Asked off the media path while the reader waits, so it should answer within a second; it may wait for [`http`](crate::http) and
//! [`kv`](crate::kv). A plugin that fails answers nothing.

pub use crate::bindings::resolver::exports::wasmtx::plugin::resolver::Answer;
use crate::{Client, Plugin};

/// What a resolver does.
pub trait Resolver: Plugin {
    /// This client wants to read this path, has been let in, and nobody publishes there.
    fn resolve(&mut self, path: String, client: Client) -> Answer;
}

impl Answer {
    /// The server opens this URL (`rtsp://…`, whatever `source` of mediamtx.yml takes) and publishes it under the path while somebody reads it. A plugin
    /// reaches only the hosts that the operator allows.
    pub fn source(url: impl Into<String>) -> Self {
        Answer::Source(url.into())
    }

    /// The client is sent to another path.
    pub fn redirect(path: impl Into<String>) -> Self {
        Answer::Redirect(path.into())
    }
}

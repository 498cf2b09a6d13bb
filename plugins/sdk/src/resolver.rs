//! The `resolver` role: where a stream comes from that somebody wants to read and nobody publishes.
//!
//! Asked off the media path while the reader waits, so it should answer within a second; it may wait for [`http`](crate::http) and
//! [`kv`](crate::kv). A plugin that fails answers nothing.
//!
//! ```
//! use std::collections::HashMap;
//! use wasmtx_plugin::resolver::{Answer, Resolver};
//! use wasmtx_plugin::{Client, Error, Plugin};
//!
//! /// `camera/<name>` is the camera of that name.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Cameras {
//!     cameras: HashMap<String, String>,
//! }
//!
//! impl Plugin for Cameras {
//!     type Config = Self;
//!
//!     fn new(config: Self) -> Result<Self, Error> {
//!         Ok(config)
//!     }
//! }
//!
//! impl Resolver for Cameras {
//!     fn resolve(&mut self, path: String, _: Client) -> Answer {
//!         let address = path.strip_prefix("camera/").and_then(|name| self.cameras.get(name));
//!         match address {
//!             Some(address) => Answer::source(format!("rtsp://{address}/stream1")),
//!             None => Answer::Nothing,
//!         }
//!     }
//! }
//!
//! wasmtx_plugin::export!(Cameras: resolver);
//! # fn main() {
//! # use wasmtx_plugin::testing::{client, configure};
//! # let mut cameras: Cameras = configure(r#"{"cameras":{"door":"192.0.2.10"}}"#).unwrap();
//! # assert_eq!(cameras.resolve("camera/door".into(), client()), Answer::source("rtsp://192.0.2.10/stream1"));
//! # assert_eq!(cameras.resolve("door".into(), client()), Answer::Nothing);
//! # }
//! ```

/// Where the stream is. After `Nothing` the next resolver is asked; if there is none, the reader learns that nobody publishes there.
///
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

    /// The client is sent to another path, or to the URL of another server where its protocol can say so.
    pub fn redirect(to: impl Into<String>) -> Self {
        Answer::Redirect(to.into())
    }
}

//! A pretended server, so that `cargo test` can run plugins natively, without a component, a network or a clock.
//!
//! ```
//! use wasmtx_plugin::filter::Filter;
//! use wasmtx_plugin::testing::{Stream, configure, h264, key, publication};
//! # use wasmtx_plugin::{Error, NoConfig, Plugin};
//! # struct Slim;
//! # impl Plugin for Slim {
//! #     type Config = NoConfig;
//! #     fn new(_: NoConfig) -> Result<Self, Error> { Ok(Slim) }
//! # }
//! # impl Filter for Slim {}
//!
//! let slim: Slim = configure("{}").unwrap();
//! let mut stream = Stream::open(slim, publication("cam1", [h264(1)])).unwrap();
//! assert_eq!(stream.push(key(1, 0), b"picture").unwrap().len(), 1);
//! ```
//!
//! Every thread has a server of its own, and the test runner gives every test a thread.

mod samples;
mod stream;

use std::time::Duration;

use crate::host::server;
use crate::log::Level;
use crate::{Error, Plugin, config};

pub use samples::{client, delta, h264, key, opus, publication, request};
pub use stream::{Closed, Output, Stream};

/// A plugin from the JSON that the server would make of its `config` section, by the same way: what fails here fails there.
pub fn configure<P: Plugin>(json: &str) -> Result<P, Error> {
    P::new(config::parse(json)?)
}

/// Sets both clocks. They stand still otherwise, at first at zero.
pub fn set_clock(now: Duration) {
    server(|server| server.now = now.as_micros().try_into().unwrap_or(u64::MAX));
}

/// What the client under decision proved, for [`auth::verify`](crate::auth::verify).
pub fn set_proof(user: &str, secret: &str) {
    server(|server| server.proof = Some((user.to_owned(), secret.to_owned())));
}

/// The lines logged since the last call.
pub fn take_log() -> Vec<(Level, String)> {
    server(|server| std::mem::take(&mut server.lines))
}

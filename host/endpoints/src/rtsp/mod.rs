//! RTSP and RTSPS servers: one task per connection, all the words in `protocol::rtsp`.

mod access;
mod connection;
mod play;
mod ports;
mod record;
mod registry;
mod server;
mod wire;

pub use registry::{Conn, Counter, Details, Registry, Session, State, Traffic};
pub use server::{Config, Server, Transports};
pub use wasmtx_protocol::rtsp::auth::{Algorithm, Scheme};

#[cfg(test)]
mod tests;

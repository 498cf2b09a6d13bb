//! RTMP and RTMPS servers: one task per connection, all the words in `protocol::rtmp`.

mod connection;
mod form;
mod publish;
mod registry;
mod server;

pub use registry::{Conn, Counter, Details, Registry, State};
pub use server::{Config, Server};

#[cfg(test)]
mod tests;

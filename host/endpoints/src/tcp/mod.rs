//! What connections over TCP share, whatever they speak: the socket, and what waits to be written to it.

mod outgoing;
mod stream;

pub(crate) use outgoing::Outgoing;
pub(crate) use stream::{Io, Stream};

//! What connections over TCP share, whatever they speak: the socket, what waits to be written to it, and who writes.

mod crew;
mod follower;
mod outgoing;
mod pace;
mod stream;

pub(crate) use crew::{Crews, Feed, Hand, Membership, Over};
pub(crate) use follower::{Broadcast, Follower, Tally};
pub(crate) use outgoing::Outgoing;
pub(crate) use pace::Pace;
#[cfg(test)]
pub(crate) use stream::Duplex;
pub(crate) use stream::{Io, Stream};

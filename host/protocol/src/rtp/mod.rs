//! RTP (RFC 3550): packets, payload formats, reordering, RTCP.
//!
//! A publisher's media is a [`Receiver`]: RTP and RTCP in, frames out. A track that is read is one [`Packetizer`] for all
//! its readers, and a [`Sender`] per reader for the reports. SDP meets tracks in [`Format`].

#[cfg(test)]
mod capture_tests;
pub mod clock;
pub mod depacketize;
mod fmtp;
mod format;
pub mod packet;
pub mod packetize;
mod receiver;
pub mod reorder;
#[cfg(test)]
mod round_trip_tests;
pub mod rtcp;
mod sender;
mod statistics;
#[cfg(test)]
pub(crate) mod testing;

pub use clock::Timeline;
pub use format::Format;
pub use packetize::{Packetized, Packetizer};
pub use receiver::{Counts, Received, Receiver};
pub use reorder::Delivery;
pub use sender::Sender;

//! RTP packets into frames, one file per family of payload formats.
//!
//! Packets come in order, each with the news whether others were lost before it. A frame that a loss may have touched is
//! dropped and counted; the next whole one carries [`Unit::discontinuity`]. What the peer sends never sizes an
//! allocation: frames grow with the bytes that came, up to the bounds of `wasmtx_media`.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_possible_wrap
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

mod simple;

use bytes::Bytes;
use wasmtx_media::{Codec, Error, Flags};

use super::Format;
use super::packet::Packet;

/// One frame as it came out of packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// In the canonical form of the codec.
    pub payload: Bytes,
    /// The RTP timestamp.
    pub timestamp: u32,
    /// In ticks, 0 when unknown.
    pub duration: u32,
    /// What can be said about it.
    pub flags: Flags,
    /// The codec with new parameters, when the stream brought some just before this frame.
    pub codec: Option<Codec>,
}

/// Puts the packets of one track together.
#[derive(Debug)]
pub struct Depacketizer {
    kind: Kind,
    /// Frames dropped because something was missing or wrong in them.
    dropped: u64,
    /// The next frame comes after a loss.
    discontinuity: bool,
}

#[derive(Debug)]
enum Kind {
    Simple(simple::Depacketizer),
}

impl Depacketizer {
    /// For packets of `format`, which carries `codec`.
    pub fn new(_format: &Format, codec: &Codec) -> Depacketizer {
        let kind = Kind::Simple(simple::Depacketizer::new(codec));
        Depacketizer {
            kind,
            dropped: 0,
            discontinuity: false,
        }
    }

    /// Takes the next packet; `lost` when packets before it are missing. Appends the frames that are whole now. An error
    /// costs this packet and the frame it is part of, nothing else.
    pub fn handle(&mut self, packet: &Packet, lost: bool, frames: &mut Vec<Unit>) -> Result<(), Error> {
        self.discontinuity |= lost;
        let before = frames.len();
        let result = match &mut self.kind {
            Kind::Simple(simple) => simple.handle(packet, frames),
        };
        if let Some(first) = frames.get_mut(before) {
            first.flags = first
                .flags
                .set(Flags::DISCONTINUITY, std::mem::take(&mut self.discontinuity));
        }
        result
    }

    /// Whether part of a frame is held.
    pub fn is_pending(&self) -> bool {
        match &self.kind {
            Kind::Simple(_) => false,
        }
    }

    /// Frames dropped so far because something was missing or wrong in them.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

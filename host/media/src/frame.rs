//! One coded picture or audio frame, in the form that every room understands.

use crate::{Payload, TrackId};

/// One coded picture or audio frame.
///
/// Timestamps count in ticks of the track's clock ([`crate::Track::clock_rate`]) from an arbitrary start and do not
/// wrap. The payload is reference-counted: cloning a frame and slicing its payload copy nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The track of the publication that this frame belongs to.
    pub track: TrackId,
    /// Counts the track's frames from 0, stamped by the hub when the frame is published.
    pub number: u64,
    /// Presentation time, in ticks.
    pub pts: i64,
    /// Decoding time, in ticks. Never decreases within a track.
    pub dts: i64,
    /// Duration in ticks, 0 when unknown.
    pub duration: u32,
    /// When the frame was captured, as the sender says or as the server estimates; `None` until known.
    pub wall: Option<WallClock>,
    /// What can be said about the frame without looking into it.
    pub flags: Flags,
    /// The coded bytes in the canonical form of the track's [`crate::Codec`].
    pub payload: Payload,
}

/// Microseconds since 1970-01-01 00:00 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock(pub u64);

/// What can be said about a frame without looking into it. The bits are those of `frame-info` in `wit/plugin.wit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl Flags {
    /// Nothing is known about the frame.
    pub const NONE: Flags = Flags(0);
    /// Decoding may start here.
    pub const KEY: Flags = Flags(1);
    /// Something was lost or the clock jumped just before this frame.
    pub const DISCONTINUITY: Flags = Flags(2);
    /// No other frame needs this one.
    pub const DISPOSABLE: Flags = Flags(4);
    /// The RTP marker bit of a [`crate::Codec::Generic`] track's packet.
    pub const MARKER: Flags = Flags(8);

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags with the bits of `other` set.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// These flags with the bits of `other` set or cleared.
    #[must_use]
    pub const fn set(self, other: Flags, on: bool) -> Flags {
        if on {
            Flags(self.0 | other.0)
        } else {
            Flags(self.0 & !other.0)
        }
    }
}

impl Frame {
    /// Whether decoding may start at this frame.
    pub fn is_key(&self) -> bool {
        self.flags.contains(Flags::KEY)
    }
}

//! What goes into a part and what comes out: frames whose payloads may be anything that stands for bytes.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::Bytes;

use crate::{Flags, Payload, TrackId};

/// What a [`Writer`](super::Writer) must know of a payload. It is bytes, or stands for bytes that are elsewhere: a plugin's handle, a
/// range of a file.
pub trait Body {
    /// Bytes in it.
    fn size(&self) -> usize;

    /// Copies the first bytes, as many as fit and are there. Asked of the first frame of a track whose header needs it
    /// (VP9, M-JPEG, AC-3, MPEG audio).
    fn lead(&self, into: &mut [u8]);
}

impl Body for Payload {
    fn size(&self) -> usize {
        self.len()
    }

    fn lead(&self, into: &mut [u8]) {
        Payload::lead(self, into);
    }
}

impl Body for Bytes {
    fn size(&self) -> usize {
        self.len()
    }

    fn lead(&self, into: &mut [u8]) {
        into.iter_mut().zip(self).for_each(|(to, from)| *to = *from);
    }
}

/// A frame as it stands in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample<P> {
    /// Its track.
    pub track: TrackId,
    /// Presentation time, in ticks of the track.
    pub pts: i64,
    /// Decoding time, in ticks of the track.
    pub dts: i64,
    /// In ticks; 0 when unknown.
    pub duration: u32,
    /// Whether decoding may start here, whether others need it.
    pub flags: Flags,
    /// Its bytes, or what stands for them.
    pub payload: P,
}

/// One part: `moof` and `mdat`. A file is the header and its parts, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Part<P = Payload> {
    /// `moof`, and the beginning of `mdat`.
    pub head: Bytes,
    /// What follows it.
    pub body: Vec<Piece<P>>,
}

/// A piece of the body of a part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece<P> {
    /// Bytes that the writer made: parameter sets in front of a keyframe.
    Inline(Bytes),
    /// A frame as it was pushed.
    Payload(P),
}

impl Part {
    /// All bytes of the part, in order.
    pub fn chunks(&self) -> impl Iterator<Item = &Bytes> {
        let body = self.body.iter().flat_map(|piece| match piece {
            Piece::Inline(bytes) => std::slice::from_ref(bytes),
            Piece::Payload(payload) => payload.pieces(),
        });
        std::iter::once(&self.head).chain(body)
    }
}

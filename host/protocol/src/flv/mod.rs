//! FLV tags, as RTMP and HTTP-FLV share them: the classic ones (Adobe Flash Video File Format Specification 10.1, annex E)
//! and those of Enhanced RTMP (Veovera, version 2), which name codecs by a FourCC and may carry several tracks.
//!
//! ```text
//! frames ── Choice (what a player takes) ── Muxer ──► Tag ── file::put, or a chunk writer ──► bytes
//! bytes ── file::Reader, or a chunk reader ──► Tag ── Demuxer ──► tracks and frames
//! ```
//!
//! A frame's payload is in the form of a tag already (NAL units behind four bytes of length, raw AAC, …): what is made of
//! it is a header of a few bytes in front.

mod choice;
mod clock;
mod coding;
mod demuxer;
pub mod file;
mod lane;
mod muxer;
mod packet;
#[cfg(test)]
mod tests;

use bytes::Bytes;

pub use choice::{Capabilities, Choice};
pub use demuxer::{Demuxer, Output};
pub use muxer::{Muxer, milliseconds, timestamp};

/// What a tag holds; the number is also the type of an RTMP message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Sound.
    Audio,
    /// Pictures.
    Video,
    /// Values in AMF0: metadata.
    Script,
}

impl Kind {
    /// Of a tag's or message's type; `None` for all that are not media.
    pub fn of(number: u8) -> Option<Kind> {
        match number {
            8 => Some(Kind::Audio),
            9 => Some(Kind::Video),
            18 => Some(Kind::Script),
            _ => None,
        }
    }

    /// The type on the wire.
    pub fn number(self) -> u8 {
        match self {
            Kind::Audio => 8,
            Kind::Video => 9,
            Kind::Script => 18,
        }
    }
}

/// One tag without its framing: also what one RTMP message of media carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tag {
    /// What it holds.
    pub kind: Kind,
    /// Decoding time in milliseconds, modulo 2^32.
    pub timestamp: u32,
    /// Header of the codec and data.
    pub payload: Bytes,
}

/// Why a stream of tags cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bytes do not begin as an FLV file does.
    #[error("not an FLV file")]
    NotFlv,
    /// A tag is encrypted.
    #[error("encrypted FLV")]
    Encrypted,
    /// Every track that came was refused.
    #[error("no track that can be read")]
    NoTracks,
}

//! The frame at hand: metadata by value, bytes only when asked for, changes as parts that the server joins.

use std::ops::{Deref, Range};

pub use crate::bindings::imports::wasmtx::plugin::frame::FrameError;
use crate::{FrameInfo, host};

const KEY: u32 = 1;
const DISCONTINUITY: u32 = 1 << 1;
const DISPOSABLE: u32 = 1 << 2;
const MARKER: u32 = 1 << 3;

/// One coded picture or piece of audio, while [`Filter::frame`](crate::filter::Filter::frame) looks at it. Dereferences to its metadata.
///
/// The payload has one form per codec, whatever protocol it came by: H264 and H265 are one access unit of NAL units with 4-byte lengths before
/// them, parameter sets live in the track; AV1 is one temporal unit; AAC one raw access unit; the rest one frame or packet.
#[derive(Debug)]
pub struct Frame {
    info: FrameInfo,
}

impl Frame {
    #[doc(hidden)]
    pub fn new(info: FrameInfo) -> Self {
        Self { info }
    }

    /// Copies a range of the payload here. A range past the end reads as less, or nothing.
    pub fn read(&self, range: Range<u32>) -> Vec<u8> {
        host::read(range.start, range.end.saturating_sub(range.start))
    }

    /// Copies the whole payload here.
    pub fn payload(&self) -> Vec<u8> {
        self.read(0..self.info.size)
    }

    /// Keeps the bytes past this call without copying them. They count against the plugin's quota until dropped.
    pub fn hold(&self) -> Result<Held, FrameError> {
        host::hold().map(Held)
    }

    /// Gives this frame a new payload, joined from these parts. Takes effect with [`Verdict::Pass`](crate::filter::Verdict::Pass); the last call counts.
    /// Cheap for frames of any size, because original bytes do not pass through the plugin.
    pub fn splice(&self, parts: &[Part<'_>]) -> Result<(), FrameError> {
        host::splice(parts)
    }
}

impl FrameInfo {
    /// Can decoding start here?
    pub fn is_key(&self) -> bool {
        self.flags & KEY != 0
    }

    /// Was something lost just before this frame?
    pub fn is_discontinuous(&self) -> bool {
        self.flags & DISCONTINUITY != 0
    }

    /// Does no other frame need this one?
    pub fn is_disposable(&self) -> bool {
        self.flags & DISPOSABLE != 0
    }

    /// The RTP marker bit, on tracks whose codec the server does not know.
    pub fn has_marker(&self) -> bool {
        self.flags & MARKER != 0
    }

    /// The first sixteen bytes of the payload (zeros past its end), without a call to the server.
    pub fn lead(&self) -> [u8; 16] {
        (u128::from(self.lead_high) << 64 | u128::from(self.lead_low)).to_be_bytes()
    }
}

impl Deref for Frame {
    type Target = FrameInfo;

    fn deref(&self) -> &FrameInfo {
        &self.info
    }
}

/// Sends one more frame, before the one at hand. `info` says what it is (its `size` and `lead_*` are the server's to fill in). Works in
/// [`Filter::frame`](crate::filter::Filter::frame) and [`Filter::close`](crate::filter::Filter::close).
pub fn emit(info: FrameInfo, parts: &[Part<'_>]) -> Result<(), FrameError> {
    host::emit(info, parts)
}

/// A piece of a new payload.
#[derive(Debug)]
pub enum Part<'a> {
    /// The plugin's own bytes.
    Bytes(&'a [u8]),
    /// A range of the frame at hand. [`FrameError::Range`] if it is not all there.
    Original(Range<u32>),
    /// All of a frame that was held.
    Held(&'a Held),
}

/// The payload of a frame that the server keeps for the plugin. Dropping it frees it.
#[derive(Debug)]
pub struct Held(pub(crate) host::Held);

impl Held {
    /// Bytes in it.
    pub fn size(&self) -> u32 {
        self.0.size()
    }

    /// Copies a range of it here. A range past the end reads as less, or nothing.
    pub fn read(&self, range: Range<u32>) -> Vec<u8> {
        self.0.read(range.start, range.end.saturating_sub(range.start))
    }
}

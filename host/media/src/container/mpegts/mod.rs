//! MPEG transport streams (ISO/IEC 13818-1): [`Muxer`] makes one out of frames, [`Demuxer`] takes one apart, [`whole`]
//! tells how much of a file that was cut off can be kept, and [`span`] from when to when one lasts; a [`View`] makes
//! a recorded one look like an MP4.
//!
//! ```text
//! packets, 188 bytes each:  PAT  PMT  video video video …  audio  video …  PAT  PMT  video (key) …
//! a packet:                 0x47 | error, start, priority | PID (13) | scrambling, adaptation, counter | adaptation | payload
//! ```
//!
//! | codec | stream type | in the payload of a PES packet |
//! |---|---|---|
//! | H264, H265 | 0x1b, 0x24 | one access unit as a byte stream (Annex B), delimiter first, parameter sets before keyframes |
//! | AAC | 0x0f | access units behind ADTS headers |
//! | MP3 | 0x03, 0x04 | frames |
//! | AC-3 | 0x81, "AC-3" | frames |
//! | Opus | 0x06, "Opus" | packets behind control headers (ETSI TS 103 491-1 annex B, "Opus in MPEG-TS") |

mod clock;
mod demux;
mod elementary;
mod mux;
mod packet;
mod pes;
mod recovery;
mod section;
mod stream;
mod view;

pub use demux::{Demuxer, Step};
pub use mux::Muxer;
pub use packet::PACKET;
pub use recovery::{Span, span, whole};
pub use view::View;

/// Ticks per second of all times of a stream.
pub const CLOCK_RATE: u32 = 90_000;
/// Tracks of a stream.
pub const MAX_TRACKS: usize = 16;
/// What [`Muxer`] stamps on the moment at which a stream begins, in ticks of [`CLOCK_RATE`]: room for what is decoded
/// before it, and for the clock that runs ahead of the pictures.
pub const START: i64 = 90_000;

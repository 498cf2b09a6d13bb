//! MP4 (ISO/IEC 14496-12): [`read`] takes a file apart, plain or fragmented; [`Writer`] makes the parts of a fragmented
//! one. Files that are not in memory: [`whole`] says how much of one that was cut off there is, [`recorded`] reads and cuts
//! its parts where they are. Sample entries are those of ISO/IEC 14496-15 (H.264, H.265), of the AV1, VP9 and Opus bindings and of
//! ISO/IEC 14496-14 (AAC).
//!
//! ```text
//! plain:       ftyp  moov(every track with its sample tables)  mdat(all samples)
//! fragmented:  ftyp  moov(tracks, tables empty)  moof(times, sizes) mdat(samples)  moof mdat  …
//! ```

mod boxes;
mod budget;
mod describe;
mod entry;
mod first;
mod fragment;
mod header;
mod part;
mod read;
pub mod recorded;
mod segment;
mod table;
#[cfg(test)]
mod tests;
mod track;
mod whole;
mod write;
#[cfg(test)]
mod write_tests;

pub use part::{Body, Part, Piece, Sample};
pub use read::{Movie, Step, read};
pub use segment::Segment;
pub use whole::{Whole, whole};
pub use write::Writer;

/// Tracks of a file.
pub const MAX_TRACKS: usize = 16;
/// Samples of a file that hold no byte: all others are bounded by the file itself.
const MAX_EMPTY_SAMPLES: usize = 4_096;
/// Samples that are listed and not there: what a recording that was cut off may have lost.
const MAX_MISSING_SAMPLES: usize = 1 << 20;
/// Times beyond this are no media any more; within it sums do not overflow.
const MAX_TIME: i64 = 1 << 60;
/// Bytes of the samples of one part: a box of 32 bits has room for them.
const MAX_PART_BYTES: usize = 512 << 20;
/// Samples of one part.
const MAX_PART_SAMPLES: usize = 1 << 16;

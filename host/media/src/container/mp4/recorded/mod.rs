//! Recordings as they lie on a disk, read without taking them apart: fragmented files whose parts are copied, moved in time,
//! cut, or listed in the tables of a plain file.
//!
//! [`read`](super::read) makes frames of a file that is held whole. A range of a day's recording is not: here a caller walks
//! over the file box by box, shows each `moof` to these functions, and sends payloads from where they lie. Sample entries are
//! kept as the bytes they are, so that what a recorder wrote is what a player gets.
//!
//! ```text
//! ftyp  moov(tracks, udta(mtxi))  moof mdat  moof mdat  …
//!       |------- Header ------|    |- samples, shift, cut
//! ```

mod header;
mod movie;
mod part;
mod table;
#[cfg(test)]
mod tests;

pub use super::{fragment::Sample, track::Track};
pub use header::Header;
pub use movie::{Presentation, fragmented, progressive};
pub use part::{Cut, Cutting, Placed, samples, shift};
pub use table::{Entry, Table, TableKind, Tally};

/// Samples of one part. Tables of a part that large are as large as a part of playback may be in memory.
pub const MAX_SAMPLES: u32 = 16_384;

//! One file of a recording, as whoever lists and plays it sees it.

use std::sync::Arc;

use wasmtx_hub::PathName;
use wasmtx_media::recording::Format;

use crate::storage::Place;

/// A file of a recording.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Segment {
    /// When it begins, by its name: microseconds since 1970.
    pub start: u64,
    /// Microseconds; of a file that is being written, or that nobody has looked into ([`Segment::known`]), a guess.
    pub duration: u64,
    /// Bytes that are there.
    pub size: u64,
    /// The file, below the directory of its path's recordings.
    pub file: Arc<str>,
    /// How it is written.
    pub format: Format,
    /// It is being written.
    pub active: bool,
    /// Its recorder, or somebody who looked into it, has said how long it is and what it joins.
    pub known: bool,
    /// Its place in its recording, if the recorder noted that.
    pub join: Option<Join>,
    /// A number that files share whose tracks are the same in every respect; 0 when that is not known.
    pub tracks: u64,
}

impl Segment {
    /// Microseconds since 1970 at its end.
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.duration)
    }
}

/// Where a file stands in its recording: what `mtxi` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Of all files that were written without a change of tracks.
    pub stream: [u8; 16],
    /// Rises by one from file to file.
    pub number: u64,
    /// Nanoseconds between the beginning of the recording and that of the file.
    pub dts: i64,
}

/// What a recorder says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The recorded path.
    pub path: PathName,
    /// Where the recorder may write.
    pub place: Place,
    /// The file, below that place.
    pub file: String,
    /// When its first frame was taken: microseconds since 1970.
    pub start: u64,
    /// Microseconds; 0 while it is being written.
    pub duration: u64,
}

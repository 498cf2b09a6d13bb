//! Files below the directory, or the prefix of an object store, that the operator granted (`grant: { storage: ./data }` in mediamtx.yml).
//!
//! Names are up to 16 segments joined by `/` (`cam1/2026-11-22.log`), 1,024 bytes in all; a segment is up to 255 bytes of printable characters, and
//! neither `.` nor `..`; others are [`Error::NotGranted`]. So a path's name with an ending is a name for a file. Directories come and go with their files. The operator may set a quota for all files together ([`Error::Quota`]); the disk may be [`Error::Full`] before. An instance
//! writes at most 16 files at a time. Filters and transcoders, which may not wait, get [`Error::NotGranted`].
//!
//! ```
//! use wasmtx_plugin::storage::{self, File};
//!
//! # fn main() -> Result<(), storage::Error> {
//! let mut file = File::create("cam1/notes.txt")?;
//! file.append("12:00 the door opened\n")?;
//! file.commit()?;
//! file.append("12:01 the door closed\n")?;
//! file.finish()?;
//! assert_eq!(storage::list("cam1/")?[0].size, 44);
//! # Ok(())
//! # }
//! ```

use std::ops::Range;

use crate::bindings::imports::wasmtx::plugin::frame::Slice;
/// A file as [`list`] shows it.
pub use crate::bindings::imports::wasmtx::plugin::storage::Entry;
pub use crate::bindings::imports::wasmtx::plugin::storage::StorageError as Error;
use crate::{Held, host};

/// A file that is being written: it only grows. Dropping it leaves what was appended, [`finish`](File::finish) says that it is whole.
///
/// The server collects what is appended until it is committed, and writes it at once, so an error may be about bytes that an earlier call took; after
/// one, nothing more is written to this file, and [`finish`](File::finish) closes it as it was when it was last committed, if the disk still lets it. What
/// [`commit`](File::commit) or [`finish`](File::finish) answered is there. Up to 64 MiB wait for a commit, and for ten seconds; a file that is never committed
/// is written after a second.
#[derive(Debug)]
pub struct File(host::storage::File);

impl File {
    /// A new file; one of that name is replaced.
    pub fn create(name: &str) -> Result<Self, Error> {
        host::storage::create(name).map(Self)
    }

    /// Adds bytes at the end. Answers the length so far. They are on their way, not safe before [`commit`](File::commit).
    pub fn append(&mut self, data: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.0.append(data.as_ref())
    }

    /// Adds the bytes of a frame, which do not pass through the plugin: its cost does not grow with the frame.
    pub fn append_held(&mut self, data: &Held) -> Result<u64, Error> {
        self.0.append_held(&data.0, None)
    }

    /// Adds a part of a frame. A range past its end adds less, or nothing.
    pub fn append_held_range(&mut self, data: &Held, range: Range<u32>) -> Result<u64, Error> {
        let slice = Slice {
            offset: range.start,
            len: range.end.saturating_sub(range.start),
        };
        self.0.append_held(&data.0, Some(slice))
    }

    /// Waits until everything appended so far would survive a power cut. Answers that length. Takes as long as the disk does: once a second is often,
    /// once a frame too often.
    pub fn commit(&mut self) -> Result<u64, Error> {
        self.0.commit()
    }

    /// The file is whole: commits it and closes it for good. Answers its length.
    pub fn finish(self) -> Result<u64, Error> {
        self.0.finish()
    }
}

/// Copies a part of a file here, at most the 8 MiB that one call may carry. What is past its end reads as less, or nothing.
pub fn read(name: &str, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
    host::storage::read(name, offset, len)
}

/// The files whose names begin with this, sorted by name, at most 4,096. `modified` counts microseconds since 1970.
pub fn list(prefix: &str) -> Result<Vec<Entry>, Error> {
    host::storage::list(prefix)
}

/// Gives a file another name, in one step; one of that name is replaced. Files come under their name whole if they are written under another.
pub fn rename(from: &str, to: &str) -> Result<(), Error> {
    host::storage::rename(from, to)
}

/// Removes a file.
pub fn remove(name: &str) -> Result<(), Error> {
    host::storage::remove(name)
}

//! Where recordings come from.

use std::{io, sync::Arc};

use bytes::Bytes;
use wasmtx_media::recording::Format;

/// A recorded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Microseconds since 1970 at its beginning.
    pub start: u64,
    /// Microseconds that it lasts; 0: not known.
    pub duration: u64,
    /// Bytes that are on the disk.
    pub size: u64,
    /// Its name.
    pub file: Arc<str>,
    /// What it is written in.
    pub format: Format,
    /// It still grows.
    pub active: bool,
    /// Its place in its recording, if the recorder noted it.
    pub join: Option<Join>,
    /// A number that files with the same tracks share; 0: not known.
    pub tracks: u64,
}

/// The place of a file in its recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// Of all files of the recording.
    pub stream: [u8; 16],
    /// Rises by one from file to file.
    pub number: u64,
    /// Nanoseconds between the beginning of the recording and that of the file.
    pub dts: i64,
}

/// The recordings of all paths. Every call waits for the disk.
pub trait Library: Send + Sync + 'static {
    /// The files of a path, oldest first; `None` when no entry of the configuration is for it.
    ///
    /// # Errors
    /// The disk's.
    fn segments(&self, path: &str) -> io::Result<Option<Arc<[Segment]>>>;

    /// Opens one. What is open stays readable when the file is deleted.
    ///
    /// # Errors
    /// The disk's.
    fn open(&self, path: &str, segment: &Segment) -> io::Result<Box<dyn Reader>>;
}

/// An open file.
pub trait Reader: Send {
    /// Up to `len` bytes from `offset` on; fewer only at the end of the file.
    ///
    /// # Errors
    /// The disk's.
    fn read_at(&self, offset: u64, len: u32) -> io::Result<Bytes>;
}

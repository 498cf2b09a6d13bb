//! Where recordings come from.

use std::{io, sync::Arc};

use bytes::Bytes;
use wasmtx_hub::PathName;

use crate::{
    recording::{self, Archive, Segment},
    storage,
};

/// The recordings of all paths. Every call waits for the disk.
pub(super) trait Library: Send + Sync + 'static {
    /// The files of a path, oldest first; `None` when no entry of the configuration is for it. Those that have a part between
    /// two times, microseconds since 1970, are looked into if nobody has.
    fn segments(&self, path: &PathName, within: Option<(u64, u64)>) -> io::Result<Option<Arc<[Segment]>>>;

    /// Opens one. What is open stays readable when the file is deleted.
    fn open(&self, path: &PathName, segment: &Segment) -> io::Result<Box<dyn Reader>>;
}

/// An open file.
pub(super) trait Reader: Send {
    /// Up to `len` bytes from `offset` on; fewer only at the end of the file.
    fn read_at(&self, offset: u64, len: u32) -> io::Result<Bytes>;
}

impl Library for Archive {
    fn segments(&self, path: &PathName, within: Option<(u64, u64)>) -> io::Result<Option<Arc<[Segment]>>> {
        let found = match within {
            Some((from, to)) => self.probed(path, from, to),
            None => Archive::segments(self, path),
        };
        match found {
            Ok(segments) => Ok(Some(segments)),
            Err(recording::Error::UnknownPath) => Ok(None),
            Err(error) => Err(io::Error::other(error)),
        }
    }

    fn open(&self, path: &PathName, segment: &Segment) -> io::Result<Box<dyn Reader>> {
        match Archive::open(self, path, segment) {
            Ok(reader) => Ok(Box::new(reader)),
            Err(recording::Error::NotFound | recording::Error::UnknownPath) => Err(io::ErrorKind::NotFound.into()),
            Err(error) => Err(io::Error::other(error)),
        }
    }
}

impl Reader for storage::Reader {
    fn read_at(&self, offset: u64, len: u32) -> io::Result<Bytes> {
        storage::Reader::read_at(self, offset, len).map_err(|error| match error {
            storage::Error::NotFound => io::ErrorKind::NotFound.into(),
            error => io::Error::other(error),
        })
    }
}

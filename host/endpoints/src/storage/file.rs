//! A file that is being written.

use std::{
    fs::File,
    io::{self, IoSlice, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use rustix::io::Errno;
use wasmtx_hub::PathName;

use super::{Error, tree::Tree};

/// Parts handed to one system call (`IOV_MAX`).
const PARTS: usize = 1_024;

/// A file open for appending. Dropped without [`Writer::finish`], it keeps what was appended.
#[derive(Debug)]
pub struct Writer {
    tree: Arc<Tree>,
    file: File,
    /// Shared with the tree, which asks for it when the name goes to another file.
    length: Arc<AtomicU64>,
}

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Writer {
    pub(super) fn create(tree: Arc<Tree>, name: PathName) -> Result<Writer, Error> {
        let length = Arc::default();
        let file = tree.create(name, &length)?;
        Ok(Writer {
            tree,
            file: file.into(),
            length,
        })
    }

    /// Adds bytes at the end, one part after the other; answers the length then. Of what does not fit as a whole
    /// nothing is added; what the disk refuses may be there in part.
    pub fn append(&mut self, parts: &[Bytes]) -> Result<u64, Error> {
        let wanted = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        self.tree.reserve(wanted)?;
        let mut written = 0;
        let done = parts
            .chunks(PARTS)
            .try_for_each(|parts| self.write(parts, &mut written));
        self.length.fetch_add(written, Relaxed);
        self.tree.release(wanted.saturating_sub(written));
        done.map_err(full)?;
        Ok(self.length.load(Relaxed))
    }

    fn write(&mut self, parts: &[Bytes], written: &mut u64) -> io::Result<()> {
        let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut left = &mut slices[..];
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match self.file.write_vectored(left) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(length) => {
                    *written += length as u64;
                    IoSlice::advance_slices(&mut left, length);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What was appended survives a power cut once this returns; answers the durable length.
    pub fn commit(&mut self) -> Result<u64, Error> {
        self.file.sync_data().map_err(full)?;
        Ok(self.length.load(Relaxed))
    }

    /// Commits and closes.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.commit()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.tree.close(&self.length);
    }
}

fn full(error: io::Error) -> Error {
    match Errno::from_io_error(&error) {
        Some(error) => error.into(),
        None => error.into(),
    }
}

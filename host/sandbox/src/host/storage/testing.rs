//! Disks for unit tests.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::services::{Append, Directory, StorageError, Stored};

type Answer<T> = Result<T, StorageError>;

/// One file with so much room, and how often it was written and committed.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) room: Mutex<usize>,
    pub(super) content: Mutex<Vec<u8>>,
    pub(super) writes: Mutex<usize>,
    pub(super) commits: Mutex<usize>,
    /// Commits fail from now on.
    pub(super) is_broken: Mutex<bool>,
}

pub(super) struct Sheet(pub(super) Arc<Disk>);

impl Append for Sheet {
    fn append(&mut self, parts: &[Bytes]) -> Answer<u64> {
        let mut content = self.0.content.lock();
        let wanted: usize = parts.iter().map(Bytes::len).sum();
        *self.0.writes.lock() += 1;
        if content.len() + wanted > *self.0.room.lock() {
            return Err(StorageError::Full);
        }
        parts.iter().for_each(|part| content.extend_from_slice(part));
        Ok(content.len() as u64)
    }

    fn commit(&mut self) -> Answer<u64> {
        *self.0.commits.lock() += 1;
        if *self.0.is_broken.lock() {
            return Err(StorageError::Io);
        }
        Ok(self.0.content.lock().len() as u64)
    }

    fn finish(&mut self) -> Answer<u64> {
        self.commit()
    }
}

/// Nothing in here is asked for anything.
pub(super) struct Empty;

impl Directory for Empty {
    fn create(&self, _: &str) -> Answer<Box<dyn Append>> {
        Err(StorageError::Io)
    }

    fn read(&self, _: &str, _: u64, _: u32) -> Answer<Bytes> {
        Err(StorageError::NotFound)
    }

    fn list(&self, _: &str) -> Answer<Vec<Stored>> {
        Ok(Vec::new())
    }

    fn rename(&self, _: &str, _: &str) -> Answer<()> {
        Err(StorageError::NotFound)
    }

    fn remove(&self, _: &str) -> Answer<()> {
        Err(StorageError::NotFound)
    }
}

//! The files that plugins keep, in the words of the sandbox.

use std::sync::Arc;

use bytes::Bytes;
use wasmtx_endpoints::storage::{self, Directories, Options, Quota};
use wasmtx_sandbox::services::{Append, Directory, MinFree, Place, Storage, StorageError, StorageGrant, Stored};

/// The directories of plugins. All versions of a plugin share the room of theirs.
pub(super) struct Files(pub(super) Arc<Directories>);

impl Storage for Files {
    fn directory(&self, grant: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        let opened = self.0.open(&place(&grant.place), options(grant));
        let opened = opened.map_err(|error| format!("{}: {error}", grant.place))?;
        // How recordings end is looked at by who knows their format.
        if !grant.public {
            opened.leftovers_recovered();
        }
        Ok(Arc::new(Below(opened)))
    }
}

/// A place of one room in the words of the other.
pub(crate) fn place(place: &Place) -> storage::Place {
    match place {
        Place::Directory(directory) => storage::Place::Directory(directory.clone()),
        Place::Objects(url) => storage::Place::Objects(url.clone()),
    }
}

fn options(grant: &StorageGrant) -> Options {
    let mut options = Options::default();
    options.quota = grant.quota.map(|bytes| {
        let mut quota = Quota::default();
        quota.bytes = bytes;
        quota
    });
    options.min_free = match grant.min_free {
        MinFree::Usual => storage::MinFree::Usual,
        MinFree::Bytes(bytes) => storage::MinFree::Bytes(bytes),
    };
    options.public = grant.public;
    // Others look at what is recorded, and it is recorded once.
    options.keep = grant.public;
    options
}

struct Below(storage::Directory);

impl Directory for Below {
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError> {
        let writer = self.0.create(name).map_err(refusal)?;
        Ok(Box::new(Open(Some(writer))))
    }

    fn read(&self, name: &str, offset: u64, len: u32) -> Result<Bytes, StorageError> {
        self.0.read(name, offset, len).map_err(refusal)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Stored>, StorageError> {
        let entries = self.0.list(prefix).map_err(refusal)?.into_iter();
        let stored = entries.map(|entry| Stored {
            name: entry.name,
            size: entry.size,
            modified: entry.modified,
        });
        Ok(stored.collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.0.rename(from, to).map_err(refusal)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.0.remove(name).map_err(refusal)
    }
}

/// A file until it is finished.
struct Open(Option<storage::Writer>);

impl Append for Open {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        self.0.as_mut().ok_or(StorageError::Io)?.append(parts).map_err(refusal)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        self.0.as_mut().ok_or(StorageError::Io)?.commit().map_err(refusal)
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        self.0.take().ok_or(StorageError::Io)?.finish().map_err(refusal)
    }
}

fn refusal(error: storage::Error) -> StorageError {
    match error {
        storage::Error::NotGranted => StorageError::NotGranted,
        storage::Error::Quota => StorageError::Quota,
        storage::Error::Full => StorageError::Full,
        storage::Error::NotFound => StorageError::NotFound,
        error => {
            tracing::warn!("a plugin's file: {error}");
            StorageError::Io
        }
    }
}

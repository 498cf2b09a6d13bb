//! The directory that a plugin keeps files below.
//!
//! Names are path names ([`PathName`]), and every step below the directory is taken by the kernel with the order not to
//! leave it and not to follow symbolic links (`openat2`), so neither a name nor something that was planted leads out.
//! How much is there is counted per directory, not per user of it: all versions of a plugin share one [`Directory`].
//!
//! Everything here waits for the disk; call it where waiting is allowed.

mod file;
mod tree;

use std::{
    collections::BTreeMap,
    fs::DirBuilder,
    io,
    os::unix::fs::DirBuilderExt,
    path::Path,
    sync::{Arc, Weak},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::io::Errno;
use wasmtx_hub::PathName;

use tree::Tree;

pub use file::Writer;

/// Most bytes of one read.
pub const READ_BYTES: u32 = 1 << 20;
/// Only the server's user looks into what it makes for plugins.
const DIRECTORY_MODE: u32 = 0o700;

/// What may be below a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Quota {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Files.
    pub files: usize,
    /// Files open for writing at once.
    pub open: usize,
}

impl Default for Quota {
    fn default() -> Quota {
        Quota {
            bytes: 1 << 30,
            files: 10_000,
            open: 64,
        }
    }
}

/// Why a file could not be used. The cases are those of the contract's `storage-error`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is none that a file here can have, or something stands there that leads elsewhere.
    #[error("the name leads nowhere below the directory")]
    NotGranted,
    /// As much is there as may be.
    #[error("the plugin's room is used up")]
    Quota,
    /// The disk is full, or the user's share of it.
    #[error("the disk is full")]
    Full,
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The disk says no.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Error {
        match error {
            // A symbolic link, or a way out.
            Errno::LOOP | Errno::XDEV => Error::NotGranted,
            Errno::NOENT | Errno::NOTDIR | Errno::ISDIR => Error::NotFound,
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Error::Full,
            error => Error::Io(error.into()),
        }
    }
}

/// A file, as a list shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name below the directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Microseconds since 1970; earlier times are 0.
    pub modified: u64,
}

/// The directories that are open, so that everybody who means the same one shares its room.
#[derive(Debug, Default)]
pub struct Directories(Mutex<BTreeMap<(u64, u64), Weak<Tree>>>);

impl Directories {
    /// Opens a directory, making it when it is missing. What is there already counts. Of several quotas for the same
    /// directory the newest holds.
    ///
    /// # Errors
    /// Why it cannot be had; also on systems without `openat2` (Linux before 5.6).
    pub fn open(&self, path: &Path, quota: Quota) -> io::Result<Directory> {
        DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path)?;
        let root = tree::open_root(path)?;
        let stat = rustix::fs::fstat(&root)?;
        let mut open = self.0.lock();
        open.retain(|_, tree| tree.strong_count() > 0);
        let known = open.get(&(stat.st_dev, stat.st_ino)).and_then(Weak::upgrade);
        if let Some(tree) = known {
            tree.set_quota(quota);
            return Ok(Directory(tree));
        }
        let tree = Arc::new(Tree::new(root, quota)?);
        open.insert((stat.st_dev, stat.st_ino), Arc::downgrade(&tree));
        Ok(Directory(tree))
    }
}

/// A directory with a quota. Cheap to clone; clones share the room.
#[derive(Clone, Debug)]
pub struct Directory(Arc<Tree>);

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Directory {
    /// A new, empty file, in place of one of that name. It is there, and stays after a power cut, from now on; its
    /// bytes are once [`Writer::commit`] returns.
    pub fn create(&self, name: &str) -> Result<Writer, Error> {
        Writer::create(self.0.clone(), checked(name)?)
    }

    /// A part of a file: at most [`READ_BYTES`], cut to what is there.
    pub fn read(&self, name: &str, offset: u64, length: u32) -> Result<Bytes, Error> {
        self.0.read(&checked(name)?, offset, length.min(READ_BYTES))
    }

    /// The files whose names begin with `prefix`, by name; no more than the quota's number of files.
    pub fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        self.0.list(prefix)
    }

    /// Gives a file another name, in place of a file that had it. A file that is being written keeps its writer.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        self.0.rename(checked(from)?, checked(to)?)
    }

    /// Removes a file, and the directories that are empty then. Whoever is writing it writes on, unseen, and its room
    /// is free when they are done.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        self.0.remove(&checked(name)?)
    }

    /// Bytes of all files.
    pub fn used(&self) -> u64 {
        self.0.used()
    }
}

fn checked(name: &str) -> Result<PathName, Error> {
    PathName::new(name).map_err(|_| Error::NotGranted)
}

#[cfg(test)]
mod tests;

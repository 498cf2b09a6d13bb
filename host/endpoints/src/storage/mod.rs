//! Where plugins and recordings keep files: below a local directory, or in an object store behind a local spool.
//!
//! Names are segments of printable characters, and every step below a directory is taken by the kernel with the order
//! not to leave it and not to follow symbolic links (`openat2`), so neither a name nor something that was planted leads
//! out. What [`Writer::commit`] answered stays after a power cut: a file's name is synced when it is made, its bytes with
//! each commit, and nothing that was written is ever written again.
//!
//! Everything here waits for the disk; call it where waiting is allowed.

mod disk;
mod file;
mod name;
mod objects;
mod places;
mod space;
mod tree;
mod walk;
#[cfg(test)]
mod watch;

use std::{
    io,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use rustix::{fs::Stat, io::Errno};

use file::Appender;
use name::Name;
use objects::{Objects, Remote};
use tree::{Rules, Tree};

pub use objects::Waiting;
pub use places::{Directories, OpenError, Place};
pub use space::{MinFree, Space};

/// Most bytes of one read.
pub const READ_BYTES: u32 = 1 << 20;
/// A directory that changed so recently may change again without a new time: file systems count in ticks.
const TICKS: Duration = Duration::from_millis(100);

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

/// How a directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Options {
    /// What may be below it; without, nothing is counted.
    pub quota: Option<Quota>,
    /// What stays free beside it.
    pub min_free: MinFree,
    /// A file that is there is never replaced by a new one ([`Error::Io`]).
    pub keep: bool,
    /// Other users of the machine see what is made here, as far as the umask lets them.
    pub public: bool,
}

impl Default for Options {
    /// A plugin's.
    fn default() -> Options {
        Options {
            quota: Some(Quota::default()),
            min_free: MinFree::Usual,
            keep: false,
            public: false,
        }
    }
}

impl Options {
    /// Those of recordings: no bound but what stays free, and nothing is lost to a name that is given twice.
    pub fn recordings() -> Options {
        Options {
            quota: None,
            min_free: MinFree::Usual,
            keep: true,
            public: true,
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
    /// The disk is full, or the user's share of it, or what must stay free is reached.
    #[error("the disk is full")]
    Full,
    /// There is no such file.
    #[error("no such file")]
    NotFound,
    /// The disk or the object store says no.
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

/// What stands in one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its name in that directory.
    pub name: String,
    /// What it is.
    pub kind: Kind,
}

/// What an [`Item`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// Microseconds since 1970.
        modified: u64,
    },
    /// A directory.
    Directory,
}

/// Stays the same as long as no name in a directory changed. What it is made of is nobody's business, but it may be
/// kept as a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(u128);

impl Stamp {
    /// None while the directory may change once more within the same tick of its file system.
    fn of(stat: &Stat) -> Option<Stamp> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_nanos();
        let seconds = u64::try_from(stat.st_mtime).ok()?;
        let changed = u128::from(seconds) * 1_000_000_000 + u128::from(stat.st_mtime_nsec);
        (now.abs_diff(changed) > TICKS.as_nanos())
            .then(|| Stamp((changed << 32) | u128::from(stat.st_ino & 0xffff_ffff)))
    }
}

impl From<Stamp> for u128 {
    fn from(stamp: Stamp) -> u128 {
        stamp.0
    }
}

impl From<u128> for Stamp {
    fn from(stamp: u128) -> Stamp {
        Stamp(stamp)
    }
}

/// A place for files, and what one user of it may do there. Cheap to clone; what is counted is counted per place, not
/// per user of it.
#[derive(Clone, Debug)]
pub struct Directory {
    files: Files,
    rules: Rules,
}

#[derive(Clone, Debug)]
enum Files {
    Local(Arc<Tree>),
    Objects(Arc<Objects>),
}

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Directory {
    /// A new, empty file, in place of one of that name unless that is kept. It is there, and stays after a power cut, from now on; its
    /// bytes are once [`Writer::commit`] returns. An object store gets it when it is done.
    pub fn create(&self, name: &str) -> Result<Writer, Error> {
        let name = Name::new(name)?;
        let created = match &self.files {
            Files::Local(tree) => Appender::create(tree.clone(), self.rules, name, None),
            Files::Objects(objects) => objects.create(self.rules, name),
        };
        created.map(Writer)
    }

    /// A part of a file: at most [`READ_BYTES`], cut to what is there.
    pub fn read(&self, name: &str, offset: u64, length: u32) -> Result<Bytes, Error> {
        self.open(name)?.read_at(offset, length)
    }

    /// Opens a file, to read more than one part of it.
    pub fn open(&self, name: &str) -> Result<Reader, Error> {
        let name = Name::new(name)?;
        let opened = match &self.files {
            Files::Local(tree) => tree.open(&name).map(Remote::Spooled),
            Files::Objects(objects) => objects.open(name),
        };
        opened.map(Reader)
    }

    /// A file by its exact name.
    pub fn entry(&self, name: &str) -> Result<Entry, Error> {
        let name = Name::new(name)?;
        match &self.files {
            Files::Local(tree) => tree.entry(&name),
            Files::Objects(objects) => objects.entry(&name),
        }
    }

    /// The files whose names begin with `prefix`, by name; no more than the quota's number of files. What others change
    /// in an object store is seen a few seconds later.
    pub fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        match &self.files {
            Files::Local(tree) => tree.list(&self.rules, prefix),
            Files::Objects(objects) => objects.list(&self.rules, prefix),
        }
    }

    /// What stands in one directory, by name; the outermost is `""`.
    pub fn level(&self, directory: &str) -> Result<Vec<Item>, Error> {
        let directory = inner(directory)?;
        match &self.files {
            Files::Local(tree) => tree.level(&self.rules, directory.as_ref()),
            Files::Objects(objects) => objects.level(&self.rules, directory.as_ref()),
        }
    }

    /// A number that changes when names in a directory change: files made, removed, renamed, not written to. None when
    /// that cannot be told, now or ever, so that only looking helps.
    pub fn stamp(&self, directory: &str) -> Result<Option<Stamp>, Error> {
        let directory = inner(directory)?;
        match &self.files {
            Files::Local(tree) => tree.stamp(directory.as_ref()),
            Files::Objects(_) => Ok(None),
        }
    }

    /// Whether this process is writing a file of that name.
    pub fn is_open(&self, name: &str) -> bool {
        Name::new(name).is_ok_and(|name| self.tree().is_open(&name))
    }

    /// Cuts the end off a file that nobody writes, and waits until that is durable. A shorter file stays as it is. What
    /// an object store has already is not found: it is never cut.
    pub fn truncate(&self, name: &str, length: u64) -> Result<(), Error> {
        self.tree().truncate(&Name::new(name)?, length)
    }

    /// Gives a file another name, in place of a file that had it. A file that is being written keeps its writer.
    pub fn rename(&self, from: &str, to: &str) -> Result<(), Error> {
        let (from, to) = (Name::new(from)?, Name::new(to)?);
        match &self.files {
            Files::Local(tree) => tree.rename(&self.rules, &from, &to),
            Files::Objects(objects) => objects.rename(&self.rules, &from, &to),
        }
    }

    /// Removes a file, and the directories that are empty then. Whoever is writing it writes on, unseen, and its room
    /// is free when they are done; whoever reads it reads on.
    pub fn remove(&self, name: &str) -> Result<(), Error> {
        let name = Name::new(name)?;
        match &self.files {
            Files::Local(tree) => tree.remove(&name),
            Files::Objects(objects) => objects.remove(&name),
        }
    }

    /// The room of the file system, if it has one that can run out: object stores have none.
    pub fn free(&self) -> Option<Space> {
        match &self.files {
            Files::Local(tree) => tree.space(),
            Files::Objects(_) => None,
        }
    }

    /// Bytes of all files on this machine, if somebody counts them for a quota.
    pub fn used(&self) -> Option<u64> {
        self.tree().used()
    }

    /// What an earlier process, or a recorder that failed, left in the spool of an object store ends as it should, and is
    /// uploaded from now on. Somebody must say so after each start, and now and then. For a local directory it means
    /// nothing.
    pub fn leftovers_recovered(&self) {
        if let Files::Objects(objects) = &self.files {
            objects.leftovers_recovered();
        }
    }

    /// The files that an earlier process left in the spool of an object store, and recordings that were not finished,
    /// until [`leftovers_recovered`](Directory::leftovers_recovered) is said.
    pub fn leftovers(&self) -> Vec<String> {
        match &self.files {
            Files::Local(_) => Vec::new(),
            Files::Objects(objects) => objects.leftovers(),
        }
    }

    /// Where files are written.
    fn tree(&self) -> &Tree {
        match &self.files {
            Files::Local(tree) => tree,
            Files::Objects(objects) => objects.spool(),
        }
    }
}

/// The name of a directory; none is the outermost.
fn inner(directory: &str) -> Result<Option<Name>, Error> {
    match directory {
        "" => Ok(None),
        name => Name::new(name).map(Some),
    }
}

/// A file open for appending. Dropped without [`Writer::finish`], it keeps what was appended.
#[derive(Debug)]
pub struct Writer(Appender);

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Writer {
    /// Adds bytes at the end, one part after the other; answers the length then. Either all of it is added, or nothing;
    /// if the disk cannot even go back to where it was, nothing more is written and everything answers [`Error::Io`].
    pub fn append(&mut self, parts: &[Bytes]) -> Result<u64, Error> {
        self.0.append(parts)
    }

    /// What was appended survives a power cut once this returns; answers the durable length. After an error the file
    /// is as long as after the last commit that worked, if the disk lets us, and nothing more is written.
    pub fn commit(&mut self) -> Result<u64, Error> {
        self.0.commit()
    }

    /// Commits and closes.
    pub fn finish(mut self) -> Result<u64, Error> {
        self.0.finish()
    }
}

/// A file open for reading. It stays readable when its name goes to another file, or to none, unless it is in an object
/// store already.
#[derive(Debug)]
pub struct Reader(Remote);

#[allow(
    clippy::missing_errors_doc,
    clippy::len_without_is_empty,
    reason = "`Error` says it; a file may grow"
)]
impl Reader {
    /// Bytes that are there now.
    pub fn len(&self) -> Result<u64, Error> {
        self.0.len()
    }

    /// A part of it: at most [`READ_BYTES`], cut to what is there.
    pub fn read_at(&self, offset: u64, length: u32) -> Result<Bytes, Error> {
        self.0.read_at(offset, length)
    }
}

#[cfg(test)]
mod tests;

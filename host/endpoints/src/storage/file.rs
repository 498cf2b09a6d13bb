//! Files that are open: one to be written, any number to be read.

use std::{
    fmt,
    fs::File,
    io,
    os::{fd::OwnedFd, unix::fs::FileExt},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use rustix::fs::{self, FileType, Stat};

use super::{
    Entry, Error, READ_BYTES, disk,
    name::Name,
    tree::{Rules, Tree},
    walk,
};

/// A file open for appending below a local directory. Dropped, it keeps what was appended.
#[derive(Debug)]
pub(super) struct Appender {
    tree: Arc<Tree>,
    rules: Rules,
    file: OwnedFd,
    /// Shared with the tree, which asks for it when the name goes to another file.
    length: Arc<AtomicU64>,
    durable: u64,
    /// The disk could not even undo what it refused, or lost what it had taken: what the file holds past the durable
    /// length is not known any more.
    dead: bool,
    /// It has all that it should have.
    finished: bool,
    /// Told the file's name when nobody writes it any more.
    closed: Option<Closed>,
}

/// Who is told that nobody writes a file any more, and whether it was finished.
#[derive(Clone)]
pub(super) struct Closed(pub(super) Arc<dyn Fn(Name, bool) + Send + Sync>);

impl fmt::Debug for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}

impl Appender {
    pub(super) fn create(tree: Arc<Tree>, rules: Rules, name: Name, closed: Option<Closed>) -> Result<Appender, Error> {
        let length = Arc::default();
        let file = tree.create(&rules, name, &length)?;
        Ok(Appender {
            tree,
            rules,
            file,
            length,
            durable: 0,
            dead: false,
            finished: false,
            closed,
        })
    }

    pub(super) fn append(&mut self, parts: &[Bytes]) -> Result<u64, Error> {
        self.alive()?;
        let wanted = parts.iter().map(|part| part.len() as u64).sum::<u64>();
        let length = self.length.load(Relaxed);
        if wanted == 0 {
            return Ok(length);
        }
        self.tree.has_space(&self.rules, wanted)?;
        self.tree.reserve(&self.rules, wanted)?;
        if let Err(failure) = disk::append(&self.file, length, parts) {
            self.tree.release(wanted);
            if matches!(Error::from(failure.error), Error::Full) {
                self.tree.refused(wanted);
            }
            self.dead = !failure.clean;
            return Err(failure.error.into());
        }
        Ok(self.length.fetch_add(wanted, Relaxed).saturating_add(wanted))
    }

    pub(super) fn commit(&mut self) -> Result<u64, Error> {
        self.alive()?;
        let length = self.length.load(Relaxed);
        if length == self.durable {
            return Ok(length);
        }
        if let Err(error) = disk::sync_data(&self.file) {
            // What a disk failed to write once it forgets: asked again, it would say that all is well.
            self.dead = true;
            if disk::cut(&self.file, self.durable).is_ok() {
                self.length.store(self.durable, Relaxed);
                self.tree.release(length.saturating_sub(self.durable));
            }
            return Err(error.into());
        }
        self.durable = length;
        Ok(length)
    }

    pub(super) fn finish(&mut self) -> Result<u64, Error> {
        let length = self.commit()?;
        self.finished = true;
        Ok(length)
    }

    fn alive(&self) -> Result<(), Error> {
        match self.dead {
            true => Err(Error::Io(io::Error::other(
                "the disk refused to take back what it could not write",
            ))),
            false => Ok(()),
        }
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        if let Some(name) = self.tree.close(&self.length)
            && let Some(Closed(tell)) = &self.closed
        {
            tell(name, self.finished);
        }
    }
}

/// A file open for reading. It stays readable when its name goes away.
#[derive(Debug)]
pub(super) struct Opened(File);

impl Opened {
    pub(super) fn new(file: OwnedFd) -> Result<Opened, Error> {
        let stat = fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotFound);
        }
        Ok(Opened(file.into()))
    }

    /// Whether a name's file is this one.
    pub(super) fn is(&self, stat: &Stat) -> bool {
        fs::fstat(&self.0).is_ok_and(|own| (own.st_dev, own.st_ino) == (stat.st_dev, stat.st_ino))
    }

    /// What a list would show of it.
    pub(super) fn entry(&self, name: &Name) -> Result<Entry, Error> {
        Ok(walk::entry(name.as_str(), &fs::fstat(&self.0)?))
    }

    pub(super) fn len(&self) -> Result<u64, Error> {
        Ok(self.0.metadata()?.len())
    }

    pub(super) fn read_at(&self, offset: u64, length: u32) -> Result<Bytes, Error> {
        let there = self.len()?.saturating_sub(offset).min(length.min(READ_BYTES).into());
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
        let mut filled = 0;
        while filled < bytes.len() {
            match self
                .0
                .read_at(&mut bytes[filled..], offset.saturating_add(filled as u64))
            {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }
}

//! The granted directory, in memory.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::{Held, part, server};
use crate::bindings::imports::wasmtx::plugin::frame::Slice;
use crate::storage::{Entry, Error};

const NAME: usize = 1_024;
const SEGMENTS: usize = 16;
const SEGMENT: usize = 255;

pub(crate) struct Disk {
    pub(crate) granted: bool,
    /// Bytes that all files together may have.
    pub(crate) room: u64,
    files: BTreeMap<String, Rc<RefCell<Content>>>,
}

#[derive(Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// How many of them would survive a power cut: what comes after them is gone when the disk is full.
    committed: usize,
    /// Microseconds, on the pretended clock.
    modified: u64,
}

impl Default for Disk {
    fn default() -> Self {
        Self {
            granted: true,
            room: u64::MAX,
            files: BTreeMap::new(),
        }
    }
}

impl Disk {
    fn used(&self) -> u64 {
        self.files.values().map(|file| file.borrow().bytes.len() as u64).sum()
    }

    fn find(&self, name: &str) -> Result<&Rc<RefCell<Content>>, Error> {
        self.files.get(name).ok_or(Error::NotFound)
    }
}

fn disk<R>(look: impl FnOnce(&mut Disk, u64) -> Result<R, Error>) -> Result<R, Error> {
    server(|server| {
        let now = server.now;
        if !server.storage.granted || server.inline {
            return Err(Error::NotGranted);
        }
        look(&mut server.storage, now)
    })
}

/// The server's grammar of names.
fn checked(name: &str) -> Result<(), Error> {
    let named =
        |part: &str| !matches!(part, "" | "." | "..") && part.len() <= SEGMENT && !part.contains(char::is_control);
    if name.len() <= NAME && name.split('/').count() <= SEGMENTS && name.split('/').all(named) {
        Ok(())
    } else {
        Err(Error::NotGranted)
    }
}

#[derive(Debug)]
pub(crate) struct File(Rc<RefCell<Content>>);

impl File {
    pub(crate) fn append(&self, data: &[u8]) -> Result<u64, Error> {
        disk(|disk, now| {
            let is_full = disk.used().saturating_add(data.len() as u64) > disk.room;
            let mut content = self.0.borrow_mut();
            if is_full {
                let committed = content.committed;
                content.bytes.truncate(committed);
                return Err(Error::Full);
            }
            content.modified = now;
            content.bytes.extend_from_slice(data);
            Ok(content.bytes.len() as u64)
        })
    }

    pub(crate) fn append_held(&self, data: &Held, what: Option<Slice>) -> Result<u64, Error> {
        match what {
            Some(slice) => self.append(part(&data.0, slice.offset.into(), slice.len)),
            None => self.append(&data.0),
        }
    }

    pub(crate) fn commit(&self) -> Result<u64, Error> {
        disk(|_, _| {
            let mut content = self.0.borrow_mut();
            content.committed = content.bytes.len();
            Ok(content.committed as u64)
        })
    }

    pub(crate) fn finish(&self) -> Result<u64, Error> {
        self.commit()
    }
}

pub(crate) fn create(name: &str) -> Result<File, Error> {
    disk(|disk, now| {
        checked(name)?;
        let content = Rc::new(RefCell::new(Content {
            modified: now,
            ..Content::default()
        }));
        disk.files.insert(name.to_owned(), Rc::clone(&content));
        Ok(File(content))
    })
}

pub(crate) fn read(name: &str, offset: u64, len: u32) -> Result<Vec<u8>, Error> {
    disk(|disk, _| {
        checked(name)?;
        Ok(part(&disk.find(name)?.borrow().bytes, offset, len).to_vec())
    })
}

pub(crate) fn list(prefix: &str) -> Result<Vec<Entry>, Error> {
    let entry = |(name, file): (&String, &Rc<RefCell<Content>>)| Entry {
        name: name.clone(),
        size: file.borrow().bytes.len() as u64,
        modified: file.borrow().modified,
    };
    disk(|disk, _| {
        let named = disk.files.iter().filter(|(name, _)| name.starts_with(prefix));
        Ok(named.map(entry).collect())
    })
}

pub(crate) fn rename(from: &str, to: &str) -> Result<(), Error> {
    disk(|disk, _| {
        checked(from)?;
        checked(to)?;
        let content = disk.files.remove(from).ok_or(Error::NotFound)?;
        disk.files.insert(to.to_owned(), content);
        Ok(())
    })
}

pub(crate) fn remove(name: &str) -> Result<(), Error> {
    disk(|disk, _| {
        checked(name)?;
        disk.files.remove(name).map(drop).ok_or(Error::NotFound)
    })
}

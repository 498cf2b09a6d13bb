//! What the tests see of the disk, and how they make it fail: per thread, because each test has one of its own.

use std::{cell::RefCell, io::IoSlice, os::fd::OwnedFd};

use rustix::{fs, io::Errno};

use super::disk;

/// A file or directory: its inode.
pub(super) type Id = u64;

/// What is about to be asked of the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Create,
    Write,
    Cut,
    SyncData,
    SyncNames,
}

/// What the disk was told, and did.
#[derive(Clone, Debug)]
pub(super) enum Done {
    /// In a directory, under a name: a file or directory.
    Made(Id, String, Id),
    Wrote(Id, u64, Vec<u8>),
    Cut(Id, u64),
    /// A file's bytes or a directory's names.
    Synced(Id),
    Gone(Id, String),
    Renamed(Id, String, Id, String),
}

type Judge = Box<dyn FnMut(Call) -> Result<(), Errno>>;

thread_local! {
    static JUDGE: RefCell<Option<Judge>> = const { RefCell::new(None) };
    static LOG: RefCell<Vec<Done>> = const { RefCell::new(Vec::new()) };
}

/// From now on each call of this thread is judged first.
pub(super) fn judge(judge: impl FnMut(Call) -> Result<(), Errno> + 'static) {
    JUDGE.set(Some(Box::new(judge)));
}

pub(super) fn trust() {
    JUDGE.set(None);
}

/// What this thread did since it was asked last.
pub(super) fn take_log() -> Vec<Done> {
    LOG.take()
}

pub(super) fn before(call: Call) -> Result<(), Errno> {
    JUDGE.with_borrow_mut(|judge| judge.as_mut().map_or(Ok(()), |judge| judge(call)))
}

pub(super) fn done(done: Done) {
    LOG.with_borrow_mut(|log| log.push(done));
}

pub(super) fn made_directory(parent: &OwnedFd, leaf: &str) {
    let made = disk::open_directory(parent, leaf).unwrap();
    done(Done::Made(id(parent), leaf.to_owned(), id(&made)));
}

pub(super) fn id(file: &OwnedFd) -> Id {
    fs::fstat(file).unwrap().st_ino
}

/// The first bytes of all parts together.
pub(super) fn first(parts: &[IoSlice<'_>], length: usize) -> Vec<u8> {
    let bytes = parts.iter().flat_map(|part| part.iter().copied());
    bytes.take(length).collect()
}

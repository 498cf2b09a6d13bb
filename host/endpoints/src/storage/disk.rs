//! The system calls that change what is on a disk, in one place: what order they come in decides what a power cut
//! leaves, so tests listen here, and make them fail.

use std::{
    fs::{DirBuilder, File},
    io::{self, IoSlice},
    os::{
        fd::{AsFd, OwnedFd},
        unix::fs::DirBuilderExt,
    },
    path::Path,
};

use bytes::Bytes;
use rustix::{
    fs::{self, AtFlags, Mode, OFlags, ResolveFlags},
    io::Errno,
};

#[cfg(test)]
use super::watch;

/// Parts handed to one system call (`IOV_MAX`).
const PARTS: usize = 1_024;

/// Opens what is below a directory: nothing on the way leads out of it or is a link.
pub(super) fn open_below(directory: impl AsFd, name: &str, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    fs::openat2(directory, name, flags | OFlags::CLOEXEC, mode, resolve)
}

pub(super) fn open_directory(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    open_below(parent, name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty())
}

/// Makes the directory that everything is below, and the ones that it needs, so that they stay after a power cut.
pub(super) fn make_root(path: &Path, mode: Mode) -> io::Result<()> {
    let missing: Vec<&Path> = path.ancestors().take_while(|path| !exists(path)).collect();
    for path in missing.into_iter().rev() {
        match DirBuilder::new().mode(mode.as_raw_mode()).create(path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

/// The empty path is what is above a relative one.
fn exists(path: &Path) -> bool {
    path.as_os_str().is_empty() || path.symlink_metadata().is_ok()
}

/// A file that was not there.
pub(super) fn create(parent: &OwnedFd, leaf: &str, mode: Mode) -> Result<OwnedFd, Errno> {
    #[cfg(test)]
    watch::before(watch::Call::Create)?;
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
    let file = open_below(parent, leaf, flags, mode)?;
    #[cfg(test)]
    watch::done(watch::Done::Made(watch::id(parent), leaf.to_owned(), watch::id(&file)));
    Ok(file)
}

pub(super) fn make_directory(parent: &OwnedFd, leaf: &str, mode: Mode) -> Result<(), Errno> {
    fs::mkdirat(parent, leaf, mode)?;
    #[cfg(test)]
    watch::made_directory(parent, leaf);
    Ok(())
}

/// Writes all parts at an offset, which is the file's end. When that fails the file is cut back to where it was; the
/// answer tells whether at least that was done.
pub(super) fn append(file: &OwnedFd, offset: u64, parts: &[Bytes]) -> Result<(), Failure> {
    let mut at = offset;
    let written = parts.chunks(PARTS).try_for_each(|parts| write(file, &mut at, parts));
    written.map_err(|error| Failure {
        error,
        clean: at == offset || cut(file, offset).is_ok(),
    })
}

/// An append that the disk refused.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Errno,
    /// The file is as long as before.
    pub(super) clean: bool,
}

fn write(file: &OwnedFd, at: &mut u64, parts: &[Bytes]) -> Result<(), Errno> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut left = &mut slices[..];
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        #[cfg(test)]
        watch::before(watch::Call::Write)?;
        match rustix::io::pwritev(file, left, *at) {
            // No disk answers so; without this line it would be asked forever.
            Ok(0) => return Err(Errno::IO),
            Ok(length) => {
                #[cfg(test)]
                watch::done(watch::Done::Wrote(watch::id(file), *at, watch::first(left, length)));
                *at = at.saturating_add(length as u64);
                IoSlice::advance_slices(&mut left, length);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) fn cut(file: &OwnedFd, length: u64) -> Result<(), Errno> {
    #[cfg(test)]
    watch::before(watch::Call::Cut)?;
    fs::ftruncate(file, length)?;
    #[cfg(test)]
    watch::done(watch::Done::Cut(watch::id(file), length));
    Ok(())
}

/// A file's bytes stay after a power cut.
pub(super) fn sync_data(file: &OwnedFd) -> Result<(), Errno> {
    #[cfg(test)]
    watch::before(watch::Call::SyncData)?;
    fs::fdatasync(file)?;
    #[cfg(test)]
    watch::done(watch::Done::Synced(watch::id(file)));
    Ok(())
}

/// A directory's names stay after a power cut.
pub(super) fn sync_names(directory: &OwnedFd) -> Result<(), Errno> {
    #[cfg(test)]
    watch::before(watch::Call::SyncNames)?;
    fs::fsync(directory)?;
    #[cfg(test)]
    watch::done(watch::Done::Synced(watch::id(directory)));
    Ok(())
}

pub(super) fn unlink(parent: &OwnedFd, leaf: &str) -> Result<(), Errno> {
    fs::unlinkat(parent, leaf, AtFlags::empty())?;
    #[cfg(test)]
    watch::done(watch::Done::Gone(watch::id(parent), leaf.to_owned()));
    Ok(())
}

/// Removes a directory if it is empty.
pub(super) fn remove_directory(parent: &OwnedFd, leaf: &str) -> Result<(), Errno> {
    fs::unlinkat(parent, leaf, AtFlags::REMOVEDIR)?;
    #[cfg(test)]
    watch::done(watch::Done::Gone(watch::id(parent), leaf.to_owned()));
    Ok(())
}

pub(super) fn rename(source: &OwnedFd, from: &str, target: &OwnedFd, to: &str) -> Result<(), Errno> {
    fs::renameat(source, from, target, to)?;
    #[cfg(test)]
    watch::done(watch::Done::Renamed(
        watch::id(source),
        from.to_owned(),
        watch::id(target),
        to.to_owned(),
    ));
    Ok(())
}

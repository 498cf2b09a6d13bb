//! Looking through directories. Links, devices and names that could not have been made here are passed over.

use std::{
    collections::VecDeque,
    ffi::CStr,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    fs::{self, AtFlags, Dir, FileType, Stat},
    io::Errno,
};

use super::{Entry, Error, Item, Kind, disk, name::Name};

/// Shows every file whose name begins with `prefix`, until told to stop; at most so many names are looked at.
pub(super) fn walk(
    root: &OwnedFd,
    prefix: &str,
    most: usize,
    found: &mut dyn FnMut(&str, &Stat) -> bool,
) -> Result<(), Error> {
    let mut directories = VecDeque::from([String::new()]);
    let mut scanned = 0_usize;
    while let Some(path) = directories.pop_front() {
        let directory = if path.is_empty() { "." } else { &path };
        let directory = match disk::open_directory(root, directory) {
            // Removed meanwhile, or replaced by a link.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            opened => opened?,
        };
        for entry in Dir::read_from(&directory)? {
            let entry = entry?;
            scanned += 1;
            if scanned > most {
                return Err(Error::Quota);
            }
            let Some(name) = named(&path, entry.file_name()) else {
                continue;
            };
            let name = name.as_str();
            // Looking at files that nobody asked for would take most of the time.
            if !name.starts_with(prefix) && !leads_to(name, prefix) {
                continue;
            }
            let Some(stat) = look(directory.as_fd(), entry.file_name()) else {
                continue;
            };
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::RegularFile if name.starts_with(prefix) && !found(name, &stat) => return Ok(()),
                FileType::Directory if leads_to(name, prefix) => directories.push_back(name.to_owned()),
                _ => {}
            }
        }
    }
    Ok(())
}

/// What stands in one directory, by name.
pub(super) fn level(directory: &OwnedFd, name: Option<&Name>, most: usize) -> Result<Vec<Item>, Error> {
    let path = name.map_or("", Name::as_str);
    let mut items = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if items.len() >= most {
            return Err(Error::Quota);
        }
        if named(path, entry.file_name()).is_none() {
            continue;
        }
        let Some(stat) = look(directory.as_fd(), entry.file_name()) else {
            continue;
        };
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Kind::File {
                size: size(&stat),
                modified: modified(&stat),
            },
            FileType::Directory => Kind::Directory,
            _ => continue,
        };
        let name = entry.file_name().to_string_lossy().into_owned();
        items.push(Item { name, kind });
    }
    items.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    Ok(items)
}

fn look(directory: BorrowedFd<'_>, name: &CStr) -> Option<Stat> {
    fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// The full name of what stands in a directory, if it can have one.
fn named(path: &str, leaf: &CStr) -> Option<Name> {
    Name::below(path, leaf.to_str().ok()?)
}

/// Whether names below a directory can begin with the prefix.
fn leads_to(directory: &str, prefix: &str) -> bool {
    match prefix.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => directory.starts_with(prefix),
    }
}

pub(super) fn entry(name: &str, stat: &Stat) -> Entry {
    Entry {
        name: name.to_owned(),
        size: size(stat),
        modified: modified(stat),
    }
}

pub(super) fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// Microseconds since 1970.
fn modified(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(stat.st_mtime_nsec / 1_000)
}

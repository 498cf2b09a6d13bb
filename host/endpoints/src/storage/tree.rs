//! What is below a plugin's directory: names, and how much there is.

use std::{
    collections::{BTreeMap, VecDeque},
    fs::File,
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::fs::FileExt,
    },
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::{
    fs::{self, AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat},
    io::Errno,
};
use wasmtx_hub::PathName;

use super::{DIRECTORY_MODE, Entry, Error, Quota};

const FILE_MODE: u32 = 0o600;
/// Directories that are looked through, however many somebody else has put there.
const SCANNED: usize = 100_000;

/// The files below one directory.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    bytes: AtomicU64,
    most_bytes: AtomicU64,
    most_files: AtomicUsize,
    most_open: AtomicUsize,
    /// Held while names change, so that no directory goes away under a file that is about to be made, and the count
    /// is that of the files. Writing does not take it.
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    files: usize,
    /// Files that are being written, by name.
    open: BTreeMap<PathName, Arc<AtomicU64>>,
    /// Files that are being written and have no name any more.
    unseen: usize,
}

/// The operator's own path may well be a link.
pub(super) fn open_root(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(fs::open(path, flags, Mode::empty())?)
}

/// Opens what is below a directory: nothing on the way leads out of it or is a link.
fn open_below(directory: impl AsFd, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let mode = if flags.contains(OFlags::CREATE) {
        Mode::from_raw_mode(FILE_MODE)
    } else {
        Mode::empty()
    };
    fs::openat2(directory, name, flags | OFlags::CLOEXEC, mode, resolve)
}

fn open_directory(parent: impl AsFd, name: &str) -> Result<OwnedFd, Errno> {
    open_below(parent, name, OFlags::RDONLY | OFlags::DIRECTORY)
}

/// A file by its last segment: what it is, if it is one.
fn regular(parent: impl AsFd, leaf: &str) -> Result<Stat, Error> {
    let stat = fs::statat(parent, leaf, AtFlags::SYMLINK_NOFOLLOW)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        FileType::Symlink => Err(Error::NotGranted),
        _ => Err(Error::NotFound),
    }
}

fn size(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The directories of a name, and its last segment.
fn split(name: &PathName) -> (Vec<&str>, &str) {
    let mut segments: Vec<&str> = name.as_str().split('/').collect();
    let leaf = segments.pop().unwrap_or_default();
    (segments, leaf)
}

impl Tree {
    pub(super) fn new(root: OwnedFd, quota: Quota) -> io::Result<Tree> {
        // Without the system call nothing else here would work; said once, at load.
        open_directory(&root, ".")?;
        let tree = Tree {
            root,
            bytes: AtomicU64::new(0),
            most_bytes: AtomicU64::new(0),
            most_files: AtomicUsize::new(0),
            most_open: AtomicUsize::new(0),
            names: Mutex::default(),
        };
        tree.set_quota(quota);
        let (mut files, mut bytes) = (0_usize, 0_u64);
        let counted = tree.walk("", &mut |_, stat| {
            files += 1;
            bytes = bytes.saturating_add(size(stat));
            true
        });
        counted.map_err(io::Error::other)?;
        tree.names.lock().files = files;
        tree.bytes.store(bytes, Relaxed);
        Ok(tree)
    }

    pub(super) fn set_quota(&self, quota: Quota) {
        self.most_bytes.store(quota.bytes, Relaxed);
        self.most_files.store(quota.files, Relaxed);
        self.most_open.store(quota.open, Relaxed);
    }

    pub(super) fn used(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Takes room for bytes that are about to be written.
    pub(super) fn reserve(&self, bytes: u64) -> Result<(), Error> {
        let most = self.most_bytes.load(Relaxed);
        let taken = self.bytes.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(bytes).filter(|used| *used <= most)
        });
        taken.map(drop).map_err(|_| Error::Quota)
    }

    /// Gives room back.
    pub(super) fn release(&self, bytes: u64) {
        // Files that others shortened behind our back make the count too high, never too low.
        let given = |used: u64| Some(used.saturating_sub(bytes));
        let _ = self.bytes.fetch_update(Relaxed, Relaxed, given);
    }

    pub(super) fn create(&self, name: PathName, length: &Arc<AtomicU64>) -> Result<OwnedFd, Error> {
        let mut names = self.names.lock();
        if names.open.len() + names.unseen >= self.most_open.load(Relaxed) {
            return Err(Error::Quota);
        }
        let (directories, leaf) = split(&name);
        let parent = self.make_parent(&directories)?;
        match regular(&parent, leaf) {
            Ok(stat) => {
                fs::unlinkat(&parent, leaf, AtFlags::empty())?;
                self.forget(&mut names, &name, &stat);
            }
            Err(Error::NotFound) if names.files >= self.most_files.load(Relaxed) => {
                self.tidy(&directories);
                return Err(Error::Quota);
            }
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
        let file = open_below(&parent, leaf, flags).map_err(|error| match error {
            // A directory, or what somebody else put there this moment.
            Errno::EXIST => Error::NotGranted,
            error => error.into(),
        })?;
        if let Err(error) = fs::fsync(&parent) {
            let _ = fs::unlinkat(&parent, leaf, AtFlags::empty());
            return Err(error.into());
        }
        names.files += 1;
        names.open.insert(name, length.clone());
        Ok(file)
    }

    /// Opens the directory of a file, and makes the ones that are missing on the way.
    fn make_parent(&self, directories: &[&str]) -> Result<OwnedFd, Error> {
        let mut parent = self.root.try_clone()?;
        for segment in directories {
            let next = match open_directory(&parent, segment) {
                Err(Errno::NOENT) => {
                    fs::mkdirat(&parent, *segment, Mode::from_raw_mode(DIRECTORY_MODE))?;
                    fs::fsync(&parent)?;
                    open_directory(&parent, segment)
                }
                // A file stands where a directory would have to be.
                Err(Errno::NOTDIR) => return Err(Error::NotGranted),
                opened => opened,
            };
            parent = next?;
        }
        Ok(parent)
    }

    fn parent(&self, directories: &[&str]) -> Result<OwnedFd, Error> {
        match directories {
            [] => Ok(self.root.try_clone()?),
            _ => Ok(open_directory(&self.root, &directories.join("/"))?),
        }
    }

    /// Removes the directories of a name from the innermost on, as far as they are empty.
    fn tidy(&self, directories: &[&str]) {
        for depth in (1..=directories.len()).rev() {
            let (Some(leaf), outer) = (directories.get(depth - 1), &directories[..depth - 1]) else {
                return;
            };
            let removed = self
                .parent(outer)
                .map(|parent| fs::unlinkat(parent, *leaf, AtFlags::REMOVEDIR));
            if !matches!(removed, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// The name has lost its file.
    fn forget(&self, names: &mut Names, name: &PathName, stat: &Stat) {
        names.files = names.files.saturating_sub(1);
        match names.open.remove(name) {
            // Its room is used until the writer is done with it.
            Some(_) => names.unseen += 1,
            None => self.release(size(stat)),
        }
    }

    /// A writer is done.
    pub(super) fn close(&self, length: &Arc<AtomicU64>) {
        let mut names = self.names.lock();
        let open = names.open.len();
        names.open.retain(|_, other| !Arc::ptr_eq(other, length));
        if names.open.len() == open {
            names.unseen = names.unseen.saturating_sub(1);
            self.release(length.load(Relaxed));
        }
    }

    pub(super) fn read(&self, name: &PathName, offset: u64, length: u32) -> Result<Bytes, Error> {
        // Whoever planted a pipe would keep us waiting for its other end.
        let file = open_below(&self.root, name.as_str(), OFlags::RDONLY | OFlags::NONBLOCK)?;
        let stat = fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotFound);
        }
        let there = size(&stat).saturating_sub(offset).min(length.into());
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(0)];
        let file = File::from(file);
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset.saturating_add(filled as u64)) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes.into())
    }

    pub(super) fn rename(&self, from: PathName, to: PathName) -> Result<(), Error> {
        let mut names = self.names.lock();
        let (from_directories, from_leaf) = split(&from);
        let (to_directories, to_leaf) = split(&to);
        let source = self.parent(&from_directories)?;
        regular(&source, from_leaf)?;
        if from == to {
            return Ok(());
        }
        let target = self.make_parent(&to_directories)?;
        let replaced = match regular(&target, to_leaf) {
            Ok(stat) => Some(stat),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        // Neither end of it is followed if it became a link meanwhile.
        fs::renameat(&source, from_leaf, &target, to_leaf)?;
        if let Some(stat) = replaced {
            self.forget(&mut names, &to, &stat);
        }
        if let Some(length) = names.open.remove(&from) {
            names.open.insert(to.clone(), length);
        }
        self.tidy(&from_directories);
        fs::fsync(&target)?;
        Ok(())
    }

    pub(super) fn remove(&self, name: &PathName) -> Result<(), Error> {
        let mut names = self.names.lock();
        let (directories, leaf) = split(name);
        let parent = self.parent(&directories)?;
        let stat = regular(&parent, leaf)?;
        fs::unlinkat(&parent, leaf, AtFlags::empty())?;
        self.forget(&mut names, name, &stat);
        drop(parent);
        self.tidy(&directories);
        Ok(())
    }

    pub(super) fn list(&self, prefix: &str) -> Result<Vec<Entry>, Error> {
        let most = self.most_files.load(Relaxed);
        let mut entries = Vec::new();
        self.walk(prefix, &mut |name, stat| {
            entries.push(Entry {
                name: name.to_owned(),
                size: size(stat),
                modified: modified(stat),
            });
            entries.len() < most
        })?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// Shows every file whose name begins with `prefix`, until told to stop. Links, devices and names that could not
    /// have been made here are passed over.
    fn walk(&self, prefix: &str, found: &mut dyn FnMut(&str, &Stat) -> bool) -> Result<(), Error> {
        let mut directories = VecDeque::from([String::new()]);
        let mut scanned = 0_usize;
        while let Some(path) = directories.pop_front() {
            let directory = if path.is_empty() { "." } else { &path };
            let directory = match open_directory(&self.root, directory) {
                // Removed meanwhile, or replaced by a link.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
                opened => opened?,
            };
            for entry in Dir::read_from(&directory)? {
                let entry = entry?;
                scanned += 1;
                if scanned > SCANNED {
                    return Err(Error::Quota);
                }
                let Some(name) = below(&path, entry.file_name().to_str().ok()) else {
                    continue;
                };
                let Some(stat) = look(directory.as_fd(), entry.file_name()) else {
                    continue;
                };
                match FileType::from_raw_mode(stat.st_mode) {
                    FileType::RegularFile if name.starts_with(prefix) && !found(&name, &stat) => return Ok(()),
                    FileType::Directory if leads_to(&name, prefix) => directories.push_back(name),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

fn look(directory: BorrowedFd<'_>, name: &std::ffi::CStr) -> Option<Stat> {
    fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).ok()
}

/// The full name of what stands in a directory, if it can have one.
fn below(path: &str, leaf: Option<&str>) -> Option<String> {
    let leaf = leaf?;
    let name = if path.is_empty() {
        leaf.to_owned()
    } else {
        format!("{path}/{leaf}")
    };
    PathName::new(&name).is_ok().then_some(name)
}

/// Whether names below a directory can begin with the prefix.
fn leads_to(directory: &str, prefix: &str) -> bool {
    match prefix.strip_prefix(directory) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => directory.starts_with(prefix),
    }
}

/// Microseconds since 1970.
fn modified(stat: &Stat) -> u64 {
    let seconds = u64::try_from(stat.st_mtime).unwrap_or(0);
    seconds
        .saturating_mul(1_000_000)
        .saturating_add(stat.st_mtime_nsec / 1_000)
}

//! What is below a local directory: names, and who writes to them.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::{Mutex, RwLock};
use rustix::{
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

use super::{
    Entry, Error, Item, Options, Quota, Stamp, disk,
    file::Opened,
    name::Name,
    space::{Gauge, MinFree, Space},
    walk,
};

/// Directories that are looked through without a quota, however many files somebody has put there.
const SCANNED: usize = 10_000_000;
/// The same for a plugin's directory.
const SCANNED_WITH_QUOTA: usize = 100_000;

/// What one user of a tree may do. Users of the same tree share what is counted, not what is allowed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    quota: Option<Quota>,
    min_free: MinFree,
    keep: bool,
    directory_mode: Mode,
    file_mode: Mode,
}

impl Rules {
    pub(super) fn new(options: &Options) -> Rules {
        let (directory, file) = if options.public { (0o777, 0o666) } else { (0o700, 0o600) };
        Rules {
            quota: options.quota,
            min_free: options.min_free,
            keep: options.keep,
            directory_mode: Mode::from_raw_mode(directory),
            file_mode: Mode::from_raw_mode(file),
        }
    }

    /// The same for files that nobody else sees, whoever writes them.
    pub(super) fn private(&self) -> Rules {
        let private = Rules::new(&Options::default());
        Rules { quota: None, ..private }
    }

    pub(super) fn directory_mode(&self) -> Mode {
        self.directory_mode
    }

    /// Whether a file that is there is never replaced.
    pub(super) fn keeps(&self) -> bool {
        self.keep
    }

    /// Most files of a list.
    pub(super) fn files(&self) -> usize {
        self.quota.map_or(usize::MAX, |quota| quota.files)
    }

    fn scanned(&self) -> usize {
        match self.quota {
            Some(_) => SCANNED_WITH_QUOTA,
            None => SCANNED,
        }
    }
}

/// The files below one directory.
#[derive(Debug)]
pub(super) struct Tree {
    path: PathBuf,
    root: RwLock<Arc<Root>>,
    /// Another directory stands at the path since what was there was counted.
    replaced: AtomicBool,
    gauge: Gauge,
    /// Bytes of all files once `Names::counted`, before that the change since the directory was opened.
    bytes: AtomicI64,
    /// Held while names change, so that no directory goes away under a file that is about to be made, and the count
    /// is that of the files. Writing does not take it, and nobody waits for the disk to sync while holding it.
    names: Mutex<Names>,
}

#[derive(Debug)]
struct Root {
    directory: OwnedFd,
    identity: Identity,
}

/// Device and inode.
type Identity = (u64, u64);

#[derive(Debug, Default)]
struct Names {
    /// Somebody has a quota: what is there was counted.
    counted: bool,
    files: i64,
    /// Files that are being written, by name.
    open: BTreeMap<Name, Arc<AtomicU64>>,
    /// Files that are being written and have no name any more.
    unseen: usize,
}

impl Root {
    /// The operator's own path may well be a link.
    fn open(path: &Path) -> Result<Root, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = fs::open(path, flags, Mode::empty())?;
        let identity = identity(&fs::fstat(&directory)?);
        Ok(Root { directory, identity })
    }
}

fn identity(stat: &Stat) -> Identity {
    (stat.st_dev, stat.st_ino)
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

/// Directories whose names changed: synced once the lock is free, the outermost first.
type Changed = Vec<Arc<OwnedFd>>;

fn sync(changed: &Changed) -> Result<(), Errno> {
    changed.iter().try_for_each(|directory| disk::sync_names(directory))
}

impl Tree {
    /// Opens a directory, which is made when it is missing.
    pub(super) fn new(path: &Path, rules: &Rules) -> io::Result<Tree> {
        disk::make_root(path, rules.directory_mode)?;
        let root = Root::open(path)?;
        // Without the system call nothing else here would work; said once, at load.
        disk::open_directory(&root.directory, ".")?;
        Ok(Tree {
            path: path.to_owned(),
            root: RwLock::new(Arc::new(root)),
            replaced: AtomicBool::new(false),
            gauge: Gauge::default(),
            bytes: AtomicI64::new(0),
            names: Mutex::default(),
        })
    }

    /// Whether a path leads to this very directory.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        if self.path == path {
            return true;
        }
        let there = fs::stat(path).map(|stat| identity(&stat));
        self.root().is_ok_and(|root| there == Ok(root.identity))
    }

    /// The directory that stands at the path now: who deletes or moves it away, or mounts a disk there, means it.
    fn root(&self) -> Result<Arc<Root>, Error> {
        let there = identity(&fs::stat(&self.path)?);
        let known = self.root.read().clone();
        if known.identity == there {
            return Ok(known);
        }
        let opened = Arc::new(Root::open(&self.path)?);
        *self.root.write() = opened.clone();
        self.replaced.store(true, Relaxed);
        Ok(opened)
    }

    /// The same, made again when it is missing.
    fn root_made(&self, rules: &Rules) -> Result<Arc<Root>, Error> {
        match self.root() {
            Err(Error::NotFound) => {
                disk::make_root(&self.path, rules.directory_mode)?;
                self.root()
            }
            root => root,
        }
    }

    /// Counts what is there, if nobody did yet. What is written meanwhile may count twice, never not at all.
    pub(super) fn count(&self) -> Result<(), Error> {
        let mut names = self.names.lock();
        if names.counted {
            return Ok(());
        }
        let before = self.bytes.load(Relaxed);
        let (mut files, mut bytes) = (0_i64, 0_i64);
        let root = self.root()?;
        walk::walk(&root.directory, "", SCANNED_WITH_QUOTA, &mut |_, stat| {
            files = files.saturating_add(1);
            bytes = bytes.saturating_add(stat.st_size);
            true
        })?;
        names.files = files;
        names.counted = true;
        self.bytes.fetch_add(bytes.saturating_sub(before), Relaxed);
        Ok(())
    }

    /// Bytes of all files, if somebody counts them.
    pub(super) fn used(&self) -> Option<u64> {
        let counted = self.names.lock().counted;
        counted.then(|| u64::try_from(self.bytes.load(Relaxed)).unwrap_or(0))
    }

    /// Takes room for bytes that are about to be written.
    pub(super) fn reserve(&self, rules: &Rules, bytes: u64) -> Result<(), Error> {
        let most = rules.quota.map_or(i64::MAX, |quota| signed(quota.bytes));
        let taken = self.bytes.fetch_update(Relaxed, Relaxed, |used| {
            used.checked_add(signed(bytes)).filter(|used| *used <= most)
        });
        taken.map(drop).map_err(|_| Error::Quota)
    }

    /// Gives room back.
    pub(super) fn release(&self, bytes: u64) {
        // Files that others shortened behind our back make the count too high, never too low.
        self.bytes.fetch_sub(signed(bytes), Relaxed);
    }

    /// Whether the file system keeps what must stay free.
    pub(super) fn has_space(&self, rules: &Rules, bytes: u64) -> Result<(), Error> {
        let root = self.root.read().clone();
        self.gauge.allows(&root.directory, rules.min_free, bytes)
    }

    /// The file system has no room for so many bytes.
    pub(super) fn refused(&self, bytes: u64) {
        self.gauge.refused(bytes);
    }

    pub(super) fn space(&self) -> Option<Space> {
        let root = self.root().ok()?;
        self.gauge.space(&root.directory)
    }

    pub(super) fn create(&self, rules: &Rules, name: Name, length: &Arc<AtomicU64>) -> Result<OwnedFd, Error> {
        let root = self.root_made(rules)?;
        if rules.quota.is_some() && self.replaced.swap(false, Relaxed) {
            self.names.lock().counted = false;
            self.count()?;
        }
        self.gauge.allows(&root.directory, rules.min_free, 0)?;
        let (file, changed) = self.put(&root, rules, &name, length)?;
        if let Err(error) = sync(&changed) {
            self.close(length);
            let _ = self.remove(&name);
            return Err(error.into());
        }
        Ok(file)
    }

    fn put(
        &self,
        root: &Root,
        rules: &Rules,
        name: &Name,
        length: &Arc<AtomicU64>,
    ) -> Result<(OwnedFd, Changed), Error> {
        let mut names = self.names.lock();
        let (directories, leaf) = name.split();
        if let Some(quota) = rules.quota
            && names.open.len().saturating_add(names.unseen) >= quota.open
        {
            return Err(Error::Quota);
        }
        let (parent, mut changed) = make_parent(root, rules, &directories)?;
        let mut held = None;
        match regular(&*parent, leaf) {
            Ok(_) if rules.keep => return Err(Error::Io(io::ErrorKind::AlreadyExists.into())),
            Ok(stat) => {
                held = hold(&parent, leaf);
                disk::unlink(&parent, leaf)?;
                self.forget(&mut names, name, &stat);
            }
            Err(Error::NotFound) => {
                let most = rules.quota.map_or(i64::MAX, |quota| signed(quota.files as u64));
                if names.files >= most {
                    tidy(root, &directories);
                    return Err(Error::Quota);
                }
            }
            Err(error) => return Err(error),
        }
        let file = disk::create(&parent, leaf, rules.file_mode).map_err(|error| match error {
            // A directory, or what somebody else put there this moment.
            Errno::EXIST => Error::NotGranted,
            error => error.into(),
        })?;
        names.files = names.files.saturating_add(1);
        // Whose file somebody removed behind our back writes on, unseen.
        names.unseen += usize::from(names.open.insert(name.clone(), length.clone()).is_some());
        changed.push(parent);
        drop(names);
        drop(held);
        Ok((file, changed))
    }

    /// The name has lost its file.
    fn forget(&self, names: &mut Names, name: &Name, stat: &Stat) {
        names.files = names.files.saturating_sub(1);
        match names.open.remove(name) {
            // Its room is used until the writer is done with it.
            Some(_) => names.unseen += 1,
            None => self.release(walk::size(stat)),
        }
    }

    /// A writer is done: the name that its file has, if it still has one.
    pub(super) fn close(&self, length: &Arc<AtomicU64>) -> Option<Name> {
        let mut names = self.names.lock();
        let name = names.open.iter().find(|(_, other)| Arc::ptr_eq(other, length));
        let name = name.map(|(name, _)| name.clone());
        match &name {
            Some(name) => drop(names.open.remove(name)),
            None => {
                names.unseen = names.unseen.saturating_sub(1);
                self.release(length.load(Relaxed));
            }
        }
        name
    }

    pub(super) fn is_open(&self, name: &Name) -> bool {
        self.names.lock().open.contains_key(name)
    }

    pub(super) fn open(&self, name: &Name) -> Result<Opened, Error> {
        // Whoever planted a pipe would keep us waiting for its other end.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK;
        Opened::new(disk::open_below(
            &self.root()?.directory,
            name.as_str(),
            flags,
            Mode::empty(),
        )?)
    }

    /// Cuts a file that nobody writes, for good.
    pub(super) fn truncate(&self, name: &Name, length: u64) -> Result<(), Error> {
        let root = self.root()?;
        let names = self.names.lock();
        if names.open.contains_key(name) {
            return Err(Error::Io(io::Error::other("the file is being written")));
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK;
        let file = disk::open_below(&root.directory, name.as_str(), flags, Mode::empty())?;
        let stat = fs::fstat(&file)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(Error::NotFound);
        }
        let cut = walk::size(&stat).saturating_sub(length);
        if cut > 0 {
            disk::cut(&file, length)?;
            self.release(cut);
        }
        drop(names);
        disk::sync_data(&file)?;
        Ok(())
    }

    pub(super) fn rename(&self, rules: &Rules, from: &Name, to: &Name) -> Result<(), Error> {
        let root = self.root()?;
        let mut names = self.names.lock();
        let (from_directories, from_leaf) = from.split();
        let (to_directories, to_leaf) = to.split();
        let source = parent(&root, &from_directories)?;
        regular(&source, from_leaf)?;
        if from == to {
            return Ok(());
        }
        let (target, mut changed) = make_parent(&root, rules, &to_directories)?;
        let replaced = match regular(&*target, to_leaf) {
            Ok(stat) => Some(stat),
            Err(Error::NotFound) => None,
            Err(error) => return Err(error),
        };
        let held = replaced.and_then(|_| hold(&target, to_leaf));
        // Neither end of it is followed if it became a link meanwhile.
        disk::rename(&source, from_leaf, &target, to_leaf)?;
        if let Some(stat) = replaced {
            self.forget(&mut names, to, &stat);
        }
        if let Some(length) = names.open.remove(from) {
            names.open.insert(to.clone(), length);
        }
        tidy(&root, &from_directories);
        changed.push(target);
        drop(names);
        drop(held);
        Ok(sync(&changed)?)
    }

    pub(super) fn remove(&self, name: &Name) -> Result<(), Error> {
        self.remove_if(name, |_| true).map(drop)
    }

    /// Removes the very file that was opened; false if the name has another one by now.
    pub(super) fn remove_opened(&self, name: &Name, opened: &Opened) -> Result<bool, Error> {
        self.remove_if(name, |stat| opened.is(stat))
    }

    /// Whether the name still has the very file that was opened.
    pub(super) fn is(&self, name: &Name, opened: &Opened) -> bool {
        let stat = self.root().and_then(|root| {
            let (directories, leaf) = name.split();
            regular(parent(&root, &directories)?, leaf)
        });
        stat.is_ok_and(|stat| opened.is(&stat))
    }

    fn remove_if(&self, name: &Name, meant: impl FnOnce(&Stat) -> bool) -> Result<bool, Error> {
        let root = self.root()?;
        let mut names = self.names.lock();
        let (directories, leaf) = name.split();
        let parent = parent(&root, &directories)?;
        let stat = regular(&parent, leaf)?;
        if !meant(&stat) {
            return Ok(false);
        }
        let held = hold(&parent, leaf);
        disk::unlink(&parent, leaf)?;
        self.forget(&mut names, name, &stat);
        tidy(&root, &directories);
        drop(names);
        drop(held);
        Ok(true)
    }

    /// One file.
    pub(super) fn entry(&self, name: &Name) -> Result<Entry, Error> {
        let root = self.root()?;
        let (directories, leaf) = name.split();
        let stat = regular(parent(&root, &directories)?, leaf)?;
        Ok(walk::entry(name.as_str(), &stat))
    }

    pub(super) fn list(&self, rules: &Rules, prefix: &str) -> Result<Vec<Entry>, Error> {
        let root = match self.root() {
            Err(Error::NotFound) => return Ok(Vec::new()),
            root => root?,
        };
        let most = rules.files();
        let mut entries = Vec::new();
        walk::walk(&root.directory, prefix, rules.scanned(), &mut |name, stat| {
            entries.push(walk::entry(name, stat));
            entries.len() < most
        })?;
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The sizes of all files.
    pub(super) fn each(&self, found: &mut dyn FnMut(u64)) -> Result<(), Error> {
        let root = self.root()?;
        walk::walk(&root.directory, "", SCANNED, &mut |_, stat| {
            found(walk::size(stat));
            true
        })
    }

    /// What stands in one directory.
    pub(super) fn level(&self, rules: &Rules, directory: Option<&Name>) -> Result<Vec<Item>, Error> {
        walk::level(&self.directory(directory)?, directory, rules.scanned())
    }

    pub(super) fn stamp(&self, directory: Option<&Name>) -> Result<Option<Stamp>, Error> {
        let stat = fs::fstat(&self.directory(directory)?)?;
        Ok(Stamp::of(&stat))
    }

    fn directory(&self, name: Option<&Name>) -> Result<OwnedFd, Error> {
        let path = name.map_or(".", Name::as_str);
        Ok(disk::open_directory(&self.root()?.directory, path)?)
    }
}

fn signed(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Keeps a file that is about to lose its name: the disk gives its blocks back, which may take seconds for a large one,
/// when this is dropped, after the lock. There is no need of a place for trash: losing the name is one step, and whoever
/// has the file open reads on.
fn hold(parent: &OwnedFd, leaf: &str) -> Option<OwnedFd> {
    disk::open_below(parent, leaf, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).ok()
}

/// Opens the directory of a file, and makes the ones that are missing on the way; answers where names changed, too.
fn make_parent(root: &Root, rules: &Rules, directories: &[&str]) -> Result<(Arc<OwnedFd>, Changed), Error> {
    let mut parent = Arc::new(root.directory.try_clone()?);
    let mut changed = Vec::new();
    for segment in directories {
        let next = match disk::open_directory(&*parent, segment) {
            Err(Errno::NOENT) => {
                match disk::make_directory(&parent, segment, rules.directory_mode) {
                    // Somebody else was faster.
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                changed.push(parent.clone());
                disk::open_directory(&*parent, segment)
            }
            // A file stands where a directory would have to be.
            Err(Errno::NOTDIR) => return Err(Error::NotGranted),
            opened => opened,
        };
        parent = Arc::new(next?);
    }
    Ok((parent, changed))
}

fn parent(root: &Root, directories: &[&str]) -> Result<OwnedFd, Error> {
    match directories {
        [] => Ok(root.directory.try_clone()?),
        _ => Ok(disk::open_directory(&root.directory, &directories.join("/"))?),
    }
}

/// Removes the directories of a name from the innermost on, as far as they are empty.
fn tidy(root: &Root, directories: &[&str]) {
    let mut left = directories;
    while let Some((leaf, outer)) = left.split_last() {
        let removed = parent(root, outer).map(|parent| disk::remove_directory(&parent, leaf));
        if !matches!(removed, Ok(Ok(()))) {
            return;
        }
        left = outer;
    }
}

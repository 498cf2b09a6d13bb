//! Notices changed plugin files. Directories are watched, because editors and deployments replace files.
//!
//! A file that was renamed to its name, or whose writer closed it, is looked at there and then: is it a whole component, it is
//! offered. Anything else is given time to settle first, and only then complained about.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, SystemTime},
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _,
    event::{AccessKind, AccessMode, ModifyKind, RenameMode},
};
use parking_lot::Mutex;

use crate::{
    Error, Registry,
    cache::{Digest, digest},
    registry::{Inner, read_file},
};

/// A file is read once it has not changed for so long. One that is still half-written then is refused like any other
/// broken one, and read again when it changes.
const SETTLED: Duration = Duration::from_millis(60);
/// Names that are remembered as finished; of more at once, the rest settles like others.
const FINISHED: usize = 1_024;
/// Between two looks at the files.
const PAUSE: Duration = Duration::from_millis(2);

/// Watches until it is dropped.
pub struct Watch {
    stop: Arc<AtomicBool>,
    wake: mpsc::SyncSender<()>,
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        // A full queue wakes it as well.
        let _ = self.wake.try_send(());
    }
}

impl Registry {
    /// Watches the files of all plugins and lets changed ones take over. Plugins that [`apply`](Self::apply) brings later
    /// are watched from the next change of a watched directory on, or from [`Watch::refresh`].
    ///
    /// # Errors
    /// When the system refuses to watch.
    pub fn watch(&self) -> Result<Watch, Error> {
        // One sign is enough for any number of changes: all files are looked at.
        let (wake, woken) = mpsc::sync_channel(1);
        let sign = wake.clone();
        let finished = Arc::new(Mutex::new(BTreeSet::new()));
        let finishing = finished.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = event
                && finishes(event.kind)
            {
                let mut finishing = finishing.lock();
                let names = event.paths.iter().filter_map(|path| path.file_name());
                for name in names.take(FINISHED.saturating_sub(finishing.len())) {
                    finishing.insert(name.to_owned());
                }
            }
            let _ = sign.try_send(());
        })
        .map_err(Error::Watch)?;
        let stop = Arc::new(AtomicBool::new(false));
        let mut files = Files {
            registry: Arc::downgrade(&self.0),
            watcher,
            directories: BTreeSet::new(),
            seen: BTreeMap::new(),
            finished,
            stop: stop.clone(),
        };
        files.watch_directories();
        thread::Builder::new()
            .name("wasmtx-watch".into())
            .spawn(move || files.run(&woken))
            .map_err(Error::Thread)?;
        Ok(Watch { stop, wake })
    }
}

impl Watch {
    /// Looks at all files now, and at those of plugins that are new.
    pub fn refresh(&self) {
        let _ = self.wake.try_send(());
    }
}

/// Whether nobody writes to a file any more after such an event.
fn finishes(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
    )
}

/// What tells a changed file from an unchanged one without reading it.
type Stamp = (u64, Option<SystemTime>);

struct Files {
    registry: Weak<Inner>,
    watcher: RecommendedWatcher,
    directories: BTreeSet<PathBuf>,
    /// By plugin and file: what was read last.
    seen: BTreeMap<(String, PathBuf), (Stamp, Digest)>,
    /// Names of files, plugins or not, that somebody finished writing since the last look.
    finished: Arc<Mutex<BTreeSet<OsString>>>,
    stop: Arc<AtomicBool>,
}

impl Files {
    fn run(mut self, woken: &mpsc::Receiver<()>) {
        while woken.recv().is_ok() {
            // Something in these directories may change all the time; looking at the files some hundred times a second is enough.
            thread::sleep(PAUSE);
            self.watch_directories();
            loop {
                if self.stop.load(Relaxed) {
                    return;
                }
                self.take_finished();
                let changed = self.changed();
                if changed.is_empty() {
                    break;
                }
                thread::sleep(SETTLED);
                for (name, file, before) in changed {
                    if stamp(&file) == Some(before) {
                        self.read(&name, file, before);
                    }
                }
            }
        }
    }

    /// Offers what is whole of the files that somebody finished; what is not may yet become it.
    fn take_finished(&mut self) {
        let finished = std::mem::take(&mut *self.finished.lock());
        if finished.is_empty() {
            return;
        }
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        // Whatever their times say: two versions may be written within one tick of the file system's clock.
        for (name, file, _) in registry.files() {
            let is_finished = file.file_name().is_some_and(|name| finished.contains(name));
            if !is_finished || self.stop.load(Relaxed) {
                continue;
            }
            if let Some(stamp) = stamp(&file)
                && read_file(&file).is_ok_and(|bytes| registry.is_whole(&name, &bytes))
            {
                self.read(&name, file, stamp);
            }
        }
    }

    fn watch_directories(&mut self) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        for (name, file, _) in registry.files() {
            let directory = match file.parent() {
                Some(directory) if directory != Path::new("") => directory.to_owned(),
                _ => PathBuf::from("."),
            };
            if self.directories.contains(&directory) {
                continue;
            }
            match self.watcher.watch(&directory, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.directories.insert(directory);
                }
                Err(error) => {
                    tracing::warn!(plugin = name, %error, "the plugin's file is not watched for changes");
                }
            }
        }
    }

    /// Files that are not as they were when they were read last.
    fn changed(&self) -> Vec<(String, PathBuf, Stamp)> {
        let Some(registry) = self.registry.upgrade() else {
            return Vec::new();
        };
        let files = registry.files().into_iter();
        files
            .filter_map(|(name, file, _)| {
                let stamp = stamp(&file)?;
                let read = self.seen.get(&(name.clone(), file.clone()));
                read.is_none_or(|(seen, _)| *seen != stamp)
                    .then_some((name, file, stamp))
            })
            .collect()
    }

    /// Reads a file that has settled, and offers what is new in it.
    fn read(&mut self, name: &str, file: PathBuf, stamp: Stamp) {
        let Some(registry) = self.registry.upgrade() else {
            return;
        };
        let running = registry
            .files()
            .into_iter()
            .find(|(other, ..)| other == name)
            .map(|(.., digest)| digest);
        let bytes = read_file(&file);
        let found = bytes.as_deref().map_or([0; 32], digest);
        let last = self.seen.insert((name.to_owned(), file), (stamp, found));
        // The same content again, whether it runs or was refused, is no news.
        if running == Some(found) || last.is_some_and(|(_, last)| last == found) {
            return;
        }
        match bytes {
            Ok(bytes) => registry.offer(name, &bytes),
            Err(error) => tracing::warn!(plugin = name, %error, "the changed file cannot be read"),
        }
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.len(), metadata.modified().ok()))
}

//! Recordings: which there are, what is whole after a crash, and when they go.
//!
//! ```text
//!  recorder ──started, done──> Archive <──segments, open, delete── API, playback
//!                                │  index of a path (index), its log on the disk (log, record)
//!                                │  torn files (recovery, journal)      what a file says (probe)
//!                                └─ old files (retention), by elapsed time (evidence)
//! ```
//!
//! Nothing is looked for before somebody asks, but what the last run left open. What recorders say is queued and worked
//! off by one task ([`Archive::spawn`]); everything else waits for the disk: call it where waiting is allowed.

mod catalog;
mod clock;
mod evidence;
mod index;
mod journal;
mod log;
mod probe;
mod record;
mod recovery;
mod retention;
mod rivals;
mod rules;
mod segment;
mod shelf;
mod spools;
mod task;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeSet,
    fs::{DirBuilder, File},
    io,
    os::unix::fs::DirBuilderExt,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustix::fs::FlockOperation;
use tokio::sync::Notify;
use wasmtx_hub::{Events, PathName};

use crate::storage::{self, Directories, Directory, OpenError, Place, Reader};
use catalog::Catalog;
use evidence::Evidence;
use index::Index;
use journal::{Journal, Note};
use log::Log;
use retention::Marks;
use rivals::Rivals;
use shelf::Shelf;

pub use clock::{Clock, MachineClock};
pub use rules::{Rule, Rules};
pub use segment::{Join, Segment, Told};
pub use task::Keeping;

/// What recorders said and nobody has worked off. Beyond it what they say is lost, and found on the disk.
const MAX_NEWS: usize = 65_536;
/// In an object store no stamp tells that something changed; there an answer holds for so long.
const UNSTAMPED: Duration = Duration::from_secs(60);
/// Files of which nobody knows what they hold that are looked into at once.
const PROBES: usize = 8;
/// Only the server's user looks into what it keeps for itself.
const STATE_MODE: u32 = 0o700;

/// Why something about recordings cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No entry of the configuration is about such a path.
    #[error("path is not configured")]
    UnknownPath,
    /// There is no such segment.
    #[error("no such recording")]
    NotFound,
    /// The segment is being written.
    #[error("the segment is being recorded")]
    Active,
    /// The place of the recordings cannot be had.
    #[error("{0}")]
    Place(#[from] OpenError),
    /// The disk, or the object store.
    #[error("{0}")]
    Storage(storage::Error),
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Error {
        match error {
            storage::Error::NotFound | storage::Error::NotGranted => Error::NotFound,
            error => Error::Storage(error),
        }
    }
}

/// What an [`Archive`] works with.
pub struct Parts {
    /// Those that recorders write through.
    pub directories: Arc<Directories>,
    /// Where the server keeps what it knows. Indexes are in `recordings` below it.
    pub state: PathBuf,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Hears what happened.
    pub events: Events,
}

/// The recordings of a server.
pub struct Archive {
    directories: Arc<Directories>,
    state: PathBuf,
    clock: Arc<dyn Clock>,
    events: Events,
    rules: ArcSwap<Rules>,
    shelf: Shelf,
    catalog: Mutex<Catalog>,
    journal: Journal,
    /// What the last run left open and nobody has looked at yet.
    torn: Mutex<Vec<Note>>,
    evidence: Mutex<Evidence>,
    marks: Mutex<Marks>,
    news: Mutex<Vec<News>>,
    settling: Mutex<()>,
    /// Held as long as this server lives; without it another one keeps these recordings.
    lock: Option<File>,
    /// Places below their floor from which nothing could be removed, and when that was.
    futile: Mutex<Vec<(Place, Instant)>>,
    wake: Notify,
    /// Nothing more is begun.
    stopping: AtomicBool,
}

/// What a recorder said.
#[derive(Debug)]
enum News {
    Started(Told),
    Done(Told),
    Left(Told),
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Archive {
    /// The recordings of a server that knows of no path yet ([`Archive::configure`]). Reads what the last run left open,
    /// nothing else.
    ///
    /// One server at a time looks after recordings with the same state directory: while another one lives, nothing is
    /// cut back, remembered or removed for its age.
    pub fn new(parts: Parts) -> Arc<Archive> {
        let state = parts.state.join("recordings");
        let journal = Journal::new(state.join("open"));
        let lock = match lock(&state) {
            Ok(lock) => Some(lock),
            Err(error) => {
                let path = state.display();
                tracing::warn!(%path, "recordings are neither cut back nor removed, another server may do that: {error}");
                None
            }
        };
        let torn = if lock.is_some() { journal.notes() } else { Vec::new() };
        Arc::new(Archive {
            evidence: Mutex::new(Evidence::open(state.join("clock"))),
            directories: parts.directories,
            state,
            clock: parts.clock,
            events: parts.events,
            rules: ArcSwap::default(),
            shelf: Shelf::default(),
            catalog: Mutex::default(),
            journal,
            torn: Mutex::new(torn),
            marks: Mutex::default(),
            news: Mutex::default(),
            settling: Mutex::default(),
            lock,
            futile: Mutex::default(),
            wake: Notify::new(),
            stopping: AtomicBool::new(false),
        })
    }

    /// What holds from now on.
    pub fn configure(&self, rules: Rules) {
        let before = self.rules.swap(Arc::new(rules)).distinct();
        let now = self.rules.load().distinct();
        if before.len() != now.len() || !before.iter().zip(&now).all(|(a, b)| a.same_files(b)) {
            // What is whose may have changed.
            self.shelf.clear();
            self.catalog.lock().clear();
        }
        self.futile.lock().clear();
        self.wake.notify_one();
    }

    /// A recorder has begun a file. Never waits.
    pub fn started(&self, told: Told) {
        self.hear(News::Started(told));
    }

    /// A recorder has finished a file. Never waits.
    pub fn done(&self, told: Told) {
        self.hear(News::Done(told));
    }

    /// A recorder is gone and has left a file as it was. Never waits.
    pub fn left(&self, told: Told) {
        self.hear(News::Left(told));
    }

    fn hear(&self, news: News) {
        let mut queue = self.news.lock();
        if queue.len() < MAX_NEWS {
            queue.push(news);
        }
        drop(queue);
        self.wake.notify_one();
    }

    /// The paths that have recordings, by name. Of several places those that can be reached count.
    pub fn paths(&self) -> Result<Vec<PathName>, Error> {
        self.settle();
        let rules = self.rules.load();
        let distinct = rules.distinct();
        let (mut names, mut failure) = (BTreeSet::new(), None);
        self.catalog.lock().keep(&distinct);
        let all = Arc::new(Rules::clone(&rules));
        for rule in distinct {
            let found = match self.directory(&rule) {
                Ok(Some(directory)) => self.look_through(&all, &rule, &directory),
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(place = %rule.place, "its recordings cannot be listed: {error}");
                    failure = Some(error);
                    continue;
                }
            };
            names.extend(found.into_iter().filter(|path| {
                let own = rules.of(path);
                own.is_some_and(|own| own.same_files(&rule))
            }));
        }
        match failure {
            Some(error) if names.is_empty() => Err(error),
            _ => Ok(names.into_iter().collect()),
        }
    }

    /// The segments of a path, by start. Files are not opened: what nobody has looked into yet says so
    /// ([`Segment::known`]).
    pub fn segments(&self, path: &PathName) -> Result<Arc<[Segment]>, Error> {
        self.settle();
        match self.with(path, |index| {
            match index.refresh(false) {
                // While a store is away, what is known of it has to do.
                Err(_) if index.is_away() && !index.entries().is_empty() => {}
                looked => looked?,
            }
            Ok(index.show())
        }) {
            Err(Error::NotFound) => Ok(Arc::default()),
            segments => segments,
        }
    }

    /// The same; those that have a part between two times (microseconds since 1970, the later one excluded) are looked
    /// into, a few files at once, if nobody has.
    pub fn probed(&self, path: &PathName, from: u64, to: u64) -> Result<Arc<[Segment]>, Error> {
        let segments = self.segments(path)?;
        let first = segments
            .partition_point(|segment| segment.start < from)
            .saturating_sub(1);
        let last = segments.partition_point(|segment| segment.start < to);
        let unknown = segments.get(first..last).unwrap_or_default().iter();
        let unknown: Vec<&Segment> = unknown.filter(|segment| !segment.known || segment.active).collect();
        if unknown.is_empty() {
            return Ok(segments);
        }
        let directory = self.with(path, |index| Ok(index.directory().clone()))?;
        let facts = probe::all(&directory, &unknown, PROBES);
        self.with(path, |index| {
            for (segment, facts) in facts {
                index.learn(&segment.file, segment.size, facts);
            }
            Ok(index.show())
        })
    }

    /// Opens a segment. What is read stays there while it is read, whoever deletes it.
    pub fn open(&self, path: &PathName, segment: &Segment) -> Result<Reader, Error> {
        let directory = self.with(path, |index| Ok(index.directory().clone()))?;
        match directory.open(&segment.file) {
            Ok(reader) => Ok(reader),
            Err(error) => {
                // Somebody removed it under us.
                if matches!(error, storage::Error::NotFound) {
                    self.with(path, |index| {
                        index.forget(segment.start, &segment.file);
                        Ok(())
                    })?;
                }
                Err(error.into())
            }
        }
    }

    /// Deletes the segment that begins at a time (microseconds since 1970). One that is being written stays
    /// ([`Error::Active`]).
    pub fn delete(&self, path: &PathName, start: u64) -> Result<(), Error> {
        self.settle();
        self.with(path, |index| {
            index.refresh(false)?;
            let files: Vec<Arc<str>> = index.at(start).iter().map(|entry| entry.segment.file.clone()).collect();
            if files.is_empty() {
                return Err(Error::NotFound);
            }
            files.iter().try_for_each(|file| index.remove(start, file))
        })
    }

    /// The whole name of a segment's file, or its address in an object store.
    pub fn location(&self, path: &PathName, segment: &Segment) -> Result<String, Error> {
        let rule = self.rules.load().of(path).ok_or(Error::UnknownPath)?;
        Ok(match &rule.place {
            Place::Directory(directory) => directory.join(&*segment.file).display().to_string(),
            Place::Objects(address) => format!("{}/{}", address.trim_end_matches('/'), segment.file),
        })
    }

    /// Looks through a place. Nothing is held meanwhile: it may take long.
    fn look_through(
        &self,
        all: &Arc<Rules>,
        rule: &Arc<Rule>,
        directory: &Directory,
    ) -> Result<BTreeSet<PathName>, Error> {
        let rivals = Rivals::new(all.clone(), rule);
        let known = self.catalog.lock().take(rule);
        let (folders, looked) = catalog::walk(known, rule, &rivals, directory);
        let paths = folders.values().flat_map(|folder| folder.paths()).cloned().collect();
        self.catalog.lock().put(rule, folders);
        looked?;
        Ok(paths)
    }

    /// The directory of an entry; none while a local one does not exist.
    fn directory(&self, rule: &Rule) -> Result<Option<Directory>, Error> {
        if let Place::Directory(path) = &rule.place
            && !path.is_dir()
        {
            return Ok(None);
        }
        Ok(Some(self.directories.open(&rule.place, rule.options())?))
    }

    /// Works off what recorders said, so that an answer is not older than it.
    fn settle(&self) {
        // What is said of a file is worked off in the order in which it was said. Who finds somebody at it, who may be
        // waiting for a disk that does not answer, goes on with what is known.
        let Some(_alone) = self.settling.try_lock() else {
            return;
        };
        let news = std::mem::take(&mut *self.news.lock());
        for news in &news {
            let (News::Started(told) | News::Done(told) | News::Left(told)) = news;
            let note = Note {
                path: told.path.clone(),
                place: told.place.to_string(),
                file: told.file.clone(),
            };
            match news {
                _ if !self.is_alone() => {}
                News::Started(_) => {
                    if let Err(error) = self.journal.add(&note) {
                        tracing::warn!(path = %told.path, "a recording cannot be noted as open: {error}");
                    }
                }
                News::Done(_) => self.journal.remove(&note),
                News::Left(_) => self.torn.lock().push(note),
            }
            self.apply(news, told);
        }
    }

    fn apply(&self, news: &News, told: &Told) {
        let rule = self.rules.load().of(&told.path);
        // Whoever records to another place keeps that in order, too.
        let Some(rule) = rule.filter(|rule| rule.place == told.place) else {
            return;
        };
        if let News::Started(_) = news {
            self.catalog.lock().add(&rule, &told.path, &told.file);
        }
        let applied = self.with(&told.path, |index| {
            match news {
                News::Started(_) => index.started(&told.file),
                News::Done(_) => {
                    index.done(told, self.evidence.lock().elapsed(&*self.clock));
                    self.shrink(&told.path, &rule, index);
                }
                News::Left(_) => {
                    recovery::recover(self, &told.path, index);
                    if let Some(entry) = index.get(&told.file).filter(|entry| entry.finished) {
                        self.tell_done(&told.path, &entry.segment);
                    }
                }
            }
            Ok(())
        });
        match applied {
            Ok(()) | Err(Error::NotFound) => {}
            Err(error) => tracing::warn!(path = %told.path, "its recordings: {error}"),
        }
    }

    /// Whether no other server looks after these recordings.
    fn is_alone(&self) -> bool {
        self.lock.is_some()
    }

    /// Does something with the index of a path, alone. It is loaded first if need be, torn files are cut back.
    fn with<T>(&self, path: &PathName, act: impl FnOnce(&mut Index) -> Result<T, Error>) -> Result<T, Error> {
        let rule = self.rules.load().of(path).ok_or(Error::UnknownPath)?;
        let slot = self.shelf.slot(path, &rule);
        let mut held = slot.index.lock();
        let done = self.loaded(&mut held, path, rule).and_then(|index| {
            let done = act(index);
            slot.note(index);
            done
        });
        drop(held);
        self.shelf.bound(path, slot);
        done
    }

    fn loaded<'a>(
        &self,
        held: &'a mut Option<Index>,
        path: &PathName,
        rule: Arc<Rule>,
    ) -> Result<&'a mut Index, Error> {
        match held {
            Some(index) => Ok(index),
            empty => {
                let directory = self.directory(&rule)?.ok_or(Error::NotFound)?;
                Ok(empty.insert(self.load(path, rule, directory)?))
            }
        }
    }

    fn load(&self, path: &PathName, rule: Arc<Rule>, directory: Directory) -> Result<Index, Error> {
        let (log, records) = match self.is_alone() {
            true => Log::open(&self.state, head(path, &rule)),
            false => (Log::none(), Vec::new()),
        };
        let rivals = Rivals::new(self.rules.load_full(), &rule);
        let mut index = Index::new(path.clone(), rule, rivals, directory, log, records);
        match index.refresh(false) {
            // What is torn is here, even when the store cannot be reached.
            Err(error) if index.is_away() => {
                tracing::warn!(%path, "what is remembered of its recordings has to do: {error}");
            }
            looked => looked?,
        }
        recovery::recover(self, path, &mut index);
        Ok(index)
    }

    /// Removes what is remembered of paths that have no recordings any more.
    fn tidy(&self, paths: &[PathName]) {
        let rules = self.rules.load();
        let there = paths.iter().filter_map(|path| Some(head(path, &*rules.of(path)?)));
        let held = self.shelf.held();
        let held = held.iter().map(|(path, rule)| head(path, rule));
        log::tidy(&self.state, there.chain(held));
    }

    /// How soon there is something to look after.
    fn interval(&self) -> Duration {
        retention::interval(&self.rules.load())
    }
}

/// What a log is the log of.
fn head(path: &PathName, rule: &Rule) -> String {
    format!("{path}\n{}\n{:?}", rule.place, rule.template)
}

/// Makes the directories that indexes and notes are kept in, and keeps other servers out of them.
fn lock(state: &Path) -> io::Result<File> {
    let mut builder = DirBuilder::new();
    builder.recursive(true).mode(STATE_MODE).create(state.join("open"))?;
    let file = File::create(state.join("lock"))?;
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

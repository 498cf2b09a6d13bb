//! What waits in the spool, and the tasks that bring it to the store.
//!
//! A file waits until the store has it: there is no bound but the disk's, whose floor stops the writing. Few files are
//! on their way at once, each with one part in memory.

use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Notify, task::spawn_blocking, time::Instant};

use super::{Shared, progress::Progress};
use crate::{
    backoff::Backoff,
    storage::{Entry, Error, READ_BYTES, file::Opened, name::Name},
};

/// Files on their way at once.
pub(super) const AT_ONCE: usize = 4;
/// Bytes of a part, and of the largest file that goes without parts.
const PART: u64 = 8 << 20;
/// Parts of a file; larger files have larger parts.
const PARTS: u64 = 10_000;

/// The names that wait.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    work: Mutex<Work>,
    more: Notify,
    pub(super) counts: Counts,
}

/// What was brought to the store since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) files: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Work {
    queue: VecDeque<Name>,
    /// On their way. A name that is there waits in the queue until it is not.
    running: BTreeSet<Name>,
    /// Names that were taken from files which may be on their way: the store must not have them in the end.
    unwanted: BTreeSet<Name>,
    /// Of an earlier server, until somebody looked at how they end.
    leftovers: Vec<Name>,
    backoff: Backoff,
    /// Nobody asks the store before.
    pause: Option<Instant>,
}

/// What became of an upload.
enum Outcome {
    /// The store has the file, so many bytes.
    Done(u64),
    /// The file went away or became another meanwhile.
    Outdated,
    /// There is nothing to do.
    Nothing,
}

/// Why it did not work.
enum Failure {
    Disk(Error),
    Store(object_store::Error),
    /// The store knows nothing of what was begun: it begins anew.
    Forgotten,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Disk(error)
    }
}

impl From<object_store::Error> for Failure {
    fn from(error: object_store::Error) -> Failure {
        Failure::Store(error)
    }
}

impl Uploads {
    pub(super) fn add_leftovers(&self, names: impl IntoIterator<Item = Name>) {
        self.work.lock().leftovers.extend(names);
    }

    pub(super) fn leftovers(&self) -> Vec<Name> {
        self.work.lock().leftovers.clone()
    }

    pub(super) fn queue_leftovers(&self) {
        let mut work = self.work.lock();
        let leftovers = std::mem::take(&mut work.leftovers);
        work.queue.extend(leftovers);
        drop(work);
        self.more.notify_waiters();
    }

    pub(super) fn queue(&self, name: Name) {
        let mut work = self.work.lock();
        if !work.queue.contains(&name) {
            work.queue.push_back(name);
        }
        drop(work);
        self.more.notify_waiters();
    }

    /// A file is about to lose its name.
    pub(super) fn unwant(&self, name: &Name) {
        self.work.lock().unwanted.insert(name.clone());
    }

    /// It lost it, or not.
    pub(super) fn unwanted(&self, name: &Name, lost: bool) {
        let mut work = self.work.lock();
        if !lost || !work.running.contains(name) {
            work.unwanted.remove(name);
        }
    }

    fn is_unwanted(&self, name: &Name) -> bool {
        self.work.lock().unwanted.contains(name)
    }

    /// The next name that nobody else is at, once the store is worth asking.
    async fn next(&self) -> Name {
        loop {
            let mut more = pin!(self.more.notified());
            more.as_mut().enable();
            let pause = {
                let mut work = self.work.lock();
                let now = Instant::now();
                work.pause = work.pause.filter(|pause| *pause > now);
                let free = work.queue.iter().position(|name| !work.running.contains(name));
                match (work.pause, free) {
                    (None, Some(free)) => {
                        if let Some(name) = work.queue.remove(free) {
                            work.running.insert(name.clone());
                            return name;
                        }
                        None
                    }
                    (pause, Some(_)) => pause,
                    (_, None) => None,
                }
            };
            match pause {
                Some(pause) => tokio::time::sleep_until(pause).await,
                None => more.await,
            }
        }
    }

    fn done(&self, name: &Name) {
        let mut work = self.work.lock();
        work.running.remove(name);
        work.unwanted.remove(name);
        work.backoff.reset();
        drop(work);
        self.more.notify_waiters();
    }

    /// Once more, later. Those that fail together fail once.
    fn again(&self, name: Name) -> Duration {
        self.counts.failures.fetch_add(1, Relaxed);
        let mut work = self.work.lock();
        let now = Instant::now();
        let pause = match work.pause.filter(|pause| *pause > now) {
            Some(pause) => pause,
            None => now + work.backoff.next(rand::random()),
        };
        work.pause = Some(pause);
        work.running.remove(&name);
        work.unwanted.remove(&name);
        work.queue.push_back(name);
        drop(work);
        self.more.notify_waiters();
        pause.duration_since(now)
    }
}

/// Brings one file after the other to the store, for ever.
pub(super) async fn work(shared: Arc<Shared>) {
    loop {
        let name = shared.uploads.next().await;
        let failure = match upload(&shared, &name).await {
            Ok(outcome) => {
                if let Outcome::Done(bytes) = outcome {
                    shared.store.heard(None);
                    shared.uploads.counts.files.fetch_add(1, Relaxed);
                    shared.uploads.counts.bytes.fetch_add(bytes, Relaxed);
                    tracing::debug!(store = %shared.store.address, file = %name, bytes, "uploaded");
                }
                shared.uploads.done(&name);
                continue;
            }
            Err(failure) => failure,
        };
        let file = name.to_string();
        let pause = shared.uploads.again(name);
        match failure {
            Failure::Store(error) => {
                shared.store.refused(&error);
                tracing::debug!(store = %shared.store.address, %file, ?pause, "not uploaded yet: {error}");
            }
            Failure::Disk(error) => {
                tracing::warn!(store = %shared.store.address, %file, ?pause, "the spool cannot be read: {error}");
            }
            Failure::Forgotten => {
                tracing::info!(store = %shared.store.address, %file, "the store forgot what it had of a file: its upload begins anew");
            }
        }
    }
}

async fn upload(shared: &Arc<Shared>, name: &Name) -> Result<Outcome, Failure> {
    let begun = ask_disk(shared, name, |shared, name| {
        // Who is writing it says when it is done.
        if shared.spool.is_open(name) {
            return Ok(None);
        }
        match shared.spool.open(name) {
            Err(Error::NotFound) => Ok(None),
            opened => {
                let opened = Arc::new(opened?);
                let file = opened.entry(name)?;
                Ok(Some((opened, file, shared.ledger.load(name.as_str()))))
            }
        }
    });
    let Some((opened, file, mut known)) = begun.await? else {
        return Ok(Outcome::Nothing);
    };
    if let Some(other) = known.take_if(|known| known.file != file) {
        abandon(shared, name, &other).await;
    }
    let size = file.size;
    if size <= PART {
        let bytes = read(opened.clone(), 0, size).await?;
        shared.store.put(name, bytes).await?;
    } else if !in_parts(shared, name, &opened, file, known).await? {
        return Ok(Outcome::Outdated);
    }
    // From now on the store shows it: nobody may believe an older list.
    shared.lists.clear();
    let left = ask_disk(shared, name, move |shared, name| {
        shared.ledger.forget(name.as_str());
        match shared.spool.remove_opened(name, &opened) {
            Err(Error::NotFound) => Ok(None),
            removed => removed.map(Some),
        }
    });
    match left.await? {
        Some(true) => Ok(Outcome::Done(size)),
        // Another file of that name is on its way, and goes in place of this one.
        Some(false) => Ok(Outcome::Outdated),
        // Somebody emptied the spool: the store has all that is left.
        None if !shared.uploads.is_unwanted(name) => Ok(Outcome::Done(size)),
        None => {
            shared.store.delete(name).await?;
            shared.lists.clear();
            Ok(Outcome::Outdated)
        }
    }
}

/// Brings a file's parts to the store, beginning with the first one that it has not; false if the file went away.
async fn in_parts(
    shared: &Arc<Shared>,
    name: &Name,
    opened: &Arc<Opened>,
    file: Entry,
    known: Option<Progress>,
) -> Result<bool, Failure> {
    let size = file.size;
    let mut progress = match known {
        Some(known) => known,
        None => Progress {
            upload: shared.store.begin(name).await?,
            part: PART.max(size.div_ceil(PARTS).next_multiple_of(READ_BYTES.into())),
            parts: Vec::new(),
            file,
        },
    };
    let forgotten = |error| match error {
        object_store::Error::NotFound { .. } => Failure::Forgotten,
        error => Failure::Store(error),
    };
    loop {
        let (kept, at) = (progress.clone(), opened.clone());
        let wanted = ask_disk(shared, name, move |shared, name| {
            if let Err(error) = shared.ledger.save(&kept) {
                tracing::debug!("the progress of an upload is not kept: {error}");
            }
            // What somebody took away under us is still here, open.
            let gone = || matches!(shared.spool.entry(name), Err(Error::NotFound));
            Ok(shared.spool.is(name, &at) || (gone() && !shared.uploads.is_unwanted(name)))
        });
        if !wanted.await? {
            abandon(shared, name, &progress).await;
            return Ok(false);
        }
        let offset = progress.part.saturating_mul(progress.parts.len() as u64);
        if offset >= size {
            break;
        }
        let bytes = read(opened.clone(), offset, progress.part.min(size - offset)).await?;
        let part = shared
            .store
            .put_part(name, &progress.upload, progress.parts.len(), bytes);
        match part.await.map_err(forgotten) {
            Ok(part) => progress.parts.push(part),
            Err(failure) => {
                if matches!(failure, Failure::Forgotten) {
                    shared.ledger.forget(name.as_str());
                }
                return Err(failure);
            }
        }
    }
    let completed = shared.store.complete(name, &progress.upload, &progress.parts).await;
    match completed.map_err(forgotten) {
        // It may have been completed before, and nobody heard the answer.
        Err(Failure::Forgotten) => match shared.store.size(name).await {
            Ok(there) if there == size => Ok(true),
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {
                shared.ledger.forget(name.as_str());
                Err(Failure::Forgotten)
            }
            Err(error) => Err(error.into()),
        },
        completed => completed.map(|()| true),
    }
}

/// Stores bill for parts that nobody asks for any more.
pub(super) async fn abandon(shared: &Shared, name: &Name, progress: &Progress) {
    match shared.store.abort(name, &progress.upload).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => shared.ledger.forget(name.as_str()),
        Err(error) => tracing::debug!(store = %shared.store.address, file = %name, "an upload is left behind: {error}"),
    }
}

/// A part of a file.
async fn read(opened: Arc<Opened>, offset: u64, length: u64) -> Result<Vec<Bytes>, Failure> {
    let read = spawn_blocking(move || {
        let end = offset.saturating_add(length);
        let (mut at, mut bytes) = (offset, Vec::new());
        while at < end {
            let piece = opened.read_at(at, u32::try_from(end - at).unwrap_or(READ_BYTES).min(READ_BYTES))?;
            if piece.is_empty() {
                return Err(Error::NotFound);
            }
            at = at.saturating_add(piece.len() as u64);
            bytes.push(piece);
        }
        Ok(bytes)
    });
    Ok(joined(read).await?)
}

async fn ask_disk<T: Send + 'static>(
    shared: &Arc<Shared>,
    name: &Name,
    ask: impl FnOnce(&Shared, &Name) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let (shared, name) = (shared.clone(), name.clone());
    joined(spawn_blocking(move || ask(&shared, &name))).await
}

async fn joined<T>(task: tokio::task::JoinHandle<Result<T, Error>>) -> Result<T, Error> {
    task.await.unwrap_or_else(|error| Err(Error::Io(error.into())))
}

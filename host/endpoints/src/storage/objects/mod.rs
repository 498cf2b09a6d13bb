//! A place in an object store, behind a spool on the local disk.
//!
//! Everything is written to the spool first, as durably as a local file. A file that is done is brought to the store in
//! the background, in parts whose progress is kept, so that neither an outage nor a restart costs more than a part; then
//! the spool lets it go. Whoever reads or lists sees both as one.

mod address;
mod listing;
mod progress;
mod store;
mod uploads;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use bytes::Bytes;
use tokio::runtime::Handle;

use super::{
    Entry, Error, Item, Kind, OpenError, READ_BYTES, disk,
    file::{Appender, Closed, Opened},
    name::Name,
    tree::{Rules, Tree},
};
use listing::{List, Lists};
use progress::Ledger;
use store::Store;
use uploads::Uploads;

pub(super) use address::Address;

/// The spools below the state directory.
const SPOOLS: &str = "spool";
/// What is in one: the files, …
const FILES: &str = "files";
/// … how far their uploads are, …
const PROGRESS: &str = "uploads";
/// … and whose it is, for people.
const PLACE: &str = "place";

/// Bytes of a key that every store takes.
const KEY_LEN: usize = 1_024;

/// A prefix of a bucket, as seen from here.
#[derive(Debug)]
pub(super) struct Objects(Arc<Shared>);

/// What the upload tasks share with everybody else.
#[derive(Debug)]
pub(super) struct Shared {
    store: Store,
    spool: Arc<Tree>,
    ledger: Ledger,
    lists: Lists,
    uploads: Uploads,
}

/// What an object store is behind with, for who watches over it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Waiting {
    /// Its address: `s3://bucket/prefix`.
    pub place: String,
    /// Files in the spool, those that are being written included.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were uploaded since the start.
    pub uploaded_files: u64,
    /// Their bytes.
    pub uploaded_bytes: u64,
    /// Times that the store did not take one.
    pub failures: u64,
    /// The store did not answer, or refused, when it was asked last.
    pub away: bool,
}

impl Objects {
    /// Opens the spool and begins to upload; nothing waits for the store. The rules are those of the spool.
    pub(super) fn new(
        address: Address,
        state: &Path,
        environment: &[(String, String)],
        rules: &Rules,
        runtime: &Handle,
    ) -> Result<Objects, OpenError> {
        let here = state.join(SPOOLS).join(address.id());
        let place = address.to_string();
        let store = Store::new(address, environment, runtime.clone()).map_err(OpenError::Objects)?;
        let private = rules.private();
        let spool = Arc::new(Tree::new(&here.join(FILES), &private)?);
        disk::make_root(&here.join(PROGRESS), private.directory_mode())?;
        std::fs::write(here.join(PLACE), place + "\n")?;
        let shared = Arc::new(Shared {
            store,
            ledger: Ledger::new(here.join(PROGRESS)),
            lists: Lists::default(),
            uploads: Uploads::default(),
            spool,
        });
        let left = shared.spool.list(&private, "")?;
        shared
            .uploads
            .add_leftovers(left.iter().filter_map(|file| Name::new(&file.name).ok()));
        for _ in 0..uploads::AT_ONCE {
            runtime.spawn(uploads::work(shared.clone()));
        }
        runtime.spawn(begin(shared.clone()));
        Ok(Objects(shared))
    }

    pub(super) fn is_at(&self, address: &Address) -> bool {
        self.0.store.address == *address
    }

    pub(super) fn spool(&self) -> &Arc<Tree> {
        &self.0.spool
    }

    pub(super) fn leftovers(&self) -> Vec<String> {
        self.0.uploads.leftovers().iter().map(Name::to_string).collect()
    }

    pub(super) fn leftovers_recovered(&self) {
        self.0.uploads.queue_leftovers();
    }

    pub(super) fn waiting(&self) -> Result<Waiting, Error> {
        let shared = &self.0;
        let (mut files, mut bytes) = (0, 0_u64);
        shared.spool.each(&mut |size| {
            files += 1;
            bytes = bytes.saturating_add(size);
        })?;
        let counts = &shared.uploads.counts;
        Ok(Waiting {
            place: shared.store.address.to_string(),
            files,
            bytes,
            uploaded_files: counts.files.load(Relaxed),
            uploaded_bytes: counts.bytes.load(Relaxed),
            failures: counts.failures.load(Relaxed),
            away: shared.store.is_away(),
        })
    }

    pub(super) fn create(&self, rules: Rules, name: Name) -> Result<Appender, Error> {
        if self.0.store.address.key(name.as_str()).len() > KEY_LEN {
            return Err(Error::NotGranted);
        }
        let shared = self.0.clone();
        let closed = Closed(Arc::new(move |name, finished| {
            // A recording that nobody finished may have a torn end, which a store would keep for good.
            match finished || !rules.keeps() {
                true => shared.uploads.queue(name),
                false => shared.uploads.add_leftovers([name]),
            }
        }));
        Appender::create(self.0.spool.clone(), rules, name, Some(closed))
    }

    pub(super) fn open(&self, name: Name) -> Result<Remote, Error> {
        // In this order: what leaves the spool is in the store by then.
        match self.0.spool.open(&name) {
            Err(Error::NotFound) => {}
            opened => return opened.map(Remote::Spooled),
        }
        let size = self.asked(&name, |shared, name| async move { shared.store.size(&name).await })?;
        Ok(Remote::Stored {
            shared: self.0.clone(),
            name,
            size,
        })
    }

    pub(super) fn entry(&self, name: &Name) -> Result<Entry, Error> {
        match self.0.spool.entry(name) {
            Err(Error::NotFound) => self.asked(name, |shared, name| async move { shared.store.entry(&name).await }),
            entry => entry,
        }
    }

    fn asked<T: Send + 'static, F: Future<Output = store::Result<T>> + Send + 'static>(
        &self,
        name: &Name,
        ask: impl FnOnce(Arc<Shared>, Name) -> F,
    ) -> Result<T, Error> {
        self.0.store.wait(ask(self.0.clone(), name.clone()))
    }

    pub(super) fn list(&self, rules: &Rules, prefix: &str) -> Result<Vec<Entry>, Error> {
        let spooled = self.0.spool.list(rules, prefix)?;
        let directory = prefix.rsplit_once('/').map_or("", |(directory, _)| directory);
        if !directory.is_empty() && Name::new(directory).is_err() {
            return Ok(spooled);
        }
        let listed = self.listed(directory, true)?;
        let stored = listed
            .entries
            .iter()
            .filter(|entry| entry.name.starts_with(prefix))
            .cloned();
        let by_name = |entry: Entry| (entry.name.clone(), entry);
        // The spool's come last: what is there is newer.
        let all: BTreeMap<_, _> = stored.chain(spooled).map(by_name).collect();
        Ok(all.into_values().take(rules.files()).collect())
    }

    pub(super) fn level(&self, rules: &Rules, directory: Option<&Name>) -> Result<Vec<Item>, Error> {
        let spooled = match self.0.spool.level(rules, directory) {
            Err(Error::NotFound) => None,
            spooled => Some(spooled?),
        };
        let listed = self.listed(directory.map_or("", Name::as_str), false)?;
        // A store has no directories but what names make of them.
        if directory.is_some() && spooled.is_none() && listed.entries.is_empty() && listed.directories.is_empty() {
            return Err(Error::NotFound);
        }
        let leaf = |name: &str| name.rsplit('/').next().unwrap_or_default().to_owned();
        let directories = listed.directories.iter().map(|name| (leaf(name), Kind::Directory));
        let files = listed.entries.iter().map(|entry| {
            let kind = Kind::File {
                size: entry.size,
                modified: entry.modified,
            };
            (leaf(&entry.name), kind)
        });
        let spooled = spooled.into_iter().flatten().map(|item| (item.name, item.kind));
        let all: BTreeMap<_, _> = files.chain(directories).chain(spooled).collect();
        Ok(all.into_iter().map(|(name, kind)| Item { name, kind }).collect())
    }

    fn listed(&self, directory: &str, below: bool) -> Result<Arc<List>, Error> {
        let asked = (directory.to_owned(), below);
        self.0.lists.get(&asked, || {
            let (shared, directory) = (self.0.clone(), directory.to_owned());
            self.0.store.wait_for_list(async move {
                let store = &shared.store;
                let (entries, directories) = match below {
                    true => (store.list(&directory).await?, Vec::new()),
                    false => store.level(&directory).await?,
                };
                Ok(List { entries, directories })
            })
        })
    }

    pub(super) fn rename(&self, rules: &Rules, from: &Name, to: &Name) -> Result<(), Error> {
        match self.taken(from, || self.0.spool.rename(rules, from, to)) {
            Ok(()) => {
                if !self.0.spool.is_open(to) {
                    self.0.uploads.queue(to.clone());
                }
                Ok(())
            }
            Err(Error::NotFound) if from == to => self.entry(from).map(drop),
            Err(Error::NotFound) => {
                let to = to.clone();
                let moved = self.asked(
                    from,
                    |shared, from| async move { shared.store.rename(&from, &to).await },
                );
                self.0.lists.clear();
                moved
            }
            Err(error) => Err(error),
        }
    }

    /// Takes a name from a file in the spool: what is on its way under that name is not wanted any more.
    fn taken(&self, name: &Name, take: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
        self.0.uploads.unwant(name);
        let taken = take();
        self.0.uploads.unwanted(name, taken.is_ok());
        taken
    }

    pub(super) fn remove(&self, name: &Name) -> Result<(), Error> {
        let spooled = match self.taken(name, || self.0.spool.remove(name)) {
            Err(Error::NotFound) => false,
            removed => removed.map(|()| true)?,
        };
        let removed = self.asked(name, move |shared, name| async move {
            if !spooled {
                // Deleting what is not there is no error for a store.
                shared.store.size(&name).await?;
            }
            shared.store.delete(&name).await
        });
        self.0.lists.clear();
        match removed {
            // An upload that is on its way finds its file gone. Only an older file of that name may stay in the store.
            Err(error) if spooled => {
                tracing::debug!(store = %self.0.store.address, file = %name, "removed from the spool only: {error}");
                Ok(())
            }
            removed => removed,
        }
    }
}

/// Gives up what nobody goes on with, and looks once whether the store is there at all.
async fn begin(shared: Arc<Shared>) {
    let at = shared.clone();
    let abandoned = tokio::task::spawn_blocking(move || {
        let unknown = |progress: &progress::Progress| {
            let name = Name::new(&progress.file.name).ok()?;
            let gone = matches!(at.spool.entry(&name), Err(Error::NotFound));
            gone.then(|| (name, progress.clone()))
        };
        at.ledger.all().iter().filter_map(unknown).collect::<Vec<_>>()
    });
    match shared.store.level("").await {
        Ok(_) => shared.store.heard(None),
        Err(error) => shared.store.refused(&error),
    }
    for (name, progress) in abandoned.await.unwrap_or_default() {
        uploads::abandon(&shared, &name, &progress).await;
    }
}

/// A file of either that is open for reading. In the spool it stays readable whatever becomes of its name; in the store
/// it can be deleted.
#[derive(Debug)]
pub(super) enum Remote {
    Spooled(Opened),
    Stored { shared: Arc<Shared>, name: Name, size: u64 },
}

impl Remote {
    pub(super) fn len(&self) -> Result<u64, Error> {
        match self {
            Remote::Spooled(opened) => opened.len(),
            Remote::Stored { size, .. } => Ok(*size),
        }
    }

    pub(super) fn read_at(&self, offset: u64, length: u32) -> Result<Bytes, Error> {
        match self {
            Remote::Spooled(opened) => opened.read_at(offset, length),
            Remote::Stored { shared, name, size } => {
                let end = offset.saturating_add(length.min(READ_BYTES).into()).min(*size);
                if offset >= end {
                    return Ok(Bytes::new());
                }
                let (asked, name) = (shared.clone(), name.clone());
                shared
                    .store
                    .wait(async move { asked.store.read(&name, offset, end).await })
            }
        }
    }
}

#[cfg(test)]
mod tests;

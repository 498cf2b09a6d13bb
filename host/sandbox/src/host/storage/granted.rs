//! The places that plugins were granted: who shares one, how many wait for its disk, and what waits in memory for all of them.

use std::{
    mem,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{sync::Semaphore, task::spawn_blocking};

use super::Result;
use crate::{
    bindings::plugin::storage::StorageError,
    limits::MIB,
    services::{self, Directory, Place, Storage, StorageGrant},
};

/// Threads that one place may keep waiting for its disk. The runtime has 512 for all: one slow disk takes none away from
/// others, and what many write to one reaches it together.
const TURNS: usize = 32;
/// Bytes that wait in memory for all disks together, before every file is written in small pieces.
const WAITING_BYTES: usize = 512 * MIB;

/// A place for files, with a bound on how many wait for it. Cheap to clone; clones share the bound.
#[derive(Clone)]
pub(crate) struct Granted(Arc<Shared>);

struct Shared {
    grant: StorageGrant,
    directory: Arc<dyn Directory>,
    turns: Arc<Semaphore>,
    room: Arc<Room>,
}

impl Granted {
    pub(super) fn new(grant: StorageGrant, directory: Arc<dyn Directory>, room: Arc<Room>) -> Granted {
        Granted(Arc::new(Shared {
            grant,
            directory,
            turns: Arc::new(Semaphore::new(TURNS)),
            room,
        }))
    }

    /// Where the files are.
    pub(crate) fn place(&self) -> &Place {
        &self.0.grant.place
    }

    /// Whether so much waits in memory, of all plugins, that nothing more should.
    pub(super) fn is_short(&self) -> bool {
        self.0.room.taken.load(Relaxed) > self.0.room.most
    }

    /// Nothing yet that waits to be written.
    pub(super) fn pieces(&self) -> Pieces {
        Pieces {
            pieces: Vec::new(),
            bytes: 0,
            room: self.0.room.clone(),
        }
    }

    /// Does something that may wait for a disk.
    pub(super) async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Directory) -> std::result::Result<T, services::StorageError> + Send + 'static,
    ) -> Result<T> {
        let (turns, directory) = (self.0.turns.clone(), self.0.directory.clone());
        // Never closed; the work may be abandoned, its turn ends with it all the same.
        let turn = turns.acquire_owned().await.map_err(|_| StorageError::Io)?;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&*directory)
        });
        done.await.map_err(|_| StorageError::Io)?.map_err(error)
    }
}

/// The places that are open. Who is granted the same one shares it, however many paths they record.
#[derive(Default)]
pub(crate) struct Places {
    open: Mutex<Vec<Weak<Shared>>>,
    room: Arc<Room>,
}

impl Places {
    /// Opens what is granted, unless it is open already.
    pub(crate) fn open(&self, grant: &StorageGrant, storage: &dyn Storage) -> std::result::Result<Granted, String> {
        let find = |open: &Vec<Weak<Shared>>| {
            let open = open.iter().filter_map(Weak::upgrade);
            open.into_iter().find(|shared| shared.grant == *grant)
        };
        if let Some(shared) = find(&self.open.lock()) {
            return Ok(Granted(shared));
        }
        // Opening waits for a disk. Whoever opened it meanwhile has a bound of their own; that does no harm.
        let granted = Granted::new(grant.clone(), storage.directory(grant)?, self.room.clone());
        let mut open = self.open.lock();
        open.retain(|place| place.strong_count() > 0);
        open.push(Arc::downgrade(&granted.0));
        Ok(granted)
    }
}

/// What waits in memory until it is written, of all plugins.
pub(super) struct Room {
    taken: AtomicUsize,
    most: usize,
}

impl Default for Room {
    fn default() -> Room {
        Room::of(WAITING_BYTES)
    }
}

impl Room {
    pub(super) fn of(most: usize) -> Room {
        Room {
            taken: AtomicUsize::new(0),
            most,
        }
    }
}

/// Bytes of one file that wait to be written. They take room until they are dropped.
pub(super) struct Pieces {
    pieces: Vec<Bytes>,
    bytes: usize,
    room: Arc<Room>,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Bytes) {
        self.bytes += piece.len();
        self.room.taken.fetch_add(piece.len(), Relaxed);
        self.pieces.push(piece);
    }

    pub(super) fn all(&self) -> &[Bytes] {
        &self.pieces
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// All of them, so that none is left here.
    pub(super) fn take(&mut self) -> Pieces {
        Pieces {
            pieces: mem::take(&mut self.pieces),
            bytes: mem::take(&mut self.bytes),
            room: self.room.clone(),
        }
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(self.bytes, Relaxed);
    }
}

/// In the guest's words.
pub(super) fn error(error: services::StorageError) -> StorageError {
    match error {
        services::StorageError::NotGranted => StorageError::NotGranted,
        services::StorageError::Quota => StorageError::Quota,
        services::StorageError::Full => StorageError::Full,
        services::StorageError::NotFound => StorageError::NotFound,
        services::StorageError::Io => StorageError::Io,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{host::storage::testing::Empty, services::Storage};

    #[test]
    fn those_who_are_granted_the_same_share_it_while_somebody_has_it() {
        struct Disks;
        impl Storage for Disks {
            fn directory(&self, grant: &StorageGrant) -> std::result::Result<Arc<dyn Directory>, String> {
                match &grant.place {
                    Place::Directory(_) => Ok(Arc::new(Empty)),
                    Place::Objects(url) => Err(format!("{url} is far away")),
                }
            }
        }
        let places = Places::default();
        let here = StorageGrant::recordings(Place::Directory("recordings".into()));
        let (one, two) = (places.open(&here, &Disks).unwrap(), places.open(&here, &Disks).unwrap());
        assert!(Arc::ptr_eq(&one.0, &two.0));
        let private = StorageGrant::private(Place::Directory("recordings".into()), 1);
        let third = places.open(&private, &Disks).unwrap();
        assert!(!Arc::ptr_eq(&one.0, &third.0));
        drop((one, two));
        places.open(&private, &Disks).unwrap();
        assert_eq!(
            places
                .open
                .lock()
                .iter()
                .filter(|place| place.strong_count() > 0)
                .count(),
            1
        );
        let far = StorageGrant::recordings(Place::Objects("s3://b".into()));
        assert_eq!(places.open(&far, &Disks).err().unwrap(), "s3://b is far away");
    }

    #[test]
    fn what_waits_takes_room_until_it_is_dropped() {
        let grant = StorageGrant::recordings(Place::Directory("recordings".into()));
        let granted = Granted::new(grant, Arc::new(Empty), Arc::new(Room::of(10)));
        let mut pieces = granted.pieces();
        pieces.push(Bytes::from_static(&[0; 10]));
        assert!(!granted.is_short());
        let mut others = granted.pieces();
        others.push(Bytes::from_static(b"x"));
        assert!(granted.is_short());
        let written = pieces.take();
        assert!(pieces.is_empty() && granted.is_short(), "it is on its way");
        drop(pieces);
        drop(written);
        assert!(!granted.is_short());
        assert_eq!(granted.0.room.taken.load(Relaxed), 1);
    }
}

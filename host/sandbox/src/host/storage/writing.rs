//! The files that an instance writes: small pieces are remembered, and reach the disk together.

use std::{
    mem,
    sync::{Arc, Weak},
    time::Instant,
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};
use wasmtime::component::Resource;

use super::{File, Result};
use crate::{
    bindings::plugin::storage::StorageError,
    host::recording::{Begun, Segments},
    services::{self, Append, Directory, Place, Storage, StorageGrant},
};

/// Files that one instance writes at the same time.
const FILES: usize = 16;
/// Bytes, and pieces, that wait in memory until they are written.
const PENDING_BYTES: usize = 256 << 10;
const PENDING_PIECES: usize = 512;
/// Threads that the files of one plugin may keep waiting for a disk.
const TURNS: usize = 16;

/// A place for files, with a bound on how many wait for it. Cheap to clone; clones share the bound.
#[derive(Clone)]
pub(crate) struct Granted(Arc<Shared>);

pub(super) struct Shared {
    grant: StorageGrant,
    directory: Arc<dyn Directory>,
    turns: Arc<Semaphore>,
}

impl Granted {
    fn new(grant: StorageGrant, directory: Arc<dyn Directory>) -> Granted {
        Granted(Arc::new(Shared {
            grant,
            directory,
            turns: Arc::new(Semaphore::new(TURNS)),
        }))
    }

    /// Where the files are.
    pub(crate) fn place(&self) -> &Place {
        &self.0.grant.place
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
pub(crate) struct Places(Mutex<Vec<Weak<Shared>>>);

impl Places {
    /// Opens what is granted, unless it is open already.
    pub(crate) fn open(&self, grant: &StorageGrant, storage: &dyn Storage) -> std::result::Result<Granted, String> {
        let find = |places: &Vec<Weak<Shared>>| {
            let open = places.iter().filter_map(Weak::upgrade);
            open.into_iter().find(|shared| shared.grant == *grant)
        };
        if let Some(shared) = find(&self.0.lock()) {
            return Ok(Granted(shared));
        }
        // Opening waits for a disk. Whoever opened it meanwhile has a bound of their own; that does no harm.
        let granted = Granted::new(grant.clone(), storage.directory(grant)?);
        let mut places = self.0.lock();
        places.retain(|place| place.strong_count() > 0);
        places.push(Arc::downgrade(&granted.0));
        Ok(granted)
    }
}

/// The files that one instance writes.
#[derive(Default)]
pub(crate) struct Files {
    pub(super) open: Vec<Option<Writing>>,
    /// Let go by the guest with something left to write.
    pub(super) dropped: Vec<Writing>,
    /// When something began to wait to be written.
    pub(super) since: Option<Instant>,
    /// What is said of them.
    pub(crate) segments: Segments,
}

impl Files {
    /// Whether a file of that name is being written.
    pub(crate) fn is_writing(&self, name: &str) -> bool {
        let writing = |writing: &Writing| writing.name == name && writing.failed.is_none();
        self.open.iter().flatten().any(writing)
    }

    pub(super) fn get(&mut self, file: &Resource<File>) -> Result<&mut Writing> {
        let place = self.open.get_mut(file.rep() as usize);
        place.and_then(Option::as_mut).ok_or(StorageError::NotFound)
    }

    pub(super) fn has_room(&self) -> bool {
        self.open.iter().flatten().count() + self.dropped.len() < FILES
    }

    pub(super) fn put(&mut self, writing: Writing) -> u32 {
        let place = self.open.iter().position(Option::is_none).unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.open[place] = Some(writing);
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    pub(super) fn take(&mut self, place: u32) -> Option<Writing> {
        self.open.get_mut(place as usize).and_then(Option::take)
    }
}

impl Drop for Files {
    /// The instance ended, perhaps in the middle of something: what it appended is written all the same, and then who knows of
    /// its files learns that nobody writes them.
    fn drop(&mut self) {
        let mut writings: Vec<_> = self.open.drain(..).flatten().chain(self.dropped.drain(..)).collect();
        writings.retain(Writing::has_pieces);
        let left = self.segments.leave();
        if writings.is_empty() && left.is_empty() {
            return;
        }
        aside(move || {
            writings.iter_mut().for_each(Writing::write_rest);
            drop(writings);
            left.into_iter().for_each(Begun::left);
        });
    }
}

/// Does what waits for a disk on a thread for that, if there is one.
fn aside(work: impl FnOnce() + Send + 'static) {
    match Handle::try_current() {
        Ok(runtime) => drop(runtime.spawn_blocking(work)),
        Err(_) => work(),
    }
}

/// A file that is being written.
pub(super) struct Writing {
    name: String,
    /// Away while a thread writes.
    file: Option<Box<dyn Append>>,
    /// Not written yet.
    pieces: Vec<Bytes>,
    bytes: usize,
    /// What the guest was told, `bytes` included.
    len: u64,
    /// What went wrong with pieces that the guest thinks written; nothing is written any more.
    failed: Option<StorageError>,
}

impl Writing {
    pub(super) fn new(name: String, file: Box<dyn Append>) -> Writing {
        Writing {
            name,
            file: Some(file),
            pieces: Vec::new(),
            bytes: 0,
            len: 0,
            failed: None,
        }
    }

    pub(super) fn append(&mut self, piece: Bytes) -> Result<u64> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.len += piece.len() as u64;
        self.bytes += piece.len();
        self.pieces.push(piece);
        Ok(self.len)
    }

    pub(super) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Nothing more is written.
    pub(super) fn end(&mut self) {
        self.failed.get_or_insert(StorageError::NotFound);
        self.file = None;
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES || self.pieces.len() >= PENDING_PIECES
    }

    /// What is to be written, to be done on another thread; none when that cannot be any more.
    fn work(&mut self) -> Option<(Box<dyn Append>, Vec<Bytes>)> {
        self.bytes = 0;
        Some((self.file.take()?, mem::take(&mut self.pieces)))
    }

    /// Writes what waits, and does `then` with the file.
    pub(super) async fn write(
        &mut self,
        granted: &Granted,
        then: fn(&mut dyn Append) -> std::result::Result<u64, services::StorageError>,
    ) -> Result<u64> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let (mut file, pieces) = self.work().ok_or(StorageError::Io)?;
        let done = granted.wait(move |_| {
            let done = file.append(&pieces).and_then(|_| then(&mut *file));
            Ok((file, done))
        });
        let result = done.await.and_then(|(file, done)| {
            self.file = Some(file);
            done.map_err(error)
        });
        match result {
            Ok(len) => self.len = len,
            Err(failed) => self.failed = Some(failed),
        }
        result
    }

    /// Writes what waits, of a file that nobody hears of any more.
    fn write_rest(&mut self) {
        if self.pieces.is_empty() || self.failed.is_some() {
            return;
        }
        let Some((mut file, pieces)) = self.work() else { return };
        if let Err(error) = file.append(&pieces) {
            tracing::warn!(%error, file = self.name, "the end of a plugin's file is not written");
        }
    }

    pub(super) async fn flush(&mut self, granted: &Granted) -> Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let len = self.len;
        self.write(granted, |_| Ok(0)).await?;
        self.len = len;
        Ok(())
    }
}

/// In the guest's words.
fn error(error: services::StorageError) -> StorageError {
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
    use crate::services::Stored;

    type Answer<T> = std::result::Result<T, services::StorageError>;

    /// One file with so much room, and how often it was written.
    #[derive(Default)]
    struct Disk {
        room: usize,
        content: Mutex<Vec<u8>>,
        writes: Mutex<usize>,
    }

    struct Sheet(Arc<Disk>);

    impl Append for Sheet {
        fn append(&mut self, parts: &[Bytes]) -> Answer<u64> {
            let mut content = self.0.content.lock();
            *self.0.writes.lock() += usize::from(!parts.is_empty());
            for part in parts {
                if content.len() + part.len() > self.0.room {
                    return Err(services::StorageError::Quota);
                }
                content.extend_from_slice(part);
            }
            Ok(content.len() as u64)
        }

        fn commit(&mut self) -> Answer<u64> {
            self.append(&[])
        }

        fn finish(&mut self) -> Answer<u64> {
            self.append(&[])
        }
    }

    /// Nothing in here is asked for anything.
    struct Empty;

    impl Directory for Empty {
        fn create(&self, _: &str) -> Answer<Box<dyn Append>> {
            Err(services::StorageError::Io)
        }

        fn read(&self, _: &str, _: u64, _: u32) -> Answer<Bytes> {
            Err(services::StorageError::NotFound)
        }

        fn list(&self, _: &str) -> Answer<Vec<Stored>> {
            Ok(Vec::new())
        }

        fn rename(&self, _: &str, _: &str) -> Answer<()> {
            Err(services::StorageError::NotFound)
        }

        fn remove(&self, _: &str) -> Answer<()> {
            Err(services::StorageError::NotFound)
        }
    }

    fn disk(room: usize) -> (Arc<Disk>, Writing, Granted) {
        let disk = Arc::new(Disk {
            room,
            ..Disk::default()
        });
        let writing = Writing::new("file".to_owned(), Box::new(Sheet(disk.clone())));
        let grant = StorageGrant::private(Place::Directory("data".into()), 0);
        (disk, writing, Granted::new(grant, Arc::new(Empty)))
    }

    #[tokio::test]
    async fn small_pieces_are_written_together_and_in_order() {
        let (disk, mut writing, granted) = disk(1 << 20);
        for n in 0..100u8 {
            assert_eq!(
                writing.append(Bytes::copy_from_slice(&[n; 10])).unwrap(),
                10 * (u64::from(n) + 1)
            );
        }
        assert!(!writing.is_full());
        assert_eq!(writing.write(&granted, |file| file.commit()).await.unwrap(), 1_000);
        assert_eq!(*disk.writes.lock(), 1);
        let content: Vec<u8> = (0..100).flat_map(|n| [n; 10]).collect();
        assert_eq!(*disk.content.lock(), content);
    }

    #[test]
    fn what_waits_in_memory_is_bounded_by_bytes_and_by_pieces() {
        let (_disk, mut writing, _) = disk(0);
        writing.append(Bytes::from_static(&[0; PENDING_BYTES])).unwrap();
        assert!(writing.is_full());
        writing.pieces.clear();
        writing.bytes = 0;
        for _ in 0..PENDING_PIECES {
            assert!(!writing.is_full());
            writing.append(Bytes::from_static(b"x")).unwrap();
        }
        assert!(writing.is_full());
    }

    #[tokio::test]
    async fn what_the_disk_says_is_answered_to_the_next_call_and_to_all_after_it() {
        let (disk, mut writing, granted) = disk(15);
        for _ in 0..2 {
            writing.append(Bytes::from_static(&[7; 10])).unwrap();
        }
        assert!(matches!(writing.flush(&granted).await, Err(StorageError::Quota)));
        assert!(matches!(
            writing.append(Bytes::from_static(b"x")),
            Err(StorageError::Quota)
        ));
        let committed = writing.write(&granted, |file| file.commit()).await;
        assert!(matches!(committed, Err(StorageError::Quota)));
        assert_eq!(disk.content.lock().len(), 10, "what fitted stays");
    }

    #[test]
    fn the_files_of_an_instance_that_ends_have_everything_that_was_appended() {
        // Without a runtime it is written here and now.
        let (disk, mut writing, _) = disk(1 << 20);
        writing.append(Bytes::from_static(b"the end")).unwrap();
        let mut files = Files::default();
        files.put(writing);
        drop(files);
        assert_eq!(*disk.content.lock(), b"the end");
    }

    #[test]
    fn places_of_files_are_used_again_and_bounded() {
        let mut files = Files::default();
        for n in 0..FILES {
            assert!(files.has_room());
            let (_, writing, _) = disk(0);
            assert_eq!(files.put(writing) as usize, n);
        }
        assert!(!files.has_room());
        assert!(files.take(3).is_some() && files.take(3).is_none() && files.take(u32::MAX).is_none());
        let (_, writing, _) = disk(0);
        assert_eq!(files.put(writing), 3);
    }

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
            places.0.lock().iter().filter(|place| place.strong_count() > 0).count(),
            1
        );
        let far = StorageGrant::recordings(Place::Objects("s3://b".into()));
        assert_eq!(places.open(&far, &Disks).err().unwrap(), "s3://b is far away");
    }
}

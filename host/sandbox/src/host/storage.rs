//! `storage`: files below the directory that a plugin was granted. On the media path everything answers `not-granted` at
//! once; elsewhere the guest waits for the disk, on threads that nothing else needs.
//!
//! A guest writes a file in small pieces, a header and a frame, sixty times a second; the disk gets them a quarter of a
//! mebibyte at a time. So `append` mostly only remembers, a frame's bytes without a copy, and what the disk says to them may
//! be heard by a later call on the same file.

use std::{
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::{runtime::Handle, sync::Semaphore, task::spawn_blocking};
use wasmtime::{
    StoreContextMut,
    component::{Linker, Resource},
};

use super::{State, frame::Held};
use crate::{
    bindings::plugin::{
        frame::Slice,
        storage::{Entry, Host, HostFile, StorageError},
    },
    metrics::tally,
    services::{self, Append, Directory, Stored},
};

/// Files that one instance writes at the same time.
const FILES: usize = 16;
/// Bytes, and pieces, that wait in memory until they are written.
const PENDING_BYTES: usize = 256 << 10;
const PENDING_PIECES: usize = 512;
/// For so long at most, while the guest's task is not busy otherwise.
const PENDING_TIME: Duration = Duration::from_secs(1);
/// Threads that the files of one plugin may keep waiting for a disk.
const TURNS: usize = 16;
/// Entries that `list` answers.
const ENTRIES: usize = 4_096;
/// Bytes of a name.
const NAME_LEN: usize = 1_024;

type Result<T> = std::result::Result<T, StorageError>;

/// A file that a guest writes: its number is a place in [`Files`].
#[allow(unreachable_pub, reason = "generated code re-exports it")]
pub struct File;

/// The directory of a plugin, with a bound on how many wait for it.
#[derive(Clone)]
pub(crate) struct Granted {
    directory: Arc<dyn Directory>,
    turns: Arc<Semaphore>,
}

impl Granted {
    pub(crate) fn new(directory: Arc<dyn Directory>) -> Granted {
        Granted {
            directory,
            turns: Arc::new(Semaphore::new(TURNS)),
        }
    }

    /// Does something that may wait for a disk.
    async fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&dyn Directory) -> std::result::Result<T, services::StorageError> + Send + 'static,
    ) -> Result<T> {
        let (turns, directory) = (self.turns.clone(), self.directory.clone());
        // Never closed; the work may be abandoned, its turn ends with it all the same.
        let turn = turns.acquire_owned().await.map_err(|_| StorageError::Io)?;
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&*directory)
        });
        done.await.map_err(|_| StorageError::Io)?.map_err(error)
    }
}

/// The files that one instance writes.
#[derive(Default)]
pub(crate) struct Files {
    open: Vec<Option<Writing>>,
    /// Let go by the guest with something left to write.
    dropped: Vec<Writing>,
    /// When something began to wait to be written.
    since: Option<Instant>,
}

impl Files {
    fn get(&mut self, file: &Resource<File>) -> Result<&mut Writing> {
        let place = self.open.get_mut(file.rep() as usize);
        place.and_then(Option::as_mut).ok_or(StorageError::NotFound)
    }

    fn has_room(&self) -> bool {
        self.open.iter().flatten().count() + self.dropped.len() < FILES
    }

    fn put(&mut self, writing: Writing) -> u32 {
        let place = self.open.iter().position(Option::is_none).unwrap_or_else(|| {
            self.open.push(None);
            self.open.len() - 1
        });
        self.open[place] = Some(writing);
        u32::try_from(place).unwrap_or(u32::MAX)
    }

    fn take(&mut self, place: u32) -> Option<Writing> {
        self.open.get_mut(place as usize).and_then(Option::take)
    }
}

/// A file that is being written.
struct Writing {
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
    fn new(file: Box<dyn Append>) -> Writing {
        Writing {
            file: Some(file),
            pieces: Vec::new(),
            bytes: 0,
            len: 0,
            failed: None,
        }
    }

    fn append(&mut self, piece: Bytes) -> Result<u64> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.len += piece.len() as u64;
        self.bytes += piece.len();
        self.pieces.push(piece);
        Ok(self.len)
    }

    fn is_full(&self) -> bool {
        self.bytes >= PENDING_BYTES || self.pieces.len() >= PENDING_PIECES
    }

    /// What is to be written, to be done on another thread; none when that cannot be any more.
    fn work(&mut self) -> Option<(Box<dyn Append>, Vec<Bytes>)> {
        self.bytes = 0;
        Some((self.file.take()?, mem::take(&mut self.pieces)))
    }

    /// Writes what waits, and does `then` with the file.
    async fn write(
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

    async fn flush(&mut self, granted: &Granted) -> Result<()> {
        if self.pieces.is_empty() {
            return Ok(());
        }
        let len = self.len;
        self.write(granted, |_| Ok(0)).await?;
        self.len = len;
        Ok(())
    }
}

impl Drop for Writing {
    /// The instance ended, perhaps in the middle of something: what it appended is written all the same.
    fn drop(&mut self) {
        if self.pieces.is_empty() || self.failed.is_some() {
            return;
        }
        let Some((mut file, pieces)) = self.work() else { return };
        let mut write = move || {
            if let Err(error) = file.append(&pieces) {
                tracing::warn!(%error, "the end of a plugin's file is not written");
            }
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(write)),
            Err(_) => write(),
        }
    }
}

impl State {
    /// When files should be settled next, if something waits to be written.
    pub(crate) fn files_due(&self) -> Option<Instant> {
        self.files.since.map(|since| since + PENDING_TIME)
    }

    /// Writes what waits in memory, for all files of the instance. What goes wrong is answered to the next call on the file.
    pub(crate) async fn settle_files(&mut self) {
        self.files.since = None;
        let Some(granted) = self.outside.storage.clone() else {
            return;
        };
        for mut writing in mem::take(&mut self.files.dropped) {
            if let Err(error) = writing.flush(&granted).await {
                let (plugin, path) = (&*self.common.name, self.place.path());
                tracing::warn!(plugin, path, %error, "the end of a plugin's file is not written");
            }
        }
        for writing in self.files.open.iter_mut().flatten() {
            // Kept in `failed`.
            let _ = writing.flush(&granted).await;
        }
    }

    fn storage(&self) -> Result<Granted> {
        self.outside.storage.clone().ok_or(StorageError::NotGranted)
    }

    async fn create_file(&mut self, name: String) -> Result<Resource<File>> {
        let granted = self.storage()?;
        if !self.files.has_room() {
            self.settle_files().await;
        }
        if !self.files.has_room() {
            return Err(StorageError::Quota);
        }
        let name = known(name)?;
        let file = granted.wait(move |directory| directory.create(&name)).await?;
        Ok(Resource::new_own(self.files.put(Writing::new(file))))
    }

    async fn append_to(&mut self, file: Resource<File>, piece: Bytes) -> Result<u64> {
        let granted = self.storage()?;
        let writing = self.files.get(&file)?;
        let len = writing.append(piece)?;
        if writing.is_full() {
            writing.flush(&granted).await?;
        } else if self.files.since.is_none() {
            self.files.since = Some(Instant::now());
        }
        Ok(len)
    }

    /// The part of a held frame that is there.
    fn part_of(&self, held: &Resource<Held>, what: Option<Slice>) -> Bytes {
        let (offset, len) = what.map_or((0, u32::MAX), |slice| (slice.offset, slice.len));
        self.frame.part(held, offset, len)
    }

    async fn ask_directory<T: Send + 'static>(
        &mut self,
        ask: impl FnOnce(&dyn Directory) -> std::result::Result<T, services::StorageError> + Send + 'static,
    ) -> Result<T> {
        let granted = self.storage()?;
        // The plugin finds its own files as it left them.
        self.settle_files().await;
        granted.wait(ask).await
    }
}

impl Host for State {
    fn create(&mut self, _name: String) -> Result<Resource<File>> {
        Err(StorageError::NotGranted)
    }

    fn read(&mut self, _name: String, _offset: u64, _len: u32) -> Result<Vec<u8>> {
        Err(StorageError::NotGranted)
    }

    fn list(&mut self, _prefix: String) -> Result<Vec<Entry>> {
        Err(StorageError::NotGranted)
    }

    fn rename(&mut self, _from: String, _to: String) -> Result<()> {
        Err(StorageError::NotGranted)
    }

    fn remove(&mut self, _name: String) -> Result<()> {
        Err(StorageError::NotGranted)
    }
}

impl HostFile for State {
    fn append(&mut self, _file: Resource<File>, _data: Vec<u8>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn append_held(&mut self, _file: Resource<File>, _data: Resource<Held>, _what: Option<Slice>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn commit(&mut self, _file: Resource<File>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn finish(&mut self, _file: Resource<File>) -> Result<u64> {
        Err(StorageError::NotGranted)
    }

    fn drop(&mut self, file: Resource<File>) -> wasmtime::Result<()> {
        if let Some(writing) = self.files.take(file.rep())
            && !writing.pieces.is_empty()
        {
            self.files.dropped.push(writing);
        }
        Ok(())
    }
}

/// Replaces everything but `drop` by functions that wait.
pub(super) fn add_waiting(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    /// What a call has at hand.
    type At<'a> = StoreContextMut<'a, State>;
    let mut storage = linker.instance("wasmtx:plugin/storage@0.1.0")?;
    storage.func_wrap_async("create", |mut at: At<'_>, (name,): (String,)| {
        Box::new(async move { Ok((at.data_mut().create_file(name).await,)) })
    })?;
    storage.func_wrap_async("read", |mut at: At<'_>, (name, offset, len): (String, u64, u32)| {
        Box::new(async move { Ok((read(at.data_mut(), name, offset, len).await,)) })
    })?;
    storage.func_wrap_async("list", |mut at: At<'_>, (prefix,): (String,)| {
        Box::new(async move { Ok((list(at.data_mut(), prefix).await,)) })
    })?;
    storage.func_wrap_async("rename", |mut at: At<'_>, (from, to): (String, String)| {
        Box::new(async move { Ok((rename(at.data_mut(), from, to).await,)) })
    })?;
    storage.func_wrap_async("remove", |mut at: At<'_>, (name,): (String,)| {
        Box::new(async move { Ok((remove(at.data_mut(), name).await,)) })
    })?;
    storage.func_wrap_async(
        "[method]file.append",
        |mut at: At<'_>, (file, data): (Resource<File>, Vec<u8>)| {
            let state = at.data_mut();
            tally(&state.place.counts.bytes_made, data.len() as u64);
            Box::new(async move { Ok((at.data_mut().append_to(file, data.into()).await,)) })
        },
    )?;
    storage.func_wrap_async(
        "[method]file.append-held",
        |mut at: At<'_>, (file, held, what): (Resource<File>, Resource<Held>, Option<Slice>)| {
            Box::new(async move {
                let state = at.data_mut();
                let piece = state.part_of(&held, what);
                Ok((state.append_to(file, piece).await,))
            })
        },
    )?;
    storage.func_wrap_async("[method]file.commit", |mut at: At<'_>, (file,): (Resource<File>,)| {
        Box::new(async move { Ok((end(at.data_mut(), &file, |file| file.commit()).await,)) })
    })?;
    storage.func_wrap_async("[method]file.finish", |mut at: At<'_>, (file,): (Resource<File>,)| {
        Box::new(async move {
            let state = at.data_mut();
            let finished = end(state, &file, |file| file.finish()).await;
            // The guest may keep the handle; what it would append is refused.
            if let Ok(writing) = state.files.get(&file) {
                writing.failed.get_or_insert(StorageError::NotFound);
                writing.file = None;
            }
            Ok((finished,))
        })
    })?;
    Ok(())
}

/// Writes what waits, and commits or finishes.
async fn end(
    state: &mut State,
    file: &Resource<File>,
    how: fn(&mut dyn Append) -> std::result::Result<u64, services::StorageError>,
) -> Result<u64> {
    let granted = state.storage()?;
    state.files.get(file)?.write(&granted, how).await
}

async fn read(state: &mut State, name: String, offset: u64, len: u32) -> Result<Bytes> {
    let name = known(name)?;
    let len = len.min(u32::try_from(state.limits.hostcall).unwrap_or(u32::MAX));
    state
        .ask_directory(move |directory| directory.read(&name, offset, len))
        .await
}

async fn list(state: &mut State, prefix: String) -> Result<Vec<Entry>> {
    let prefix = known(prefix)?;
    let stored = state.ask_directory(move |directory| directory.list(&prefix)).await?;
    Ok(stored.into_iter().take(ENTRIES).map(entry).collect())
}

async fn rename(state: &mut State, from: String, to: String) -> Result<()> {
    let (from, to) = (known(from)?, known(to)?);
    state.ask_directory(move |directory| directory.rename(&from, &to)).await
}

async fn remove(state: &mut State, name: String) -> Result<()> {
    let name = known(name)?;
    state.ask_directory(move |directory| directory.remove(&name)).await
}

/// A name that can be one. Where it may lead is the directory's to check.
fn known(name: String) -> Result<String> {
    if name.len() > NAME_LEN || name.chars().any(char::is_control) {
        return Err(StorageError::NotGranted);
    }
    Ok(name)
}

fn entry(stored: Stored) -> Entry {
    Entry {
        name: stored.name,
        size: stored.size,
        modified: stored.modified,
    }
}

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
    use parking_lot::Mutex;

    use super::*;

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
        let writing = Writing::new(Box::new(Sheet(disk.clone())));
        (disk, writing, Granted::new(Arc::new(Empty)))
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
        // A test's disk has no room for it; what its end cannot write is only logged.
        writing.pieces.clear();
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
    fn a_file_that_is_let_go_has_everything_that_was_appended() {
        // Without a runtime it is written here and now.
        let (disk, mut writing, _) = disk(1 << 20);
        writing.append(Bytes::from_static(b"the end")).unwrap();
        drop(writing);
        assert_eq!(*disk.content.lock(), b"the end");
    }

    #[test]
    fn no_name_has_control_characters_or_is_endless() {
        assert!(known("cam1/2026-11-22.log".into()).is_ok());
        for name in ["a\0b".to_owned(), "a\nb".to_owned(), "x".repeat(NAME_LEN + 1)] {
            assert!(matches!(known(name), Err(StorageError::NotGranted)));
        }
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
}

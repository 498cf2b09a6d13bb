//! `storage`: files below the directory that a plugin was granted. On the media path everything answers `not-granted` at
//! once; elsewhere the guest waits for the disk, on threads that nothing else needs.
//!
//! A guest writes a file in small pieces, a header and a frame, sixty times a second; the disk gets them when they are
//! committed, all of them at once, so that a part of a recording is there as a whole or not at all. So `append` mostly only
//! remembers, a frame's bytes without a copy, and what the disk says to them may be heard by a later call on the same file. What
//! is never committed is written a second later. Memory bounds it: of an instance, and of all of them.

mod granted;
#[cfg(test)]
mod testing;
mod writing;

use std::time::Instant;

use bytes::Bytes;
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
    services::{self, Directory, Stored},
};
pub(crate) use granted::{Granted, Places};
pub(crate) use writing::Files;
use writing::{Then, Writing};

/// Entries that `list` answers.
const ENTRIES: usize = 4_096;
/// Bytes of a name.
const NAME_LEN: usize = 1_024;

type Result<T> = std::result::Result<T, StorageError>;

/// A file that a guest writes: its number is a place in [`Files`].
#[allow(unreachable_pub, reason = "generated code re-exports it")]
pub struct File;

impl State {
    /// When files should be settled next, if something waits to be written.
    pub(crate) fn files_due(&self) -> Option<Instant> {
        self.files.due()
    }

    /// Writes what is due by then, or all that waits in memory, for all files of the instance.
    pub(crate) async fn settle_files(&mut self, by: Option<Instant>) {
        let Some(granted) = self.outside.storage.clone() else {
            return;
        };
        let away = self.away();
        self.files.settle(&granted, by).await;
        self.back(away).await;
    }

    fn storage(&self) -> Result<Granted> {
        self.outside.storage.clone().ok_or(StorageError::NotGranted)
    }

    async fn create_file(&mut self, name: String) -> Result<Resource<File>> {
        let granted = self.storage()?;
        if !self.files.has_room() {
            self.settle_files(None).await;
        }
        if !self.files.has_room() {
            return Err(StorageError::Quota);
        }
        let name = known(name)?;
        let create = {
            let name = name.clone();
            move |directory: &dyn Directory| directory.create(&name)
        };
        let away = self.away();
        let file = granted.wait(create).await;
        self.back(away).await;
        let writing = Writing::new(name, file?, &granted);
        Ok(Resource::new_own(self.files.put(writing)))
    }

    async fn append_to(&mut self, file: Resource<File>, piece: Bytes) -> Result<u64> {
        let granted = self.storage()?;
        let writing = self.files.get(&file)?;
        let len = writing.append(piece)?;
        if writing.is_short(&granted) {
            self.end(&file, Then::Nothing).await?;
        } else if self.files.are_full() {
            self.settle_files(None).await;
        }
        Ok(len)
    }

    /// Writes what waits for a file, and commits or finishes it.
    async fn end(&mut self, file: &Resource<File>, then: Then) -> Result<u64> {
        let granted = self.storage()?;
        let away = self.away();
        let done = match (then, self.files.get(file)) {
            (Then::Finish, _) => self.files.finish(file, &granted).await,
            (_, Ok(writing)) => writing.write(&granted, then).await,
            (_, Err(error)) => Err(error),
        };
        self.back(away).await;
        done
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
        self.settle_files(None).await;
        let away = self.away();
        let answer = granted.wait(ask).await;
        self.back(away).await;
        answer
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
        self.files.let_go(file.rep());
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
        Box::new(async move { Ok((at.data_mut().end(&file, Then::Commit).await,)) })
    })?;
    storage.func_wrap_async("[method]file.finish", |mut at: At<'_>, (file,): (Resource<File>,)| {
        Box::new(async move { Ok((at.data_mut().end(&file, Then::Finish).await,)) })
    })?;
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_has_control_characters_or_is_endless() {
        assert!(known("cam1/2026-11-22.log".into()).is_ok());
        for name in ["a\0b".to_owned(), "a\nb".to_owned(), "x".repeat(NAME_LEN + 1)] {
            assert!(matches!(known(name), Err(StorageError::NotGranted)));
        }
    }
}

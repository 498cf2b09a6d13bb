//! The files that an instance writes: small pieces are remembered, and reach the disk together.

use std::{
    mem,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::runtime::Handle;
use wasmtime::component::Resource;

use super::{
    File, Result,
    granted::{Granted, Pieces, error},
};
use crate::{
    bindings::plugin::storage::StorageError,
    host::recording::{Begun, Segments},
    limits::MIB,
    services::Append,
};

/// Files that one instance writes at the same time.
const FILES: usize = 16;
/// Bytes, and pieces, of all files of an instance that wait in memory until they are written: what a recorder commits at
/// once, 50 MiB, with room for what belongs to it.
const PENDING_BYTES: usize = 64 * MIB;
const PENDING_PIECES: usize = 16 << 10;
/// So many bytes of a file wait all the same while the server has no room for more.
const SHORT_BYTES: usize = 256 << 10;
/// For so long at most pieces wait to be written, while the guest's task is not busy otherwise …
const PENDING_TIME: Duration = Duration::from_secs(1);
/// … and those of a file that its guest commits: between two commits nobody is told that they are there.
const COMMITTED_TIME: Duration = Duration::from_secs(10);

/// The files that one instance writes.
#[derive(Default)]
pub(crate) struct Files {
    open: Vec<Option<Writing>>,
    /// Let go by the guest with something left to write.
    dropped: Vec<Writing>,
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

    /// The guest lets a file go. What is left of it is written when files are settled next.
    pub(super) fn let_go(&mut self, place: u32) {
        let Some(writing) = self.open.get_mut(place as usize).and_then(Option::take) else {
            return;
        };
        if writing.has_pieces() {
            self.dropped.push(writing);
        } else {
            self.end(writing);
        }
    }

    /// A file is written by nobody any more. Who was told that it is being recorded learns it, unless it is finished.
    fn end(&mut self, writing: Writing) {
        let Writing { name, finished, .. } = writing;
        let left = if finished { None } else { self.segments.leave(&name) };
        left.into_iter().for_each(Begun::left);
    }

    /// Whether as much waits as may.
    pub(super) fn are_full(&self) -> bool {
        let waiting = self.open.iter().flatten().chain(&self.dropped);
        let (bytes, pieces) = waiting.fold((0, 0), |(bytes, pieces), writing| {
            (bytes + writing.pieces.bytes(), pieces + writing.pieces.all().len())
        });
        bytes >= PENDING_BYTES || pieces >= PENDING_PIECES
    }

    /// When something has waited for as long as it may.
    pub(super) fn due(&self) -> Option<Instant> {
        let open = self.open.iter().flatten();
        open.chain(&self.dropped).filter_map(Writing::due).min()
    }

    /// Writes what is due by then, or everything that waits. What goes wrong is answered to the next call on the file.
    pub(super) async fn settle(&mut self, granted: &Granted, by: Option<Instant>) {
        for mut writing in mem::take(&mut self.dropped) {
            if let Err(error) = writing.write(granted, Then::Nothing).await {
                tracing::warn!(%error, file = writing.name, "the end of a plugin's file is not written");
            }
            self.end(writing);
        }
        for writing in self.open.iter_mut().flatten() {
            if writing.due().is_some_and(|due| by.is_none_or(|by| due <= by)) {
                // Kept in `failed`.
                let _ = writing.write(granted, Then::Nothing).await;
            }
        }
    }

    /// Closes a file; answers its length if all of it is safe. The guest may keep the handle: what it would append is refused.
    pub(super) async fn finish(&mut self, file: &Resource<File>, granted: &Granted) -> Result<u64> {
        let writing = self.get(file)?;
        if writing.finished {
            return Err(StorageError::NotFound);
        }
        let done = writing.write(granted, Then::Finish).await;
        writing.failed.get_or_insert(StorageError::NotFound);
        writing.file = None;
        let name = writing.name.clone();
        match done {
            Ok(len) => {
                writing.finished = true;
                self.segments.finished(&name, len);
            }
            Err(_) => self.segments.leave(&name).into_iter().for_each(Begun::left),
        }
        done
    }
}

impl Drop for Files {
    /// The instance ended, perhaps in the middle of something: what it appended is written all the same, and then who knows of
    /// its files learns that nobody writes them.
    fn drop(&mut self) {
        let mut writings: Vec<_> = self.open.drain(..).flatten().chain(self.dropped.drain(..)).collect();
        let left = self.segments.leave_all();
        if left.is_empty() && !writings.iter().any(Writing::has_pieces) {
            return;
        }
        let work = move || {
            writings.iter_mut().for_each(Writing::write_rest);
            // Closed before anybody looks at them.
            drop(writings);
            left.into_iter().for_each(Begun::left);
        };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(work)),
            Err(_) => work(),
        }
    }
}

/// What to do with a file once everything is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Nothing,
    Commit,
    Finish,
}

/// A file that is being written.
pub(super) struct Writing {
    name: String,
    /// Away while a thread writes.
    file: Option<Box<dyn Append>>,
    /// Not written yet.
    pieces: Pieces,
    /// When the oldest of them came.
    since: Option<Instant>,
    /// What the guest was told, `pieces` included.
    len: u64,
    /// What is in the file.
    written: u64,
    /// What of that is safe.
    committed: u64,
    /// Whether the guest commits.
    commits: bool,
    /// What went wrong with pieces that the guest thinks written; nothing is written any more.
    failed: Option<StorageError>,
    /// The file is what it was when it was last committed, whatever failed.
    intact: bool,
    finished: bool,
}

impl Writing {
    pub(super) fn new(name: String, file: Box<dyn Append>, granted: &Granted) -> Writing {
        Writing {
            name,
            file: Some(file),
            pieces: granted.pieces(),
            since: None,
            len: 0,
            written: 0,
            committed: 0,
            commits: false,
            failed: None,
            intact: true,
            finished: false,
        }
    }

    pub(super) fn append(&mut self, piece: Bytes) -> Result<u64> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        self.len += piece.len() as u64;
        self.pieces.push(piece);
        self.since.get_or_insert_with(Instant::now);
        Ok(self.len)
    }

    fn has_pieces(&self) -> bool {
        !self.pieces.is_empty() && self.failed.is_none()
    }

    /// Whether it should be written because there is no room in the server.
    pub(super) fn is_short(&self, granted: &Granted) -> bool {
        self.pieces.bytes() >= SHORT_BYTES && granted.is_short()
    }

    fn due(&self) -> Option<Instant> {
        let most = if self.commits { COMMITTED_TIME } else { PENDING_TIME };
        self.since.map(|since| since + most)
    }

    /// Writes what waits, and does `then` with the file. A file that failed can only be closed, and only as it was when it was
    /// last committed.
    pub(super) async fn write(&mut self, granted: &Granted, then: Then) -> Result<u64> {
        if let Some(failed) = self.failed
            && !(then == Then::Finish && self.intact)
        {
            return Err(failed);
        }
        self.since = None;
        let pieces = self.pieces.take();
        if pieces.is_empty() && then == Then::Nothing {
            return Ok(self.len);
        }
        let mut file = self.file.take().ok_or(StorageError::Io)?;
        let done = granted.wait(move |_| {
            let appended = match pieces.is_empty() {
                true => Ok(()),
                false => file.append(pieces.all()).map(drop),
            };
            // Their memory is free before the disk is waited for again.
            drop(pieces);
            let ended = appended.and_then(|()| match then {
                Then::Nothing => Ok(0),
                Then::Commit => file.commit(),
                Then::Finish => file.finish(),
            });
            Ok((file, appended, ended))
        });
        let (file, appended, ended) = match done.await {
            Ok(done) => done,
            Err(failed) => {
                // It panicked: nobody knows what is there.
                (self.failed, self.intact) = (Some(failed), false);
                return Err(failed);
            }
        };
        self.file = Some(file);
        // An append that is refused leaves nothing behind; a commit that is refused says nothing about what there is.
        self.intact &= appended.is_ok() == ended.is_ok();
        match (appended, ended, then) {
            (Ok(()), Ok(_), Then::Nothing) => self.written = self.len,
            (Ok(()), Ok(len), _) => {
                (self.len, self.written, self.committed) = (len, len, len);
                self.commits = true;
            }
            (Err(failed), ..) | (_, Err(failed), _) => {
                self.intact &= self.written == self.committed;
                self.failed = Some(error(failed));
                return Err(error(failed));
            }
        }
        Ok(self.len)
    }

    /// Writes what waits, of a file that nobody hears of any more. Waits for the disk.
    fn write_rest(&mut self) {
        if !self.has_pieces() {
            return;
        }
        let Some(file) = &mut self.file else { return };
        if let Err(error) = file.append(self.pieces.take().all()) {
            tracing::warn!(%error, file = self.name, "the end of a plugin's file is not written");
        }
    }
}

#[cfg(test)]
#[path = "writing_tests.rs"]
mod tests;

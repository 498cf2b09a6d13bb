//! Files that were being written when the server, or the machine, ended: they are cut back to their last whole part.
//!
//! Looked at are the files that the journal names, and the last few of each path, should the journal be lost. A file that
//! this process writes is never touched, nor is a link. A file of ours without any whole part holds nothing that was
//! acknowledged and is removed; one that only bears such a name is left alone, and said so. So is one whose damage is no
//! torn end: what follows it may be hours of a good recording.

use wasmtx_hub::{Event, PathName};
use wasmtx_media::WallClock;

use super::{Archive, index::Index, probe};
use crate::storage::{self, Place};

/// The last files of a path that are looked at without a note.
const TAIL: usize = 3;
/// Somebody else's file that was written to within this time (microseconds) may still be: it is not touched.
const QUIET: u64 = 60_000_000;

/// Looks at what may be torn of a path.
pub(super) fn recover(archive: &Archive, path: &PathName, index: &mut Index) {
    if !archive.is_alone() {
        return;
    }
    let place = index.rule().place.to_string();
    let mut noted = Vec::new();
    archive.torn.lock().retain(|note| {
        let own = note.path == *path && note.place == place;
        if own {
            noted.push(note.clone());
        }
        !own
    });
    for note in noted {
        // A new file of that name has a note of its own.
        if index.directory().is_open(&note.file) {
            continue;
        }
        if index.get(&note.file).is_none() {
            // In a store that cannot be reached now, it is still here.
            index.started(&note.file);
        }
        match recover_file(archive, path, index, &note.file, true) {
            Ok(()) => archive.journal.remove(&note),
            Err(storage::Error::NotFound) => {
                if let Some(start) = index.get(&note.file).map(|entry| entry.segment.start) {
                    index.forget(start, &note.file);
                }
                archive.journal.remove(&note);
            }
            Err(error) => tracing::warn!(%path, file = note.file, "its end cannot be checked: {error}"),
        }
    }
    let last = index.entries().iter().rev().take(TAIL).filter(|entry| !entry.finished);
    let last: Vec<_> = last.map(|entry| entry.segment.file.clone()).collect();
    for file in last {
        if index.directory().is_open(&file) {
            continue;
        }
        match recover_file(archive, path, index, &file, false) {
            Ok(()) | Err(storage::Error::NotFound) => {}
            Err(error) => tracing::warn!(%path, %file, "its end cannot be checked: {error}"),
        }
    }
}

fn recover_file(
    archive: &Archive,
    path: &PathName,
    index: &mut Index,
    file: &str,
    ours: bool,
) -> Result<(), storage::Error> {
    let directory = index.directory().clone();
    let Some(mut entry) = index.get(file).cloned() else {
        return Ok(());
    };
    let before = directory.entry(file)?;
    if !ours && archive.clock.wall().abs_diff(before.modified) < QUIET {
        return Ok(());
    }
    let reader = directory.open(file)?;
    let size = reader.len()?;
    let format = entry.segment.format;
    let mut whole = match probe::end(&reader, format, size)? {
        probe::End::Whole(whole) => whole,
        probe::End::Nothing if ours => {
            tracing::warn!(%path, file, bytes = size, "removed a recording that was interrupted: no part of it is whole");
            // This file is not open, and its name is not given twice.
            let _ = index.remove(entry.segment.start, file);
            return Ok(());
        }
        end => {
            let what = match end {
                probe::End::Nothing => "no part of it is whole",
                _ => "it is damaged in the middle",
            };
            tracing::warn!(%path, file, "left as it is, though {what}");
            entry.segment.active = false;
            entry.finished = true;
            index.put(entry);
            return Ok(());
        }
    };
    if whole < size {
        match directory.truncate(file, whole) {
            Ok(()) => {
                let bytes = size - whole;
                tracing::warn!(%path, file, bytes, "cut back a recording that was interrupted");
            }
            // What the store has already stays as it is.
            Err(storage::Error::NotFound) if matches!(index.rule().place, Place::Objects(_)) => whole = size,
            Err(error) => return Err(error),
        }
    }
    let segment = &mut entry.segment;
    if let Ok(facts) = probe::facts(&reader, format, None) {
        (segment.duration, segment.join, segment.tracks) = (facts.duration, facts.join, facts.tracks);
        segment.known = true;
    }
    (segment.size, segment.active) = (whole, false);
    entry.modified = directory.entry(file)?.modified;
    entry.finished = true;
    if ours && entry.born.is_none() {
        // It is older; how much nobody knows.
        entry.born = Some(archive.evidence.lock().elapsed(&*archive.clock));
    }
    index.put(entry);
    Ok(())
}

impl Archive {
    /// A recorder is gone: its last file is done in its place.
    pub(super) fn tell_done(&self, path: &PathName, segment: &super::Segment) {
        let file = self.location(path, segment).unwrap_or_default();
        self.events.emit(|| {
            Event::SegmentDone(wasmtx_hub::Segment {
                path: path.clone(),
                file,
                start: WallClock(segment.start),
                duration: segment.duration,
                size: segment.size,
            })
        });
    }
}

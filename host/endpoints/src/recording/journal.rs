//! Which files were being written, for the next start: one small file for each, synced when it is made.
//!
//! Looking for torn files is cheap with it, however many recordings there are. Without it (somebody removed the state,
//! the power went before the note was on the disk) the last files of each path are looked at all the same.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};
use wasmtx_hub::PathName;

/// Notes that are read: files of as many recorders were open.
const MAX_NOTES: usize = 65_536;
/// Bytes of a note: a path's name, a place, a file's name.
const MAX_NOTE: u64 = 16 << 10;
const FILE_MODE: u32 = 0o600;

/// A file that was being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) path: PathName,
    /// Where the file is, as text.
    pub(super) place: String,
    /// Below that place.
    pub(super) file: String,
}

/// The directory of notes.
#[derive(Debug)]
pub(super) struct Journal {
    directory: PathBuf,
}

impl Journal {
    /// In a directory that is there.
    pub(super) fn new(directory: PathBuf) -> Journal {
        Journal { directory }
    }

    /// What was being written when the last server ended.
    pub(super) fn notes(&self) -> Vec<Note> {
        let Ok(listed) = fs::read_dir(&self.directory) else {
            return Vec::new();
        };
        let files = listed.flatten().take(MAX_NOTES).map(|entry| entry.path());
        files.filter_map(|file| read(&file)).collect()
    }

    /// A file is being written. Once this returns, a power cut does not undo it.
    pub(super) fn add(&self, note: &Note) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(FILE_MODE);
        let mut file = options.open(self.file(note))?;
        write!(file, "{}\n{}\n{}\n", note.path, note.place, note.file)?;
        file.sync_data()?;
        File::open(&self.directory)?.sync_all()
    }

    /// It is no longer. A note that comes back after a power cut costs one more look.
    pub(super) fn remove(&self, note: &Note) {
        let _ = fs::remove_file(self.file(note));
    }

    fn file(&self, note: &Note) -> PathBuf {
        let digest = Sha256::digest(format!("{}\n{}", note.place, note.file));
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.directory.join(name)
    }
}

fn read(file: &Path) -> Option<Note> {
    let metadata = fs::symlink_metadata(file).ok()?;
    if !metadata.is_file() || metadata.len() > MAX_NOTE {
        return None;
    }
    let text = fs::read_to_string(file).ok()?;
    let mut lines = text.strip_suffix('\n')?.splitn(3, '\n');
    Some(Note {
        path: PathName::new(lines.next()?).ok()?,
        place: lines.next()?.to_owned(),
        file: lines.next()?.to_owned(),
    })
}

//! The index of one path on the disk: an append-only file of [`Record`]s.
//!
//! It only spares looking: nothing is lost with it, and nothing in it is believed against the files themselves. So it is
//! never synced, and an error in writing it ends it until the next start.

use std::{
    collections::HashSet,
    ffi::OsString,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use super::record::Record;

/// A file larger than this is begun anew: a million segments have 200 MB.
const MAX_BYTES: u64 = 512 << 20;
const FILE_MODE: u32 = 0o600;
const EXTENSION: &str = "index";

/// The file. It is there once there is something to remember, and open only while it is written to.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    head: String,
    /// It may be written to.
    kept: bool,
    /// Records in it; none before it is there.
    records: usize,
}

impl Log {
    /// The log of what `head` names, below a directory that is there, and the records in it.
    pub(super) fn open(directory: &Path, head: String) -> (Log, Vec<Record>) {
        let path = directory.join(file_name(&head));
        let records = read(&path, &head);
        let log = Log {
            path,
            head,
            kept: true,
            records: records.len(),
        };
        (log, records)
    }

    /// One that remembers nothing.
    pub(super) fn none() -> Log {
        Log {
            path: PathBuf::new(),
            head: String::new(),
            kept: false,
            records: 0,
        }
    }

    /// Whether something is remembered.
    pub(super) fn is_there(&self) -> bool {
        self.records > 0
    }

    /// Adds records at the end.
    pub(super) fn add(&mut self, records: &[Record]) {
        if !self.kept || records.is_empty() {
            return;
        }
        let mut bytes = Vec::new();
        if self.records == 0 {
            Record::Head(self.head.clone()).put(&mut bytes);
            self.records = 1;
        }
        records.iter().for_each(|record| record.put(&mut bytes));
        let written = open(&self.path, self.records > 1).and_then(|mut file| file.write_all(&bytes));
        self.records = self.records.saturating_add(records.len());
        self.give_up_unless(written);
    }

    /// Whether more than half of it says what is no longer true.
    pub(super) fn is_stale(&self, live: usize) -> bool {
        const LEAST: usize = 256;
        self.kept && self.records > LEAST && self.records / 2 > live
    }

    /// Writes it anew.
    pub(super) fn compact(&mut self, records: impl Iterator<Item = Record>) {
        let replaced = self.replace(records);
        self.give_up_unless(replaced);
    }

    /// There is nothing to remember.
    pub(super) fn clear(&mut self) {
        if self.kept && self.records > 0 {
            let _ = fs::remove_file(&self.path);
            self.records = 0;
        }
    }

    fn replace(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = io::BufWriter::new(open(&beside, false)?);
        let mut bytes = Vec::new();
        self.records = 0;
        for record in std::iter::once(Record::Head(self.head.clone())).chain(records) {
            bytes.clear();
            record.put(&mut bytes);
            file.write_all(&bytes)?;
            self.records += 1;
        }
        file.into_inner()?;
        fs::rename(&beside, &self.path)
    }

    fn give_up_unless(&mut self, written: io::Result<()>) {
        if let Err(error) = written {
            tracing::warn!(path = %self.path.display(), "the index of recordings is no longer kept: {error}");
            self.kept = false;
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn open(path: &Path, there: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).mode(FILE_MODE);
    options.append(there).truncate(!there).open(path)
}

/// The records of a file, if it is the right one, to the first that is damaged; then the file ends there, too.
fn read(path: &Path, head: &str) -> Vec<Record> {
    let length = fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length > MAX_BYTES {
        return Vec::new();
    }
    let Ok(bytes) = fs::read(path) else { return Vec::new() };
    let mut rest = &bytes[..];
    let records: Vec<Record> = std::iter::from_fn(|| Record::next(&mut rest)).collect();
    if !matches!(records.first(), Some(Record::Head(found)) if found == head) {
        return Vec::new();
    }
    if !rest.is_empty() {
        let whole = u64::try_from(bytes.len() - rest.len()).unwrap_or(0);
        let cut = OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_len(whole));
        if cut.is_err() {
            return Vec::new();
        }
    }
    records
}

/// Removes the logs that are of none of these heads: nothing is recorded there any more.
pub(super) fn tidy(directory: &Path, heads: impl Iterator<Item = String>) {
    let kept: HashSet<OsString> = heads.map(|head| file_name(&head).into()).collect();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let is_log = Path::new(&name)
            .extension()
            .is_some_and(|extension| extension == EXTENSION);
        if is_log && !kept.contains(&name) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Names of paths have slashes and all lengths; their digests have not.
fn file_name(head: &str) -> String {
    let digest = Sha256::digest(head.as_bytes());
    let mut name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    name.push('.');
    name.push_str(EXTENSION);
    name
}

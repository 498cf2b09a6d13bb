//! The index of one path on the disk: an append-only file of [`Record`]s.
//!
//! It only spares looking: nothing is lost with it, and nothing in it is believed against the files themselves. So it is
//! never synced, and an error in writing it ends it until the next start.

use std::{
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

/// The file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    head: String,
    /// None once it could not be written.
    file: Option<File>,
    /// Records in it.
    records: usize,
}

impl Log {
    /// The log of what `head` names, below a directory that is there, and the records in it.
    pub(super) fn open(directory: &Path, head: String) -> (Log, Vec<Record>) {
        let path = directory.join(file_name(&head));
        let records = read(&path, &head);
        let mut log = Log {
            path,
            head,
            file: None,
            records: records.len(),
        };
        // What could not be read to its end is written anew before something is added.
        let opened = match records.is_empty() {
            true => log.replace(std::iter::empty()),
            false => log.append_to(),
        };
        if let Err(error) = opened {
            tracing::warn!(path = %log.path.display(), "no index of recordings is kept: {error}");
        }
        (log, records)
    }

    /// Adds records at the end.
    pub(super) fn add(&mut self, records: &[Record]) {
        let Some(file) = &mut self.file else { return };
        let mut bytes = Vec::new();
        records.iter().for_each(|record| record.put(&mut bytes));
        self.records = self.records.saturating_add(records.len());
        if let Err(error) = file.write_all(&bytes) {
            tracing::warn!(path = %self.path.display(), "the index of recordings is no longer kept: {error}");
            self.file = None;
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Whether more than half of it says what is no longer true.
    pub(super) fn is_stale(&self, live: usize) -> bool {
        const LEAST: usize = 256;
        self.file.is_some() && self.records > LEAST && self.records / 2 > live
    }

    /// Writes it anew.
    pub(super) fn compact(&mut self, records: impl Iterator<Item = Record>) {
        if let Err(error) = self.replace(records) {
            tracing::warn!(path = %self.path.display(), "the index of recordings is no longer kept: {error}");
            self.file = None;
            let _ = fs::remove_file(&self.path);
        }
    }

    fn replace(&mut self, records: impl Iterator<Item = Record>) -> io::Result<()> {
        let beside = self.path.with_extension("new");
        let mut file = io::BufWriter::new(create(&beside)?);
        let mut bytes = Vec::new();
        self.records = 0;
        for record in std::iter::once(Record::Head(self.head.clone())).chain(records) {
            bytes.clear();
            record.put(&mut bytes);
            file.write_all(&bytes)?;
            self.records += 1;
        }
        file.into_inner()?;
        fs::rename(&beside, &self.path)?;
        self.append_to()
    }

    fn append_to(&mut self) -> io::Result<()> {
        self.file = Some(OpenOptions::new().append(true).open(&self.path)?);
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    options.open(path)
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

/// Names of paths have slashes and all lengths; their digests have not.
fn file_name(head: &str) -> String {
    let digest = Sha256::digest(head.as_bytes());
    let mut name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    name.push_str(".index");
    name
}

//! How far the upload of a large file is, kept beside the spool so that the next server goes on where this one was
//! stopped.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::address::short;
use crate::storage::{Entry, name::Name};

/// Bytes of what is read: 10,000 parts of 100 bytes, and a name.
const LEN: u64 = 2 << 20;
const FILE_MODE: u32 = 0o600;

/// An upload in parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// The file as it was when it began: another one of that name is another upload.
    pub(super) file: Entry,
    /// What the store calls it.
    pub(super) upload: String,
    /// Bytes of each part but the last.
    pub(super) part: u64,
    /// What the store calls the parts that it has, from the first on.
    pub(super) parts: Vec<String>,
}

impl Progress {
    fn json(&self) -> Value {
        json!({
            "name": self.file.name, "size": self.file.size, "modified": self.file.modified,
            "upload": self.upload, "part": self.part, "parts": self.parts,
        })
    }

    fn read(text: &str) -> Option<Progress> {
        let value: Value = serde_json::from_str(text).ok()?;
        let word = |key: &str| Some(value.get(key)?.as_str()?.to_owned());
        let number = |key: &str| value.get(key)?.as_u64();
        let parts = value.get("parts")?.as_array()?.iter();
        Some(Progress {
            file: Entry {
                name: Name::new(&word("name")?).ok()?.as_str().to_owned(),
                size: number("size")?,
                modified: number("modified")?,
            },
            upload: word("upload")?,
            part: number("part").filter(|part| *part > 0)?,
            parts: parts
                .map(|part| part.as_str().map(str::to_owned))
                .collect::<Option<_>>()?,
        })
    }
}

/// The directory where they are kept.
#[derive(Debug)]
pub(super) struct Ledger(PathBuf);

impl Ledger {
    pub(super) fn new(directory: PathBuf) -> Ledger {
        Ledger(directory)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(short(name)).with_extension("json")
    }

    pub(super) fn load(&self, name: &str) -> Option<Progress> {
        load(&self.path(name)).filter(|progress| progress.file.name == name)
    }

    /// What cannot be kept is only done again.
    pub(super) fn save(&self, progress: &Progress) -> io::Result<()> {
        let path = self.path(&progress.file.name);
        let new = path.with_extension("new");
        let options = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(FILE_MODE)
            .open(&new);
        let mut file = options?;
        file.write_all(progress.json().to_string().as_bytes())?;
        file.sync_data()?;
        fs::rename(new, path)
    }

    pub(super) fn forget(&self, name: &str) {
        // Gone already, or in the way of nobody: it says which file it was about.
        let _ = fs::remove_file(self.path(name));
    }

    /// All of them, as far as they can be read.
    pub(super) fn all(&self) -> Vec<Progress> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        entries.filter_map(|entry| load(&entry.path())).collect()
    }
}

fn load(path: &Path) -> Option<Progress> {
    let mut text = String::new();
    io::Read::read_to_string(&mut io::Read::take(File::open(path).ok()?, LEN), &mut text).ok()?;
    Progress::read(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_read_as_it_was_written_and_nothing_else_is() {
        let progress = Progress {
            file: Entry {
                name: "cam 1/ü.mp4".to_owned(),
                size: u64::MAX,
                modified: 7,
            },
            upload: "an \"id\"".to_owned(),
            part: 8 << 20,
            parts: vec!["\"etag\"".to_owned(), "b".to_owned()],
        };
        let text = progress.json().to_string();
        assert_eq!(Progress::read(&text), Some(progress));
        for end in 0..text.len() {
            if let Some(part) = text.get(..end) {
                assert_eq!(Progress::read(part), None);
            }
        }
        for (old, new) in [("cam 1/", "../"), (":7", ":-7"), ("8388608", "0"), ("\"b\"", "1")] {
            assert!(text.contains(old), "{text}");
            assert_eq!(Progress::read(&text.replace(old, new)), None);
        }
    }
}

//! `plugins.lock` beside the configuration: what plugins that are fetched turned out to be, so that the next start, on
//! this machine or another, loads exactly that. Written by `wasmtx plugin lock`.

use super::{
    error::Problems,
    schema::{Reader, Value, settings},
    secret::Fingerprint,
    yaml,
};
use std::{
    collections::BTreeMap,
    fmt::Write,
    fs::File,
    io::{ErrorKind, Read},
    path::{Path, PathBuf},
};
use wasmtx_endpoints::fetch::{Fetched, Origin};

/// The name of the file.
pub const NAME: &str = "plugins.lock";
/// The only version there is.
const VERSION: u32 = 1;
/// Bytes of a file.
const MAX_TEXT: u64 = 1 << 20;

settings! {
    /// What one plugin turned out to be.
    pub struct Locked {
        /// Its `file` when it was looked at.
        "source" => source: String = String::new(),
        /// The same with every digest.
        "resolved" => resolved: String = String::new(),
        /// Of the component.
        "sha256" => sha256: Fingerprint = Fingerprint::default(),
    }
}

settings! {
    /// The file.
    pub struct Lock {
        /// Of its form.
        "version" => version: u32 = VERSION,
        /// By name.
        "plugins" => plugins: BTreeMap<String, Locked> = BTreeMap::new(),
    }
}

impl Lock {
    /// Where the lock of a configuration file is.
    pub fn beside(configuration: &Path) -> PathBuf {
        configuration.with_file_name(NAME)
    }

    /// Reads a lock; one that is missing is empty.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn load(file: &Path) -> Result<Lock, Problems> {
        let mut text = String::new();
        let read = File::open(file).and_then(|opened| opened.take(MAX_TEXT).read_to_string(&mut text));
        match read {
            Ok(_) => Lock::parse(&text).map_err(|problems| problems.in_file(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Lock::default()),
            Err(error) => Err(Problems::whole(format!("it cannot be read: {error}")).in_file(file)),
        }
    }

    fn parse(text: &str) -> Result<Lock, Problems> {
        let tree = yaml::parse(text)?;
        let mut reader = Reader::default();
        let lock = Lock::read(&tree, &mut reader);
        reader.problems.into_result()?;
        match lock {
            Some(lock) if lock.version == VERSION => Ok(lock),
            _ => Err(Problems::whole("this version of wasmtx reads version 1 only")),
        }
    }

    /// Writes down what was found, in place of what was known about that plugin.
    pub fn insert(&mut self, name: &str, source: &Origin, found: &Fetched) {
        let locked = Locked {
            source: source.to_string(),
            resolved: found.origin.to_string(),
            sha256: Fingerprint::of(found.sha256.0),
        };
        self.plugins.insert(name.to_owned(), locked);
    }

    /// The file's text.
    pub fn text(&self) -> String {
        let mut text =
            "# Written by `wasmtx plugin lock`: what the plugins that are fetched turned out to be.\n".to_owned();
        // Writing to a string does not fail. JSON is YAML, and quotes whatever has to be.
        let _ = write!(text, "version: {VERSION}\nplugins:");
        text.push_str(if self.plugins.is_empty() { " {}\n" } else { "\n" });
        for (name, locked) in &self.plugins {
            let quoted = serde_json::Value::from;
            let _ = writeln!(text, "  {name}:\n    source: {}", quoted(locked.source.as_str()));
            let _ = writeln!(text, "    resolved: {}", quoted(locked.resolved.as_str()));
            let _ = writeln!(text, "    sha256: {}", locked.sha256.json());
        }
        text
    }
}

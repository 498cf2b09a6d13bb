//! What was fetched, by its content: `<state directory>/plugins/sha256/<digest>`.
//!
//! A file here has the content that its name says or it is not there: it is hashed each time it is read, and it appears
//! whole or not at all. Nothing removes files; what no configuration names any more can be deleted by hand.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use bytes::Bytes;
use uuid::Uuid;

use super::{COMPONENT_BYTES, digest::Digest};

/// Fetched files. Every call may wait for the disk.
#[derive(Clone, Debug)]
pub(super) struct Store {
    directory: PathBuf,
}

impl Store {
    /// Below a state directory, made when something is put in.
    pub(super) fn new(state: &Path) -> Store {
        Store {
            directory: state.join("plugins/sha256"),
        }
    }

    pub(super) fn file(&self, digest: Digest) -> PathBuf {
        self.directory.join(digest.to_string())
    }

    /// The content of that digest, if it is here and is what it should be.
    pub(super) fn get(&self, digest: Digest) -> Option<Bytes> {
        let bytes = self.read(&digest.to_string()).ok()?;
        if Digest::of(&bytes) == digest {
            return Some(bytes);
        }
        tracing::warn!(%digest, "a stored plugin was damaged, it is fetched again");
        None
    }

    pub(super) fn put(&self, bytes: &[u8]) -> io::Result<()> {
        self.write(&Digest::of(bytes).to_string(), bytes)
    }

    /// The signature that came with a component. Who reads it checks it.
    pub(super) fn signature(&self, digest: Digest) -> Option<Bytes> {
        self.read(&format!("{digest}.sig")).ok()
    }

    pub(super) fn put_signature(&self, digest: Digest, signature: &[u8]) -> io::Result<()> {
        self.write(&format!("{digest}.sig"), signature)
    }

    fn read(&self, name: &str) -> io::Result<Bytes> {
        let mut bytes = Vec::new();
        let file = File::open(self.directory.join(name))?;
        file.take(COMPONENT_BYTES as u64 + 1).read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let aside = self.directory.join(format!(".{}", Uuid::new_v4()));
        let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&aside);
        let written = written.and_then(|mut file| {
            file.write_all(bytes)?;
            file.sync_data()?;
            fs::rename(&aside, self.directory.join(name))
        });
        if written.is_err() {
            let _ = fs::remove_file(&aside);
        }
        written
    }
}

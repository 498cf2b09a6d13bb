//! Notices that the configuration file changed.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// A file that was written is read when nothing more happened for this long.
const SETTLE: Duration = Duration::from_millis(50);

/// Watches one file, through its directory: editors replace files.
pub(crate) struct FileWatch {
    file: PathBuf,
    last: Option<[u8; 32]>,
    changes: mpsc::Receiver<()>,
    _watcher: RecommendedWatcher,
}

impl FileWatch {
    /// Watches `file`, whose present content counts as known.
    pub(crate) fn new(file: &Path) -> anyhow::Result<FileWatch> {
        let file = std::path::absolute(file)?;
        let directory = file.parent().context("the file has no directory")?.to_owned();
        // One pending change is enough: whoever sees it reads the file as it is then.
        let (sender, changes) = mpsc::channel(1);
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| !event.kind.is_access()) {
                let _ = sender.try_send(());
            }
        })?;
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
        let last = digest(&file);
        Ok(FileWatch {
            file,
            last,
            changes,
            _watcher: watcher,
        })
    }

    /// The file, absolute.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// Waits until the file has another content. Cancel safe.
    pub(crate) async fn changed(&mut self) {
        loop {
            if self.changes.recv().await.is_none() {
                return std::future::pending().await;
            }
            while let Ok(Some(())) = tokio::time::timeout(SETTLE, self.changes.recv()).await {}
            let now = digest(&self.file);
            // A file that is away for a moment is about to be replaced.
            if now.is_some() && now != self.last {
                self.last = now;
                return;
            }
        }
    }
}

fn digest(file: &Path) -> Option<[u8; 32]> {
    Some(Sha256::digest(std::fs::read(file).ok()?).into())
}

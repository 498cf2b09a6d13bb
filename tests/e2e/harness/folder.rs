//! Folders of one test run, below cargo's folder for such things.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        LazyLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Where this run keeps what all its tests share. Those of runs that are over are removed.
static RUN: LazyLock<PathBuf> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    for old in fs::read_dir(&root).into_iter().flatten().flatten() {
        if !Path::new("/proc").join(old.file_name()).exists() {
            // Another run may be removing it, too.
            let _ = fs::remove_dir_all(old.path());
        }
    }
    let run = root.join(process::id().to_string());
    fs::create_dir_all(&run).expect("a folder for the run");
    run
});

static NEXT: AtomicUsize = AtomicUsize::new(0);

/// A file that all tests of this run share.
pub(super) fn shared(name: &str) -> PathBuf {
    RUN.join(name)
}

/// A folder of one test, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let folder = RUN.join(format!("test-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        fs::create_dir(&folder).expect("a folder for the test");
        Folder(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Writes a file in one step, as an editor or a deployment does.
    pub(crate) fn write(&self, name: &str, contents: impl AsRef<[u8]>) -> PathBuf {
        let file = self.file(name);
        let draft = self.file(&format!(".{name}.draft"));
        fs::write(&draft, contents).expect("a file of the test");
        fs::rename(draft, &file).expect("a file of the test");
        file
    }

    /// What a file holds by now; nothing when it is not there yet.
    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.file(name)).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! File systems of a test's own. Mounting takes root, which is who runs the tests in CI.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::tool;

/// A mounted file system, gone with this.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Memory, of so many bytes.
    #[track_caller]
    pub(crate) fn memory(at: PathBuf, size: usize) -> Mount {
        let options = format!("size={size},mode=0755");
        Mount::new(at, &["-t", "tmpfs", "-o", &options, "tmpfs"])
    }

    /// An image of ext4, through a loop device.
    #[track_caller]
    pub(crate) fn image(at: PathBuf, image: &Path) -> Mount {
        let image = image.to_str().expect("a path of ours");
        // The journal is written out soon, so that what is not synced has its chance to be there in part.
        Mount::new(at, &["-t", "ext4", "-o", "loop,commit=1", image])
    }

    fn new(at: PathBuf, what: &[&str]) -> Mount {
        assert!(
            rustix::process::geteuid().is_root(),
            "this test mounts a file system; run it as root"
        );
        fs::create_dir_all(&at).expect("a folder");
        let what = what.iter().map(AsRef::<Path>::as_ref);
        tool::run("mount", what.chain([at.as_path()]));
        Mount(at)
    }

    /// Makes an image of an empty ext4 file system.
    #[track_caller]
    pub(crate) fn make_image(image: &Path, megabytes: usize) {
        let line = ["-q", "-F", "-t", "ext4"].map(AsRef::<Path>::as_ref);
        fs::File::create(image)
            .and_then(|file| file.set_len(megabytes as u64 * 1_000_000))
            .expect("an image");
        tool::run("mkfs.ext4", line.into_iter().chain([image]));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // What still has a file open there keeps it for as long as it likes; nobody finds it any more.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

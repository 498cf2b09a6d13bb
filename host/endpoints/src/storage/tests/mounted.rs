//! File systems of their own: each test runs once more, in a mount namespace where a small tmpfs is mounted.

use std::{path::Path, process::Command};

use super::*;

/// Tells the inner run where its file system is.
const MOUNTED: &str = "WASMTX_TEST_MOUNTED";
const PART: usize = 64 << 10;

/// Runs a test's body on a tmpfs of so many kibibytes.
#[track_caller]
fn on_tmpfs(test: &str, kibibytes: usize, body: impl FnOnce(&Directories, PathBuf)) {
    if let Some(folder) = std::env::var_os(MOUNTED) {
        let folder = PathBuf::from(folder);
        body(&Directories::with_environment(folder.join("state"), []), folder);
        return;
    }
    let place = Place::new();
    let mount = format!("mount -t tmpfs -o size={kibibytes}k tmpfs \"$0\" && exec \"$@\"");
    let mut inner = Command::new("unshare");
    if !rustix::process::geteuid().is_root() {
        inner.arg("--map-root-user");
    }
    inner.args(["--mount", "sh", "-c", &mount]).arg(&place.folder);
    inner.arg(std::env::current_exe().unwrap());
    inner.args(["--exact", &format!("storage::tests::mounted::{test}"), "--nocapture"]);
    let ran = inner.env(MOUNTED, &place.folder).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout) + String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

fn open(directories: &Directories, folder: &Path) -> Directory {
    let options = Options {
        min_free: MinFree::Bytes(0),
        ..Options::recordings()
    };
    directories
        .open(&crate::storage::Place::Directory(folder.join("files")), options)
        .unwrap()
}

/// Parts of one write, which do not end where pages do.
fn parts(with: u8) -> Vec<Bytes> {
    vec![vec![with; PART - 7].into(), vec![with; 7].into()]
}

/// Appends parts until there is no room; how many fitted.
fn fill(file: &mut Writer) -> u64 {
    for count in 0.. {
        match file.append(&parts(1)) {
            Ok(length) => assert_eq!(length, (count + 1) * PART as u64),
            Err(Error::Full) => return count,
            Err(error) => panic!("{error}"),
        }
    }
    0
}

#[test]
fn a_full_disk_has_whole_parts_only_and_goes_on_when_it_has_room() {
    on_tmpfs(
        "a_full_disk_has_whole_parts_only_and_goes_on_when_it_has_room",
        1_000,
        |directories, folder| {
            let directory = open(directories, &folder);
            write(&directory, "old", &[0; 4 * PART]);
            let mut file = directory.create("new").unwrap();
            let fitted = fill(&mut file);
            assert!((8..16).contains(&fitted), "{fitted}");
            assert_eq!(file.commit().unwrap(), fitted * PART as u64);
            assert_eq!(
                fs::metadata(folder.join("files/new")).unwrap().len(),
                fitted * PART as u64
            );
            // A smaller piece that would fit is no reason to go on, nor is a new file.
            assert!(matches!(file.append(&["x".into()]), Err(Error::Full)));
            assert!(matches!(directory.create("another"), Err(Error::Full)));
            directory.remove("old").unwrap();
            let length = loop {
                // What was asked of the file system a moment ago still counts.
                match file.append(&parts(2)) {
                    Err(Error::Full) => std::thread::yield_now(),
                    length => break length.unwrap(),
                }
            };
            assert_eq!(file.finish().unwrap(), length);
            assert_eq!(
                directory.read("new", fitted * PART as u64, 9).unwrap(),
                [2; 9].as_slice()
            );
        },
    );
}

#[test]
fn a_disk_that_became_read_only_is_written_again_when_it_can_be() {
    on_tmpfs(
        "a_disk_that_became_read_only_is_written_again_when_it_can_be",
        1_000,
        |directories, folder| {
            let remount = |how| {
                let done = Command::new("mount").args(["-o", how]).arg(&folder).status().unwrap();
                assert!(done.success());
            };
            let directory = open(directories, &folder);
            write(&directory, "cam/1", b"1");
            remount("remount,ro");
            for name in ["cam/2", "other/1"] {
                assert!(matches!(directory.create(name), Err(Error::Io(_))));
            }
            assert!(matches!(directory.remove("cam/1"), Err(Error::Io(_))));
            assert!(matches!(directory.rename("cam/1", "x"), Err(Error::Io(_))));
            assert!(directory.truncate("cam/1", 0).is_err());
            assert_eq!(directory.read("cam/1", 0, 9).unwrap(), "1");
            remount("remount,rw");
            write(&directory, "cam/2", b"2");
            assert_eq!(names(&directory, ""), ["cam/1", "cam/2"]);
        },
    );
}

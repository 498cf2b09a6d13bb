mod broken;
mod local;
mod mounted;
mod power;

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
};

use super::*;

/// A folder of its own, removed at the end, with a plugin's directory in it.
struct Place {
    folder: PathBuf,
    directories: Directories,
}

impl Place {
    fn new() -> Place {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-storage-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Place {
            directories: Directories::with_environment(folder.join("state"), []),
            folder,
        }
    }

    fn inside(&self, name: &str) -> PathBuf {
        self.folder.join("files").join(name)
    }

    fn at(&self, folder: &str, options: Options) -> Directory {
        let place = super::Place::Directory(self.folder.join(folder));
        self.directories.open(&place, options).unwrap()
    }

    fn open(&self, quota: Quota) -> Directory {
        self.at(
            "files",
            Options {
                quota: Some(quota),
                ..Options::default()
            },
        )
    }

    fn usual(&self) -> Directory {
        self.open(Quota::default())
    }

    fn recordings(&self) -> Directory {
        self.at("files", Options::recordings())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn write(directory: &Directory, name: &str, bytes: &'static [u8]) -> u64 {
    let mut file = directory.create(name).unwrap();
    file.append(&[bytes.into()]).unwrap();
    file.finish().unwrap()
}

fn names(directory: &Directory, prefix: &str) -> Vec<String> {
    let entries = directory.list(prefix).unwrap();
    entries.into_iter().map(|entry| entry.name).collect()
}

#[track_caller]
fn not_granted<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotGranted)), "{result:?}");
}

#[track_caller]
fn not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotFound)), "{result:?}");
}

#[track_caller]
fn over_quota<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::Quota)), "{result:?}");
}

#[test]
fn what_is_appended_is_there_and_lengths_say_so() {
    let place = Place::new();
    let directory = place.usual();
    let mut file = directory.create("a/b/one.bin").unwrap();
    assert_eq!(file.append(&["hel".into(), "".into(), "lo".into()]).unwrap(), 5);
    assert_eq!(file.append(&[]).unwrap(), 5);
    assert_eq!(file.commit().unwrap(), 5);
    assert_eq!(file.append(&[" world".into()]).unwrap(), 11);
    assert_eq!(directory.read("a/b/one.bin", 0, 100).unwrap(), "hello world");
    assert_eq!(file.finish().unwrap(), 11);
    assert_eq!(directory.read("a/b/one.bin", 6, 3).unwrap(), "wor");
    assert_eq!(directory.read("a/b/one.bin", 99, 3).unwrap(), "");
    assert_eq!(directory.read("a/b/one.bin", u64::MAX, u32::MAX).unwrap(), "");
    let mode = |name| fs::metadata(place.inside(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(""), mode("a/b"), mode("a/b/one.bin")), (0o700, 0o700, 0o600));
}

#[test]
fn thousands_of_parts_are_written_in_order() {
    let place = Place::new();
    let directory = place.usual();
    let parts: Vec<Bytes> = (0..5_000_u32).map(|n| Bytes::from(n.to_be_bytes().to_vec())).collect();
    directory.create("x").unwrap().append(&parts).unwrap();
    assert_eq!(directory.read("x", 0, READ_BYTES).unwrap(), parts.concat());
}

#[test]
fn a_file_that_is_dropped_keeps_what_was_appended() {
    let place = Place::new();
    let directory = place.usual();
    directory.create("x").unwrap().append(&["abc".into()]).unwrap();
    assert_eq!(directory.read("x", 0, 9).unwrap(), "abc");
    assert_eq!(directory.used(), Some(3));
}

#[test]
fn names_that_lead_out_are_not_granted() {
    let place = Place::new();
    let directory = place.usual();
    fs::write(place.folder.join("secret"), "s").unwrap();
    write(&directory, "x", b"x");
    for name in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "../secret",
        "a/../../secret",
        "a//b",
        "a/",
        "./x",
        "a\0b",
        &"x".repeat(256),
    ] {
        not_granted(directory.create(name));
        not_granted(directory.read(name, 0, 1));
        not_granted(directory.remove(name));
        not_granted(directory.rename(name, "y"));
        not_granted(directory.rename("x", name));
    }
    assert_eq!(names(&directory, ""), ["x"]);
}

#[test]
fn links_that_were_planted_lead_nowhere() {
    let place = Place::new();
    let directory = place.usual();
    let outside = place.folder.join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "s").unwrap();
    write(&directory, "own", b"x");
    symlink(&outside, place.inside("dir")).unwrap();
    symlink(outside.join("secret"), place.inside("file")).unwrap();
    symlink(place.inside("own"), place.inside("inner")).unwrap();
    symlink("/nowhere", place.inside("broken")).unwrap();
    for name in ["dir/secret", "file", "inner", "broken", "dir/new"] {
        not_granted(directory.create(name));
        not_granted(directory.read(name, 0, 9));
        not_granted(directory.remove(name));
        not_granted(directory.rename(name, "y"));
        not_granted(directory.rename("own", name));
    }
    assert_eq!(names(&directory, ""), ["own"]);
    assert_eq!(fs::read_to_string(outside.join("secret")).unwrap(), "s");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn what_is_no_file_is_none() {
    let place = Place::new();
    let directory = place.usual();
    fs::create_dir(place.inside("d")).unwrap();
    let pipe = place.inside("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    for name in ["d", "pipe", "missing", "missing/x", "pipe/x"] {
        not_found(directory.read(name, 0, 1));
        not_found(directory.remove(name));
        not_found(directory.rename(name, "y"));
    }
    for name in ["d", "pipe", "pipe/x"] {
        not_granted(directory.create(name));
    }
    assert!(names(&directory, "").is_empty());
}

#[test]
fn bytes_are_bounded_over_all_files() {
    let place = Place::new();
    let quota = Quota {
        bytes: 10,
        ..Quota::default()
    };
    let directory = place.open(quota);
    write(&directory, "a", b"123456");
    let mut file = directory.create("b").unwrap();
    over_quota(file.append(&["12345".into()]));
    assert_eq!(file.append(&["1234".into()]).unwrap(), 4);
    over_quota(file.append(&["1".into()]));
    directory.remove("a").unwrap();
    assert_eq!(file.append(&["5".into()]).unwrap(), 5);
    assert_eq!(directory.used(), Some(5));
    // Replacing a file gives its bytes back.
    drop(file);
    assert_eq!(write(&directory, "b", b"1234567890"), 10);
    assert_eq!(directory.used(), Some(10));
}

#[test]
fn a_file_without_a_name_takes_room_until_its_writer_is_done() {
    let place = Place::new();
    let quota = Quota {
        bytes: 10,
        ..Quota::default()
    };
    let directory = place.open(quota);
    let mut old = directory.create("a").unwrap();
    old.append(&["123456".into()]).unwrap();
    directory.remove("a").unwrap();
    let mut new = directory.create("a").unwrap();
    over_quota(new.append(&["12345".into()]));
    old.append(&["7".into()]).unwrap();
    assert_eq!(directory.used(), Some(7));
    drop(old);
    assert_eq!(directory.used(), Some(0));
    new.append(&["12345".into()]).unwrap();
    // A writer that was pushed out by another of the same name does not take its bytes along.
    let mut newest = directory.create("a").unwrap();
    newest.append(&["1".into()]).unwrap();
    drop(new);
    assert_eq!(
        (directory.used(), names(&directory, "")),
        (Some(1), vec!["a".to_owned()])
    );
}

#[test]
fn files_and_writers_are_bounded() {
    let place = Place::new();
    let quota = Quota {
        files: 2,
        open: 2,
        ..Quota::default()
    };
    let directory = place.open(quota);
    let first = directory.create("a").unwrap();
    let second = directory.create("b").unwrap();
    over_quota(directory.create("a"));
    drop((first, second));
    over_quota(directory.create("d/c"));
    assert!(
        !place.inside("d").exists(),
        "a refused file leaves no directories behind"
    );
    directory.create("a").unwrap();
    directory.remove("a").unwrap();
    directory.create("c").unwrap();
}

#[test]
fn what_is_there_counts_and_everybody_shares_it() {
    let place = Place::new();
    fs::create_dir_all(place.inside("old")).unwrap();
    fs::write(place.inside("old/file"), "12345678").unwrap();
    let quota = Quota {
        bytes: 10,
        ..Quota::default()
    };
    let (one, other) = (place.open(quota), place.open(quota));
    assert_eq!(one.used(), Some(8));
    write(&one, "new", b"12");
    over_quota(other.create("x").unwrap().append(&["1".into()]));
    // A new version of the plugin has more room.
    let larger = place.usual();
    write(&larger, "x", b"1234");
    assert_eq!((one.used(), other.used()), (Some(14), Some(14)));
}

#[test]
fn a_list_is_in_order_and_begins_with_what_was_asked_for() {
    let place = Place::new();
    let directory = place.usual();
    for name in ["b", "a/2", "a/1/x", "ab", "a.txt"] {
        write(&directory, name, b"x");
    }
    fs::write(place.inside("not\na name"), "").unwrap();
    assert_eq!(names(&directory, ""), ["a.txt", "a/1/x", "a/2", "ab", "b"]);
    assert_eq!(names(&directory, "a/"), ["a/1/x", "a/2"]);
    assert_eq!(names(&directory, "a/1"), ["a/1/x"]);
    assert_eq!(names(&directory, "ab"), ["ab"]);
    assert!(names(&directory, "../").is_empty() && names(&directory, "c").is_empty());
    let entry = directory.list("b").unwrap().remove(0);
    assert!(entry.size == 1 && entry.modified > 1_600_000_000_000_000, "{entry:?}");
}

#[test]
fn renaming_moves_replaces_and_tidies_up() {
    let place = Place::new();
    let directory = place.usual();
    write(&directory, "a/b/old", b"old");
    write(&directory, "target", b"target");
    directory.rename("a/b/old", "target").unwrap();
    assert_eq!(directory.read("target", 0, 9).unwrap(), "old");
    assert_eq!(
        (directory.used(), names(&directory, "")),
        (Some(3), vec!["target".to_owned()])
    );
    assert!(!place.inside("a").exists());
    directory.rename("target", "target").unwrap();
    not_found(directory.rename("missing", "missing"));
    not_granted(directory.rename("target", "target/below"));
    // A file that is being written keeps its writer.
    let mut file = directory.create("part").unwrap();
    directory.rename("part", "whole").unwrap();
    file.append(&["12".into()]).unwrap();
    drop(file);
    assert_eq!(
        (directory.used(), directory.read("whole", 0, 9).unwrap()),
        (Some(5), "12".into())
    );
}

#[test]
fn removing_leaves_no_empty_directories() {
    let place = Place::new();
    let directory = place.usual();
    write(&directory, "a/b/c/x", b"x");
    write(&directory, "a/y", b"y");
    directory.remove("a/b/c/x").unwrap();
    assert!(!place.inside("a/b").exists() && place.inside("a/y").exists());
    directory.remove("a/y").unwrap();
    assert!(!place.inside("a").exists() && place.inside("").exists());
    assert_eq!(directory.used(), Some(0));
}

#[test]
fn a_directory_that_cannot_be_had_is_said_at_once() {
    let place = Place::new();
    let file = place.folder.join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let path = super::Place::Directory(path);
        assert!(place.directories.open(&path, Options::default()).is_err());
    }
}

#[test]
fn a_full_disk_is_told_from_a_used_up_quota() {
    assert!(matches!(Error::from(Errno::NOSPC), Error::Full));
    assert!(matches!(Error::from(Errno::DQUOT), Error::Full));
    assert!(matches!(Error::from(Errno::IO), Error::Io(_)));
}

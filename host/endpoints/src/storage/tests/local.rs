//! What recordings need beyond what plugins do.

use std::time::{Duration, Instant};

use super::*;

#[test]
fn recordings_are_seen_by_others_and_have_names_of_any_kind() {
    let place = Place::new();
    let directory = place.recordings();
    let name = "caméra 1/2026-11-22_10:00:00+01:00.mp4";
    write(&directory, name, b"x");
    // The umask takes from it; what a plugin makes is the server's alone whatever it is.
    let umask = umask();
    let mode = |name| fs::metadata(place.inside(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("caméra 1"), mode(name)), (0o777 & !umask, 0o666 & !umask));
    assert_eq!(directory.entry(name).unwrap().size, 1);
}

fn umask() -> u32 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let umask = status.lines().find_map(|line| line.strip_prefix("Umask:")).unwrap();
    u32::from_str_radix(umask.trim(), 8).unwrap()
}

#[test]
fn without_a_quota_nothing_is_counted_and_nothing_is_bounded() {
    let place = Place::new();
    let directory = place.recordings();
    let files: Vec<_> = (0..500).map(|n| directory.create(&format!("{n}")).unwrap()).collect();
    assert_eq!((directory.used(), names(&directory, "").len()), (None, 500));
    drop(files);
    // From now on it is: somebody has a quota.
    let bounded = place.open(Quota {
        files: 500,
        bytes: 3,
        ..Quota::default()
    });
    over_quota(bounded.create("x"));
    directory.create("x").unwrap().append(&["1234".into()]).unwrap();
    assert_eq!((directory.used(), bounded.used()), (Some(4), Some(4)));
    over_quota(bounded.create("0").unwrap().append(&["1".into()]));
}

#[test]
fn a_recording_is_never_replaced() {
    let place = Place::new();
    let directory = place.recordings();
    write(&directory, "x", b"first");
    let again = directory.create("x").unwrap_err();
    assert!(
        matches!(&again, Error::Io(error) if error.kind() == io::ErrorKind::AlreadyExists),
        "{again}"
    );
    assert_eq!(directory.read("x", 0, 9).unwrap(), "first");
    // What plugins keep is replaced.
    write(&place.usual(), "x", b"second");
    assert_eq!(directory.read("x", 0, 9).unwrap(), "second");
}

#[test]
fn a_file_is_found_by_its_exact_name() {
    let place = Place::new();
    let directory = place.recordings();
    write(&directory, "cam/a.mp4", b"12");
    write(&directory, "cam/a.mp4.old", b"123");
    let entry = directory.entry("cam/a.mp4").unwrap();
    assert_eq!((&*entry.name, entry.size), ("cam/a.mp4", 2));
    for name in ["cam", "cam/a", "cam/a.mp4/x", "other/a.mp4"] {
        not_found(directory.entry(name));
        not_found(directory.open(name));
    }
    not_granted(directory.entry("../x"));
    symlink("a.mp4", place.inside("cam/link")).unwrap();
    not_granted(directory.entry("cam/link"));
    not_granted(directory.open("cam/link"));
    not_granted(directory.truncate("cam/link", 0));
}

#[test]
fn a_level_shows_files_and_directories_and_nothing_else() {
    let place = Place::new();
    let directory = place.recordings();
    for name in ["b", "a/2", "a/1/x"] {
        write(&directory, name, b"xy");
    }
    symlink("b", place.inside("link")).unwrap();
    let level = |name| {
        let items = directory.level(name).unwrap().into_iter();
        let item = |item: Item| match item.kind {
            Kind::Directory => format!("{}/", item.name),
            Kind::File { size, .. } => format!("{}:{size}", item.name),
        };
        items.map(item).collect::<Vec<_>>()
    };
    assert_eq!(level(""), ["a/", "b:2"]);
    assert_eq!(level("a"), ["1/", "2:2"]);
    not_found(directory.level("b"));
    not_found(directory.level("missing"));
    not_granted(directory.level("link"));
    not_granted(directory.level(".."));
}

#[test]
fn a_reader_keeps_its_file_and_sees_it_grow() {
    let place = Place::new();
    let directory = place.recordings();
    let mut file = directory.create("x").unwrap();
    file.append(&["hello".into()]).unwrap();
    let reader = directory.open("x").unwrap();
    assert_eq!(reader.len().unwrap(), 5);
    file.append(&[" world".into()]).unwrap();
    assert_eq!(reader.read_at(6, 100).unwrap(), "world");
    drop(file);
    directory.remove("x").unwrap();
    write(&directory, "x", b"another");
    assert_eq!(
        (reader.len().unwrap(), reader.read_at(0, 5).unwrap()),
        (11, "hello".into())
    );
    assert_eq!(reader.read_at(11, 5).unwrap(), "");
    assert_eq!(reader.read_at(u64::MAX, u32::MAX).unwrap(), "");
}

#[test]
fn who_is_being_written_is_known_until_it_is_done() {
    let place = Place::new();
    let (directory, other) = (place.recordings(), place.recordings());
    assert!(!other.is_open("x"));
    let file = directory.create("x").unwrap();
    assert!(other.is_open("x"));
    assert!(matches!(other.truncate("x", 0), Err(Error::Io(_))));
    directory.rename("x", "y").unwrap();
    assert!(!other.is_open("x") && other.is_open("y"));
    file.finish().unwrap();
    assert!(!other.is_open("y") && !other.is_open("../x"));
}

#[test]
fn a_torn_tail_is_cut_off() {
    let place = Place::new();
    let directory = place.usual();
    write(&directory, "x", b"whole part, half a");
    directory.truncate("x", 10).unwrap();
    assert_eq!(directory.read("x", 0, 99).unwrap(), "whole part");
    directory.truncate("x", 99).unwrap();
    assert_eq!((directory.entry("x").unwrap().size, directory.used()), (10, Some(10)));
    not_found(directory.truncate("y", 0));
}

#[test]
fn directories_that_somebody_removed_are_made_again() {
    let place = Place::new();
    let directory = place.recordings();
    let mut file = directory.create("cam/1").unwrap();
    fs::remove_dir_all(place.inside("cam")).unwrap();
    // The file that is gone takes what comes, and nobody sees it.
    file.append(&["x".into()]).unwrap();
    file.finish().unwrap();
    write(&directory, "cam/2", b"x");
    assert_eq!(names(&directory, ""), ["cam/2"]);
    // The whole directory, too: removed, or moved away and another in its place.
    fs::remove_dir_all(place.inside("")).unwrap();
    assert!(names(&directory, "").is_empty());
    not_found(directory.open("cam/2"));
    write(&directory, "cam/3", b"x");
    assert!(place.inside("cam/3").exists());
    fs::rename(place.inside(""), place.folder.join("moved")).unwrap();
    fs::create_dir(place.inside("")).unwrap();
    write(&directory, "cam/4", b"x");
    assert_eq!(names(&place.recordings(), ""), ["cam/4"]);
    assert!(place.inside("cam/4").exists() && place.folder.join("moved/cam/3").exists());
}

#[test]
fn a_plugins_directory_that_was_emptied_by_hand_has_room_again() {
    let place = Place::new();
    let directory = place.open(Quota {
        bytes: 4,
        files: 1,
        ..Quota::default()
    });
    write(&directory, "a", b"1234");
    over_quota(directory.create("b"));
    fs::remove_dir_all(place.inside("")).unwrap();
    assert_eq!(write(&directory, "b", b"1234"), 4);
    assert_eq!(directory.used(), Some(4));
}

#[test]
fn a_stamp_changes_with_names_and_not_with_bytes() {
    const PATIENCE: Duration = Duration::from_secs(60);
    let place = Place::new();
    let directory = place.recordings();
    let settled = || {
        let start = Instant::now();
        loop {
            if let Some(stamp) = directory.stamp("cam").unwrap() {
                return stamp;
            }
            assert!(start.elapsed() < PATIENCE, "no stamp");
            std::thread::yield_now();
        }
    };
    let mut file = directory.create("cam/1").unwrap();
    assert_eq!(
        directory.stamp("cam").unwrap(),
        None,
        "it may change again within the tick"
    );
    let first = settled();
    file.append(&["x".into()]).unwrap();
    drop(file);
    assert_eq!(settled(), first);
    assert_eq!(Stamp::from(u128::from(first)), first);
    write(&directory, "cam/2", b"");
    let second = settled();
    assert_ne!(second, first);
    directory.remove("cam/2").unwrap();
    assert_ne!(settled(), second);
    not_found(directory.stamp("other"));
}

#[test]
fn what_must_stay_free_does() {
    let place = Place::new();
    let floor = |min_free| {
        place.at(
            "files",
            Options {
                min_free,
                ..Options::recordings()
            },
        )
    };
    let space = floor(MinFree::Usual).free().unwrap();
    assert!(0 < space.free && space.free <= space.total, "{space:?}");
    let none_left = floor(MinFree::Bytes(u64::MAX));
    assert!(matches!(none_left.create("x"), Err(Error::Full)));
    assert!(
        names(&none_left, "").is_empty(),
        "a file that may hold nothing is not made"
    );
    write(&floor(MinFree::Bytes(0)), "x", b"x");
    // Other users of the same place have floors of their own.
    assert!(matches!(none_left.create("x"), Err(Error::Full)));
    assert_eq!(none_left.read("x", 0, 1).unwrap(), "x");
}

#[test]
fn devices_and_pipes_are_no_files() {
    let place = Place::new();
    let directory = place.recordings();
    let pipe = place.inside("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(place.inside("socket")).unwrap();
    for name in ["pipe", "socket"] {
        not_found(directory.entry(name));
        assert!(directory.open(name).is_err() && directory.truncate(name, 0).is_err());
        not_granted(directory.create(name));
        not_found(directory.remove(name));
    }
    assert!(directory.level("").unwrap().is_empty());
}

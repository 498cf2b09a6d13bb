//! Disks that are full or broken.

use std::{cell::Cell, rc::Rc};

use super::{watch::Call, *};

/// Lets so many calls of a kind pass, then answers an error to each.
fn fail(call: Call, after: usize, error: Errno) {
    let left = Rc::new(Cell::new(after));
    watch::judge(move |made| {
        if made != call {
            return Ok(());
        }
        let now = left.get();
        left.set(now.saturating_sub(1));
        if now == 0 { Err(error) } else { Ok(()) }
    });
}

/// More than one system call takes.
fn many() -> Vec<Bytes> {
    vec![Bytes::from_static(b"new"); 3_000]
}

#[test]
fn what_a_disk_refuses_in_the_middle_is_taken_back() {
    let place = Place::new();
    let directory = place.usual();
    let mut file = directory.create("x").unwrap();
    file.append(&["old".into()]).unwrap();
    fail(Call::Write, 1, Errno::NOSPC);
    assert!(matches!(file.append(&many()), Err(Error::Full)));
    assert_eq!(
        (directory.read("x", 0, 99).unwrap(), directory.used()),
        ("old".into(), Some(3))
    );
    // With room again it goes on.
    watch::trust();
    assert_eq!(file.append(&["er".into()]).unwrap(), 5);
    assert_eq!(file.finish().unwrap(), 5);
    assert_eq!(directory.read("x", 0, 99).unwrap(), "older");
}

#[test]
fn a_file_that_cannot_even_be_cut_back_is_written_no_more() {
    let place = Place::new();
    let directory = place.usual();
    let mut file = directory.create("x").unwrap();
    file.append(&["old".into()]).unwrap();
    let writes = Cell::new(0);
    watch::judge(move |call| {
        writes.set(writes.get() + usize::from(call == Call::Write));
        if call == Call::Cut || writes.get() > 1 {
            Err(Errno::IO)
        } else {
            Ok(())
        }
    });
    assert!(matches!(file.append(&many()), Err(Error::Io(_))));
    watch::trust();
    assert!(matches!(file.append(&["x".into()]), Err(Error::Io(_))));
    assert!(matches!(file.commit(), Err(Error::Io(_))));
    assert!(matches!(file.finish(), Err(Error::Io(_))));
    assert!(directory.read("x", 0, 3).unwrap() == "old" && !directory.is_open("x"));
}

#[test]
fn a_sync_that_failed_is_not_forgotten() {
    let place = Place::new();
    let directory = place.usual();
    let mut file = directory.create("x").unwrap();
    file.append(&["durable".into()]).unwrap();
    assert_eq!(file.commit().unwrap(), 7);
    file.append(&[", lost".into()]).unwrap();
    fail(Call::SyncData, 0, Errno::IO);
    assert!(matches!(file.commit(), Err(Error::Io(_))));
    // A disk that lost what it had taken says that all is well when it is asked again.
    watch::trust();
    assert!(matches!(file.commit(), Err(Error::Io(_))));
    assert!(matches!(file.append(&["x".into()]), Err(Error::Io(_))));
    drop(file);
    assert_eq!(
        (directory.read("x", 0, 99).unwrap(), directory.used()),
        ("durable".into(), Some(7))
    );
    write(&directory, "y", b"y");
}

#[test]
fn a_file_whose_name_would_not_stay_is_not_made() {
    let place = Place::new();
    let directory = place.usual();
    for call in [Call::Create, Call::SyncNames] {
        fail(call, 0, Errno::IO);
        assert!(matches!(directory.create("a/x"), Err(Error::Io(_))));
        watch::trust();
        assert!(!directory.is_open("a/x"));
        not_found(directory.entry("a/x"));
    }
    write(&directory, "a/x", b"x");
    assert_eq!(directory.used(), Some(1));
}

#[test]
fn a_disk_that_can_only_be_read_says_so() {
    let place = Place::new();
    let directory = place.usual();
    let mut file = directory.create("x").unwrap();
    file.append(&["x".into()]).unwrap();
    fail(Call::Write, 0, Errno::ROFS);
    assert!(matches!(file.append(&["y".into()]), Err(Error::Io(_))));
    fail(Call::Create, 0, Errno::ROFS);
    assert!(matches!(directory.create("y"), Err(Error::Io(_))));
    assert_eq!(directory.read("x", 0, 9).unwrap(), "x");
    watch::trust();
    file.append(&["z".into()]).unwrap();
    assert_eq!(directory.read("x", 0, 9).unwrap(), "xz");
}

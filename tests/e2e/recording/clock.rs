//! A wall clock that somebody sets: names stay unique, nothing is deleted, a new file begins.

use std::{collections::HashSet, path::PathBuf};

use super::{Camera, PER_PART, RECORD, files, hashes_in, until_parts};
use crate::harness::{Folder, Server, command, run, until};

/// The library that pretends another time of day. What counts monotonically goes on as it is.
#[track_caller]
fn library() -> PathBuf {
    let listed = run("dpkg", ["-L", "libfaketime"].map(std::path::Path::new));
    let listed = String::from_utf8_lossy(&listed).into_owned();
    let found = listed.lines().find(|line| line.ends_with("libfaketimeMT.so.1"));
    found
        .expect("libfaketimeMT.so.1; run: apt-get install -y faketime")
        .into()
}

/// A server whose wall clock the file `clock` in its folder sets.
#[track_caller]
fn start(yaml: &str) -> Server {
    let folder = Folder::new();
    folder.write("clock", "+0");
    let mut command = command(&folder, yaml);
    command
        .env("LD_PRELOAD", library())
        .env("FAKETIME_TIMESTAMP_FILE", folder.file("clock"))
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .env("DONT_FAKE_MONOTONIC", "1");
    Server::launch(folder, command)
}

#[test]
fn a_clock_that_is_set_begins_a_new_file_and_deletes_nothing() {
    let server = start(&RECORD.replace("record: yes\n", "record: yes\n  recordDeleteAfter: 1h\n"));
    let mut camera = Camera::new(&server, "cam1");
    camera.live(2 * PER_PART + 1);
    until_parts(&server, "cam1", 2);
    let mut known: HashSet<PathBuf> = files(&server, "cam1").into_iter().collect();
    assert_eq!(known.len(), 1);
    for step in ["+1h", "+2d", "-1h", "-1y", "+0"] {
        server.folder().write("clock", step);
        let fresh = until(&format!("a new file after {step}"), || {
            camera.live(PER_PART);
            files(&server, "cam1").into_iter().find(|file| !known.contains(file))
        });
        known.insert(fresh);
        let there: HashSet<PathBuf> = files(&server, "cam1").into_iter().collect();
        assert_eq!(there, known, "after {step}");
    }
    let sent = camera.hashes();
    drop(camera);
    server.offline("cam1");
    // Every frame is in exactly one of the files, and no file is gone.
    let recorded = until("everything is written", || {
        let recorded: Vec<_> = files(&server, "cam1").iter().flat_map(|file| hashes_in(file)).collect();
        (recorded.len() == sent.len()).then_some(recorded)
    });
    assert!(known.iter().all(|file| file.exists()));
    let (recorded, sent): (HashSet<_>, HashSet<_>) = (recorded.into_iter().collect(), sent.into_iter().collect());
    assert_eq!(recorded, sent);
}

//! Files that were being written when the server ended.

use std::{fs, os::unix::fs::symlink};

use super::place::{FMP4, Home, NOON, name};
use crate::recording::Archive;

/// Where the parts of a recording end.
fn ends() -> Vec<usize> {
    let mut ends = Vec::new();
    let mut at = 0;
    while at < FMP4.len() {
        let size = u32::from_be_bytes(FMP4[at..at + 4].try_into().unwrap()) as usize;
        if &FMP4[at + 4..at + 8] == b"mdat" {
            ends.push(at + size);
        }
        at += size;
    }
    ends
}

/// Bytes of a recording whose last part is torn.
fn torn() -> usize {
    ends()[ends().len() - 1] - 1
}

fn look(archive: &Archive) {
    archive.look_at_torn();
    archive.round().unwrap();
}

#[test]
fn a_file_that_was_left_open_is_cut_back_to_its_last_whole_part() {
    let ends = ends();
    assert!(ends.len() >= 2);
    for cut in [ends[0], ends[0] + 1, ends[1] - 1, ends[1], torn()] {
        let home = Home::new();
        let file = {
            let server = home.start();
            let recording = server.record("cam", NOON, &FMP4[..cut]);
            assert!(server.only("cam").active);
            recording.file()
        };
        let server = home.start();
        look(&server.archive);
        let whole = ends.iter().rev().find(|end| **end <= cut).unwrap();
        assert_eq!(fs::read(home.rec(&file)).unwrap(), &FMP4[..*whole]);
        let segment = server.only("cam");
        assert!(segment.known && !segment.active && segment.duration > 0);
        assert_eq!(segment.size, *whole as u64);
        let notes = fs::read_dir(home.folder.join("state/recordings/open")).unwrap();
        assert_eq!(notes.count(), 0);
    }
}

#[test]
fn the_first_listing_does_not_wait_for_the_task() {
    let home = Home::new();
    let cut = ends()[0] + 9;
    home.start().record("cam", NOON, &FMP4[..cut]).file();
    let segment = home.start().only("cam");
    assert_eq!(segment.size, ends()[0] as u64);
}

#[test]
fn without_the_journal_the_last_files_of_a_path_are_looked_at() {
    let home = Home::new();
    for second in 0..6 {
        home.put(&format!("cam/171724000{second}-000000.mp4"), &FMP4[..torn()]);
    }
    // Now is when the files were made: they may still be written to.
    home.clocks
        .wall
        .store(crate::wall_clock().0, std::sync::atomic::Ordering::Relaxed);
    look(&home.start().archive);
    let sizes = || {
        let segments = home.start().archive.segments(&name("cam")).unwrap();
        segments.iter().map(|segment| segment.size as usize).collect::<Vec<_>>()
    };
    let torn = torn();
    assert_eq!(sizes(), [torn; 6]);
    home.clocks.pass(120_000_000);
    look(&home.start().archive);
    let whole = ends()[ends().len() - 2];
    assert_eq!(sizes(), [torn, torn, torn, whole, whole, whole]);
}

#[test]
fn what_this_process_writes_is_left_alone() {
    let home = Home::new();
    let server = home.start();
    let recording = server.record("cam", NOON, &FMP4[..torn()]);
    look(&server.archive);
    let segment = server.only("cam");
    assert!(segment.active);
    assert_eq!(segment.size as usize, torn());
    drop(recording);
}

#[test]
fn a_file_of_ours_without_a_whole_part_goes_and_a_strange_one_stays() {
    let home = Home::new();
    home.start().record("cam", NOON, b"\0\0\0\x18ftyp").file();
    home.start().record("old", NOON, b"").file();
    home.put("cam/1717240000-000000.mp4", b"a text, of whomever");
    home.put("cam/1717240001-000000.mp4", b"");
    symlink("/etc/hostname", home.rec("cam/1717250000-000000.mp4")).unwrap();
    let server = home.start();
    look(&server.archive);
    assert_eq!(server.starts("cam"), [1_717_240_000_000_000, 1_717_240_001_000_000]);
    assert!(home.there("cam/1717240000-000000.mp4") && home.there("cam/1717250000-000000.mp4"));
    assert!(server.starts("old").is_empty() && !home.there("old"));
}

#[test]
fn what_a_recorder_leaves_behind_is_done_in_its_place() {
    let home = Home::new();
    let server = home.start();
    server.record("cam", NOON, &FMP4[..torn()]).leave();
    let segment = server.only("cam");
    assert!(segment.known && !segment.active);
    assert_eq!(segment.size as usize, ends()[ends().len() - 2]);
}

#[test]
fn a_second_server_touches_nothing_that_the_first_one_keeps() {
    let mut home = Home::new();
    home.rule.max_size = 1;
    let first = home.start();
    let recording = first.record("cam", NOON, &FMP4[..torn()]);
    let second = home.start();
    look(&second.archive);
    second.archive.relieve().unwrap();
    assert_eq!(second.starts("cam"), [NOON]);
    assert_eq!(
        fs::metadata(home.rec(&recording.file())).unwrap().len() as usize,
        torn()
    );
    assert!(first.only("cam").active);
    let notes = fs::read_dir(home.folder.join("state/recordings/open")).unwrap();
    assert_eq!(notes.count(), 1);
}

#[test]
fn damage_that_is_no_torn_end_costs_nothing() {
    let mut middle = FMP4.to_vec();
    // The first part's samples lie outside of it.
    let at = middle.windows(4).position(|kind| kind == b"mdat").unwrap();
    middle[at..at + 4].copy_from_slice(b"mdax");
    let header = ends()[0] / 2;
    let files: [&'static [u8]; 2] = [middle.leak(), &FMP4[..header]];
    for bytes in files {
        let home = Home::new();
        let ours = home.start().record("ours", NOON, bytes).file();
        home.put("cam/1717240000-000000.mp4", bytes);
        let server = home.start();
        look(&server.archive);
        assert_eq!(fs::read(home.rec("cam/1717240000-000000.mp4")).unwrap(), bytes);
        if bytes.len() > header {
            assert_eq!(fs::read(home.rec(&ours)).unwrap(), bytes);
        } else {
            assert!(!home.there(&ours));
        }
    }
}

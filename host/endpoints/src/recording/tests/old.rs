//! What goes, and what must not.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use super::place::{DAY, FMP4, HOUR, Home, NOON, Server};
use crate::storage::MinFree;

/// A server whose recordings go after a day; it has recorded for some hours, an hour a file.
fn recorded(home: &mut Home, hours: u64) -> Server {
    home.rule.delete_after = Duration::from_secs(86_400);
    let server = home.start();
    for _ in 0..hours {
        home.clocks.pass(HOUR);
        server.recorded("cam", home.clocks.wall.load(Relaxed) - HOUR, FMP4);
        server.archive.round().unwrap();
    }
    server
}

/// Half an hour after the other, as the task does.
fn rounds(home: &Home, server: &Server, count: u64) {
    for _ in 0..count {
        home.clocks.pass(HOUR / 2);
        server.archive.round().unwrap();
    }
}

#[test]
fn what_is_older_than_it_may_be_goes_and_nothing_else() {
    let mut home = Home::new();
    let server = recorded(&mut home, 60);
    let wall = home.clocks.wall.load(Relaxed);
    let starts = server.starts("cam");
    let ended = |start: &u64| start + HOUR;
    assert!(
        starts.iter().all(|start| wall - ended(start) <= DAY + HOUR),
        "{}",
        starts.len()
    );
    assert!((24..=26).contains(&starts.len()), "{}", starts.len());
    rounds(&home, &server, 60);
    assert!(server.starts("cam").is_empty() && !home.there("cam"));
}

#[test]
fn a_clock_that_steps_deletes_nothing() {
    const YEAR: i64 = 365 * DAY as i64;
    let (hour, day) = (HOUR as i64, DAY as i64);
    for by in [hour, 2 * day, -hour, -YEAR, YEAR, 50 * YEAR, -3 * hour] {
        let mut home = Home::new();
        let server = recorded(&mut home, 20);
        let before = server.starts("cam");
        home.clocks.set(by);
        rounds(&home, &server, 6);
        assert_eq!(server.starts("cam"), before, "{by}");
        drop(server);
        let again = home.start();
        rounds(&home, &again, 1);
        assert_eq!(again.starts("cam"), before, "{by}");
        // In the end, time does pass.
        rounds(&home, &again, 48);
        assert!(again.starts("cam").len() <= 3, "{by}");
    }
}

#[test]
fn a_clock_that_was_set_while_the_server_was_down_deletes_nothing() {
    let mut home = Home::new();
    let before = recorded(&mut home, 20).starts("cam");
    home.clocks.set(3 * DAY as i64);
    let server = home.start();
    rounds(&home, &server, 3);
    assert_eq!(server.starts("cam"), before);
}

#[test]
fn time_while_the_machine_was_off_counts_when_the_clock_stays() {
    let mut home = Home::new();
    let before = recorded(&mut home, 20).starts("cam");
    "second".clone_into(&mut home.clocks.boot.lock());
    home.clocks.running.store(60_000_000, Relaxed);
    home.clocks.set(2 * DAY as i64);
    let server = home.start();
    server.archive.round().unwrap();
    assert_eq!(server.starts("cam"), before);
    // Confirmed: a tenth goes.
    rounds(&home, &server, 1);
    assert_eq!(server.starts("cam").len(), 18);
    rounds(&home, &server, 1);
    assert!(server.starts("cam").is_empty());
}

#[test]
fn a_machine_that_starts_with_a_clock_of_the_past_deletes_nothing() {
    let mut home = Home::new();
    let before = recorded(&mut home, 20).starts("cam");
    "second".clone_into(&mut home.clocks.boot.lock());
    home.clocks.running.store(60_000_000, Relaxed);
    home.clocks.wall.store(1_000_000, Relaxed);
    let server = home.start();
    rounds(&home, &server, 1);
    // Then the time comes over the network.
    home.clocks.wall.store(NOON + 22 * HOUR, Relaxed);
    rounds(&home, &server, 1);
    assert_eq!(server.starts("cam"), before);
}

#[test]
fn recordings_that_were_there_before_us_go_by_a_clock_that_is_confirmed() {
    let mut home = Home::new();
    home.rule.delete_after = Duration::from_secs(86_400);
    for second in 0..40 {
        home.put(&format!("cam/17170000{second:02}-000000.mp4"), FMP4);
    }
    let server = home.start();
    server.archive.probed(&super::place::name("cam"), 0, u64::MAX).unwrap();
    server.archive.round().unwrap();
    assert_eq!(server.starts("cam").len(), 40);
    rounds(&home, &server, 1);
    assert_eq!(server.starts("cam").len(), 36);
    rounds(&home, &server, 1);
    assert!(server.starts("cam").is_empty());
}

#[test]
fn what_is_kept_for_ever_and_what_is_no_recording_stays() {
    let mut home = Home::new();
    let server = recorded(&mut home, 3);
    home.put("cam/notes.txt", b"x");
    home.put("cam/1717000000.mp4", b"x");
    let mut rule = home.rule.clone();
    rule.delete_after = Duration::ZERO;
    server.configure(rule);
    rounds(&home, &server, 100);
    assert_eq!(server.starts("cam").len(), 3);
    server.configure(home.rule.clone());
    rounds(&home, &server, 4);
    assert!(server.starts("cam").is_empty());
    assert!(home.there("cam/notes.txt") && home.there("cam/1717000000.mp4"));
}

#[test]
fn the_oldest_go_when_a_path_has_too_many_bytes_but_never_the_active_one() {
    let mut home = Home::new();
    let server = recorded(&mut home, 10);
    let recording = server.record("cam", NOON - DAY, FMP4);
    let mut rule = home.rule.clone();
    rule.delete_after = Duration::ZERO;
    rule.max_size = 4 * FMP4.len() as u64;
    server.configure(rule.clone());
    server.archive.round().unwrap();
    let all: Vec<u64> = (7..10).map(|hour| NOON + hour * HOUR).collect();
    assert_eq!(server.starts("cam"), [&[NOON - DAY][..], &all].concat());
    rule.max_size = 1;
    server.configure(rule);
    server.archive.round().unwrap();
    assert_eq!(server.starts("cam"), [NOON - DAY]);
    recording.finish();
    assert!(server.starts("cam").is_empty());
}

#[test]
fn what_nobody_saw_end_is_as_old_as_its_name_says() {
    let mut home = Home::new();
    let server = recorded(&mut home, 10);
    let newest = home.clocks.wall.load(Relaxed);
    home.put(&format!("cam/{}-000000.mp4", newest / 1_000_000), FMP4);
    server.archive.probed(&super::place::name("cam"), 0, u64::MAX).unwrap();
    let mut rule = home.rule.clone();
    rule.max_size = 2 * FMP4.len() as u64;
    server.configure(rule);
    server.archive.round().unwrap();
    assert_eq!(server.starts("cam"), [NOON + 9 * HOUR, newest]);
}

#[test]
fn room_is_made_of_what_is_older_than_an_hour() {
    let mut home = Home::new();
    let server = recorded(&mut home, 10);
    let other = server.record("other", home.clocks.wall.load(Relaxed), FMP4);
    let mut rule = home.rule.clone();
    rule.min_free = MinFree::Bytes(u64::MAX);
    rule.delete_after = Duration::ZERO;
    server.configure(rule.clone());
    server.archive.relieve().unwrap();
    assert_eq!(server.starts("cam").len(), 10);
    rule.delete_after = home.rule.delete_after;
    server.configure(rule);
    server.archive.relieve().unwrap();
    assert_eq!(server.starts("cam"), [NOON + 9 * HOUR]);
    assert_eq!(server.starts("other").len(), 1);
    drop(other);
}

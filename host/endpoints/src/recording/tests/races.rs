//! Everybody at once.

use std::{
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::Duration,
};

use super::{
    super::Error,
    place::{FMP4, HOUR, Home, NOON, name},
};

#[test]
fn cleaner_api_player_and_recorder_do_not_harm_each_other() {
    const FILES: u64 = 200;
    let mut home = Home::new();
    home.rule.delete_after = Duration::from_secs(7_200);
    home.rule.max_size = 40 * FMP4.len() as u64;
    let server = home.start();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // The cleaner.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                home.clocks.pass(HOUR / 4);
                server.archive.round().unwrap();
                server.archive.relieve().unwrap();
            }
        });
        // Somebody who deletes, also what is being written.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                for segment in server.archive.segments(&name("cam")).unwrap().iter().step_by(3) {
                    match server.archive.delete(&name("cam"), segment.start) {
                        Ok(()) | Err(Error::Active | Error::NotFound) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        // Somebody who plays.
        scope.spawn(|| {
            while !over.load(Relaxed) {
                let segments = server.archive.probed(&name("cam"), 0, u64::MAX).unwrap();
                for segment in segments.iter().filter(|segment| !segment.active) {
                    match server.archive.open(&name("cam"), segment) {
                        Ok(reader) => assert!(reader.read_at(0, 1 << 20).unwrap() == FMP4),
                        Err(Error::NotFound) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
        });
        for number in 0..FILES {
            let recording = server.record("cam", NOON + number * 1_000_000, FMP4);
            let file = recording.file();
            assert!(home.there(&file));
            server.archive.segments(&name("cam")).unwrap();
            assert!(home.there(&file), "{file}");
            recording.finish();
        }
        over.store(true, Relaxed);
    });
    let segments = server.archive.segments(&name("cam")).unwrap();
    assert!(
        segments
            .iter()
            .all(|segment| home.there(&segment.file) && !segment.active)
    );
    let listed = std::fs::read_dir(home.rec("cam")).map_or(0, Iterator::count);
    assert_eq!(listed, segments.len());
}

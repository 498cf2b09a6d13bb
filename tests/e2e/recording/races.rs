//! The writer, who lists, who plays and who deletes, all at once.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    thread,
};

use serde_json::Value as Json;

use super::{Camera, PER_PART, RECORD, files, hashes_in};
use crate::harness::{Reader, Server, get_bytes, until};

/// Files are short, so that they come and go.
fn start() -> Server {
    let keys = "record: yes\n  recordSegmentDuration: 1s\n";
    let paths = RECORD.replace("record: yes\n", keys);
    Server::start(&format!("playback: yes\nplaybackAddress: 127.0.0.1:0\n{paths}"))
}

/// The starts of the segments of a path, as the API tells them.
fn starts(server: &Server) -> Vec<String> {
    let (status, body) = server.ask("GET", "recordings/get/cam1");
    // Nothing is recorded yet, or everything is deleted.
    if status == 404 {
        return Vec::new();
    }
    assert_eq!(status, 200, "{body}");
    let recording: Json = serde_json::from_str(&body).expect("JSON");
    let segments = recording["segments"].as_array().expect("a list");
    let starts = segments
        .iter()
        .map(|segment| segment["start"].as_str().expect("a time").to_owned());
    starts.collect()
}

/// Says that it is over, also when a test fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// As a parameter of a query.
fn escaped(time: &str) -> String {
    time.replace('+', "%2B").replace(':', "%3A")
}

#[test]
fn the_file_that_is_written_cannot_be_deleted_and_a_finished_one_can() {
    let server = start();
    let mut camera = Camera::new(&server, "cam1");
    camera.live(60);
    let known = until("two finished files", || {
        let known = starts(&server);
        (known.len() >= 3).then_some(known)
    });
    let delete = |start: &str| {
        server.ask(
            "DELETE",
            &format!("recordings/deletesegment?path=cam1&start={}", escaped(start)),
        )
    };
    let (status, body) = delete(known.last().expect("a segment"));
    assert_eq!(status, 409, "{body}");
    let (status, body) = delete(&known[0]);
    assert_eq!(status, 200, "{body}");
    assert_eq!(starts(&server)[..2], known[1..3]);
    let (status, _) = delete(&known[0]);
    assert_eq!(status, 404);
    let (status, _) = delete("yesterday");
    assert_eq!(status, 400);
    camera.send(PER_PART);
    assert_eq!(files(&server, "cam1").len(), starts(&server).len());
}

#[test]
fn listing_playing_deleting_and_writing_do_not_get_in_each_others_way() {
    let server = start();
    let mut camera = Camera::new(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    camera.live(60);
    until("two finished files", || (starts(&server).len() >= 3).then_some(()));
    let playback = server.address("playbackAddress");
    let (over, played, deleted) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        scope.spawn(|| {
            let _over = Over(&over);
            // As many as it takes that everybody had a turn while files were begun and finished.
            until("everybody had their turns", || {
                camera.live(PER_PART);
                let done = played.load(Relaxed) >= 10 && deleted.load(Relaxed) >= 5;
                (done || over.load(Relaxed)).then_some(())
            });
        });
        scope.spawn(|| {
            let _over = Over(&over);
            while !over.load(Relaxed) {
                // All but the one that is being written and the one before it.
                let known = starts(&server);
                let Some(start) = known.len().checked_sub(3).map(|last| &known[last / 2]) else {
                    continue;
                };
                let route = format!("recordings/deletesegment?path=cam1&start={}", escaped(start));
                let (status, body) = server.ask("DELETE", &route);
                assert!(status == 200 || status == 404, "{status}: {body}");
                deleted.fetch_add(1, Relaxed);
            }
        });
        scope.spawn(|| {
            let _over = Over(&over);
            let mut turn = 0;
            while !over.load(Relaxed) {
                turn += 1;
                let known = starts(&server);
                let Some(start) = known.get(turn % known.len().max(1)) else {
                    continue;
                };
                let route = format!("/get?path=cam1&start={}&duration=0.5", escaped(start));
                let (status, body) = get_bytes(playback, &route).expect("a whole answer");
                assert!(status == 200 || status == 404, "{status}");
                if status == 200 {
                    let file = server.folder().write("played.mp4", body);
                    assert!(!hashes_in(&file).is_empty());
                    played.fetch_add(1, Relaxed);
                }
            }
        });
        scope.spawn(|| {
            let _over = Over(&over);
            while !over.load(Relaxed) {
                let (status, _) = get_bytes(playback, "/list?path=cam1").expect("a whole answer");
                assert!(status == 200 || status == 404, "{status}");
            }
        });
    });
    // The stream itself noticed nothing, and what is left is whole.
    reader.until(0, camera.sent);
    assert_eq!(reader.hashes(0), camera.hashes());
    drop(camera);
    server.offline("cam1");
    until("the last file is finished", || {
        let left = files(&server, "cam1");
        left.iter()
            .all(|file| fs::read(file).is_ok_and(|bytes| super::whole(&bytes) == bytes.len()))
            .then_some(())
    });
    for file in files(&server, "cam1") {
        hashes_in(&file);
    }
}

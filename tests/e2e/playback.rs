//! Recordings that are played back: what is recorded comes back frame by frame, as a file and as HLS, whatever it lies in on the
//! disk.

use std::path::Path;

use serde_json::Value as Json;

use crate::harness::{Codec, Player, Server, Transport, assert_run, hashes_of, request, until};

/// A server that records all paths, with one recording on it. Answers with what was published.
fn recorded(format: &str) -> (Server, Vec<String>) {
    let server = Server::start(&format!(
        "playback: yes\nplaybackAddress: 127.0.0.1:0\npaths:\n  all_others:\n    record: yes\n    recordFormat: {format}\n    \
         recordPartDuration: 200ms\n    recordSegmentDuration: 2s\n"
    ));
    let clip = Codec::H264.clip();
    Player::FFmpeg
        .publish(&server, Transport::Tcp, "yard/cam1", &clip)
        .wait();
    server.offline("yard/cam1");
    (server, clip.hashes())
}

fn get(server: &Server, route: &str) -> (u16, String) {
    request("GET", server.address("playbackAddress"), route).expect("an answer")
}

/// The one range that was recorded, when all of it is on the disk: its link, and how many seconds it has.
fn listed(server: &Server, seconds: f64) -> (String, f64) {
    until("the recording is listed", || {
        let (status, body) = get(server, "/list?path=yard/cam1");
        let list: Json = serde_json::from_str(&body).ok().filter(|_| status == 200)?;
        let entries = list.as_array()?;
        assert_eq!(entries.len(), 1, "its files join: {list}");
        let duration = entries[0]["duration"].as_f64()?;
        (duration >= seconds).then(|| (entries[0]["url"].as_str().expect("a link").to_owned(), duration))
    })
}

#[test]
fn what_was_recorded_is_played_back_frame_by_frame_in_every_form() {
    for format in ["fmp4", "mpegts"] {
        let (server, sent) = recorded(format);
        let seconds = sent.len() as f64 / 25.0;
        let (link, _) = listed(&server, seconds * 0.9);
        let all = hashes_of(Path::new(&link), Codec::H264);
        assert_run(&sent, &all, sent.len() * 9 / 10);
        let movie = hashes_of(Path::new(&format!("{link}&format=mp4")), Codec::H264);
        assert_eq!(movie, all, "{format}");
        let playlist = link.replace("/get?", "/vod/yard/cam1/index.m3u8?");
        assert_eq!(hashes_of(Path::new(&playlist), Codec::H264), all, "{format}");
    }
}

#[test]
fn a_range_within_a_recording_begins_and_ends_with_the_frame_asked_for() {
    let (server, sent) = recorded("fmp4");
    let (link, duration) = listed(&server, sent.len() as f64 / 25.0 * 0.9);
    let all = hashes_of(Path::new(&link), Codec::H264);
    let start = link.split_once("start=").expect("a start").1.to_owned();
    let base = link.split_once("duration=").expect("a duration").0;
    // The same beginning, other ends. Frames carry the moments at which they came, so one more or less may be in time.
    for (seconds, frames) in [("1", 25usize), ("2.4", 60), ("3.2", 80)] {
        for format in ["fmp4", "mp4"] {
            let part = format!("{base}duration={seconds}&path=yard%2Fcam1&start={start}&format={format}");
            let got = hashes_of(Path::new(&part), Codec::H264);
            assert!(
                got.len().abs_diff(frames) <= 1,
                "{} frames in {seconds} s of {duration}",
                got.len()
            );
            assert_eq!(got, all[..got.len()], "{seconds} s");
        }
    }
}

#[test]
fn who_may_not_play_back_learns_nothing_and_wrong_questions_are_refused() {
    let server = Server::start(
        "playback: yes\nplaybackAddress: 127.0.0.1:0\nauthInternalUsers:\n- user: any\n  permissions:\n  - action: playback\n    \
         path: open\npaths:\n  all_others:\n",
    );
    for (route, status) in [
        ("/list?path=open", 404),
        ("/list?path=closed", 401),
        ("/get?path=closed&start=x", 401),
        ("/get?path=open&start=x&duration=1", 400),
        ("/get?path=open&start=2026-01-01T00:00:00Z&duration=nan", 400),
        ("/get?path=open&start=2026-01-01T00:00:00Z&duration=1", 404),
        ("/get?path=..%2Fopen&start=2026-01-01T00:00:00Z&duration=1", 400),
        ("/vod/closed/index.m3u8", 401),
        ("/elsewhere", 404),
    ] {
        let (answered, body) = get(&server, route);
        assert_eq!(answered, status, "{route}: {body}");
        let error: Json = serde_json::from_str(&body).expect("JSON");
        assert_eq!(error["status"], "error", "{route}");
    }
}

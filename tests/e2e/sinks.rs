//! Sinks on running streams: what they write, what a new version costs them, what they may not do.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Codec, Folder, Player, Publisher, Reader, Server, Transport, made_up, plugin, until};

/// A server whose path `cam1` has the sink for tests.
fn with_sink(grants: &str, config: &str) -> Server {
    let file = plugin("sink-modes");
    Server::start(&format!(
        "plugins:\n  sink:\n    file: {}\n    grant: {{ {grants} }}\n    config: {config}\npaths:\n  cam1:\n    plugins: [sink]\n",
        file.display()
    ))
}

/// The only use of the only plugin, once there is one.
fn usage(server: &Server) -> serde_json::Value {
    until("the sink is there", || {
        let usage = server.api("plugins/list")["items"][0]["uses"][0].clone();
        usage.is_object().then_some(usage)
    })
}

fn count(server: &Server, what: &str) -> u64 {
    usage(server)[what].as_u64().expect("a number")
}

#[test]
fn a_sink_writes_what_is_published_and_is_no_reader() {
    let server = with_sink("storage: ./data", "{ mode: store, to: $PATH.bin }");
    let frames = made_up(300, 30, 3_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    usage(&server);
    publisher.send_all(&frames);
    until("all frames are taken", || {
        (count(&server, "passed") == 300).then_some(())
    });
    let path = server.path("cam1").expect("a path");
    assert_eq!(path["readers"], serde_json::json!([]));
    drop(publisher);
    server.logged(&["finished at 900000 bytes"]);
    let written = fs::read(server.folder().file("data/cam1.bin")).expect("a file");
    assert!(written == frames.concat(), "the file has the frames, byte by byte");
}

/// What FFmpeg publishes, as every reader sees it: units behind their length, in the order of decoding.
#[test]
fn a_sink_gets_the_frames_that_readers_get() {
    let server = with_sink("storage: ./data", "{ mode: store-copied, to: $PATH.bin }");
    let clip = Codec::H264.clip();
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    reader.until(0, 60);
    drop(publishing);
    server.logged(&["closed: "]);
    server.logged(&["finished at "]);
    let written = fs::read(server.folder().file("data/cam1.bin")).expect("a file");
    // The reader may have come later and gone earlier.
    let read: Vec<u8> = reader
        .frames(0)
        .iter()
        .flat_map(|frame| frame.payload.to_vec())
        .collect();
    assert!(written.windows(read.len()).any(|part| part == read));
}

#[test]
fn a_new_version_of_a_sink_takes_over_without_a_frame_lost_or_doubled() {
    let component = fs::read(plugin("sink-modes")).expect("a plugin");
    let folder = Folder::new();
    folder.write("sink.wasm", &component);
    let yaml =
        "plugins:\n  sink:\n    file: ./sink.wasm\n    config: { mode: take }\npaths:\n  cam1:\n    plugins: [sink]\n";
    let server = Server::start_in(folder, yaml, &[]);
    let frames = made_up(50_000, 10, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    usage(&server);
    let mut next = 0;
    for version in 1..=3u8 {
        // Another component that does the same: with a custom section at its end.
        let mut other = component.clone();
        other.extend_from_slice(&[0, 9, 7]);
        other.extend_from_slice(b"version");
        other.push(version);
        server.folder().write("sink.wasm", other);
        until("the new version takes over", || {
            publisher.send(&frames[next]);
            next += 1;
            (count(&server, "swaps") == u64::from(version)).then_some(())
        });
    }
    let sent = next as u64;
    until("all frames are taken", || {
        (count(&server, "passed") == sent).then_some(())
    });
    let usage = usage(&server);
    assert_eq!(
        (&usage["lost"], &usage["bypassed"], &usage["restarts"]),
        (&0.into(), &0.into(), &0.into())
    );
    let seen = server.metric("wasmtx_plugin_series", &["sink_frames"]);
    assert_eq!(seen, next as f64, "the guests together saw each frame once");
}

#[test]
fn a_sink_that_fails_harms_nobody() {
    let server = with_sink("storage: ./data", "{ mode: trap }");
    let frames = made_up(200, 10, 1_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    usage(&server);
    for (chunk, sent) in frames.chunks(20).zip((20..).step_by(20)) {
        publisher.send_all(chunk);
        reader.until(0, sent);
    }
    until("it has failed", || (count(&server, "traps") > 0).then_some(()));
    server.logged(&["is not to my liking"]);
    assert_eq!(reader.hashes(0).len(), frames.len());
    assert_eq!(reader.end(), None);
}

#[test]
fn a_sink_stays_in_its_directory_and_below_its_quota() {
    let server = with_sink("storage: ./data", "{ mode: escape }");
    let mut publisher = Publisher::vp8(&server, "cam1");
    usage(&server);
    publisher.send_all(&made_up(1, 1, 1_000));
    for name in ["../outside", "/tmp/outside", "a/../../outside"] {
        let line = server.logged(&[name, "create ", "remove "]);
        assert!(line.contains("create not-granted"), "{line}");
        assert!(!line.contains("done"), "{line}");
    }
    assert!(!server.folder().file("outside").exists());

    let server = with_sink(
        "storage: { directory: ./data, quota: 3M }",
        "{ mode: fill, to: full.bin }",
    );
    let mut publisher = Publisher::vp8(&server, "cam1");
    usage(&server);
    publisher.send_all(&made_up(1, 1, 1_000));
    server.logged(&["refused: quota"]);
    let written = fs::metadata(server.folder().file("data/full.bin")).expect("a file");
    assert!(written.len() <= 3 << 20, "{}", written.len());
}

#[test]
fn without_a_grant_a_sink_has_no_files() {
    let server = with_sink("", "{ mode: store, to: cam1.bin }");
    let _publisher = Publisher::vp8(&server, "cam1");
    server.logged(&["not-granted"]);
    assert!(!server.folder().file("cam1.bin").exists());
}

#[test]
fn what_a_plugin_remembers_survives_a_restart_of_the_server() {
    let state = Folder::new();
    let file = plugin("sink-modes");
    let yaml = |kv: &str| {
        format!(
            "stateDirectory: {}\nplugins:\n  sink:\n    file: {}\n    grant: {{ kv: {kv} }}\n    config: {{ mode: remember }}\npaths:\n  cam1:\n    plugins: [sink]\n",
            state.path().display(),
            file.display()
        )
    };
    for times in 1..=3 {
        let server = Server::start(&yaml("persist"));
        let _publisher = Publisher::vp8(&server, "cam1");
        server.logged(&[&format!("opened {times} times")]);
        let outcome = server.stop(Signal::TERM);
        assert!(outcome.status.success());
    }
    let server = Server::start(&yaml("yes"));
    let _publisher = Publisher::vp8(&server, "cam1");
    server.logged(&["opened 1 times"]);
}

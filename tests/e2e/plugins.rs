//! Plugins on running streams: what they do to real players, what a new version does to nobody, what a bad one may not do.

use std::fs;

use crate::harness::{
    Codec, Folder, Player, Publisher, Reader, Server, Transport, assert_run, hash, made_up, number_of, plugin, until,
};

/// A plugin file that a test changes while streams run.
const FILE: &str = "filter.wasm";

/// A component that does the same and is another one: with a custom section at its end (WebAssembly core specification
/// section 5.5.3).
fn other_version_of(component: &[u8], version: u8) -> Vec<u8> {
    let mut other = component.to_vec();
    other.extend_from_slice(&[0, 9, 7]);
    other.extend_from_slice(b"version");
    other.push(version);
    other
}

fn numbers(reader: &Reader) -> Vec<u64> {
    reader.frames(0).iter().map(|frame| number_of(&frame.payload)).collect()
}

/// A server whose path `cam1` has one filter, loaded from [`FILE`].
fn with_filter(component: &[u8], config: &str) -> Server {
    let folder = Folder::new();
    folder.write(FILE, component);
    let yaml = format!(
        "plugins:\n  under-test:\n    file: ./{FILE}\n    config: {config}\npaths:\n  cam1:\n    plugins: [under-test]\n"
    );
    Server::start_in(folder, &yaml, &[])
}

fn swaps(server: &Server) -> u64 {
    server.api("plugins/list")["items"][0]["swaps"]
        .as_u64()
        .expect("a number")
}

/// Sends frames until the server has done something, so that it happens in the middle of the stream. Answers the next
/// frame's number.
fn send_until(
    publisher: &mut Publisher,
    frames: &[bytes::Bytes],
    mut next: usize,
    what: &str,
    done: impl Fn() -> bool,
) -> usize {
    until(what, || {
        publisher.send(&frames[next]);
        next += 1;
        done().then_some(())
    });
    next
}

#[test]
fn keyframes_only_shows_players_nothing_but_keyframes() {
    let server = Server::start("paths:\n  cam1:\n    plugins: [keyframes-only]\n");
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let readings = Player::ALL.map(|player| player.read(&server, Transport::Tcp, "cam1", 4));
    let sent = clip.hashes();
    let keyframes: Vec<String> = clip
        .keyframes()
        .into_iter()
        .map(|number| sent[number].clone())
        .collect();
    for reading in readings {
        assert_run(&keyframes, &reading.hashes(), 4);
    }
}

#[test]
fn keyframes_only_passes_every_second_keyframe_when_asked_to() {
    let server =
        Server::start("paths:\n  cam1:\n    plugins:\n    - use: keyframes-only\n      config: { every: 2 }\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(100, 10, 100));
    reader.until(0, 5);
    let numbers = numbers(&reader);
    assert_eq!(numbers, [0, 20, 40, 60, 80]);
}

#[test]
fn drop_audio_leaves_the_pictures_and_no_trace_of_the_sound() {
    let server = Server::start("paths:\n  silent:\n    plugins: [drop-audio]\n  loud:\n");
    let clip = Codec::Both.clip();
    let _publishing = ["silent", "loud"].map(|path| Player::FFmpeg.publish(&server, Transport::Tcp, path, &clip));
    for path in ["silent", "loud"] {
        server.online(path);
    }
    assert_eq!(Reader::new(&server, "loud").tracks.len(), 2);
    let silent = Reader::new(&server, "silent");
    let codecs: Vec<_> = silent.tracks.iter().map(|track| track.codec.name()).collect();
    assert_eq!(codecs, ["H264"]);
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "silent", 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
    assert_eq!(
        server.path("silent").expect("a path")["tracks"],
        serde_json::json!(["H264"])
    );
}

#[test]
fn a_new_version_of_a_plugin_takes_over_in_mid_stream_without_a_frame_lost_or_doubled() {
    let component = fs::read(plugin("keyframes-only")).expect("a plugin");
    let server = with_filter(&component, "{}");
    // Keyframes alone, so that all of them pass.
    let frames = made_up(10_000, 1, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..100]);
    let mut next = 100;
    for version in 1..=3 {
        server.folder().write(FILE, other_version_of(&component, version));
        let swapped = || swaps(&server) == u64::from(version);
        next = send_until(&mut publisher, &frames, next, "the new version takes over", swapped);
    }
    publisher.send_all(&frames[next..next + 100]);
    next += 100;
    reader.until(0, next);
    let numbers = numbers(&reader);
    assert_eq!(numbers, (0..next as u64).collect::<Vec<_>>());
    assert_eq!(reader.end(), None);
}

/// The marker writes its mark and a count in front of each frame: exactly one instance has seen each, and the state went
/// along.
#[test]
fn a_new_version_goes_on_where_the_old_one_stopped() {
    let component = fs::read(plugin("marker")).expect("a plugin");
    let server = with_filter(&component, "{ mark: 7 }");
    let frames = made_up(10_000, 1, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..100]);
    server.folder().write(FILE, other_version_of(&component, 1));
    let mut next = send_until(&mut publisher, &frames, 100, "the new version takes over", || {
        swaps(&server) == 1
    });
    publisher.send_all(&frames[next..next + 100]);
    next += 100;
    reader.until(0, next);
    for (number, frame) in reader.frames(0).iter().enumerate() {
        let (mark, rest) = frame.payload.split_at(9);
        assert_eq!((mark[0], hash(rest)), (7, hash(&frames[number])), "frame {number}");
        assert_eq!(mark[1..], (number as u64 + 1).to_be_bytes(), "frame {number}");
    }
}

#[test]
fn a_new_version_with_another_behaviour_is_seen_by_those_who_watch() {
    let server = with_filter(&fs::read(plugin("pass")).expect("a plugin"), "{}");
    let frames = made_up(10_000, 10, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..100]);
    server
        .folder()
        .write(FILE, fs::read(plugin("keyframes-only")).expect("a plugin"));
    let next = send_until(&mut publisher, &frames, 100, "the new version takes over", || {
        swaps(&server) == 1
    });
    let end = next.next_multiple_of(10) + 91;
    publisher.send_all(&frames[next..end]);
    let last = end as u64 - 1;
    until("the last keyframe", || {
        (numbers(&reader).last() == Some(&last)).then_some(())
    });
    // All frames up to some point, and nothing but keyframes from there on.
    let numbers = numbers(&reader);
    let taken_over = numbers
        .iter()
        .zip(0..)
        .take_while(|(found, number)| *found == number)
        .count() as u64;
    assert!(taken_over >= 100, "the new version takes over at frame {taken_over}");
    let keyframes = (taken_over..end as u64).filter(|number| number.is_multiple_of(10));
    assert_eq!(numbers, (0..taken_over).chain(keyframes).collect::<Vec<_>>());
}

#[test]
fn a_file_that_is_no_plugin_leaves_the_old_one_running() {
    let component = fs::read(plugin("keyframes-only")).expect("a plugin");
    let server = with_filter(&component, "{}");
    let frames = made_up(10_000, 1, 200);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..10]);
    server.folder().write(FILE, &component[..component.len() / 2]);
    let refused = || server.log().contains("the changed file is not used");
    let next = send_until(&mut publisher, &frames, 10, "the broken file is refused", refused);
    reader.until(0, next);
    assert_eq!(swaps(&server), 0);

    // And a good one counts again.
    server.folder().write(FILE, other_version_of(&component, 1));
    let next = send_until(&mut publisher, &frames, next, "the good file takes over", || {
        swaps(&server) == 1
    });
    reader.until(0, next);
    let numbers = numbers(&reader);
    assert_eq!(numbers, (0..next as u64).collect::<Vec<_>>());
}

/// A server with a path for each way in which the plugin for tests misbehaves, and the path `tame` without a plugin.
fn with_hostile(modes: &[&str]) -> Server {
    let file = plugin("hostile");
    let uses = modes.iter().map(|mode| {
        format!(
            "  {mode}:\n    file: {}\n    config: {{ mode: {mode} }}\n",
            file.display()
        )
    });
    let paths = modes.iter().map(|mode| format!("  {mode}:\n    plugins: [{mode}]\n"));
    Server::start(&format!(
        "plugins:\n{}paths:\n{}  tame:\n",
        uses.collect::<String>(),
        paths.collect::<String>()
    ))
}

#[test]
fn a_plugin_that_fails_harms_neither_its_own_stream_nor_any_other() {
    let modes = [
        "spin",
        "trap",
        "grow",
        "recurse",
        "bad-read",
        "log-flood",
        "spin-in-open",
        "trap-in-open",
        "refuse-open",
    ];
    let server = with_hostile(&modes);
    let frames = made_up(50, 10, 1_000);
    let mut all: Vec<_> = (modes.iter().chain(&["tame"]))
        .map(|path| (path, Publisher::vp8(&server, path), Reader::new(&server, path)))
        .collect();
    for (_, publisher, _) in &mut all {
        publisher.send_all(&frames);
    }
    for (path, _publisher, reader) in &all {
        reader.until(0, frames.len());
        let got: Vec<_> = reader.frames(0).into_iter().map(|frame| frame.payload).collect();
        assert!(got == frames[..], "{path} is not what was published");
    }
    // Named in the log and in a metric.
    for mode in ["spin", "trap", "grow", "recurse"] {
        server.logged(&["plugin fails", &format!("plugin={mode}")]);
        let failures = server.metric("wasmtx_plugin_failures_total", &[&format!("plugin=\"{mode}\"")]);
        assert!(failures >= 1.0, "{mode}: {failures} failures");
    }
}

/// What such a plugin makes of its own stream is its own affair.
#[test]
fn a_plugin_that_talks_nonsense_harms_no_other_stream() {
    let modes = [
        "bad-splice",
        "empty-splice",
        "emit-many",
        "hoard",
        "bad-tracks",
        "bad-interests",
        "huge-save",
    ];
    let server = with_hostile(&modes);
    let frames = made_up(50, 10, 1_000);
    let mut hostile: Vec<_> = modes
        .iter()
        .map(|path| {
            let publisher = Publisher::vp8(&server, path);
            (publisher, Reader::open(server.address("rtspAddress"), path, None))
        })
        .collect();
    let mut tame = Publisher::vp8(&server, "tame");
    let reader = Reader::new(&server, "tame");
    for frame in &*frames {
        for (publisher, _) in &mut hostile {
            // A stream of which nothing is left may have been closed.
            let _ = publisher.try_send(frame);
        }
        tame.send(frame);
    }
    reader.until(0, frames.len());
    let got: Vec<_> = reader.frames(0).into_iter().map(|frame| frame.payload).collect();
    assert!(got == frames[..], "the tame path is not what was published");
    assert_eq!(server.path("tame").expect("a path")["available"], true);
}

#[test]
fn a_plugin_that_closes_its_stream_closes_no_other() {
    let file = plugin("hostile");
    let server = Server::start(&format!(
        "plugins:\n  close:\n    file: {}\n    config: {{ mode: close, first: 5 }}\npaths:\n  closed:\n    plugins: [close]\n  tame:\n",
        file.display()
    ));
    let frames = made_up(10, 10, 100);
    let [(mut closed, its), (mut tame, other)] =
        ["closed", "tame"].map(|path| (Publisher::vp8(&server, path), Reader::new(&server, path)));
    closed.send_all(&frames[..6]);
    its.until_end();
    closed.until_end();
    tame.send_all(&frames);
    other.until(0, 10);
}

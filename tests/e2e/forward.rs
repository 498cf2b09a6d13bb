//! Streams that one server sends on to another.

use serde_json::Value as Json;

use crate::harness::{Codec, OPEN, Player, Reader, Server, Transport, assert_run, fingerprint, until};

/// The list of a path's destinations.
fn forwards(server: &Server, path: &str) -> Vec<Json> {
    let list = server.api(&format!("paths/forward/list?path={path}"));
    list["items"].as_array().expect("a list").clone()
}

/// Waits until the destinations of a path are in these states.
#[track_caller]
fn states(server: &Server, path: &str, expected: &[&str]) -> Vec<Json> {
    until(&format!("the destinations of {path} are {expected:?}"), || {
        let forwards = forwards(server, path);
        let states: Vec<_> = forwards.iter().map(|forward| forward["state"].as_str()).collect();
        states
            .iter()
            .copied()
            .eq(expected.iter().copied().map(Some))
            .then_some(forwards)
    })
}

/// Publishes a clip to `cam1` of a server that sends it on, and reads it at the other end.
fn check(key: &str, scheme: &str, more: &str) {
    let to = Server::start(OPEN);
    let address = to.address(key);
    let from = Server::start(&format!(
        "paths:\n  ~^cam(.+)$:\n    forward:\n    - dest: {scheme}://{address}/out/$G1-$MTX_PATH?pass=engine\n{more}"
    ));
    let clip = Codec::H264.clip();
    let _publisher = Player::FFmpeg.publish(&from, Transport::Tcp, "cam1", &clip);
    to.online("out/1-cam1");
    let reader = Reader::new(&to, "out/1-cam1");
    reader.until(0, 30);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), 30);

    let forward = states(&from, "cam1", &["forwarding"]).remove(0);
    let shown = [
        &forward["pos"],
        &forward["protocol"],
        &forward["lastError"],
        &forward["conf"]["dest"],
    ];
    let dest = format!("{scheme}://{address}/out/<redacted>");
    assert_eq!(
        shown,
        [&Json::from(1), &Json::from(scheme), &Json::from(""), &Json::from(dest)]
    );
    let id = forward["id"].as_str().expect("an id");
    assert_eq!(from.api(&format!("paths/forward/get?path=cam1&id={id}"))["id"], id);
    let labels = [&*format!("id=\"{id}\""), "path=\"cam1\"", "state=\"forwarding\""];
    assert_eq!(from.metric("forward_dests", &labels), 1.0);
    assert!(from.metric("forward_dests_outbound_bytes", &labels) > 0.0);
    assert!(!from.log().contains("engine"), "the log holds no secret");
    assert!(
        from.path("cam1").expect("it is there")["readers"]
            .as_array()
            .is_some_and(Vec::is_empty)
    );
}

#[test]
fn a_stream_is_sent_on_by_rtmp() {
    check("rtmpAddress", "rtmp", "");
}

#[test]
fn a_stream_is_sent_on_by_rtmps_to_a_server_that_signed_its_certificate_itself() {
    check(
        "rtmpsAddress",
        "rtmps",
        &format!("      destFingerprint: '{}'\n", fingerprint()),
    );
}

#[test]
fn a_changed_list_leaves_publisher_readers_and_what_stays_in_it_alone() {
    let to = Server::start(OPEN);
    let address = to.address("rtmpAddress");
    let list = |keys: &[&str]| {
        let dests = keys
            .iter()
            .map(|key| format!("    - dest: rtmp://{address}/out/{key}\n"));
        format!("paths:\n  cam1:\n    forward:\n{}", dests.collect::<String>())
    };
    let from = Server::start(&list(&["one", "two"]));
    let clip = Codec::H264.clip();
    let _publisher = Player::FFmpeg.publish(&from, Transport::Tcp, "cam1", &clip);
    let before = states(&from, "cam1", &["forwarding", "forwarding"]);
    let source = from.online("cam1")["source"].clone();
    let reader = Reader::new(&from, "cam1");
    to.online("out/one");
    let conn = to.online("out/two")["source"].clone();

    from.folder().write("mediamtx.yml", list(&["two", "three"]));
    to.online("out/three");
    to.offline("out/one");
    let after = states(&from, "cam1", &["forwarding", "forwarding"]);
    assert_eq!(after[0]["id"], before[1]["id"]);
    assert_eq!(to.online("out/two")["source"], conn);
    assert_eq!(from.online("cam1")["source"], source);
    reader.until(0, 30);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), 30);
}

#[test]
fn a_server_that_refuses_is_shown_with_its_reason_and_tried_again() {
    let open = "paths:\n  out/cam1:\n";
    let shut = "paths:\n  other:\n";
    let to = Server::start(shut);
    let dest = format!("rtmp://{}/out/cam1", to.address("rtmpAddress"));
    let from = Server::start(&format!("paths:\n  cam1:\n    forward: [{{ dest: '{dest}' }}]\n"));
    assert_eq!(states(&from, "cam1", &["idle"]).len(), 1, "it waits for a stream");
    let _publisher = Player::FFmpeg.publish(&from, Transport::Tcp, "cam1", &Codec::H264.clip());
    let forward = states(&from, "cam1", &["error"]).remove(0);
    assert_ne!(forward["lastError"], "");
    from.logged(&["[forward] failed", "cam1"]);
    to.folder().write("mediamtx.yml", open);
    states(&from, "cam1", &["forwarding"]);
    to.online("out/cam1");
}

//! What happened, as plugins and the API's stream are told it.

use std::{
    io::{BufRead, BufReader, Lines, Write},
    net::TcpStream,
};

use rustix::process::Signal;
use serde_json::Value as Json;

use crate::harness::{
    Backend, Codec, OPEN, PATIENCE, Player, Publisher, Reader, Server, Tool, Transport, made_up, plugin, until,
};

/// A server on whose path `cam1` a plugin posts each event to the backend.
fn posting(backend: &Backend) -> Server {
    Server::start(&format!(
        "plugins:
  hook:
    file: {}
    config: {{ mode: post, to: '{}' }}
    grant: {{ http: ['{}'] }}
paths:
  cam1:
    plugins: [hook]
  other:
",
        plugin("events-modes").display(),
        backend.url("/hook"),
        backend.host(),
    ))
}

/// The kinds of events about a path, in the order in which they were told.
fn told(backend: &Backend, path: Option<&str>) -> Vec<String> {
    let asked = backend.asked();
    let about = asked.iter().filter(|event| event["path"].as_str() == path);
    about
        .map(|event| event["kind"].as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn a_plugin_is_told_in_order_who_publishes_and_reads() {
    let backend = Backend::agreeing();
    let server = posting(&backend);
    let clip = Codec::H264.clip();
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    assert!(
        !Player::FFmpeg
            .read(&server, Transport::Tcp, "cam1", 10)
            .hashes()
            .is_empty()
    );
    server.readers("cam1", 0);
    drop(publishing);
    let expected = ["online", "reading", "read-ended", "offline"];
    until("everything is told", || {
        (told(&backend, Some("cam1")) == expected).then_some(())
    });
    until("who came and went is told", || {
        let kinds = told(&backend, None);
        let count = |kind: &str| kinds.iter().filter(|found| *found == kind).count();
        (count("connected") >= 2 && count("connected") == count("disconnected")).then_some(())
    });
    let numbers: Vec<_> = backend.asked().iter().map(|event| event["number"].as_u64()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    assert!(backend.asked().iter().all(|event| event["lost"] == 0));
}

#[test]
fn a_plugin_is_not_told_of_paths_that_do_not_use_it() {
    let backend = Backend::agreeing();
    let server = posting(&backend);
    let mut publishers = ["other", "cam1"].map(|path| Publisher::vp8(&server, path));
    publishers
        .iter_mut()
        .for_each(|publisher| publisher.send_all(&made_up(3, 1, 100)));
    until("cam1 is told", || told(&backend, Some("cam1")).first().cloned());
    assert_eq!(told(&backend, Some("other")), [""; 0]);
}

#[test]
fn the_last_things_are_told_before_the_server_stops() {
    let backend = Backend::agreeing();
    let server = posting(&backend);
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(3, 1, 100));
    server.online("cam1");
    assert!(server.stop(Signal::TERM).status.success());
    assert_eq!(told(&backend, Some("cam1")), ["online", "offline"]);
}

#[test]
fn a_plugin_that_traps_at_every_event_leaves_the_stream_alone() {
    let server = Server::start(&format!(
        "plugins:\n  bad:\n    file: {}\n    config: {{ mode: trap }}\npaths:\n  cam1:\n    plugins: [bad]\n",
        plugin("events-modes").display(),
    ));
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(200, 10, 500));
    reader.until(0, 200);
    let failures = ["plugin=\"bad\"", "kind=\"trap\""];
    until("its failures are counted", || {
        (server.metric("wasmtx_plugin_failures_total", &failures) >= 1.0).then_some(())
    });
}

/// Follows `/v3/events`.
struct Followed(Lines<BufReader<TcpStream>>);

impl Followed {
    fn start(server: &Server) -> Followed {
        let address = server.address("apiAddress");
        let mut stream = TcpStream::connect(address).expect("the API listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // An answer to HTTP/1.0 is not cut into chunks.
        let request = format!("GET /v3/events HTTP/1.0\r\nHost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).expect("a request");
        let mut followed = Followed(BufReader::new(stream).lines());
        while followed.0.next().is_some_and(|line| !line.expect("a head").is_empty()) {}
        followed
    }

    /// The next event of this kind.
    #[track_caller]
    fn next(&mut self, kind: &str) -> Json {
        loop {
            let line = self.0.next().expect("the stream goes on").expect("a line");
            let event: Json = serde_json::from_str(&line).expect("JSON");
            if event["kind"] == kind {
                return event;
            }
        }
    }
}

#[test]
fn the_api_streams_what_happens_and_what_plugins_raise() {
    let server = Server::start(&format!(
        "plugins:\n  tally:\n    file: {}\npaths:\n  cam1:\n    plugins: [tally]\n",
        plugin("tally").display(),
    ));
    let mut followed = Followed::start(&server);
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(3, 1, 100));
    let online = followed.next("online");
    assert_eq!(
        (&online["path"], &online["publication"]["tracks"][0]),
        (&"cam1".into(), &"VP8".into())
    );
    let counted = followed.next("counted");
    assert_eq!(counted["plugin"], "tally");
    assert!(counted["data"]["count"].as_u64() >= Some(1), "{counted}");
    drop(publisher);
    assert_eq!(followed.next("offline")["path"], "cam1");
}

/// A plugin that sends away every reader of `cam1`, if it is granted that.
fn kicking(control: &str) -> Server {
    Server::start(&format!(
        "plugins:\n  bouncer:\n    file: {}\n    config: {{ mode: kick, kind: reading }}\n    grant: {{ control: {control} }}\npaths:\n  cam1:\n    plugins: [bouncer]\n",
        plugin("events-modes").display(),
    ))
}

#[test]
fn a_plugin_ends_an_rtmp_connection_that_it_may_end() {
    let server = kicking("yes");
    let _publisher = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    let url = format!("rtmp://{}/cam1", server.address("rtmpAddress"));
    Tool::start("ffmpeg", ["-nostdin", "-v", "error", "-i", &url, "-f", "null", "-"]).wait();
    server.logged(&["[RTMP]", "plugin bouncer", "kicked"]);
}

#[test]
fn a_plugin_ends_a_session_that_it_may_end() {
    let server = kicking("yes");
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(3, 1, 100));
    let reader = Reader::new(&server, "cam1");
    until("the reader is sent away", || reader.end());
    server.logged(&["plugin bouncer", "kicked"]);

    let server = kicking("no");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let frames = made_up(100, 10, 100);
    publisher.send_all(&frames[..10]);
    let reader = Reader::new(&server, "cam1");
    server.logged(&["control.kick is not granted"]);
    publisher.send_all(&frames[10..]);
    reader.until(0, 100);
}

#[test]
fn what_rtmp_clients_do_is_told_as_well() {
    let server = Server::start(OPEN);
    let mut followed = Followed::start(&server);
    let url = format!("rtmp://{}/cam1?token=abc&view=1", server.address("rtmpAddress"));
    let file = Codec::H264.clip().file.to_str().expect("a path of ours").to_owned();
    let line = [
        "-nostdin", "-v", "error", "-re", "-i", &file, "-c", "copy", "-f", "flv", &url,
    ];
    let publishing = Tool::start("ffmpeg", line);
    let client = followed.next("connected")["client"].clone();
    assert_eq!(client["query"], "token=<redacted>&view=1");
    // The id by which the API knows it, and lets it be sent away.
    let conn = server.api("rtmpconns/list")["items"][0].clone();
    assert_eq!(client["session"], conn["id"], "{conn}");
    assert_eq!(followed.next("online")["path"], "cam1");
    let reader = Reader::new(&server, "cam1");
    assert_eq!(followed.next("reading")["path"], "cam1");
    drop(publishing);
    assert_eq!(followed.next("offline")["path"], "cam1");
    until("the publisher's end is told", || {
        (followed.next("disconnected")["client"]["session"] == conn["id"]).then_some(())
    });
    drop(reader);
}

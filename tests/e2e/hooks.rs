//! Commands that go with the life of a path, and of a connection.

use std::collections::HashMap;

use crate::harness::{Codec, OPEN, Player, Publisher, Reader, Server, Transport, assert_run, made_up, until};

/// A command that keeps its environment in a file, which is there when it is whole.
fn keep_environment(file: &str) -> String {
    format!("sh -c 'env > {file}.draft; mv {file}.draft {file}'")
}

/// What a command kept.
fn environment(server: &Server, file: &str) -> HashMap<String, String> {
    let kept = until(&format!("the command wrote {file}"), || {
        Some(server.folder().read(file)).filter(|kept| !kept.is_empty())
    });
    kept.lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

fn port(server: &Server) -> String {
    server.address("rtspAddress").port().to_string()
}

#[test]
fn a_command_runs_when_the_server_starts() {
    let server = Server::start(&format!(
        "paths:\n  cam1:\n    runOnInit: {}\n",
        keep_environment("init")
    ));
    let kept = environment(&server, "init");
    assert_eq!(kept["MTX_PATH"], "cam1");
    assert_eq!(kept["RTSP_PORT"], port(&server));
}

#[test]
fn a_command_that_publishes_at_start_is_read_by_players() {
    let clip = Codec::H264.clip();
    let command = format!(
        "ffmpeg -nostdin -v error -re -i {} -c copy -f rtsp -rtsp_transport tcp rtsp://127.0.0.1:$RTSP_PORT/$MTX_PATH",
        clip.file.display()
    );
    let server = Server::start(&format!("paths:\n  cam1:\n    runOnInit: {command}\n"));
    server.online("cam1");
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "cam1", 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
}

#[test]
fn a_command_publishes_while_somebody_reads_and_no_longer() {
    let clip = Codec::H264.clip();
    let command = format!(
        "ffmpeg -nostdin -v error -re -i {} -c copy -f rtsp -rtsp_transport tcp rtsp://127.0.0.1:$RTSP_PORT/$MTX_PATH",
        clip.file.display()
    );
    let server = Server::start(&format!(
        "paths:\n  ~^demand/(.+)$:\n    runOnDemand: {command}\n    runOnDemandStartTimeout: 30s\n    \
         runOnDemandCloseAfter: 1s\n    runOnUnDemand: {}\n",
        keep_environment("undemand")
    ));
    // It waits for the command, with the first question.
    let reader = Reader::new(&server, "demand/cam1?who=me");
    reader.until(0, 30);
    assert_eq!(
        assert_run(&clip.packet_hashes(), &reader.hashes(0), 30),
        0,
        "it is there from the first picture"
    );
    let got = Player::GStreamer
        .read(&server, Transport::Tcp, "demand/cam1", 30)
        .hashes();
    assert_run(&clip.hashes(), &got, 30);

    drop(reader);
    let kept = environment(&server, "undemand");
    assert_eq!((&*kept["MTX_PATH"], &*kept["G1"]), ("demand/cam1", "cam1"));
    server.offline("demand/cam1");
}

#[test]
fn a_command_that_does_not_publish_in_time_leaves_its_readers_refused() {
    let server =
        Server::start("paths:\n  cam1:\n    runOnDemand: sh -c 'exec sleep 600'\n    runOnDemandStartTimeout: 1s\n");
    let refusal = Reader::open(server.address("rtspAddress"), "cam1", None).err();
    let refusal = refusal.expect("nobody publishes");
    assert!(refusal.starts_with("refused"), "{refusal}");
}

fn check_availability(available: &str, unavailable: &str) {
    let server = Server::start(&format!(
        "paths:\n  ~^cam(.+)$:\n    {available}: {}\n    {unavailable}: {}\n",
        keep_environment("available"),
        keep_environment("unavailable")
    ));
    let mut publisher = Publisher::vp8(&server, "cam1?quality=high");
    publisher.send_all(&made_up(1, 1, 100));
    let kept = environment(&server, "available");
    let source = server.online("cam1")["source"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    assert_eq!((&*kept["MTX_PATH"], &*kept["G1"]), ("cam1", "1"));
    assert_eq!(
        (&*kept["MTX_SOURCE_TYPE"], &kept["MTX_SOURCE_ID"]),
        ("rtspSession", &source)
    );
    // As one value of a query, so that it can be put into another URL.
    assert_eq!(
        (&kept["MTX_QUERY"], &kept["RTSP_PORT"]),
        (&"quality%3Dhigh".to_owned(), &port(&server))
    );
    assert_eq!(server.folder().read("unavailable"), "");

    drop(publisher);
    let kept = environment(&server, "unavailable");
    assert_eq!((&*kept["MTX_PATH"], &kept["MTX_SOURCE_ID"]), ("cam1", &source));
}

#[test]
fn commands_run_when_a_stream_can_be_read_and_when_it_cannot_any_more() {
    check_availability("runOnAvailable", "runOnUnavailable");
}

#[test]
fn the_old_names_of_the_commands_still_count() {
    check_availability("runOnReady", "runOnNotReady");
}

#[test]
fn commands_run_while_a_client_is_connected_and_when_it_is_gone() {
    let server = Server::start(&format!(
        "runOnConnect: {}\nrunOnDisconnect: {}\n{OPEN}",
        keep_environment("connect"),
        keep_environment("disconnect")
    ));
    let publisher = Publisher::vp8(&server, "cam1");
    let kept = environment(&server, "connect");
    let conns = server.api("rtspconns/list");
    assert_eq!(conns["items"][0]["id"], kept["MTX_CONN_ID"].as_str(), "{conns}");
    assert_eq!(
        (&*kept["MTX_CONN_TYPE"], &kept["RTSP_PORT"]),
        ("rtspConn", &port(&server))
    );
    assert_eq!(server.folder().read("disconnect"), "");

    let session = server.api("rtspsessions/list")["items"][0]["id"].clone();
    let (status, body) = server.ask(
        "POST",
        &format!("rtspsessions/kick/{}", session.as_str().expect("an id")),
    );
    assert_eq!(status, 200, "{body}");
    let gone = environment(&server, "disconnect");
    assert_eq!(gone["MTX_CONN_ID"], kept["MTX_CONN_ID"]);
    drop(publisher);
}

//! One server pulls from another.

use crate::harness::{Clip, Codec, OPEN, Player, Reader, Server, Tool, Transport, assert_run, fingerprint};

/// A server to pull from, with a clip that plays.
fn origin() -> (Server, Tool) {
    let server = Server::start(OPEN);
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &Codec::H264.clip());
    server.online("cam1");
    (server, publishing)
}

/// Reads with the reader that keeps every frame, and with a player.
#[track_caller]
fn check(edge: &Server, path: &str) {
    let clip: &Clip = &Codec::H264.clip();
    let reader = Reader::new(edge, path);
    let got = Player::FFmpeg.read(edge, Transport::Tcp, path, 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
    reader.until(0, 30);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), 30);
}

fn check_transport(transport: Transport, more: &str) {
    let (origin, _publishing) = origin();
    let edge = Server::start(&format!(
        "paths:\n  copy:\n    source: {}\n{more}",
        origin.url(transport, "cam1")
    ));
    let path = edge.online("copy");
    assert_eq!(path["source"]["type"], "rtspSource");
    check(&edge, "copy");
}

#[test]
fn a_stream_is_pulled_over_tcp() {
    check_transport(Transport::Tcp, "    rtspTransport: tcp\n");
}

#[test]
fn a_stream_is_pulled_over_udp() {
    check_transport(Transport::Udp, "    rtspTransport: udp\n");
}

#[test]
fn a_stream_is_pulled_over_tls_from_a_server_with_the_right_fingerprint() {
    check_transport(Transport::Tls, &format!("    sourceFingerprint: {}\n", fingerprint()));
}

#[test]
fn a_server_with_another_fingerprint_is_not_pulled_from() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tls, "cam1");
    let other = "0".repeat(64);
    let edge = Server::start(&format!(
        "paths:\n  copy:\n    source: {url}\n    sourceFingerprint: '{other}'\n"
    ));
    edge.logged(&["fingerprint"]);
    assert!(edge.path("copy").is_none_or(|path| path["available"] == false));
    assert_eq!(origin.api("rtspssessions/list")["itemCount"], 0);
}

#[test]
fn a_stream_is_pulled_while_somebody_reads_by_the_name_in_the_path() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tcp, "$G1");
    let edge = Server::start(&format!(
        "paths:\n  ~^copy/(.+)$:\n    source: {url}\n    sourceOnDemand: yes\n    sourceOnDemandStartTimeout: 30s\n    \
         sourceOnDemandCloseAfter: 1s\n"
    ));
    assert_eq!(edge.api("paths/list")["itemCount"], 0);
    origin.readers("cam1", 0);
    check(&edge, "copy/cam1");
    // Nobody reads any more.
    origin.readers("cam1", 0);
    edge.offline("copy/cam1");
}

#[test]
fn a_source_that_is_not_there_leaves_readers_refused() {
    let origin = Server::start(OPEN);
    let edge = Server::start(&format!(
        "paths:\n  copy:\n    source: {}\n    sourceOnDemand: yes\n    sourceOnDemandStartTimeout: 1s\n",
        origin.url(Transport::Tcp, "cam1")
    ));
    let refusal = Reader::open(edge.address("rtspAddress"), "copy", None)
        .err()
        .expect("there is no stream");
    assert!(refusal.starts_with("refused"), "{refusal}");
}

#[test]
fn a_source_that_comes_back_is_pulled_again() {
    let (origin, publishing) = origin();
    let edge = Server::start(&format!(
        "paths:\n  copy:\n    source: {}\n",
        origin.url(Transport::Tcp, "cam1")
    ));
    let first = edge.online("copy")["source"]["id"].clone();
    drop(publishing);
    edge.offline("copy");
    let _publishing = Player::FFmpeg.publish(&origin, Transport::Tcp, "cam1", &Codec::H264.clip());
    let second = edge.online("copy")["source"]["id"].clone();
    assert!(first.is_string() && second.is_string(), "{first} {second}");
    check(&edge, "copy");
}

#[test]
fn players_follow_a_redirect() {
    let (origin, _publishing) = origin();
    let url = origin.url(Transport::Tcp, "cam1");
    let edge = Server::start(&format!(
        "paths:\n  away:\n    source: redirect\n    sourceRedirect: {url}\n"
    ));
    let answer = Reader::open(edge.address("rtspAddress"), "away", None).err();
    assert_eq!(answer.as_deref(), Some(&*format!("redirected to {url}")));
    for player in Player::ALL {
        let got = player.read(&edge, Transport::Tcp, "away", 30).hashes();
        assert_run(&Codec::H264.clip().hashes(), &got, 30);
    }
}

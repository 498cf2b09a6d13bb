//! Streams that a server fetches by RTMP and by FLV over HTTP, from a server of ours and from FFmpeg.

use std::net::TcpListener;

use crate::harness::{Clip, Codec, OPEN, Player, Reader, Server, Tool, Transport, assert_run, fingerprint};

/// Pictures that each player plays.
const PICTURES: usize = 30;

/// A server to pull from, with a clip that plays.
fn origin(clip: &Clip) -> (Server, Tool) {
    let server = Server::start(OPEN);
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "live/cam1", clip);
    server.online("live/cam1");
    (server, publishing)
}

/// Pulls from a URL, and reads with the reader that keeps every frame, and with a player.
#[track_caller]
fn check(url: &str, more: &str, kind: &str, clip: &Clip) {
    let edge = Server::start(&format!("paths:\n  copy:\n    source: {url}\n{more}"));
    let path = edge.online("copy");
    assert_eq!(path["source"]["type"], kind);
    let reader = Reader::new(&edge, "copy");
    let got = Player::FFmpeg.read(&edge, Transport::Tcp, "copy", PICTURES).hashes();
    assert_run(&clip.hashes(), &got, PICTURES);
    reader.until(0, PICTURES);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), PICTURES);
}

#[test]
fn pictures_of_a_server_come_by_rtmp() {
    let clip = Codec::H264.clip();
    let (origin, _publishing) = origin(&clip);
    check(&origin.rtmp("live/cam1"), "", "rtmpSource", &clip);
}

#[test]
fn pictures_of_a_newer_codec_come_by_rtmp() {
    let clip = Codec::H265.clip();
    let (origin, _publishing) = origin(&clip);
    let edge = Server::start(&format!("paths:\n  copy:\n    source: {}\n", origin.rtmp("live/cam1")));
    edge.online("copy");
    let reader = Reader::new(&edge, "copy");
    reader.until(0, PICTURES);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), PICTURES);
}

#[test]
fn pictures_of_a_server_with_the_right_fingerprint_come_by_rtmps() {
    let clip = Codec::H264.clip();
    let (origin, _publishing) = origin(&clip);
    let more = format!("    sourceFingerprint: {}\n", fingerprint());
    check(&origin.rtmps("live/cam1"), &more, "rtmpSource", &clip);
}

#[test]
fn pictures_of_a_server_come_by_flv_over_http() {
    let clip = Codec::H264.clip();
    let (origin, _publishing) = origin(&clip);
    check(&origin.flv("live/cam1"), "", "flvSource", &clip);
}

#[test]
fn a_stream_is_pulled_by_rtmp_while_somebody_reads() {
    let clip = Codec::H264.clip();
    let (origin, _publishing) = origin(&clip);
    let edge = Server::start(&format!(
        "paths:\n  ~^copy/(.+)$:\n    source: {}\n    sourceOnDemand: yes\n    sourceOnDemandStartTimeout: 30s\n    \
         sourceOnDemandCloseAfter: 1s\n",
        origin.rtmp("$G1")
    ));
    origin.readers("live/cam1", 0);
    let reader = Reader::new(&edge, "copy/live/cam1");
    origin.readers("live/cam1", 1);
    reader.until(0, PICTURES);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), PICTURES);
    drop(reader);
    origin.readers("live/cam1", 0);
    edge.offline("copy/live/cam1");
}

/// FFmpeg as the server, for one client. It takes no port of the system's choice.
fn check_ffmpeg(scheme: &str, resource: &str, kind: &str) {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let url = format!("{scheme}://{}/{resource}", free.expect("a free port"));
    let clip = Codec::H264.clip();
    let file = clip.file.to_str().expect("a path of ours");
    let line = [
        "-nostdin", "-v", "warning", "-re", "-i", file, "-c", "copy", "-f", "flv", "-listen", "1", &url,
    ];
    let _serving = Tool::start("ffmpeg", line);
    check(&url, "", kind, &clip);
}

#[test]
fn pictures_of_ffmpeg_come_by_rtmp() {
    check_ffmpeg("rtmp", "live/cam1", "rtmpSource");
}

#[test]
fn pictures_of_ffmpeg_come_by_flv_over_http() {
    check_ffmpeg("http", "cam1.flv", "flvSource");
}

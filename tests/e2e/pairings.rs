//! Every publisher with every reader, by every transport.

use crate::harness::{Codec, OPEN, Player, Server, Transport, assert_run};

/// Pictures that each reader reads.
const PICTURES: usize = 60;

/// Publishes once, and reads by all players and transports at the same time.
fn check(publisher: Player, transport: Transport) {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let (sent, keyframes) = (clip.hashes(), clip.keyframes());
    let _publishing = publisher.publish(&server, transport, "cam1", &clip);
    server.online("cam1");

    let readers = Player::ALL
        .iter()
        .flat_map(|reader| Transport::ALL.map(|by| (*reader, by)));
    let readings: Vec<_> = readers
        .map(|(reader, by)| (reader, by, reader.read(&server, by, "cam1", PICTURES)))
        .collect();
    for (reader, by, reading) in readings {
        let got = reading.hashes();
        eprintln!(
            "{publisher:?} by {transport:?} to {reader:?} by {by:?}: {} pictures",
            got.len()
        );
        let begin = assert_run(&sent, &got, PICTURES);
        assert!(
            keyframes.contains(&begin),
            "it begins with picture {begin}, which is no keyframe"
        );
    }
}

#[test]
fn every_reader_gets_the_pictures_that_ffmpeg_publishes_over_tcp() {
    check(Player::FFmpeg, Transport::Tcp);
}

#[test]
fn every_reader_gets_the_pictures_that_ffmpeg_publishes_over_udp() {
    check(Player::FFmpeg, Transport::Udp);
}

#[test]
fn every_reader_gets_the_pictures_that_ffmpeg_publishes_over_tls() {
    check(Player::FFmpeg, Transport::Tls);
}

#[test]
fn every_reader_gets_the_pictures_that_gstreamer_publishes_over_tcp() {
    check(Player::GStreamer, Transport::Tcp);
}

#[test]
fn every_reader_gets_the_pictures_that_gstreamer_publishes_over_udp() {
    check(Player::GStreamer, Transport::Udp);
}

#[test]
fn every_reader_gets_the_pictures_that_gstreamer_publishes_over_tls() {
    check(Player::GStreamer, Transport::Tls);
}

#[test]
fn players_that_prefer_datagrams_fall_back_to_tcp_where_there_are_none() {
    let server = Server::start("rtspTransports: [tcp]\npaths:\n  all_others:\n");
    let clip = Codec::H264.clip();
    let sent = clip.hashes();
    let pairs = [
        ("one", Player::FFmpeg, Player::GStreamer),
        ("other", Player::GStreamer, Player::FFmpeg),
    ];
    let running = pairs.map(|(path, publisher, reader)| {
        // Publishers do not fall back.
        let publishing = publisher.publish(&server, Transport::Tcp, path, &clip);
        server.online(path);
        (publishing, reader.read(&server, Transport::Any, path, PICTURES))
    });
    for (_publishing, reading) in running {
        assert_run(&sent, &reading.hashes(), PICTURES);
    }
    let sessions = server.log().matches("session is reading").count();
    assert_eq!(sessions, 2);
}

//! Who gets in, and what the others are told.

use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{Codec, Login, OPEN, Player, Publisher, Reader, Server, Transport, assert_run, made_up, until};

/// One user for everything, and every scheme.
const USERS: &str = r#"
rtspAuthMethods: [digest, basic]
authInternalUsers:
- user: ada
  pass: engine
  permissions:
  - action: publish
  - action: read
- user: any
  ips: ['127.0.0.1']
  permissions:
  - action: api
  - action: metrics
paths:
  all_others:
"#;

/// The answer to somebody who wants to read.
#[track_caller]
fn refused(server: &Server, path: &str, login: Login<'_>) -> String {
    match Reader::open(server.address("rtspAddress"), path, login) {
        Ok(_) => panic!("{login:?} may read {path}"),
        Err(reason) => reason,
    }
}

fn with_credentials(url: &str, credentials: &str) -> String {
    url.replacen("://", &format!("://{credentials}@"), 1)
}

/// Publishes and reads with the right password, by a player.
fn check_right_password(player: Player, methods: &str) {
    let server = Server::start(&USERS.replace("[digest, basic]", methods));
    let clip = Codec::H264.clip();
    let url = with_credentials(&server.url(Transport::Tcp, "cam1"), "ada:engine");
    let _publishing = player.publish_to(&url, Transport::Tcp, &clip);
    server.online("cam1");
    let got = player.read_from(&url, Transport::Tcp, 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
}

/// A player with the wrong password ends, and the path stays as it is.
fn check_wrong_password(player: Player, methods: &str) {
    let server = Server::start(&USERS.replace("[digest, basic]", methods));
    let url = with_credentials(&server.url(Transport::Tcp, "cam1"), "ada:difference");
    let mut publishing = player.publish_to(&url, Transport::Tcp, &Codec::H264.clip());
    assert!(!publishing.wait().success(), "a wrong password publishes");
    let mut reading = player.read_from(&url, Transport::Tcp, 30).tool;
    assert!(!reading.wait().success(), "a wrong password reads");
    let words = ["401", "authorized"];
    for said in [publishing.said(), reading.said()] {
        assert!(words.iter().any(|word| said.contains(word)), "{said}");
    }
    assert!(server.path("cam1").is_none_or(|path| path["available"] == false));
}

#[test]
fn ffmpeg_gets_in_with_the_right_basic_password() {
    check_right_password(Player::FFmpeg, "[basic]");
}

#[test]
fn ffmpeg_gets_in_with_the_right_digest() {
    check_right_password(Player::FFmpeg, "[digest]");
}

#[test]
fn gstreamer_gets_in_with_the_right_basic_password() {
    check_right_password(Player::GStreamer, "[basic]");
}

#[test]
fn gstreamer_gets_in_with_the_right_digest() {
    check_right_password(Player::GStreamer, "[digest]");
}

#[test]
fn ffmpeg_stays_out_with_a_wrong_basic_password() {
    check_wrong_password(Player::FFmpeg, "[basic]");
}

#[test]
fn ffmpeg_stays_out_with_a_wrong_digest() {
    check_wrong_password(Player::FFmpeg, "[digest]");
}

#[test]
fn gstreamer_stays_out_with_a_wrong_basic_password() {
    check_wrong_password(Player::GStreamer, "[basic]");
}

#[test]
fn gstreamer_stays_out_with_a_wrong_digest() {
    check_wrong_password(Player::GStreamer, "[digest]");
}

#[test]
fn hashed_passwords_count_like_plain_ones() {
    // SHA-256 of `engine`.
    let hashed = USERS.replace(
        "pass: engine",
        "pass: sha256:7Z9vJQaGCO/UEpWNpN/BkyjKNRElH6bV+cQrryMOMvg=",
    );
    let hashed = hashed.replace("[digest, basic]", "[basic]");
    let server = Server::start(&hashed);
    let video = (Kind::Video, MediaCodec::Vp8);
    let publisher = Publisher::try_new(&server, "cam1", Some(("ada", "engine")), video.0, video.1.clone());
    let mut publisher = publisher.expect("the right password publishes");
    publisher.send_all(&made_up(1, 1, 100));
    let refusal = Publisher::try_new(&server, "cam2", Some(("ada", "difference")), video.0, video.1);
    assert!(refusal.err().is_some_and(|reason| reason.contains("401")));
}

#[test]
fn whoever_brings_no_password_is_asked_for_one() {
    let server = Server::start(USERS);
    let reason = refused(&server, "cam1", None);
    assert!(reason.contains("401"), "{reason}");
    // A first request without credentials is how every client begins, and no failure.
    assert!(
        !server.log().contains("authentication failed"),
        "the first question counts as a failure"
    );
}

#[test]
fn permissions_end_where_they_are_said_to_end() {
    let server = Server::start(
        "authInternalUsers:\n- user: any\n  permissions:\n  - action: publish\n    path: ~^in/\n  - action: read\n    path: out\n  - action: api\n  - action: metrics\npaths:\n  all_others:\n",
    );
    let publish = |path| Publisher::try_new(&server, path, None, Kind::Video, MediaCodec::Vp8).map(|_| ());
    assert_eq!(publish("in/cam1"), Ok(()));
    let refusal = publish("out").expect_err("nobody may publish there");
    assert!(refusal.contains("401") || refusal.contains("403"), "{refusal}");
    let refusal = refused(&server, "in/cam1", None);
    assert!(refusal.contains("401") || refusal.contains("403"), "{refusal}");
}

#[test]
fn a_path_without_a_publisher_is_not_found() {
    let server = Server::start(OPEN);
    let reason = refused(&server, "cam1", None);
    assert!(reason.contains("404"), "{reason}");
    let url = server.url(Transport::Tcp, "cam1");
    for player in Player::ALL {
        let mut reading = player.read_from(&url, Transport::Tcp, 1).tool;
        assert!(!reading.wait().success());
        let said = reading.said();
        assert!(
            ["404", "Not found", "Not Found"].iter().any(|word| said.contains(word)),
            "{said}"
        );
    }
}

#[test]
fn a_path_that_is_not_configured_is_refused() {
    let server = Server::start("paths:\n  cam1:\n");
    let refusal = Publisher::try_new(&server, "cam2", None, Kind::Video, MediaCodec::Vp8).err();
    assert!(refusal.is_some(), "a path that nobody configured can be published to");
    let reason = refused(&server, "cam2", None);
    assert!(reason.contains("404") || reason.contains("400"), "{reason}");
}

#[test]
fn a_second_publisher_takes_over() {
    let server = Server::start(OPEN);
    let mut first = Publisher::vp8(&server, "cam1");
    first.send_all(&made_up(1, 1, 100));
    let mut second = Publisher::vp8(&server, "cam1");
    first.until_end();
    second.send_all(&made_up(1, 1, 100));
    let reader = Reader::new(&server, "cam1");
    reader.until(0, 1);
}

#[test]
fn a_second_publisher_is_refused_where_the_first_stays() {
    let server = Server::start("paths:\n  cam1:\n    overridePublisher: no\n");
    let frames = made_up(2, 1, 100);
    let mut first = Publisher::vp8(&server, "cam1");
    first.send(&frames[0]);
    let reader = Reader::new(&server, "cam1");
    let refusal = Publisher::try_new(&server, "cam1", None, Kind::Video, MediaCodec::Vp8).err();
    assert!(refusal.is_some(), "a second publisher publishes");
    first.send(&frames[1]);
    reader.until(0, 2);
}

#[test]
fn no_more_readers_than_allowed_get_in() {
    let server = Server::start("paths:\n  cam1:\n    maxReaders: 2\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    let first = Reader::new(&server, "cam1");
    let second = Reader::new(&server, "cam1");
    let reason = refused(&server, "cam1", None);
    assert!(reason.starts_with("refused"), "{reason}");
    drop(second);
    let third = until("the place of the second reader is free", || {
        Reader::open(server.address("rtspAddress"), "cam1", None).ok()
    });
    for reader in [first, third] {
        reader.until(0, 1);
    }
}

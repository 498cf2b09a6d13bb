//! What real clients send (`../testdata`), replayed to a machine whose driver says yes to everything.

use std::net::Ipv4Addr;
use std::time::Duration;

use bytes::BytesMut;

use super::tests::{server_config, start};
use super::*;
use crate::rtsp::auth::{Authorization, Credentials, Digest};

/// Cuts a recording into its requests.
fn requests(recording: &[u8]) -> Vec<Request> {
    let mut input = BytesMut::from(recording);
    let mut decoder = Decoder::new();
    let mut requests = Vec::new();
    while let Some(item) = decoder.decode(&mut input).expect("a recording is well-formed") {
        let Item::Request(request) = item else {
            panic!("a recording holds requests only")
        };
        requests.push(request);
    }
    assert!(input.is_empty());
    requests
}

/// Replays a recording and names what happened. The credentials are left out: their nonce was another server's.
fn replay(recording: &[u8]) -> Vec<String> {
    let now = start();
    let mut machine = Connection::new(now, server_config());
    let mut story = Vec::new();
    for request in requests(recording) {
        let headers = request
            .headers
            .iter()
            .filter(|(key, _)| *key != "Authorization")
            .map(|(key, value)| {
                let own = machine.session_id().unwrap_or(value);
                (
                    key.to_owned(),
                    if key == "Session" {
                        own.to_owned()
                    } else {
                        value.to_owned()
                    },
                )
            });
        let headers = headers.fold(super::super::Headers::new(), |headers, (key, value)| {
            headers.with(key, value)
        });
        let request = Request { headers, ..request };
        machine.handle_input(now, &mut BytesMut::from(request.to_bytes().as_ref()));
        loop {
            match machine.poll() {
                Output::Send(bytes) => {
                    let line = String::from_utf8_lossy(&bytes).lines().next().unwrap().to_owned();
                    assert_eq!(line, "RTSP/1.0 200 OK", "{request:?}");
                }
                Output::Event(event) => story.push(accept(event, &mut machine)),
                Output::Close(reason) => panic!("{reason}"),
                Output::WaitUntil(_) => break,
            }
        }
    }
    story
}

fn accept(event: Event, machine: &mut Connection) -> String {
    match event {
        Event::Describe(ask) => {
            machine.accept_describe(&crate::rtsp::sdp::Session::default());
            format!("describe {}?{}", ask.path, ask.query)
        }
        Event::Announce(ask, description) => {
            machine.accept_announce();
            let formats = description.medias.iter().map(|media| media.formats[0].encoding.clone());
            format!(
                "announce {}?{} {}",
                ask.path,
                ask.query,
                formats.collect::<Vec<_>>().join(" ")
            )
        }
        Event::Setup(ask, setup) => {
            let (choice, way) = match setup.offers[..] {
                [Offer::Tcp] => (Choice::Tcp, "tcp"),
                [Offer::Udp { .. }] => (
                    Choice::Udp {
                        server_rtp: 8000,
                        server_rtcp: 8001,
                    },
                    "udp",
                ),
                _ => panic!("{setup:?}"),
            };
            machine.accept_setup(choice, None);
            format!("setup {}?{} {} {way}", ask.path, ask.query, setup.media)
        }
        Event::Play { .. } => {
            machine.accept_play(&[], None);
            "play".to_owned()
        }
        Event::Record => {
            machine.accept_record();
            "record".to_owned()
        }
        Event::Paused => "paused".to_owned(),
        Event::Ended => "ended".to_owned(),
        Event::Interleaved { .. } => panic!("no packets here"),
    }
}

macro_rules! recording {
    ($name:literal) => {
        include_bytes!(concat!("../testdata/", $name, ".txt"))
    };
}

#[test]
fn ffmpeg_publishes_over_tcp() {
    assert_eq!(
        replay(recording!("ffmpeg-publish-tcp")),
        [
            "announce live/cam?token=x H264 MPEG4-GENERIC",
            "setup live/cam?token=x 0 tcp",
            "setup live/cam?token=x 1 tcp",
            "record",
            "ended"
        ]
    );
}

#[test]
fn gstreamer_publishes_over_tcp() {
    assert_eq!(
        replay(recording!("gstreamer-publish-tcp")),
        [
            "announce live/cam?token=x H264",
            "setup live/cam?token=x 0 tcp",
            "record",
            "paused"
        ]
    );
}

#[test]
fn ffmpeg_reads_over_udp_and_tcp() {
    assert_eq!(
        replay(recording!("ffmpeg-read-udp")),
        [
            "describe live/cam?",
            "setup live/cam? 0 udp",
            "setup live/cam? 1 udp",
            "play",
            "ended"
        ]
    );
    let described = "describe live/cam?token=x";
    assert_eq!(
        replay(recording!("ffmpeg-read-tcp-digest")),
        [
            described,
            described,
            "setup live/cam?token=x 0 tcp",
            "setup live/cam?token=x 1 tcp",
            "play",
            "ended"
        ]
    );
}

#[test]
fn gstreamer_reads_and_its_lost_query_is_remembered() {
    assert_eq!(
        replay(recording!("gstreamer-read-tcp")),
        [
            "describe live/cam?",
            "setup live/cam? 0 tcp",
            "setup live/cam? 1 tcp",
            "play"
        ]
    );
    let described = "describe live/cam?token=x";
    assert_eq!(
        replay(recording!("gstreamer-read-udp-digest")),
        [
            described,
            described,
            "setup live/cam?token=x 0 udp",
            "setup live/cam?token=x 1 udp",
            "play"
        ]
    );
}

#[test]
fn their_digests_prove_the_password_and_no_other() {
    for recording in [
        &recording!("ffmpeg-publish-udp-digest")[..],
        recording!("ffmpeg-read-tcp-digest"),
        recording!("gstreamer-publish-udp-digest"),
        recording!("gstreamer-read-udp-digest"),
    ] {
        let mut seen = 0;
        for request in requests(recording) {
            let Some(value) = request.headers.get("authorization") else {
                continue;
            };
            let Ok(Authorization::Digest(digest)) = Authorization::parse(value) else {
                panic!("{value}")
            };
            let method = request.method.name().to_owned();
            let credentials = Credentials::with_digest(Digest { method, ..digest });
            assert!(credentials.matches("joe", "secret"), "{value}");
            assert!(
                !credentials.matches("joe", "Secret") && !credentials.matches("jon", "secret"),
                "{value}"
            );
            seen += 1;
        }
        assert!(seen >= 4);
    }
}

#[test]
fn a_digest_with_a_foreign_nonce_is_asked_for_again_without_a_question() {
    let now = start();
    let config = Config {
        remote: Ipv4Addr::LOCALHOST.into(),
        session_timeout: Duration::from_secs(60),
        ..server_config()
    };
    let mut machine = Connection::new(now, config);
    let request = requests(recording!("gstreamer-publish-udp-digest")).remove(2);
    machine.handle_input(now, &mut BytesMut::from(request.to_bytes().as_ref()));
    let Output::Send(bytes) = machine.poll() else {
        panic!("a response is due")
    };
    assert!(bytes.starts_with(b"RTSP/1.0 401 Unauthorized\r\n"));
}

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::rtmp::Capabilities;
use crate::rtmp::amf0::{self, Value, object};
use crate::rtmp::chunk::MEDIA_STREAM;

const CONFIG: Config = Config {
    read_timeout: Duration::from_secs(10),
};

/// When every test begins.
pub(super) static START: LazyLock<Instant> = LazyLock::new(begin);

#[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
fn begin() -> Instant {
    Instant::now()
}

/// A peer that writes what it likes, and a machine.
struct Peer {
    now: Instant,
    machine: Connection,
    writer: Writer,
    reader: Reader,
    answers: BytesMut,
}

/// What came of feeding.
#[derive(Debug, Default)]
struct Outcome {
    /// Commands and data that were sent: name, then code or first argument.
    said: Vec<String>,
    messages: Vec<Message>,
    events: Vec<Event>,
    closed: Option<Reason>,
}

impl Peer {
    fn new() -> Peer {
        let now = *START;
        Peer {
            now,
            machine: Connection::new(now, CONFIG),
            writer: Writer::default(),
            reader: Reader::new(),
            answers: BytesMut::new(),
        }
    }

    /// With the handshake done.
    fn connected() -> Peer {
        let mut peer = Peer::new();
        let (mut handshake, first) = Handshake::client().unwrap();
        peer.feed(&first);
        let second = handshake.handle(&mut peer.answers).unwrap().unwrap();
        assert!(handshake.handle(&mut peer.answers).unwrap().is_some());
        assert!(peer.answers.is_empty() && handshake.is_done());
        peer.feed(&second);
        peer
    }

    /// With `connect` answered.
    fn in_app(app: &str) -> Peer {
        let mut peer = Peer::connected();
        let outcome = peer.call("connect", 1.0, vec![object([("app", app.into())])]);
        assert_eq!(outcome.said, ["_result NetConnection.Connect.Success"]);
        peer
    }

    fn publishing() -> Peer {
        let mut peer = Peer::in_app("live");
        peer.call("publish", 5.0, vec![Value::Null, "key".into(), "live".into()]);
        peer.machine.accept_publish();
        let outcome = peer.drain();
        assert_eq!(outcome.said, ["onStatus NetStream.Publish.Start"]);
        peer
    }

    fn feed(&mut self, bytes: &[u8]) -> Outcome {
        self.machine.handle_input(self.now, &mut BytesMut::from(bytes));
        self.drain()
    }

    fn drain(&mut self) -> Outcome {
        let mut outcome = Outcome::default();
        loop {
            match self.machine.poll() {
                Output::Send(bytes) => self.answers.extend_from_slice(&bytes),
                Output::Event(event) => outcome.events.push(event),
                Output::Close(reason) => {
                    outcome.closed = Some(reason);
                    break;
                }
                Output::WaitUntil(_) => break,
            }
        }
        if self.machine.handshake.is_none() {
            while let Some(message) = self.reader.read(&mut self.answers).unwrap() {
                if message.kind == Kind::Command {
                    let command = Command::read(&message).unwrap();
                    let code = command.detail("code").unwrap_or_default();
                    outcome
                        .said
                        .push(format!("{} {code}", command.name).trim_end().to_owned());
                }
                outcome.messages.push(message);
            }
        }
        outcome
    }

    fn message(&mut self, kind: Kind, time: u32, payload: impl Into<Bytes>) -> Outcome {
        let bytes = self.writer.write(kind, time, MEDIA_STREAM, payload.into()).unwrap();
        self.feed(&bytes)
    }

    fn call(&mut self, name: &str, transaction: f64, arguments: Vec<Value>) -> Outcome {
        let command = Command {
            name: name.to_owned(),
            transaction,
            arguments,
        };
        self.message(Kind::Command, 0, command.to_bytes())
    }

    fn wait(&mut self, duration: Duration) -> Outcome {
        self.now += duration;
        self.machine.handle_timeout(self.now);
        self.drain()
    }
}

fn asked(outcome: &Outcome) -> &Ask {
    match outcome.events.as_slice() {
        [Event::Publish(ask) | Event::Play(ask)] => ask,
        other => panic!("no question but {other:?}"),
    }
}

#[test]
fn an_encoder_publishes() {
    let mut peer = Peer::connected();
    let connect = object([
        ("app", "live?user=joe".into()),
        ("type", "nonprivate".into()),
        ("flashVer", "FMLE/3.0 (compatible; FMSc/1.0)".into()),
        ("tcUrl", "rtmp://h/live?user=joe".into()),
        ("fourCcList", Value::Array(vec!["hvc1".into()])),
    ]);
    let outcome = peer.call("connect", 1.0, vec![connect]);
    let kinds: Vec<_> = outcome.messages.iter().map(|message| message.kind).collect();
    // The chunk size is taken by the reader of this test, as it is by any reader.
    assert_eq!(kinds, [Kind::WindowSize, Kind::PeerBandwidth, Kind::Command]);
    let result = Command::read(&outcome.messages[2]).unwrap();
    assert_eq!(Capabilities::read(&result.arguments[0]), Capabilities::ours());

    let key = || vec![Value::Null, "key?pass=x".into()];
    assert_eq!(peer.call("releaseStream", 2.0, key()).said, ["_result"]);
    assert_eq!(
        peer.call("FCPublish", 3.0, key()).said,
        ["_result", "onFCPublish NetStream.Publish.Start"]
    );
    let outcome = peer.call("createStream", 4.0, vec![Value::Null]);
    let result = Command::read(&outcome.messages[0]).unwrap();
    assert_eq!(
        (result.transaction, result.argument(0)),
        (4.0, Some(&Value::Number(1.0)))
    );
    assert_eq!(peer.call("_checkbw", 5.0, vec![Value::Null]).said, ["_result"]);

    let outcome = peer.call("publish", 6.0, vec![Value::Null, "key?pass=x".into(), "live".into()]);
    let ask = asked(&outcome);
    assert_eq!((ask.path.as_str(), ask.query.as_str()), ("live/key", "pass=x&user=joe"));
    assert_eq!(ask.flash_version, "FMLE/3.0 (compatible; FMSc/1.0)");
    assert!(ask.capabilities.carries("hvc1") && !ask.capabilities.carries("av01"));
    assert!(outcome.said.is_empty(), "nobody has decided yet");

    peer.machine.accept_publish();
    let outcome = peer.drain();
    assert_eq!(outcome.said, ["onStatus NetStream.Publish.Start"]);
    assert_eq!(
        UserControl::read(&outcome.messages[0].payload),
        Ok(UserControl::StreamBegin(MEDIA_STREAM))
    );

    let metadata = amf0::write(&["@setDataFrame".into(), "onMetaData".into(), Value::Ecma(Vec::new())]);
    let outcome = peer.message(Kind::Data, 0, metadata);
    assert!(matches!(&outcome.events[..], [Event::Data { name, values, .. }]
        if name == "onMetaData" && values == &[Value::Ecma(Vec::new())]));
    let outcome = peer.message(Kind::Video, 40, &b"frame"[..]);
    assert!(matches!(&outcome.events[..], [Event::Media(message)]
        if message.timestamp == 40 && message.payload == "frame" && message.kind == Kind::Video));

    assert_eq!(
        peer.call("FCUnpublish", 7.0, key()).said,
        ["_result", "onFCUnpublish NetStream.Unpublish.Success"]
    );
    let outcome = peer.call("deleteStream", 8.0, vec![Value::Null, 1.0.into()]);
    assert_eq!(outcome.said, ["onStatus NetStream.Unpublish.Success"]);
    assert!(matches!(outcome.events[..], [Event::Ended]));
}

#[test]
fn a_peer_that_ended_its_stream_may_say_goodbye() {
    let mut peer = Peer::publishing();
    assert!(matches!(
        peer.call("closeStream", 0.0, vec![Value::Null]).events[..],
        [Event::Ended]
    ));
    let outcome = peer.message(Kind::Audio, 0, &b"late"[..]);
    assert!(outcome.events.is_empty() && outcome.closed.is_none());
    let outcome = peer.call("deleteStream", 0.0, vec![Value::Null, 1.0.into()]);
    assert!(outcome.events.is_empty() && outcome.said.is_empty());
    let outcome = peer.call("publish", 0.0, vec![Value::Null, "again".into()]);
    assert!(outcome.events.is_empty(), "one connection, one stream");
    assert_eq!(peer.wait(LINGER).closed, Some(Reason::Finished));
}

#[test]
fn a_player_plays_pauses_and_is_told_the_end() {
    let mut peer = Peer::in_app("");
    let outcome = peer.call("play", 4.0, vec![Value::Null, "/cam/1/".into(), (-2000.0).into()]);
    assert_eq!(asked(&outcome).path, "cam/1");
    peer.machine.accept_play();
    let outcome = peer.drain();
    assert_eq!(
        outcome.said,
        ["onStatus NetStream.Play.Reset", "onStatus NetStream.Play.Start"]
    );
    assert_eq!(outcome.messages.last().unwrap().kind, Kind::Data);
    let outcome = peer.call("pause", 5.0, vec![Value::Null, Value::Boolean(true), 0.0.into()]);
    assert!(matches!(outcome.events[..], [Event::Pause(true)]));
    assert_eq!(outcome.said, ["onStatus NetStream.Pause.Notify"]);
    assert_eq!(peer.wait(Duration::from_secs(3600)).closed, None);
    peer.machine.end_play("the stream is over");
    let outcome = peer.drain();
    assert_eq!(outcome.said, ["onStatus NetStream.Play.UnpublishNotify"]);
    assert_eq!(outcome.closed, Some(Reason::Asked));
}

#[test]
fn app_and_key_join_to_a_path_and_all_queries_to_one() {
    #[track_caller]
    fn check(app: &str, url: &str, name: &str, path: &str, query: &str) {
        let mut peer = Peer::connected();
        peer.call(
            "connect",
            1.0,
            vec![object([("app", app.into()), ("tcUrl", url.into())])],
        );
        let outcome = peer.call("publish", 2.0, vec![Value::Null, name.into()]);
        let ask = asked(&outcome);
        assert_eq!((ask.path.as_str(), ask.query.as_str()), (path, query));
    }
    check("app", "rtmp://h/app", "key", "app/key", "");
    check("app", "rtmp://h/app", "", "app", "");
    check("app/", "rtmp://h/app/", "key", "app/key", "");
    check("a/b", "rtmp://h/a/b", "c/d", "a/b/c/d", "");
    check("", "rtmp://h/", "key", "key", "");
    check(
        "app?user=u&pass=p",
        "rtmp://h/app?user=u&pass=p",
        "",
        "app",
        "user=u&pass=p",
    );
    check("app", "rtmp://h/app?jwt=x", "key", "app/key", "jwt=x");
    check("app?a=1", "rtmp://h/app", "key?b=2?c", "app/key", "b=2?c&a=1");
    check("app", "", "key%20x", "app/key x", "");
    check("app", "", "100%", "app/100%", "");
}

#[test]
fn rejections_are_said_in_the_words_of_the_protocol() {
    let text = || "not today".to_owned();
    for (command, rejection, code) in [
        ("publish", Rejection::Denied(text()), "NetStream.Publish.Denied"),
        ("publish", Rejection::InUse(text()), "NetStream.Publish.BadName"),
        ("publish", Rejection::NotFound(text()), "NetStream.Publish.BadName"),
        ("publish", Rejection::Failed(text()), "NetStream.Publish.Failed"),
        ("play", Rejection::NotFound(text()), "NetStream.Play.StreamNotFound"),
        ("play", Rejection::Denied(text()), "NetStream.Play.Failed"),
    ] {
        let mut peer = Peer::in_app("live");
        peer.call(command, 2.0, vec![Value::Null, "key".into()]);
        peer.machine.reject(&rejection);
        let outcome = peer.drain();
        assert_eq!(outcome.said, [format!("onStatus {code}")]);
        let status = Command::read(&outcome.messages[0]).unwrap();
        assert_eq!(status.detail("description"), Some("not today"));
        assert_eq!(status.detail("level"), Some("error"));
        assert_eq!(outcome.closed, Some(Reason::Rejected));
    }
}

#[test]
fn nothing_is_parsed_behind_an_open_question() {
    let mut peer = Peer::in_app("live");
    peer.call("publish", 2.0, vec![Value::Null, "key".into()]);
    let outcome = peer.message(Kind::Video, 0, &b"early"[..]);
    assert!(outcome.events.is_empty() && peer.machine.wants_input());
    peer.feed(&vec![0; INPUT_LIMIT]);
    assert!(!peer.machine.wants_input());
    peer.machine.accept_publish();
    let outcome = peer.drain();
    assert!(matches!(&outcome.events[0], Event::Media(message) if message.payload == "early"));
}

#[test]
fn answers_to_questions_that_are_not_open_do_nothing() {
    let mut peer = Peer::in_app("live");
    peer.machine.accept_publish();
    peer.machine.accept_play();
    peer.machine.reject(&Rejection::Failed(String::new()));
    peer.machine.end_play("");
    let outcome = peer.drain();
    assert!(outcome.messages.is_empty() && outcome.closed.is_none());
    peer.call("publish", 2.0, vec![Value::Null, "key".into()]);
    peer.machine.accept_play();
    assert_eq!(peer.machine.state(), State::Idle);
}

#[test]
fn media_of_those_who_were_not_let_in_is_dropped() {
    let mut peer = Peer::in_app("live");
    assert!(peer.message(Kind::Video, 0, &b"x"[..]).events.is_empty());
    let metadata = amf0::write(&["onMetaData".into(), Value::Null]);
    assert!(peer.message(Kind::Data, 0, metadata).events.is_empty());
    assert_eq!(peer.machine.dropped_messages(), 2);
}

#[test]
fn the_parts_of_an_aggregate_come_one_by_one() {
    let mut peer = Peer::publishing();
    let parts = b"\x08\0\0\x01\0\0\x0a\0\0\0\0a\0\0\0\x0c\x09\0\0\x01\0\0\x1e\0\0\0\0b\0\0\0\x0c";
    let outcome = peer.message(Kind::Aggregate, 1000, &parts[..]);
    let times: Vec<_> = outcome
        .events
        .iter()
        .map(|event| match event {
            Event::Media(message) => (message.kind, message.timestamp),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(times, [(Kind::Audio, 1000), (Kind::Video, 1020)]);
    let outcome = peer.message(Kind::Aggregate, 1000, &parts[..15]);
    assert_eq!(outcome.closed, None, "a whole part and the length behind it");
    let outcome = peer.message(Kind::Aggregate, 1000, &parts[..18]);
    assert_eq!(outcome.closed, Some(Reason::Malformed(Error::Aggregate)));
}

#[test]
fn pings_are_answered() {
    let mut peer = Peer::connected();
    let outcome = peer.message(Kind::UserControl, 0, UserControl::PingRequest(77).to_bytes());
    assert_eq!(
        UserControl::read(&outcome.messages[0].payload),
        Ok(UserControl::PingResponse(77))
    );
}

#[test]
fn every_window_of_bytes_is_acknowledged_with_the_total() {
    let mut peer = Peer::publishing();
    peer.message(Kind::WindowSize, 0, 1000u32.to_be_bytes().to_vec());
    let mut totals = Vec::new();
    for _ in 0..5 {
        for message in peer.message(Kind::Audio, 0, vec![0; 600]).messages {
            assert_eq!(message.kind, Kind::Acknowledgement);
            totals.push(control_number(&message.payload).unwrap());
        }
    }
    assert!(u64::from(totals[1]) <= peer.machine.reader.consumed());
    assert!(totals[0] >= 1000 && totals[1] - totals[0] >= 1000);
}

#[test]
fn a_slow_handshake_ends_at_its_deadline() {
    let mut peer = Peer::new();
    peer.feed(&[3; 1000]);
    assert_eq!(peer.wait(HANDSHAKE - Duration::from_millis(1)).closed, None);
    assert_eq!(peer.wait(Duration::from_millis(1)).closed, Some(Reason::Handshake));
}

#[test]
fn a_wrong_version_is_closed_without_an_answer() {
    let mut peer = Peer::new();
    let outcome = peer.feed(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(outcome.closed, Some(Reason::Malformed(Error::Version(b'G'))));
    assert!(peer.answers.is_empty());
}

#[test]
fn a_peer_that_wants_nothing_ends_at_its_deadline() {
    let mut peer = Peer::in_app("live");
    assert_eq!(peer.wait(FIRST_QUESTION - Duration::from_millis(1)).closed, None);
    assert_eq!(peer.wait(Duration::from_millis(1)).closed, Some(Reason::FirstQuestion));
}

#[test]
fn time_that_a_decision_takes_is_not_the_peers() {
    let mut peer = Peer::in_app("live");
    peer.call("publish", 2.0, vec![Value::Null, "key".into()]);
    assert_eq!(peer.wait(Duration::from_secs(3600)).closed, None);
    peer.machine.accept_publish();
    assert_eq!(peer.wait(Duration::from_secs(60)).closed, None);
    assert_eq!(peer.wait(CONFIG.read_timeout).closed, Some(Reason::NoMedia));
}

#[test]
fn a_publisher_that_sends_nothing_is_closed() {
    let mut peer = Peer::publishing();
    peer.wait(Duration::from_secs(9));
    peer.message(Kind::Audio, 0, &b"x"[..]);
    assert_eq!(peer.wait(Duration::from_secs(9)).closed, None);
    assert_eq!(peer.wait(Duration::from_secs(1)).closed, Some(Reason::NoMedia));
}

#[test]
fn commands_out_of_order_are_refused() {
    for name in ["createStream", "publish", "play", "nonsense"] {
        let outcome = Peer::connected().call(name, 1.0, vec![Value::Null]);
        assert_eq!(outcome.closed, Some(Reason::Malformed(Error::Command)), "{name}");
    }
    let outcome = Peer::in_app("live").call("connect", 1.0, vec![object([])]);
    assert_eq!(outcome.closed, Some(Reason::Malformed(Error::Command)));
    let outcome = Peer::connected().call("connect", 1.0, vec![Value::Null]);
    assert_eq!(outcome.closed, Some(Reason::Malformed(Error::Command)));
}

#[test]
fn many_messages_without_a_wish_end_the_connection() {
    for (name, argument) in [("createStream", Value::Null), ("FCPublish", Value::Null)] {
        let mut peer = Peer::in_app("live");
        let mut calls = 1;
        while peer.call(name, 2.0, vec![argument.clone()]).closed.is_none() {
            calls += 1;
        }
        assert_eq!(calls, MAX_MESSAGES_BEFORE_LOGIN, "connect was the first");
    }
}

#[test]
fn what_follows_an_end_is_not_read() {
    let mut peer = Peer::publishing();
    peer.machine.close();
    let outcome = peer.message(Kind::Audio, 0, &b"x"[..]);
    assert!(outcome.events.is_empty());
    assert_eq!(outcome.closed, Some(Reason::Asked));
    assert!(!peer.machine.wants_input());
}

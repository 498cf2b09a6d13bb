use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

use super::*;
use crate::rtmp::amf0::object;
use crate::rtmp::server;

/// When every test begins.
static START: LazyLock<Instant> = LazyLock::new(begin);

#[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
fn begin() -> Instant {
    Instant::now()
}

/// Both halves and a wire without loss.
struct Pair {
    now: Instant,
    client: Client,
    server: server::Connection,
    rejection: Option<server::Rejection>,
    asked: Vec<server::Ask>,
    received: Vec<server::Event>,
    events: Vec<Event>,
    closed: (Option<Reason>, Option<server::Reason>),
}

fn config(url: &str) -> Config {
    Config {
        url: Url::parse(url).unwrap(),
        flash_version: "FMLE/3.0 (compatible; test)".to_owned(),
        capabilities: Capabilities::ours(),
        read_timeout: Duration::from_secs(10),
        proof: String::new(),
        seed: [7; 8],
    }
}

impl Pair {
    fn new(url: &str, goal: Goal) -> Pair {
        let now = *START;
        let server = server::Config {
            read_timeout: Duration::from_secs(10),
        };
        Pair {
            now,
            client: Client::new(now, config(url), goal),
            server: server::Connection::new(now, server),
            rejection: None,
            asked: Vec::new(),
            received: Vec::new(),
            events: Vec::new(),
            closed: (None, None),
        }
    }

    /// Lets both talk until both wait.
    fn run(&mut self) {
        loop {
            let (mut upstream, mut downstream) = (BytesMut::new(), BytesMut::new());
            loop {
                match self.client.poll() {
                    Output::Send(bytes) => upstream.extend_from_slice(&bytes),
                    Output::Event(event) => self.events.push(event),
                    Output::Close(reason) => {
                        self.closed.0 = Some(reason);
                        break;
                    }
                    Output::WaitUntil(_) => break,
                }
            }
            self.server.handle_input(self.now, &mut upstream);
            loop {
                match self.server.poll() {
                    server::Output::Send(bytes) => downstream.extend_from_slice(&bytes),
                    server::Output::Event(event) => self.answer(event),
                    server::Output::Close(reason) => {
                        self.closed.1 = Some(reason);
                        break;
                    }
                    server::Output::WaitUntil(_) => break,
                }
            }
            if downstream.is_empty() {
                return;
            }
            self.client.handle_input(self.now, &mut downstream);
        }
    }

    fn answer(&mut self, event: server::Event) {
        match (event, &self.rejection) {
            (server::Event::Publish(ask) | server::Event::Play(ask), Some(rejection)) => {
                self.asked.push(ask);
                self.server.reject(rejection);
            }
            (server::Event::Publish(ask), None) => {
                self.asked.push(ask);
                self.server.accept_publish();
            }
            (server::Event::Play(ask), None) => {
                self.asked.push(ask);
                self.server.accept_play();
            }
            (event, _) => self.received.push(event),
        }
    }
}

#[test]
fn a_stream_is_published() {
    let mut pair = Pair::new("rtmp://h/app/key?user=u&pass=p", Goal::Publish);
    pair.run();
    assert!(matches!(pair.events[..], [Event::Publishing]));
    assert_eq!(pair.asked[0].path, "app/key");
    assert_eq!(pair.asked[0].query, "user=u&pass=p");
    assert_eq!(pair.asked[0].capabilities, Capabilities::ours());
    assert_eq!(pair.client.server(), &Capabilities::ours());

    let metadata = amf0::write(&["onMetaData".into(), Value::Ecma(Vec::new())]);
    pair.client.send(Kind::Data, 0, metadata.into());
    pair.client.send(Kind::Video, 0xff_ffff, Bytes::from(vec![1; 200_000]));
    pair.run();
    assert!(
        matches!(&pair.received[..], [server::Event::Data { name, .. }, server::Event::Media(video)]
        if name == "onMetaData" && video.timestamp == 0xff_ffff && video.payload == vec![1; 200_000])
    );

    pair.client.close();
    pair.run();
    assert_eq!(pair.closed, (Some(Reason::Asked), None));
    assert!(matches!(pair.received.last(), Some(server::Event::Ended)));
}

#[test]
fn a_stream_is_played_and_ends() {
    let mut pair = Pair::new("rtmp://h/app", Goal::Play);
    pair.run();
    assert_eq!(pair.asked[0].path, "app");
    assert!(matches!(pair.events[0], Event::Playing));
    let mut frames = Writer::new(CHUNK_SIZE);
    let mut frame = BytesMut::from(&frames.write(Kind::Audio, 20, 1, Bytes::from_static(b"x")).unwrap()[..]);
    pair.client.handle_input(pair.now, &mut frame);
    pair.run();
    assert!(matches!(pair.events.last(), Some(Event::Media(message)) if message.timestamp == 20));
    pair.server.end_play("gone");
    pair.run();
    assert_eq!(pair.closed.0, Some(Reason::Ended("gone".to_owned())));
}

#[test]
fn the_words_of_an_end_are_kept() {
    for code in [
        "NetStream.Play.Stop",
        "NetStream.Play.Complete",
        "NetStream.Play.UnpublishNotify",
    ] {
        let (_, reason) = feed(
            Client::new(*START, config("rtmp://h/app/key"), Goal::Play),
            &[
                Command::result(1.0, Value::Null, Value::Null),
                Command::result(4.0, Value::Null, 1.0.into()),
                Command::status("onStatus", "status", "NetStream.Play.Start", ""),
                Command::status("onStatus", "status", code, "gone\nfor good"),
            ],
        );
        assert_eq!(reason, Some(Reason::Ended("gonefor good".to_owned())));
    }
}

#[test]
fn a_refusal_has_the_words_of_the_server() {
    for (goal, rejection) in [
        (Goal::Publish, server::Rejection::InUse("somebody is there".to_owned())),
        (Goal::Play, server::Rejection::NotFound("somebody is there".to_owned())),
    ] {
        let mut pair = Pair::new("rtmp://h/app/key", goal);
        pair.rejection = Some(rejection);
        pair.run();
        assert_eq!(pair.closed.0, Some(Reason::Refused("somebody is there".to_owned())));
        assert!(pair.events.is_empty());
    }
}

/// Does the handshake with a client and feeds it these commands.
fn feed(mut client: Client, commands: &[Command]) -> (Vec<Event>, Option<Reason>) {
    let now = *START;
    let mut handshake = Handshake::server();
    let mut writer = Writer::default();
    let mut bytes = BytesMut::new();
    let (mut events, mut fed) = (Vec::new(), false);
    loop {
        match client.poll() {
            Output::Send(sent) => {
                let mut sent = BytesMut::from(&sent[..]);
                while let Ok(Some(answer)) = handshake.handle(&mut sent) {
                    bytes.extend_from_slice(&answer);
                }
            }
            Output::Event(event) => events.push(event),
            Output::Close(reason) => return (events, Some(reason)),
            Output::WaitUntil(_) if fed => return (events, None),
            Output::WaitUntil(_) => {
                if handshake.is_done() {
                    fed = true;
                    for command in commands {
                        bytes.extend(writer.write(Kind::Command, 0, 0, command.to_bytes()).unwrap());
                    }
                }
                client.handle_input(now, &mut bytes);
            }
        }
    }
}

fn error(transaction: f64, description: &str) -> Command {
    Command {
        name: "_error".to_owned(),
        transaction,
        arguments: vec![Value::Null, object([("description", description.into())])],
    }
}

fn publisher(url: &str, proof: &str) -> Client {
    let config = Config {
        proof: proof.to_owned(),
        ..config(url)
    };
    Client::new(*START, config, Goal::Publish)
}

#[test]
fn adobes_challenge_is_answered_in_two_more_connections() {
    let url = "rtmp://user:secret@h/app/key";
    let first = error(
        1.0,
        "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ",
    );
    let (_, reason) = feed(publisher(url, ""), std::slice::from_ref(&first));
    let proof = "?authmod=adobe&user=user";
    assert_eq!(reason, Some(Reason::Challenged(proof.to_owned())));

    let text =
        "[ AccessManager.Reject ] : [ authmod=adobe ] : ?reason=needauth&user=user&salt=sa&challenge=ch&opaque=op";
    let (_, reason) = feed(publisher(url, proof), &[error(1.0, text)]);
    let Some(Reason::Challenged(proof)) = reason else {
        panic!("{reason:?}");
    };
    // base64(md5(base64(md5("user" "sa" "secret")) "op" "0707070707070707")), worked out with another program.
    let expected = "?authmod=adobe&user=user&challenge=0707070707070707&response=6ncwtGyj6w+m1Ui92GL1CQ==&opaque=op";
    assert_eq!(proof, expected);

    for words in [text, "[ authmod=adobe ] : ?reason=authfailed&opaque=op"] {
        let (_, reason) = feed(publisher(url, &proof), &[error(1.0, words)]);
        assert_eq!(reason, Some(Reason::Refused(words.to_owned())));
    }
    let (_, reason) = feed(publisher("rtmp://h/app/key", ""), &[first]);
    assert!(matches!(reason, Some(Reason::Refused(_))));
}

#[test]
fn servers_that_do_not_know_some_calls_are_published_to() {
    let result = |transaction, value: Value| Command::result(transaction, Value::Null, value);
    let (events, reason) = feed(
        publisher("rtmp://h/app/key", ""),
        &[
            result(1.0, Value::Null),
            error(2.0, "what is releaseStream?"),
            error(3.0, "what is FCPublish?"),
            result(4.0, 1.0.into()),
            Command::status("onStatus", "status", "NetStream.Publish.Start", ""),
        ],
    );
    assert_eq!(reason, None);
    assert!(matches!(events[..], [Event::Publishing]));
}

#[test]
fn nonsense_for_a_stream_is_malformed() {
    for value in [
        Value::Null,
        0.0.into(),
        0.5.into(),
        (-1.0).into(),
        1e9.into(),
        f64::NAN.into(),
    ] {
        let results = [
            Command::result(1.0, Value::Null, Value::Null),
            Command::result(4.0, Value::Null, value),
        ];
        let (_, reason) = feed(publisher("rtmp://h/app/key", ""), &results);
        assert_eq!(reason, Some(Reason::Malformed(Error::Command)));
    }
}

#[test]
fn a_silent_server_is_given_up() {
    let now = *START;
    let mut client = Client::new(now, config("rtmp://h/app/key"), Goal::Play);
    while !matches!(client.poll(), Output::WaitUntil(until) if until == now + START_TIMEOUT) {}
    client.handle_timeout(now + START_TIMEOUT);
    assert!(matches!(client.poll(), Output::Close(Reason::Timeout)));

    let mut pair = Pair::new("rtmp://h/app/key", Goal::Play);
    pair.run();
    pair.client.handle_timeout(pair.now + Duration::from_secs(10));
    pair.run();
    assert_eq!(pair.closed.0, Some(Reason::NoMedia));
}

#[test]
fn nothing_is_sent_before_the_server_agreed() {
    let mut client = publisher("rtmp://h/app/key", "");
    while !matches!(client.poll(), Output::WaitUntil(_)) {}
    client.send(Kind::Video, 0, Bytes::from_static(b"x"));
    assert!(matches!(client.poll(), Output::WaitUntil(_)));
}

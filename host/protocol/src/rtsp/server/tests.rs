//! The machine against the client half and against single requests, on a clock that moves when the test says so.

use std::net::Ipv4Addr;

use wasmtx_media::Kind;

use super::*;
use crate::rtp::Format;
use crate::rtsp::auth::{Algorithm, Login, Offers, Scheme, Secret};
use crate::rtsp::client::{self, Client, Goal, Way};
use crate::rtsp::{Method, sdp};

pub(super) fn server_config() -> Config {
    Config {
        remote: Ipv4Addr::LOCALHOST.into(),
        seed: [7; 32],
        server: "wasmtx".to_owned(),
        auth: Offers {
            realm: "wasmtx".to_owned(),
            schemes: vec![
                Scheme::Digest(Algorithm::Sha256),
                Scheme::Digest(Algorithm::Md5),
                Scheme::Basic,
            ],
        },
        session_timeout: Duration::from_secs(60),
        read_timeout: Duration::from_secs(10),
    }
}

fn video() -> Format {
    Format {
        kind: Kind::Video,
        payload_type: 96,
        encoding: "H264".to_owned(),
        clock_rate: 90_000,
        channels: 1,
        fmtp: "packetization-mode=1".to_owned(),
    }
}

fn audio() -> Format {
    Format {
        kind: Kind::Audio,
        payload_type: 0,
        encoding: String::new(),
        clock_rate: 8_000,
        channels: 1,
        fmtp: String::new(),
    }
}

/// A server half that is fed text and answers into lists.
struct Peer {
    now: Instant,
    machine: Connection,
    sequence: u32,
}

/// What came out of a machine until it waited.
#[derive(Debug, Default)]
struct Drained {
    sent: Vec<Response>,
    events: Vec<Event>,
    closed: Option<Reason>,
}

impl Drained {
    fn status(&self) -> u16 {
        self.sent.last().expect("a response").status.0
    }

    fn header(&self, key: &str) -> &str {
        self.sent
            .last()
            .expect("a response")
            .headers
            .get(key)
            .expect("the header")
    }
}

/// The one clock reading of these tests; from here on time is added to it.
#[expect(clippy::disallowed_methods, reason = "an instant can be had no other way")]
pub(super) fn start() -> Instant {
    Instant::now()
}

impl Peer {
    fn new() -> Peer {
        let now = start();
        Peer {
            now,
            machine: Connection::new(now, server_config()),
            sequence: 0,
        }
    }

    fn drain(&mut self) -> Drained {
        let mut drained = Drained::default();
        loop {
            match self.machine.poll() {
                Output::Send(bytes) => {
                    let mut bytes = BytesMut::from(bytes.as_ref());
                    let Ok(Some(Item::Response(response))) = Decoder::new().decode(&mut bytes) else {
                        panic!("not a response")
                    };
                    drained.sent.push(response);
                }
                Output::Event(event) => drained.events.push(event),
                Output::Close(reason) => {
                    drained.closed = Some(reason);
                    return drained;
                }
                Output::WaitUntil(at) => {
                    assert!(at > self.now, "the machine asks to be woken in the past");
                    return drained;
                }
            }
        }
    }

    fn feed(&mut self, bytes: &[u8]) -> Drained {
        self.machine.handle_input(self.now, &mut BytesMut::from(bytes));
        self.drain()
    }

    /// A request with a rising CSeq and these headers.
    fn request(&mut self, line: &str, headers: &str, body: &str) -> Drained {
        self.sequence += 1;
        let length = if body.is_empty() {
            String::new()
        } else {
            format!("Content-Length: {}\r\n", body.len())
        };
        self.feed(
            format!(
                "{line} RTSP/1.0\r\nCSeq: {}\r\n{headers}{length}\r\n{body}",
                self.sequence
            )
            .as_bytes(),
        )
    }

    fn wait(&mut self, duration: Duration) -> Drained {
        self.now += duration;
        self.machine.handle_timeout(self.now);
        self.drain()
    }

    /// Answers the open question and drains.
    fn answer(&mut self, answer: impl FnOnce(&mut Connection)) -> Drained {
        answer(&mut self.machine);
        self.drain()
    }

    fn set_up_reader(&mut self, transport: &str, choice: Choice) {
        let asked = self.request(
            "SETUP rtsp://h/cam/trackID=0",
            &format!("Transport: {transport}\r\n"),
            "",
        );
        assert!(matches!(asked.events[..], [Event::Setup(..)]), "{asked:?}");
        assert_eq!(self.answer(|machine| machine.accept_setup(choice, None)).status(), 200);
    }

    fn play(&mut self) {
        let asked = self.request("PLAY rtsp://h/cam/", "", "");
        assert!(matches!(asked.events[..], [Event::Play { .. }]), "{asked:?}");
        assert_eq!(self.answer(|machine| machine.accept_play(&[], None)).status(), 200);
    }

    fn announce(&mut self) {
        let description = sdp::Session::describe("", [video(), audio()]).to_string();
        let asked = self.request(
            "ANNOUNCE rtsp://h/live/a?token=x",
            "Content-Type: application/sdp\r\n",
            &description,
        );
        assert!(matches!(asked.events[..], [Event::Announce(..)]), "{asked:?}");
        assert_eq!(self.answer(Connection::accept_announce).status(), 200);
    }

    fn record(&mut self, choice: Choice) {
        self.announce();
        let transport = match choice {
            Choice::Tcp => "RTP/AVP/TCP;unicast;interleaved=0-1;mode=record",
            _ => "RTP/AVP/UDP;unicast;client_port=5000-5001;mode=record",
        };
        self.request(
            "SETUP rtsp://h/live/a?token=x/trackID=0",
            &format!("Transport: {transport}\r\n"),
            "",
        );
        assert_eq!(self.answer(|machine| machine.accept_setup(choice, None)).status(), 200);
        self.request("RECORD rtsp://h/live/a?token=x", "", "");
        assert_eq!(self.answer(Connection::accept_record).status(), 200);
    }
}

const TCP: &str = "RTP/AVP/TCP;unicast;interleaved=0-1";
const UDP: &str = "RTP/AVP;unicast;client_port=5000-5001";
const UDP_CHOICE: Choice = Choice::Udp {
    server_rtp: 8000,
    server_rtcp: 8001,
};

/// Client half against server half. The server's questions are answered by `accept`, one by one.
struct Pair {
    now: Instant,
    client: Client,
    server: Connection,
    client_events: Vec<client::Event>,
    server_events: Vec<Event>,
    closed: (Option<client::Reason>, Option<Reason>),
}

impl Pair {
    fn new(goal: Goal, login: Option<Login>) -> Pair {
        let now = start();
        let config = client::Config {
            url: "rtsp://127.0.0.1:8554/live/cam%201?token=a/b".to_owned(),
            login,
            seed: [1; 32],
            user_agent: "test".to_owned(),
        };
        Pair {
            now,
            client: Client::new(now, config, goal),
            server: Connection::new(now, server_config()),
            client_events: Vec::new(),
            server_events: Vec::new(),
            closed: (None, None),
        }
    }

    /// Lets both talk until both wait.
    fn run(&mut self, mut accept: impl FnMut(&Event, &mut Connection)) {
        loop {
            let mut idle = true;
            match self.client.poll() {
                client::Output::Send(bytes) => {
                    idle = false;
                    self.server.handle_input(self.now, &mut BytesMut::from(bytes.as_ref()));
                }
                client::Output::Event(client::Event::Described(description)) => {
                    idle = false;
                    let wishes: Vec<_> = (0..description.medias.len()).map(|media| (media, Way::Tcp)).collect();
                    self.client_events.push(client::Event::Described(description));
                    self.client.set_up(wishes);
                }
                client::Output::Event(event) => {
                    idle = false;
                    self.client_events.push(event);
                }
                client::Output::Close(reason) => self.closed.0 = Some(reason),
                client::Output::WaitUntil(_) => {}
            }
            match self.server.poll() {
                Output::Send(bytes) => {
                    idle = false;
                    self.client.handle_input(self.now, &mut BytesMut::from(bytes.as_ref()));
                }
                Output::Event(event) => {
                    idle = false;
                    accept(&event, &mut self.server);
                    self.server_events.push(event);
                }
                Output::Close(reason) => self.closed.1 = Some(reason),
                Output::WaitUntil(_) => {}
            }
            if idle {
                return;
            }
        }
    }
}

/// A driver that lets in whoever knows the password.
fn gate(event: &Event, server: &mut Connection) {
    match event {
        Event::Describe(ask) | Event::Announce(ask, _) => {
            assert_eq!((ask.path.as_str(), ask.query.as_str()), ("live/cam 1", "token=a/b"));
            match &ask.credentials {
                None => server.challenge(),
                Some(credentials) if !credentials.matches("joe", "secret") => server.reject(Status::FORBIDDEN, &[]),
                Some(_) if matches!(event, Event::Announce(..)) => server.accept_announce(),
                Some(_) => server.accept_describe(&sdp::Session::describe("cam", [video(), audio()])),
            }
        }
        Event::Setup(ask, setup) => {
            assert_eq!((ask.path.as_str(), ask.query.as_str()), ("live/cam 1", "token=a/b"));
            let choice = match setup.offers[0] {
                Offer::Tcp => Choice::Tcp,
                Offer::Udp { .. } => UDP_CHOICE,
                Offer::Multicast => panic!("nobody offered that"),
            };
            server.accept_setup(choice, Some(0xdead_beef));
        }
        Event::Play { .. } => {
            server.accept_play(
                &[PlayInfo {
                    media: 1,
                    sequence: 7,
                    timestamp: Some(9),
                }],
                None,
            );
        }
        Event::Record => server.accept_record(),
        Event::Paused | Event::Ended | Event::Interleaved { .. } => {}
    }
}

fn login(password: &str) -> Option<Login> {
    Some(Login::new("joe", Secret::new(password)))
}

#[test]
fn a_reader_that_knows_the_password_plays_two_medias() {
    let mut pair = Pair::new(Goal::Read, login("secret"));
    pair.run(gate);
    assert_eq!(pair.server.state(), State::Playing);
    assert_eq!(pair.server.lane(1), Some(Lane::Tcp { rtp: 2, rtcp: 3 }));
    assert_eq!(pair.client.lane(1), Some(client::Lane::Tcp { rtp: 2, rtcp: 3 }));
    let [client::Event::Described(description), client::Event::Playing(info)] = &pair.client_events[..] else {
        panic!("{:?}", pair.client_events)
    };
    assert_eq!(description.medias[0].formats, [video()]);
    assert_eq!(description.medias[1].formats, [audio()]);
    assert_eq!((info[0].sequence, info[0].timestamp), (Some(7), Some(9)));
    assert!(info[0].url.ends_with("trackID=1"), "{info:?}");

    pair.client.teardown();
    pair.run(gate);
    assert_eq!(pair.closed.0, Some(client::Reason::TornDown));
    assert!(matches!(pair.server_events.last(), Some(Event::Ended)));
    assert_eq!(pair.server.session_id(), None);
}

#[test]
fn a_publisher_sends_packets_inside_the_connection_and_over_udp() {
    for (way, lane) in [
        (Way::Tcp, Lane::Tcp { rtp: 0, rtcp: 1 }),
        (Way::Udp { rtp: 5000, rtcp: 5001 }, Lane::Udp { rtp: 5000, rtcp: 5001 }),
    ] {
        let goal = Goal::Publish(sdp::Session::describe("", [video()]), vec![way]);
        let mut pair = Pair::new(goal, login("secret"));
        pair.run(gate);
        assert_eq!(pair.server.state(), State::Recording);
        assert_eq!(pair.server.lane(0), Some(lane));
        assert!(matches!(pair.client_events[..], [client::Event::Recording]));
        pair.server
            .handle_input(pair.now, &mut BytesMut::from(&b"$\x00\x00\x02ab$\x01\x00\x01c"[..]));
        let before = pair.server_events.len();
        pair.run(gate);
        let packets: Vec<_> = pair.server_events[before..]
            .iter()
            .map(|event| format!("{event:?}"))
            .collect();
        match way {
            Way::Tcp => assert_eq!(
                packets,
                [
                    r#"Interleaved { media: 0, rtcp: false, data: b"ab" }"#,
                    r#"Interleaved { media: 0, rtcp: true, data: b"c" }"#
                ]
            ),
            Way::Udp { .. } => assert_eq!((packets.len(), pair.server.dropped_packets()), (0, 2)),
        }
    }
}

#[test]
fn a_wrong_password_is_refused_and_no_password_is_asked_for() {
    let mut wrong = Pair::new(Goal::Read, login("guess"));
    wrong.run(gate);
    assert_eq!(wrong.closed.0, Some(client::Reason::Refused(Status::FORBIDDEN)));

    let mut none = Pair::new(Goal::Read, None);
    none.run(gate);
    assert_eq!(none.closed.0, Some(client::Reason::Refused(Status::UNAUTHORIZED)));
    assert_eq!(none.server_events.len(), 1);
    assert_eq!(none.closed.1, None, "a challenge does not close the connection");
}

#[test]
fn the_challenge_names_sha256_before_md5() {
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    let drained = peer.answer(Connection::challenge);
    let offered: Vec<_> = drained.sent[0]
        .headers
        .get_all("www-authenticate")
        .map(|v| v.split(' ').next())
        .collect();
    assert_eq!(drained.status(), 401);
    assert_eq!(offered, [Some("Digest"), Some("Digest"), Some("Basic")]);
    assert!(drained.header("www-authenticate").contains("SHA-256"));
}

#[test]
fn a_nonce_older_than_a_minute_is_asked_for_again_as_stale() {
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    let drained = peer.answer(Connection::challenge);
    let mut joe = Login::new("joe", Secret::new("secret"));
    joe.take(auth::Challenge::parse_list(drained.header("www-authenticate")).unwrap());
    let mut signed = |count: &str| {
        let value = joe.sign(&Method::Describe, "rtsp://h/cam", count).unwrap();
        format!("Authorization: {value}\r\n")
    };

    let first = signed("a");
    let fresh = peer.request("DESCRIBE rtsp://h/cam", &first, "");
    assert!(
        matches!(&fresh.events[..], [Event::Describe(Ask { credentials: Some(c), .. })] if c.matches("joe", "secret"))
    );
    peer.answer(|machine| machine.reject(Status::NOT_FOUND, &[]));

    let replayed = peer.request("DESCRIBE rtsp://h/cam", &first, "");
    assert!(
        replayed.events.is_empty() && replayed.header("www-authenticate").contains("stale=true"),
        "{replayed:?}"
    );

    peer.wait(Duration::from_secs(59));
    peer.now += Duration::from_secs(2);
    let late = peer.request("DESCRIBE rtsp://h/cam", &signed("b"), "");
    assert!(
        late.events.is_empty() && late.header("www-authenticate").contains("stale=true"),
        "{late:?}"
    );
}

#[test]
fn options_and_signs_of_life_are_answered_without_a_question() {
    let mut peer = Peer::new();
    for line in [
        "OPTIONS *",
        "OPTIONS rtsp://h/cam",
        "GET_PARAMETER rtsp://h/cam",
        "SET_PARAMETER rtsp://h/cam",
    ] {
        let drained = peer.request(line, "", "");
        assert_eq!((drained.status(), drained.events.len()), (200, 0), "{line}");
    }
    assert_eq!(
        peer.request("SET_PARAMETER rtsp://h/cam", "", "volume: 1\r\n").status(),
        451
    );
    assert!(peer.request("OPTIONS *", "", "").header("public").contains("ANNOUNCE"));
}

#[test]
fn wrong_states_sessions_and_methods_have_their_own_codes() {
    let mut peer = Peer::new();
    for (line, headers, status) in [
        ("PLAY rtsp://h/cam", "", 455),
        ("RECORD rtsp://h/cam", "", 455),
        ("PAUSE rtsp://h/cam", "", 455),
        ("TEARDOWN rtsp://h/cam", "", 454),
        ("PLAY rtsp://h/cam", "Session: 1\r\n", 454),
        ("SETUP rtsp://h/cam", "", 461),
        ("SETUP rtsp://h/cam", "Transport: RAW/RAW/UDP\r\n", 461),
        (
            "SETUP rtsp://h/cam",
            "Transport: RTP/SAVP;client_port=5000-5001\r\n",
            461,
        ),
        ("SETUP rtsp://h/cam", "Transport: RTP/AVP;client_port=22-23\r\n", 461),
        ("SETUP rtsp://h/cam", "Transport: RTP/AVP/TCP;mode=record\r\n", 455),
        ("SETUP rtsp://h/cam/trackID=99", "Transport: RTP/AVP/TCP\r\n", 404),
        ("ANNOUNCE rtsp://h/cam", "Content-Type: text/plain\r\n", 415),
        ("REDIRECT rtsp://h/cam", "", 405),
        ("JUMP rtsp://h/cam", "", 501),
        (
            "DESCRIBE rtsp://h/cam",
            "Require: www.onvif.org/ver20/backchannel\r\n",
            551,
        ),
    ] {
        let drained = peer.request(line, headers, "");
        assert_eq!(
            (drained.status(), drained.events.len()),
            (status, 0),
            "{line} {headers}"
        );
        assert_eq!(drained.closed, None);
    }
}

#[test]
fn malformed_requests_are_answered_and_the_connection_is_closed() {
    for (bytes, status) in [
        (&b"OPTIONS *\r\n\r\n"[..], 400),
        (b"OPTIONS * RTSP/2.0\r\nCSeq: 1\r\n\r\n", 505),
        (b"GET / HTTP/1.1\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00", 400),
        (b"OPTIONS * RTSP/1.0\r\n\r\n", 400),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: -1\r\n\r\n", 400),
        (
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n",
            400,
        ),
        (
            b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n",
            413,
        ),
        (b"DESCRIBE http://h/cam RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (b"DESCRIBE rtsp://h/%zz RTSP/1.0\r\nCSeq: 1\r\n\r\n", 400),
        (
            b"SETUP rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP;client_port=x\r\n\r\n",
            400,
        ),
        (
            b"ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\n\r\n",
            400,
        ),
    ] {
        let mut peer = Peer::new();
        let drained = peer.feed(bytes);
        assert_eq!(drained.status(), status, "{}", bytes.escape_ascii());
        assert!(
            matches!(drained.closed, Some(Reason::Malformed(_))),
            "{}",
            bytes.escape_ascii()
        );
    }
}

#[test]
fn silence_before_the_first_request_closes_after_five_seconds() {
    let mut peer = Peer::new();
    peer.feed(b"OPTIONS * RTSP/1.0\r\n");
    assert_eq!(peer.wait(FIRST_REQUEST - Duration::from_millis(1)).closed, None);
    assert_eq!(peer.wait(Duration::from_millis(1)).closed, Some(Reason::FirstRequest));
}

#[test]
fn a_request_that_drips_is_cut_off() {
    let mut peer = Peer::new();
    peer.request("OPTIONS *", "", "");
    for byte in &b"OPTIONS *"[..] {
        assert_eq!(peer.feed(&[*byte]).closed, None);
        assert_eq!(peer.wait(Duration::from_secs(1)).closed, None);
    }
    assert_eq!(peer.wait(Duration::from_secs(1)).closed, Some(Reason::SlowRequest));
}

#[test]
fn patience_is_not_spent_while_the_driver_decides() {
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    assert_eq!(peer.wait(Duration::from_secs(300)).closed, None);
    peer.now += Duration::from_secs(300);
    peer.machine.reject(Status::NOT_FOUND, &[]);
    peer.machine.handle_timeout(peer.now);
    assert_eq!(peer.drain().status(), 404);
    assert_eq!(peer.wait(Duration::from_secs(59)).closed, None);
    assert_eq!(peer.wait(Duration::from_secs(1)).closed, Some(Reason::Idle));
}

#[test]
fn udp_readers_stay_alive_by_rtcp_or_requests_and_tcp_readers_without() {
    let mut udp = Peer::new();
    udp.set_up_reader(UDP, UDP_CHOICE);
    udp.play();
    for _ in 0..3 {
        assert_eq!(udp.wait(Duration::from_secs(50)).closed, None);
        udp.machine.handle_udp_activity(udp.now, false);
        assert_eq!(udp.wait(Duration::from_secs(50)).closed, None);
        udp.request("GET_PARAMETER rtsp://h/cam/", "", "");
    }
    assert_eq!(udp.wait(Duration::from_secs(60)).closed, Some(Reason::Idle));

    let mut tcp = Peer::new();
    tcp.set_up_reader(TCP, Choice::Tcp);
    tcp.play();
    assert_eq!(tcp.wait(Duration::from_secs(3600)).closed, None);
}

#[test]
fn a_publisher_that_falls_silent_is_closed_after_the_read_timeout() {
    let mut tcp = Peer::new();
    tcp.record(Choice::Tcp);
    assert_eq!(tcp.wait(Duration::from_secs(9)).closed, None);
    assert_eq!(tcp.feed(b"$\x00\x00\x01a").events.len(), 1);
    assert_eq!(tcp.wait(Duration::from_secs(9)).closed, None);
    tcp.request("GET_PARAMETER rtsp://h/live/a", "", "");
    assert_eq!(
        tcp.wait(Duration::from_secs(1)).closed,
        Some(Reason::NoMedia),
        "a sign of life is no media"
    );

    let mut udp = Peer::new();
    udp.record(UDP_CHOICE);
    for _ in 0..20 {
        assert_eq!(udp.wait(Duration::from_secs(9)).closed, None);
        udp.machine.handle_udp_activity(udp.now, true);
    }
    udp.machine.handle_udp_activity(udp.now, false);
    assert_eq!(udp.wait(Duration::from_secs(10)).closed, Some(Reason::NoMedia));
}

#[test]
fn packets_before_record_are_dropped_and_those_behind_it_wait_for_the_answer() {
    let mut peer = Peer::new();
    peer.announce();
    peer.request(
        "SETUP rtsp://h/live/a/trackID=1?token=x",
        &format!("Transport: {TCP};mode=record\r\n"),
        "",
    );
    peer.answer(|machine| machine.accept_setup(Choice::Tcp, None));
    assert!(peer.feed(b"$\x00\x00\x01a").events.is_empty());
    assert_eq!(peer.machine.dropped_packets(), 1);

    let asked = peer.feed(b"RECORD rtsp://h/live/a RTSP/1.0\r\nCSeq: 9\r\n\r\n$\x00\x00\x01b");
    assert!(matches!(asked.events[..], [Event::Record]));
    let recorded = peer.answer(Connection::accept_record);
    assert!(matches!(&recorded.events[..], [Event::Interleaved { media: 1, rtcp: false, data }] if data == "b"));
    assert_eq!(peer.machine.dropped_packets(), 1);
}

#[test]
fn a_thousand_packets_on_unknown_channels_are_forgiven() {
    let mut peer = Peer::new();
    peer.record(Choice::Tcp);
    for _ in 0..UNKNOWN_CHANNEL_PACKETS {
        assert_eq!(peer.feed(b"$\x09\x00\x01a").closed, None);
    }
    assert_eq!(peer.feed(b"$\x09\x00\x01a").closed, Some(Reason::UnknownChannels));
}

#[test]
fn sixteen_requests_may_wait_for_an_answer() {
    let options = b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n".repeat(PIPELINE);
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    assert!(peer.feed(&options).sent.is_empty());
    let drained = peer.answer(|machine| machine.reject(Status::NOT_FOUND, &[]));
    assert_eq!((drained.sent.len(), drained.closed), (17, None));

    peer.request("DESCRIBE rtsp://h/cam", "", "");
    peer.feed(&options);
    assert_eq!(peer.request("OPTIONS *", "", "").closed, Some(Reason::Pipeline));
}

#[test]
fn a_reader_pauses_plays_again_and_cannot_set_up_more_meanwhile() {
    let mut peer = Peer::new();
    peer.set_up_reader(TCP, Choice::Tcp);
    peer.play();
    let setup = peer.request("SETUP rtsp://h/cam/trackID=1", &format!("Transport: {TCP}\r\n"), "");
    assert_eq!(setup.status(), 455);
    let rtcp = peer.feed(b"$\x00\x00\x01a$\x01\x00\x01b");
    assert!(
        matches!(
            rtcp.events[..],
            [Event::Interleaved {
                media: 0,
                rtcp: true,
                ..
            }]
        ),
        "RTP from a reader is dropped"
    );
    let paused = peer.request("PAUSE rtsp://h/cam/", "", "");
    assert!(matches!(paused.events[..], [Event::Paused]) && paused.status() == 200);
    assert_eq!(peer.machine.state(), State::Ready);
    assert!(peer.request("PAUSE rtsp://h/cam/", "", "").events.is_empty());
    peer.play();
    assert_eq!(peer.request("PLAY rtsp://h/cam/", "", "").status(), 200);
}

#[test]
fn aggregate_rules_hold_for_sessions_of_several_medias() {
    let mut peer = Peer::new();
    peer.set_up_reader(TCP, Choice::Tcp);
    assert_eq!(
        peer.request("SETUP rtsp://h/other", &format!("Transport: {TCP}\r\n"), "")
            .status(),
        459
    );
    assert_eq!(
        peer.request("SETUP rtsp://h/cam/trackID=1", &format!("Transport: {UDP}\r\n"), "")
            .status(),
        461
    );
    assert_eq!(
        peer.request("SETUP rtsp://h/cam/trackID=0", &format!("Transport: {TCP}\r\n"), "")
            .status(),
        455
    );
    peer.request("SETUP rtsp://h/cam/trackID=1", &format!("Transport: {TCP}\r\n"), "");
    let second = peer.answer(|machine| machine.accept_setup(Choice::Tcp, Some(1)));
    assert_eq!(
        second.header("transport"),
        "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=00000001",
        "0-1 is taken"
    );
    assert_eq!(peer.request("PLAY rtsp://h/cam/trackID=1", "", "").status(), 460);
    assert_eq!(peer.request("PLAY rtsp://h/other/", "", "").status(), 404);
    peer.play();
}

#[test]
fn a_choice_that_was_not_offered_is_no_session() {
    let mut peer = Peer::new();
    peer.request("SETUP rtsp://h/cam/trackID=0", &format!("Transport: {UDP}\r\n"), "");
    assert_eq!(
        peer.answer(|machine| machine.accept_setup(Choice::Tcp, None)).status(),
        461
    );
    assert_eq!((peer.machine.state(), peer.machine.session_id()), (State::Init, None));
}

#[test]
fn all_offers_are_passed_on_in_their_order() {
    let mut peer = Peer::new();
    let asked = peer.request(
        "SETUP rtsp://h/cam/trackID=0",
        "Transport: RTP/AVP/UDP;multicast,RTP/AVP;client_port=5000-5001;destination=8.8.8.8,RTP/AVP/TCP\r\n",
        "",
    );
    let [Event::Setup(ask, setup)] = &asked.events[..] else {
        panic!("{asked:?}")
    };
    assert_eq!(ask.path, "cam");
    assert!(setup.first && !setup.publish);
    assert_eq!(
        setup.offers,
        [Offer::Multicast, Offer::Udp { rtp: 5000, rtcp: 5001 }, Offer::Tcp]
    );
    let group = "239.1.1.1".parse().unwrap();
    let answer = peer.answer(|machine| {
        machine.accept_setup(
            Choice::Multicast {
                group,
                rtp: 6000,
                rtcp: 6001,
                ttl: 16,
            },
            None,
        );
    });
    assert_eq!(
        answer.header("transport"),
        "RTP/AVP;multicast;destination=239.1.1.1;port=6000-6001;ttl=16"
    );
}

#[test]
fn session_ids_are_unlike_each_other_and_carry_the_timeout() {
    let mut peer = Peer::new();
    let mut ids = std::collections::HashSet::new();
    for _ in 0..3 {
        peer.set_up_reader(TCP, Choice::Tcp);
        let id = peer.machine.session_id().unwrap().to_owned();
        assert_eq!(id.len(), 32);
        let drained = peer.request("OPTIONS *", &format!("Session: {id};timeout=60\r\n"), "");
        assert_eq!(drained.header("session"), format!("{id};timeout=60"));
        let ended = peer.request("TEARDOWN rtsp://h/cam/", &format!("Session: {id}\r\n"), "");
        assert!(matches!(ended.events[..], [Event::Ended]));
        assert!(ids.insert(id));
    }
}

#[test]
fn a_redirect_and_a_refusal_carry_their_headers() {
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    let drained = peer.answer(|machine| machine.redirect("rtsp://elsewhere/cam\r\nX: y"));
    assert_eq!(
        (drained.status(), drained.header("location")),
        (302, "rtsp://elsewhere/camX: y")
    );
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    let drained = peer.answer(|machine| machine.reject(Status::SERVICE_UNAVAILABLE, &[("Retry-After", "5")]));
    assert_eq!((drained.status(), drained.header("retry-after")), (503, "5"));
}

#[test]
fn answers_that_nobody_asked_for_do_nothing() {
    let mut peer = Peer::new();
    peer.machine.accept_record();
    peer.machine.accept_setup(Choice::Tcp, None);
    peer.machine.challenge();
    let drained = peer.drain();
    assert!(drained.sent.is_empty() && drained.events.is_empty());
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    peer.machine.accept_play(&[], None);
    assert_eq!(peer.machine.state(), State::Init);
    assert_eq!(
        peer.answer(|machine| machine.accept_describe(&sdp::Session::default()))
            .status(),
        200
    );
}

#[test]
fn the_driver_closes_after_what_is_queued() {
    let mut peer = Peer::new();
    peer.request("DESCRIBE rtsp://h/cam", "", "");
    peer.machine.reject(Status::NOT_FOUND, &[]);
    peer.machine.close();
    let drained = peer.drain();
    assert_eq!((drained.status(), drained.closed), (404, Some(Reason::Asked)));
    assert!(!peer.machine.wants_input());
}

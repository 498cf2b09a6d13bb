//! F08: both session machines under any sequence of requests, answers, packets and time steps.

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use wasmtx_protocol::rtsp::auth::{Algorithm, Login, Offers, Scheme, Secret};
use wasmtx_protocol::rtsp::client::{self, Client, Goal, Way};
use wasmtx_protocol::rtsp::server::{Choice, Config, Connection, Event, Output, State};
use wasmtx_protocol::rtsp::{Decoder, Item, Status, sdp};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Polls of one drain: more means that the machine never comes to rest.
const MAX_POLLS: usize = 10_000;

const SDP: &str = "v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=control:trackID=0\r\n\
    m=audio 0 RTP/AVP 0\r\na=control:trackID=1\r\n";

/// What an opcode sends: with a `%` where the session's id goes.
const REQUESTS: &[&str] = &[
    "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n",
    "DESCRIBE rtsp://h/a RTSP/1.0\r\nCSeq: 2\r\n\r\n",
    "ANNOUNCE rtsp://h/a RTSP/1.0\r\nCSeq: 3\r\nContent-Type: application/sdp\r\nContent-Length: 120\r\n\r\n",
    "SETUP rtsp://h/a/trackID=0 RTSP/1.0\r\nCSeq: 4\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\n\r\n",
    "SETUP rtsp://h/a/trackID=1 RTSP/1.0\r\nCSeq: 5\r\nTransport: RTP/AVP/TCP;interleaved=0-1\r\nSession: %\r\n\r\n",
    "SETUP rtsp://h/a/trackID=0 RTSP/1.0\r\nCSeq: 6\r\nTransport: RTP/AVP;client_port=5000-5001\r\n\r\n",
    "SETUP rtsp://h/a/trackID=1 RTSP/1.0\r\nCSeq: 7\r\nTransport: RTP/AVP;multicast,RTP/AVP/TCP\r\n\r\n",
    "PLAY rtsp://h/a/ RTSP/1.0\r\nCSeq: 8\r\nSession: %\r\n\r\n",
    "RECORD rtsp://h/a RTSP/1.0\r\nCSeq: 9\r\n\r\n",
    "PAUSE rtsp://h/a RTSP/1.0\r\nCSeq: 10\r\n\r\n",
    "TEARDOWN rtsp://h/a RTSP/1.0\r\nCSeq: 11\r\n\r\n",
    "GET_PARAMETER rtsp://h/a RTSP/1.0\r\nCSeq: 12\r\nSession: %\r\n\r\n",
    "$\0\0\x01a",
    "$\x01\0\x01b",
    "$\x09\0\x01c",
];

/// A driver that knows what it was told, and checks that the machine never tells it anything else.
struct Driver {
    now: Instant,
    machine: Connection,
    /// The question that is open, as the driver sees it.
    open: Option<Question>,
    set_up: usize,
    flowing: Option<State>,
    ids: HashSet<String>,
    current: Option<String>,
    closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Describe,
    Announce,
    Setup,
    Play,
    Record,
}

/// A byte below the number of requests sends that request, others answer, wait, or feed the bytes that follow.
pub(crate) fn server(data: &[u8]) {
    let mut driver = Driver::new();
    let mut data = data;
    while data.has_remaining() && !driver.closed {
        let opcode = usize::from(data.get_u8());
        match opcode {
            0..15 => {
                let id = driver.machine.session_id().unwrap_or("x").to_owned();
                let mut bytes = REQUESTS[opcode].replace('%', &id);
                if opcode == 2 {
                    bytes = bytes.replace("120", &SDP.len().to_string());
                    bytes.push_str(SDP);
                }
                driver.feed(bytes.as_bytes());
            }
            15..32 => driver.answer(opcode),
            32..48 => driver.wait(Duration::from_secs(1) * u32::try_from(opcode - 31).unwrap_or(1)),
            48 => driver.machine.handle_udp_activity(driver.now, true),
            49 => driver.machine.handle_udp_activity(driver.now, false),
            50 => driver.machine.close(),
            _ => {
                let length = data.len().min(opcode - 51);
                driver.feed(&data[..length]);
                data.advance(length);
            }
        }
        driver.drain();
    }
    driver.finish();
}

impl Driver {
    fn new() -> Driver {
        let config = Config {
            remote: Ipv4Addr::LOCALHOST.into(),
            seed: [3; 32],
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
        };
        Driver {
            now: *START,
            machine: Connection::new(*START, config),
            open: None,
            set_up: 0,
            flowing: None,
            ids: HashSet::new(),
            current: None,
            closed: false,
        }
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.machine.handle_input(self.now, &mut BytesMut::from(bytes));
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.machine.handle_timeout(self.now);
    }

    fn answer(&mut self, opcode: usize) {
        let asked = self.open;
        match opcode {
            15 => self.machine.accept_describe(&sdp::Session::default()),
            16 => self.machine.accept_announce(),
            17 => self.machine.accept_setup(Choice::Tcp, None),
            18 => self.machine.accept_setup(
                Choice::Udp {
                    server_rtp: 8000,
                    server_rtcp: 8001,
                },
                Some(1),
            ),
            19 => self.machine.accept_play(&[], None),
            20 => self.machine.accept_record(),
            21 => self.machine.reject(Status::NOT_FOUND, &[]),
            22 => self.machine.challenge(),
            23 => self.machine.redirect("rtsp://elsewhere/"),
            // The right answer, so that random bytes come far.
            _ => match asked {
                Some(Question::Describe) => return self.answer(15),
                Some(Question::Announce) => return self.answer(16),
                Some(Question::Setup) => return self.answer(17 + opcode % 2),
                Some(Question::Play) => return self.answer(19),
                Some(Question::Record) => return self.answer(20),
                None => {}
            },
        }
        let answered = match opcode {
            15 => asked == Some(Question::Describe),
            16 => asked == Some(Question::Announce),
            17 | 18 => asked == Some(Question::Setup),
            19 => asked == Some(Question::Play),
            20 => asked == Some(Question::Record),
            21..=23 => asked.is_some(),
            _ => false,
        };
        if answered {
            self.open = None;
            self.flowing = match opcode {
                19 => Some(State::Playing),
                20 => Some(State::Recording),
                _ => self.flowing,
            };
        }
        self.set_up = self.machine.lanes().count();
        if self.current.as_deref() != self.machine.session_id() {
            self.current = self.machine.session_id().map(str::to_owned);
            if let Some(id) = &self.current {
                assert!(self.ids.insert(id.clone()), "a session id came twice");
            }
        }
    }

    fn ask(&mut self, question: Question) {
        assert_eq!(self.open, None, "two questions at once");
        self.open = Some(question);
    }

    fn drain(&mut self) {
        for _ in 0..MAX_POLLS {
            if self.closed {
                return;
            }
            match self.machine.poll() {
                Output::Send(bytes) => {
                    let mut bytes = BytesMut::from(bytes.as_ref());
                    assert!(matches!(Decoder::new().decode(&mut bytes), Ok(Some(Item::Response(_)))));
                    assert!(bytes.is_empty());
                }
                Output::Event(event) => self.note(&event),
                Output::Close(_) => {
                    self.closed = true;
                    assert!(!self.machine.wants_input());
                    return;
                }
                Output::WaitUntil(_) => {
                    assert_eq!(
                        self.machine.lanes().count(),
                        self.set_up,
                        "lanes change by answers and endings only"
                    );
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    fn note(&mut self, event: &Event) {
        match event {
            Event::Describe(_) => self.ask(Question::Describe),
            Event::Announce(..) => {
                assert_eq!(self.current, None, "announced within a session");
                self.ask(Question::Announce);
            }
            Event::Setup(_, setup) => {
                assert!(self.flowing.is_none() && !setup.offers.is_empty() && setup.media < sdp::MAX_MEDIAS);
                assert_eq!(setup.first, self.set_up == 0);
                self.ask(Question::Setup);
            }
            Event::Play { .. } => {
                assert!(self.set_up > 0 && self.flowing.is_none(), "PLAY before SETUP");
                self.ask(Question::Play);
            }
            Event::Record => {
                assert!(self.set_up > 0 && self.flowing.is_none(), "RECORD before SETUP");
                self.ask(Question::Record);
            }
            Event::Paused => assert!(self.flowing.take().is_some(), "paused while nothing flowed"),
            Event::Ended => {
                assert!(self.current.take().is_some(), "ended without a session");
                (self.set_up, self.flowing) = (0, None);
            }
            Event::Interleaved { media, rtcp, .. } => {
                assert!(self.flowing == Some(State::Recording) || (*rtcp && self.flowing == Some(State::Playing)));
                assert!(self.machine.lane(*media).is_some());
            }
        }
    }

    /// Whatever happened, a connection that is left alone comes to its end, unless it reads over TCP, which is silent.
    fn finish(mut self) {
        while self.open.take().is_some() {
            self.machine.reject(Status::SERVICE_UNAVAILABLE, &[]);
            self.drain();
        }
        // Once to tell the time of the last answer, once to let patience end.
        for _ in 0..2 {
            self.wait(Duration::from_secs(3600));
            self.drain();
        }
        assert!(
            self.closed || self.flowing == Some(State::Playing),
            "a connection that is left alone stays"
        );
    }
}

/// The client half fed with what a server might send.
pub(crate) fn client(data: &[u8]) {
    let Some((mode, mut data)) = data.split_first() else {
        return;
    };
    let config = client::Config {
        url: "rtsp://h/a".to_owned(),
        login: Some(Login::new("joe", Secret::new("secret"))),
        seed: [4; 32],
        user_agent: "fuzz".to_owned(),
    };
    let goal = if mode % 2 == 0 {
        Goal::Read
    } else {
        let way = if mode % 4 == 1 {
            Way::Tcp
        } else {
            Way::Udp { rtp: 5000, rtcp: 5001 }
        };
        Goal::Publish(sdp::Session::parse(SDP.as_bytes()).unwrap_or_default(), vec![way; 2])
    };
    let mut now = *START;
    let mut client = Client::new(now, config, goal);
    for _ in 0..MAX_POLLS {
        match client.poll() {
            client::Output::Send(bytes) => {
                let mut bytes = BytesMut::from(bytes.as_ref());
                assert!(matches!(
                    Decoder::new().decode(&mut bytes),
                    Ok(Some(Item::Request(_) | Item::Response(_)))
                ));
            }
            client::Output::Event(client::Event::Described(description)) => {
                client.set_up((0..description.medias.len()).map(|media| (media, Way::Tcp)));
            }
            client::Output::Event(client::Event::Interleaved { media, .. }) => assert!(client.lane(media).is_some()),
            client::Output::Event(_) => {}
            client::Output::Close(_) => return,
            client::Output::WaitUntil(_) if data.is_empty() => {
                now += Duration::from_secs(3600);
                client.handle_timeout(now);
                return;
            }
            client::Output::WaitUntil(_) => {
                let (piece, rest) = data.split_at(data.len().min(usize::from(*mode).max(1)));
                client.handle_input(now, &mut BytesMut::from(piece));
                data = rest;
            }
        }
    }
}

//! RTMP's session machines, driven by bytes: what a peer sends, what the driver answers, how much time passes.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use wasmtx_protocol::rtmp::amf0::{Value, object};
use wasmtx_protocol::rtmp::chunk::{Reader, Writer};
use wasmtx_protocol::rtmp::client::{self, Client, Goal, Url};
use wasmtx_protocol::rtmp::server::{Config, Connection, Event, Output, Rejection, State};
use wasmtx_protocol::rtmp::{Capabilities, Command, Kind, Message};

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// A machine that says more than this about one feeding does not come to rest.
const MAX_POLLS: usize = 20_000;

/// Calls that an opcode makes.
const CALLS: &[&str] = &[
    "connect",
    "releaseStream",
    "FCPublish",
    "createStream",
    "publish",
    "play",
    "pause",
    "FCUnpublish",
    "closeStream",
    "deleteStream",
    "_checkbw",
    "onStatus",
];

fn call(name: &str, argument: u8) -> Bytes {
    let (transaction, arguments) = match name {
        "connect" => (1.0, vec![object([("app", "live?user=u".into())])]),
        "pause" => (2.0, vec![Value::Null, Value::Boolean(argument.is_multiple_of(2))]),
        _ => (
            f64::from(argument),
            vec![Value::Null, format!("key{argument}").as_str().into()],
        ),
    };
    let command = Command {
        name: name.to_owned(),
        transaction,
        arguments,
    };
    command.to_bytes()
}

/// Reads what a machine sends; it must always be right.
#[derive(Default)]
struct Listener {
    reader: Reader,
    input: BytesMut,
}

impl Listener {
    fn hear(&mut self, bytes: &[u8]) -> Vec<Message> {
        self.input.extend_from_slice(bytes);
        let mut messages = Vec::new();
        while let Some(message) = self.reader.read(&mut self.input).expect("the machine's own chunks") {
            if message.kind == Kind::Command {
                Command::read(&message).expect("the machine's own command");
            }
            messages.push(message);
        }
        assert!(self.input.is_empty(), "half a message was sent");
        messages
    }
}

/// A driver that knows what it was told, and checks that the machine never tells it anything else.
struct Driver {
    now: Instant,
    machine: Connection,
    writer: Writer,
    listener: Listener,
    /// Whether a question is open, and whether it is about publishing.
    open: Option<bool>,
    state: State,
    asked: usize,
    closed: bool,
}

/// A byte below 12 makes a call, others send media, answer, wait, or feed the bytes that follow.
pub(crate) fn server(data: &[u8]) {
    let config = Config {
        read_timeout: Duration::from_secs(10),
    };
    let mut driver = Driver {
        now: *START,
        machine: Connection::greeted(*START, config),
        writer: Writer::default(),
        listener: Listener::default(),
        open: None,
        state: State::Idle,
        asked: 0,
        closed: false,
    };
    let mut data = data;
    while data.has_remaining() && !driver.closed {
        let opcode = data.get_u8();
        match opcode {
            0..12 => {
                let argument = data.try_get_u8().unwrap_or_default();
                driver.message(Kind::Command, call(CALLS[usize::from(opcode)], argument));
            }
            12 => driver.message(Kind::Audio, Bytes::from(vec![1; 200])),
            13 => driver.message(Kind::Video, Bytes::from_static(b"v")),
            14 => driver.message(Kind::UserControl, Bytes::from_static(b"\0\x06\0\0\0\x01")),
            15 => driver.message(Kind::WindowSize, Bytes::from_static(b"\0\0\0\x01")),
            16..24 => driver.answer(opcode),
            24..40 => driver.wait(Duration::from_secs(1) * u32::from(opcode - 23)),
            40 => driver.machine.close(),
            _ => {
                let length = data.len().min(usize::from(opcode - 41));
                // The kind of a message comes first where the payload is what is wrong, else it is all raw chunks.
                match opcode % 2 {
                    0 => driver.feed(&data[..length]),
                    _ => {
                        let kind = Kind::from_id(data.first().copied().unwrap_or(20));
                        driver.message(kind, Bytes::copy_from_slice(&data[..length]));
                    }
                }
                data.advance(length);
            }
        }
        driver.drain();
    }
    driver.finish();
}

impl Driver {
    fn feed(&mut self, bytes: &[u8]) {
        self.machine.handle_input(self.now, &mut BytesMut::from(bytes));
    }

    fn message(&mut self, kind: Kind, payload: Bytes) {
        let bytes = self.writer.write(kind, 0, 1, payload).expect("small");
        self.feed(&bytes);
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.machine.handle_timeout(self.now);
    }

    fn answer(&mut self, opcode: u8) {
        let state = match (opcode, self.open) {
            (16, _) => {
                self.machine.accept_publish();
                (self.open == Some(true)).then_some(State::Publishing)
            }
            (17, _) => {
                self.machine.accept_play();
                (self.open == Some(false)).then_some(State::Playing)
            }
            (18, _) => {
                self.machine.reject(&Rejection::Denied("no".to_owned()));
                self.open = None;
                None
            }
            (19, _) => {
                self.machine.end_play("over");
                None
            }
            // The right answer, so that random bytes come far.
            (_, Some(publish)) => return self.answer(if publish { 16 } else { 17 }),
            (_, None) => None,
        };
        if let Some(state) = state {
            (self.state, self.open) = (state, None);
        }
    }

    fn drain(&mut self) {
        for _ in 0..MAX_POLLS {
            match self.machine.poll() {
                Output::Send(bytes) => {
                    self.listener.hear(&bytes);
                }
                Output::Event(event) => self.note(&event),
                Output::Close(_) => {
                    self.closed = true;
                    assert!(!self.machine.wants_input());
                    return;
                }
                Output::WaitUntil(_) => {
                    assert_eq!(
                        self.machine.state(),
                        self.state,
                        "states change by answers and endings only"
                    );
                    return;
                }
            }
        }
        panic!("the machine does not come to rest");
    }

    fn note(&mut self, event: &Event) {
        assert_eq!(self.open, None, "something happened behind an open question");
        match event {
            Event::Publish(_) | Event::Play(_) => {
                assert_eq!((self.state, self.asked), (State::Idle, 0), "one connection, one stream");
                self.asked += 1;
                self.open = Some(matches!(event, Event::Publish(_)));
            }
            Event::Media(message) => {
                assert_eq!(self.state, State::Publishing);
                assert!(matches!(message.kind, Kind::Audio | Kind::Video));
            }
            Event::Data { .. } => assert_eq!(self.state, State::Publishing),
            Event::Pause(_) => assert_eq!(self.state, State::Playing),
            Event::Ended => {
                assert!(matches!(self.state, State::Publishing | State::Playing));
                self.state = State::Ended;
            }
        }
    }

    /// Whatever happened, a connection that is left alone comes to its end, unless it plays, which is silent.
    fn finish(mut self) {
        if self.open.take().is_some() {
            self.machine.reject(&Rejection::Failed(String::new()));
            self.drain();
        }
        // Once to tell the time of the last answer, once to let patience end.
        for _ in 0..2 {
            if !self.closed {
                self.wait(Duration::from_secs(3600));
                self.drain();
            }
        }
        assert!(
            self.closed || self.state == State::Playing,
            "a connection that is left alone stays"
        );
    }
}

/// The client half fed with what a server might send: the first byte chooses its goal and how the rest is split.
pub(crate) fn client(data: &[u8]) {
    let Some((mode, mut data)) = data.split_first() else {
        return;
    };
    let Ok(url) = Url::parse("rtmp://user:secret@h/app/key") else {
        return;
    };
    let config = client::Config {
        url,
        flash_version: "fuzz".to_owned(),
        capabilities: Capabilities::ours(),
        read_timeout: Duration::from_secs(10),
        proof: String::new(),
        seed: [4; 8],
    };
    let goal = if mode % 2 == 0 { Goal::Play } else { Goal::Publish };
    let mut now = *START;
    let (mut client, mut listener) = (Client::greeted(now, config, goal), Listener::default());
    let (mut started, mut left_alone) = (false, false);
    for _ in 0..MAX_POLLS {
        match client.poll() {
            client::Output::Send(bytes) => {
                listener.hear(&bytes);
            }
            client::Output::Event(client::Event::Playing) => {
                assert!(!started && goal == Goal::Play);
                started = true;
            }
            client::Output::Event(client::Event::Publishing) => {
                assert!(!started && goal == Goal::Publish);
                started = true;
                client.send(Kind::Video, 0, Bytes::from_static(b"frame"));
            }
            client::Output::Event(client::Event::Media(_)) => assert!(started && goal == Goal::Play),
            client::Output::Event(client::Event::Data { .. }) => assert!(goal == Goal::Play),
            client::Output::Close(_) => return,
            client::Output::WaitUntil(_) if left_alone => {
                assert!(started && goal == Goal::Publish, "a client that is left alone stays");
                return;
            }
            client::Output::WaitUntil(_) if data.is_empty() => {
                now += Duration::from_secs(3600);
                client.handle_timeout(now);
                left_alone = true;
            }
            client::Output::WaitUntil(_) => {
                let (piece, rest) = data.split_at(data.len().min(usize::from(*mode).max(1)));
                client.handle_input(now, &mut BytesMut::from(piece));
                data = rest;
            }
        }
    }
    panic!("the client does not come to rest");
}

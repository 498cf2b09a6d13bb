//! The server half of an RTMP connection, sans IO.
//!
//! A connection carries one stream: every `createStream` gives the same, and when it ends the connection does.
//!
//! The driver feeds `handle_*`, then drains [`Connection::poll`] until it says [`Output::WaitUntil`]; answers
//! (`accept_*`, `reject`, `end_play`) count as feeding. An answer to a question that is not open, because the
//! connection was closed meanwhile, does nothing.

mod commands;
mod event;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use event::{Ask, Event, Output, Reason, Rejection};

use self::event::Connect;
use super::acknowledgements::Acknowledgements;
use super::chunk::{CHUNK_SIZE, Reader, Writer};
use super::command::{Command, read_data};
use super::message::{Aggregate, Kind, Message, UserControl, control_number};
use super::{Error, Handshake};

/// The handshake must be done this soon after the connection was accepted.
pub const HANDSHAKE: Duration = Duration::from_secs(5);
/// The first `publish` or `play` must be there this soon after the connection was accepted.
pub const FIRST_QUESTION: Duration = Duration::from_secs(10);
/// A peer may send this many messages before it publishes or plays. Encoders send about ten.
pub const MAX_MESSAGES_BEFORE_LOGIN: u32 = 256;
/// While a question is open, a driver reads no further than about this.
pub const INPUT_LIMIT: usize = 16 << 10;

/// After the end of its stream a peer has this long to say goodbye. GStreamer takes it for an error when the connection
/// is closed between its `closeStream` and its `deleteStream`.
pub const LINGER: Duration = Duration::from_secs(2);

/// Of Set Peer Bandwidth: the limit is a wish.
const LIMIT_DYNAMIC: u8 = 2;

/// What a connection has to know about its server.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// A publisher is closed when it sends no media for this long.
    pub read_timeout: Duration,
}

/// The server half of one connection.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    /// Apart, because it is large and soon over.
    handshake: Option<Box<Handshake>>,
    reader: Reader,
    writer: Writer,
    input: BytesMut,
    output: VecDeque<Output>,
    /// The parts of an aggregate message that were not given out yet.
    parts: Option<Aggregate>,
    connect: Option<Connect>,
    /// What the driver was asked; nothing is parsed before it answers.
    open: Option<Question>,
    /// A question was answered since the time was last told. Its deciding may have taken long, while the peer waited for
    /// us: its silence counts from the next time that is told.
    answered: bool,
    state: State,
    /// The message stream that the peer asked on.
    stream: u32,
    /// Messages before anything was accepted.
    messages: u32,
    acknowledgements: Acknowledgements,
    closing: Option<Reason>,
    now: Instant,
    /// When the connection was accepted.
    since: Instant,
    /// When a publisher sent media last, or when the stream ended.
    media_heard: Instant,
    dropped: u64,
}

/// Where a connection stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing was accepted.
    Idle,
    /// Media flows from the peer.
    Publishing,
    /// Media flows to the peer.
    Playing,
    /// The peer ended its stream.
    Ended,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    Publish,
    Play,
}

impl Connection {
    /// A connection that was accepted just now.
    pub fn new(now: Instant, config: Config) -> Connection {
        Connection {
            config,
            handshake: Some(Box::new(Handshake::server())),
            reader: Reader::new(),
            writer: Writer::default(),
            input: BytesMut::new(),
            output: VecDeque::new(),
            parts: None,
            connect: None,
            open: None,
            answered: false,
            state: State::Idle,
            stream: 0,
            messages: 0,
            acknowledgements: Acknowledgements::default(),
            closing: None,
            now,
            since: now,
            media_heard: now,
            dropped: 0,
        }
    }

    /// A connection whose handshake is done, so that fuzzers need not pay for its arithmetic at every input.
    #[doc(hidden)]
    pub fn greeted(now: Instant, config: Config) -> Connection {
        Connection {
            handshake: None,
            ..Connection::new(now, config)
        }
    }

    /// Takes all bytes out of `input`. Copies nothing when `input` is where the bytes before it came from, or when none
    /// are left of those.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {
        self.advance(now);
        if self.closing.is_some() {
            input.clear();
        } else {
            self.input.unsplit(input.split());
        }
    }

    /// Whether more input is welcome. While a question is open this turns false after [`INPUT_LIMIT`] bytes; the driver
    /// then leaves the rest in the socket.
    pub fn wants_input(&self) -> bool {
        self.closing.is_none() && (self.open.is_none() || self.input.len() < INPUT_LIMIT)
    }

    /// The instant of [`Output::WaitUntil`] may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
        if self.closing.is_none()
            && let Some((deadline, reason)) = self.deadline()
            && deadline <= now
        {
            self.close_because(reason);
        }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.output.pop_front() {
                return output;
            }
            if let Some(reason) = self.closing {
                return Output::Close(reason);
            }
            if self.open.is_some() {
                break;
            }
            match self.next_message() {
                Ok(Some(message)) => {
                    if let Err(error) = self.handle_message(message) {
                        self.close_because(error.into());
                    }
                }
                Ok(None) if self.output.is_empty() => {
                    self.tidy();
                    break;
                }
                Ok(None) => {}
                Err(error) => self.close_because(error.into()),
            }
        }
        let deadline = self.deadline().map(|(deadline, _)| deadline);
        Output::WaitUntil(deadline.unwrap_or(self.now + self.config.read_timeout))
    }

    /// Lets the publisher publish.
    pub fn accept_publish(&mut self) {
        if self.open != Some(Question::Publish) {
            return;
        }
        self.accepted(State::Publishing);
        self.reader.trust();
        self.user_control(UserControl::StreamBegin(self.stream));
        self.status("NetStream.Publish.Start", "publishing");
    }

    /// Lets the player play.
    pub fn accept_play(&mut self) {
        if self.open != Some(Question::Play) {
            return;
        }
        self.accepted(State::Playing);
        self.user_control(UserControl::StreamBegin(self.stream));
        self.status("NetStream.Play.Reset", "resetting");
        self.status("NetStream.Play.Start", "playing");
        self.sample_access();
    }

    /// Says no to the open question, and closes.
    pub fn reject(&mut self, rejection: &Rejection) {
        let Some(question) = self.open else {
            return;
        };
        let (code, text) = rejection.status(question == Question::Publish);
        self.command(self.stream, &Command::status("onStatus", "error", code, text));
        self.close_because(Reason::Rejected);
    }

    /// Tells a player that its stream is over, and closes.
    pub fn end_play(&mut self, text: &str) {
        if self.closing.is_none() && self.state == State::Playing {
            self.status("NetStream.Play.UnpublishNotify", text);
            self.user_control(UserControl::StreamEnd(self.stream));
            self.close_because(Reason::Asked);
        }
    }

    /// Closes the connection once everything that is queued was sent.
    pub fn close(&mut self) {
        self.close_because(Reason::Asked);
    }

    /// Where the connection stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Messages that were dropped: media of a peer that does not publish, data that cannot be read.
    pub fn dropped_messages(&self) -> u64 {
        self.dropped
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        if std::mem::take(&mut self.answered) {
            self.media_heard = now;
        }
    }

    /// The next instant at which patience ends, and with which reason. A player need not speak: one that is gone shows
    /// in the writes.
    fn deadline(&self) -> Option<(Instant, Reason)> {
        match self.state {
            // The peer waits for us, not we for it.
            _ if self.open.is_some() => None,
            State::Idle if self.handshake.is_some() => Some((self.since + HANDSHAKE, Reason::Handshake)),
            State::Idle => Some((self.since + FIRST_QUESTION, Reason::FirstQuestion)),
            State::Publishing => Some((self.media_heard + self.config.read_timeout, Reason::NoMedia)),
            State::Playing => None,
            State::Ended => Some((self.media_heard + LINGER, Reason::Finished)),
        }
    }

    fn next_message(&mut self) -> Result<Option<Message>, Error> {
        while let Some(handshake) = &mut self.handshake {
            match handshake.handle(&mut self.input)? {
                Some(answer) => self.output.push_back(Output::Send(answer)),
                None if handshake.is_done() => self.handshake = None,
                None => return Ok(None),
            }
        }
        if let Some(parts) = &mut self.parts {
            match parts.next() {
                Some(part) => return part.map(Some),
                None => self.parts = None,
            }
        }
        let message = self.reader.read(&mut self.input)?;
        if let Some(total) = self.acknowledgements.due(self.reader.consumed()) {
            let acknowledgement = self.writer.control(Kind::Acknowledgement, total);
            self.send(acknowledgement);
        }
        Ok(message)
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        if self.state == State::Idle {
            self.messages += 1;
            if self.messages > MAX_MESSAGES_BEFORE_LOGIN {
                self.close_because(Reason::Flood);
                return Ok(());
            }
        }
        match message.kind {
            Kind::Audio | Kind::Video if self.state == State::Publishing => {
                self.media_heard = self.now;
                self.output.push_back(Output::Event(Event::Media(message)));
            }
            Kind::Audio | Kind::Video => self.dropped += 1,
            Kind::Data | Kind::Data3 => return self.handle_data(&message),
            Kind::Command | Kind::Command3 => {
                let command = Command::read(&message)?;
                return self.handle_command(message.stream, &command);
            }
            Kind::Aggregate => self.parts = Some(Aggregate::new(message)),
            Kind::UserControl => {
                if let UserControl::PingRequest(number) = UserControl::read(&message.payload)? {
                    self.user_control(UserControl::PingResponse(number));
                }
            }
            Kind::WindowSize => self.acknowledgements.resize(control_number(&message.payload)?),
            Kind::ChunkSize | Kind::Abort | Kind::Acknowledgement | Kind::PeerBandwidth | Kind::Other(_) => {}
        }
        Ok(())
    }

    fn handle_data(&mut self, message: &Message) -> Result<(), Error> {
        let publishing = self.state == State::Publishing;
        match read_data(message) {
            Ok(Some((name, values))) if publishing => {
                let timestamp = message.timestamp;
                self.output.push_back(Output::Event(Event::Data {
                    timestamp,
                    name,
                    values,
                }));
            }
            Ok(_) => self.dropped += 1,
            // Files that are published bring indexes of any length with them; nobody needs those of a live stream.
            Err(Error::AmfValues | Error::Amf3) if publishing => self.dropped += 1,
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn ask(&mut self, question: Question, stream: u32, ask: Ask) {
        self.open = Some(question);
        self.stream = stream;
        let event = match question {
            Question::Publish => Event::Publish(ask),
            Question::Play => Event::Play(ask),
        };
        self.output.push_back(Output::Event(event));
    }

    fn accepted(&mut self, state: State) {
        self.state = state;
        self.open = None;
        self.connect = Some(Connect::default());
        self.answered = true;
        self.media_heard = self.now;
    }

    /// A player says next to nothing from here on, and there are thousands of them: they hold no buffers.
    fn tidy(&mut self) {
        if self.state == State::Playing {
            self.output = VecDeque::new();
            if self.input.is_empty() {
                self.input = BytesMut::new();
            }
        }
    }

    fn close_because(&mut self, reason: Reason) {
        if self.closing.is_none() {
            self.closing = Some(reason);
            self.open = None;
            self.parts = None;
            self.input.clear();
        }
    }

    fn send(&mut self, bytes: Bytes) {
        self.output.push_back(Output::Send(bytes));
    }
}

#[cfg(test)]
mod hostile_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

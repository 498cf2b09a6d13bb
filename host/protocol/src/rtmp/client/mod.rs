//! The client half: play or publish one stream of another server. Sans IO, with the law of [`super::server`].
//!
//! ```text
//! handshake, Set Chunk Size, connect ─▶ _result
//! publish: releaseStream, FCPublish, createStream ─▶ _result, publish ─▶ onStatus NetStream.Publish.Start
//! play:    createStream ─▶ _result, play ─▶ onStatus NetStream.Play.Start, media
//! ```

mod adobe;
mod event;
mod url;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use event::{Config, Event, Goal, Output, Reason};
pub use url::Url;

use super::acknowledgements::Acknowledgements;
use super::amf0::{self, Value};
use super::chunk::{CHUNK_SIZE, Reader, Writer};
use super::command::{Command, SET_DATA_FRAME, read_data};
use super::message::{Aggregate, Kind, Message, UserControl, control_number};
use super::{Capabilities, Error, Handshake};

/// From the beginning until media may flow.
pub const START_TIMEOUT: Duration = Duration::from_secs(10);

/// How much a server may send ahead of a player, in milliseconds.
const BUFFER_LENGTH: u32 = 3_000;
/// Which stream a player wants: the live one, or else a recorded one.
const LIVE_OR_RECORDED: f64 = -2.0;
/// Words of a server are kept up to this many characters.
const MAX_WORDS: usize = 512;

/// The numbers of our calls.
mod transaction {
    pub(super) const CONNECT: f64 = 1.0;
    pub(super) const RELEASE: f64 = 2.0;
    pub(super) const FC_PUBLISH: f64 = 3.0;
    pub(super) const CREATE: f64 = 4.0;
    pub(super) const STREAM: f64 = 5.0;
    pub(super) const END: f64 = 6.0;
}

/// The client half of one connection.
#[derive(Debug)]
pub struct Client {
    config: Config,
    goal: Goal,
    handshake: Option<Handshake>,
    reader: Reader,
    writer: Writer,
    input: BytesMut,
    output: VecDeque<Output>,
    parts: Option<Aggregate>,
    acknowledgements: Acknowledgements,
    server: Capabilities,
    /// The message stream that `createStream` gave.
    stream: u32,
    flowing: bool,
    closing: Option<Reason>,
    now: Instant,
    /// When the connection was made, then when something came last.
    heard: Instant,
}

impl Client {
    /// A client on a connection that was opened just now.
    pub fn new(now: Instant, config: Config, goal: Goal) -> Client {
        let mut client = Client::silent(now, config, goal);
        match Handshake::client() {
            Ok((handshake, first)) => {
                client.handshake = Some(handshake);
                client.push(first);
            }
            Err(error) => client.closing = Some(error.into()),
        }
        client
    }

    /// A client whose handshake is done, so that fuzzers need not pay for its arithmetic at every input.
    #[doc(hidden)]
    pub fn greeted(now: Instant, config: Config, goal: Goal) -> Client {
        let mut client = Client::silent(now, config, goal);
        client.connect();
        client
    }

    fn silent(now: Instant, config: Config, goal: Goal) -> Client {
        let mut client = Client {
            config,
            goal,
            handshake: None,
            reader: Reader::new(),
            writer: Writer::default(),
            input: BytesMut::new(),
            output: VecDeque::new(),
            parts: None,
            acknowledgements: Acknowledgements::default(),
            server: Capabilities::default(),
            stream: 0,
            flowing: false,
            closing: None,
            now,
            heard: now,
        };
        // We chose this server: it may send what a publisher may.
        client.reader.trust();
        client
    }

    /// Takes all bytes out of `input`.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {
        self.now = now;
        if self.closing.is_some() {
            input.clear();
        } else {
            self.input.unsplit(input.split());
        }
    }

    /// The instant of [`Output::WaitUntil`] may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.deadline().is_some_and(|deadline| deadline <= now) {
            self.close_because(if self.flowing { Reason::NoMedia } else { Reason::Timeout });
        }
    }

    /// What to do next.
    pub fn poll(&mut self) -> Output {
        loop {
            if let Some(output) = self.output.pop_front() {
                return output;
            }
            if let Some(reason) = &self.closing {
                return Output::Close(reason.clone());
            }
            let handled = match self.next_message() {
                Ok(Some(message)) => self.handle_message(message),
                Ok(None) if self.output.is_empty() => break,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = handled {
                self.close_because(error.into());
            }
        }
        Output::WaitUntil(self.deadline().unwrap_or(self.now + START_TIMEOUT))
    }

    /// Queues a message of a publisher: the body of an FLV tag. Does nothing before [`Event::Publishing`], and nothing
    /// with a payload above 16 MiB.
    pub fn send(&mut self, kind: Kind, timestamp: u32, payload: Bytes) {
        if !self.flowing || self.goal != Goal::Publish || self.closing.is_some() {
            return;
        }
        let payload = match kind {
            // Servers keep metadata for later players when it is wrapped so.
            Kind::Data => {
                let mut wrapped = amf0::write(&[SET_DATA_FRAME.into()]);
                wrapped.extend_from_slice(&payload);
                wrapped.into()
            }
            _ => payload,
        };
        if let Ok(bytes) = self.writer.write(kind, timestamp, self.stream, payload) {
            self.push(bytes);
        }
    }

    /// Ends the stream, then the connection.
    pub fn close(&mut self) {
        if self.closing.is_none() && self.stream != 0 {
            if self.goal == Goal::Publish {
                let key = self.config.url.key.as_str().into();
                self.call("FCUnpublish", transaction::END, 0, vec![Value::Null, key]);
            }
            let stream = f64::from(self.stream).into();
            self.call("deleteStream", 0.0, 0, vec![Value::Null, stream]);
        }
        self.close_because(Reason::Asked);
    }

    /// What the server said about itself; empty for classic ones and before it did.
    pub fn server(&self) -> &Capabilities {
        &self.server
    }

    fn deadline(&self) -> Option<Instant> {
        match (self.flowing, self.goal) {
            _ if self.closing.is_some() => None,
            (false, _) => Some(self.heard + START_TIMEOUT),
            (true, Goal::Play) => Some(self.heard + self.config.read_timeout),
            // A server that is gone shows in the writes.
            (true, Goal::Publish) => None,
        }
    }

    fn next_message(&mut self) -> Result<Option<Message>, Error> {
        while let Some(handshake) = &mut self.handshake {
            match handshake.handle(&mut self.input)? {
                Some(answer) if answer.is_empty() => {}
                Some(answer) => self.push(answer),
                None if handshake.is_done() => {
                    self.handshake = None;
                    self.connect();
                }
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
            self.push(acknowledgement);
        }
        Ok(message)
    }

    fn handle_message(&mut self, message: Message) -> Result<(), Error> {
        match message.kind {
            Kind::Audio | Kind::Video if self.goal == Goal::Play && self.stream != 0 => {
                self.heard = self.now;
                // Servers that send media and forget to say so.
                self.start();
                self.output.push_back(Output::Event(Event::Media(message)));
            }
            Kind::Data | Kind::Data3 if self.goal == Goal::Play => match read_data(&message) {
                Ok(Some((name, values))) => {
                    let timestamp = message.timestamp;
                    self.output.push_back(Output::Event(Event::Data {
                        timestamp,
                        name,
                        values,
                    }));
                }
                Ok(None) | Err(Error::AmfValues | Error::Amf3) => {}
                Err(error) => return Err(error),
            },
            Kind::Command | Kind::Command3 => self.handle_command(&Command::read(&message)?),
            Kind::Aggregate => self.parts = Some(Aggregate::new(message)),
            Kind::UserControl => match UserControl::read(&message.payload)? {
                UserControl::PingRequest(number) => {
                    let response = self.writer.user_control(UserControl::PingResponse(number));
                    self.push(response);
                }
                // All that nginx says when a publisher leaves.
                UserControl::StreamEnd(stream) if self.flowing && self.goal == Goal::Play && stream == self.stream => {
                    self.close_because(Reason::Ended("stream end".to_owned()));
                }
                _ => {}
            },
            Kind::WindowSize => self.acknowledgements.resize(control_number(&message.payload)?),
            _ => {}
        }
        Ok(())
    }

    fn handle_command(&mut self, command: &Command) {
        match (command.name.as_str(), command.transaction) {
            ("_result", transaction::CONNECT) => {
                let properties = command.arguments.iter().map(Capabilities::read);
                self.server = properties.max_by_key(|found| found.four_ccs.len()).unwrap_or_default();
                self.create_stream();
            }
            ("_result", transaction::CREATE) => self.handle_stream(command.argument(0)),
            ("_error", transaction::CONNECT | transaction::CREATE | transaction::STREAM) => self.refused(command),
            // Not every server knows `releaseStream` and `FCPublish`, and none of them has to.
            ("_error", _) => {}
            ("onStatus", _) => self.handle_status(command),
            ("close", _) => self.close_because(Reason::Ended("close".to_owned())),
            _ => {}
        }
    }

    fn handle_status(&mut self, command: &Command) {
        let code = command.detail("code").unwrap_or_default();
        match code {
            "NetStream.Play.Start" if self.goal == Goal::Play => self.start(),
            "NetStream.Publish.Start" if self.goal == Goal::Publish => self.start(),
            "NetStream.Play.Stop" | "NetStream.Play.Complete" | "NetStream.Play.UnpublishNotify" => {
                self.close_because(Reason::Ended(words(command)));
            }
            // Some servers refuse with another level than they should.
            "NetStream.Play.StreamNotFound"
            | "NetStream.Play.Failed"
            | "NetStream.Publish.BadName"
            | "NetStream.Publish.Denied" => self.refused(command),
            _ if command.detail("level") == Some("error") => self.refused(command),
            _ => {}
        }
    }

    fn refused(&mut self, command: &Command) {
        let words = words(command);
        let asked = self.config.url.login.as_ref().zip(adobe::Challenge::read(&words));
        let proof = asked.and_then(|(login, challenge)| challenge.answer(login, &self.config));
        self.close_because(match proof {
            Some(proof) => Reason::Challenged(proof),
            None => Reason::Refused(words),
        });
    }

    fn connect(&mut self) {
        let chunk_size = self.writer.resize(CHUNK_SIZE);
        self.push(chunk_size);
        let Config { url, proof, .. } = &self.config;
        let mut properties = vec![("app".to_owned(), Value::String(format!("{}{proof}", url.app)))];
        if self.goal == Goal::Publish {
            properties.push(("type".to_owned(), "nonprivate".into()));
        }
        properties.push(("flashVer".to_owned(), self.config.flash_version.as_str().into()));
        properties.push(("tcUrl".to_owned(), Value::String(format!("{}{proof}", url.tc_url()))));
        if self.goal == Goal::Play {
            properties.push(("fpad".to_owned(), Value::Boolean(false)));
            properties.push(("capabilities".to_owned(), 15.0.into()));
            properties.push(("audioCodecs".to_owned(), 4071.0.into()));
            properties.push(("videoCodecs".to_owned(), 252.0.into()));
            properties.push(("videoFunction".to_owned(), 1.0.into()));
        }
        if self.config.capabilities.is_enhanced() {
            properties.extend(self.config.capabilities.properties());
        }
        self.call("connect", transaction::CONNECT, 0, vec![Value::Object(properties)]);
    }

    fn create_stream(&mut self) {
        if self.goal == Goal::Publish {
            let key = || vec![Value::Null, self.config.url.key.as_str().into()];
            let (release, publish) = (key(), key());
            self.call("releaseStream", transaction::RELEASE, 0, release);
            self.call("FCPublish", transaction::FC_PUBLISH, 0, publish);
        }
        self.call("createStream", transaction::CREATE, 0, vec![Value::Null]);
    }

    fn handle_stream(&mut self, stream: Option<&Value>) {
        let number = stream.and_then(Value::as_f64).filter(|number| number.fract() == 0.0);
        let Some(stream) = number.and_then(|number| (1..=u32::from(u16::MAX)).find(|id| f64::from(*id) == number))
        else {
            return self.close_because(Error::Command.into());
        };
        if self.stream != 0 {
            return;
        }
        self.stream = stream;
        let key = self.config.url.key.as_str().into();
        match self.goal {
            Goal::Publish => {
                let arguments = vec![Value::Null, key, "live".into()];
                self.call("publish", transaction::STREAM, stream, arguments);
            }
            Goal::Play => {
                let length = BUFFER_LENGTH;
                let buffer = UserControl::BufferLength { stream, length };
                let buffer = self.writer.user_control(buffer);
                let arguments = vec![Value::Null, key, LIVE_OR_RECORDED.into()];
                self.call("play", transaction::STREAM, stream, arguments);
                self.push(buffer);
            }
        }
    }

    fn start(&mut self) {
        if !self.flowing && self.stream != 0 {
            self.flowing = true;
            self.heard = self.now;
            self.output.push_back(Output::Event(match self.goal {
                Goal::Play => Event::Playing,
                Goal::Publish => Event::Publishing,
            }));
        }
    }

    fn call(&mut self, name: &str, transaction: f64, stream: u32, arguments: Vec<Value>) {
        let command = Command {
            name: name.to_owned(),
            transaction,
            arguments,
        };
        // Fails above 16 MiB only, which no call of ours comes near.
        if let Ok(bytes) = self.writer.write(Kind::Command, 0, stream, command.to_bytes()) {
            self.push(bytes);
        }
    }

    fn close_because(&mut self, reason: Reason) {
        if self.closing.is_none() {
            self.closing = Some(reason);
            self.input.clear();
            self.parts = None;
        }
    }

    fn push(&mut self, bytes: Bytes) {
        self.output.push_back(Output::Send(bytes));
    }
}

/// What a server said in an answer or a status, fit for one line of a log.
fn words(command: &Command) -> String {
    let words = command.detail("description").filter(|words| !words.is_empty());
    let words = words.or(command.detail("code")).unwrap_or("no reason given");
    words.chars().filter(|c| !c.is_control()).take(MAX_WORDS).collect()
}

#[cfg(test)]
mod tests;

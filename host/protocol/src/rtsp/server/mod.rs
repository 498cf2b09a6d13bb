//! The server half of an RTSP connection and its session (RFC 2326 appendix A.2), sans IO.
//!
//! One machine per TCP connection. A session lives and dies with the connection that made it: nobody else can name it,
//! and nothing is left behind when the socket goes.
//!
//! The driver feeds `handle_*`, then drains [`Connection::poll`] until it says [`Output::WaitUntil`]; answers
//! (`accept_*`, `reject`, `challenge`, `redirect`) count as feeding. An answer to a question that is not open, because
//! the connection was closed meanwhile, does nothing.

mod answer;
mod event;
mod request;
mod session;

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};

pub use answer::PlayInfo;
pub use event::{Ask, Choice, Event, Lane, Offer, Output, Reason, Setup, State};

use self::request::Question;
use self::session::Session;
use super::message::{MAX_BODY, MAX_HEAD};
use super::{Decoder, Error, Item, Request, Response, Status, auth};

/// A connection's first request must be complete this soon after it was accepted.
pub const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// Every later request must be complete this soon after its first byte.
pub const WHOLE_REQUEST: Duration = Duration::from_secs(10);
/// This many requests may wait behind one that is being decided.
pub const PIPELINE: usize = 16;
/// This many packets on channels that were never set up are ignored before the connection is closed.
pub const UNKNOWN_CHANNEL_PACKETS: u64 = 1_000;
/// A driver that reads no further than this while [`Connection::wants_input`] is false holds any single message.
pub const INPUT_LIMIT: usize = MAX_HEAD + MAX_BODY;

/// What a connection has to know about its server and its peer.
#[derive(Clone, Debug)]
pub struct Config {
    /// The peer's address, part of every nonce.
    pub remote: IpAddr,
    /// Fresh random bytes for this connection: its session ids and nonces come from them.
    pub seed: [u8; 32],
    /// The value of `Server`.
    pub server: String,
    /// How to ask for credentials.
    pub auth: auth::Offers,
    /// A session ends when this long nothing was heard from its peer.
    pub session_timeout: Duration,
    /// A publisher that records is closed when it sends no packet for this long.
    pub read_timeout: Duration,
}

/// The server half of one connection.
#[derive(Debug)]
pub struct Connection {
    config: Config,
    checker: auth::Checker,
    decoder: Decoder,
    input: BytesMut,
    output: VecDeque<Output>,
    /// Requests that wait for the open question, at most [`PIPELINE`].
    waiting: VecDeque<Request>,
    /// What the driver was asked; nothing is handled before it answers.
    open: Option<Open>,
    /// A question was answered since the time was last told. Its deciding may have taken long, while the peer waited for
    /// us: its silence counts from the next time that is told.
    answered: bool,
    /// The stream, its path and its query, that was described last.
    described: Option<(String, String)>,
    session: Option<Session>,
    /// Sessions made so far, so that no two get one id.
    sessions: u64,
    closing: Option<Reason>,
    now: Instant,
    /// When the connection was accepted; `None` once its first request is complete.
    silent_since: Option<Instant>,
    /// When the message began that has not ended yet.
    message_since: Option<Instant>,
    /// When a request or RTCP came last.
    heard: Instant,
    /// When a publisher's packet came last.
    media_heard: Instant,
    dropped: u64,
    unknown: u64,
}

/// A question with what its answer needs.
#[derive(Debug)]
struct Open {
    question: Question,
    sequence: u32,
    url: String,
}

impl Connection {
    /// A connection that was accepted just now.
    pub fn new(now: Instant, config: Config) -> Connection {
        let checker = auth::Checker::new(now, &config.seed, config.remote.to_string(), config.auth.clone());
        Connection {
            config,
            checker,
            decoder: Decoder::new(),
            input: BytesMut::new(),
            output: VecDeque::new(),
            waiting: VecDeque::new(),
            open: None,
            answered: false,
            described: None,
            session: None,
            sessions: 0,
            closing: None,
            now,
            silent_since: Some(now),
            message_since: None,
            heard: now,
            media_heard: now,
            dropped: 0,
            unknown: 0,
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
        self.closing.is_none() && self.input.len() < INPUT_LIMIT
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

    /// A datagram came from this session's peer to one of our ports: RTP of a publisher (`media`) or RTCP.
    pub fn handle_udp_activity(&mut self, now: Instant, media: bool) {
        self.advance(now);
        self.heard = now;
        if media {
            self.media_heard = now;
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
            if self.open.is_none()
                && let Some(request) = self.waiting.pop_front()
            {
                self.handle_request(request);
                continue;
            }
            // Packets behind an open question stay where they are: they may belong to the state that it leads to.
            if self.open.is_some() && self.decoder.frame_is_next(&self.input) {
                break;
            }
            match self.decoder.decode(&mut self.input) {
                Ok(Some(item)) => self.handle_item(item),
                Ok(None) => {
                    self.message_since = if self.decoder.in_message(&self.input) {
                        self.message_since.or(Some(self.now))
                    } else {
                        None
                    };
                    break;
                }
                Err(error) => self.fail(None, error),
            }
        }
        Output::WaitUntil(
            self.deadline()
                .map_or(self.now + self.config.session_timeout, |(deadline, _)| deadline),
        )
    }

    /// Closes the connection once everything that is queued was sent.
    pub fn close(&mut self) {
        self.close_because(Reason::Asked);
    }

    /// Where the session stands; `Init` when there is none.
    pub fn state(&self) -> State {
        self.session.as_ref().map_or(State::Init, |session| session.state)
    }

    /// The session's id, once there is one.
    pub fn session_id(&self) -> Option<&str> {
        self.session.as_ref().map(|session| session.id.as_str())
    }

    /// How a media travels, once it is set up.
    pub fn lane(&self, media: usize) -> Option<Lane> {
        self.session.as_ref()?.stream(media).map(|stream| stream.lane)
    }

    /// The medias that are set up, in the order of their SETUPs.
    pub fn lanes(&self) -> impl Iterator<Item = (usize, Lane)> + '_ {
        self.session
            .iter()
            .flat_map(|session| &session.streams)
            .map(|stream| (stream.media, stream.lane))
    }

    /// Packets inside the connection that were dropped because they came too early, too late, or on a channel that was
    /// not set up.
    pub fn dropped_packets(&self) -> u64 {
        self.dropped
    }

    fn advance(&mut self, now: Instant) {
        self.now = now;
        if std::mem::take(&mut self.answered) {
            self.heard = now;
            self.media_heard = now;
            self.message_since = self.message_since.map(|_| now);
        }
    }

    fn handle_item(&mut self, item: Item) {
        self.message_since = None;
        match item {
            Item::Request(request) => {
                self.silent_since = None;
                self.heard = self.now;
                if self.open.is_none() {
                    self.handle_request(request);
                } else if self.waiting.len() < PIPELINE {
                    self.waiting.push_back(request);
                } else {
                    self.close_because(Reason::Pipeline);
                }
            }
            // We send no requests, so nobody has anything to answer; GStreamer answers to what it takes for one.
            Item::Response(_) => {}
            Item::Frame { channel, data } => self.handle_frame(channel, data),
        }
    }

    fn handle_frame(&mut self, channel: u8, data: Bytes) {
        let Some(session) = &self.session else {
            return self.drop_frame(true);
        };
        let Some((media, rtcp)) = session.on_channel(channel) else {
            return self.drop_frame(true);
        };
        match session.state {
            State::Recording => {
                self.heard = self.now;
                self.media_heard = self.now;
            }
            State::Playing if rtcp => self.heard = self.now,
            // Packets on their way while a pause or a teardown was, and clients that are ahead of themselves.
            State::Init | State::Ready | State::Playing => return self.drop_frame(false),
        }
        self.output
            .push_back(Output::Event(Event::Interleaved { media, rtcp, data }));
    }

    fn drop_frame(&mut self, unknown: bool) {
        self.dropped += 1;
        self.unknown += u64::from(unknown);
        if self.unknown > UNKNOWN_CHANNEL_PACKETS {
            self.close_because(Reason::UnknownChannels);
        }
    }

    /// The next instant at which patience ends, and with which reason.
    fn deadline(&self) -> Option<(Instant, Reason)> {
        if let Some(since) = self.silent_since {
            return Some((since + FIRST_REQUEST, Reason::FirstRequest));
        }
        // The peer waits for us, not we for it.
        if self.open.is_some() {
            return None;
        }
        let idle = (self.heard + self.config.session_timeout, Reason::Idle);
        let lasting = match &self.session {
            Some(Session {
                state: State::Recording,
                ..
            }) => Some((self.media_heard + self.config.read_timeout, Reason::NoMedia)),
            // Whoever reads inside the connection need not speak: a peer that is gone shows in the writes.
            Some(
                session @ Session {
                    state: State::Playing, ..
                },
            ) => {
                let datagrams = session
                    .streams
                    .iter()
                    .any(|stream| !matches!(stream.lane, Lane::Tcp { .. }));
                datagrams.then_some(idle)
            }
            _ => Some(idle),
        };
        let slow = self
            .message_since
            .map(|since| (since + WHOLE_REQUEST, Reason::SlowRequest));
        lasting.into_iter().chain(slow).min_by_key(|(deadline, _)| *deadline)
    }

    fn close_because(&mut self, reason: Reason) {
        if self.closing.is_none() {
            self.closing = Some(reason);
            self.open = None;
            self.waiting.clear();
            self.input.clear();
        }
    }

    /// The peer broke the grammar: say so and close.
    fn fail(&mut self, sequence: Option<u32>, error: Error) {
        let status = match error {
            Error::Version => Status::VERSION_NOT_SUPPORTED,
            Error::HeadTooLarge | Error::BodyTooLarge => Status::REQUEST_TOO_LARGE,
            _ => Status::BAD_REQUEST,
        };
        self.respond(sequence, Response::new(status));
        self.close_because(Reason::Malformed(error));
    }

    fn respond(&mut self, sequence: Option<u32>, mut response: Response) {
        let mut headers = super::Headers::new();
        if let Some(sequence) = sequence {
            headers.push("CSeq", sequence.to_string());
        }
        headers.push("Server", self.config.server.as_str());
        if let Some(session) = &self.session {
            let timeout = u32::try_from(self.config.session_timeout.as_secs()).ok();
            headers.push(
                "Session",
                super::headers::Session {
                    id: session.id.clone(),
                    timeout,
                }
                .to_string(),
            );
        }
        for (key, value) in response.headers.iter() {
            headers.push(key, value);
        }
        response.headers = headers;
        self.output.push_back(Output::Send(response.to_bytes()));
    }
}

#[cfg(test)]
mod replay_tests;
#[cfg(test)]
mod tests;

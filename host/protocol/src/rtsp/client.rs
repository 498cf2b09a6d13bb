//! The client half: describe, set up, play; or announce, set up, record. Sans IO, with the law of [`super::server`].
//!
//! It speaks to servers of the same grammar, answers challenges, keeps the session alive, and leaves cameras' quirks to
//! the pull source. One machine per TCP connection.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hmac::Mac;

use super::auth::{Challenge, Login, hex, keyed};
use super::headers::{self, Range, RtpInfo};
use super::transport::{Lower, Mode, Transport};
use super::{Decoder, Error, Headers, Item, Method, Request, Response, Status, Url, sdp};

/// How long a response may take.
pub const RESPONSE_TIMEOUT: Duration = Duration::from_secs(10);
/// The session timeout where the server names none (RFC 2326 section 12.37).
const DEFAULT_SESSION_TIMEOUT: u32 = 60;

/// What a client has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stream's URL, without user and password.
    pub url: String,
    /// Who answers challenges.
    pub login: Option<Login>,
    /// Fresh random bytes for client nonces.
    pub seed: [u8; 32],
    /// The value of `User-Agent`.
    pub user_agent: String,
}

/// What the client is there for.
#[derive(Clone, Debug)]
pub enum Goal {
    /// Read: the description comes as [`Event::Described`] and is answered with [`Client::set_up`].
    Read,
    /// Publish this, each media by its way. Every media needs a control of its own.
    Publish(sdp::Session, Vec<Way>),
}

/// How a media shall travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Inside the connection.
    Tcp,
    /// Datagrams from and to these ports of ours.
    Udp {
        /// Our port for RTP.
        rtp: u16,
        /// Our port for RTCP.
        rtcp: u16,
    },
}

/// How a media travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Inside the connection on these channels.
    Tcp {
        /// The channel of RTP.
        rtp: u8,
        /// The channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams to and from these ports of the server.
    Udp {
        /// The server's port for RTP.
        rtp: u16,
        /// The server's port for RTCP.
        rtcp: u16,
    },
}

/// What [`Client::poll`] yields.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes.
    Send(Bytes),
    /// Something happened.
    Event(Event),
    /// It is over: flush and close.
    Close(Reason),
    /// Nothing to do before this instant, unless bytes arrive.
    WaitUntil(Instant),
}

/// Something happened.
#[derive(Debug)]
pub enum Event {
    /// What the stream consists of: answer with [`Client::set_up`].
    Described(sdp::Session),
    /// Packets come from now on.
    Playing(Vec<RtpInfo>),
    /// Packets may be sent from now on.
    Recording,
    /// A packet that came inside the connection.
    Interleaved {
        /// The media.
        media: usize,
        /// Whether it is RTCP.
        rtcp: bool,
        /// The packet.
        data: Bytes,
    },
    /// The stream is elsewhere; a close follows.
    Redirected(String),
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// [`Client::teardown`] was asked for and answered.
    #[error("torn down")]
    TornDown,
    /// The server does not want this.
    #[error("refused with status {0}")]
    Refused(Status),
    /// The server broke the grammar.
    #[error("malformed message: {0}")]
    Malformed(#[from] Error),
    /// No response in time.
    #[error("no response within {RESPONSE_TIMEOUT:?}")]
    Timeout,
}

/// A step whose response is awaited.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Describe,
    Announce,
    Setup(usize, Way),
    Play,
    Record,
    KeepAlive,
    Teardown,
}

/// The client half of one connection.
#[derive(Debug)]
pub struct Client {
    config: Config,
    nonces: hmac::Hmac<sha2::Sha256>,
    decoder: Decoder,
    input: BytesMut,
    output: VecDeque<Output>,
    /// What we publish, or what was described.
    description: Option<sdp::Session>,
    publish: bool,
    /// What controls are relative to.
    base: String,
    session: Option<headers::Session>,
    /// Medias still to be set up.
    wishes: VecDeque<(usize, Way)>,
    lanes: Vec<(usize, Lane)>,
    /// Packets flow.
    flowing: bool,
    awaited: Option<(Step, u32, Instant)>,
    sequence: u32,
    keep_alive: Option<Instant>,
    closing: Option<Reason>,
    now: Instant,
}

impl Client {
    /// A client on a connection that was opened just now.
    pub fn new(now: Instant, config: Config, goal: Goal) -> Client {
        let mut client = Client {
            nonces: keyed(&config.seed, b"client nonce"),
            base: config.url.clone(),
            config,
            decoder: Decoder::new(),
            input: BytesMut::new(),
            output: VecDeque::new(),
            description: None,
            publish: false,
            session: None,
            wishes: VecDeque::new(),
            lanes: Vec::new(),
            flowing: false,
            awaited: None,
            sequence: 0,
            keep_alive: None,
            closing: None,
            now,
        };
        match goal {
            Goal::Read => client.send(Step::Describe),
            Goal::Publish(description, ways) => {
                client.publish = true;
                client.wishes = ways.into_iter().enumerate().collect();
                client.description = Some(description);
                client.send(Step::Announce);
            }
        }
        client
    }

    /// Answers [`Event::Described`]: sets up these medias of the description, then plays.
    pub fn set_up(&mut self, wishes: impl IntoIterator<Item = (usize, Way)>) {
        self.wishes.extend(wishes);
        self.next_setup();
    }

    /// Ends the session; the response closes the connection.
    pub fn teardown(&mut self) {
        self.wishes.clear();
        self.send(Step::Teardown);
    }

    /// Takes all bytes out of `input`.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {
        self.now = now;
        self.input.unsplit(input.split());
    }

    /// The instant of [`Output::WaitUntil`] may have come.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self
            .awaited
            .as_ref()
            .is_some_and(|(_, _, since)| *since + RESPONSE_TIMEOUT <= now)
        {
            self.close_because(Reason::Timeout);
        } else if self.awaited.is_none() && self.keep_alive.is_some_and(|at| at <= now) {
            self.send(Step::KeepAlive);
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
            match self.decoder.decode(&mut self.input) {
                Ok(Some(Item::Frame { channel, data })) => self.handle_frame(channel, data),
                Ok(Some(Item::Response(response))) => {
                    if let Err(reason) = self.handle_response(&response) {
                        self.close_because(reason);
                    }
                }
                Ok(Some(Item::Request(request))) => self.answer(&request),
                Ok(None) => break,
                Err(error) => self.close_because(error.into()),
            }
        }
        let response = self.awaited.as_ref().map(|(_, _, since)| *since + RESPONSE_TIMEOUT);
        Output::WaitUntil(response.or(self.keep_alive).unwrap_or(self.now + RESPONSE_TIMEOUT))
    }

    /// How a media travels, once it is set up.
    pub fn lane(&self, media: usize) -> Option<Lane> {
        self.lanes.iter().find(|(m, _)| *m == media).map(|(_, lane)| *lane)
    }

    /// Whether packets flow.
    pub fn is_flowing(&self) -> bool {
        self.flowing
    }

    fn handle_frame(&mut self, channel: u8, data: Bytes) {
        let found = self.lanes.iter().find_map(|(media, lane)| match lane {
            Lane::Tcp { rtp, .. } if *rtp == channel => Some((*media, false)),
            Lane::Tcp { rtcp, .. } if *rtcp == channel => Some((*media, true)),
            _ => None,
        });
        // A server's first packets may overtake its response to PLAY; they are as good as the others.
        if let Some((media, rtcp)) = found {
            self.output
                .push_back(Output::Event(Event::Interleaved { media, rtcp, data }));
        }
    }

    fn answer(&mut self, request: &Request) {
        let known = matches!(
            request.method,
            Method::Options | Method::GetParameter | Method::SetParameter
        );
        let mut response = Response::new(if known { Status::OK } else { Status::NOT_IMPLEMENTED });
        response
            .headers
            .push("CSeq", request.headers.get("cseq").unwrap_or("0"));
        self.output.push_back(Output::Send(response.to_bytes()));
    }

    fn handle_response(&mut self, response: &Response) -> Result<(), Reason> {
        let sequence = response.headers.get("cseq").and_then(|value| value.parse::<u32>().ok());
        let Some((step, _, _)) = self.awaited.take_if(|(_, awaited, _)| Some(*awaited) == sequence) else {
            return Ok(());
        };
        if response.status == Status::UNAUTHORIZED {
            let mut challenges = Vec::new();
            for value in response.headers.get_all("www-authenticate") {
                challenges.extend(Challenge::parse_list(value)?);
            }
            if self.config.login.as_mut().is_some_and(|login| login.take(challenges)) {
                self.send(step);
                return Ok(());
            }
        }
        if let (300..400, Some(location)) = (response.status.0, response.headers.get("location")) {
            self.output
                .push_back(Output::Event(Event::Redirected(location.to_owned())));
        }
        if !response.status.is_success() {
            // A session that is gone is as good as torn down.
            return Err(if step == Step::Teardown {
                Reason::TornDown
            } else {
                Reason::Refused(response.status)
            });
        }
        if let Some(value) = response.headers.get("session") {
            self.session = Some(headers::Session::parse(value)?);
        }
        self.handle_success(step, response)
    }

    fn handle_success(&mut self, step: Step, response: &Response) -> Result<(), Reason> {
        match step {
            Step::Describe => {
                // Some servers send these empty or as "*".
                let named = ["content-base", "content-location"]
                    .iter()
                    .find_map(|key| response.headers.get(key));
                let base = named.filter(|base| Url::parse(base).is_ok());
                self.base = base.unwrap_or(&self.config.url).to_owned();
                let description = sdp::Session::parse(&response.body)?;
                self.description = Some(description.clone());
                self.output.push_back(Output::Event(Event::Described(description)));
            }
            Step::Announce => self.next_setup(),
            Step::Setup(media, way) => {
                let value = response.headers.get("transport").ok_or(Error::Transport)?;
                let transport = Transport::parse_list(value)?.first().copied().ok_or(Error::Transport)?;
                let lane = match way {
                    Way::Tcp => transport.interleaved.map(|(rtp, rtcp)| Lane::Tcp { rtp, rtcp }),
                    Way::Udp { .. } => transport.server_port.map(|(rtp, rtcp)| Lane::Udp { rtp, rtcp }),
                };
                self.lanes.push((media, lane.ok_or(Error::Transport)?));
                self.next_setup();
            }
            Step::Play => {
                self.start();
                let info = response
                    .headers
                    .get("rtp-info")
                    .map(RtpInfo::parse_list)
                    .transpose()?
                    .unwrap_or_default();
                self.output.push_back(Output::Event(Event::Playing(info)));
            }
            Step::Record => {
                self.start();
                self.output.push_back(Output::Event(Event::Recording));
            }
            Step::KeepAlive => self.schedule_keep_alive(),
            Step::Teardown => return Err(Reason::TornDown),
        }
        Ok(())
    }

    fn start(&mut self) {
        self.flowing = true;
        self.schedule_keep_alive();
    }

    /// Twice within the session's timeout, as RFC 2326 asks for nothing more exact.
    fn schedule_keep_alive(&mut self) {
        let timeout = self
            .session
            .as_ref()
            .and_then(|session| session.timeout)
            .unwrap_or(DEFAULT_SESSION_TIMEOUT);
        self.keep_alive = Some(self.now + Duration::from_secs(timeout.max(2).into()) / 2);
    }

    fn next_setup(&mut self) {
        match self.wishes.pop_front() {
            Some((media, way)) => self.send(Step::Setup(media, way)),
            None if self.publish => self.send(Step::Record),
            None => self.send(Step::Play),
        }
    }

    fn send(&mut self, step: Step) {
        let (method, url) = match &step {
            Step::Describe => (Method::Describe, self.config.url.clone()),
            Step::Announce => (Method::Announce, self.config.url.clone()),
            Step::Setup(media, _) => (Method::Setup, self.media_url(*media)),
            Step::Play => (Method::Play, self.base.clone()),
            Step::Record => (Method::Record, self.base.clone()),
            Step::KeepAlive => (Method::GetParameter, self.base.clone()),
            Step::Teardown => (Method::Teardown, self.base.clone()),
        };
        self.sequence = self.sequence.wrapping_add(1);
        let mut headers = Headers::new()
            .with("CSeq", self.sequence.to_string())
            .with("User-Agent", self.config.user_agent.as_str());
        if let Some(session) = &self.session {
            headers.push("Session", session.id.as_str());
        }
        if let Some(login) = &mut self.config.login {
            let hash = self
                .nonces
                .clone()
                .chain_update(self.sequence.to_be_bytes())
                .finalize()
                .into_bytes();
            let signed = login.sign(&method, &url, &hex(hash.get(..8).unwrap_or_default()));
            signed
                .into_iter()
                .for_each(|value| headers.push("Authorization", value));
        }
        let mut body = Bytes::new();
        match &step {
            Step::Describe => headers.push("Accept", "application/sdp"),
            Step::Announce => {
                headers.push("Content-Type", "application/sdp");
                body = self
                    .description
                    .iter()
                    .map(sdp::Session::to_string)
                    .collect::<String>()
                    .into();
            }
            Step::Setup(media, way) => headers.push("Transport", self.transport(*media, *way).to_string()),
            Step::Play | Step::Record => headers.push("Range", Range::from_start().to_string()),
            Step::KeepAlive | Step::Teardown => {}
        }
        self.output.push_back(Output::Send(
            Request {
                method,
                url,
                headers,
                body,
            }
            .to_bytes(),
        ));
        self.awaited = Some((step, self.sequence, self.now));
    }

    fn transport(&self, media: usize, way: Way) -> Transport {
        let mode = self.publish.then_some(Mode::Record);
        match way {
            Way::Tcp => {
                let rtp = u8::try_from(media.saturating_mul(2)).unwrap_or_default();
                let interleaved = Some((rtp, rtp.saturating_add(1)));
                Transport {
                    interleaved,
                    mode,
                    ..Transport::new(Lower::Tcp)
                }
            }
            Way::Udp { rtp, rtcp } => Transport {
                client_port: Some((rtp, rtcp)),
                mode,
                ..Transport::new(Lower::Udp)
            },
        }
    }

    /// A media's control URL (RFC 2326 appendix C.1.1).
    fn media_url(&self, media: usize) -> String {
        let medias = self
            .description
            .as_ref()
            .map(|description| description.medias.as_slice())
            .unwrap_or_default();
        match medias
            .get(media)
            .map(|media| media.control.as_str())
            .unwrap_or_default()
        {
            "" | "*" => self.base.clone(),
            absolute if absolute.contains("://") => absolute.to_owned(),
            relative if self.base.ends_with('/') => format!("{}{relative}", self.base),
            relative => format!("{}/{relative}", self.base),
        }
    }

    fn close_because(&mut self, reason: Reason) {
        self.closing.get_or_insert(reason);
        self.awaited = None;
        self.input.clear();
    }
}

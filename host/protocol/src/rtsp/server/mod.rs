//! The server half of an RTSP connection and its session (RFC 2326 appendix A.2), sans IO.
//!
//! One machine per TCP connection. A session lives and dies with the connection that made it: nobody else can name it,
//! and nothing is left behind when the socket goes.
//!
//! The driver feeds `handle_*`, then drains [`Connection::poll`] until it says [`Output::WaitUntil`]; answers
//! (`accept_*`, `reject`, `challenge`, `redirect`) count as feeding. An answer to a question that is not open, because
//! the connection was closed meanwhile, does nothing.

mod event;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use bytes::BytesMut;

pub use event::{Ask, Choice, Event, Lane, Offer, Output, Reason, Setup, State};

use crate::rtsp::headers::{Range, RtpInfo};
use crate::rtsp::{Status, auth, sdp};

/// A connection's first request must be complete this soon after it was accepted.
pub const FIRST_REQUEST: Duration = Duration::from_secs(5);
/// Every later request must be complete this soon after its first byte.
pub const WHOLE_REQUEST: Duration = Duration::from_secs(10);
/// This many requests may wait behind one that is being decided.
pub const PIPELINE: usize = 16;
/// This many packets on channels that were never set up are ignored before the connection is closed.
pub const UNKNOWN_CHANNEL_PACKETS: u64 = 1_000;

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
pub struct Connection {}

impl Connection {
    /// A connection that was accepted just now.
    pub fn new(now: Instant, config: Config) -> Connection { todo!() }
    /// Takes all bytes out of `input`, without copying when the buffer has not moved since.
    pub fn handle_input(&mut self, now: Instant, input: &mut BytesMut) {}
    /// Whether more input is welcome. While this is false the driver leaves bytes in the socket.
    pub fn wants_input(&self) -> bool { true }
    /// The instant of [`Output::WaitUntil`] has come.
    pub fn handle_timeout(&mut self, now: Instant) {}
    /// A datagram of this session's peer arrived on a UDP port: the session is alive. `media` says whether it was RTP
    /// (which keeps a publisher alive) or RTCP.
    pub fn handle_udp_activity(&mut self, now: Instant, media: bool) {}
    /// What to do next.
    pub fn poll(&mut self) -> Output { todo!() }
    /// Closes after what is queued was sent.
    pub fn close(&mut self) {}

    /// Answers [`Event::Describe`]. Medias without a control get `trackID=` and their number.
    pub fn accept_describe(&mut self, description: &sdp::Session) {}
    /// Answers [`Event::Announce`].
    pub fn accept_announce(&mut self) {}
    /// Answers [`Event::Setup`]; [`Connection::lane`] says which channels or ports came of it.
    pub fn accept_setup(&mut self, choice: Choice, ssrc: Option<u32>) {}
    /// Answers [`Event::Play`]. `info` says where each media's packets start ([`RtpInfo::url`] may be left empty, the
    /// machine fills it in).
    pub fn accept_play(&mut self, info: &[PlayInfo], range: Option<Range>) {}
    /// Answers [`Event::Record`].
    pub fn accept_record(&mut self) {}
    /// Answers the open question with an error. `headers` are added to it.
    pub fn reject(&mut self, status: Status, headers: &[(&str, &str)]) {}
    /// Answers the open question by asking for credentials (401).
    pub fn challenge(&mut self) {}
    /// Answers [`Event::Describe`] or [`Event::Setup`] with another place to go (302).
    pub fn redirect(&mut self, location: &str) {}

    /// Where the session stands.
    pub fn state(&self) -> State { todo!() }
    /// The session's id, once it has one.
    pub fn session_id(&self) -> Option<&str> { None }
    /// How a media travels, once it is set up.
    pub fn lane(&self, media: usize) -> Option<Lane> { None }
    /// The medias that are set up, in the order of their SETUPs.
    pub fn lanes(&self) -> impl Iterator<Item = (usize, Lane)> + '_ { std::iter::empty() }
    /// Packets that were dropped because they came too early, too late or on an unknown channel.
    pub fn dropped_packets(&self) -> u64 { 0 }
}

/// Where a media's packets start, for `RTP-Info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlayInfo {
    /// The media.
    pub media: usize,
    /// The sequence number of its first packet.
    pub sequence: u16,
    /// The RTP timestamp that stands for the start of the range, when known.
    pub timestamp: Option<u32>,
}

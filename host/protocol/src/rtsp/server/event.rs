//! What the server half tells its driver, and what the driver answers.

use std::net::IpAddr;
use std::time::Instant;

use bytes::Bytes;

use crate::rtsp::auth::Credentials;
use crate::rtsp::headers::Range;
use crate::rtsp::{Error, sdp};

/// What [`super::Connection::poll`] yields.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes to the peer, in order.
    Send(Bytes),
    /// Something happened. [`Event::Describe`], [`Event::Announce`], [`Event::Setup`], [`Event::Play`] and
    /// [`Event::Record`] wait for an answer; the connection parses nothing further until it has one.
    Event(Event),
    /// Everything was said: flush, close the socket, stop polling. A session that there was is over too.
    Close(Reason),
    /// Nothing more to do before this instant, unless bytes arrive.
    WaitUntil(Instant),
}

/// Something the driver has to know or to decide.
#[derive(Debug)]
pub enum Event {
    /// A reader wants the stream's description: answer with `accept_describe`, `reject`, `challenge` or `redirect`.
    Describe(Ask),
    /// A publisher wants to publish these medias: answer with `accept_announce`, `reject` or `challenge`.
    Announce(Ask, sdp::Session),
    /// A media wants a way to travel: answer with `accept_setup`, `reject` or `challenge`.
    Setup(Ask, Setup),
    /// Everything that was set up wants to flow to the peer: answer with `accept_play` or `reject`. Comes again after
    /// a pause.
    Play {
        /// The wished range, for those who can seek.
        range: Option<Range>,
    },
    /// The publisher is about to send: answer with `accept_record` or `reject`.
    Record,
    /// Nothing flows until the next [`Event::Play`] or [`Event::Record`]. Already answered.
    Paused,
    /// The session is over, the connection is not. Already answered. The driver frees ports and readers.
    Ended,
    /// One RTP or RTCP packet that came inside the connection: RTP from a publisher that records, RTCP from both sides.
    Interleaved {
        /// The media that was set up on this channel.
        media: usize,
        /// Whether it is RTCP.
        rtcp: bool,
        /// The packet.
        data: Bytes,
    },
}

impl Event {
    /// Whether the connection waits for an answer.
    pub fn is_question(&self) -> bool {
        matches!(
            self,
            Event::Describe(_) | Event::Announce(..) | Event::Setup(..) | Event::Play { .. } | Event::Record
        )
    }
}

/// Who asks for what: the part that an answer depends on.
#[derive(Debug)]
pub struct Ask {
    /// The URL's path, percent-decoded once, without the slashes around it and without a media's control suffix. Not
    /// validated as a path name.
    pub path: String,
    /// The URL's query as sent, without the question mark; empty when there was none.
    pub query: String,
    /// What the peer proves about itself. A digest's nonce has been checked already; the rest is the driver's.
    pub credentials: Option<Credentials>,
    /// The value of `User-Agent`.
    pub user_agent: Option<String>,
}

impl Ask {
    pub(super) fn stream(&self) -> (String, String) {
        (self.path.clone(), self.query.clone())
    }
}

/// One media's SETUP.
#[derive(Debug)]
pub struct Setup {
    /// Index into the medias of the SDP, announced or described. For readers it is the number behind `trackID=`, not
    /// checked against the number of medias: answer 404 when there is no such media.
    pub media: usize,
    /// Whether the peer publishes (it announced first) or reads.
    pub publish: bool,
    /// Whether this is the session's first SETUP. Later ones are for the same path.
    pub first: bool,
    /// What the peer can do, its favourite first; never empty, and of the same sort as what the session uses already.
    pub offers: Vec<Offer>,
}

/// One way to travel that the peer offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Inside this connection.
    Tcp,
    /// Datagrams to these ports of the address that this connection comes from, never to another one (ports are at
    /// least 1,024).
    Udp {
        /// The peer's port for RTP.
        rtp: u16,
        /// The peer's port for RTCP.
        rtcp: u16,
    },
    /// Datagrams to a group that the server names.
    Multicast,
}

/// The way that the driver picked from the offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Inside this connection; the machine assigns the channels.
    Tcp,
    /// Datagrams between the peer's offered ports and these of ours.
    Udp {
        /// Our port for RTP.
        server_rtp: u16,
        /// Our port for RTCP.
        server_rtcp: u16,
    },
    /// Datagrams to this group.
    Multicast {
        /// The group.
        group: IpAddr,
        /// The group's port for RTP.
        rtp: u16,
        /// The group's port for RTCP.
        rtcp: u16,
        /// Time to live.
        ttl: u8,
    },
}

/// How one media travels, agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// Inside this connection on these channels.
    Tcp {
        /// The channel of RTP.
        rtp: u8,
        /// The channel of RTCP.
        rtcp: u8,
    },
    /// Datagrams to and from these ports of the peer.
    Udp {
        /// The peer's port for RTP.
        rtp: u16,
        /// The peer's port for RTCP.
        rtcp: u16,
    },
    /// Datagrams to the group that the driver chose.
    Multicast,
}

/// Where a session stands (RFC 2326 appendix A.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// No media is set up.
    Init,
    /// At least one media is set up.
    Ready,
    /// Media flows to the peer.
    Playing,
    /// Media flows from the peer.
    Recording,
}

/// Why a connection is closed by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The peer broke the grammar or a bound of it.
    #[error("malformed message: {0}")]
    Malformed(#[from] Error),
    /// No complete first request in time.
    #[error("no request within {:?}", super::FIRST_REQUEST)]
    FirstRequest,
    /// A request that was begun did not end in time.
    #[error("request not finished within {:?}", super::WHOLE_REQUEST)]
    SlowRequest,
    /// No request and no RTCP for the session timeout.
    #[error("session timed out")]
    Idle,
    /// A publisher sent no media for the read timeout.
    #[error("no media received")]
    NoMedia,
    /// More requests than allowed waited for an answer.
    #[error("more than {} requests waiting", super::PIPELINE)]
    Pipeline,
    /// Too many packets on channels that were not set up.
    #[error("more than {} packets on unknown channels", super::UNKNOWN_CHANNEL_PACKETS)]
    UnknownChannels,
    /// The driver asked for it.
    #[error("closed by the server")]
    Asked,
}

//! What the driver answers, and what becomes of the session then.

use bytes::Bytes;
use hmac::Mac;

use super::event::{Choice, Lane, Offer, State};
use super::request::{Question, offer};
use super::session::{Session, Stream};
use super::{Connection, Open};
use crate::rtsp::auth::{hex, keyed};
use crate::rtsp::headers::{Range, RtpInfo};
use crate::rtsp::transport::{Lower, Mode, Transport};
use crate::rtsp::url::TRACK_CONTROL;
use crate::rtsp::{Headers, Response, Status, sdp};

/// Bytes of a session id.
const SESSION_ID_BYTES: usize = 16;

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

impl Connection {
    /// Answers [`super::Event::Describe`]. Medias are given the controls `trackID=0`, `trackID=1` and so on, which is
    /// what [`super::Setup::media`] counts by.
    pub fn accept_describe(&mut self, description: &sdp::Session) {
        let Some(open) = self.take_open(|question| matches!(question, Question::Describe { .. })) else {
            return;
        };
        if let Question::Describe { stream } = open.question {
            self.described = Some(stream);
        }
        let mut description = description.clone();
        for (number, media) in description.medias.iter_mut().enumerate() {
            media.control = format!("{TRACK_CONTROL}{number}");
        }
        let base = content_base(&open.url);
        let headers = Headers::new()
            .with("Content-Base", base)
            .with("Content-Type", "application/sdp");
        let body = Bytes::from(description.to_string());
        self.respond(
            Some(open.sequence),
            Response {
                headers,
                body,
                ..Response::new(Status::OK)
            },
        );
    }

    /// Answers [`super::Event::Announce`]: there is a session from here on.
    pub fn accept_announce(&mut self) {
        let Some(open) = self.take_open(|question| matches!(question, Question::Announce { .. })) else {
            return;
        };
        if let Question::Announce { stream, announced } = open.question {
            self.session = Some(Session::new(self.next_session_id(), stream, Some(announced)));
        }
        self.respond(Some(open.sequence), Response::new(Status::OK));
    }

    /// Answers [`super::Event::Setup`]; [`Connection::lane`] tells what came of it. `ssrc` is what a reader will see in
    /// the packets, when known. A choice that was not offered is refused with 461.
    pub fn accept_setup(&mut self, choice: Choice, ssrc: Option<u32>) {
        let Some(open) = self.take_open(|question| matches!(question, Question::Setup { .. })) else {
            return;
        };
        let Question::Setup {
            stream,
            media,
            transports,
        } = open.question
        else {
            return;
        };
        let mut session = match self.session.take() {
            Some(session) => session,
            None => Session::new(self.next_session_id(), stream, None),
        };
        let agreed = agree(&session, &transports, choice);
        let Some((lane, mut transport)) = agreed else {
            // A session that holds nothing yet was not promised to anybody.
            self.session = Some(session).filter(|session| session.is_publisher() || !session.streams.is_empty());
            return self.respond(Some(open.sequence), Response::new(Status::UNSUPPORTED_TRANSPORT));
        };
        transport.ssrc = ssrc;
        transport.mode = session.is_publisher().then_some(Mode::Record);
        session.streams.push(Stream {
            media,
            lane,
            url: open.url,
        });
        session.state = State::Ready;
        self.session = Some(session);
        let headers = Headers::new().with("Transport", transport.to_string());
        self.respond(
            Some(open.sequence),
            Response {
                headers,
                ..Response::new(Status::OK)
            },
        );
    }

    /// Answers [`super::Event::Play`]: after what is queued now, packets may be sent. `info` tells where they start;
    /// medias that are not set up are left out of it. The range is that of a live stream when not given.
    pub fn accept_play(&mut self, info: &[PlayInfo], range: Option<Range>) {
        let Some(open) = self.take_open(|question| matches!(question, Question::Play)) else {
            return;
        };
        let Some(session) = &mut self.session else { return };
        session.state = State::Playing;
        let info: Vec<RtpInfo> = info
            .iter()
            .filter_map(|info| {
                let url = session.stream(info.media)?.url.clone();
                Some(RtpInfo {
                    url,
                    sequence: Some(info.sequence),
                    timestamp: info.timestamp,
                })
            })
            .collect();
        let mut headers = Headers::new().with("Range", range.unwrap_or(Range::from_start()).to_string());
        if !info.is_empty() {
            headers.push("RTP-Info", RtpInfo::write_list(&info));
        }
        self.respond(
            Some(open.sequence),
            Response {
                headers,
                ..Response::new(Status::OK)
            },
        );
    }

    /// Answers [`super::Event::Record`]: packets are expected from now on.
    pub fn accept_record(&mut self) {
        let Some(open) = self.take_open(|question| matches!(question, Question::Record)) else {
            return;
        };
        let Some(session) = &mut self.session else { return };
        session.state = State::Recording;
        self.respond(Some(open.sequence), Response::new(Status::OK));
    }

    /// Answers the open question with an error and these headers.
    pub fn reject(&mut self, status: Status, headers: &[(&str, &str)]) {
        let Some(open) = self.take_open(|_| true) else { return };
        let headers = headers
            .iter()
            .fold(Headers::new(), |headers, (key, value)| headers.with(*key, *value));
        self.respond(
            Some(open.sequence),
            Response {
                headers,
                ..Response::new(status)
            },
        );
    }

    /// Answers the open question by asking for credentials.
    pub fn challenge(&mut self) {
        let Some(open) = self.take_open(|_| true) else { return };
        self.respond_challenge(open.sequence, false);
    }

    /// Answers the open question with another place to go.
    pub fn redirect(&mut self, location: &str) {
        self.reject(Status::MOVED_TEMPORARILY, &[("Location", location)]);
    }

    /// Closes the open question if it is of this sort.
    fn take_open(&mut self, sort: impl Fn(&Question) -> bool) -> Option<Open> {
        let open = self.open.take_if(|open| sort(&open.question))?;
        self.answered = true;
        Some(open)
    }

    fn next_session_id(&mut self) -> String {
        self.sessions += 1;
        let hash = keyed(&self.config.seed, b"session")
            .chain_update(self.sessions.to_be_bytes())
            .finalize()
            .into_bytes();
        hex(hash.get(..SESSION_ID_BYTES).unwrap_or_default())
    }
}

/// What the controls of a description are relative to. The slash ends the path, not the query: FFmpeg and live555 append
/// a control to the text as it is, GStreamer resolves it as RFC 3986 says and would lose the path's last segment.
fn content_base(url: &str) -> String {
    let (path, query) = url
        .split_once('?')
        .map_or((url, None), |(path, query)| (path, Some(query)));
    let slash = if path.ends_with('/') { "" } else { "/" };
    match query {
        Some(query) => format!("{path}{slash}?{query}"),
        None => format!("{path}{slash}"),
    }
}

/// Finds the offer that the driver chose, and what to say about it.
fn agree(session: &Session, transports: &[Transport], choice: Choice) -> Option<(Lane, Transport)> {
    let publish = session.is_publisher();
    transports
        .iter()
        .find_map(|wish| match (offer(wish, publish)?, choice) {
            (Offer::Tcp, Choice::Tcp) => {
                let (rtp, rtcp) = session.pick_channels(wish.interleaved)?;
                let answer = Transport {
                    interleaved: Some((rtp, rtcp)),
                    ..Transport::new(Lower::Tcp)
                };
                Some((Lane::Tcp { rtp, rtcp }, answer))
            }
            (
                Offer::Udp { rtp, rtcp },
                Choice::Udp {
                    server_rtp,
                    server_rtcp,
                },
            ) => {
                let answer = Transport {
                    client_port: Some((rtp, rtcp)),
                    server_port: Some((server_rtp, server_rtcp)),
                    ..Transport::new(Lower::Udp)
                };
                Some((Lane::Udp { rtp, rtcp }, answer))
            }
            (Offer::Multicast, Choice::Multicast { group, rtp, rtcp, ttl }) => {
                let answer = Transport {
                    multicast: true,
                    destination: Some(group),
                    port: Some((rtp, rtcp)),
                    ttl: Some(ttl),
                    ..Transport::new(Lower::Udp)
                };
                Some((Lane::Multicast, answer))
            }
            _ => None,
        })
}

//! A session: whose media travels which way.

use super::event::{Lane, State};
use crate::rtsp::transport::{Lower, Transport};
use crate::rtsp::{Url, sdp};

/// What one connection set up.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) state: State,
    /// The stream's path, decoded.
    pub(super) path: String,
    /// The stream's query as sent.
    pub(super) query: String,
    /// What a publisher announced; `None` for readers.
    pub(super) announced: Option<Announced>,
    pub(super) streams: Vec<Stream>,
}

/// The controls of a publisher's SDP.
#[derive(Debug)]
pub(super) struct Announced {
    /// The announced URL's path as sent, without slashes around it.
    base: String,
    controls: Vec<String>,
}

/// One media that was set up.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) media: usize,
    pub(super) lane: Lane,
    /// The URL of its SETUP, which clients look for in `RTP-Info`.
    pub(super) url: String,
}

/// What a URL means to a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// All that was set up.
    Aggregate,
    /// One media.
    Media(usize),
    /// Something else.
    Foreign,
}

impl Session {
    pub(super) fn new(id: String, (path, query): (String, String), announced: Option<Announced>) -> Session {
        Session {
            id,
            state: State::Init,
            path,
            query,
            announced,
            streams: Vec::new(),
        }
    }

    pub(super) fn is_publisher(&self) -> bool {
        self.announced.is_some()
    }

    pub(super) fn stream(&self, media: usize) -> Option<&Stream> {
        self.streams.iter().find(|stream| stream.media == media)
    }

    /// The media on this channel, and whether the channel is its RTCP.
    pub(super) fn on_channel(&self, channel: u8) -> Option<(usize, bool)> {
        self.streams.iter().find_map(|stream| match stream.lane {
            Lane::Tcp { rtp, .. } if rtp == channel => Some((stream.media, false)),
            Lane::Tcp { rtcp, .. } if rtcp == channel => Some((stream.media, true)),
            _ => None,
        })
    }

    /// The channels that the client asks for if they are free, else the first free pair. Some clients ask for the same
    /// channels for every media.
    pub(super) fn pick_channels(&self, wish: Option<(u8, u8)>) -> Option<(u8, u8)> {
        let free =
            |&(rtp, rtcp): &(u8, u8)| rtp != rtcp && self.on_channel(rtp).is_none() && self.on_channel(rtcp).is_none();
        let pairs = (0..u8::MAX).step_by(2).map(|rtp| (rtp, rtp.saturating_add(1)));
        wish.into_iter().chain(pairs).find(free)
    }

    /// Whether a transport is of the sort that the session uses already: one session has one sort.
    pub(super) fn fits(&self, transport: &Transport) -> bool {
        self.streams.first().is_none_or(|stream| match stream.lane {
            Lane::Tcp { .. } => transport.lower == Lower::Tcp,
            Lane::Udp { .. } => transport.lower == Lower::Udp && !transport.multicast,
            Lane::Multicast => transport.lower == Lower::Udp && transport.multicast,
        })
    }

    /// Which media a publisher's SETUP of the stream's own URL means: those without a control come in their order.
    pub(super) fn next_nameless(&self) -> Option<usize> {
        let controls = &self.announced.as_ref()?.controls;
        let nameless = controls
            .iter()
            .enumerate()
            .filter(|(_, control)| matches!(control.as_str(), "" | "*"));
        nameless
            .map(|(media, _)| media)
            .find(|media| self.stream(*media).is_none())
    }

    /// What a request's URL means here.
    pub(super) fn target(&self, url: &Url) -> Target {
        match &self.announced {
            Some(announced) => announced.target(url),
            None => {
                let mut url = url.clone();
                let track = url.take_track();
                match (url.decoded_path(), track) {
                    (Ok(path), _) if path != self.path => Target::Foreign,
                    (Ok(_), Some(media)) => Target::Media(media),
                    (Ok(_), None) => Target::Aggregate,
                    (Err(_), _) => Target::Foreign,
                }
            }
        }
    }
}

impl Announced {
    pub(super) fn new(url: &Url, description: &sdp::Session) -> Announced {
        let controls = description
            .medias
            .iter()
            .map(|media| media.control.trim_matches('/').to_owned())
            .collect();
        Announced {
            base: url.path.trim_matches('/').to_owned(),
            controls,
        }
    }

    fn target(&self, url: &Url) -> Target {
        let same = |control: &str| match Url::parse(control) {
            // An absolute control: host and scheme are what the client thinks we are, only the rest can be compared.
            Ok(absolute) => {
                absolute.path.trim_matches('/') == url.path.trim_matches('/')
                    && absolute.bare_query() == url.bare_query()
            }
            Err(_) => false,
        };
        if let Some(media) = self.controls.iter().position(|control| same(control)) {
            return Target::Media(media);
        }
        let Some(control) = url.control_below(&self.base) else {
            return Target::Foreign;
        };
        match self.controls.iter().position(|own| own == control && !own.is_empty()) {
            Some(media) => Target::Media(media),
            // A slash inside the query's own value is no control.
            None if control.is_empty() || !url.path.trim_matches('/').ends_with(control) => Target::Aggregate,
            None => Target::Foreign,
        }
    }
}

//! What the server half tells its driver, and what the driver answers.

use std::time::Instant;

use bytes::Bytes;

use crate::percent;
use crate::rtmp::amf0::Value;
use crate::rtmp::{Capabilities, Error, Message};

/// What a peer says that it is is kept up to this many characters.
const MAX_VERSION: usize = 256;

/// What [`super::Connection::poll`] yields.
#[derive(Debug)]
pub enum Output {
    /// Write these bytes to the peer, in order.
    Send(Bytes),
    /// Something happened. [`Event::Publish`] and [`Event::Play`] wait for an answer; the connection parses nothing
    /// further until it has one.
    Event(Event),
    /// Everything was said: flush, close the socket, stop polling.
    Close(Reason),
    /// Nothing more to do before this instant, unless bytes arrive.
    WaitUntil(Instant),
}

/// Something the driver has to know or to decide.
#[derive(Debug)]
pub enum Event {
    /// A publisher wants to publish: answer with `accept_publish` or `reject`.
    Publish(Ask),
    /// A player wants to play: answer with `accept_play` or `reject`. Media goes beside the machine, as a
    /// [`crate::rtmp::chunk::Writer`] of [`crate::rtmp::chunk::CHUNK_SIZE`] made it, on
    /// [`crate::rtmp::chunk::MEDIA_STREAM`].
    Play(Ask),
    /// Audio or video of a publisher that was accepted. The payload is the body of an FLV tag, unread.
    Media(Message),
    /// Data of a publisher that was accepted: `onMetaData` and the like, without `@setDataFrame` in front.
    Data {
        /// When, as in [`Message::timestamp`].
        timestamp: u32,
        /// What it is.
        name: String,
        /// What it says.
        values: Vec<Value>,
    },
    /// A player pauses or goes on. Already answered.
    Pause(bool),
    /// The peer ended its stream. Already answered; the connection follows in [`super::LINGER`], or when the peer closes
    /// it, and there is no media on it any more.
    Ended,
}

impl Event {
    /// Whether the connection waits for an answer.
    pub fn is_question(&self) -> bool {
        matches!(self, Event::Publish(_) | Event::Play(_))
    }
}

/// Who asks for what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// App and stream name in one: percent-decoded once, without slashes around it. Not validated as a path name.
    pub path: String,
    /// The queries behind the stream name, the app and `tcUrl`, joined; empty when there was none.
    pub query: String,
    /// What the peer says that it is: `flashVer`, cut to 256 characters and one line.
    pub flash_version: String,
    /// What the peer can do beyond classic RTMP.
    pub capabilities: Capabilities,
}

/// What a `connect` said, as far as it is needed later.
#[derive(Clone, Debug, Default)]
pub(super) struct Connect {
    pub(super) app: String,
    tc_url: String,
    flash_version: String,
    pub(super) capabilities: Capabilities,
}

impl Connect {
    pub(super) fn read(object: &Value) -> Connect {
        let text = |name| {
            object
                .property(name)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        Connect {
            app: text("app").to_owned(),
            tc_url: text("tcUrl").to_owned(),
            flash_version: text("flashVer")
                .chars()
                .filter(|c| !c.is_control())
                .take(MAX_VERSION)
                .collect(),
            capabilities: Capabilities::read(object),
        }
    }

    /// What a stream name means on this connection.
    pub(super) fn ask(&self, name: &str) -> Ask {
        let (app, app_query) = split(&self.app);
        let (key, key_query) = split(name);
        let (_, url_query) = split(&self.tc_url);
        let mut queries: Vec<&str> = Vec::new();
        for query in [key_query, app_query, url_query] {
            if !query.is_empty() && !queries.contains(&query) {
                queries.push(query);
            }
        }
        let parts = [app, key].map(|part| part.trim_matches('/'));
        let path = parts.join("/");
        let path = path.trim_matches('/');
        Ask {
            // Stream names are no URLs: one with a lonely "%" means it.
            path: percent::decode(path).unwrap_or_else(|| path.to_owned()),
            query: queries.join("&"),
            flash_version: self.flash_version.clone(),
            capabilities: self.capabilities.clone(),
        }
    }
}

fn split(text: &str) -> (&str, &str) {
    text.split_once('?').unwrap_or((text, ""))
}

/// Why the driver says no, in words for the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The peer may not do this.
    Denied(String),
    /// There is no such stream.
    NotFound(String),
    /// Somebody publishes there already.
    InUse(String),
    /// Anything else.
    Failed(String),
}

impl Rejection {
    /// The code of `onStatus`, and the words.
    pub(super) fn status(&self, publish: bool) -> (&'static str, &str) {
        match (self, publish) {
            (Rejection::Denied(text), true) => ("NetStream.Publish.Denied", text),
            (Rejection::NotFound(text) | Rejection::InUse(text), true) => ("NetStream.Publish.BadName", text),
            (Rejection::Failed(text), true) => ("NetStream.Publish.Failed", text),
            (Rejection::NotFound(text), false) => ("NetStream.Play.StreamNotFound", text),
            (Rejection::Denied(text) | Rejection::InUse(text) | Rejection::Failed(text), false) => {
                ("NetStream.Play.Failed", text)
            }
        }
    }
}

/// Why a connection is closed by the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The peer broke the grammar or a bound of it.
    #[error("malformed message: {0}")]
    Malformed(#[from] Error),
    /// The handshake took too long.
    #[error("handshake not finished within {:?}", super::HANDSHAKE)]
    Handshake,
    /// The peer connected and asked for nothing.
    #[error("nothing published or played within {:?}", super::FIRST_QUESTION)]
    FirstQuestion,
    /// Many messages, and none that asks for a stream.
    #[error("more than {} messages before a stream", super::MAX_MESSAGES_BEFORE_LOGIN)]
    Flood,
    /// A publisher sent no media for the read timeout.
    #[error("no media received")]
    NoMedia,
    /// The driver said no.
    #[error("rejected")]
    Rejected,
    /// The peer ended its stream.
    #[error("stream ended by the peer")]
    Finished,
    /// The driver asked for it.
    #[error("closed by the server")]
    Asked,
}

//! What the client half is told, and what it tells its driver.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{START_TIMEOUT, Url};
use crate::rtmp::amf0::Value;
use crate::rtmp::{Capabilities, Error, Message};

/// What a client has to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// What is played or published.
    pub url: Url,
    /// What we say that we are: `flashVer`. Servers look into it; `FMLE/3.0 (compatible; …)` is a publisher to all.
    pub flash_version: String,
    /// What we can do beyond classic RTMP; the empty ones say nothing.
    pub capabilities: Capabilities,
    /// A player ends when nothing comes for this long.
    pub read_timeout: Duration,
    /// What [`Reason::Challenged`] of the connection before this one gave; empty at first.
    pub proof: String,
    /// Fresh random bytes, for the answer to a challenge.
    pub seed: [u8; 8],
}

/// What the client is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// Media comes.
    Play,
    /// Media is sent, by [`super::Client::send`].
    Publish,
}

/// What [`super::Client::poll`] yields.
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
    /// Media comes from now on.
    Playing,
    /// Media may be sent from now on.
    Publishing,
    /// Audio or video; the payload is the body of an FLV tag, unread.
    Media(Message),
    /// `onMetaData` and the like.
    Data {
        /// When, as in [`Message::timestamp`].
        timestamp: u32,
        /// What it is.
        name: String,
        /// What it says.
        values: Vec<Value>,
    },
}

/// Why it is over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// The server said no; its words, or its code where it has none.
    #[error("refused: {0}")]
    Refused(String),
    /// The server wants to know who we are, and the URL has a login: connect again with this as [`Config::proof`].
    #[error("credentials asked for")]
    Challenged(String),
    /// The server ended the stream; its words.
    #[error("ended by the server: {0}")]
    Ended(String),
    /// The server broke the grammar or a bound of it.
    #[error("malformed message: {0}")]
    Malformed(#[from] Error),
    /// Media could not flow in time.
    #[error("not started within {START_TIMEOUT:?}")]
    Timeout,
    /// Nothing came for [`Config::read_timeout`].
    #[error("no media received")]
    NoMedia,
    /// [`super::Client::close`] was called.
    #[error("closed")]
    Asked,
}

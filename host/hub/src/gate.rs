//! The seam "who may": asked off the media path, answered by plugins and configured users.

use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;

use crate::{Client, PathName};

/// What a client wants to do. The words of permissions in mediamtx.yml.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each name is the permission's own")]
pub enum Action {
    Publish,
    Read,
    Playback,
    Api,
    Metrics,
    Profile,
    Plugins,
}

/// What a client showed to prove who it is, without giving the proof away.
pub trait Proof: fmt::Debug + Send + Sync {
    /// Whether anything was shown at all; without, a refusal is a challenge and not a failure.
    fn is_some(&self) -> bool;
    /// The user name that was claimed.
    fn user(&self) -> Option<&str>;
    /// Whether the client knows `secret` as the password of `user`. Takes the same time for every wrong secret.
    fn matches(&self, user: &str, secret: &str) -> bool;
    /// The password in plain text, for hashed credentials and plugins that were granted it; `None` for digests.
    fn password(&self) -> Option<&str>;
    /// A bearer token.
    fn token(&self) -> Option<&str>;
}

/// Nothing was shown.
impl Proof for () {
    fn is_some(&self) -> bool {
        false
    }
    fn user(&self) -> Option<&str> {
        None
    }
    fn matches(&self, _user: &str, _secret: &str) -> bool {
        false
    }
    fn password(&self) -> Option<&str> {
        None
    }
    fn token(&self) -> Option<&str> {
        None
    }
}

/// One question to the gate.
#[derive(Clone, Debug)]
pub struct Access {
    /// What the client wants to do.
    pub action: Action,
    /// On which path; `None` for actions without one (API, metrics).
    pub path: Option<PathName>,
    /// Who asks.
    pub client: Arc<Client>,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
    /// What the client showed.
    pub proof: Arc<dyn Proof>,
}

/// The answer to an [`Access`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Go ahead, within these bounds.
    Allow(Permit),
    /// No.
    Deny(Denial),
}

/// What an allowed client may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permit {
    /// Who the client is, as the gate found out.
    pub identity: Option<String>,
    /// The session ends after this time.
    pub lasts: Option<Duration>,
    /// Ask again after this time while the session lives.
    pub recheck: Option<Duration>,
    /// Use this path instead of the one asked for.
    pub path: Option<PathName>,
    /// Bits per second that a publisher may send.
    pub max_bitrate: Option<u64>,
    /// Travel with the client to filters, sinks and events.
    pub tags: Vec<(String, String)>,
    /// The users of the configuration decided: whoever holds the permit asks again when they change.
    pub configured: bool,
}

/// Why not. Each protocol has its own code for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Show (other) credentials: a challenge. Counts as a failure only when some were shown.
    Credentials,
    /// Known, and not allowed.
    NotAllowed,
    /// As if the path did not exist.
    NotFound,
    /// Too many failures or sessions.
    TooMany,
    /// The one who decides cannot answer now; closed rather than open.
    Later,
}

/// Decides who may publish, read or administrate.
pub trait Gate: Send + Sync {
    /// Answers one question. May take as long as the slowest backend behind it; only the asking client waits.
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision>;

    /// Answers the question again for a client that was let in with the same proof. That is no login: it neither fails as
    /// one nor is refused because others failed.
    fn check_again<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        self.check(access)
    }
}

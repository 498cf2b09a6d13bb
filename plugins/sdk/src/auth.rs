//! The `auth` role: who may publish, read, play back or use the API.
//!
//! Asked off the media path, once per login, in the order of the path's chain: the first plugin that does not abstain decides. A plugin that
//! fails denies, unless the operator wrote another `onError`.

pub use crate::bindings::auth::exports::wasmtx::plugin::auth::{Decision, Denial, Permit, Request};
use crate::{Plugin, host};
use std::time::Duration;

/// What an auth plugin does.
pub trait Auth: Plugin {
    /// May this client do this on this path? Passwords, tokens and the secrets of a query are hidden unless the operator granted `credentials`.
    fn check(&mut self, request: Request) -> Decision;
}

/// Does `secret` match what the client under decision proved for `user`, by a password, Basic or Digest? The proof itself stays in the server, so
/// this needs no grant. False outside [`Auth::check`].
pub fn verify(user: &str, secret: &str) -> bool {
    host::verify(user, secret)
}

impl Decision {
    /// Yes, and nothing more to say.
    pub fn allow() -> Self {
        Decision::Allow(Permit::default())
    }
}

/// Changes nothing: no identity, no end, no other path, no limits. Meant for `Permit { identity: …, ..Permit::default() }`.
impl Default for Permit {
    fn default() -> Self {
        Permit {
            identity: None,
            lasts: None,
            recheck: None,
            path: None,
            max_bitrate: None,
            tags: Vec::new(),
        }
    }
}

impl Permit {
    /// Who the client is, for log, API and other plugins.
    pub fn identity(self, identity: impl Into<String>) -> Self {
        Self {
            identity: Some(identity.into()),
            ..self
        }
    }

    /// The session ends after this long (whole seconds, rounded down).
    pub fn lasts(self, time: Duration) -> Self {
        Self {
            lasts: Some(time.as_secs()),
            ..self
        }
    }

    /// Asks again after this long while the session lives (whole seconds, rounded down).
    pub fn recheck(self, time: Duration) -> Self {
        Self {
            recheck: Some(time.as_secs()),
            ..self
        }
    }

    /// Sends the client to another path than it named.
    pub fn path(self, path: impl Into<String>) -> Self {
        Self {
            path: Some(path.into()),
            ..self
        }
    }
}

impl From<Permit> for Decision {
    fn from(permit: Permit) -> Self {
        Decision::Allow(permit)
    }
}

impl From<Denial> for Decision {
    fn from(denial: Denial) -> Self {
        Decision::Deny(denial)
    }
}

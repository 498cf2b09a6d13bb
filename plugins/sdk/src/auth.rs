//! The `auth` role: who may publish, read, play back or use the API.
//!
//! Asked off the media path, once per login, in the order of the path's chain: the first plugin that does not abstain decides. A plugin that
//! fails denies, unless the operator wrote another `onError`. It may wait for [`http`](crate::http) and [`kv`](crate::kv); only its own client waits
//! with it.
//!
//! ```
//! use std::collections::HashMap;
//! use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request, verify};
//! use wasmtx_plugin::{Action, Error, Plugin};
//!
//! /// Members watch, by name and password.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Members {
//!     members: HashMap<String, String>,
//! }
//!
//! impl Plugin for Members {
//!     type Config = Self;
//!
//!     fn new(config: Self) -> Result<Self, Error> {
//!         Ok(config)
//!     }
//! }
//!
//! impl Auth for Members {
//!     fn check(&mut self, request: Request) -> Decision {
//!         if request.action != Action::Read {
//!             return Decision::Abstain;
//!         }
//!         match self.members.iter().find(|(name, password)| verify(name, password)) {
//!             Some((name, _)) => Permit::default().identity(name).into(),
//!             None => Denial::Credentials.into(),
//!         }
//!     }
//! }
//!
//! wasmtx_plugin::export!(Members: auth);
//! # fn main() {
//! # use wasmtx_plugin::testing::{configure, request, set_proof};
//! # let mut members: Members = configure(r#"{"members":{"ada":"engine"}}"#).unwrap();
//! # assert_eq!(members.check(request(Action::Read, "hall")), Denial::Credentials.into());
//! # set_proof("ada", "engine");
//! # assert_eq!(members.check(request(Action::Read, "hall")), Permit::default().identity("ada").into());
//! # }
//! ```

/// A [`Permit`] and a [`Denial`] turn into it with `into()`.
///
pub use crate::bindings::auth::exports::wasmtx::plugin::auth::Decision;
pub use crate::bindings::auth::exports::wasmtx::plugin::auth::Denial;
/// Yes, and under which conditions: `Permit::default()` has none, the methods add them.
///
pub use crate::bindings::auth::exports::wasmtx::plugin::auth::Permit;
/// `encrypted` says whether the connection is; `user` is what the client calls itself, proved or not.
///
pub use crate::bindings::auth::exports::wasmtx::plugin::auth::Request;
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

    /// A publisher that sends more than so many bits per second is closed, a reader gets no more.
    pub fn max_bitrate(self, bits: u64) -> Self {
        Self {
            max_bitrate: Some(bits),
            ..self
        }
    }

    /// A word about the client that travels with it: [`Client::tags`](crate::Client::tags) in filters, sinks and events.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((name.into(), value.into()));
        self
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

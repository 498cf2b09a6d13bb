//! The `events` role: what happened in the server, told afterwards.
//!
//! Off the media path, in order per path, from a bounded queue: a plugin may wait for [`http`](crate::http), [`kv`](crate::kv) and
//! [`storage`](crate::storage), and misses events (never delays what happens) when it takes too long; [`Stamp::lost`] says how many.
//!
//! ```
//! use wasmtx_plugin::events::{Event, Events, Stamp};
//! use wasmtx_plugin::{CloseReason, Error, Plugin, http, json};
//!
//! /// Tells a service when a camera goes away without being asked to.
//! #[derive(serde::Deserialize)]
//! #[serde(deny_unknown_fields)]
//! struct Watchman {
//!     url: String,
//! }
//!
//! impl Plugin for Watchman {
//!     type Config = Self;
//!
//!     fn new(config: Self) -> Result<Self, Error> {
//!         Ok(config)
//!     }
//! }
//!
//! impl Events for Watchman {
//!     fn on_event(&mut self, at: Stamp, event: Event) {
//!         let Event::Offline((path, reason)) = event else { return };
//!         if matches!(reason, CloseReason::Kicked | CloseReason::Shutdown | CloseReason::Replaced) {
//!             return;
//!         }
//!         let body = json!({ "camera": path, "reason": reason.name(), "time": at.when().as_secs() });
//!         match http::Request::post(&self.url).json(&body).send() {
//!             Ok(response) if response.is_success() => {}
//!             Ok(response) => wasmtx_plugin::warn!("the service answered {}", response.status),
//!             Err(error) => wasmtx_plugin::warn!("the service did not answer: {error}"),
//!         }
//!     }
//! }
//!
//! wasmtx_plugin::export!(Watchman: events);
//! # fn main() {
//! # use wasmtx_plugin::testing::{announce, answer_http, configure, take_log, take_requests};
//! # let mut watchman: Watchman = configure(r#"{"url":"https://watch.example.com"}"#).unwrap();
//! # answer_http(|_| Ok(http::Response::new(204)));
//! # announce(&mut watchman, Event::Offline(("door".into(), CloseReason::Kicked)));
//! # assert!(take_requests().is_empty());
//! # announce(&mut watchman, Event::Offline(("door".into(), CloseReason::Timeout)));
//! # assert_eq!(take_requests()[0].body, br#"{"camera":"door","reason":"timeout","time":0}"#);
//! # assert!(take_log().is_empty());
//! # }
//! ```

use std::time::Duration;

use crate::Plugin;
/// Something that happened.
///
/// | kind | what | holds |
/// |---|---|---|
/// | `Connected` | somebody is there, and has said neither what they want nor who they are | the client |
/// | `Disconnected` | they left | the client, why |
/// | `Refused` | somebody may not do what they wanted | the path, the client |
/// | `Online` | a stream begins, or its tracks changed | the publication |
/// | `Offline` | a stream ended | the path, why |
/// | `Reading` | somebody reads a stream | the path, the client |
/// | `ReadEnded` | they stopped | the path, the client, why |
/// | `SegmentStarted`, `SegmentDone` | a file of a recording was begun, is whole | the segment |
/// | `PluginFailed` | a plugin trapped or took too long | the path, what happened |
/// | `Other` | a plugin [raised](crate::notify::raise) it, or a later server knows more kinds | the kind's name, a JSON text |
///
pub use crate::bindings::events::exports::wasmtx::plugin::events::Event;
pub use crate::bindings::events::exports::wasmtx::plugin::events::Segment;
pub use crate::bindings::imports::wasmtx::plugin::types::Stamp;

/// What an events plugin does.
pub trait Events: Plugin {
    /// This happened, then. More kinds may come with later servers, as [`Event::Other`]: leave a `_` in the `match`.
    fn on_event(&mut self, at: Stamp, event: Event);
}

impl Stamp {
    /// When it happened, since 1970 (as [`clock::now`](crate::clock::now)).
    pub fn when(&self) -> Duration {
        Duration::from_micros(self.time)
    }
}

impl Event {
    /// The name of its kind as the contract spells it: `connected`, `segment-done`, … or the name that an event of a later kind brought.
    pub fn kind(&self) -> &str {
        match self {
            Event::Connected(_) => "connected",
            Event::Disconnected(_) => "disconnected",
            Event::Refused(_) => "refused",
            Event::Online(_) => "online",
            Event::Offline(_) => "offline",
            Event::Reading(_) => "reading",
            Event::ReadEnded(_) => "read-ended",
            Event::SegmentStarted(_) => "segment-started",
            Event::SegmentDone(_) => "segment-done",
            Event::PluginFailed(_) => "plugin-failed",
            Event::Other((kind, _)) => kind,
        }
    }

    /// The path it is about. None for what belongs to a connection as such, or to the server.
    pub fn path(&self) -> Option<&str> {
        let path = match self {
            Event::Refused((path, _))
            | Event::Offline((path, _))
            | Event::Reading((path, _))
            | Event::ReadEnded((path, _, _))
            | Event::PluginFailed((path, _)) => path,
            Event::Online(publication) => &publication.path,
            Event::SegmentStarted(segment) | Event::SegmentDone(segment) => &segment.path,
            Event::Connected(_) | Event::Disconnected(_) | Event::Other(_) => return None,
        };
        (!path.is_empty()).then_some(path)
    }
}

impl Segment {
    /// Wall time of its first frame, since 1970.
    pub fn begins(&self) -> Duration {
        Duration::from_micros(self.start)
    }

    /// How much time it covers; zero while it is being written.
    pub fn length(&self) -> Duration {
        Duration::from_micros(self.duration)
    }
}

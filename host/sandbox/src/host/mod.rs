//! The host's side of the contract: what a guest can call. One interface, one file.
//!
//! `log`, `clock`, `random`, `metrics` and `notify` are always there, bounded; `frame` answers while a filter has a
//! frame at hand, `proof` while an auth plugin decides; the rest must be granted and says `not-granted` otherwise.

mod clock;
mod control;
pub(crate) mod frame;
mod http;
pub(crate) mod kv;
pub(crate) mod log;
mod metrics;
mod notify;
mod proof;
mod random;
mod recording;
pub(crate) mod storage;
pub(crate) mod turn;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};
use wasmtx_hub::{Event, Events, PathName, Proof};

pub use self::kv::Kv;
use self::storage::Places;
use crate::{
    bindings::{self, plugin},
    deadline::Overtime,
    failure::Failure,
    hits::Refusal,
    limits::{Limits, Meter},
    metrics::Place,
    services::{Clock, Control, HttpBounds, HttpClient, Recordings, Services, StorageGrant},
    ticker::Ticker,
    version::Version,
};

/// The interfaces that the linkers have, without package and version.
pub(crate) const INTERFACES: [&str; 13] = [
    "types",
    "log",
    "clock",
    "random",
    "metrics",
    "notify",
    "frame",
    "kv",
    "http",
    "storage",
    "recording",
    "control",
    "proof",
];

/// What the operator allows a plugin beyond what every plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grants {
    /// Keep small values that all instances of the plugin share.
    pub kv: Kv,
    /// See passwords, tokens and the secrets of a query. Without it, an auth plugin can only compare, through `proof`.
    pub credentials: bool,
    /// Send requests there: hosts, URL prefixes, address ranges.
    pub http: Vec<String>,
    /// Name sources there, beside those with public addresses: hosts, address ranges.
    pub sources: Arc<[String]>,
    /// Keep files below a directory.
    pub storage: Option<StorageGrant>,
    /// Act on streams and sessions.
    pub control: Reach,
}

/// Where a plugin may ask for keyframes and end sessions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Nowhere.
    #[default]
    Nowhere,
    /// On the paths that use it.
    OwnPaths,
    /// On every path.
    Everywhere,
}

/// What a version of a plugin may reach, ready to use.
#[derive(Clone)]
pub(crate) struct Outside {
    pub(crate) http: Option<Arc<dyn HttpClient>>,
    pub(crate) storage: Option<storage::Granted>,
    pub(crate) recordings: Arc<dyn Recordings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) control: Arc<dyn Control>,
}

impl Outside {
    /// Opens what is granted.
    ///
    /// # Errors
    /// The grant that cannot work, in one sentence.
    pub(crate) fn new(
        grants: &Grants,
        limits: &Limits,
        services: &Services,
        places: &Places,
    ) -> Result<Outside, String> {
        let bounds = HttpBounds {
            at_once: limits.http_requests.max(1),
            body: limits.http_body,
        };
        let http = || services.http.client(&grants.http, bounds);
        Ok(Outside {
            http: (!grants.http.is_empty()).then(http).transpose()?,
            storage: grants
                .storage
                .as_ref()
                .map(|grant| places.open(grant, &*services.storage))
                .transpose()
                .map_err(|reason| format!("grant.storage: {reason}"))?,
            recordings: services.recordings.clone(),
            clock: services.clock.clone(),
            control: services.control.clone(),
        })
    }
}

/// What all instances of one plugin share.
pub(crate) struct Common {
    /// The name in the configuration.
    pub(crate) name: Arc<str>,
    pub(crate) kv: Arc<kv::Store>,
    pub(crate) lines: log::Throttle,
    /// Where it is noted what the plugin raises, and that it fails.
    pub(crate) events: Events,
}

impl Common {
    pub(crate) fn new(name: &str, kv: Arc<kv::Store>, events: Events) -> Common {
        Common {
            name: name.into(),
            kv,
            lines: log::Throttle::default(),
            events,
        }
    }

    /// Notes a failure on a path, if it has to do with one.
    pub(crate) fn note_failure(&self, path: &str, failure: &Failure) {
        self.events.emit(|| Event::PluginFailed {
            path: PathName::new(path).ok(),
            plugin: self.name.to_string(),
            text: failure.to_string(),
        });
    }

    /// Notes something else about the plugin, or that it says itself.
    pub(crate) fn note(&self, path: &str, kind: &str, json: impl FnOnce() -> String) {
        self.events.emit(|| Event::Other {
            path: PathName::new(path).ok(),
            plugin: Some(self.name.to_string()),
            kind: kind.to_owned(),
            json: json(),
        });
    }
}

/// What one store knows: whose instance it is, what it may take, and what the call at hand is about.
pub(crate) struct State {
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) common: Arc<Common>,
    pub(crate) place: Arc<Place>,
    pub(crate) grants: Grants,
    pub(crate) outside: Outside,
    pub(crate) limits: Limits,
    pub(crate) meter: Meter,
    pub(crate) frame: frame::AtHand,
    pub(crate) files: storage::Files,
    /// What the client showed, while `auth.check` runs.
    pub(crate) proof: Option<Arc<dyn Proof>>,
    /// Guest time left to the asynchronous call at hand; the epoch callback counts it down.
    pub(crate) running: Duration,
    /// Of the asynchronous call at hand.
    pub(crate) disk_time: Arc<turn::DiskTime>,
    /// Of an instance off the media path.
    pub(crate) turn: Option<turn::Turn>,
    /// The frame at hand may take until then, whatever the epochs say.
    pub(crate) not_before: Option<Instant>,
    /// Of the synchronous call at hand, once its deadline has passed.
    pub(crate) overtime: Option<Overtime>,
}

impl State {
    pub(crate) fn new(common: Arc<Common>, place: Arc<Place>, version: &Version) -> State {
        State {
            ticker: version.code.clocked.ticker.clone(),
            common,
            place,
            grants: version.grants.clone(),
            outside: version.outside.clone(),
            meter: Meter::new(&version.limits),
            frame: frame::AtHand::new(&version.limits),
            limits: version.limits.clone(),
            files: storage::Files::default(),
            proof: None,
            running: Duration::ZERO,
            disk_time: Arc::default(),
            turn: None,
            not_before: None,
            overtime: None,
        }
    }
}

impl State {
    /// In the words of the contract, where `over` is what it says about a bound. Bounds that are met are counted.
    fn refused<E>(&self, refusal: Refusal<E>, over: E) -> E {
        match refusal {
            Refusal::Error(error) => error,
            Refusal::Limit(limit) => {
                self.place.hits.hit(limit);
                over
            }
        }
    }
}

impl plugin::types::Host for State {}

/// Everything that a guest may import, as instances on the media path have it: `http` and `storage` answer `not-granted`
/// at once, whatever is granted.
pub(crate) fn media(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    bindings::Imports::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    // What bindgen generated for some functions is replaced.
    linker.allow_shadowing(true);
    frame::add_reads(&mut linker)?;
    linker.allow_shadowing(false);
    Ok(linker)
}

/// The same for instances off the media path, where a call may wait.
pub(crate) fn control(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = media(engine)?;
    linker.allow_shadowing(true);
    http::add_waiting(&mut linker)?;
    storage::add_waiting(&mut linker)?;
    linker.allow_shadowing(false);
    Ok(linker)
}

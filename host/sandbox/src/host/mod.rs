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
pub(crate) mod storage;

use std::{sync::Arc, time::Duration};

use wasmtime::{
    Engine,
    component::{HasSelf, Linker},
};
use wasmtx_hub::Proof;

use crate::{
    bindings::{self, plugin},
    deadline::Overtime,
    limits::Meter,
    metrics::Place,
    ticker::Ticker,
    version::Version,
};

/// The interfaces that [`linker`] has, without package and version.
pub(crate) const INTERFACES: [&str; 12] = [
    "types", "log", "clock", "random", "metrics", "notify", "frame", "kv", "http", "storage", "control", "proof",
];

/// What the operator allows a plugin beyond what every plugin may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Grants {
    /// Keep small values that all instances of the plugin share.
    pub kv: bool,
    /// See passwords, tokens and the secrets of a query. Without it, an auth plugin can only compare, through `proof`.
    pub credentials: bool,
}

/// What all instances of one plugin share.
pub(crate) struct Common {
    /// The name in the configuration.
    pub(crate) name: Arc<str>,
    pub(crate) kv: kv::Store,
    pub(crate) lines: log::Throttle,
}

impl Common {
    pub(crate) fn new(name: &str) -> Common {
        Common {
            name: name.into(),
            kv: kv::Store::default(),
            lines: log::Throttle::default(),
        }
    }
}

/// What one store knows: whose instance it is, what it may take, and what the call at hand is about.
pub(crate) struct State {
    pub(crate) ticker: Arc<Ticker>,
    pub(crate) common: Arc<Common>,
    pub(crate) place: Arc<Place>,
    pub(crate) grants: Grants,
    pub(crate) meter: Meter,
    pub(crate) frame: frame::AtHand,
    /// What the client showed, while `auth.check` runs.
    pub(crate) proof: Option<Arc<dyn Proof>>,
    /// Guest time left to the asynchronous call at hand; the epoch callback counts it down.
    pub(crate) running: Duration,
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
            meter: Meter::new(version.limits.memory),
            frame: frame::AtHand::default(),
            proof: None,
            running: Duration::ZERO,
            overtime: None,
        }
    }
}

impl plugin::types::Host for State {}

/// Everything that a guest may import.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    bindings::Imports::add_to_linker::<State, HasSelf<State>>(&mut linker, |state| state)?;
    frame::add_reads(&mut linker)?;
    Ok(linker)
}

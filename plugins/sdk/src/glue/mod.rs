//! Between the generated exports and the traits people write. Public only for [`export!`](crate::export).
//!
//! The macro makes one private type per component and gives it [`Exported`]; everything else is generic, here, where it is compiled and read once.
#![allow(missing_docs)]

use std::cell::RefCell;
use std::thread::LocalKey;
use std::time::Duration;

use crate::auth::{Auth, Decision, Denial, Request};
use crate::bindings::lifecycle::exports::wasmtx::plugin::lifecycle::Wishes;
use crate::bindings::{auth, events, filter, lifecycle, resolver, sink, transcoder};
use crate::events::{Event, Events, Stamp};
use crate::filter::{Filter, Opening, Verdict};
use crate::log::{Level, log};
use crate::resolver::{Answer, Resolver};
use crate::sink::{Item, Sink, Wants};
use crate::transcoder::{Plan, Transcoder};
use crate::{Client, CloseReason, Error, Frame, FrameInfo, Plugin, Publication, Snapshot, config};

/// Where a component keeps its one plugin, once configured.
pub struct Slot<P>(RefCell<Option<P>>);

impl<P> Slot<P> {
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Self(RefCell::new(None))
    }
}

pub trait Exported: 'static {
    type Plugin: Plugin;
    fn slot() -> &'static LocalKey<Slot<Self::Plugin>>;
}

/// None before `configure`, which a server calls first.
fn with<E: Exported, R>(call: impl FnOnce(&mut E::Plugin) -> R) -> Option<R> {
    E::slot().with(|slot| slot.0.borrow_mut().as_mut().map(call))
}

/// The server sees only that the instance ended; why is for the plugin to say, in one line, while it still can.
fn log_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let message = panic.payload_as_str().unwrap_or("without a message");
        match panic.location() {
            Some(place) => log(Level::Error, &format!("panicked at {place}: {message}")),
            None => log(Level::Error, &format!("panicked: {message}")),
        }
    }));
}

impl<E: Exported> lifecycle::exports::wasmtx::plugin::lifecycle::Guest for E {
    fn configure(json: String) -> Result<Wishes, Error> {
        log_panics();
        let plugin = E::Plugin::new(config::parse(&json)?)?;
        let tick = plugin
            .tick_every()
            .map(|every| every.as_millis().try_into().unwrap_or(u32::MAX));
        E::slot().with(|slot| slot.0.replace(Some(plugin)));
        Ok(Wishes { tick })
    }

    fn save() -> Option<Snapshot> {
        with::<E, _>(|plugin| plugin.save()).flatten()
    }

    fn restore(old: Snapshot) -> Result<(), Error> {
        with::<E, _>(|plugin| plugin.restore(old)).unwrap_or(Err(Error::NotReady))
    }

    fn tick(now: u64) {
        with::<E, _>(|plugin| plugin.tick(Duration::from_micros(now)));
    }
}

impl<E: Exported> filter::exports::wasmtx::plugin::filter::Guest for E
where
    E::Plugin: Filter,
{
    fn open(what: Publication) -> Result<Opening, Error> {
        with::<E, _>(|plugin| plugin.open(what)).unwrap_or(Err(Error::NotReady))
    }

    fn frame(info: FrameInfo) -> Verdict {
        with::<E, _>(|plugin| plugin.frame(&Frame::new(info))).unwrap_or(Verdict::Pass)
    }

    fn close(reason: CloseReason) {
        with::<E, _>(|plugin| plugin.close(reason));
    }
}

impl<E: Exported> auth::exports::wasmtx::plugin::auth::Guest for E
where
    E::Plugin: Auth,
{
    fn check(request: Request) -> Decision {
        with::<E, _>(|plugin| plugin.check(request)).unwrap_or(Decision::Deny(Denial::Later))
    }
}

impl<E: Exported> sink::exports::wasmtx::plugin::sink::Guest for E
where
    E::Plugin: Sink,
{
    fn open(what: Publication) -> Result<Wants, Error> {
        with::<E, _>(|plugin| plugin.open(what)).unwrap_or(Err(Error::NotReady))
    }

    fn frames(batch: Vec<sink::exports::wasmtx::plugin::sink::Item>) -> Result<(), Error> {
        let batch = batch.into_iter().map(Item::from).collect();
        with::<E, _>(|plugin| plugin.frames(batch)).unwrap_or(Err(Error::NotReady))
    }

    fn infos(batch: Vec<FrameInfo>) -> Result<(), Error> {
        with::<E, _>(|plugin| plugin.infos(batch)).unwrap_or(Err(Error::NotReady))
    }

    fn close(reason: CloseReason) {
        with::<E, _>(|plugin| plugin.close(reason));
    }
}

impl<E: Exported> transcoder::exports::wasmtx::plugin::transcoder::Guest for E
where
    E::Plugin: Transcoder,
{
    fn decide(what: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        with::<E, _>(|plugin| plugin.decide(what)).unwrap_or(Err(Error::NotReady))
    }
}

impl<E: Exported> events::exports::wasmtx::plugin::events::Guest for E
where
    E::Plugin: Events,
{
    fn on_event(at: Stamp, event: Event) {
        with::<E, _>(|plugin| plugin.on_event(at, event));
    }
}

impl<E: Exported> resolver::exports::wasmtx::plugin::resolver::Guest for E
where
    E::Plugin: Resolver,
{
    fn resolve(path: String, client: Client) -> Answer {
        with::<E, _>(|plugin| plugin.resolve(path, client)).unwrap_or(Answer::Nothing)
    }
}

#[cfg(test)]
mod tests;

//! Has all six roles and does the least in each: one component, one instance per role. Counts its calls in kv, as `<role>`, so that a test sees which were
//! made and that the instances share one store.

use wasmtx_plugin::auth::{Auth, Decision, Request};
use wasmtx_plugin::events::{Event, Events, Stamp};
use wasmtx_plugin::filter::{Filter, Verdict};
use wasmtx_plugin::resolver::{Answer, Resolver};
use wasmtx_plugin::sink::{Item, Sink};
use wasmtx_plugin::transcoder::{Plan, Transcoder};
use wasmtx_plugin::{Client, Error, Frame, NoConfig, Plugin, Publication, kv};

struct EveryRole;

impl Plugin for EveryRole {
    type Config = NoConfig;

    fn new(_: NoConfig) -> Result<Self, Error> {
        Ok(EveryRole)
    }
}

/// What is not granted, or does not fit, is not counted.
fn count(role: &str) {
    let _ = kv::add(role, 1, None);
}

impl Auth for EveryRole {
    fn check(&mut self, _: Request) -> Decision {
        count("auth");
        Decision::Abstain
    }
}

impl Filter for EveryRole {
    fn frame(&mut self, _: &Frame) -> Verdict {
        count("filter");
        Verdict::Pass
    }
}

impl Sink for EveryRole {
    fn frames(&mut self, _: Vec<Item>) -> Result<(), Error> {
        count("sink");
        Ok(())
    }
}

impl Transcoder for EveryRole {
    fn decide(&mut self, _: Publication) -> Result<Vec<(u32, Plan)>, Error> {
        count("transcoder");
        Ok(Vec::new())
    }
}

impl Events for EveryRole {
    fn on_event(&mut self, _: Stamp, _: Event) {
        count("events");
    }
}

impl Resolver for EveryRole {
    fn resolve(&mut self, _: String, _: Client) -> Answer {
        count("resolver");
        Answer::Nothing
    }
}

wasmtx_plugin::export!(EveryRole: auth, filter, sink, transcoder, events, resolver);

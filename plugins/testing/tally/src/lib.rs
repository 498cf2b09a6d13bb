//! Counts the events that it is told, and hands the count over to its successor: `{ mark: 1, tick: milliseconds }`.
//!
//! Each event is answered with one of its own, `counted` with mark and count; each tick with `ticked`, mark and the number of
//! ticks. As an auth plugin it lets everybody in as `<mark>-<ticks>`: each role has an instance of its own.

use std::time::Duration;

use serde::Deserialize;
use wasmtx_plugin::auth::{Auth, Decision, Permit, Request};
use wasmtx_plugin::events::{Event, Events, Stamp};
use wasmtx_plugin::{Error, Plugin, Snapshot, json, notify};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    #[serde(default)]
    mark: u32,
    tick: Option<u64>,
}

struct Tally {
    config: Config,
    count: u64,
    ticks: u64,
}

impl Plugin for Tally {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            config,
            count: 0,
            ticks: 0,
        })
    }

    fn tick_every(&self) -> Option<Duration> {
        self.config.tick.map(Duration::from_millis)
    }

    fn tick(&mut self, _now: Duration) {
        self.ticks += 1;
        notify::raise("ticked", &json!({ "mark": self.config.mark, "ticks": self.ticks }));
    }

    fn save(&self) -> Option<Snapshot> {
        Some(Snapshot {
            schema: 1,
            data: self.count.to_be_bytes().to_vec(),
        })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        let count = old.data.try_into().map_err(|_| Error::Unsupported)?;
        self.count = u64::from_be_bytes(count);
        Ok(())
    }
}

impl Events for Tally {
    fn on_event(&mut self, _at: Stamp, _event: Event) {
        self.count += 1;
        notify::raise("counted", &json!({ "mark": self.config.mark, "count": self.count }));
    }
}

impl Auth for Tally {
    fn check(&mut self, _request: Request) -> Decision {
        Permit::default()
            .identity(format!("{}-{}", self.config.mark, self.ticks))
            .into()
    }
}

wasmtx_plugin::export!(Tally: auth, events);

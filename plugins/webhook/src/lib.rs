//! Tells a service by HTTP what happens: events in batches, signed, tried again until they are through. See README.md.

mod outbox;
mod words;

use std::collections::BTreeMap;
use std::time::Duration;

use outbox::{Outbox, Sent};
use serde::Deserialize;
use wasmtx_plugin::events::{Event, Events, Stamp};
use wasmtx_plugin::{CloseReason, Error, Plugin, Snapshot, http};

const SCHEMA: u32 = 1;
const MOST_EVENTS: usize = 10_000;
/// A secret that could be guessed protects nothing.
const SHORTEST_SECRET: usize = 16;

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[serde(default)]
struct Config {
    url: String,
    /// Signs what is sent.
    secret: Option<String>,
    /// None: all kinds.
    events: Option<Vec<String>>,
    /// At most so many in one request …
    batch: usize,
    /// … and none waits for others longer than so many seconds.
    wait: f64,
    /// At most so many wait while the service cannot be reached.
    queue: usize,
    /// Seconds for one request.
    timeout: f64,
    headers: BTreeMap<String, String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            url: String::new(),
            secret: None,
            events: None,
            batch: 50,
            wait: 1.0,
            queue: 1_000,
            timeout: 5.0,
            headers: BTreeMap::new(),
        }
    }
}

struct Webhook {
    config: Config,
    outbox: Outbox,
}

impl Plugin for Webhook {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if !config.url.starts_with("https://") && !config.url.starts_with("http://") {
            return Err(Error::invalid("/url", "must be an http:// or https:// URL"));
        }
        if config
            .secret
            .as_ref()
            .is_some_and(|secret| secret.len() < SHORTEST_SECRET)
        {
            return Err(Error::invalid(
                "/secret",
                format!("a secret has at least {SHORTEST_SECRET} bytes"),
            ));
        }
        if !(1..=1_000).contains(&config.batch) {
            return Err(Error::invalid("/batch", "must be 1 to 1000"));
        }
        if !(config.batch..=MOST_EVENTS).contains(&config.queue) {
            return Err(Error::invalid(
                "/queue",
                format!("must be at least `batch` and at most {MOST_EVENTS}"),
            ));
        }
        if !(0.0..=3_600.0).contains(&config.wait) {
            return Err(Error::invalid("/wait", "must be 0 to 3600 seconds"));
        }
        // The host ends a call of this role after 30 s.
        if !(0.1..=25.0).contains(&config.timeout) {
            return Err(Error::invalid("/timeout", "must be 0.1 to 25 seconds"));
        }
        let outbox = Outbox::new(config.queue, config.batch);
        Ok(Self { config, outbox })
    }

    /// For batches that do not fill, and for those that failed.
    fn tick_every(&self) -> Option<Duration> {
        Some(Duration::from_secs_f64(self.config.wait.max(0.1)))
    }

    fn tick(&mut self, _now: Duration) {
        self.send();
    }

    /// What waits goes along to the next version.
    fn save(&self) -> Option<Snapshot> {
        Some(Snapshot {
            schema: SCHEMA,
            data: self.outbox.save(),
        })
    }

    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        if old.schema != SCHEMA {
            return Err(Error::Unsupported);
        }
        self.outbox.restore(&old.data);
        Ok(())
    }
}

impl Events for Webhook {
    fn on_event(&mut self, at: Stamp, event: Event) {
        let wanted = |kinds: &Vec<String>| kinds.iter().any(|kind| kind == event.kind());
        if !self.config.events.as_ref().is_none_or(wanted) {
            return;
        }
        self.outbox.push(words::event(&at, &event).to_string());
        if self.outbox.has_a_batch() || self.config.wait == 0.0 || is_the_last(&event) {
            self.send();
        }
    }
}

impl Webhook {
    /// One batch, if there is one and no pause after a failure. One alone, so that a long queue is not sent within one call.
    fn send(&mut self) {
        let Some((name, body)) = self.outbox.next() else { return };
        let mut request = http::Request::post(&self.config.url)
            .header("content-type", "application/json")
            .header("x-wasmtx-delivery", name);
        for (name, value) in &self.config.headers {
            request = request.header(name, value);
        }
        request = request.body(body).timeout(Duration::from_secs_f64(self.config.timeout));
        if let Some(secret) = &self.config.secret {
            request = request.signed(secret.as_bytes());
        }
        let sent = match request.send() {
            Ok(response) if response.is_success() => Sent::Through,
            Ok(response) => {
                wasmtx_plugin::warn!("{} answers {}", self.config.url, response.status);
                // "Too slow", "too many" and what is broken over there get better; other refusals do not.
                let later = matches!(response.status, 408 | 425 | 429 | 500..);
                if later { Sent::Failed } else { Sent::Refused }
            }
            Err(error) => {
                wasmtx_plugin::warn!("{} does not answer: {}", self.config.url, error.name());
                Sent::Failed
            }
        };
        self.outbox.done(sent);
    }
}

/// The server stops: there may be no tick any more.
fn is_the_last(event: &Event) -> bool {
    matches!(
        event,
        Event::Offline((_, CloseReason::Shutdown))
            | Event::Disconnected((_, CloseReason::Shutdown))
            | Event::ReadEnded((_, _, CloseReason::Shutdown))
    )
}

wasmtx_plugin::export!(Webhook: events);

#[cfg(test)]
mod tests;

//! An events plugin that does as it is told: `{ mode: <one of Mode>, kind: <of the events that matter>, to: <text>, first: n, every: m }`.
//!
//! Without `kind` all events matter. Of those `first` are only counted, then the mode applies to each `every`-th (default: each).

use std::hint::black_box;
use std::time::Duration;

use serde::Deserialize;
use wasmtx_plugin::events::{Event, Events, Stamp};
use wasmtx_plugin::log::{Level, log};
use wasmtx_plugin::storage::File;
use wasmtx_plugin::{Error, Plugin, clock, control, http, json, kv, metrics, notify};

/// How long `slow` computes.
const SLOW: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Logs number, lost, kind and path: `3 0 online cam1`, `-` for no path.
    Tell,
    /// Logs all there is to know.
    TellAll,
    /// Counts each kind in kv, as `events/<kind>`.
    Count,
    /// Counts each kind in a metric, `events_<kind>` with `_` for `-`.
    Measure,
    /// Posts `{"kind","path","number","lost"}` to the URL `to`, and logs what came back.
    Post,
    /// Appends the line of `tell` to the file `to`.
    Write,
    /// Raises an event `seen` about everything but what plugins raised.
    Raise,
    /// Raises an event about every event, its own too.
    Echo,
    /// Ends the session of whoever connects, publishes or reads.
    Kick,
    /// Asks for a keyframe on the event's path.
    Keyframe,
    /// Computes for a while.
    Slow,
    Trap,
    Spin,
    Grow,
    /// A thousand log lines, long, with control characters.
    LogFlood,
    /// A thousand events of its own, names and contents of all sorts.
    NotifyFlood,
    /// A thousand metrics, names and values of all sorts.
    MetricsFlood,
    /// Fills kv until it refuses, then logs the refusal.
    KvFlood,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
    kind: Option<String>,
    #[serde(default)]
    to: String,
    #[serde(default)]
    first: u64,
    #[serde(default = "one")]
    every: u64,
}

fn one() -> u64 {
    1
}

struct EventsModes {
    config: Config,
    calls: u64,
    file: Option<File>,
}

impl Plugin for EventsModes {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        Ok(Self {
            config,
            calls: 0,
            file: None,
        })
    }
}

impl Events for EventsModes {
    fn on_event(&mut self, at: Stamp, event: Event) {
        if self.config.kind.as_deref().is_some_and(|kind| kind != event.kind()) {
            return;
        }
        let call = self.calls;
        self.calls += 1;
        if call < self.config.first || !(call - self.config.first).is_multiple_of(self.config.every.max(1)) {
            return;
        }
        let kind = event.kind();
        let path = event.path().unwrap_or("-");
        let line = format!("{} {} {kind} {path}", at.number, at.lost);
        match self.config.mode {
            Mode::Tell => wasmtx_plugin::info!("{line}"),
            Mode::TellAll => wasmtx_plugin::info!("{at:?} {event:?}"),
            Mode::Count => say(
                "kv",
                kv::add(&format!("events/{kind}"), 1, None)
                    .map(drop)
                    .map_err(|error| error.name()),
            ),
            Mode::Measure => metrics::counter(&format!("events_{}", kind.replace('-', "_")), 1),
            Mode::Post => {
                let body = json!({ "kind": kind, "path": event.path(), "number": at.number, "lost": at.lost });
                match http::Request::post(&self.config.to).json(&body).send() {
                    Ok(response) => wasmtx_plugin::info!("posted {line}: {}", response.status),
                    Err(error) => wasmtx_plugin::warn!("not posted {line}: {}", error.name()),
                }
            }
            Mode::Write => say("storage", self.write(&line).map_err(|error| error.name())),
            Mode::Raise if matches!(event, Event::Other(_)) => {}
            Mode::Raise | Mode::Echo => notify::raise("seen", &json!({ "kind": kind, "path": event.path() })),
            Mode::Kick => {
                if let Some(session) = session(&event) {
                    control::kick(session, "kicked\r\nas asked");
                }
            }
            Mode::Keyframe => control::request_keyframe(path),
            Mode::Slow => {
                let end = clock::monotonic() + SLOW;
                while clock::monotonic() < end {}
            }
            Mode::Trap => panic!("{kind} is not to my liking"),
            Mode::Spin => loop {
                black_box(());
            },
            Mode::Grow => {
                let mut taken: Vec<Vec<u8>> = Vec::new();
                loop {
                    taken.push(black_box(vec![1; 1 << 20]));
                }
            }
            Mode::LogFlood => {
                let line = "\u{1b}[31m\r\nERROR all is lost\0".repeat(1_000);
                (0..1_000).for_each(|_| log(Level::Error, &line));
            }
            Mode::NotifyFlood => notify_flood(),
            Mode::MetricsFlood => metrics_flood(),
            Mode::KvFlood => kv_flood(),
        }
    }
}

impl EventsModes {
    fn write(&mut self, line: &str) -> Result<(), wasmtx_plugin::storage::Error> {
        let file = match &mut self.file {
            Some(file) => file,
            None => self.file.insert(File::create(&self.config.to)?),
        };
        file.append(format!("{line}\n")).map(drop)
    }
}

fn say(service: &str, outcome: Result<(), &'static str>) {
    if let Err(error) = outcome {
        wasmtx_plugin::warn!("{service}: {error}");
    }
}

fn session(event: &Event) -> Option<&str> {
    match event {
        Event::Connected(client) | Event::Reading((_, client)) => Some(&client.session),
        Event::Online(publication) => publication.publisher.as_ref().map(|client| client.session.as_str()),
        _ => None,
    }
}

fn notify_flood() {
    let kinds = ["", "online", "\u{1b}[31m\r\n", "fl\0od"];
    for turn in 0..1_000 {
        notify::raise(kinds[turn % kinds.len()], &"x".repeat(turn * 100));
    }
}

fn metrics_flood() {
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX];
    for turn in 0..1_000 {
        let value = values[turn % values.len()];
        let name = match turn % 4 {
            0 => "a name with spaces\n# HELP".to_owned(),
            1 => "x".repeat(turn * 100),
            _ => format!("flood_{turn}"),
        };
        metrics::counter(&name, u64::MAX);
        metrics::gauge(&name, value);
        metrics::observe(&name, value);
    }
}

fn kv_flood() {
    let value = vec![7; 60 << 10];
    let refusal = (0..100_000).find_map(|turn| kv::set(&format!("flood/{turn}"), &value, None).err());
    let huge = kv::set("huge", vec![7; 1 << 20], None).err();
    let name = |error: Option<kv::Error>| error.map_or("nothing", |error| error.name());
    wasmtx_plugin::info!("refused: {}, and a huge one: {}", name(refusal), name(huge));
}

wasmtx_plugin::export!(EventsModes: events);

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{
        announce, answer_http, client, configure, metrics, publication, segment, take_kicks, take_log, take_raised,
    };
    use wasmtx_plugin::{CloseReason, storage};

    /// Tells of a connection, a stream and a segment.
    fn run(config: &str) -> Vec<String> {
        let mut plugin: EventsModes = configure(config).unwrap();
        announce(&mut plugin, Event::Connected(client()));
        announce(&mut plugin, Event::Online(publication("cam", [])));
        announce(&mut plugin, Event::SegmentDone(segment("cam")));
        announce(&mut plugin, Event::Offline(("cam".into(), CloseReason::Ended)));
        take_log().into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn what_happened_is_told_written_and_counted() {
        assert_eq!(
            run(r#"{"mode":"tell"}"#),
            [
                "1 0 connected -",
                "2 0 online cam",
                "3 0 segment-done cam",
                "4 0 offline cam"
            ]
        );
        run(r#"{"mode":"write","to":"log","first":1,"every":2}"#);
        assert_eq!(
            storage::read("log", 0, 99).unwrap(),
            b"6 0 online cam\n8 0 offline cam\n"
        );
        run(r#"{"mode":"count"}"#);
        assert_eq!(kv::get("events/online").unwrap(), b"1");
        run(r#"{"mode":"measure"}"#);
        assert_eq!(metrics().counters["events_segment_done"], 1);
    }

    #[test]
    fn only_the_kind_that_matters_is_answered() {
        answer_http(|_| Ok(http::Response::new(500)));
        let lines = run(r#"{"mode":"post","to":"http://a.example","kind":"online"}"#);
        assert_eq!(lines, ["posted 2 0 online cam: 500"]);
        run(r#"{"mode":"kick","kind":"connected"}"#);
        assert_eq!(take_kicks().len(), 1);
        run(r#"{"mode":"raise","kind":"offline"}"#);
        assert_eq!(
            take_raised(),
            [("seen".into(), json!({ "kind": "offline", "path": "cam" }))]
        );
    }

    #[test]
    fn floods_are_cut_and_said_so() {
        let lines = run(r#"{"mode":"kv-flood","kind":"online"}"#);
        assert_eq!(lines, ["refused: quota, and a huge one: too-large"]);
        run(r#"{"mode":"metrics-flood","kind":"online"}"#);
        assert!(metrics().gauges.values().all(|value| value.is_finite()));
    }
}

//! The series that only wasmtx has.

use std::sync::atomic::Ordering::Relaxed;

use wasmtx_sandbox::{Sample, Status, Usage};

use super::{
    Counters, conversions, process, recordings,
    text::{Labels, Object, Text, bounded},
};
use crate::api::View;

/// A series that grows.
const COUNTER: &str = "counter";
/// A series that goes up and down.
const GAUGE: &str = "gauge";

pub(super) fn write(text: &mut Text, view: &View, counters: &Counters) {
    process_rows(text, view);
    paths(text, view);
    connections(text, view, counters);
    text.describe(
        "wasmtx_auth_decisions_total",
        COUNTER,
        "Answers to who asked for access.",
    );
    for (result, count) in counters.gate.decisions() {
        text.row(
            "wasmtx_auth_decisions_total",
            "",
            &[("result", result.to_owned())],
            count,
        );
    }
    single(
        text,
        "wasmtx_log_lines_dropped_total",
        COUNTER,
        "Lines the log had no room for.",
        (counters.log_dropped)(),
    );
    plugins(text, &view.plugins.status());
    conversions::workers(text, &view.workers.statistics());
    recordings::write(text, view);
}

fn single(text: &mut Text, name: &str, kind: &str, help: &str, value: impl std::fmt::Display) {
    text.describe(name, kind, help);
    text.row(name, "", &[], value);
}

#[allow(clippy::cast_precision_loss, reason = "a time in seconds, as Prometheus wants it")]
fn process_rows(text: &mut Text, view: &View) {
    if let Some(seconds) = process::cpu_seconds() {
        single(
            text,
            "wasmtx_process_cpu_seconds_total",
            COUNTER,
            "Processor time used.",
            seconds,
        );
    }
    if let Some(bytes) = process::resident_bytes() {
        single(
            text,
            "wasmtx_process_resident_memory_bytes",
            GAUGE,
            "Memory in use.",
            bytes,
        );
    }
    let started = view.started.0 as f64 / 1e6;
    single(
        text,
        "wasmtx_process_start_time_seconds",
        GAUGE,
        "When the server was started, since 1970.",
        started,
    );
}

fn paths(text: &mut Text, view: &View) {
    let object = |path: &std::sync::Arc<wasmtx_hub::Path>| {
        let buffered = path.publication().map_or(0, |publication| publication.buffered_bytes());
        let discarded = path.counters.frames_discarded.load(Relaxed);
        let current = vec![u64::try_from(buffered).unwrap_or(u64::MAX), discarded];
        Object {
            labels: vec![("name", path.name.to_string())],
            current,
            ..Object::default()
        }
    };
    let objects = bounded(view.hub.paths().iter().map(object).collect(), 2);
    let series = [
        ("wasmtx_path_buffered_bytes", GAUGE, "Bytes of frames kept for readers."),
        (
            "wasmtx_path_frames_discarded_total",
            COUNTER,
            "Frames that readers missed because they were too slow.",
        ),
    ];
    for (at, (name, kind, help)) in series.into_iter().enumerate() {
        text.describe(name, kind, help);
        objects
            .iter()
            .for_each(|object| text.row(name, "", &object.labels, object.current[at]));
    }
}

fn connections(text: &mut Text, view: &View, counters: &Counters) {
    const NAME: &str = "wasmtx_connections_refused_total";
    text.describe(
        NAME,
        COUNTER,
        "Connections refused or closed for a reason that is the client's.",
    );
    let streams = [
        ("rtsp", view.rtsp.refused()),
        ("rtmp", view.rtmp.refused()),
        ("flv", view.flv.refused()),
    ];
    let streams = streams
        .into_iter()
        .flat_map(|(server, refused)| refused.into_iter().map(move |(reason, count)| (server, reason, count)));
    let http = counters.http.iter().flat_map(|(server, refused)| {
        refused
            .counts()
            .into_iter()
            .map(|(reason, count)| (*server, reason, count))
    });
    for (server, reason, count) in streams.chain(http) {
        text.row(
            NAME,
            "",
            &[("reason", reason.to_owned()), ("server", server.to_owned())],
            count,
        );
    }
}

/// A counter of a plugin on a path.
type Count = (&'static str, &'static str, fn(&Usage) -> u64);

const PLUGIN_COUNTERS: &[Count] = &[
    ("wasmtx_plugin_calls_total", "Calls of the guest.", |usage| usage.calls),
    (
        "wasmtx_plugin_passed_total",
        "Frames passed, or requests allowed.",
        |usage| usage.passed,
    ),
    (
        "wasmtx_plugin_dropped_total",
        "Frames dropped, or requests denied.",
        |usage| usage.dropped,
    ),
    ("wasmtx_plugin_closed_total", "Streams closed by the guest.", |usage| {
        usage.closed
    }),
    ("wasmtx_plugin_emitted_total", "Frames made by the guest.", |usage| {
        usage.emitted
    }),
    (
        "wasmtx_plugin_refused_total",
        "Frames of the guest that were refused.",
        |usage| usage.refused,
    ),
    (
        "wasmtx_plugin_bypassed_total",
        "Frames that went round the plugin.",
        |usage| usage.bypassed,
    ),
    (
        "wasmtx_plugin_lost_total",
        "Frames that a sink missed because it was too slow.",
        |usage| usage.lost,
    ),
    (
        "wasmtx_plugin_restarts_total",
        "Instances made after a failure.",
        |usage| usage.restarts,
    ),
    (
        "wasmtx_plugin_read_bytes_total",
        "Payload bytes that the guest read.",
        |usage| usage.bytes_read,
    ),
    (
        "wasmtx_plugin_made_bytes_total",
        "Payload bytes that the guest made.",
        |usage| usage.bytes_made,
    ),
];

/// Failures of one kind.
type Failures = (&'static str, fn(&Usage) -> u64);

const PLUGIN_FAILURES: &[Failures] = &[
    ("trap", |usage| usage.traps),
    ("deadline", |usage| usage.deadlines),
    ("memory", |usage| usage.memory),
    ("other", |usage| usage.other),
];

const PLUGIN_GAUGES: &[Count] = &[
    (
        "wasmtx_plugin_memory_bytes",
        "Linear memory of the instance.",
        |usage| usage.memory_bytes,
    ),
    (
        "wasmtx_plugin_held_bytes",
        "Bytes of frames that the guest holds.",
        |usage| usage.held_bytes,
    ),
];

/// Places (a plugin on a path) that are shown; of more, the first by name.
const MAX_PLACES: usize = 500;

fn plugins(text: &mut Text, all: &[Status]) {
    if all.is_empty() {
        return;
    }
    text.describe("wasmtx_plugin_swaps_total", COUNTER, "New versions that took over.");
    for status in all {
        text.row(
            "wasmtx_plugin_swaps_total",
            "",
            &[("plugin", status.name.clone())],
            status.swaps,
        );
    }
    let places = all
        .iter()
        .flat_map(|status| status.uses.iter().map(move |usage| (status.name.as_str(), usage)));
    let places: Vec<_> = places.take(MAX_PLACES).collect();
    usages(text, &places);
    conversions::write(text, &places);
}

fn usages(text: &mut Text, places: &[(&str, &Usage)]) {
    let labels = |plugin: &str, usage: &Usage| [("path", usage.path.clone()), ("plugin", plugin.to_owned())];
    for (kind, series) in [(COUNTER, PLUGIN_COUNTERS), (GAUGE, PLUGIN_GAUGES)] {
        for (name, help, value) in series {
            text.describe(name, kind, help);
            for (plugin, usage) in places {
                text.row(name, "", &labels(plugin, usage), value(usage));
            }
        }
    }
    times(text, places);
    const CONDITION: &str = "wasmtx_plugin_condition";
    text.describe(CONDITION, GAUGE, "1 for how the plugin stands on the path.");
    for (plugin, usage) in places {
        let [path, plugin] = labels(plugin, usage);
        let condition = ("condition", usage.condition.name().to_owned());
        text.row(CONDITION, "", &[condition, path, plugin], 1);
    }
    text.describe("wasmtx_plugin_failures_total", COUNTER, "Failures of the guest.");
    for (plugin, usage) in places {
        for (kind, value) in PLUGIN_FAILURES {
            let [path, plugin] = labels(plugin, usage);
            text.row(
                "wasmtx_plugin_failures_total",
                "",
                &[("kind", (*kind).to_owned()), path, plugin],
                value(usage),
            );
        }
    }
    text.describe(
        "wasmtx_plugin_limit_hits_total",
        COUNTER,
        "Times that the guest ran into a bound, by the key that changes it.",
    );
    for (plugin, usage) in places {
        for (limit, hits) in &usage.hits {
            let [path, plugin] = labels(plugin, usage);
            text.row(
                "wasmtx_plugin_limit_hits_total",
                "",
                &[("limit", (*limit).to_owned()), path, plugin],
                hits,
            );
        }
    }
    text.describe("wasmtx_plugin_series", "untyped", "What the guest itself counts.");
    for (plugin, usage) in places {
        for (name, sample) in &usage.series {
            let [path, plugin] = labels(plugin, usage);
            series(text, *sample, &[("name", name.clone()), path, plugin]);
        }
    }
}

/// How long calls took, as a histogram.
fn times(text: &mut Text, places: &[(&str, &Usage)]) {
    const NAME: &str = "wasmtx_plugin_call_seconds";
    let help = "Time of a call; of the calls for frames, one in 16 is measured.";
    text.describe(NAME, "histogram", help);
    for (plugin, usage) in places {
        let labels = [("path", usage.path.clone()), ("plugin", (*plugin).to_owned())];
        let [path, plugin] = labels.clone();
        for (bound, below) in &usage.times.buckets {
            let bound = ("le", bound.as_secs_f64().to_string());
            text.row(NAME, "_bucket", &[bound, path.clone(), plugin.clone()], below);
        }
        let rest = ("le", "+Inf".to_owned());
        text.row(NAME, "_bucket", &[rest, path, plugin], usage.times.count);
        text.row(NAME, "_sum", &labels, usage.times.sum.as_secs_f64());
        text.row(NAME, "_count", &labels, usage.times.count);
    }
}

fn series(text: &mut Text, sample: Sample, labels: &Labels) {
    match sample {
        Sample::Counter(value) => text.row("wasmtx_plugin_series", "", labels, value),
        Sample::Gauge(value) => text.row("wasmtx_plugin_series", "", labels, value),
        Sample::Summary { count, sum } => {
            text.row("wasmtx_plugin_series", "_count", labels, count);
            text.row("wasmtx_plugin_series", "_sum", labels, sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_on_a_path_has_its_labels_and_its_guests_own_series() {
        let mut usage = Usage::default();
        usage.path = "cam".into();
        usage.calls = 7;
        usage.traps = 2;
        usage.hits = vec![("heldFrames", 5)];
        usage.series = vec![
            ("faces".into(), Sample::Counter(3)),
            ("size".into(), Sample::Summary { count: 2, sum: 1.5 }),
        ];
        let mut text = Text::default();
        usages(&mut text, &[("detector", &usage)]);
        let text = text.finish();
        for row in [
            "wasmtx_plugin_calls_total{path=\"cam\",plugin=\"detector\"} 7\n",
            "wasmtx_plugin_failures_total{kind=\"trap\",path=\"cam\",plugin=\"detector\"} 2\n",
            "wasmtx_plugin_limit_hits_total{limit=\"heldFrames\",path=\"cam\",plugin=\"detector\"} 5\n",
            "wasmtx_plugin_series{name=\"faces\",path=\"cam\",plugin=\"detector\"} 3\n",
            "wasmtx_plugin_series_count{name=\"size\",path=\"cam\",plugin=\"detector\"} 2\n",
            "wasmtx_plugin_series_sum{name=\"size\",path=\"cam\",plugin=\"detector\"} 1.5\n",
        ] {
            assert!(text.contains(row), "{row}{text}");
        }
    }
}

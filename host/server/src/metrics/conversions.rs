//! What is re-encoded because a plugin plans it, and by whom.

use wasmtx_endpoints::codec::Statistics;
use wasmtx_sandbox::{Conversions, Usage};

use super::text::Text;

/// A series of a plugin on a path, and its value.
type Series = (&'static str, &'static str, &'static str, fn(Conversions) -> u64);

const SERIES: &[Series] = &[
    (
        "wasmtx_conversions_running",
        "gauge",
        "Tracks that are being made of others.",
        |conversions| conversions.running as u64,
    ),
    (
        "wasmtx_conversions_begun_total",
        "counter",
        "Times that it was begun to make a track.",
        |conversions| conversions.begun,
    ),
    (
        "wasmtx_conversion_frames_total",
        "counter",
        "Frames made.",
        |conversions| conversions.frames,
    ),
    (
        "wasmtx_conversion_frames_lost_total",
        "counter",
        "Frames to be re-encoded that came to nothing.",
        |conversions| conversions.lost,
    ),
    (
        "wasmtx_conversion_restarts_total",
        "counter",
        "Codecs started again after a failure.",
        |conversions| conversions.restarts,
    ),
];

/// Of the plugins that ever planned something.
pub(super) fn write(text: &mut Text, places: &[(&str, &Usage)]) {
    let plans = |usage: &Usage| !usage.plan.is_empty() || usage.conversions.begun > 0;
    let places: Vec<_> = places.iter().filter(|(_, usage)| plans(usage)).collect();
    if places.is_empty() {
        return;
    }
    for (name, kind, help, value) in SERIES {
        text.describe(name, kind, help);
        for (plugin, usage) in &places {
            let labels = [("path", usage.path.clone()), ("plugin", (*plugin).to_owned())];
            text.row(name, "", &labels, value(usage.conversions));
        }
    }
}

/// Of the processes that re-encode, once there was one.
pub(super) fn workers(text: &mut Text, statistics: &Statistics) {
    if statistics.starts == 0 {
        return;
    }
    let rows = [
        (
            "workers",
            "gauge",
            "Processes that re-encode sound.",
            statistics.workers,
        ),
        (
            "worker_restarts_total",
            "counter",
            "Processes that took the place of one that ended or was stuck.",
            statistics.restarts,
        ),
        (
            "packets_broken_total",
            "counter",
            "Packets that their codec could not read.",
            statistics.packets_broken,
        ),
        (
            "packets_lost_total",
            "counter",
            "Packets that no process took, or that ended with one.",
            statistics.packets_lost,
        ),
    ];
    for (name, kind, help, value) in rows {
        let name = format!("wasmtx_codec_{name}");
        text.describe(&name, kind, help);
        text.row(&name, "", &[], value);
    }
    let name = "wasmtx_codec_cpu_seconds_total";
    text.describe(name, "counter", "Processor time of these processes.");
    text.row(name, "", &[], statistics.cpu.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_re_encodes_has_rows() {
        let mut usage = Usage::default();
        usage.path = "cam".into();
        let idle = usage.clone();
        usage.conversions.running = 1;
        usage.conversions.begun = 2;
        usage.conversions.lost = 3;
        let mut text = Text::default();
        write(&mut text, &[("aac", &usage), ("stats", &idle)]);
        let text = text.finish();
        for row in [
            "wasmtx_conversions_running{path=\"cam\",plugin=\"aac\"} 1\n",
            "wasmtx_conversions_begun_total{path=\"cam\",plugin=\"aac\"} 2\n",
            "wasmtx_conversion_frames_lost_total{path=\"cam\",plugin=\"aac\"} 3\n",
        ] {
            assert!(text.contains(row), "{row}{text}");
        }
        assert!(!text.contains("stats"), "{text}");
        let mut none = Text::default();
        write(&mut none, &[("stats", &idle)]);
        assert_eq!(none.finish(), "");
    }

    #[test]
    fn processes_are_shown_once_there_was_one() {
        let mut text = Text::default();
        let mut statistics = Statistics::default();
        workers(&mut text, &statistics);
        statistics.starts = 3;
        statistics.restarts = 2;
        statistics.cpu = std::time::Duration::from_millis(1_500);
        workers(&mut text, &statistics);
        let text = text.finish();
        assert_eq!(text.matches("wasmtx_codec_workers 0\n").count(), 1, "{text}");
        assert!(text.contains("wasmtx_codec_worker_restarts_total 2\n"), "{text}");
        assert!(text.contains("wasmtx_codec_cpu_seconds_total 1.5\n"), "{text}");
    }
}

//! What was recorded since the server's start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::text::Text;
use crate::{api::View, recording::Counts};

/// A counter of segments.
type Series = (&'static str, &'static str, fn(&Counts) -> &AtomicU64);

const SERIES: [Series; 4] = [
    (
        "wasmtx_recording_segments_started_total",
        "Files of recordings that were begun.",
        |counts| &counts.started,
    ),
    (
        "wasmtx_recording_segments_done_total",
        "Files of recordings that were finished.",
        |counts| &counts.done,
    ),
    (
        "wasmtx_recording_segments_left_total",
        "Files whose recorder was gone before it finished them.",
        |counts| &counts.left,
    ),
    (
        "wasmtx_recording_bytes_total",
        "Bytes of the files that were finished.",
        |counts| &counts.bytes,
    ),
];

/// Paths that are recorded now, and, once there was a recording, what became of it.
pub(super) fn write(text: &mut Text, view: &View) {
    let paths = view.hub.paths();
    let recorded = paths
        .iter()
        .filter(|path| path.publication().is_some() && view.recording.records(path));
    let running = recorded.count();
    let counts = view.recording.counts();
    if running == 0 && counts.started.load(Relaxed) == 0 {
        return;
    }
    let name = "wasmtx_recordings_running";
    text.describe(name, "gauge", "Streams that are being recorded.");
    text.row(name, "", &[], running);
    for (name, help, count) in SERIES {
        text.describe(name, "counter", help);
        text.row(name, "", &[], count(counts).load(Relaxed));
    }
}

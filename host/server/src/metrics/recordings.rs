//! What was recorded since the server's start.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use wasmtx_endpoints::storage::Waiting;

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

/// A number about what waits for an object store.
type Spool = (&'static str, &'static str, &'static str, fn(&Waiting) -> u64);

const SPOOLS: [Spool; 6] = [
    (
        "wasmtx_spool_files",
        "gauge",
        "Files that an object store does not have yet.",
        |spool| spool.files,
    ),
    ("wasmtx_spool_bytes", "gauge", "Their bytes.", |spool| spool.bytes),
    (
        "wasmtx_spool_uploaded_files_total",
        "counter",
        "Files that were uploaded.",
        |spool| spool.uploaded_files,
    ),
    (
        "wasmtx_spool_uploaded_bytes_total",
        "counter",
        "Their bytes.",
        |spool| spool.uploaded_bytes,
    ),
    (
        "wasmtx_spool_failures_total",
        "counter",
        "Times that the store did not take one.",
        |spool| spool.failures,
    ),
    (
        "wasmtx_spool_store_away",
        "gauge",
        "Whether the store did not answer, or refused, when it was asked last.",
        |spool| spool.away.into(),
    ),
];

/// What waits for object stores, where there are any.
pub(super) fn spools(text: &mut Text, spools: &[Waiting]) {
    if spools.is_empty() {
        return;
    }
    for (name, kind, help, value) in SPOOLS {
        text.describe(name, kind, help);
        for spool in spools {
            text.row(name, "", &[("place", spool.place.clone())], value(spool));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_a_store_is_counted_under_its_address() {
        let mut text = Text::default();
        spools(&mut text, &[]);
        let mut spool = Waiting::default();
        spool.place = "s3://bucket/a".to_owned();
        (spool.files, spool.uploaded_bytes, spool.away) = (2, 50, true);
        spools(&mut text, &[spool]);
        let text = text.finish();
        for row in [
            "wasmtx_spool_files{place=\"s3://bucket/a\"} 2\n",
            "wasmtx_spool_uploaded_bytes_total{place=\"s3://bucket/a\"} 50\n",
            "wasmtx_spool_store_away{place=\"s3://bucket/a\"} 1\n",
        ] {
            assert!(text.contains(row), "{text}");
        }
        assert!(text.starts_with("# HELP wasmtx_spool_files "));
    }
}

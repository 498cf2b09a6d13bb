//! What recorders say of their segments, handed on: to the archive, then to the commands of the path.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use wasmtx_endpoints::{
    hooks::{Hook, Runner, Variables},
    recording::{self, Archive},
};
use wasmtx_sandbox::services::{Recordings, SegmentTold};

use crate::{
    config::PathConf,
    force::InForce,
    wiring::{self, Late},
};

/// Microseconds of a second.
const SECOND: f64 = 1e6;

/// Hands it on. Nothing waits, and nothing is left out: a command is started in a task of its own.
pub(crate) struct Told {
    pub(crate) in_force: Late,
    pub(crate) archive: Arc<Archive>,
    pub(crate) runner: Runner,
    /// The port of RTSP, once it is bound: no stream is there before.
    pub(crate) rtsp_port: Arc<OnceLock<u16>>,
    pub(crate) counts: Arc<Counts>,
}

/// What was recorded since the server's start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Segments that were begun.
    pub(crate) started: AtomicU64,
    /// Segments that were finished.
    pub(crate) done: AtomicU64,
    /// Segments whose recorder was gone before it finished them.
    pub(crate) left: AtomicU64,
    /// Bytes of those that were finished.
    pub(crate) bytes: AtomicU64,
}

impl Recordings for Told {
    fn started(&self, told: &SegmentTold) {
        self.counts.started.fetch_add(1, Relaxed);
        self.archive.started(segment(told));
        self.fire(
            "runOnRecordSegmentCreate",
            told,
            |conf| &conf.run_on_record_segment_create,
            |variables| variables,
        );
    }

    fn done(&self, told: &SegmentTold) {
        self.counts.done.fetch_add(1, Relaxed);
        self.counts.bytes.fetch_add(told.size, Relaxed);
        self.archive.done(segment(told));
        let seconds = told.duration as f64 / SECOND;
        self.fire(
            "runOnRecordSegmentComplete",
            told,
            |conf| &conf.run_on_record_segment_complete,
            |variables| variables.with("MTX_SEGMENT_DURATION", seconds.to_string()),
        );
    }

    fn left(&self, told: &SegmentTold) {
        self.counts.left.fetch_add(1, Relaxed);
        self.archive.left(segment(told));
    }
}

/// What was told, in the words of the archive.
fn segment(told: &SegmentTold) -> recording::Told {
    recording::Told {
        path: told.path.clone(),
        place: wiring::place(&told.place),
        file: told.file.clone(),
        start: told.start.0,
        duration: told.duration,
    }
}

impl Told {
    /// Runs the command of the path, if it has one.
    fn fire(
        &self,
        name: &'static str,
        told: &SegmentTold,
        command: impl FnOnce(&PathConf) -> &String,
        more: impl FnOnce(Variables) -> Variables,
    ) {
        let Some(in_force) = self.in_force.get().and_then(InForce::upgrade) else {
            return;
        };
        let config = in_force.config();
        let Some((entry, groups)) = config.paths.find(told.path.as_str()) else {
            return;
        };
        let hook = Hook {
            command: command(&entry.conf).clone(),
            restart: false,
        };
        if !hook.is_some() {
            return;
        }
        let port = self.rtsp_port.get().copied().unwrap_or_default();
        let variables =
            Variables::of_path(&told.path, &groups, port).with("MTX_SEGMENT_PATH", told.place.file(&told.file));
        self.runner.fire(name, &hook, &more(variables));
    }
}

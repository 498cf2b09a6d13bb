//! When a reader looks at the ring again.

use std::time::{Duration, Instant};

use wasmtx_hub::{Drained, Reader};

/// Whether there is something to take, and from when on it may be taken.
#[derive(Debug)]
pub(crate) struct Pace {
    /// There may be frames in the ring that were not taken yet.
    pending: bool,
    /// `writeMergeWindow`: frames that come within it go out together.
    merge: Duration,
    hold_until: Option<Instant>,
}

impl Pace {
    /// The pace that the path asks for.
    pub(crate) fn new(reader: &Reader) -> Pace {
        Pace {
            pending: true,
            merge: reader.path().config().write_merge_window,
            hold_until: None,
        }
    }

    /// Waits until something may be taken. Cancel safe.
    pub(crate) async fn news(&mut self, reader: &mut Reader) {
        if let Some(until) = self.hold_until {
            tokio::time::sleep_until(until.into()).await;
            self.hold_until = None;
        }
        if !self.pending {
            reader.wait().await;
            self.pending = true;
        }
    }

    /// Whether there may be something to take now.
    pub(crate) fn is_due(&self) -> bool {
        self.pending && self.hold_until.is_none()
    }

    /// Whether there is more to take.
    pub(crate) fn has_more(&self) -> bool {
        self.pending
    }

    /// `writeMergeWindow`.
    pub(crate) fn merge_window(&self) -> Duration {
        self.merge
    }

    /// Something was taken.
    pub(crate) fn note(&mut self, drained: Drained) {
        self.pending = drained == Drained::More;
    }

    /// Nothing more is taken before this time.
    pub(crate) fn hold_until(&mut self, time: Instant) {
        self.hold_until = Some(time);
    }

    /// What was there is taken: what comes within the merge window waits for its end.
    pub(crate) fn hold_merge_window(&mut self, now: Instant) {
        if !self.pending && !self.merge.is_zero() {
            self.hold_until = Some(now + self.merge);
        }
    }
}

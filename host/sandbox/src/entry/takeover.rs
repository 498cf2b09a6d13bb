//! How one instance takes the place of another between two frames, and how a failing new version gives way again.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use wasmtx_hub::CloseReason;
use wasmtx_media::Tracks;

use super::{Down, Entry, slot::Made};
use crate::{
    bindings::filter::lifecycle::Snapshot,
    convert::same_shape,
    failure::{Failure, Refused},
    instance::{Guest, Restored},
    metrics::tally,
    version::Version,
};

/// For so long, or for so many calls if they come first, a failure of a new version brings the old one back.
const PROBATION: Duration = Duration::from_secs(10);
const PROBATION_CALLS: u64 = 1_000;

impl Entry {
    /// Brings restarts and swaps forward, between two frames. Answers the new tracks if what goes on changed.
    pub(crate) fn attend(&mut self, now: Instant) -> Option<Tracks> {
        self.alarm = false;
        if self.guest.is_none() && self.making.is_none() && matches!(self.down, Down::Until(then) if then <= now) {
            self.wanted = true;
        }
        let before = self.output.clone();
        if let Some(making) = &self.making {
            match making.try_recv() {
                Err(mpsc::TryRecvError::Empty) => {}
                Err(mpsc::TryRecvError::Disconnected) => {
                    self.making = None;
                    self.not_made(now, Failure::other("it was not made").into());
                }
                Ok(made) => {
                    self.making = None;
                    self.made(now, made);
                }
            }
        }
        if self.wanted && self.making.is_none() {
            self.begin();
        }
        self.tell();
        (!Arc::ptr_eq(&before, &self.output) && before != self.output).then(|| self.output.clone())
    }

    /// The version to make instances of: the present one, unless it failed here in its probation.
    pub(super) fn newest(&self) -> Arc<Version> {
        let present = self.slot.plugin.version.load_full();
        if present.number == self.refused {
            self.version.clone()
        } else {
            present
        }
    }

    /// Asks for an instance of the newest version.
    fn begin(&mut self) {
        let version = self.newest();
        self.tried = self.tried.max(version.number);
        if !version.enabled {
            self.wanted = false;
            return self.retire();
        }
        let (done, making) = mpsc::sync_channel(1);
        let (slot, place, opening) = (self.slot.clone(), self.place.clone(), self.opening.clone());
        // Perhaps the last of its version: its code goes with it, and giving that memory back takes a while.
        let stale = self.probation.take();
        let taken = self.aside.spawn(move || {
            drop(stale);
            // The stream may have ended meanwhile.
            let _ = done.send(slot.make(version, &place, &opening));
        });
        if taken {
            self.making = Some(making);
            self.wanted = false;
        }
    }

    /// An instance was made, or not.
    pub(super) fn made(&mut self, now: Instant, made: Result<Made, Refused>) {
        match made {
            Ok(made) if Arc::ptr_eq(&made.input, &self.opening.tracks) => {
                if made.version.number != self.newest().number {
                    // Changed again meanwhile.
                    self.wanted = true;
                } else {
                    self.adopt(now, made);
                }
            }
            // The stream changed meanwhile.
            Ok(_) => self.wanted = true,
            Err(Refused::Unsupported) if self.guest.is_none() => self.down = Down::Unsupported,
            Err(refused) => self.not_made(now, refused),
        }
    }

    fn not_made(&mut self, now: Instant, refused: Refused) {
        if self.guest.is_some() {
            return self.keep(&refused.to_string());
        }
        self.failed(now, &refused.into_failure(), "start");
    }

    /// The old instance stays, and why is said.
    fn keep(&self, reason: &str) {
        self.slot.plugin.keep(self.place.path(), reason);
    }

    /// Puts a new instance in the place of the old one, or of none.
    fn adopt(&mut self, now: Instant, mut made: Made) {
        let allowed = self.slot.allow_track_change.unwrap_or(made.version.allow_track_change);
        if !allowed && !same_shape(&self.output, &made.opened.tracks) {
            self.keep("it would change the tracks of a running stream (see allowTrackChange)");
            if self.guest.is_none() {
                self.down = Down::Failed;
            }
            return;
        }
        let Some(mut old) = self.guest.take() else {
            if self.down != Down::Disabled {
                tally(&self.place.counts.restarts, 1);
            }
            self.version = made.version;
            return self.install(made.guest, made.opened);
        };
        match self.hand_over(&mut old, &mut made) {
            Ok(handed) => {
                if handed.alive
                    && let Err(failure) = old.close(CloseReason::Reload)
                {
                    self.report(&failure, "close");
                }
                self.guest = Some(old);
                self.take_emitted();
                self.unload();
                tally(&self.place.counts.swaps, 1);
                self.circuit.reset();
                let before = std::mem::replace(&mut self.version, made.version);
                self.probation = Some(Probation {
                    before,
                    snapshot: handed.snapshot,
                    until: now + PROBATION,
                    calls: self.place.counts.calls.load(Relaxed).saturating_add(PROBATION_CALLS),
                });
                self.install(made.guest, made.opened);
                let (path, version) = (self.place.path(), self.version.short());
                tracing::info!(plugin = self.name(), path, version, "plugin swapped");
                self.slot.plugin.common.note(path, "plugin-swapped", || {
                    serde_json::json!({ "path": path, "version": version }).to_string()
                });
            }
            Err(refused) => {
                self.keep(&format!("it does not take the state of the old one over: {refused}"));
                self.guest = Some(old);
            }
        }
    }

    /// Ends the instance aside: giving its memory back takes longer than the rest of a swap.
    fn unload(&mut self) {
        let guest = self.guest.take();
        self.aside.spawn(move || drop(guest));
    }

    /// State from the old instance to the new.
    fn hand_over(&self, old: &mut Guest, made: &mut Made) -> Result<Handed, Refused> {
        let snapshot = match old.save() {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                self.report(&failure, "save");
                return Ok(Handed {
                    alive: false,
                    snapshot: None,
                });
            }
        };
        if let Some(snapshot) = &snapshot
            && made.guest.restore(snapshot)? == Restored::Fresh
        {
            made.version.begin_afresh()?;
            tracing::info!(
                plugin = self.name(),
                path = self.place.path(),
                "the new version of a plugin begins with a fresh state"
            );
        }
        Ok(Handed { alive: true, snapshot })
    }

    /// After a failure: back to the version before, if the one that failed took over only just now. Answers whether an
    /// instance of it runs.
    pub(super) fn go_back(&mut self, now: Instant, failure: &Failure) -> bool {
        let Some(probation) = self.probation.take() else {
            return false;
        };
        if now >= probation.until || self.place.counts.calls.load(Relaxed) >= probation.calls {
            return false;
        }
        let Ok(mut made) = self.slot.make(probation.before, &self.place, &self.opening) else {
            return false;
        };
        if !same_shape(&self.output, &made.opened.tracks) {
            return false;
        }
        // What it cannot take back it does without: it wrote the snapshot itself, and begins afresh at worst.
        if let Some(snapshot) = &probation.snapshot
            && made.guest.restore(snapshot).is_err()
        {
            return false;
        }
        self.refused = self.version.number;
        let (failed, before) = (self.version.short(), made.version.short());
        self.keep(&format!(
            "version {failed} fails soon after it took over, back to {before}: {failure}"
        ));
        tally(&self.place.counts.restarts, 1);
        self.version = made.version;
        self.install(made.guest, made.opened);
        true
    }
}

/// The version before, for as long as the new one has not shown that it works.
pub(super) struct Probation {
    before: Arc<Version>,
    snapshot: Option<Snapshot>,
    until: Instant,
    /// Calls of the guest, as counted, at which it ends.
    calls: u64,
}

/// What the old instance left.
struct Handed {
    /// Whether it can still be closed.
    alive: bool,
    snapshot: Option<Snapshot>,
}

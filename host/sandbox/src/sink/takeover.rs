//! How an instance of a sink is made, takes the place of another at a keyframe, and gives way again when it fails too soon.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use wasmtx_hub::{CloseReason, Opening};
use wasmtx_media::Tracks;

use super::{
    guest::{self, Guest},
    task::{Down, Task},
};
use crate::{
    bindings::{lifecycle::waiting::Snapshot, sink::sink::Wants},
    failure::{Failure, Refused},
    fiber::Group,
    instance::Restored,
    metrics::tally,
    version::Version,
};

/// For so long, or for so many calls if they come first, a failure of a new version brings the old one back.
const PROBATION: Duration = Duration::from_secs(10);
const PROBATION_CALLS: u64 = 1_000;

/// An instance that is ready to run.
pub(super) struct Made {
    guest: Guest,
    wants: Wants,
    version: Arc<Version>,
    /// What it was opened with: if the stream changed since, it is of no use.
    tracks: Tracks,
}

/// The version before, for as long as the new one has not shown that it works.
pub(super) struct Probation {
    before: Arc<Version>,
    snapshot: Option<Snapshot>,
    until: Instant,
    /// Calls of the guest, as counted, at which it ends.
    calls: u64,
}

/// Instantiates, configures and opens.
async fn make(group: Group, version: Arc<Version>, opening: Opening) -> Result<Made, Refused> {
    let until = Instant::now() + version.limits.sink_wall;
    let mut guest = Guest::start(&group, &version, until).await?;
    let wants = guest::open(&mut guest, &opening, &version.limits).await?;
    Ok(Made {
        guest,
        wants,
        version,
        tracks: opening.tracks,
    })
}

impl Task {
    /// Brings restarts and swaps forward.
    pub(super) async fn look(&mut self) {
        let newest = self.newest();
        let fresh = newest.number != self.tried;
        if fresh && self.tried != 0 {
            self.circuit.reset();
        }
        if !newest.enabled {
            return self.switch_off(&newest).await;
        }
        if self.guest.is_none() {
            let due = matches!(self.down, Down::Until(then) if then <= Instant::now());
            if due || fresh {
                self.start(newest).await;
            }
            return;
        }
        if self.making.as_ref().is_some_and(|making| making.is_finished())
            && let Some(making) = self.making.take()
        {
            match making.await {
                Ok(Ok(made)) => self.made = Some(made),
                Ok(Err(refused)) => self.keep(&refused.to_string()),
                Err(_) => self.keep("it was not made"),
            }
        }
        let outdated = |made: &Made| made.version.number != newest.number || !self.is_for_this(made);
        let useless = self.made.as_ref().is_some_and(outdated);
        if useless {
            self.made = None;
        }
        if (fresh || useless) && self.making.is_none() {
            self.tried = newest.number;
            let made = make(self.group.clone(), newest, self.opening.clone());
            self.making = Some(tokio::spawn(made));
        }
    }

    async fn switch_off(&mut self, off: &Version) {
        self.tried = off.number;
        (self.making, self.made, self.probation) = (None, None, None);
        self.down = Down::Disabled;
        // Switched on again it is opened anew, and begins at a keyframe.
        self.aligned = false;
        let Some(guest) = self.guest.take() else { return };
        if let Err(failure) = guest::close(guest, CloseReason::Reload, &self.version.limits).await {
            self.group.report(&failure, self.opening.path.as_str(), "close");
        }
    }

    /// The version to make instances of: the present one, unless it failed here in its probation.
    fn newest(&self) -> Arc<Version> {
        let present = self.slot.plugin.version.load_full();
        if present.number == self.refused {
            self.version.clone()
        } else {
            present
        }
    }

    fn is_for_this(&self, made: &Made) -> bool {
        Arc::ptr_eq(&made.tracks, &self.opening.tracks)
    }

    /// Makes an instance where there is none.
    async fn start(&mut self, version: Arc<Version>) {
        self.tried = version.number;
        self.version = version.clone();
        match make(self.group.clone(), version, self.opening.clone()).await {
            Ok(made) => self.install(made.guest, &made.wants),
            Err(refused) => self.not_opened(refused, "start").await,
        }
    }

    /// Puts the new instance in the place of the old one, between two frames of which the next is a keyframe.
    pub(super) async fn adopt(&mut self) {
        let Some(mut made) = self.made.take().filter(|made| self.is_for_this(made)) else {
            return;
        };
        let Some(mut old) = self.guest.take() else { return };
        let handed = match self.hand_over(&mut old, &mut made).await {
            Ok(handed) => handed,
            Err(refused) => {
                self.keep(&format!("it does not take the state of the old one over: {refused}"));
                self.guest = Some(old);
                return;
            }
        };
        if handed.alive
            && let Err(failure) = guest::close(old, CloseReason::Reload, &self.version.limits).await
        {
            self.group.report(&failure, self.opening.path.as_str(), "close");
        }
        let counts = &self.group.place.counts;
        tally(&counts.swaps, 1);
        self.probation = Some(Probation {
            before: std::mem::replace(&mut self.version, made.version),
            snapshot: handed.snapshot,
            until: Instant::now() + PROBATION,
            calls: counts.calls.load(Relaxed).saturating_add(PROBATION_CALLS),
        });
        self.circuit.reset();
        self.install(made.guest, &made.wants);
        let (plugin, path, version) = (self.slot.plugin.name(), self.group.place.path(), self.version.short());
        tracing::info!(plugin, path, version, "plugin swapped");
    }

    /// State from the old instance to the new.
    async fn hand_over(&mut self, old: &mut Guest, made: &mut Made) -> Result<Handed, Refused> {
        let wall = self.version.limits.sink_wall;
        let snapshot = match old.save(wall).await {
            Ok(snapshot) => snapshot,
            Err(failure) => {
                self.group.report(&failure, self.opening.path.as_str(), "save");
                return Ok(Handed {
                    alive: false,
                    snapshot: None,
                });
            }
        };
        if let Some(snapshot) = &snapshot
            && made.guest.restore(snapshot, wall).await? == Restored::Fresh
        {
            made.version.begin_afresh()?;
            let (plugin, path) = (self.slot.plugin.name(), self.group.place.path());
            tracing::info!(plugin, path, "the new version of a plugin begins with a fresh state");
        }
        Ok(Handed { alive: true, snapshot })
    }

    /// The old instance stays, and why is said.
    fn keep(&self, reason: &str) {
        self.slot.plugin.keep(self.group.place.path(), reason);
    }

    /// After a failure: back to the version before, if the one that failed took over only just now. Answers whether an
    /// instance of it runs.
    pub(super) async fn go_back(&mut self, failure: &Failure) -> bool {
        let Some(probation) = self.probation.take() else {
            return false;
        };
        let counts = &self.group.place.counts;
        if Instant::now() >= probation.until || counts.calls.load(Relaxed) >= probation.calls {
            return false;
        }
        let (before, opening) = (probation.before, self.opening.clone());
        let wall = before.limits.sink_wall;
        let Ok(mut made) = make(self.group.clone(), before, opening).await else {
            return false;
        };
        // What it cannot take back it does without: it wrote the snapshot itself, and begins afresh at worst.
        if let Some(snapshot) = &probation.snapshot
            && made.guest.restore(snapshot, wall).await.is_err()
        {
            return false;
        }
        self.refused = self.version.number;
        let (failed, before) = (self.version.short(), made.version.short());
        self.keep(&format!(
            "version {failed} fails soon after it took over, back to {before}: {failure}"
        ));
        self.tried = made.version.number;
        self.version = made.version;
        self.install(made.guest, &made.wants);
        true
    }
}

/// What the old instance left.
struct Handed {
    /// Whether it can still be closed.
    alive: bool,
    snapshot: Option<Snapshot>,
}

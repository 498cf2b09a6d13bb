//! One sink of one path: its cursor, its batches, and what is due between them.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use tokio::{
    sync::watch,
    task::{JoinHandle, consume_budget},
    time::sleep_until,
};
use wasmtx_hub::{CloseReason, Drained, Entry, Opening, Path, Publication, Reader};
use wasmtx_media::TrackId;

use super::{
    guest::{self, Batch, Guest},
    takeover::{Made, Probation},
};
use crate::{
    bindings::sink::sink::Wants,
    entry::Slot,
    failure::{Failure, Refused},
    fiber::Group,
    interest::{Shown, Table},
    metrics::{Condition, tally},
    policy::{Circuit, Restart, SinkFailure},
    sampler::Sampler,
    version::Version,
};

/// A stream of which so much went by without one picture goes to a sink without: sound alone is better than nothing, and with the
/// first picture comes a keyframe.
const DARK: Duration = Duration::from_secs(2);
/// Frames and bytes of one batch, about.
const BATCH_FRAMES: usize = 128;
const BATCH_BYTES: usize = 8 << 20;
/// Between two calls, while frames come slower than they are taken.
const GATHER: Duration = Duration::from_millis(50);
/// A sink runs alone, but for a new version that is opened beside it.
const TURNS: usize = 2;

/// Why there is no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Down {
    /// It is to be made then.
    Until(Instant),
    /// It failed too often, or once where the policy is to stop.
    Failed,
    /// It has nothing to do with this stream, and that is no failure.
    Unsupported,
    /// Somebody switched the plugin off.
    Disabled,
}

/// One sink of one path, over all of its streams.
pub(super) struct Task {
    pub(super) slot: Arc<Slot>,
    pub(super) group: Group,
    pub(super) opening: Opening,
    /// Which frames it wants; of what goes on behind a filter, nothing counts here.
    pub(super) table: Table,
    /// Whether it wants their bytes.
    bytes: bool,
    /// What it takes from now on, not yet told to the reader.
    takes: Option<Vec<TrackId>>,
    pub(super) guest: Option<Guest>,
    /// Meaningful while there is no guest.
    pub(super) down: Down,
    pub(super) version: Arc<Version>,
    /// Number of the last version that was tried.
    pub(super) tried: u64,
    /// A new version that is being made beside the running one.
    pub(super) making: Option<JoinHandle<Result<Made, Refused>>>,
    /// It is made, and waits for a keyframe.
    pub(super) made: Option<Made>,
    pub(super) circuit: Circuit,
    sampler: Sampler,
    pub(super) probation: Option<Probation>,
    /// Number of a version that failed in its probation; 0 is none.
    pub(super) refused: u64,
    /// A keyframe has come since it began, or since frames were lost.
    pub(super) aligned: bool,
    /// When the first frame came since then.
    waits_since: Option<Instant>,
    /// When it was given frames last.
    called: Instant,
    /// Frames are missing before the next one that it gets.
    gap: bool,
    /// The last instance failed, and there is no other yet.
    pub(super) died: bool,
}

/// Runs a sink until it is stopped, or the path is gone. Of a stream that is there already it wants so much of what was before.
pub(super) async fn run(
    slot: &Arc<Slot>,
    path: &Arc<Path>,
    back: Duration,
    mut stop: watch::Receiver<Option<CloseReason>>,
) {
    let mut status = path.watch();
    let mut task = None::<Task>;
    let mut back = back;
    while stopped(&stop).is_none() {
        let closed = status.borrow_and_update().closed;
        let attended = path.attend(Instant::now(), back);
        // Of whatever begins from now on it misses nothing, however late it looks.
        back = Duration::MAX;
        let Some((opening, reader)) = attended else {
            if closed {
                return;
            }
            tokio::select! {
                changed = status.changed() => if changed.is_err() { return },
                _ = stop.changed() => {}
            }
            continue;
        };
        let task = task.get_or_insert_with(|| Task::new(slot, &opening));
        let reason = task.serve(opening, reader, &mut stop).await;
        // With other tracks it is the same stream for those who can take them.
        if reason != CloseReason::Replaced || path.publication().is_none() {
            task.close(reason).await;
        }
    }
    if let Some(mut task) = task {
        task.close(stopped(&stop).unwrap_or(CloseReason::Ended)).await;
    }
}

/// Why it is to end, if it is. Nobody who could say so is left: that is an end, too.
fn stopped(stop: &watch::Receiver<Option<CloseReason>>) -> Option<CloseReason> {
    let said = *stop.borrow();
    said.or_else(|| stop.has_changed().is_err().then_some(CloseReason::Shutdown))
}

impl Task {
    fn new(slot: &Arc<Slot>, opening: &Opening) -> Task {
        let place = slot.plugin.place(opening.path.as_str(), slot.position);
        let mut seed = [0; 4];
        // Without randomness the delays are only more regular.
        let _ = getrandom::fill(&mut seed);
        Task {
            slot: slot.clone(),
            group: Group::at(&slot.plugin, slot.config.clone(), place, TURNS).with_storage(slot.storage.clone()),
            opening: opening.clone(),
            table: Table::default(),
            bytes: false,
            takes: None,
            guest: None,
            down: Down::Until(Instant::now()),
            version: slot.plugin.version.load_full(),
            tried: 0,
            making: None,
            made: None,
            circuit: Circuit::default(),
            sampler: Sampler::new(u32::from_ne_bytes(seed)),
            probation: None,
            refused: 0,
            aligned: false,
            waits_since: None,
            called: Instant::now(),
            gap: false,
            died: false,
        }
    }

    /// One publication, to its end or until it is told to stop. Answers why that was.
    async fn serve(
        &mut self,
        opening: Opening,
        mut reader: Reader,
        stop: &mut watch::Receiver<Option<CloseReason>>,
    ) -> CloseReason {
        self.opening = opening;
        self.aligned = false;
        self.reopen().await;
        let mut entries = Vec::new();
        loop {
            if let Some(takes) = self.takes.take() {
                reader.take(&takes);
            }
            let mut lost = 0;
            let drained = reader.drain(BATCH_FRAMES, BATCH_BYTES, &mut entries, &mut lost);
            if lost > 0 {
                tally(&self.group.place.counts.lost, lost);
                (self.aligned, self.gap) = (false, true);
            }
            self.look().await;
            self.take(&mut entries, reader.publication()).await;
            self.show();
            match drained {
                Drained::More => consume_budget().await,
                Drained::Ended(reason) => return reason,
                Drained::Empty => {
                    if let Some(reason) = stopped(stop) {
                        return reason;
                    }
                    self.rest(&mut reader, stop).await;
                }
            }
        }
    }

    /// Waits for frames, and does meanwhile what is due.
    async fn rest(&mut self, reader: &mut Reader, stop: &mut watch::Receiver<Option<CloseReason>>) {
        loop {
            let due = self.due();
            tokio::select! {
                () = reader.wait() => break,
                _ = stop.changed() => return,
                () = sleep_until(due.unwrap_or_else(Instant::now).into()), if due.is_some() => self.act().await,
            }
            self.show();
        }
        // Nobody waits for a sink: a call for each frame would cost more than the frames do.
        tokio::select! {
            () = sleep_until((self.called + GATHER).into()) => {}
            _ = stop.changed() => {}
        }
    }

    /// When [`act`](Self::act) has something to do.
    fn due(&mut self) -> Option<Instant> {
        match (&mut self.guest, self.down) {
            (Some(guest), _) => {
                let files = guest.state().files_due();
                guest.tick_due().into_iter().chain(files).min()
            }
            (None, Down::Until(then)) => Some(then),
            (None, Down::Failed | Down::Unsupported | Down::Disabled) => None,
        }
    }

    async fn act(&mut self) {
        let now = Instant::now();
        let Some(guest) = &mut self.guest else {
            return self.look().await;
        };
        if guest.state().files_due().is_some_and(|due| due <= now) {
            guest.state().settle_files(Some(now)).await;
        }
        if guest.tick_due().is_some_and(|due| due <= now)
            && let Err(failure) = guest.tick(self.version.limits.sink_wall).await
        {
            self.failed(&failure, "tick").await;
        }
    }

    /// The stream begins, or its tracks are others.
    async fn reopen(&mut self) {
        let Some(mut guest) = self.guest.take() else {
            if self.down == Down::Unsupported {
                self.down = Down::Until(Instant::now());
            }
            return self.look().await;
        };
        // What was opened for the stream as it was.
        (self.making, self.made) = (None, None);
        match guest::open(&mut guest, &self.opening, &self.version.limits).await {
            Ok(wants) => self.install(guest, &wants),
            Err(refused) => self.not_opened(refused, "open").await,
        }
    }

    pub(super) fn install(&mut self, guest: Guest, wants: &Wants) {
        let tracks = &self.opening.tracks;
        let mut table = Table::new(tracks, tracks, &wants.interests);
        table.continues(&self.table);
        self.table = table;
        self.bytes = wants.bytes;
        // Who only counts what flows makes no use of it: a track that is offered is not made for that.
        self.takes = Some(if wants.bytes { self.table.wanted() } else { Vec::new() });
        self.guest = Some(guest);
        if std::mem::take(&mut self.died) {
            tally(&self.group.place.counts.restarts, 1);
        }
    }

    pub(super) async fn not_opened(&mut self, refused: Refused, call: &'static str) {
        match refused {
            Refused::Unsupported => self.down = Down::Unsupported,
            Refused::Denied => {
                let (plugin, path) = (self.slot.plugin.name(), self.group.place.path());
                tracing::warn!(plugin, path, "the sink does not want this stream");
                self.down = Down::Unsupported;
            }
            refused => self.failed(&refused.into_failure(), call).await,
        }
    }

    /// Gives the guest what came.
    async fn take(&mut self, entries: &mut Vec<Arc<Entry>>, publication: &Publication) {
        let mut batch = Vec::new();
        for entry in entries.drain(..) {
            if !Arc::ptr_eq(&entry.tracks, &self.opening.tracks) {
                let others = entry.tracks != self.opening.tracks;
                if others {
                    self.give(&mut batch).await;
                }
                self.opening.tracks = entry.tracks.clone();
                if others {
                    self.reopen().await;
                }
            }
            if entry.starts_gop {
                if self.made.is_some() {
                    self.give(&mut batch).await;
                    self.adopt().await;
                }
                self.aligned |= self.guest.is_some();
            }
            if self.aligned {
                self.waits_since = None;
            } else if self.guest.is_some() {
                let since = *self.waits_since.get_or_insert(entry.at);
                self.aligned = entry.at.saturating_duration_since(since) >= DARK && publication.is_dark();
            }
            if !self.aligned || self.guest.is_none() {
                self.skip();
            } else if self.table.show(&entry.frame) == Shown::Yes {
                batch.push(entry);
            }
        }
        self.give(&mut batch).await;
    }

    /// A frame that it does not get, although it may have wanted it.
    fn skip(&mut self) {
        let counts = &self.group.place.counts;
        match (&self.guest, self.down) {
            (None, Down::Unsupported | Down::Disabled) => {}
            (Some(_), _) if self.gap => tally(&counts.lost, 1),
            _ => tally(&counts.bypassed, 1),
        }
    }

    async fn give(&mut self, entries: &mut Vec<Arc<Entry>>) {
        if entries.is_empty() {
            return;
        }
        // Past its share of the processor it waits, and falls behind as any slow reader.
        if let Some(end) = self.slot.plugin.share.over_until(Instant::now()) {
            sleep_until(end.into()).await;
        }
        let batch = Batch {
            entries: std::mem::take(entries),
            gap: std::mem::take(&mut self.gap),
            bytes: self.bytes,
        };
        let counts = &self.group.place.counts;
        let frames = batch.entries.len() as u64;
        let Some(guest) = &mut self.guest else {
            return tally(&counts.bypassed, frames);
        };
        self.called = Instant::now();
        let budget = guest::batch_budget(&self.version.limits);
        let taken = guest::take(guest, batch, budget).await;
        tally(&counts.calls, 1);
        let state = guest.state();
        let ran = budget.running.saturating_sub(state.running);
        counts.times.observe(ran);
        counts.memory_bytes.store(state.meter.memory() as u64, Relaxed);
        counts.held_bytes.store(state.frame.held_bytes() as u64, Relaxed);
        let share = self.version.limits.share;
        if self.slot.plugin.share.spent(Instant::now(), ran, share) {
            let (plugin, path) = (self.slot.plugin.name(), self.group.place.path());
            tracing::warn!(
                plugin,
                path,
                share,
                "plugin used up its share of the processor: it waits"
            );
        }
        match taken {
            Ok(()) => tally(&counts.passed, frames),
            Err(failure) => {
                tally(&counts.bypassed, frames);
                self.failed(&failure, "frames").await;
            }
        }
    }

    /// Drops the instance and arranges for the next one, which begins at a keyframe.
    pub(super) async fn failed(&mut self, failure: &Failure, call: &'static str) {
        let (plugin, path) = (self.slot.plugin.clone(), self.opening.path.clone());
        self.group.report(failure, path.as_str(), call);
        self.guest = None;
        (self.aligned, self.died) = (false, true);
        if self.go_back(failure).await {
            return;
        }
        let (now, jitter) = (Instant::now(), self.sampler.random());
        let restart = match self.policy() {
            SinkFailure::Restart if self.slot.tireless => self.circuit.failed_tirelessly(now, jitter),
            SinkFailure::Restart => self.circuit.failed(now, jitter),
            SinkFailure::Stop => Restart::Never,
        };
        self.down = match restart {
            Restart::Now => Down::Until(Instant::now()),
            Restart::At(then) => Down::Until(then),
            Restart::Never => {
                let (plugin_name, path_name) = (plugin.name(), path.as_str());
                tracing::error!(
                    plugin = plugin_name,
                    path = path_name,
                    "the sink stays off until its plugin changes"
                );
                *plugin.error.lock() = Some(format!("{path}: it stays off: {failure}"));
                Down::Failed
            }
        };
    }

    /// Says in the API how it is.
    fn show(&self) {
        self.group.place.counts.set(match (&self.guest, self.down) {
            (Some(_), _) => Condition::Running,
            (None, Down::Until(_)) => Condition::Restarting,
            (None, Down::Failed) => Condition::Failed,
            (None, Down::Unsupported) => Condition::Unsupported,
            (None, Down::Disabled) => Condition::Disabled,
        });
    }

    fn policy(&self) -> SinkFailure {
        self.slot.on_error.unwrap_or(self.version.on_error).sink
    }

    /// The stream is over, or the sink is.
    async fn close(&mut self, reason: CloseReason) {
        (self.making, self.made, self.probation) = (None, None, None);
        self.group.place.counts.set(Condition::Idle);
        let Some(guest) = self.guest.take() else { return };
        if let Err(failure) = guest::close(guest, reason, &self.version.limits).await {
            self.group.report(&failure, self.opening.path.as_str(), "close");
        }
        self.down = Down::Until(Instant::now());
        let counts = &self.group.place.counts;
        counts.held_bytes.store(0, Relaxed);
        counts.memory_bytes.store(0, Relaxed);
    }
}

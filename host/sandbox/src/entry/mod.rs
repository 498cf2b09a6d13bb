//! One filter of one stream: its instance, what happens when that fails, and how another one takes its place.

mod slot;
mod takeover;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed, mpsc},
    time::{Duration, Instant},
};

use wasmtx_hub::{CloseReason, Opening, PathName};
use wasmtx_media::{Frame, Tracks};

pub(crate) use self::slot::Slot;
use self::{slot::Made, takeover::Probation};
use crate::{
    aside::Aside,
    bindings::filter::filter::Interest,
    failure::{Failure, Refused},
    hits::Limit,
    instance::{Guest, Opened, Said},
    interest::{Shown, Table},
    metrics::{Condition, Place, tally},
    policy::{Circuit, FilterFailure, Restart},
    sampler::Sampler,
    version::Version,
};

/// A call that takes longer is timed alone, and so is the one after it.
const SLOW: Duration = Duration::from_micros(200);

/// What a filter made of a frame. What it emitted before is in [`Entry::sent`].
pub(crate) enum Step {
    /// The frame goes on.
    Pass(Frame),
    /// It does not.
    Gone,
    /// The publication ends.
    Close(String),
}

/// Why there is no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Down {
    /// It failed and is made again then.
    Until(Instant),
    /// It failed too often.
    Failed,
    /// It said that it does not support this stream: frames pass, and that is no failure.
    Unsupported,
    /// Somebody switched it off: frames pass.
    Disabled,
}

/// One filter of one stream.
pub(crate) struct Entry {
    slot: Arc<Slot>,
    place: Arc<Place>,
    aside: Arc<Aside>,
    opening: Opening,
    table: Table,
    /// What goes on behind this filter.
    output: Tracks,
    guest: Option<Guest>,
    /// Meaningful while there is no guest.
    down: Down,
    version: Arc<Version>,
    /// Number of the last version that was tried.
    tried: u64,
    /// An instance should be made aside.
    wanted: bool,
    making: Option<mpsc::Receiver<Result<Made, Refused>>>,
    circuit: Circuit,
    sampler: Sampler,
    sent: Vec<Frame>,
    /// Something happened that [`Entry::attend`] should see to.
    alarm: bool,
    probation: Option<Probation>,
    /// Number of a version that failed in its probation; 0 is none.
    refused: u64,
}

impl Entry {
    pub(crate) fn new(slot: &Arc<Slot>, path: &PathName, aside: &Arc<Aside>) -> Entry {
        let version = slot.plugin.version.load_full();
        let nothing: Tracks = Arc::from([]);
        let mut seed = [0; 4];
        // Without randomness the samples are only more regular.
        let _ = getrandom::fill(&mut seed);
        Entry {
            slot: slot.clone(),
            place: slot.plugin.place(path.as_str(), slot.position),
            aside: aside.clone(),
            opening: Opening {
                path: path.clone(),
                generation: 0,
                publisher: None,
                source: None,
                tracks: nothing.clone(),
            },
            table: Table::default(),
            output: nothing,
            guest: None,
            down: Down::Failed,
            tried: version.number,
            version,
            wanted: false,
            making: None,
            circuit: Circuit::default(),
            sampler: Sampler::new(u32::from_ne_bytes(seed)),
            sent: Vec::new(),
            alarm: false,
            probation: None,
            refused: 0,
        }
    }

    /// The plugin's name.
    pub(crate) fn name(&self) -> &str {
        self.slot.plugin.name()
    }

    /// Frames that the guest made in the last call, to go on before anything else. Whoever takes them leaves it empty.
    #[inline]
    pub(crate) fn sent(&mut self) -> &mut Vec<Frame> {
        &mut self.sent
    }

    /// The stream begins, or what comes in changed. Answers what goes on.
    ///
    /// # Errors
    /// The reason why the stream may not begin.
    pub(crate) fn open(&mut self, now: Instant, opening: Opening) -> Result<Tracks, String> {
        self.opening = opening;
        // What is being made is made for the stream as it was.
        self.wanted |= self.making.take().is_some();
        let made = match self.guest.take() {
            Some(mut guest) => guest.open(&self.opening).map(|opened| (guest, opened)),
            None => {
                self.version = self.newest();
                self.tried = self.tried.max(self.version.number);
                self.wanted = false;
                if !self.version.enabled {
                    self.output = self.opening.tracks.clone();
                    self.retable(&[]);
                    self.retire();
                    return Ok(self.output.clone());
                }
                self.slot
                    .make(self.version.clone(), &self.place, &self.opening)
                    .map(|made| (made.guest, made.opened))
            }
        };
        match made {
            Ok((guest, opened)) => self.install(guest, opened),
            Err(refused) => {
                self.output = self.opening.tracks.clone();
                self.retable(&[]);
                let failure = match refused {
                    Refused::Denied => return Err("it denies the stream".into()),
                    Refused::Unsupported => {
                        self.down = Down::Unsupported;
                        self.tell();
                        self.look();
                        return Ok(self.output.clone());
                    }
                    refused => refused.into_failure(),
                };
                self.failed(now, &failure, "open");
                if self.guest.is_none() && self.policy() == FilterFailure::Close {
                    return Err(format!("it fails, and its policy is to close the stream: {failure}"));
                }
            }
        }
        self.tell();
        self.look();
        Ok(self.output.clone())
    }

    /// One frame.
    #[inline]
    pub(crate) fn frame(&mut self, now: Instant, frame: Frame) -> Step {
        let Some(guest) = &mut self.guest else {
            return self.without(frame);
        };
        match self.table.show(&frame) {
            Shown::Yes => {}
            Shown::Pass => return self.admitted(frame),
            Shown::Drop => return Step::Gone,
        }
        if self.slot.plugin.share.over(now) {
            return self.without(frame);
        }
        if let Err(failure) = guest.tick(now) {
            return self.failed_on(now, frame, &failure);
        }
        let sampled = self.sampler.due().map(|stands_for| (stands_for, Instant::now()));
        let (said, frame) = guest.frame(now, frame);
        if let Some((stands_for, begun)) = sampled {
            self.measured(begun, stands_for);
        }
        self.take_emitted();
        let counts = &self.place.counts;
        tally(&counts.calls, 1);
        match said {
            Ok(Said::Pass) => {
                tally(&counts.passed, 1);
                self.admitted(frame)
            }
            Ok(Said::Changed) if self.table.well_formed(&frame) => {
                tally(&counts.passed, 1);
                self.admitted(frame)
            }
            Ok(Said::Changed) => {
                tally(&counts.refused, 1);
                Step::Gone
            }
            Ok(Said::Drop) => {
                tally(&counts.dropped, 1);
                Step::Gone
            }
            Ok(Said::Close) => {
                tally(&counts.closed, 1);
                Step::Close(format!("plugin {} closes the stream", self.name()))
            }
            Err(failure) => self.failed_on(now, frame, &failure),
        }
    }

    /// The stream ends. What the guest held may be in [`sent`](Self::sent) afterwards.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        self.making = None;
        let Some(guest) = &mut self.guest else { return };
        if let Err(failure) = guest.close(reason) {
            self.report(&failure, "close");
        }
        self.take_emitted();
        self.guest = None;
        self.place.counts.set(Condition::Idle);
        self.place.counts.held_bytes.store(0, Relaxed);
        self.place.counts.memory_bytes.store(0, Relaxed);
    }

    /// The plugin was switched off: the instance ends, what it held may be in [`sent`](Self::sent).
    fn retire(&mut self) {
        self.close(CloseReason::Reload);
        self.down = Down::Disabled;
        self.tell();
    }

    /// Says how it stands, for who looks from outside.
    fn tell(&self) {
        let condition = match (&self.guest, self.down) {
            (Some(_), _) => Condition::Running,
            (None, Down::Until(_)) => Condition::Restarting,
            (None, Down::Failed) => Condition::Failed,
            (None, Down::Unsupported) => Condition::Unsupported,
            (None, Down::Disabled) => Condition::Disabled,
        };
        self.place.counts.set(condition);
    }

    /// Looks whether the plugin changed.
    pub(crate) fn look(&mut self) {
        if self.slot.plugin.version.load().number != self.tried {
            self.circuit.reset();
            self.wanted = true;
        }
    }

    /// Whether the last frame left something for [`attend`](Self::attend) to do.
    #[inline]
    pub(crate) fn alarmed(&self) -> bool {
        self.alarm
    }

    /// Whether [`attend`](Self::attend) has something to do, now or later.
    pub(crate) fn needs_attention(&self) -> bool {
        self.wanted || self.making.is_some() || (self.guest.is_none() && matches!(self.down, Down::Until(_)))
    }

    fn install(&mut self, guest: Guest, opened: Opened) {
        self.output = opened.tracks;
        self.retable(&opened.interests);
        self.guest = Some(guest);
    }

    fn retable(&mut self, interests: &[Interest]) {
        let mut table = Table::new(&self.opening.tracks, &self.output, interests);
        table.continues(&self.table);
        self.table = table;
    }

    /// Takes what the guest emitted, as far as it may go on.
    #[inline]
    fn take_emitted(&mut self) {
        let Some(guest) = &mut self.guest else { return };
        let emitted = guest.emitted();
        if emitted.is_empty() {
            return;
        }
        let counts = &self.place.counts;
        for frame in emitted.drain(..) {
            if self.table.admit_emitted(&frame) {
                tally(&counts.emitted, 1);
                self.sent.push(frame);
            } else {
                tally(&counts.refused, 1);
            }
        }
    }

    #[inline]
    fn admitted(&mut self, frame: Frame) -> Step {
        if self.table.admit(&frame) {
            return Step::Pass(frame);
        }
        tally(&self.place.counts.refused, 1);
        Step::Gone
    }

    /// A frame that no guest sees.
    fn without(&mut self, frame: Frame) -> Step {
        if !self.table.goes_on(frame.track) {
            return Step::Gone;
        }
        if self.guest.is_none() && matches!(self.down, Down::Unsupported | Down::Disabled) {
            return self.admitted(frame);
        }
        tally(&self.place.counts.bypassed, 1);
        match self.policy() {
            FilterFailure::Pass => self.admitted(frame),
            FilterFailure::Drop => Step::Gone,
            FilterFailure::Close => Step::Close(format!(
                "plugin {} does not answer, and its policy is to close the stream",
                self.name()
            )),
        }
    }

    /// The guest failed on a frame; it is never shown that frame again.
    fn failed_on(&mut self, now: Instant, frame: Frame, failure: &Failure) -> Step {
        if self.policy() == FilterFailure::Close {
            self.report(failure, "frame");
            self.guest = None;
            return Step::Close(format!("plugin {} fails: {failure}", self.name()));
        }
        self.failed(now, failure, "frame");
        if self.policy() == FilterFailure::Pass && self.table.goes_on(frame.track) {
            return self.admitted(frame);
        }
        Step::Gone
    }

    /// Drops the instance and arranges for the next one.
    fn failed(&mut self, now: Instant, failure: &Failure, call: &'static str) {
        self.report(failure, call);
        self.guest = None;
        self.alarm = true;
        if self.go_back(now, failure) {
            return;
        }
        let jitter = self.sampler.random();
        match self.circuit.failed(now, jitter) {
            Restart::Now => {
                let version = self.newest();
                self.tried = self.tried.max(version.number);
                if !version.enabled {
                    self.down = Down::Disabled;
                    return;
                }
                let made = self.slot.make(version, &self.place, &self.opening);
                self.down = Down::Failed;
                self.made(now, made);
            }
            Restart::At(then) => self.down = Down::Until(then),
            Restart::Never => {
                self.down = Down::Failed;
                let (plugin, path) = (self.name(), self.place.path());
                tracing::error!(plugin, path, "plugin failed too often: it stays off until it changes");
                *self.slot.plugin.error.lock() = Some(format!("{path}: it failed too often: {failure}"));
            }
        }
    }

    /// Counts a failure and says it, once.
    fn report(&self, failure: &Failure, call: &'static str) {
        failure.count(&self.place);
        self.slot.plugin.common.note_failure(self.place.path(), failure);
        let (plugin, path, version) = (self.name(), self.place.path(), self.version.short());
        tracing::warn!(plugin, path, version, call, %failure, "plugin fails");
    }

    /// A sampled call ended.
    #[cold]
    fn measured(&mut self, begun: Instant, stands_for: u32) {
        let now = Instant::now();
        let time = now.duration_since(begun);
        let counts = &self.place.counts;
        counts.times.observe(time);
        if let Some(guest) = &self.guest {
            let (memory, held) = guest.size();
            counts.memory_bytes.store(memory as u64, Relaxed);
            counts.held_bytes.store(held as u64, Relaxed);
        }
        let share = self.version.limits.share;
        if time >= SLOW {
            let (plugin, path) = (self.name(), self.place.path());
            let span = tracing::debug_span!(
                "slow plugin call",
                plugin,
                path,
                call = "frame",
                micros = time.as_micros()
            );
            span.in_scope(|| tracing::debug!("a frame waited for a plugin"));
        }
        let time = if time < SLOW {
            time.saturating_mul(stands_for)
        } else {
            // Perhaps the thread stood still: that says nothing about the calls that were not timed.
            self.sampler.again();
            time
        };
        if self.slot.plugin.share.spent(now, time, share) {
            self.place.hits.hit(Limit::Share);
            let (plugin, path) = (self.name(), self.place.path());
            tracing::warn!(
                plugin,
                path,
                share,
                "plugin used up its share of the processor: frames go round it"
            );
        }
    }

    fn policy(&self) -> FilterFailure {
        self.slot.on_error.unwrap_or(self.version.on_error).filter
    }
}

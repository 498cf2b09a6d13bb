//! The filters of a path, in order, and its transcoders behind them: the hub's stage. Runs on the publisher's task; the empty chain does not exist.

use std::{sync::Arc, time::Instant};

use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Refusal, Stage, Stages};
use wasmtx_media::{Frame, Tracks};

use crate::{
    aside::Aside,
    convert::same_shape,
    entry::{Entry, Slot, Step},
    limits::CHAIN_EMITS,
    services::Codecs,
    transcoder::{Job, Makings, Planned, Planner, Planning},
};

/// The filters and transcoders that a path's configuration lists.
pub(crate) struct Chain {
    aside: Arc<Aside>,
    codecs: Arc<dyn Codecs>,
    filters: Vec<Arc<Slot>>,
    transcoders: Vec<Arc<Slot>>,
}

impl Chain {
    /// Of at least one of them.
    pub(crate) fn new(
        aside: &Arc<Aside>,
        codecs: &Arc<dyn Codecs>,
        filters: Vec<Arc<Slot>>,
        transcoders: Vec<Arc<Slot>>,
    ) -> Chain {
        Chain {
            aside: aside.clone(),
            codecs: codecs.clone(),
            filters,
            transcoders,
        }
    }
}

impl Stages for Chain {
    fn stage(&self, path: &PathName) -> Result<Box<dyn Stage>, Refusal> {
        Ok(Box::new(Stream {
            seen: self.aside.generation(),
            aside: self.aside.clone(),
            entries: self
                .filters
                .iter()
                .map(|slot| Entry::new(slot, path, &self.aside))
                .collect(),
            planners: self
                .transcoders
                .iter()
                .map(|slot| Planner::new(slot, path.as_str()))
                .collect(),
            makings: Makings::new(&self.codecs, path.as_str()),
            codecs: self.codecs.clone(),
            opening: None,
            filtered: Arc::from([]),
            shown: Arc::from([]),
            attention: false,
        }))
    }
}

/// What becomes of the tracks behind the filters.
struct Outcome {
    /// Plan by plan, transcoder by transcoder.
    plans: Vec<Vec<Planned>>,
    tracks: Tracks,
    jobs: Vec<Job>,
}

/// The filters and transcoders of one publication.
struct Stream {
    aside: Arc<Aside>,
    entries: Vec<Entry>,
    planners: Vec<Planner>,
    codecs: Arc<dyn Codecs>,
    /// What is made behind the filters.
    makings: Makings,
    opening: Option<Opening>,
    /// What the last filter lets through.
    filtered: Tracks,
    /// What goes on behind everything.
    shown: Tracks,
    /// The generation that the entries know of.
    seen: u64,
    /// Some entry has a restart or a swap to bring forward.
    attention: bool,
}

impl Stage for Stream {
    fn open(&mut self, now: Instant, opening: &Opening) -> Result<Tracks, Refusal> {
        self.opening = Some(opening.clone());
        self.open_from(0, now, opening.tracks.clone())
    }

    #[inline]
    fn frame(&mut self, now: Instant, frame: Frame, output: &mut Output) -> Flow {
        let generation = self.aside.generation();
        if generation != self.seen {
            self.seen = generation;
            self.entries.iter_mut().for_each(Entry::look);
            self.planners.iter_mut().for_each(Planner::look);
            self.attention = true;
        }
        let mut budget = CHAIN_EMITS;
        if self.attention
            && let Flow::Close(reason) = self.attend(now, output, &mut budget)
        {
            return Flow::Close(reason);
        }
        self.makings.bring(now, output);
        self.feed(0, now, frame, output, &mut budget)
    }

    fn close(&mut self, now: Instant, reason: CloseReason, output: &mut Output) {
        let mut budget = CHAIN_EMITS * self.entries.len();
        for position in 0..self.entries.len() {
            self.entries[position].close(reason);
            // The ones behind are still open; whether one of them wants to close does not matter any more.
            self.feed_sent(position, now, output, &mut budget);
        }
        self.makings.close(output);
        self.planners.iter_mut().for_each(Planner::close);
    }
}

impl Stream {
    /// Opens the entries from `first` on, each with what the one before lets through.
    fn open_from(&mut self, first: usize, now: Instant, tracks: Tracks) -> Result<Tracks, Refusal> {
        let mut tracks = tracks;
        let Some(opening) = &self.opening else {
            return Ok(tracks);
        };
        for entry in &mut self.entries[first..] {
            tracks = entry
                .open(
                    now,
                    Opening {
                        tracks,
                        ..opening.clone()
                    },
                )
                .map_err(|reason| Refusal {
                    stage: entry.name().to_owned(),
                    reason,
                })?;
        }
        self.filtered = tracks;
        let planned = self.plan()?;
        Ok(self.carry_out(planned))
    }

    /// What the transcoders make of what the filters let through.
    fn plan(&mut self) -> Result<Outcome, Refusal> {
        let mut planning = Planning::new(&*self.codecs, &self.filtered);
        let mut plans = Vec::new();
        if let Some(opening) = &self.opening {
            for (number, planner) in self.planners.iter_mut().enumerate() {
                let planned = planner.open(number, opening, &mut planning);
                plans.push(planned.map_err(|reason| Refusal {
                    stage: planner.name().to_owned(),
                    reason,
                })?);
            }
        }
        let (tracks, jobs) = planning.finish();
        Ok(Outcome { plans, tracks, jobs })
    }

    /// Does it from now on; answers the tracks that go on.
    fn carry_out(&mut self, outcome: Outcome) -> Tracks {
        let Outcome { plans, tracks, jobs } = outcome;
        if let Some(opening) = &self.opening {
            for (planner, planned) in self.planners.iter().zip(plans) {
                planner.show(opening, planned);
            }
        }
        let counted = jobs.into_iter().map(|job| {
            let place = self.planners[job.planner].place().clone();
            (job, place)
        });
        self.makings.set(counted.collect(), &self.filtered, &tracks);
        self.shown = if tracks == self.filtered {
            self.filtered.clone()
        } else {
            tracks
        };
        self.attention = self.needs_attention();
        self.shown.clone()
    }

    fn needs_attention(&self) -> bool {
        self.entries.iter().any(Entry::needs_attention) || self.planners.iter().any(Planner::needs_attention)
    }

    /// One frame through the entries from `first` on.
    fn feed(&mut self, first: usize, now: Instant, frame: Frame, output: &mut Output, budget: &mut usize) -> Flow {
        let mut frame = frame;
        for position in first..self.entries.len() {
            let entry = &mut self.entries[position];
            let step = entry.frame(now, frame);
            self.attention |= entry.alarmed();
            if !entry.sent().is_empty()
                && let Flow::Close(reason) = self.feed_sent(position, now, output, budget)
            {
                return Flow::Close(reason);
            }
            match step {
                Step::Pass(passed) => frame = passed,
                Step::Gone => return Flow::Continue,
                Step::Close(reason) => return Flow::Close(reason),
            }
        }
        self.makings.frame(frame, output);
        Flow::Continue
    }

    /// What an entry made goes through those behind it. As deep as the chain is long.
    fn feed_sent(&mut self, position: usize, now: Instant, output: &mut Output, budget: &mut usize) -> Flow {
        let mut sent = std::mem::take(self.entries[position].sent());
        for frame in sent.drain(..) {
            // Every filter may make 16 of one; a chain of such filters must not make millions.
            if *budget == 0 {
                break;
            }
            *budget -= 1;
            if let Flow::Close(reason) = self.feed(position + 1, now, frame, output, budget) {
                return Flow::Close(reason);
            }
        }
        // Keeps its room for the next time.
        *self.entries[position].sent() = sent;
        Flow::Continue
    }

    /// Brings restarts and swaps forward.
    #[cold]
    fn attend(&mut self, now: Instant, output: &mut Output, budget: &mut usize) -> Flow {
        for position in 0..self.entries.len() {
            let changed = self.entries[position].attend(now);
            if let Flow::Close(reason) = self.feed_sent(position, now, output, budget) {
                return Flow::Close(reason);
            }
            let Some(tracks) = changed else { continue };
            match self.open_from(position + 1, now, tracks) {
                Ok(tracks) => output.tracks = Some(tracks),
                Err(refusal) => return Flow::Close(refusal.to_string()),
            }
        }
        for number in 0..self.planners.len() {
            if let Err(refusal) = self.attend_planner(number, output) {
                return Flow::Close(refusal.to_string());
            }
        }
        self.attention = self.needs_attention();
        Flow::Continue
    }

    /// Takes what a new version of a transcoder says, where it may change the tracks or does not.
    fn attend_planner(&mut self, number: usize, output: &mut Output) -> Result<(), Refusal> {
        let Some(opening) = &self.opening else { return Ok(()) };
        let planner = &mut self.planners[number];
        let Some((said, allowed)) = planner.attend(opening, &self.aside) else {
            return Ok(());
        };
        let before = planner.adopt(Some(said));
        let reason = match self.plan() {
            Ok(outcome) if allowed || same_shape(&self.shown, &outcome.tracks) => {
                output.tracks = Some(self.carry_out(outcome));
                return Ok(());
            }
            Ok(_) => "it would change the tracks of a running stream (see allowTrackChange)".to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        let planner = &mut self.planners[number];
        planner.keep(&reason);
        planner.adopt(before);
        // Those behind it were perhaps asked about other tracks.
        let as_before = self.plan()?;
        self.carry_out(as_before);
        Ok(())
    }
}

//! The filters of a path, in order, and its transcoders behind them: the hub's stage. Runs on the publisher's task; the empty chain does not exist.

use std::{sync::Arc, time::Instant};

use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Refusal, Stage, Stages};
use wasmtx_media::{Frame, TrackId, Tracks};

use crate::{
    aside::Aside,
    entry::{Entry, Slot, Step},
    limits::CHAIN_EMITS,
    transcoder::Planner,
};

/// The filters and transcoders that a path's configuration lists.
pub(crate) struct Chain {
    aside: Arc<Aside>,
    filters: Vec<Arc<Slot>>,
    transcoders: Vec<Arc<Slot>>,
}

impl Chain {
    /// Of at least one of them.
    pub(crate) fn new(aside: &Arc<Aside>, filters: Vec<Arc<Slot>>, transcoders: Vec<Arc<Slot>>) -> Chain {
        Chain {
            aside: aside.clone(),
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
            dropped: Vec::new(),
            opening: None,
            attention: false,
        }))
    }
}

/// The filters and transcoders of one publication.
struct Stream {
    aside: Arc<Aside>,
    entries: Vec<Entry>,
    planners: Vec<Planner>,
    /// Tracks that end behind the filters.
    dropped: Vec<TrackId>,
    opening: Option<Opening>,
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
            self.attention = true;
        }
        let mut budget = CHAIN_EMITS;
        if self.attention
            && let Flow::Close(reason) = self.attend(now, output, &mut budget)
        {
            return Flow::Close(reason);
        }
        self.feed(0, now, frame, output, &mut budget)
    }

    fn close(&mut self, now: Instant, reason: CloseReason, output: &mut Output) {
        let mut budget = CHAIN_EMITS * self.entries.len();
        for position in 0..self.entries.len() {
            self.entries[position].close(reason);
            // The ones behind are still open; whether one of them wants to close does not matter any more.
            self.feed_sent(position, now, output, &mut budget);
        }
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
        let filtered = tracks.clone();
        for planner in &self.planners {
            let opening = Opening {
                tracks,
                ..opening.clone()
            };
            tracks = planner.open(&opening).map_err(|reason| Refusal {
                stage: planner.name().to_owned(),
                reason,
            })?;
        }
        let ends = |id: &TrackId| !tracks.iter().any(|track| track.id == *id);
        self.dropped = filtered.iter().map(|track| track.id).filter(ends).collect();
        self.attention = self.entries.iter().any(Entry::needs_attention);
        Ok(tracks)
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
        if !self.dropped.contains(&frame.track) {
            output.frames.push(frame);
        }
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
        self.attention = self.entries.iter().any(Entry::needs_attention);
        Flow::Continue
    }
}

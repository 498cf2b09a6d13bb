//! When recordings go.
//!
//! By age (`recordDeleteAfter`): a segment whose end we saw is old when that much time has elapsed since
//! ([`super::evidence`]); of any other one its name tells, by a wall clock that is confirmed. Nothing goes while the wall
//! clock is wrong. Of what is found old for the first time, at most a tenth of a path goes; the rest is looked at again.
//!
//! By size (`recordMaxSize`), and when the file system has too little room (`recordMinFree`): the oldest first. For room
//! only what is older than an hour, and nothing that is kept for ever.
//!
//! Only files that the template of their path would name are in an index, and only those that nobody writes are removed.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};

use wasmtx_hub::{Event, PathName};

use super::{
    Archive, Error,
    evidence::{Now, micros},
    index::{Entry, Index},
    recovery,
    rules::{Rule, Rules},
};

/// At least so often it is looked.
const INTERVAL: Duration = Duration::from_mins(30);
/// At most so often.
const LEAST_INTERVAL: Duration = Duration::from_millis(100);
/// A wall clock is not confirmed by less, however soon recordings go.
const STEADY: Duration = Duration::from_mins(10);
/// Of the segments of a path that are old for the first time, one in so many may go.
const FIRST_PART: usize = 10;
/// So long it is not looked again for what could be removed, when there was nothing: that looks through everything.
const FUTILE: Duration = Duration::from_mins(1);
/// What is younger (microseconds) is not removed for room.
const NEWEST: u64 = 3_600_000_000;
/// A segment is not longer (microseconds); so much is believed of a file's time.
const LONGEST: u64 = 86_400_000_000;
/// When room is made, this part of the floor more than needed, so that it is not made for every part of a recording.
const SPARE_PART: u64 = 2;

/// What was found old in each path, and waits for a second look.
#[derive(Debug, Default)]
pub(super) struct Marks(HashMap<PathName, Mark>);

/// What was old.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// By elapsed time.
    at: u64,
    /// Up to this age.
    until: Age,
}

/// Orders segments, the oldest first: when each ended, by elapsed time. What began before that did is negative.
type Age = i128;

/// How soon something can be old again.
pub(super) fn interval(rules: &Rules) -> Duration {
    let half = rules.shortest().map_or(INTERVAL, |shortest| shortest / 2);
    half.clamp(LEAST_INTERVAL, INTERVAL)
}

/// How much time has to pass between the looks that confirm each other: a little less than there is.
fn confirmation(rules: &Rules) -> Duration {
    let interval = interval(rules);
    interval - interval / 8
}

impl Archive {
    /// Looks at every path once: for what is torn if nobody has, and for what has to go.
    pub(super) fn round(&self) -> Result<(), Error> {
        let rules = self.rules.load_full();
        let paths = self.paths()?;
        if paths.is_empty() || !self.is_alone() {
            return Ok(());
        }
        let confirm = confirmation(&rules);
        let now = self.look(confirm);
        let mut found = self.marks.lock();
        found.0.retain(|path, _| paths.binary_search(path).is_ok());
        drop(found);
        for path in &paths {
            if self.stopping.load(Relaxed) {
                break;
            }
            let Some(rule) = rules.of(path) else { continue };
            let looked = self.with(path, |index| {
                index.refresh(true)?;
                // What was written to a moment ago was not looked at yet.
                recovery::recover(self, path, index);
                if !rule.delete_after.is_zero() && !now.wrong {
                    self.age(path, &rule, index, now, micros(confirm));
                }
                self.shrink(path, &rule, index);
                Ok(())
            });
            match looked {
                // Removed under us.
                Ok(()) | Err(Error::NotFound) => {}
                Err(error) => tracing::warn!(%path, "its recordings cannot be looked after: {error}"),
            }
        }
        self.tidy(&paths);
        Ok(())
    }

    /// Looks at the clocks, and says so when one was set.
    fn look(&self, confirm: Duration) -> Now {
        let now = self.evidence.lock().look(&*self.clock, confirm.max(STEADY));
        if let Some(by) = now.stepped {
            // What was old by the other clock says nothing now.
            self.marks.lock().0.clear();
            self.alarm(by);
        }
        now
    }

    fn alarm(&self, by: i64) {
        let seconds = by / 1_000_000;
        tracing::warn!(
            seconds,
            "the clock was set: no recording is removed for its age until it has been steady for a while"
        );
        self.events.emit(|| Event::Other {
            path: None,
            plugin: None,
            kind: "retention-paused".to_owned(),
            json: format!("{{\"seconds\":{seconds}}}"),
        });
    }

    /// Removes what is old.
    fn age(&self, path: &PathName, rule: &Rule, index: &mut Index, now: Now, confirm: u64) {
        let after = micros(rule.delete_after);
        let due = index.entries().iter().filter(|entry| is_older(entry, after, now));
        let mut due: Vec<(Age, u64, Arc<str>)> = due.map(|entry| named(entry, now.elapsed, now.wall)).collect();
        if due.is_empty() {
            self.marks.lock().0.remove(path);
            return;
        }
        due.sort_unstable();
        let mut first = index.entries().len() / FIRST_PART;
        let mark = self.marks.lock().0.get(path).copied();
        let mark = mark.filter(|mark| now.elapsed.saturating_sub(mark.at) >= confirm);
        let mut removed = 0_usize;
        for (age, start, file) in &due {
            if mark.is_none_or(|mark| *age > mark.until) {
                let Some(left) = first.checked_sub(1) else { break };
                first = left;
            }
            removed += usize::from(self.remove(path, index, *start, file));
        }
        if removed > 0 {
            tracing::info!(%path, segments = removed, "removed old recordings");
        }
        let until = due.last().map_or(0, |(age, ..)| *age);
        let mut marks = self.marks.lock();
        let waiting = marks.0.entry(path.clone()).or_insert(Mark { at: now.elapsed, until });
        if mark.is_some() {
            *waiting = Mark { at: now.elapsed, until };
        }
    }

    /// Removes the oldest until a path has no more bytes than it may have.
    pub(super) fn shrink(&self, path: &PathName, rule: &Rule, index: &mut Index) {
        let size = index.size();
        if rule.max_size == 0 || size <= rule.max_size {
            return;
        }
        let mut excess = size - rule.max_size;
        let (elapsed, wall) = (self.evidence.lock().elapsed(&*self.clock), self.clock.wall());
        let mut oldest: Vec<_> = index
            .entries()
            .iter()
            .map(|entry| (named(entry, elapsed, wall), entry.segment.size))
            .collect();
        oldest.sort_unstable();
        let mut removed = 0_usize;
        for ((_, start, file), size) in oldest {
            if excess == 0 {
                break;
            }
            if self.remove(path, index, start, &file) {
                excess = excess.saturating_sub(size);
                removed += 1;
            }
        }
        tracing::info!(%path, segments = removed, "removed the oldest recordings: they had grown over recordMaxSize");
    }

    /// Makes room where there is too little.
    pub(super) fn relieve(&self) -> Result<(), Error> {
        if !self.is_alone() {
            return Ok(());
        }
        let rules = self.rules.load_full();
        self.futile.lock().retain(|(_, since)| since.elapsed() < FUTILE);
        for rule in rules.local() {
            if self.futile.lock().iter().any(|(place, _)| *place == rule.place) {
                continue;
            }
            // One that cannot be had is heard of when it is recorded to.
            let directory = self.directory(&rule).ok().flatten();
            let Some(space) = directory.and_then(|directory| directory.free()) else {
                continue;
            };
            let floor = rules.floor(&rule.place, space.total);
            if space.free < floor {
                let wanted = (floor - space.free).saturating_add(floor / SPARE_PART);
                if !self.make_room(&rules, &rule, wanted)? {
                    self.futile.lock().push((rule.place.clone(), Instant::now()));
                }
            }
        }
        Ok(())
    }

    /// Answers whether something could be removed.
    fn make_room(&self, rules: &Rules, place: &Rule, wanted: u64) -> Result<bool, Error> {
        let now = self.look(confirmation(rules));
        // What is there, of all paths in this place, the oldest on top.
        let mut oldest = BinaryHeap::new();
        for path in self.paths()? {
            let rule = rules.of(&path);
            if !rule.is_some_and(|rule| rule.place == place.place && !rule.delete_after.is_zero()) {
                continue;
            }
            let seen = self.with(&path, |index| {
                for entry in index.entries() {
                    let old = match entry.born {
                        None => !now.wrong && now.wall.saturating_sub(end(entry)) >= NEWEST,
                        Some(_) => is_older(entry, NEWEST, now),
                    };
                    if old {
                        let (age, start, file) = named(entry, now.elapsed, now.wall);
                        oldest.push(Reverse((age, start, file, entry.segment.size, path.clone())));
                    }
                }
                Ok(())
            });
            if let Err(error) = seen {
                tracing::debug!(%path, "its recordings are left out: {error}");
            }
        }
        let (mut freed, mut removed) = (0_u64, 0_usize);
        while let Some(Reverse((_, start, file, size, path))) = oldest.pop() {
            if freed >= wanted || self.stopping.load(Relaxed) {
                break;
            }
            let removed_it = self.with(&path, |index| Ok(self.remove(&path, index, start, &file)));
            if removed_it.unwrap_or(false) {
                freed = freed.saturating_add(size);
                removed += 1;
            }
        }
        if removed > 0 {
            tracing::warn!(place = %place.place, segments = removed, bytes = freed, "removed the oldest recordings: the disk is nearly full");
        }
        Ok(removed > 0)
    }

    fn remove(&self, path: &PathName, index: &mut Index, start: u64, file: &str) -> bool {
        match index.remove(start, file) {
            Ok(()) => {
                tracing::debug!(%path, file, "removed");
                true
            }
            Err(Error::Active) => false,
            Err(error) => {
                tracing::warn!(%path, file, "it cannot be removed: {error}");
                false
            }
        }
    }
}

/// How segments are ordered and found. The end of one that we did not see is guessed from its name.
fn named(entry: &Entry, elapsed: u64, wall: u64) -> (Age, u64, Arc<str>) {
    let segment = &entry.segment;
    let ended = match entry.born {
        Some(born) => born.into(),
        None => i128::from(elapsed) - i128::from(wall) + i128::from(end(entry)),
    };
    (ended, segment.start, segment.file.clone())
}

/// Whether a segment ended so long ago (microseconds), and that is certain.
fn is_older(entry: &Entry, than: u64, now: Now) -> bool {
    if entry.segment.active {
        return false;
    }
    match entry.born.filter(|born| *born <= now.elapsed) {
        Some(born) => now.elapsed - born >= than,
        None => now.confirmed && now.wall.saturating_sub(end(entry)) >= than,
    }
}

/// When a segment ended, by the wall clock.
fn end(entry: &Entry) -> u64 {
    let segment = &entry.segment;
    if segment.known {
        return segment.end();
    }
    entry
        .modified
        .clamp(segment.start, segment.start.saturating_add(LONGEST))
}

//! What is counted about a plugin on one path, and the series that the guest itself counts there.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed},
};

use parking_lot::Mutex;

use crate::{
    histogram::{Histogram, Times},
    hits::{Hits, Limit},
    transcoder::Planned,
};

const NAME_LEN: usize = 64;

/// One use of a plugin on one path. Outlives instances and publications, so that counters only grow.
#[derive(Default)]
pub(crate) struct Place {
    path: String,
    pub(crate) counts: Counts,
    pub(crate) hits: Hits,
    series: Mutex<BTreeMap<String, Sample>>,
    /// What a transcoder said last.
    pub(crate) plan: Mutex<Vec<Planned>>,
    /// Ids of the tracks that are being made because of it.
    pub(crate) running: Mutex<Vec<u32>>,
}

/// Written by the one task that runs the instance, read by anybody. What each means is said in [`Usage`].
#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) calls: AtomicU64,
    pub(crate) passed: AtomicU64,
    pub(crate) dropped: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) emitted: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) bypassed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) traps: AtomicU64,
    pub(crate) deadlines: AtomicU64,
    pub(crate) memory: AtomicU64,
    pub(crate) other: AtomicU64,
    pub(crate) restarts: AtomicU64,
    pub(crate) swaps: AtomicU64,
    /// Payload bytes that the guest read, and that it made.
    pub(crate) bytes_read: AtomicU64,
    pub(crate) bytes_made: AtomicU64,
    /// Conversions begun, frames that they made, frames that came to nothing, and codecs started again.
    pub(crate) conversions: AtomicU64,
    pub(crate) converted: AtomicU64,
    pub(crate) unconverted: AtomicU64,
    pub(crate) codec_restarts: AtomicU64,
    pub(crate) times: Histogram,
    /// A [`Condition`], as its number.
    condition: AtomicU8,
    pub(crate) memory_bytes: AtomicU64,
    pub(crate) held_bytes: AtomicU64,
}

impl Counts {
    /// Says how the use stands.
    pub(crate) fn set(&self, condition: Condition) {
        self.condition.store(condition as u8, Relaxed);
    }
}

/// How a plugin stands on a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Condition {
    /// Nothing runs there now.
    #[default]
    Idle,
    /// It works.
    Running,
    /// It failed, and a new instance comes after a pause.
    Restarting,
    /// It failed too often, and stays off until something changes.
    Failed,
    /// It has nothing to do with this stream.
    Unsupported,
    /// Somebody switched it off.
    Disabled,
}

impl Condition {
    /// Each of them.
    pub const ALL: [Condition; 6] = [
        Condition::Idle,
        Condition::Running,
        Condition::Restarting,
        Condition::Failed,
        Condition::Unsupported,
        Condition::Disabled,
    ];

    /// Its word in the API and the metrics.
    pub fn name(self) -> &'static str {
        match self {
            Condition::Idle => "idle",
            Condition::Running => "running",
            Condition::Restarting => "restarting",
            Condition::Failed => "failed",
            Condition::Unsupported => "unsupported",
            Condition::Disabled => "disabled",
        }
    }
}

/// Adds one where several tasks write.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}

/// Adds where one task writes: a quarter of the price, on every frame.
#[inline]
pub(crate) fn tally(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(more), Relaxed);
}

/// A value that a guest reported.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Sample {
    /// Grows.
    Counter(u64),
    /// The last value.
    Gauge(f64),
    /// How many values were observed, and their sum.
    Summary {
        /// Values.
        count: u64,
        /// Their sum.
        sum: f64,
    },
}

/// What a plugin did on one path so far.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Usage {
    /// The path.
    pub path: String,
    /// Calls of the role's own function: of a sink, batches.
    pub calls: u64,
    /// Frames passed by the guest, or taken by a sink; requests it allowed.
    pub passed: u64,
    /// Frames dropped by the guest, or requests it denied.
    pub dropped: u64,
    /// Times that the guest closed the stream.
    pub closed: u64,
    /// Frames that the guest made.
    pub emitted: u64,
    /// Frames of the guest that the host refused: unknown track, time running backwards, broken payload.
    pub refused: u64,
    /// Frames that went round the plugin: it was down, had used up its share of the processor, or waited for a keyframe.
    pub bypassed: u64,
    /// Frames that a sink missed because it was too slow.
    pub lost: u64,
    /// Failures: the guest trapped.
    pub traps: u64,
    /// Failures: a call took too long.
    pub deadlines: u64,
    /// Failures: the instance wanted more memory than it may have.
    pub memory: u64,
    /// Failures of any other kind.
    pub other: u64,
    /// Instances made after a failure.
    pub restarts: u64,
    /// Hot swaps.
    pub swaps: u64,
    /// Payload bytes that the guest read.
    pub bytes_read: u64,
    /// Payload bytes that the guest made.
    pub bytes_made: u64,
    /// How long calls took: of `filter.frame` one in 16 on average, of the others each.
    pub times: Times,
    /// How it stands.
    pub condition: Condition,
    /// Bytes of linear memory of the instance.
    pub memory_bytes: u64,
    /// Bytes of frames that the guest holds.
    pub held_bytes: u64,
    /// Bounds that the guest ran into and how often, by the key of mediamtx.yml that changes each.
    pub hits: Vec<(&'static str, u64)>,
    /// What a transcoder said last about the tracks of the stream.
    pub plan: Vec<Planned>,
    /// What is done because a transcoder said so.
    pub conversions: Conversions,
    /// The guest's own series, by name.
    pub series: Vec<(String, Sample)>,
}

/// The work on codecs that a transcoder brings about on one path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conversions {
    /// Tracks that are being made now.
    pub running: usize,
    /// Times that it was begun to make one.
    pub begun: u64,
    /// Frames made.
    pub frames: u64,
    /// Frames of sources that came to nothing: a codec failed, or did not keep up.
    pub lost: u64,
    /// Codecs started again after a failure.
    pub restarts: u64,
}

impl Place {
    pub(crate) fn new(path: &str) -> Place {
        Place {
            path: path.to_owned(),
            ..Place::default()
        }
    }

    /// The path's name, for labels.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Takes a value of the guest. A name outside the grammar, or more than `most` series, is dropped.
    pub(crate) fn sample(&self, name: String, sample: Sample, most: usize) {
        let finite = match sample {
            Sample::Counter(_) => true,
            Sample::Gauge(value) | Sample::Summary { sum: value, .. } => value.is_finite(),
        };
        if !finite || !is_name(&name) {
            return;
        }
        let mut series = self.series.lock();
        if series.len() >= most && !series.contains_key(&name) {
            self.hits.hit(Limit::Series);
            return;
        }
        series
            .entry(name)
            .and_modify(|old| match (old, sample) {
                (Sample::Counter(old), Sample::Counter(delta)) => *old = old.saturating_add(delta),
                (Sample::Summary { count, sum }, Sample::Summary { sum: value, .. }) => {
                    *count += 1;
                    *sum += value;
                }
                (old, new) => *old = new,
            })
            .or_insert(sample);
    }

    pub(crate) fn usage(&self) -> Usage {
        let c = &self.counts;
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let running = self.running.lock().clone();
        let mut plan = self.plan.lock().clone();
        for planned in &mut plan {
            planned.running = planned.made.is_some_and(|made| running.contains(&made));
        }
        Usage {
            path: self.path.clone(),
            calls: read(&c.calls),
            passed: read(&c.passed),
            dropped: read(&c.dropped),
            closed: read(&c.closed),
            emitted: read(&c.emitted),
            refused: read(&c.refused),
            bypassed: read(&c.bypassed),
            lost: read(&c.lost),
            traps: read(&c.traps),
            deadlines: read(&c.deadlines),
            memory: read(&c.memory),
            other: read(&c.other),
            restarts: read(&c.restarts),
            swaps: read(&c.swaps),
            bytes_read: read(&c.bytes_read),
            bytes_made: read(&c.bytes_made),
            times: c.times.read(),
            condition: Condition::ALL
                .into_iter()
                .find(|condition| *condition as u8 == c.condition.load(Relaxed))
                .unwrap_or_default(),
            memory_bytes: read(&c.memory_bytes),
            held_bytes: read(&c.held_bytes),
            hits: self.hits.seen(),
            plan,
            conversions: Conversions {
                running: running.len(),
                begun: read(&c.conversions),
                frames: read(&c.converted),
                lost: read(&c.unconverted),
                restarts: read(&c.codec_restarts),
            },
            series: self
                .series
                .lock()
                .iter()
                .map(|(name, sample)| (name.clone(), *sample))
                .collect(),
        }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= NAME_LEN
        && name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_add_up_by_kind() {
        let place = Place::new("cam");
        for value in [1.0, 2.5] {
            place.sample("seen".into(), Sample::Counter(2), 64);
            place.sample("level".into(), Sample::Gauge(value), 64);
            place.sample("size".into(), Sample::Summary { count: 1, sum: value }, 64);
        }
        let series = place.usage().series;
        assert_eq!(
            series,
            [
                ("level".into(), Sample::Gauge(2.5)),
                ("seen".into(), Sample::Counter(4)),
                ("size".into(), Sample::Summary { count: 2, sum: 3.5 }),
            ]
        );
    }

    #[test]
    fn odd_names_values_and_too_many_series_are_dropped() {
        let place = Place::new("cam");
        for name in ["", "Upper", "1st", "a-b", "a\"b", &"x".repeat(65)] {
            place.sample(name.into(), Sample::Counter(1), 64);
        }
        place.sample("nan".into(), Sample::Gauge(f64::NAN), 64);
        assert!(place.usage().series.is_empty());
        for n in 0..100 {
            place.sample(format!("s{n}"), Sample::Counter(1), 64);
        }
        let usage = place.usage();
        assert_eq!(usage.series.len(), 64);
        assert_eq!(usage.hits, [("series", 36)]);
    }
}

//! How sound keeps its time while it is re-encoded: exact to the sample, for as long as the stream lasts.
//!
//! A decoder, a resampler and an encoder all count samples, and none of them loses one. So time is counted in samples too,
//! from the timestamp of the first packet, and the packets' own timestamps only correct the count:
//!
//! 1. [`Clock`] stands behind the decoder, on the source's sample rate. It compares where a piece of sound should be by its
//!    timestamp with where the samples before it end. The difference is
//!    - *small* (below half of the piece, and a few ticks of the timestamps' clock): rounding or jitter. The piece goes right
//!      behind the one before it, so jitter neither adds up nor leaves holes. Only when the **mean** difference of many
//!      seconds is off (the sender's sound card does not run by its timestamps), single samples are put in or left out;
//!    - *ahead*, up to [`FILL`]: packets are missing. Silence takes their place;
//!    - *behind*, up to [`FILL`]: the piece overlaps what was there already. What overlaps is cut off;
//!    - *larger*: the stream was interrupted, or jumped. The count starts anew from this timestamp.
//!
//!    Corrections that follow each other in both directions are no losses but jitter larger than a packet (senders that stamp
//!    what they send by the time of sending): then the bound of "small" is doubled, and halved again when the stream is calm.
//! 2. Resampling changes the rate by an exact fraction: sample *n* of a stretch without a jump is *n* / rate behind its
//!    start, whatever the filter holds back.
//! 3. [`Timeline`] stands behind the encoder, on the target's sample rate. It knows at which of the encoder's samples each
//!    stretch began and at which time, and that the encoder's first packet begins so many samples before its first input
//!    (priming: 1024 for AAC, 312 for Opus). Packet *k* begins at sample *k* × frame − priming; that is its time.
//!
//! What would lie before the first packet of the source is left out: the output never begins before the input.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

use std::collections::VecDeque;

/// Seconds of missing sound that silence takes the place of.
pub const FILL: i64 = 2;
/// By a difference below this a piece is never moved, in fractions of a second: 2 ms.
const LEAST: i64 = 500;
/// The mean difference that is corrected, in fractions of a second: 5 ms. A tenth of what is noticed between lips and sound.
const OFF: i64 = 200;
/// Single samples are put in or left out at most so often, in fractions of a second: 10 ms.
const SELDOM: i64 = 100;
/// Seconds over which the mean is taken.
const MEAN: f64 = 5.0;
/// Corrections in both directions within so many seconds are jitter.
const RESTLESS: i64 = 1;
/// After so many seconds it is looked whether the stream has become calm.
const CALM: i64 = 30;
/// The largest jitter, in fractions of a second: 250 ms.
const JITTER: i64 = 4;

/// Where a piece of decoded sound goes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// A new stretch begins with it, at its timestamp. What is underway is to be finished first.
    pub jump: bool,
    /// Samples of silence before it.
    pub silence: usize,
    /// Samples to cut off at its beginning, all of them perhaps.
    pub cut: usize,
    /// One sample is to be put in (1) or left out (-1) within it.
    pub adjust: i8,
}

/// Places decoded sound by its timestamps. All counts are in samples of the source.
#[derive(Clone, Debug)]
pub struct Clock {
    clock_rate: i64,
    sample_rate: i64,
    stretch: Option<Stretch>,
    /// How far the bound of "small" is opened: a power of two.
    wide: i64,
}

#[derive(Clone, Debug)]
struct Stretch {
    /// Timestamp of its first sample.
    pts: i64,
    /// Samples so far, silence included.
    samples: i64,
    /// Of the differences, weighted by the time they lasted.
    mean: f64,
    /// The mean is being corrected.
    adjusting: bool,
    /// Where a single sample was put in or left out last.
    adjusted: i64,
    /// Where a piece was moved last, and whether silence was put in.
    moved: Option<(i64, bool)>,
    /// Where calm is next looked for, and the largest difference since.
    calm: i64,
    largest: i64,
}

impl Clock {
    /// For timestamps of `clock_rate` ticks per second and sound of `sample_rate` samples per second. Neither is 0.
    pub fn new(clock_rate: u32, sample_rate: u32) -> Clock {
        Clock {
            clock_rate: i64::from(clock_rate.max(1)),
            sample_rate: i64::from(sample_rate.max(1)),
            stretch: None,
            wide: 1,
        }
    }

    /// Samples per second.
    pub fn sample_rate(&self) -> u32 {
        u32::try_from(self.sample_rate).unwrap_or(u32::MAX)
    }

    /// Where the next `samples` samples go, that have the timestamp `pts`; `None` when the decoder does not know it: then they
    /// follow those before.
    pub fn place(&mut self, pts: Option<i64>, samples: usize) -> Place {
        let count = i64::try_from(samples).unwrap_or(i64::MAX);
        let rate = self.sample_rate;
        let Some((stretch, pts)) = self.stretch.as_mut().zip(pts) else {
            return match (&mut self.stretch, pts) {
                (Some(stretch), _) => {
                    stretch.samples = stretch.samples.saturating_add(count);
                    Place::default()
                }
                (None, pts) => self.start(pts.unwrap_or(0), count),
            };
        };
        let due = rescale(pts.saturating_sub(stretch.pts), self.clock_rate, rate);
        let ahead = due.saturating_sub(stretch.samples);
        if ahead.saturating_abs() > rate.saturating_mul(FILL) {
            return self.start(pts, count);
        }
        let ticks = rescale(2, self.clock_rate, rate);
        let least = fraction(rate, LEAST).max(ticks).max(fraction(count, 2));
        let most = least.max(fraction(rate, JITTER));
        if ahead.saturating_abs() <= least.saturating_mul(self.wide).min(most) {
            let place = stretch.go_on(ahead, count, fraction(rate, OFF).max(ticks), rate);
            if stretch.samples >= stretch.calm {
                if stretch.largest.saturating_mul(2) < least.saturating_mul(self.wide) {
                    self.wide = fraction(self.wide, 2).max(1);
                }
                stretch.calm = stretch.samples.saturating_add(rate.saturating_mul(CALM));
                stretch.largest = 0;
            }
            return place;
        }
        let fills = ahead > 0;
        let restless = |(at, filled): (i64, bool)| {
            filled != fills && stretch.samples.saturating_sub(at) < rate.saturating_mul(RESTLESS)
        };
        if stretch.moved.is_some_and(restless) && least.saturating_mul(self.wide) < most {
            self.wide = self.wide.saturating_mul(2);
        }
        stretch.move_by(ahead, count, fills)
    }

    fn start(&mut self, pts: i64, count: i64) -> Place {
        self.stretch = Some(Stretch {
            pts,
            samples: count,
            mean: 0.0,
            adjusting: false,
            adjusted: 0,
            moved: None,
            calm: self.sample_rate.saturating_mul(CALM),
            largest: 0,
        });
        Place {
            jump: true,
            ..Place::default()
        }
    }
}

impl Stretch {
    /// The piece goes behind the one before it, though it is due `ahead` of that.
    fn go_on(&mut self, ahead: i64, count: i64, off: i64, rate: i64) -> Place {
        self.largest = self.largest.max(ahead.saturating_abs());
        self.samples = self.samples.saturating_add(count);
        #[allow(clippy::cast_precision_loss, reason = "seconds of sound, compared with milliseconds")]
        let (difference, off, weight) = (ahead as f64, off as f64, (count as f64 / rate as f64 / MEAN).min(1.0));
        self.mean += (difference - self.mean) * weight;
        // Begun at one bound, ended near zero: not a sample in and a sample out at the bound.
        self.adjusting = self.mean.abs() > if self.adjusting { off / 8.0 } else { off };
        let since = self.samples.saturating_sub(self.adjusted);
        if !self.adjusting || since < fraction(rate, SELDOM) || count < 2 {
            return Place::default();
        }
        let adjust = if self.mean > 0.0 { 1 } else { -1 };
        self.mean -= f64::from(adjust);
        self.samples = self.samples.saturating_add(adjust.into());
        self.adjusted = self.samples;
        Place {
            adjust,
            ..Place::default()
        }
    }

    /// The piece goes where it is due.
    fn move_by(&mut self, ahead: i64, count: i64, fills: bool) -> Place {
        let silence = ahead.max(0);
        let cut = ahead.min(0).saturating_neg().min(count);
        self.moved = Some((self.samples, fills));
        self.mean = 0.0;
        self.adjusting = false;
        self.samples = self
            .samples
            .saturating_add(silence)
            .saturating_add(count.saturating_sub(cut));
        Place {
            silence: usize::try_from(silence).unwrap_or(0),
            cut: usize::try_from(cut).unwrap_or(0),
            ..Place::default()
        }
    }
}

/// The time of a packet that an encoder made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Ticks of the target's sample rate.
    pub pts: i64,
    /// It is the first of a stretch behind a jump.
    pub discontinuity: bool,
}

/// Stamps what an encoder makes. All counts are in samples of the target.
#[derive(Clone, Debug)]
pub struct Timeline {
    sample_rate: i64,
    frame: i64,
    /// Where the encoder's next packet begins, counted from its first input.
    next: i64,
    /// Where stretches begin, in that count, and when: the present one, and those that the encoder has not come to.
    stretches: VecDeque<(i64, i64)>,
}

impl Timeline {
    /// For an encoder that takes `frame` samples and begins `priming` before the first, at `sample_rate` per second.
    pub fn new(sample_rate: u32, frame: u32, priming: u32) -> Timeline {
        Timeline {
            sample_rate: i64::from(sample_rate),
            frame: i64::from(frame),
            next: i64::from(priming).saturating_neg(),
            stretches: VecDeque::new(),
        }
    }

    /// A stretch begins behind the `given` samples that the encoder has had, at `pts` ticks of a clock of `clock_rate`. Never
    /// before the end of the one before it.
    pub fn jump(&mut self, given: i64, pts: i64, clock_rate: u32) {
        let due = rescale(pts, i64::from(clock_rate.max(1)), self.sample_rate);
        let pts = match self.stretches.back() {
            Some((at, pts)) => due.max(pts.saturating_add(given.saturating_sub(*at))),
            None => due,
        };
        self.stretches.push_back((given, pts));
    }

    /// The time of the encoder's next packet; `None` when it begins before the first input.
    pub fn stamp(&mut self) -> Option<Stamp> {
        let begins = self.next;
        self.next = begins.saturating_add(self.frame);
        let mut discontinuity = false;
        while self.stretches.get(1).is_some_and(|(at, _)| *at <= begins) {
            self.stretches.pop_front();
            discontinuity = true;
        }
        let (at, pts) = self.stretches.front().filter(|(at, _)| *at <= begins)?;
        Some(Stamp {
            pts: pts.saturating_add(begins.saturating_sub(*at)),
            discontinuity,
        })
    }
}

/// `count` in units of `from` per second, as the nearest count of `to` per second. `from` is not 0.
pub fn rescale(count: i64, from: i64, to: i64) -> i64 {
    let scaled = i128::from(count).saturating_mul(to.into());
    let nearest = scaled
        .saturating_add((from >> 1).into())
        .checked_div_euclid(from.into())
        .unwrap_or(0);
    i64::try_from(nearest).unwrap_or(if nearest < 0 { i64::MIN } else { i64::MAX })
}

/// A part of a positive count.
fn fraction(count: i64, of: i64) -> i64 {
    count.checked_div(of).unwrap_or(0)
}

#[cfg(test)]
mod tests;

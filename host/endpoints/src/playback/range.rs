//! A range of a path's recordings: which files it needs, when each of them begins in it, and which samples are in it.
//!
//! Times are nanoseconds since the beginning of the range, and in a track its ticks since then. A sample is shown when it is
//! decoded within the range. Decoding may have to begin before it: what comes from the last keyframe in front of the range
//! leads in.

use wasmtx_media::container::mp4::recorded::{Header, Sample};

use crate::recording::Segment;

const NANOSECOND: i64 = 1_000_000_000;
/// Files that do not say what they follow join when no more than this is between them, or doubled.
pub(super) const TOLERANCE: u64 = 1_000_000;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Range {
    /// The moment 0, nanoseconds since 1970.
    pub(super) origin: i64,
    /// The first moment, nanoseconds since then.
    pub(super) from: i64,
    /// The moment after the last.
    pub(super) to: i64,
}

impl Range {
    /// One that counts from its own beginning.
    pub(super) fn new(start: i64, duration: i64) -> Range {
        Range {
            origin: start,
            from: 0,
            to: duration,
        }
    }

    /// The file in which it begins and those that follow it, up to its end.
    pub(super) fn select(&self, segments: &[Segment]) -> std::ops::Range<usize> {
        select(
            segments,
            self.origin.saturating_add(self.from),
            self.origin.saturating_add(self.to),
        )
    }
}

/// The file in which a moment is and those that follow it, up to another moment.
pub(super) fn select(segments: &[Segment], start: i64, end: i64) -> std::ops::Range<usize> {
    let until = segments.partition_point(|segment| nanoseconds(segment.start) <= end);
    let after = segments.partition_point(|segment| nanoseconds(segment.start) <= start);
    after.saturating_sub(1).min(until)..until
}

/// Microseconds since 1970 as nanoseconds.
pub(super) fn nanoseconds(micros: u64) -> i64 {
    i64::try_from(micros).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// Nanoseconds in ticks, towards zero.
pub(super) fn ticks(nanoseconds: i64, clock_rate: u32) -> i64 {
    let ticks = i128::from(nanoseconds) * i128::from(clock_rate) / i128::from(NANOSECOND);
    i64::try_from(ticks).unwrap_or(if nanoseconds < 0 { i64::MIN } else { i64::MAX })
}

/// Ticks in nanoseconds, rounded down.
pub(super) fn of_ticks(ticks: i64, clock_rate: u32) -> i64 {
    let nanoseconds = (i128::from(ticks) * i128::from(NANOSECOND)).div_euclid(i128::from(clock_rate.max(1)));
    i64::try_from(nanoseconds).unwrap_or(i64::MAX)
}

/// Whether the second of two files goes on where the first ends. `end` is when that is, in microseconds since 1970.
pub(super) fn joins(previous: &Header, end: u64, next: &Header, start: u64) -> bool {
    let follows = match (&previous.segment, &next.segment) {
        (Some(previous), Some(next)) => previous.is_before(next),
        (None, None) => start.abs_diff(end) <= TOLERANCE,
        _ => false,
    };
    follows && previous.fingerprint() == next.fingerprint()
}

/// When a file begins in the range, for one that joins `first`, which begins at `zero`.
pub(super) fn zero_of(zero: i64, first: &Header, next: &Header, range: &Range, start: u64) -> i64 {
    match (&first.segment, &next.segment) {
        (Some(first), Some(next)) => next.dts.saturating_sub(first.dts).saturating_add(zero),
        _ => nanoseconds(start).saturating_sub(range.origin),
    }
}

/// The clock of one track of one file in a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// Ticks to add to the file's times.
    pub(super) zero: i64,
    /// The first tick of the range.
    pub(super) begin: i64,
    /// The tick after the last.
    pub(super) end: i64,
}

impl Clock {
    /// Of each track.
    pub(super) fn of(header: &Header, zero: i64, range: &Range) -> Vec<Clock> {
        let clock = |rate| Clock {
            zero: ticks(zero, rate),
            begin: ticks(range.from, rate),
            end: ticks(range.to, rate),
        };
        header.tracks.iter().map(|track| clock(track.clock_rate)).collect()
    }

    /// When a sample is decoded.
    pub(super) fn of_sample(&self, sample: &Sample) -> i64 {
        sample.dts.saturating_add(self.zero)
    }
}

/// How one track leads in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lead {
    /// When the keyframe is decoded that the lead begins with; none when none is needed.
    pub(super) from: Option<i64>,
    /// When the first sample is decoded that is shown.
    pub(super) first: i64,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtx_media::recording::Format;

    use super::*;

    fn segments(starts: &[u64]) -> Arc<[Segment]> {
        let segment = |start: &u64| Segment {
            start: *start,
            duration: 0,
            size: 0,
            file: "".into(),
            format: Format::Fmp4,
            active: false,
            known: true,
            join: None,
            tracks: 0,
        };
        starts.iter().map(segment).collect()
    }

    #[test]
    fn a_range_needs_the_file_it_begins_in_and_those_up_to_its_end() {
        let check = |start, duration, expected: std::ops::Range<usize>| {
            let range = Range::new(start, duration);
            assert_eq!(range.select(&segments(&[10, 20, 30])), expected, "{range:?}");
        };
        check(0, 5_000, 0..0);
        check(0, 10_000, 0..1);
        check(10_000, 1, 0..1);
        check(19_999, 1, 0..2);
        check(20_000, 9_999, 1..2);
        check(25_000, 100_000, 1..3);
        check(90_000, 100_000, 2..3);
        assert_eq!(Range::new(0, 1).select(&segments(&[])), 0..0);
    }

    #[test]
    fn ticks_and_nanoseconds_agree() {
        for rate in [1, 1_000, 44_100, 48_000, 90_000, u32::MAX] {
            for tick in [0, 1, 7, 1 << 30] {
                let nanoseconds = of_ticks(tick, rate);
                let again = ticks(nanoseconds, rate);
                assert!(
                    again == tick || again == tick - 1 || rate > 1_000_000_000,
                    "{tick} of {rate}"
                );
            }
        }
        assert_eq!(ticks(-1_500_000_000, 90_000), -135_000);
        assert_eq!(ticks(-1, 90_000), 0);
        assert_eq!(ticks(i64::MIN, u32::MAX), i64::MIN);
    }
}

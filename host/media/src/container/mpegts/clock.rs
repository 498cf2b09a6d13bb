//! From the 33 bits of a stream's times, which wrap every 26 hours and jump when the sender starts anew, to times that do
//! neither.
//!
//! All tracks share one timeline, so that they stay together over a wrap and over a jump. Around a jump packets of the
//! old times and of the new ones come mixed: each track changes over with its own first packet of the new times.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use super::{CLOCK_RATE, packet::TIME_MASK, pes::Times};

const SECOND: i64 = CLOCK_RATE as i64;
/// A track's times go back by less than this where a sender is careless, and by more where it starts anew.
const MAX_BACK: i64 = SECOND;
/// A live stream whose times go further ahead at once has started anew.
const MAX_AHEAD: i64 = 60 * SECOND;
/// How far tracks of one stream are apart.
const MAX_APART: i64 = 10 * SECOND;
/// Times of so little before a wrap, at the beginning of a stream, are before 0.
const MAX_BEFORE_ZERO: i64 = MAX_APART;
/// Where the first frame after a jump comes: behind the last one before it, as far as pictures are apart.
const BEHIND_JUMP: i64 = SECOND / 25;

/// The times of a program.
#[derive(Clone, Debug)]
pub(super) struct Timeline {
    /// Whether a jump ahead is a gap, as in a recording, and not another beginning.
    keeps_gaps: bool,
    newest: Option<Run>,
    /// The last time that came out.
    latest: i64,
}

/// Times without a jump: the last one that came, and how far it is moved.
#[derive(Clone, Copy, Debug)]
struct Run {
    last: i64,
    shift: i64,
}

/// Where one track is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Place(Option<Run>);

/// Times that neither wrap nor jump.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Placed {
    pub(super) pts: i64,
    pub(super) dts: i64,
    /// The sender started anew just before.
    pub(super) jumped: bool,
}

impl Timeline {
    pub(super) fn new(keeps_gaps: bool) -> Timeline {
        Timeline {
            keeps_gaps,
            newest: None,
            latest: 0,
        }
    }

    /// For times that are all near this one.
    pub(super) fn near(time: i64) -> Timeline {
        Timeline {
            newest: Some(Run { last: time, shift: 0 }),
            ..Timeline::new(true)
        }
    }

    /// Gives the next times of a track their place.
    pub(super) fn place(&mut self, track: &mut Place, times: Times) -> Placed {
        let before = track.0;
        let run = self.run(before, times.dts);
        track.0 = Some(run);
        if self.newest.is_none_or(|newest| newest.shift == run.shift) {
            self.newest = Some(run);
        }
        let dts = run.last.saturating_add(run.shift);
        self.latest = self.latest.max(dts);
        let later = distance(times.dts, times.pts);
        // Nothing is shown that long after it was decoded: the time is garbage.
        let later = if later.abs() > MAX_APART { 0 } else { later };
        Placed {
            pts: dts.saturating_add(later),
            dts,
            jumped: before.is_some_and(|before| before.shift != run.shift),
        }
    }

    fn run(&mut self, track: Option<Run>, time: u64) -> Run {
        let ahead = if self.keeps_gaps { i64::MAX } else { MAX_AHEAD };
        let step = track.map(|run| (run, run.to(time).last.saturating_sub(run.last)));
        if let Some((run, step)) = step.filter(|(_, step)| (-MAX_BACK..=ahead).contains(step)) {
            return Run {
                last: run.last.saturating_add(step),
                ..run
            };
        }
        let Some(newest) = self.newest else {
            let zero = Run { last: 0, shift: 0 };
            let nearest = zero.to(time);
            // What is decoded before a stream of MediaMTX begins to be shown, at 0, is at the end of the day before.
            if nearest.last < MAX_BEFORE_ZERO.saturating_neg() {
                return Run {
                    last: time.cast_signed(),
                    ..zero
                };
            }
            return nearest;
        };
        let now = newest.to(time);
        let near = now.last.saturating_sub(newest.last).abs() <= MAX_APART;
        // The others have jumped already, or this one was silent, or it begins.
        let follows = match step {
            Some((run, step)) => near && (run.shift != newest.shift || step > 0),
            None => near || self.keeps_gaps,
        };
        if follows {
            return now;
        }
        let shift = self.latest.saturating_add(BEHIND_JUMP).saturating_sub(now.last);
        let run = Run { shift, ..now };
        self.newest = Some(run);
        run
    }
}

impl Run {
    /// The time of 33 bits that is nearest to the last one.
    fn to(self, time: u64) -> Run {
        let step = distance(self.last.cast_unsigned() & TIME_MASK, time);
        Run {
            last: self.last.saturating_add(step),
            ..self
        }
    }
}

/// How far `to` is behind `from`, the shorter way around.
pub(super) fn distance(from: u64, to: u64) -> i64 {
    let ahead = to.wrapping_sub(from) & TIME_MASK;
    if ahead > TIME_MASK >> 1 {
        ahead.wrapping_sub(TIME_MASK).wrapping_sub(1).cast_signed()
    } else {
        ahead.cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAP: i64 = 1 << 33;

    /// Two tracks of one timeline.
    struct Two {
        timeline: Timeline,
        tracks: [Place; 2],
    }

    impl Two {
        fn new(keeps_gaps: bool) -> Two {
            Two {
                timeline: Timeline::new(keeps_gaps),
                tracks: Default::default(),
            }
        }

        fn place(&mut self, track: usize, dts: i64) -> (i64, bool) {
            let dts = dts.cast_unsigned() & TIME_MASK;
            let placed = self.timeline.place(&mut self.tracks[track], Times { pts: dts, dts });
            (placed.dts, placed.jumped)
        }
    }

    #[test]
    fn a_wrap_is_not_seen_in_any_track() {
        let mut two = Two::new(false);
        for step in -500..50 {
            let time = WRAP + step * 9_000;
            assert_eq!(two.place(0, time), (time, false));
            assert_eq!(two.place(1, time - 20_000), (time - 20_000, false));
        }
        let mut two = Two::new(false);
        assert_eq!(two.place(0, WRAP - 7_200), (-7_200, false));
        assert_eq!(two.place(1, 0), (0, false));
        let mut two = Two::new(false);
        assert_eq!(two.place(0, 10), (10, false));
        assert_eq!(
            two.place(1, WRAP - 10),
            (-10, false),
            "before the beginning, not a day later"
        );
    }

    #[test]
    fn thirty_wraps_are_thirty_times_as_long() {
        let mut two = Two::new(true);
        let mut time = 5;
        while time < WRAP * 30 {
            assert_eq!(two.place(0, time), (time, false));
            time += WRAP / 3;
        }
    }

    #[test]
    fn a_sender_that_starts_anew_goes_on_where_it_was_with_all_its_tracks_together() {
        for there in [0, 50_000_000, WRAP / 2] {
            let mut two = Two::new(false);
            for n in 0..100 {
                two.place(0, 9_000_000 + n * 3_600);
                two.place(1, 9_000_000 + n * 3_600 + 100);
            }
            let end = 9_000_000 + 99 * 3_600 + 100;
            assert_eq!(two.place(0, there), (end + BEHIND_JUMP, true));
            assert_eq!(
                two.place(1, end + 2_000),
                (end + 2_000, false),
                "the other one is not there yet"
            );
            assert_eq!(two.place(0, there + 3_600), (end + BEHIND_JUMP + 3_600, false));
            assert_eq!(two.place(1, there + 100), (end + BEHIND_JUMP + 100, true));
        }
    }

    #[test]
    fn a_short_clip_that_is_played_again_and_again_goes_on() {
        let mut two = Two::new(false);
        let mut last = -BEHIND_JUMP;
        for _ in 0..5 {
            for time in (0..5 * SECOND).step_by(3_600) {
                let dts = two.place(0, time).0;
                assert_eq!(dts, last + BEHIND_JUMP);
                two.place(1, time);
                last = dts;
            }
        }
    }

    #[test]
    fn a_gap_of_a_recording_stays_and_one_of_a_live_stream_is_closed() {
        let hour = 3_600 * SECOND;
        let mut live = Two::new(false);
        live.place(0, 0);
        assert_eq!(live.place(0, 30 * SECOND), (30 * SECOND, false));
        assert_eq!(live.place(0, hour), (30 * SECOND + BEHIND_JUMP, true));
        let mut recorded = Two::new(true);
        recorded.place(0, 0);
        assert_eq!(recorded.place(0, hour), (hour, false));
        assert_eq!(recorded.place(1, 100 * SECOND), (100 * SECOND, false));
    }

    #[test]
    fn garbage_as_presentation_time_is_the_decoding_time() {
        let mut timeline = Timeline::new(false);
        let placed = timeline.place(
            &mut Place::default(),
            Times {
                pts: TIME_MASK / 2,
                dts: 7,
            },
        );
        assert_eq!((placed.pts, placed.dts), (7, 7));
        let placed = timeline.place(&mut Place::default(), Times { pts: TIME_MASK, dts: 7 });
        assert_eq!((placed.pts, placed.dts), (-1, 7));
    }
}

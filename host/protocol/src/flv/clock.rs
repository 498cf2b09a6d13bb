//! The one timeline of a stream of tags: milliseconds modulo 2^32, or 2^24 where a sender never heard of more, from
//! anywhere, into milliseconds from 0 that do not wrap.

/// A timestamp further ahead of the one before is a jump of the clock, not a pause.
const MAX_FORWARD: i64 = 10_000;
/// A timestamp further behind the one before is a jump of the clock, not bad interleaving.
const MAX_BACKWARD: i64 = 3_000;
/// What senders wrap at who write no extended timestamps.
const SHORT: i64 = 1 << 24;

/// Follows the timestamps of all tags of a stream.
#[derive(Debug, Default)]
pub(super) struct Clock {
    last: Option<Last>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    /// As it came.
    timestamp: u32,
    /// From 0, without wraps.
    time: i64,
}

impl Clock {
    /// The time of the next tag, and whether the sender's clock jumped before it.
    pub(super) fn next(&mut self, timestamp: u32) -> (i64, bool) {
        let Some(last) = self.last else {
            self.last = Some(Last { timestamp, time: 0 });
            return (0, false);
        };
        let mut step = i64::from(timestamp.wrapping_sub(last.timestamp).cast_signed());
        let is_short = i64::from(timestamp.max(last.timestamp)) < SHORT;
        if is_short && within(step.saturating_add(SHORT)) {
            step = step.saturating_add(SHORT);
        } else if is_short && within(step.saturating_sub(SHORT)) {
            step = step.saturating_sub(SHORT);
        }
        let jumped = !within(step);
        if jumped {
            step = 0;
        }
        let time = last.time.saturating_add(step);
        // What is late does not turn the clock back.
        if step >= 0 {
            self.last = Some(Last { timestamp, time });
        }
        (time, jumped)
    }
}

fn within(step: i64) -> bool {
    (-MAX_BACKWARD..=MAX_FORWARD).contains(&step)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(timestamps: &[u32]) -> Vec<i64> {
        let mut clock = Clock::default();
        timestamps.iter().map(|timestamp| clock.next(*timestamp).0).collect()
    }

    #[test]
    fn a_stream_may_begin_anywhere_and_wrap() {
        assert_eq!(times(&[5_000, 5_040, 5_020]), [0, 40, 20]);
        assert_eq!(times(&[u32::MAX - 9, u32::MAX, 10, 50]), [0, 9, 20, 60]);
        assert_eq!(times(&[0x7fff_fff0, 0x8000_0000]), [0, 16]);
    }

    #[test]
    fn a_sender_may_wrap_at_24_bits() {
        let top = (1 << 24) - 20;
        // Sound and pictures do not wrap in the same tag.
        assert_eq!(times(&[top, top + 10, 5, top + 12, 30]), [0, 10, 25, 12, 50]);
        // The next wrap is another one.
        let mut clock = Clock::default();
        let mut last = 0;
        for at in (0u32..1 << 26).step_by(9_000) {
            (last, _) = clock.next(at & ((1 << 24) - 1));
            assert_eq!(last, i64::from(at));
        }
        assert!(last > 3 << 24);
    }

    #[test]
    fn a_jump_is_told_and_the_time_goes_on() {
        let mut clock = Clock::default();
        assert_eq!(clock.next(100_000), (0, false));
        assert_eq!(clock.next(100_040), (40, false));
        assert_eq!(clock.next(900_000), (40, true));
        assert_eq!(clock.next(900_040), (80, false));
        assert_eq!(clock.next(0), (80, true), "an encoder that started again");
        assert_eq!(clock.next(40), (120, false));
    }
}

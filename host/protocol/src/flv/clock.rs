//! The one timeline of a stream of tags: milliseconds modulo 2^32, or 2^24 where a sender never heard of more, from
//! anywhere, into milliseconds from 0 that do not wrap.

/// A timestamp further ahead of the one before is a jump of the clock, not a pause.
const MAX_FORWARD: i64 = 10_000;
/// A timestamp further behind the one before is a jump of the clock, not bad interleaving.
const MAX_BACKWARD: i64 = 3_000;
/// What senders wrap at who write no extended timestamps.
const SHORT: i64 = 1 << 24;

/// Follows the timestamps of all tags with frames of a stream.
///
/// Sound and pictures are followed each for itself: they are interleaved as it comes, do not wrap in the same tag, and some
/// encoders count them from different moments.
#[derive(Debug, Default)]
pub(super) struct Clock {
    audio: Option<Last>,
    video: Option<Last>,
}

/// The latest tag of a kind.
#[derive(Clone, Copy, Debug)]
struct Last {
    /// As it came.
    timestamp: u32,
    /// From 0, without wraps.
    time: i64,
}

impl Clock {
    /// The time of the next tag, and whether the sender's clock jumped before it.
    pub(super) fn next(&mut self, is_video: bool, timestamp: u32) -> (i64, bool) {
        let (own, other) = match is_video {
            true => (&mut self.video, self.audio),
            false => (&mut self.audio, self.video),
        };
        let step = own.map(|own| own.step_to(timestamp));
        let is_near = |step: &i64| (-MAX_BACKWARD..=MAX_FORWARD).contains(step);
        if let (Some(last), Some(step)) = (*own, step.filter(is_near)) {
            let time = last.time.saturating_add(step);
            // What is late does not turn the clock back.
            if step >= 0 {
                *own = Some(Last { timestamp, time });
            }
            return (time, false);
        }
        // The first of its kind, or a jump. Where it fits to the other kind, that one knows the time; else both count from
        // different moments, or the other one has yet to jump: what comes now is now.
        let before = own.map_or(0, |own| own.time);
        let time = other.map_or(before, |other| match other.step_to(timestamp) {
            step if step.abs() <= MAX_FORWARD => other.time.saturating_add(step),
            _ => other.time.max(before),
        });
        let jumped = own.is_some();
        *own = Some(Last { timestamp, time });
        (time, jumped)
    }
}

impl Last {
    /// Milliseconds to a timestamp, which has wrapped where that makes it a near one.
    fn step_to(self, timestamp: u32) -> i64 {
        let step = i64::from(timestamp.wrapping_sub(self.timestamp).cast_signed());
        let is_short = i64::from(timestamp.max(self.timestamp)) < SHORT;
        let wrapped = [step.saturating_add(SHORT), step.saturating_sub(SHORT)];
        let near = wrapped
            .into_iter()
            .find(|step| is_short && (-MAX_BACKWARD..=MAX_FORWARD).contains(step));
        near.unwrap_or(step)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(tags: &[(char, u32)]) -> Vec<i64> {
        let mut clock = Clock::default();
        let tags = tags.iter();
        tags.map(|(kind, timestamp)| clock.next(*kind == 'v', *timestamp).0)
            .collect()
    }

    #[test]
    fn a_stream_may_begin_anywhere_and_wrap() {
        assert_eq!(times(&[('v', 5_000), ('v', 5_040), ('a', 5_020)]), [0, 40, 20]);
        let wrapping = [('v', u32::MAX - 9), ('a', u32::MAX), ('a', 10), ('v', 50)];
        assert_eq!(times(&wrapping), [0, 9, 20, 60]);
        assert_eq!(times(&[('v', 0x7fff_fff0), ('v', 0x8000_0000)]), [0, 16]);
    }

    #[test]
    fn a_sender_may_wrap_at_24_bits() {
        let top = (1 << 24) - 20;
        // Sound and pictures do not wrap in the same tag.
        let wrapping = [('v', top), ('a', top + 10), ('a', 5), ('v', top + 12), ('v', 30)];
        assert_eq!(times(&wrapping), [0, 10, 25, 12, 50]);
        // The next wrap is another one.
        let mut clock = Clock::default();
        let mut last = 0;
        for at in (0u32..1 << 26).step_by(9_000) {
            (last, _) = clock.next(true, at & ((1 << 24) - 1));
            assert_eq!(last, i64::from(at));
        }
        assert!(last > 3 << 24);
    }

    #[test]
    fn a_jump_is_told_and_the_time_goes_on() {
        let mut clock = Clock::default();
        assert_eq!(clock.next(true, 100_000), (0, false));
        assert_eq!(clock.next(true, 100_040), (40, false));
        assert_eq!(clock.next(true, 900_000), (40, true));
        assert_eq!(clock.next(true, 900_040), (80, false));
        assert_eq!(clock.next(true, 0), (80, true), "an encoder that started again");
        assert_eq!(clock.next(true, 40), (120, false));
    }

    #[test]
    fn sound_follows_a_jump_of_the_pictures() {
        let jumping = [
            ('v', 0),
            ('a', 0),
            ('v', 40),
            ('v', 500_000),
            ('a', 499_990),
            ('a', 500_010),
            ('v', 500_040),
        ];
        assert_eq!(times(&jumping), [0, 0, 40, 40, 30, 50, 80]);
        // Pictures that paused come back where the sound is.
        let pause = [('v', 0), ('a', 0), ('a', 9_000), ('a', 18_000), ('v', 18_010)];
        assert_eq!(times(&pause), [0, 0, 9_000, 18_000, 18_010]);
    }

    #[test]
    fn sound_and_pictures_may_count_from_different_moments_or_be_badly_interleaved() {
        let unlike = [
            ('v', 0),
            ('a', 60_000),
            ('v', 40),
            ('a', 60_021),
            ('v', 80),
            ('a', 60_042),
        ];
        assert_eq!(times(&unlike), [0, 0, 40, 21, 80, 42]);
        let late = [('v', 3_500), ('a', 0), ('v', 3_540), ('a', 23), ('v', 3_580)];
        assert_eq!(times(&late), [0, -3_500, 40, -3_477, 80]);
    }
}

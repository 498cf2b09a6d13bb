//! Media clocks: 32-bit RTP timestamps as 64-bit ones, their place on the sender's wall clock, and the common start of a
//! session's tracks.

use std::time::{Duration, Instant};

use wasmtx_media::WallClock;

/// A track placed by its sender's clock may start this far from where its arrival would put it; beyond that one of the
/// two clocks is not what it says.
const MAX_START_OFFSET: i64 = 10_000_000;

/// Gives RTP timestamps the bits that the wire leaves away. Each is taken as the nearest to the one before, so it may
/// go backwards, and wrap both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Extender {
    last: Option<i64>,
}

impl Extender {
    /// The timestamp in 64 bits; the next one is taken relative to it.
    pub fn extend(&mut self, timestamp: u32) -> i64 {
        let extended = self.peek(timestamp).unwrap_or_else(|| i64::from(timestamp));
        self.last = Some(extended);
        extended
    }

    /// The timestamp in 64 bits relative to the last one extended; `None` before the first.
    pub fn peek(&self, timestamp: u32) -> Option<i64> {
        let last = self.last?;
        // The low bits of `last` are the timestamp it came from; the difference is signed by intent.
        let step = timestamp.wrapping_sub(last as u32) as i32;
        Some(last.saturating_add(i64::from(step)))
    }
}

/// What the last sender report says: a moment in ticks and on the sender's wall clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderClock {
    /// The RTP timestamp of the report, extended.
    pub timestamp: i64,
    /// The same moment on the sender's wall clock.
    pub wall: WallClock,
}

impl SenderClock {
    /// The wall clock at another extended timestamp; `None` before 1970.
    pub fn wall_at(&self, timestamp: i64, clock_rate: u32) -> Option<WallClock> {
        let micros = ticks_to_micros(timestamp.saturating_sub(self.timestamp), clock_rate);
        self.wall.0.checked_add_signed(micros).map(WallClock)
    }
}

/// The common time of a session's tracks, in microseconds since its first frame. One per session, given to each of its
/// receivers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timeline {
    start: Option<Instant>,
    /// A moment on the sender's wall clock and on this timeline.
    reference: Option<(WallClock, i64)>,
}

impl Timeline {
    /// Where a track starts whose first frame came `now` and was captured at `wall` by its sender's clock. The sender's
    /// clock decides when it is known for this track and for one before, else the arrival.
    pub(super) fn start_of_track(&mut self, now: Instant, wall: Option<WallClock>) -> i64 {
        let arrival = micros(now.saturating_duration_since(*self.start.get_or_insert(now)));
        let Some(wall) = wall else { return arrival };
        let by_sender = self.reference.and_then(|(reference, position)| {
            let offset = i64::try_from(i128::from(wall.0) - i128::from(reference.0)).ok()?;
            position.checked_add(offset)
        });
        let position = by_sender
            .filter(|position| position.abs_diff(arrival) <= MAX_START_OFFSET as u64)
            .unwrap_or(arrival);
        self.learn(wall, position);
        position
    }

    /// Notes what a running track knows of the sender's clock; the first to know it sets the reference.
    pub(super) fn learn(&mut self, wall: WallClock, position: i64) {
        self.reference.get_or_insert((wall, position));
    }
}

/// Ticks of a clock in microseconds, rounded down.
pub(super) fn ticks_to_micros(ticks: i64, clock_rate: u32) -> i64 {
    let micros = (i128::from(ticks) * 1_000_000).div_euclid(i128::from(clock_rate.max(1)));
    i64::try_from(micros).unwrap_or(if ticks < 0 { i64::MIN } else { i64::MAX })
}

/// Microseconds in ticks of a clock, rounded down.
pub(super) fn micros_to_ticks(micros: i64, clock_rate: u32) -> i64 {
    let ticks = (i128::from(micros) * i128::from(clock_rate)).div_euclid(1_000_000);
    i64::try_from(ticks).unwrap_or(if micros < 0 { i64::MIN } else { i64::MAX })
}

/// A duration in microseconds.
pub(super) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_wrap_both_ways() {
        let mut extender = Extender::default();
        assert_eq!(extender.peek(1), None);
        assert_eq!(extender.extend(u32::MAX - 1), 0xffff_fffe);
        assert_eq!(extender.extend(3), 0x1_0000_0003);
        assert_eq!(extender.peek(u32::MAX), Some(0xffff_ffff));
        assert_eq!(extender.extend(u32::MAX), 0xffff_ffff, "a B-frame before the wrap");
        let mut extender = Extender::default();
        extender.extend(0);
        assert_eq!(extender.extend(u32::MAX), -1);
    }

    #[test]
    fn the_sender_clock_maps_timestamps_before_and_after_the_report() {
        let clock = SenderClock {
            timestamp: 90_000,
            wall: WallClock(5_000_000),
        };
        assert_eq!(clock.wall_at(180_000, 90_000), Some(WallClock(6_000_000)));
        assert_eq!(clock.wall_at(0, 90_000), Some(WallClock(4_000_000)));
        assert_eq!(clock.wall_at(-900_000, 90_000), None);
        assert_eq!(clock.wall_at(i64::MIN, 1), None);
    }

    #[test]
    fn tracks_start_by_the_senders_clock_when_both_have_it_else_by_arrival() {
        let start = crate::rtp::testing::start();
        let at = |millis| start + Duration::from_millis(millis);
        let mut timeline = Timeline::default();
        assert_eq!(timeline.start_of_track(at(0), Some(WallClock(1_000_000_000))), 0);
        assert_eq!(timeline.start_of_track(at(300), Some(WallClock(1_000_040_000))), 40_000);
        assert_eq!(timeline.start_of_track(at(300), None), 300_000);
        assert_eq!(
            timeline.start_of_track(at(300), Some(WallClock(9_000_000_000))),
            300_000,
            "another clock"
        );
    }
}

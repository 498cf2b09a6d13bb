//! The bit rate that a publisher may send, kept on average.

use std::time::{Duration, Instant};

/// A publisher may send as much as its rate gives in this time at once: keyframes, and what waited in a network that
/// stood still.
const WINDOW: Duration = Duration::from_secs(2);
/// And this many bits on top, so that a low rate has room for a keyframe.
const BURST: f64 = (256 << 13) as f64;

/// A bucket that fills with what is sent and drains at the rate. Whoever sends more than the rate on average makes it run
/// over: by a tenth too much after twenty seconds, by twice too much after two.
#[derive(Debug)]
pub(crate) struct Cap {
    /// Bits per second.
    rate: u64,
    /// Bits.
    level: f64,
    at: Instant,
}

#[allow(
    clippy::cast_precision_loss,
    reason = "a rate or a size of which the first digits count"
)]
impl Cap {
    /// `rate` in bits per second.
    pub(crate) fn new(now: Instant, rate: u64) -> Cap {
        Cap {
            rate,
            level: 0.0,
            at: now,
        }
    }

    /// Another rate from now on.
    pub(crate) fn set_rate(&mut self, rate: u64) {
        self.rate = rate;
    }

    /// Bits per second.
    pub(crate) fn rate(&self) -> u64 {
        self.rate
    }

    /// Counts bytes that came; `false` once they are too many.
    pub(crate) fn admits(&mut self, now: Instant, bytes: usize) -> bool {
        let rate = self.rate as f64;
        let elapsed = now.saturating_duration_since(self.at);
        self.at = self.at.max(now);
        self.level = (self.level - elapsed.as_secs_f64() * rate).max(0.0) + bytes as f64 * 8.0;
        self.level <= rate * WINDOW.as_secs_f64() + BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `bits` per second in packets of 1,000 bytes until the cap says no, and answers after how long.
    fn lasts(cap: u64, bits: u64, most: Duration) -> Option<Duration> {
        let start = Instant::now();
        let mut bucket = Cap::new(start, cap);
        let step = Duration::from_nanos(8_000_000_000_000 / bits);
        (0..)
            .map(|n| step * n)
            .take_while(|at| *at < most)
            .find(|at| !bucket.admits(start + *at, 1_000))
    }

    const MINUTE: Duration = Duration::from_secs(60);

    #[test]
    fn the_rate_itself_may_be_sent_for_ever() {
        assert_eq!(lasts(4_000_000, 4_000_000, MINUTE), None);
        assert_eq!(lasts(u64::MAX, 1_000_000_000, Duration::from_secs(1)), None);
    }

    #[test]
    fn the_more_is_sent_the_sooner_it_is_too_much() {
        let seconds = |bits| lasts(4_000_000, bits, MINUTE).map(|lasts| lasts.as_secs());
        assert_eq!(seconds(4_400_000), Some(25));
        assert_eq!(seconds(8_000_000), Some(2));
        assert_eq!(seconds(40_000_000), Some(0));
    }

    #[test]
    fn a_keyframe_and_a_stall_are_no_excess() {
        let start = Instant::now();
        let mut low = Cap::new(start, 100_000);
        assert!(low.admits(start, 200_000), "a keyframe");
        let mut bucket = Cap::new(start, 4_000_000);
        assert!(bucket.admits(start, 1_000_000), "two seconds at once");
        assert!(!bucket.admits(start, 1_000_000), "and two more");
    }

    #[test]
    fn another_rate_counts_at_once() {
        let start = Instant::now();
        let mut bucket = Cap::new(start, 0);
        assert!(!bucket.admits(start, 1_000_000));
        bucket.set_rate(8_000_000);
        assert!(bucket.admits(start, 0));
    }

    #[test]
    fn a_clock_that_stands_still_or_runs_back_does_no_harm() {
        let start = Instant::now() + MINUTE;
        let mut bucket = Cap::new(start, 8_000);
        assert!(bucket.admits(start - MINUTE, 1_000));
        assert!(!bucket.admits(start, 1 << 20));
    }
}

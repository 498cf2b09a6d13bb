//! A token bucket: room that comes back with time.

use std::time::Duration;

/// Counts in bits times microseconds per second, so that nothing is lost by rounding.
pub(crate) struct Bucket {
    /// Bits per second.
    rate: u64,
    most: u128,
    room: u128,
    at: Option<Duration>,
}

const SECOND: u128 = 1_000_000;

impl Bucket {
    /// Full at first.
    pub(crate) fn new(rate: u64, burst: f64) -> Self {
        let most = u128::from(rate) * Duration::from_secs_f64(burst).as_micros();
        Self {
            rate,
            most,
            room: most,
            at: None,
        }
    }

    /// Takes so many bytes, if there is room for all of them.
    pub(crate) fn takes(&mut self, now: Duration, bytes: u32) -> bool {
        let passed = now.saturating_sub(self.at.unwrap_or(now)).as_micros();
        self.at = Some(now);
        self.room = self.most.min(self.room + passed * u128::from(self.rate));
        let left = self.room.checked_sub(u128::from(bytes) * 8 * SECOND);
        self.room = left.unwrap_or(self.room);
        left.is_some()
    }
}

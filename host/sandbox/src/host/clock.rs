//! `clock`: coarse on purpose, so that a guest cannot time the host's caches.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use wasmtx_media::WallClock;

use super::State;
use crate::bindings::plugin::clock;

static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl clock::Host for State {
    fn now(&mut self) -> u64 {
        stepped(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
    }

    fn monotonic(&mut self) -> u64 {
        stepped(START.elapsed())
    }

    fn offset(&mut self, at: u64) -> i32 {
        self.outside.clock.offset(WallClock(at))
    }
}

/// Microseconds, in steps of a millisecond.
pub(crate) fn stepped(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX / 1_000) * 1_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_in_milliseconds() {
        assert_eq!(stepped(Duration::from_micros(1_999)), 1_000);
        assert_eq!(stepped(Duration::MAX), u64::MAX / 1_000 * 1_000);
    }
}

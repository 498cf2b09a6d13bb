//! The one place that asks what time it is.

use std::time::SystemTime;

use wasmtx_media::WallClock;

/// Now, by the system's clock.
pub fn wall_clock() -> WallClock {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    WallClock(u64::try_from(since_1970.as_micros()).unwrap_or(u64::MAX))
}

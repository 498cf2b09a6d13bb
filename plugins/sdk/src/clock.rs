//! The time, in steps of a millisecond. (The clocks of `std` do not exist in a plugin.)

use crate::host;
use std::time::Duration;

/// Time since 1970, UTC. May jump when the machine's clock is set.
pub fn now() -> Duration {
    Duration::from_micros(host::now())
}

/// Time since some start; never goes back.
pub fn monotonic() -> Duration {
    Duration::from_micros(host::monotonic())
}

/// How far local time, in the server's time zone, is ahead of UTC at a moment (time since 1970), in seconds; negative in the west.
pub fn offset(at: Duration) -> i32 {
    host::offset(at.as_micros().try_into().unwrap_or(u64::MAX))
}

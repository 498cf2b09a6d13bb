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

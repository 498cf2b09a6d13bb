//! The clocks that recordings are kept by: the one on the wall, which people set, and the one that only runs.

use std::{
    fs,
    sync::LazyLock,
    time::{Duration, Instant},
};

use jiff::{Timestamp, tz::TimeZone};

/// What time it is. Tests step it.
pub trait Clock: Send + Sync {
    /// Microseconds since 1970, as the system's clock has it.
    fn wall(&self) -> u64;

    /// How long the machine has been running, the time that it slept included. Nobody sets it.
    fn running(&self) -> Duration;

    /// Which run of the machine that is, if it can be told.
    fn boot(&self) -> Option<String>;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct MachineClock;

const UPTIME: &str = "/proc/uptime";
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);
static ZONE: LazyLock<TimeZone> = LazyLock::new(TimeZone::system);

impl Clock for MachineClock {
    fn wall(&self) -> u64 {
        crate::wall_clock().0
    }

    fn running(&self) -> Duration {
        let uptime = fs::read_to_string(UPTIME).ok();
        let seconds = uptime.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok());
        let running = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        // Without it every start of the server is a run of its own.
        running.unwrap_or_else(|| STARTED.elapsed())
    }

    fn boot(&self) -> Option<String> {
        fs::metadata(UPTIME).ok()?;
        let boot = fs::read_to_string(BOOT).ok()?;
        Some(boot.trim().to_owned()).filter(|boot| !boot.is_empty())
    }
}

/// How many seconds clocks here were ahead of UTC at a time (microseconds since 1970).
pub(super) fn offset(at: u64) -> i32 {
    let at = i64::try_from(at)
        .ok()
        .and_then(|at| Timestamp::from_microsecond(at).ok());
    at.map_or(0, |at| ZONE.to_offset(at).seconds())
}

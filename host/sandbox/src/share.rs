//! How much of a core one plugin's filters use together, second by second.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

/// Counts guest time of one plugin. Several tasks write; a count that is off by one call does not matter.
pub(crate) struct Share {
    base: Instant,
    /// The second that `used` belongs to.
    second: AtomicU64,
    /// Nanoseconds of guest time in it.
    used: AtomicU64,
    over: AtomicBool,
}

impl Share {
    pub(crate) fn new() -> Share {
        Share {
            base: Instant::now(),
            second: AtomicU64::new(0),
            used: AtomicU64::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Guest time that ended now; `percent` is the plugin's share of one core. Answers whether this began an overload.
    pub(crate) fn spent(&self, now: Instant, time: Duration, percent: u32) -> bool {
        let second = self.second(now);
        if self.second.swap(second, Relaxed) != second {
            self.used.store(0, Relaxed);
            self.over.store(false, Relaxed);
        }
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX >> 1);
        let used = self.used.fetch_add(nanos, Relaxed).saturating_add(nanos);
        used > u64::from(percent) * 10_000_000 && !self.over.swap(true, Relaxed)
    }

    /// Whether the plugin has used up this second's share. One load while it has not.
    pub(crate) fn over(&self, now: Instant) -> bool {
        self.over.load(Relaxed) && self.second.load(Relaxed) == self.second(now)
    }

    /// When the second is over whose share the plugin has used up, if it has.
    pub(crate) fn over_until(&self, now: Instant) -> Option<Instant> {
        self.over(now)
            .then(|| self.base + Duration::from_secs(self.second(now) + 1))
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.base).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn past_its_share_a_plugin_rests_until_the_second_is_over() {
        let share = Share::new();
        let at = |millis| share.base + Duration::from_millis(millis);
        assert!(!share.spent(at(100), Duration::from_millis(400), 50));
        assert!(!share.over(at(100)));
        assert!(share.spent(at(700), Duration::from_millis(200), 50));
        assert!(share.over(at(999)));
        assert_eq!(share.over_until(at(999)), Some(at(1_000)));
        assert!(
            !share.spent(at(999), Duration::from_millis(200), 50),
            "an overload begins once"
        );
        assert!(!share.over(at(1_000)));
        assert_eq!(share.over_until(at(1_000)), None);
        assert!(!share.spent(at(1_000), Duration::from_millis(100), 50));
        assert!(!share.over(at(1_500)));
    }
}

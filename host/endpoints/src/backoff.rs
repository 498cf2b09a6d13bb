//! The pause before something is tried again: growing, capped, and never the same for two.

use std::time::Duration;

/// The first pause.
const FIRST: Duration = Duration::from_secs(1);
/// The longest, but for the jitter.
const LONGEST: Duration = Duration::from_secs(60);

/// Counts failures.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// The pause after one more failure. `random` is uniform in 0..1; the pause lies within a fifth of its mean.
    pub(crate) fn next(&mut self, random: f64) -> Duration {
        let mean = FIRST.saturating_mul(1 << self.failures.min(6)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        mean.mul_f64(0.8 + 0.4 * random.clamp(0.0, 1.0))
    }

    /// It worked.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_minute() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..8).map(|_| backoff.next(0.5).as_secs_f64().round()).collect();
        assert_eq!(pauses, [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]);
        backoff.reset();
        assert_eq!(backoff.next(0.5), FIRST);
    }

    #[test]
    fn jitter_stays_within_a_fifth() {
        for random in [0.0, 0.3, 1.0, -5.0, 7.0] {
            let pause = Backoff::default().next(random).as_secs_f64();
            assert!((0.8..=1.2).contains(&pause), "{random}: {pause}");
        }
    }
}

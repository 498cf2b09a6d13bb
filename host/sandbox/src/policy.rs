//! What happens after a failure: a pure machine that is told the time.

use std::time::{Duration, Instant};

/// What happens to a frame while its filter is down, and to the one it failed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FilterFailure {
    /// The original goes on.
    #[default]
    Pass,
    /// It is left out.
    Drop,
    /// The publication ends.
    Close,
}

/// What a failing auth plugin means for who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AuthFailure {
    /// Nobody enters.
    #[default]
    Deny,
    /// The next plugin, or the configured method, decides.
    Next,
}

/// What happens to a sink that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SinkFailure {
    /// It begins again at the next keyframe.
    #[default]
    Restart,
    /// It stays off until its plugin changes.
    Stop,
}

/// What a failing transcoder means for the stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TranscoderFailure {
    /// The tracks stay as they are.
    #[default]
    Keep,
    /// The publication ends.
    Close,
}

/// The failure policy of a plugin, per role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OnError {
    /// For auth.
    pub auth: AuthFailure,
    /// For filters.
    pub filter: FilterFailure,
    /// For sinks.
    pub sink: SinkFailure,
    /// For transcoders.
    pub transcoder: TranscoderFailure,
}

/// When to make the next instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Restart {
    /// At once.
    Now,
    /// Then.
    At(Instant),
    /// Not until something changes: a new file, another configuration.
    Never,
}

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(30);
/// Without a failure for so long, the next one counts as the first.
const HEALTHY: Duration = Duration::from_secs(60);
/// Failures within [`HEALTHY`] that end it.
const STRIKES: usize = 8;

/// Counts the failures of one use of a plugin.
#[derive(Debug, Default)]
pub(crate) struct Circuit {
    /// The last failures, oldest first.
    failures: Vec<Instant>,
    /// Failures without a healthy minute between them.
    streak: u32,
}

impl Circuit {
    /// A failure. `jitter` is any number; it spreads restarts of many paths by ±20 %.
    pub(crate) fn failed(&mut self, now: Instant, jitter: u32) -> Restart {
        self.failures.retain(|failure| now.duration_since(*failure) < HEALTHY);
        if self.failures.is_empty() {
            self.streak = 0;
        }
        self.failures.push(now);
        self.streak = self.streak.saturating_add(1);
        if self.failures.len() >= STRIKES {
            return Restart::Never;
        }
        match self.streak {
            1 => Restart::Now,
            streak => Restart::At(now + delay(streak - 2, jitter)),
        }
    }

    /// The same for what must never stay off: it rests for the longest while, and is tried again.
    pub(crate) fn failed_tirelessly(&mut self, now: Instant, jitter: u32) -> Restart {
        match self.failed(now, jitter) {
            Restart::Never => Restart::At(now + LONGEST_DELAY),
            restart => restart,
        }
    }

    /// Something changed: what was is forgotten.
    pub(crate) fn reset(&mut self) {
        *self = Circuit::default();
    }
}

/// The failures of what is asked off the media path. It rests after them, and never stays off for good: a stranger's
/// request must not lock everybody out until somebody notices.
#[derive(Debug, Default)]
pub(crate) struct Rest {
    circuit: Circuit,
    until: Option<Instant>,
}

impl Rest {
    /// A failure; see [`Circuit::failed`].
    pub(crate) fn failed(&mut self, now: Instant, jitter: u32) {
        let until = match self.circuit.failed_tirelessly(now, jitter) {
            Restart::At(then) => Some(then),
            Restart::Now | Restart::Never => None,
        };
        // Of several calls that fail together, the last makes the rest no shorter.
        self.until = self.until.max(until);
    }

    /// Until when nobody is asked, if it rests now.
    pub(crate) fn until(&self, now: Instant) -> Option<Instant> {
        self.until.filter(|until| now < *until)
    }

    /// Something changed: what was is forgotten.
    pub(crate) fn reset(&mut self) {
        *self = Rest::default();
    }
}

fn delay(doublings: u32, jitter: u32) -> Duration {
    let delay = FIRST_DELAY.saturating_mul(1 << doublings.min(16)).min(LONGEST_DELAY);
    delay * (80 + jitter % 41) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A jitter that changes nothing.
    const EVEN: u32 = 20;

    #[test]
    fn the_first_restart_is_at_once_and_the_next_ones_wait_longer_and_longer() {
        let mut circuit = Circuit::default();
        let mut now = Instant::now();
        assert_eq!(circuit.failed(now, EVEN), Restart::Now);
        for millis in [100, 200, 400, 800] {
            assert_eq!(
                circuit.failed(now, EVEN),
                Restart::At(now + Duration::from_millis(millis))
            );
            now += Duration::from_millis(millis);
        }
    }

    #[test]
    fn eight_failures_in_a_minute_end_it_and_a_change_begins_anew() {
        let mut circuit = Circuit::default();
        let start = Instant::now();
        for n in 0..7 {
            assert_ne!(
                circuit.failed(start + Duration::from_secs(n), EVEN),
                Restart::Never,
                "{n}"
            );
        }
        assert_eq!(circuit.failed(start + Duration::from_secs(59), EVEN), Restart::Never);
        circuit.reset();
        assert_eq!(circuit.failed(start + Duration::from_secs(59), EVEN), Restart::Now);
    }

    #[test]
    fn what_must_not_stay_off_is_tried_again_however_often_it_failed() {
        let mut circuit = Circuit::default();
        let start = Instant::now();
        for _ in 1..STRIKES {
            assert_ne!(circuit.failed_tirelessly(start, EVEN), Restart::Never);
        }
        for n in 0..10 {
            let now = start + n * LONGEST_DELAY;
            let Restart::At(then) = circuit.failed_tirelessly(now, EVEN) else {
                panic!("it is not tried again, or at once");
            };
            assert!(then > now + LONGEST_DELAY / 2 && then <= now + LONGEST_DELAY);
        }
    }

    #[test]
    fn a_healthy_minute_is_a_new_beginning() {
        let mut circuit = Circuit::default();
        let start = Instant::now();
        circuit.failed(start, EVEN);
        circuit.failed(start, EVEN);
        assert_eq!(circuit.failed(start + HEALTHY, EVEN), Restart::Now);
    }

    #[test]
    fn a_rest_ends_however_often_it_failed() {
        let mut rest = Rest::default();
        let start = Instant::now();
        rest.failed(start, EVEN);
        assert_eq!(rest.until(start), None, "the first failure is forgiven");
        for _ in 0..STRIKES {
            rest.failed(start, EVEN);
        }
        assert!(rest.until(start).is_some());
        assert_eq!(rest.until(start + LONGEST_DELAY), None);
        rest.reset();
        assert_eq!(rest.until(start), None);
    }

    #[test]
    fn delays_are_bounded_and_spread() {
        assert_eq!(delay(u32::MAX, EVEN), LONGEST_DELAY);
        assert_eq!(delay(0, 0), Duration::from_millis(80));
        assert_eq!(delay(0, 40), Duration::from_millis(120));
        assert_eq!(delay(0, u32::MAX), Duration::from_millis(80 + u64::from(u32::MAX % 41)));
    }
}

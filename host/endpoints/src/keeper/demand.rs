//! On demand: when to start what brings a path online, when to give up, when to stop. A machine without a clock.
//!
//! ```text
//!         wanted            online            nobody left          closeAfter
//! idle ──────────▶ starting ──────▶ running ────────────▶ lingering ────────▶ idle
//!                     │  ▲             │ offline              │ wanted
//!       startTimeout  │  └─────────────┘                      └──▶ running
//!                     ▼
//!                  cooling ── five seconds ──▶ idle
//! ```

use std::time::Duration;

use tokio::time::Instant;

/// After a start that failed, who asks is sent away at once for this long.
pub(super) const COOLING: Duration = Duration::from_secs(5);

/// How long to wait (`…StartTimeout`, `…CloseAfter`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// From the start until readers are sent away.
    pub start_timeout: Duration,
    /// From the last reader to the stop.
    pub close_after: Duration,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            start_timeout: Duration::from_secs(10),
            close_after: Duration::from_secs(10),
        }
    }
}

/// What is seen of the path.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) readers: usize,
    pub(super) waiting: usize,
    pub(super) online: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// Bring the path online.
    Start,
    /// Nobody needs it any more.
    Stop,
    /// It did not come online: stop, and send the waiting away.
    GiveUp,
    /// Send the waiting away; nothing runs.
    Refuse,
}

#[derive(Debug)]
pub(super) struct Demand {
    timing: Timing,
    phase: Phase,
    /// How many waited when last seen: more now means somebody new.
    waiting: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Starting { until: Instant },
    Running,
    Lingering { until: Instant },
    Cooling { until: Instant },
}

impl Demand {
    /// Nothing runs. `cooling` is the end of an earlier failure's rest.
    pub(super) fn new(timing: Timing, cooling: Option<Instant>) -> Demand {
        let phase = cooling.map_or(Phase::Idle, |until| Phase::Cooling { until });
        Demand {
            timing,
            phase,
            waiting: 0,
        }
    }

    /// Until when new readers are sent away.
    pub(super) fn cooling_until(&self) -> Option<Instant> {
        match self.phase {
            Phase::Cooling { until } => Some(until),
            _ => None,
        }
    }

    /// Looks at the path. To be called again until there is nothing to do.
    pub(super) fn handle(&mut self, now: Instant, seen: Seen) -> Option<Act> {
        let newcomers = seen.waiting > std::mem::replace(&mut self.waiting, seen.waiting);
        let wanted = seen.readers + seen.waiting > 0;
        let (phase, act) = match self.phase {
            Phase::Idle if wanted && !seen.online => (self.starting(now), Some(Act::Start)),
            Phase::Starting { .. } if seen.online => (if wanted { Phase::Running } else { self.lingering(now) }, None),
            Phase::Starting { until } if until <= now => (Phase::Cooling { until: now + COOLING }, Some(Act::GiveUp)),
            Phase::Running if !wanted => (self.lingering(now), None),
            // What was started finds its way back by itself, or is given up.
            Phase::Running if !seen.online => (self.starting(now), None),
            Phase::Lingering { .. } if wanted => (
                if seen.online {
                    Phase::Running
                } else {
                    self.starting(now)
                },
                None,
            ),
            Phase::Lingering { until } if until <= now => (Phase::Idle, Some(Act::Stop)),
            Phase::Cooling { until } if until <= now => {
                self.phase = Phase::Idle;
                return self.handle(now, seen);
            }
            Phase::Cooling { .. } if newcomers && !seen.online => (self.phase, Some(Act::Refuse)),
            same => (same, None),
        };
        self.phase = phase;
        act
    }

    /// When to look again even if nothing changes.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Starting { until } | Phase::Lingering { until } => Some(until),
            // Who still waits when it is over is a newcomer that was not seen as one.
            Phase::Cooling { until } if self.waiting > 0 => Some(until),
            _ => None,
        }
    }

    fn starting(&self, now: Instant) -> Phase {
        Phase::Starting {
            until: now + self.timing.start_timeout,
        }
    }

    fn lingering(&self, now: Instant) -> Phase {
        Phase::Lingering {
            until: now + self.timing.close_after,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOBODY: Seen = Seen {
        readers: 0,
        waiting: 0,
        online: false,
    };
    const ONE_WAITS: Seen = Seen {
        readers: 0,
        waiting: 1,
        online: false,
    };
    const ONE_READS: Seen = Seen {
        readers: 1,
        waiting: 0,
        online: true,
    };
    const UNREAD: Seen = Seen {
        readers: 0,
        waiting: 0,
        online: true,
    };

    /// A machine and the seconds since its birth.
    struct Run(Demand, Instant);

    impl Run {
        fn new() -> Run {
            let timing = Timing {
                start_timeout: Duration::from_secs(10),
                close_after: Duration::from_secs(20),
            };
            Run(Demand::new(timing, None), Instant::now())
        }

        fn at(&mut self, seconds: u64, seen: Seen) -> Option<Act> {
            self.0.handle(self.1 + Duration::from_secs(seconds), seen)
        }

        fn timeout(&self) -> Option<u64> {
            self.0.poll_timeout().map(|at| (at - self.1).as_secs())
        }
    }

    #[test]
    fn nothing_starts_before_somebody_asks() {
        let mut run = Run::new();
        assert_eq!(run.at(0, NOBODY), None);
        assert_eq!((run.timeout(), run.0.phase), (None, Phase::Idle));
    }

    #[test]
    fn the_first_who_asks_starts_it_and_the_last_who_goes_stops_it_later() {
        let mut run = Run::new();
        assert_eq!(run.at(0, ONE_WAITS), Some(Act::Start));
        assert_eq!(run.at(0, ONE_WAITS), None, "started once");
        assert_eq!(run.timeout(), Some(10));
        assert_eq!(
            run.at(
                3,
                Seen {
                    online: true,
                    ..ONE_WAITS
                }
            ),
            None
        );
        assert_eq!(run.at(3, ONE_READS), None);
        assert_eq!(run.timeout(), None);
        assert_eq!(run.at(100, UNREAD), None);
        assert_eq!(run.timeout(), Some(120));
        assert_eq!(run.at(119, UNREAD), None);
        assert_eq!(run.at(120, UNREAD), Some(Act::Stop));
        assert_eq!(run.timeout(), None);
    }

    #[test]
    fn who_comes_back_in_time_keeps_it_running() {
        let mut run = Run::new();
        run.at(0, ONE_WAITS);
        run.at(1, ONE_READS);
        run.at(2, UNREAD);
        assert_eq!(run.at(21, ONE_READS), None);
        assert_eq!(run.at(50, ONE_READS), None);
        assert_eq!(run.at(50, UNREAD), None);
        assert_eq!(run.timeout(), Some(70));
    }

    #[test]
    fn what_does_not_come_online_in_time_is_given_up() {
        let mut run = Run::new();
        run.at(0, ONE_WAITS);
        assert_eq!(run.at(9, ONE_WAITS), None);
        assert_eq!(run.at(10, ONE_WAITS), Some(Act::GiveUp));
        assert_eq!(run.at(10, ONE_WAITS), None, "those were sent away already");
        assert_eq!(run.at(11, NOBODY), None);
        assert_eq!(run.at(12, ONE_WAITS), Some(Act::Refuse), "a newcomer, while it rests");
        assert_eq!(run.at(12, NOBODY), None);
        assert_eq!(run.at(16, ONE_WAITS), Some(Act::Start));
    }

    #[test]
    fn somebody_who_was_overlooked_while_it_rests_is_served_afterwards() {
        let mut run = Run::new();
        run.at(0, ONE_WAITS);
        run.at(10, ONE_WAITS);
        assert_eq!(run.timeout(), Some(15));
        assert_eq!(run.at(15, ONE_WAITS), Some(Act::Start));
    }

    #[test]
    fn going_offline_gives_it_the_start_timeout_to_come_back() {
        let mut run = Run::new();
        run.at(0, ONE_WAITS);
        run.at(1, ONE_READS);
        assert_eq!(
            run.at(
                50,
                Seen {
                    online: false,
                    ..ONE_READS
                }
            ),
            None
        );
        assert_eq!(run.timeout(), Some(60));
        assert_eq!(run.at(55, ONE_READS), None);
        assert_eq!(run.timeout(), None);
        run.at(70, ONE_WAITS);
        assert_eq!(run.at(80, ONE_WAITS), Some(Act::GiveUp));
    }

    #[test]
    fn who_asks_and_goes_at_once_leaves_it_running_for_a_while() {
        let mut run = Run::new();
        run.at(0, ONE_WAITS);
        assert_eq!(run.at(1, NOBODY), None);
        assert_eq!(run.at(2, UNREAD), None);
        assert_eq!(run.at(22, UNREAD), Some(Act::Stop));
    }

    #[test]
    fn a_path_that_is_online_anyway_needs_no_start() {
        let mut run = Run::new();
        assert_eq!(run.at(0, ONE_READS), None);
        assert_eq!(run.0.phase, Phase::Idle);
    }

    #[test]
    fn an_earlier_failure_is_remembered() {
        let now = Instant::now();
        let mut demand = Demand::new(Timing::default(), Some(now + COOLING));
        assert_eq!(demand.handle(now, ONE_WAITS), Some(Act::Refuse));
        assert_eq!(demand.cooling_until(), Some(now + COOLING));
        assert_eq!(demand.handle(now + COOLING, ONE_WAITS), Some(Act::Start));
    }
}

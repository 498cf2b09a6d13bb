//! When a synchronous call has taken too long: by the clock first, then by the processor time that it really used.
//!
//! The clock alone would kill innocent guests: on a busy machine a thread may stand still for longer than a frame call
//! may take. Looking at the thread's processor time costs more than a whole call, so that happens only to a call that is
//! already late.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use wasmtime::{Store, UpdateDeadline};

use crate::host::State;

/// A call that goes on for so long after its deadline, by its own processor time, is really running.
const GRACE: Duration = Duration::from_micros(500);
/// Ticks that a late call may last in all: a thread that stands still for so long has other problems.
const LATEST: u32 = 4_000;

/// A call that is late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Overtime {
    /// Processor time of the thread when the deadline passed.
    begun: Duration,
    epochs: u32,
}

/// Makes the store's deadline one of running time.
pub(crate) fn by_running_time(store: &mut Store<State>) {
    store.epoch_deadline_callback(|mut store| {
        let state = store.data_mut();
        // The next look is soon, for who is late is ended soon. Ticks of somebody else's haste may have come early.
        state.ticker.hurry();
        if state.not_before.is_some_and(|due| Instant::now() < due) {
            return Ok(UpdateDeadline::Continue(1));
        }
        Ok(late(&mut state.overtime, processor_time()))
    });
}

/// The deadline passed, or one more epoch after it.
fn late(overtime: &mut Option<Overtime>, used: Duration) -> UpdateDeadline {
    let overtime = overtime.get_or_insert(Overtime { begun: used, epochs: 0 });
    overtime.epochs += 1;
    if used.saturating_sub(overtime.begun) >= GRACE || overtime.epochs > LATEST {
        return UpdateDeadline::Interrupt;
    }
    UpdateDeadline::Continue(1)
}

/// Of the calling thread.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.try_into().unwrap_or(0),
        time.tv_nsec.try_into().unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goes_on(overtime: &mut Option<Overtime>, micros: u64) -> bool {
        matches!(
            late(overtime, Duration::from_micros(micros)),
            UpdateDeadline::Continue(1)
        )
    }

    #[test]
    fn a_call_that_runs_on_after_its_deadline_ends() {
        let mut overtime = None;
        assert!(goes_on(&mut overtime, 7_000));
        assert!(goes_on(&mut overtime, 7_499));
        assert!(!goes_on(&mut overtime, 7_500));
    }

    #[test]
    fn a_call_whose_thread_stands_still_gets_its_time() {
        let mut overtime = None;
        assert!((0..100).all(|_| goes_on(&mut overtime, 7_000)));
    }

    #[test]
    fn no_call_lasts_for_ever() {
        let mut overtime = None;
        assert!((0..LATEST).all(|_| goes_on(&mut overtime, 7_000)));
        assert!(!goes_on(&mut overtime, 7_000));
    }

    #[test]
    fn processor_time_grows() {
        let begun = processor_time();
        while processor_time() == begun {}
    }
}

//! The clock by which guests are interrupted. It ticks while a guest runs, and sleeps when none does: a server whose
//! plugins have nothing to do costs nothing.

use std::{
    io,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

use wasmtime::Engine;

/// One step of the clock.
pub(crate) const EPOCH: Duration = Duration::from_millis(1);

/// The step while some call is late: what is over its time ends soon, and that is rare.
const HURRY: Duration = Duration::from_micros(250);

/// Ticks without a running guest before the clock sleeps: a stream's next frame mostly finds it awake on a busy server,
/// and waking it costs more than a call.
const IDLE_TICKS: u32 = 4;

/// Counts the guests that run.
#[derive(Debug, Default)]
pub(crate) struct Ticker {
    running: AtomicU32,
    asleep: AtomicBool,
    /// A call is late: the next tick comes sooner.
    hurry: AtomicBool,
    over: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// Starts the clock of an engine. It ends with [`Ticker::stop`], or with the engine.
    pub(crate) fn spawn(engine: &Engine) -> io::Result<Arc<Ticker>> {
        let ticker = Arc::new(Ticker::default());
        let (ticking, engine) = (ticker.clone(), engine.weak());
        let thread = thread::Builder::new().name("wasmtx-epoch".into()).spawn(move || {
            while ticking.wait() {
                let Some(engine) = engine.upgrade() else { return };
                engine.increment_epoch();
            }
        })?;
        // A guest that was quicker finds the clock awake: it has not slept yet.
        let _ = ticker.thread.set(thread.thread().clone());
        Ok(ticker)
    }

    /// A guest begins to run; from now on the clock ticks.
    #[inline]
    pub(crate) fn begin(&self) {
        // Together with the clock's look at `running` after it said that it sleeps: one of the two sees the other.
        self.running.fetch_add(1, Ordering::SeqCst);
        if self.asleep.load(Ordering::SeqCst) {
            self.wake();
        }
    }

    /// That guest no longer runs.
    #[inline]
    pub(crate) fn end(&self) {
        self.running.fetch_sub(1, Ordering::Release);
    }

    /// A call is past its deadline: the next tick comes sooner than others.
    pub(crate) fn hurry(&self) {
        self.hurry.store(true, Ordering::Relaxed);
    }

    /// The same as [`begin`](Self::begin) and [`end`](Self::end), for calls that may be dropped half-way.
    pub(crate) fn guard(self: &Arc<Self>) -> Running {
        self.begin();
        Running(self.clone())
    }

    pub(crate) fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.wake();
    }

    #[cold]
    fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Waits for the next tick; false when there are no more.
    fn wait(&self) -> bool {
        let mut idle = 0;
        loop {
            if self.over.load(Ordering::SeqCst) {
                return false;
            }
            if idle < IDLE_TICKS {
                let hurry = self.hurry.swap(false, Ordering::Relaxed);
                thread::sleep(if hurry { HURRY } else { EPOCH });
                if self.running.load(Ordering::SeqCst) > 0 {
                    return true;
                }
                idle += 1;
                continue;
            }
            self.asleep.store(true, Ordering::SeqCst);
            while self.running.load(Ordering::SeqCst) == 0 && !self.over.load(Ordering::SeqCst) {
                thread::park();
            }
            self.asleep.store(false, Ordering::SeqCst);
            // Ticks at once, as a clock that had gone on might have: the call has its time, less up to an epoch.
            return !self.over.load(Ordering::SeqCst);
        }
    }
}

/// A guest that runs.
#[derive(Debug)]
pub(crate) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.end();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_sleeps_without_guests_and_wakes_for_one() {
        let engine = Engine::default();
        let ticker = Ticker::spawn(&engine).unwrap();
        for _ in 0..3 {
            while !ticker.asleep.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            let running = ticker.guard();
            while ticker.asleep.load(Ordering::SeqCst) {
                thread::yield_now();
            }
            drop(running);
        }
        ticker.stop();
    }

    #[test]
    fn the_clock_ends_when_it_is_told_to() {
        let engine = Engine::default();
        let ticker = Ticker::spawn(&engine).unwrap();
        ticker.stop();
        while Arc::strong_count(&ticker) > 1 {
            thread::yield_now();
        }
    }
}

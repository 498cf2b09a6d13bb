//! Whose turn it is: of the instances of a pool, only so many run guest code at once. One that waits for the host gives its turn
//! to the others, so that a slow backend keeps nobody waiting but who asked for it.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wasmtime::StoreContextMut;

use super::State;
use crate::ticker::{Running, Ticker};

/// An instance's right to run.
pub(crate) struct Turn {
    turns: Arc<Semaphore>,
    ticker: Arc<Ticker>,
    /// While it runs. The clock ticks for it then.
    mine: Option<(OwnedSemaphorePermit, Running)>,
}

impl Turn {
    pub(crate) fn new(turns: Arc<Semaphore>, ticker: Arc<Ticker>) -> Turn {
        Turn {
            turns,
            ticker,
            mine: None,
        }
    }

    /// Waits until it may run.
    pub(crate) async fn take(&mut self) {
        // Nobody closes the semaphore.
        if let (None, Ok(permit)) = (&self.mine, self.turns.clone().acquire_owned().await) {
            self.mine = Some((permit, self.ticker.guard()));
        }
    }

    /// Answers whether it was this one's.
    pub(crate) fn give(&mut self) -> bool {
        self.mine.take().is_some()
    }
}

/// What a call spends waiting for disks. It is nobody's fault who called: a disk that stands still for a minute must not cost
/// a recording its recorder.
#[derive(Default)]
pub(crate) struct DiskTime(Mutex<Spent>);

#[derive(Clone, Copy, Default)]
struct Spent {
    before: Duration,
    /// It waits since then.
    since: Option<Instant>,
}

impl DiskTime {
    /// A call begins.
    pub(crate) fn reset(&self) {
        *self.0.lock() = Spent::default();
    }

    /// So much since the call began.
    pub(crate) fn so_far(&self) -> Duration {
        let spent = *self.0.lock();
        spent.before + spent.since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(crate) fn begin(&self) {
        self.0.lock().since.get_or_insert_with(Instant::now);
    }

    pub(crate) fn end(&self) {
        let mut spent = self.0.lock();
        if let Some(since) = spent.since.take() {
            spent.before += since.elapsed();
        }
    }
}

impl State {
    /// Begins to wait for a disk, while other instances run.
    pub(super) fn away(&mut self) -> bool {
        self.disk_time.begin();
        self.turn.as_mut().is_some_and(Turn::give)
    }

    /// The wait is over. With what [`away`](Self::away) answered.
    pub(super) async fn back(&mut self, was_its_turn: bool) {
        self.disk_time.end();
        if let Some(turn) = &mut self.turn
            && was_its_turn
        {
            turn.take().await;
        }
    }
}

/// Waits for something outside while other instances run.
pub(super) async fn waiting<T>(store: &mut StoreContextMut<'_, State>, outside: impl Future<Output = T>) -> T {
    if let Some(turn) = &mut store.data_mut().turn {
        turn.give();
    }
    let done = outside.await;
    if let Some(turn) = &mut store.data_mut().turn {
        turn.take().await;
    }
    // The epochs that passed meanwhile were not the guest's.
    store.set_epoch_deadline(1);
    done
}

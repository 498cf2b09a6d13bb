//! Whose turn it is: of the instances of a pool, only so many run guest code at once. One that waits for the host gives its turn
//! to the others, so that a slow backend keeps nobody waiting but who asked for it.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
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

    pub(crate) fn give(&mut self) {
        self.mine = None;
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

//! Every destination of every path there is: for the API and the metrics.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use parking_lot::Mutex;
use uuid::Uuid;
use wasmtx_hub::PathName;
use wasmtx_media::WallClock;

use super::Destination;
use crate::registry::{Counter, Item, Listed, Table};

/// What happens with a destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// The path has no stream, or the connection is being made.
    #[default]
    Idle,
    /// The stream is being sent.
    Forwarding,
    /// It failed, and is tried again.
    Error,
}

/// One destination of one path.
#[derive(Debug)]
pub struct Forward {
    /// Names it in log, API and metrics.
    pub id: Uuid,
    /// Since when it is one of the path's.
    pub created: WallClock,
    /// Whose stream it is.
    pub path: PathName,
    /// Where to.
    pub destination: Destination,
    /// Bytes written.
    pub outbound_bytes: Counter,
    position: AtomicUsize,
    /// And the last error, empty when there was none.
    state: Mutex<(State, String)>,
}

impl Forward {
    pub(super) fn new(path: PathName, destination: Destination, position: usize, now: WallClock) -> Forward {
        Forward {
            id: Uuid::new_v4(),
            created: now,
            path,
            destination,
            outbound_bytes: Counter::default(),
            position: position.into(),
            state: Mutex::default(),
        }
    }

    /// Its place in the path's list, from 0.
    pub fn position(&self) -> usize {
        self.position.load(Ordering::Relaxed)
    }

    pub(super) fn move_to(&self, position: usize) {
        self.position.store(position, Ordering::Relaxed);
    }

    /// What happens with it, and the last thing that went wrong; empty when nothing did.
    pub fn state(&self) -> (State, String) {
        self.state.lock().clone()
    }

    /// The server takes the stream.
    pub(crate) fn begin(&self) {
        self.note(State::Forwarding);
        let (path, to) = (&self.path, self.destination.shown());
        tracing::info!(%path, forward = %self.id, to, "[forward] the stream is being sent");
    }

    pub(super) fn note(&self, state: State) {
        self.state.lock().0 = state;
    }

    pub(super) fn fail(&self, error: String) {
        *self.state.lock() = (State::Error, error);
    }
}

impl Item for Forward {
    fn id(&self) -> Uuid {
        self.id
    }
    fn created(&self) -> WallClock {
        self.created
    }
    fn encrypted(&self) -> bool {
        self.destination.protocol() == "rtmps"
    }
}

/// All destinations. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Table<Forward>);

impl Registry {
    /// Those of one path, in the order of its list.
    pub fn of(&self, path: &PathName) -> Vec<Arc<Forward>> {
        let mut all = self.all();
        all.retain(|forward| forward.path == *path);
        all
    }

    /// All of them, by path and place.
    pub fn all(&self) -> Vec<Arc<Forward>> {
        let mut all = self.0.all();
        all.sort_by(|a, b| (&a.path, a.position(), a.id).cmp(&(&b.path, b.position(), b.id)));
        all
    }

    pub(super) fn add(&self, forward: Forward) -> Listed<Forward> {
        self.0.add(forward)
    }
}

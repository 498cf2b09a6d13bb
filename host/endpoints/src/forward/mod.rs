//! Streams that are sent on to other servers (`forward:`).
//!
//! One task per path knows the destinations of its entry, one per destination sends what the path publishes for as long as
//! it does. A destination reads as a sink does: it is nobody's reader, and no reason to bring a path online. It fails
//! alone: whatever happens with it, the path and the other destinations go on.

mod destination;
mod registry;
mod rtmp;
mod task;

use std::{sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::timeout,
};
use wasmtx_hub::{Path, Reader};

pub(crate) use destination::Target;
pub use destination::{Destination, InvalidDestination};
pub use registry::{Forward, Registry, State};

use crate::wall_clock;

/// The destinations of a path, in the order of the file.
pub type Destinations = Arc<[Destination]>;

/// What the destinations of a path are now.
type Lists = dyn Fn(&Path) -> Destinations + Send + Sync;

/// Brings streams to other servers.
pub(crate) trait Push: Send + Sync + 'static {
    /// Sends a stream until it ends, which is `Ok`. Else what went wrong, in words without secrets. Dropping the future
    /// ends the connection.
    fn push<'a>(&'a self, attempt: Attempt<'a>) -> BoxFuture<'a, Result<(), String>>;
}

/// One attempt to send a stream to a server.
pub(crate) struct Attempt<'a> {
    /// Where to.
    pub(crate) target: Target,
    /// The stream, from its newest keyframe on.
    pub(crate) reader: Reader,
    /// Counts the bytes, and is told by [`Forward::begin`] that the server takes the stream.
    pub(crate) forward: &'a Forward,
}

/// Sends on the streams of all paths, until it is closed.
pub struct Forwarder {
    /// Counts reloads.
    reloads: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    /// Closed when every task is over.
    over: mpsc::Receiver<()>,
}

struct Shared {
    lists: Box<Lists>,
    registry: Registry,
    push: Arc<dyn Push>,
}

impl std::fmt::Debug for Forwarder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forwarder").finish_non_exhaustive()
    }
}

impl Forwarder {
    /// Sends on to RTMP servers what the paths publish that `births` announces. `lists` says what a path's destinations
    /// are; it is asked again after each [`reload`](Self::reload).
    pub fn new(
        births: mpsc::UnboundedReceiver<Arc<Path>>,
        lists: impl Fn(&Path) -> Destinations + Send + Sync + 'static,
        registry: Registry,
    ) -> Forwarder {
        Forwarder::with(births, lists, registry, rtmp::Rtmp)
    }

    /// Follows every path that `births` announces. `lists` says what a path's destinations are; it is asked again after
    /// each [`reload`](Self::reload).
    pub(crate) fn with(
        mut births: mpsc::UnboundedReceiver<Arc<Path>>,
        lists: impl Fn(&Path) -> Destinations + Send + Sync + 'static,
        registry: Registry,
        push: impl Push,
    ) -> Forwarder {
        let (reloads, reloaded) = watch::channel(0);
        let (stop, mut stopped) = watch::channel(false);
        let (alive, over) = mpsc::channel(1);
        let shared = Arc::new(Shared {
            lists: Box::new(lists),
            registry,
            push: Arc::new(push),
        });
        tokio::spawn(async move {
            loop {
                let path = tokio::select! {
                    path = births.recv() => path,
                    _ = stopped.changed() => None,
                };
                let Some(path) = path else { return };
                let (reloaded, stopped) = (reloaded.clone(), stopped.clone());
                tokio::spawn(attend(shared.clone(), path, reloaded, stopped, alive.clone()));
            }
        });
        Forwarder { reloads, stop, over }
    }

    /// Another configuration is in force: paths whose list changed end what is no longer in it and begin what is new.
    /// Nothing else is touched.
    pub fn reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }

    /// Ends everything, and waits until it is over, for `budget` at most.
    pub async fn close(mut self, budget: Duration) {
        self.stop.send_replace(true);
        // Nothing is ever sent: this waits until every task has dropped its end.
        let tasks = async { while self.over.recv().await.is_some() {} };
        if timeout(budget, tasks).await.is_err() {
            tracing::warn!("some streams were still being sent on");
        }
    }
}

/// A destination that is being served. Dropping it ends that.
struct Running {
    forward: Arc<Forward>,
    _stop: oneshot::Sender<()>,
}

async fn attend(
    shared: Arc<Shared>,
    path: Arc<Path>,
    mut reloaded: watch::Receiver<u64>,
    mut stopped: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut status = path.watch();
    let mut running = Vec::new();
    loop {
        reloaded.mark_unchanged();
        running = settle(&shared, &path, running, &alive);
        tokio::select! {
            closed = status.wait_for(|status| status.closed) => {
                drop(closed);
                return;
            }
            changed = reloaded.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stopped| *stopped) => return,
        }
    }
}

/// Makes what runs what the path's list says: whatever is in both goes on.
fn settle(shared: &Arc<Shared>, path: &Arc<Path>, mut old: Vec<Running>, alive: &mpsc::Sender<()>) -> Vec<Running> {
    let wanted = (shared.lists)(path);
    let begin = |(position, destination): (usize, &Destination)| {
        if let Some(at) = old
            .iter()
            .position(|running| running.forward.destination == *destination)
        {
            let running = old.swap_remove(at);
            running.forward.move_to(position);
            return running;
        }
        let forward = Forward::new(path.name.clone(), destination.clone(), position, wall_clock());
        let listed = shared.registry.add(forward);
        let (stop, stopped) = oneshot::channel();
        let running = Running {
            forward: Arc::clone(&listed),
            _stop: stop,
        };
        let (push, path, alive) = (shared.push.clone(), path.clone(), alive.clone());
        tokio::spawn(async move {
            task::run(listed, &path, &*push, stopped).await;
            drop(alive);
        });
        running
    };
    wanted.iter().enumerate().map(begin).collect()
}

#[cfg(test)]
mod tests;

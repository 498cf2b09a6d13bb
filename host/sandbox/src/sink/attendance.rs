//! Runs the sinks of all paths: one task per path follows its life, one per sink its streams.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use wasmtx_hub::{CloseReason, Path};

use super::{Sinks, task};

/// What the sinks of a path are now.
type Listed = dyn Fn(&Path) -> Option<Attended> + Send + Sync;

/// The sinks that a path is to have.
#[derive(Clone)]
pub struct Attended {
    /// They.
    pub sinks: Arc<Sinks>,
    /// When they begin on a stream that runs already, they have so much of its past, as far as the path keeps that
    /// ([`wasmtx_hub::Limits::keep_back`]); with zero, what came since the newest keyframe.
    pub back: Duration,
}

impl From<Arc<Sinks>> for Attended {
    /// Nothing of the past.
    fn from(sinks: Arc<Sinks>) -> Attended {
        Attended {
            sinks,
            back: Duration::ZERO,
        }
    }
}

/// Runs the sinks of all paths, until it is closed.
pub struct Attendance {
    /// Counts reloads.
    reloads: watch::Sender<u64>,
    stop: watch::Sender<bool>,
    /// Closed when every task is over.
    over: mpsc::Receiver<()>,
}

impl Attendance {
    /// Attends every path that `births` (of [`wasmtx_hub::Hub::births`]) announces. `listed` says what a path's sinks are; it
    /// is asked again after each [`reload`](Self::reload). Needs a tokio runtime.
    pub fn spawn<A: Into<Attended>>(
        mut births: mpsc::UnboundedReceiver<Arc<Path>>,
        listed: impl Fn(&Path) -> Option<A> + Send + Sync + 'static,
    ) -> Attendance {
        let (reloads, reloaded) = watch::channel(0);
        let (stop, mut stopped) = watch::channel(false);
        let (alive, over) = mpsc::channel(1);
        let listed: Arc<Listed> = Arc::new(move |path| listed(path).map(A::into));
        tokio::spawn(async move {
            loop {
                let path = tokio::select! {
                    path = births.recv() => path,
                    _ = stopped.changed() => None,
                };
                let Some(path) = path else { return };
                let (reloaded, stopped, alive) = (reloaded.clone(), stopped.clone(), alive.clone());
                tokio::spawn(attend(path, listed.clone(), reloaded, stopped, alive));
            }
        });
        Attendance { reloads, stop, over }
    }

    /// Another configuration is in force: paths whose list changed end the old sinks and begin the new ones. A list that is the
    /// very same goes on.
    pub fn reload(&self) {
        self.reloads.send_modify(|count| *count += 1);
    }

    /// Ends every sink, and waits until the last one has written what it had, for `budget` at most.
    pub async fn close(mut self, budget: Duration) {
        self.stop.send_replace(true);
        // Nothing is ever sent: this waits until every task has dropped its end.
        let tasks = async { while self.over.recv().await.is_some() {} };
        if timeout(budget, tasks).await.is_err() {
            tracing::warn!("some sinks did not end in time");
        }
    }
}

/// The sinks of a path that run, and the way to end them.
struct Running {
    sinks: Arc<Sinks>,
    stop: watch::Sender<Option<CloseReason>>,
}

async fn attend(
    path: Arc<Path>,
    listed: Arc<Listed>,
    mut reloaded: watch::Receiver<u64>,
    mut stopped: watch::Receiver<bool>,
    alive: mpsc::Sender<()>,
) {
    let mut status = path.watch();
    let mut running = None::<Running>;
    // A path may be born with its stream: that is a beginning, nothing is to be missed of it.
    let mut beginning = Some(Duration::MAX);
    loop {
        reloaded.mark_unchanged();
        let wanted = listed(&path);
        let same = match (&running, &wanted) {
            (Some(running), Some(wanted)) => Arc::ptr_eq(&running.sinks, &wanted.sinks),
            (None, None) => true,
            _ => false,
        };
        if !same {
            let old = running.take();
            if let Some(old) = &old {
                old.stop.send_replace(Some(CloseReason::Reload));
            }
            running = wanted.map(|Attended { sinks, back }| {
                let back = match (beginning, old) {
                    (Some(all), _) => all,
                    (None, None) => back,
                    // Those who are replaced had what was before.
                    (None, Some(_)) => Duration::ZERO,
                };
                begin(&path, sinks, back, &alive)
            });
        }
        beginning = None;
        tokio::select! {
            closed = status.wait_for(|status| status.closed) => {
                drop(closed);
                // The sinks see the end of the stream for themselves.
                return;
            }
            changed = reloaded.changed() => if changed.is_err() { return },
            _ = stopped.wait_for(|stopped| *stopped) => {
                if let Some(running) = running {
                    running.stop.send_replace(Some(CloseReason::Shutdown));
                }
                return;
            }
        }
    }
}

fn begin(path: &Arc<Path>, sinks: Arc<Sinks>, back: Duration, alive: &mpsc::Sender<()>) -> Running {
    let (stop, _) = watch::channel(None);
    for slot in &sinks.slots {
        let (slot, path, stopped, alive) = (slot.clone(), path.clone(), stop.subscribe(), alive.clone());
        tokio::spawn(async move {
            task::run(&slot, &path, back, stopped).await;
            drop(alive);
        });
    }
    Running { sinks, stop }
}

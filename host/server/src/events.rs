//! What happened, handed on: to the events plugins, and to whoever follows `/v3/events`.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{broadcast, oneshot},
    task::JoinHandle,
};
use wasmtx_hub::{Feed, Happened};
use wasmtx_sandbox::Registry;

use crate::force::InForce;

/// Events that a follower may lag; of more it is told how many it missed.
const LAG: usize = 1_024;
/// Plugins are told the last things that happened within this time, or not at all.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The task that listens.
pub(crate) struct Listening {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    followers: Followers,
}

/// Lets others follow, for as long as the server listens. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Followers(broadcast::WeakSender<Arc<Happened>>);

impl Followers {
    /// And what they follow.
    pub(crate) fn new() -> (broadcast::Sender<Arc<Happened>>, Followers) {
        let (sender, _) = broadcast::channel(LAG);
        let followers = Followers(sender.downgrade());
        (sender, followers)
    }

    /// Everything that happens from now on; `None` once the server stops.
    pub fn follow(&self) -> Option<broadcast::Receiver<Arc<Happened>>> {
        Some(self.0.upgrade()?.subscribe())
    }
}

impl Listening {
    /// Hands on what comes out of `feed`.
    pub(crate) fn spawn(mut feed: Feed, plugins: Registry, in_force: InForce) -> Listening {
        let (stop, mut stopped) = oneshot::channel();
        let (sender, followers) = Followers::new();
        let task = tokio::spawn(async move {
            let hand_on = |happened: Happened| {
                let happened = Arc::new(happened);
                let path = happened.event.path();
                match path.and_then(|path| in_force.chains(path)) {
                    Some(chains) => plugins.tell(&happened, chains.events.as_deref()),
                    None => plugins.tell_all(&happened),
                }
                // Nobody may follow.
                let _ = sender.send(happened);
            };
            loop {
                tokio::select! {
                    happened = feed.next() => hand_on(happened),
                    _ = &mut stopped => break,
                }
            }
            while let Some(happened) = feed.try_next() {
                hand_on(happened);
            }
            if tokio::time::timeout(LAST_WORDS, plugins.told()).await.is_err() {
                tracing::warn!("some plugins did not take in time what happened last");
            }
        });
        Listening { stop, task, followers }
    }

    pub(crate) fn followers(&self) -> Followers {
        self.followers.clone()
    }

    /// Hands on what has happened so far, and ends.
    pub(crate) async fn close(self) {
        drop(self.stop);
        // Fails only when the task panicked, which has been told already.
        let _ = self.task.await;
    }
}

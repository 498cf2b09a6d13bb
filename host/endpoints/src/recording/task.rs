//! The one task that looks after recordings.

use std::{sync::Arc, sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until, timeout},
};

use super::{Archive, Error};

/// How often the room on the disks is looked at.
const WATCH: Duration = Duration::from_secs(2);
/// A disk that does not answer is not waited for at the end.
const LAST_MOMENT: Duration = Duration::from_secs(1);

/// Looks after recordings until it is told to stop, or dropped.
#[derive(Debug)]
pub struct Keeping {
    archive: Arc<Archive>,
    _stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Keeping {
    /// Stops; waits for what is being removed this moment, but not for a disk that does not answer.
    pub async fn stop(self) {
        let Keeping { archive, _stop, task } = self;
        archive.stopping.store(true, Relaxed);
        drop(_stop);
        // A panic in it was told already.
        let _ = timeout(LAST_MOMENT, task).await;
    }
}

impl Archive {
    /// Begins to look after recordings: what is torn is cut back, what is old is removed, what recorders say is worked
    /// off.
    pub fn spawn(self: &Arc<Self>) -> Keeping {
        let (stop, mut stopped) = oneshot::channel::<()>();
        let archive = self.clone();
        let task = tokio::spawn(async move {
            aside(&archive, |archive| {
                archive.mend_spools();
                archive.look_at_torn();
                archive.round()
            })
            .await;
            let (mut round, mut watch) = (Instant::now(), Instant::now() + WATCH);
            loop {
                let next = round + archive.interval();
                tokio::select! {
                    _ = &mut stopped => break,
                    () = archive.wake.notified() => {
                        aside(&archive, |archive| {
                            archive.settle();
                            archive.mend_spools();
                            Ok(())
                        })
                        .await;
                    }
                    () = sleep_until(next) => {
                        round = Instant::now();
                        aside(&archive, |archive| {
                            // The configuration may have got a store that was not looked at yet.
                            archive.mend_spools();
                            archive.round()
                        })
                        .await;
                    }
                    () = sleep_until(watch) => {
                        aside(&archive, Archive::relieve).await;
                        watch = Instant::now() + WATCH;
                    }
                }
            }
            aside(&archive, |archive| {
                archive.settle();
                Ok(())
            })
            .await;
        });
        Keeping {
            archive: self.clone(),
            _stop: stop,
            task,
        }
    }

    /// What the last run left open comes first: there are few of them.
    pub(super) fn look_at_torn(&self) {
        let paths: Vec<_> = self.torn.lock().iter().map(|note| note.path.clone()).collect();
        for path in paths {
            match self.with(&path, |_| Ok(())) {
                Ok(()) | Err(Error::NotFound | Error::UnknownPath) => {}
                Err(error) => tracing::warn!(%path, "its recordings cannot be checked: {error}"),
            }
        }
        // Of paths that are configured no more, or record elsewhere now: their notes stay for another day.
        self.torn.lock().clear();
    }
}

/// Does what waits for the disk where waiting is allowed.
async fn aside(archive: &Arc<Archive>, act: impl FnOnce(&Archive) -> Result<(), Error> + Send + 'static) {
    let archive = archive.clone();
    match tokio::task::spawn_blocking(move || act(&archive)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("recordings cannot be looked after: {error}"),
        Err(error) => tracing::error!("looking after recordings: {error}"),
    }
}

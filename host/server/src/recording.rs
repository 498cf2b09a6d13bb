//! Which paths are recorded: those whose configuration says so (`record: yes`), but for those that a request switched.
//!
//! Recorders are attended apart from the plugins in the lists of paths: one begins and ends without the others noticing, and
//! without the stream noticing either.

#[cfg(test)]
mod tests;
mod told;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinHandle};
use wasmtx_hub::{Hub, Path, PathName};
use wasmtx_sandbox::{Attendance, Attended, Registry};

pub(crate) use self::told::{Counts, Told};
use crate::force::InForce;

/// Recorders that could not be made are tried again this often: the disk may be there by now.
const AGAIN: Duration = Duration::from_secs(10);

/// Records, until it is closed.
pub(crate) struct Recording {
    attendance: Arc<Attendance>,
    switches: Switches,
    again: JoinHandle<()>,
}

/// Switches recording on and off. Cheap to clone.
#[derive(Clone)]
pub struct Switches(Arc<Shared>);

struct Shared {
    in_force: InForce,
    plugins: Registry,
    counts: Arc<Counts>,
    /// What requests said, until the path is gone.
    said: Mutex<HashMap<PathName, Said>>,
    /// Counts changes, for the attendance.
    changes: watch::Sender<u64>,
}

struct Said {
    path: Weak<Path>,
    on: bool,
}

impl Recording {
    /// Attends the paths of `hub`. Needs a tokio runtime.
    pub(crate) fn spawn(hub: &Hub, switches: Switches) -> Recording {
        let mut changed = switches.0.changes.subscribe();
        let listed = switches.clone();
        let attendance = Arc::new(Attendance::spawn(hub.births(), move |path| listed.attended(path)));
        let (attending, trying) = (attendance.clone(), switches.clone());
        let again = tokio::spawn(async move {
            loop {
                tokio::select! {
                    changed = changed.changed() => match changed {
                        Ok(()) => attending.reload(),
                        Err(_) => return,
                    },
                    () = tokio::time::sleep(AGAIN) => trying.try_again().await,
                }
            }
        });
        Recording {
            attendance,
            switches,
            again,
        }
    }

    /// Switches it.
    pub(crate) fn switches(&self) -> Switches {
        self.switches.clone()
    }

    /// Another configuration is in force.
    pub(crate) fn reload(&self) {
        self.switches.changed();
    }

    /// Ends every recording, and waits until the last segment is written, for `budget` at most.
    pub(crate) async fn close(self, budget: Duration) {
        self.again.abort();
        // Fails when it panicked, or as it was told to.
        let _ = self.again.await;
        if let Ok(attendance) = Arc::try_unwrap(self.attendance) {
            attendance.close(budget).await;
        }
    }
}

impl Switches {
    /// Nobody has said anything yet.
    pub(crate) fn new(in_force: InForce, plugins: Registry, counts: Arc<Counts>) -> Switches {
        Switches(Arc::new(Shared {
            in_force,
            plugins,
            counts,
            said: Mutex::default(),
            changes: watch::Sender::new(0),
        }))
    }

    /// Records the path from now on, or does not any more, until it is gone. Answers at once when that is so already.
    ///
    /// # Errors
    /// Why it cannot be recorded.
    pub(crate) async fn switch(&self, path: &Arc<Path>, on: bool) -> Result<(), String> {
        let recorder = self.0.in_force.recorder(path);
        let recorder = recorder.ok_or("the path has no entry in the configuration any more")?;
        if on {
            let plugins = self.0.plugins.clone();
            let made = tokio::task::spawn_blocking(move || recorder.make(&plugins));
            let made = made.await.map_err(|error| error.to_string())?;
            made.map_err(|error| error.to_string())?;
        }
        {
            let mut said = self.0.said.lock();
            said.retain(|_, said| said.path.upgrade().is_some());
            let path_then = Arc::downgrade(path);
            said.insert(path.name.clone(), Said { path: path_then, on });
        }
        self.changed();
        Ok(())
    }

    /// What was recorded so far.
    pub(crate) fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// Whether whatever is published on the path is recorded.
    pub(crate) fn records(&self, path: &Path) -> bool {
        self.attended(path).is_some()
    }

    /// Whether it is to be.
    fn is_on(&self, path: &Path) -> bool {
        let said = self.0.said.lock().get(&path.name).and_then(|said| said.about(path));
        said.unwrap_or_else(|| self.0.in_force.recorder(path).is_some_and(|recorder| recorder.always))
    }

    /// What records the path now, and from how far back.
    fn attended(&self, path: &Path) -> Option<Attended> {
        let recorder = self.0.in_force.recorder(path).filter(|_| self.is_on(path))?;
        Some(Attended {
            sinks: recorder.sinks()?,
            back: recorder.pre_roll,
        })
    }

    fn changed(&self) {
        self.0.changes.send_modify(|count| *count += 1);
    }

    /// Makes what could not be made before.
    async fn try_again(&self) {
        let force = self.0.in_force.load();
        let missing: Vec<_> = force
            .recorders()
            .filter(|(_, recorder)| recorder.always && recorder.sinks().is_none())
            .map(|(name, recorder)| (name.clone(), recorder.clone()))
            .collect();
        if missing.is_empty() {
            return;
        }
        let plugins = self.0.plugins.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut some = false;
            for (name, recorder) in missing {
                match recorder.make(&plugins) {
                    Ok(_) => {
                        tracing::info!("paths.{name}: it can be recorded now");
                        some = true;
                    }
                    // It was told when it was first so.
                    Err(error) => tracing::debug!("paths.{name}: it is not recorded: {error}"),
                }
            }
            some
        });
        if made.await.unwrap_or(false) {
            self.changed();
        }
    }
}

impl Said {
    /// What was said, if it was about this very path and not about one that had its name before.
    fn about(&self, path: &Path) -> Option<bool> {
        std::ptr::eq(self.path.as_ptr(), path).then_some(self.on)
    }
}

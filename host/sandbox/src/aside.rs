//! Work that must not happen between two frames: making instances, and unloading code.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
};

use crate::Error;

/// Jobs that may wait. Past it, whoever wants an instance asks again at its next frame.
const QUEUE: usize = 1_024;

type Job = Box<dyn FnOnce() + Send>;

/// What all chains of a registry share: the thread for work aside, and the sign that some plugin changed.
pub(crate) struct Aside {
    /// Grows with every change of any plugin: the one thing that a chain looks at per frame.
    generation: AtomicU64,
    jobs: mpsc::SyncSender<Job>,
}

impl Aside {
    /// The thread ends when this is dropped.
    pub(crate) fn new() -> Result<Aside, Error> {
        let (jobs, queue) = mpsc::sync_channel::<Job>(QUEUE);
        thread::Builder::new()
            .name("wasmtx-aside".into())
            .spawn(move || {
                for job in queue {
                    // A job that panics drops its end of the channel, which its owner notices.
                    if catch_unwind(AssertUnwindSafe(job)).is_err() {
                        tracing::error!("work for a plugin panics");
                    }
                }
            })
            .map_err(Error::Thread)?;
        Ok(Aside {
            generation: AtomicU64::new(0),
            jobs,
        })
    }

    /// Whether the job was taken. A job that was not is dropped here and now.
    pub(crate) fn spawn(&self, job: impl FnOnce() + Send + 'static) -> bool {
        self.jobs.try_send(Box::new(job)).is_ok()
    }

    #[inline]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Says that a plugin changed.
    pub(crate) fn changed(&self) {
        self.generation.fetch_add(1, Relaxed);
    }
}

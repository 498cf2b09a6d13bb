//! Slow hashes, checked on threads of their own within bounds: a login must not become a way to use up the machine.

use std::sync::Arc;

use tokio::sync::Semaphore;

/// Hashes that wait for a thread; more are refused.
const MAX_WAITING: usize = 64;
/// Memory of all hashes that are being computed, in KiB.
const MAX_MEMORY: u32 = 64 << 10;

/// Room for slow hashes: one per core, and all together within [`MAX_MEMORY`].
#[derive(Debug)]
pub(super) struct Hashing {
    waiting: Arc<Semaphore>,
    cores: Arc<Semaphore>,
    memory: Arc<Semaphore>,
}

impl Hashing {
    pub(super) fn new() -> Hashing {
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        Hashing::with_cores(cores)
    }

    fn with_cores(cores: usize) -> Hashing {
        Hashing {
            waiting: Arc::new(Semaphore::new(MAX_WAITING + cores)),
            cores: Arc::new(Semaphore::new(cores)),
            memory: Arc::new(Semaphore::new(MAX_MEMORY as usize)),
        }
    }

    /// Does work that needs `memory` KiB at a time, on a thread where that disturbs nobody. `None` when too many wait.
    /// Whoever gives up waiting for the answer does not free the place of work that has begun.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        memory: u32,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let place = self.waiting.clone().try_acquire_owned().ok()?;
        let core = self.cores.clone().acquire_owned().await.ok()?;
        // A hash that alone needs more than all may have gets all of it.
        let memory = self
            .memory
            .clone()
            .acquire_many_owned(memory.clamp(1, MAX_MEMORY))
            .await
            .ok()?;
        let done = tokio::task::spawn_blocking(move || {
            let value = work();
            drop((place, core, memory));
            value
        });
        done.await.ok()
    }
}

/// The memory that a PHC string asks for, in KiB: its parameter `m`.
pub(super) fn memory_of(phc: &str) -> u32 {
    let parameters = phc.split('$').flat_map(|part| part.split(','));
    parameters
        .filter_map(|parameter| parameter.strip_prefix("m=")?.parse().ok())
        .next()
        .unwrap_or(MAX_MEMORY)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn beyond_the_queue_work_is_refused_and_the_queue_drains() {
        let hashing = Arc::new(Hashing::with_cores(1));
        let (release, released) = mpsc::channel::<()>();
        let (started, mut running) = tokio::sync::mpsc::channel(1);
        let first = tokio::spawn({
            let hashing = hashing.clone();
            async move {
                let wait = move || {
                    started.blocking_send(()).unwrap();
                    released.recv().unwrap();
                };
                hashing.run(1, wait).await
            }
        });
        running.recv().await.unwrap();
        let waiting: Vec<_> = (0..MAX_WAITING)
            .map(|n| {
                let hashing = hashing.clone();
                tokio::spawn(async move { hashing.run(1, move || n).await })
            })
            .collect();
        while hashing.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(hashing.run(1, || ()).await, None);
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Some(()));
        for (n, task) in waiting.into_iter().enumerate() {
            assert_eq!(task.await.unwrap(), Some(n));
        }
    }

    #[tokio::test]
    async fn what_needs_more_memory_than_there_is_runs_alone() {
        let hashing = Hashing::with_cores(4);
        let memory = hashing.memory.clone();
        assert_eq!(hashing.run(u32::MAX, move || memory.available_permits()).await, Some(0));
        assert_eq!(hashing.memory.available_permits(), MAX_MEMORY as usize);
    }

    #[test]
    fn the_memory_of_a_hash_is_read_from_its_parameters() {
        assert_eq!(memory_of("$argon2id$v=19$m=4096,t=3,p=1$c2FsdA$aGFzaA"), 4096);
        assert_eq!(memory_of("$argon2id$v=19$t=3,m=12,p=1$c2FsdA$aGFzaA"), 12);
        assert_eq!(memory_of("$argon2id"), MAX_MEMORY);
    }
}

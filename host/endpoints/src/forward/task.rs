//! One destination of one path: waits for a stream, sends it, and tries again when that fails.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::{oneshot, watch};
use tracing::{debug, info, warn};
use wasmtx_hub::{Path, PathStatus, Reader};

use super::{Attempt, Forward, Push, registry::State};
use crate::{backoff::Backoff, registry::Listed};

/// A connection that lasted this long counts as a success: the next failure's pause is the first one again.
const SETTLED: Duration = Duration::from_secs(10);

/// Serves a destination until the path is gone, or `stopped` resolves. When that is because the stream is over, the server
/// is told so first: one that only sees the connection go holds the stream's name for a while.
pub(super) async fn run(
    forward: Listed<Forward>,
    path: &Arc<Path>,
    push: &dyn Push,
    mut stopped: oneshot::Receiver<()>,
) {
    let sending = AtomicBool::new(false);
    let mut keeping = std::pin::pin!(keep(&forward, path, push, &sending));
    tokio::select! {
        () = &mut keeping => {}
        _ = &mut stopped => {
            if sending.load(Ordering::Relaxed) && path.watch().borrow().closed {
                // It ends with what it sends, as no other stream can come.
                keeping.await;
            }
        }
    }
}

/// `sending` is so while a server is being sent something.
async fn keep(forward: &Forward, path: &Arc<Path>, push: &dyn Push, sending: &AtomicBool) {
    let mut status = path.watch();
    let mut over = None;
    let (mut backoff, mut said) = (Backoff::default(), None);
    let (name, to) = (&path.name, forward.destination.shown());
    while let Some(reader) = online(path, &mut status, over).await {
        let generation = reader.publication().generation;
        let started = Instant::now();
        let sent = match forward.destination.target(path) {
            Ok(target) => {
                let attempt = Attempt {
                    target,
                    reader,
                    forward,
                };
                sending.store(true, Ordering::Relaxed);
                let sent = push.push(attempt).await;
                sending.store(false, Ordering::Relaxed);
                sent
            }
            Err(error) => Err(error.to_string()),
        };
        let was_accepted = forward.state().0 == State::Forwarding;
        let Err(reason) = sent else {
            info!(path = %name, forward = %forward.id, to, "[forward] the stream is over");
            forward.note(State::Idle);
            (over, said) = (Some(generation), None);
            backoff.reset();
            continue;
        };
        if was_accepted && started.elapsed() >= SETTLED {
            backoff.reset();
        }
        let pause = backoff.next(rand::random());
        if was_accepted || said.as_ref() != Some(&reason) {
            warn!(path = %name, forward = %forward.id, to, %reason, ?pause, "[forward] failed, it is tried again");
        } else {
            debug!(path = %name, forward = %forward.id, to, %reason, ?pause, "[forward] failed again");
        }
        forward.fail(reason.clone());
        said = Some(reason);
        let gone = |status: &PathStatus| status.closed || status.publication.is_none();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = status.wait_for(gone) => forward.note(State::Idle),
        }
    }
}

/// Waits for a stream other than the one that is `over`; `None` when the path is gone.
async fn online(path: &Arc<Path>, status: &mut watch::Receiver<PathStatus>, over: Option<u32>) -> Option<Reader> {
    loop {
        if status.borrow_and_update().closed {
            return None;
        }
        if let Some((opening, reader)) = path.attend(Instant::now(), Duration::ZERO)
            && Some(opening.generation) != over
        {
            return Some(reader);
        }
        status.changed().await.ok()?;
    }
}

//! A publisher: frames of a clip at their pace, stamped as they are sent.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Result, bail};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use crate::{
    clip::Clip,
    outlet::Outlet,
    pace::Pace,
    run::Phase,
    session::{Buffer, Step, Target},
    stamp,
};

/// One publisher's place in a run.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Number of the stream, written into its stamps.
    pub(crate) stream: u16,
    /// Where it is published.
    pub(crate) path: &'a str,
    /// How its frames are spread over time.
    pub(crate) pace: Pace,
    /// Added to the start, so that many publishers do not send at the same instant.
    pub(crate) delay: Duration,
    /// How many pictures were sent.
    pub(crate) sent: &'a AtomicU64,
    /// Counts the publishers that the server agreed to.
    pub(crate) started: &'a AtomicUsize,
    /// Counts the publishers that sent their last frame.
    pub(crate) stopped: &'a AtomicUsize,
}

/// Publishes while the run goes on, and closes when it is over.
pub(crate) async fn publish(
    target: &Target,
    place: Place<'_>,
    clip: &Clip,
    buffer: &Buffer,
    mut phase: watch::Receiver<Phase>,
) -> Result<()> {
    let mut outlet = Outlet::open(target, place.path, place.stream, clip, buffer).await?;
    place.started.fetch_add(1, Ordering::Release);

    let begin = Instant::now() + place.delay;
    let mut schedule = clip.schedule(place.pace);
    while *phase.borrow_and_update() == Phase::Running {
        // From the beginning each time: a late frame does not delay the later ones.
        let due = schedule.peek().1;
        tokio::select! {
            () = sleep_until(begin + due) => {
                while let (item, at) = schedule.peek() && at == due {
                    outlet.add(&clip.item(place.stream, item, stamp::now()))?;
                    schedule.advance();
                }
                outlet.flush().await?;
                place.sent.store(u64::from(schedule.pictures()), Ordering::Release);
            }
            step = outlet.step(buffer) => {
                if matches!(step?, Step::End) {
                    bail!("the server closed the connection after {} pictures", schedule.pictures());
                }
            }
            _ = phase.changed() => {}
        }
    }
    place.stopped.fetch_add(1, Ordering::Release);
    // Readers still take what is on its way: a server sends them away when its publisher goes.
    let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
    outlet.close().await;
    Ok(())
}

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
use wasmtx_protocol::{
    rtp::{
        Format, Packetizer,
        packetize::{DEFAULT_MTU, Options},
    },
    rtsp::{client::Event, sdp},
};

use crate::{
    clip::Clip,
    run::Phase,
    session::{Buffer, Protocol, Role, Session, Step, Target},
    stamp,
};

/// One publisher's place in a run.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    /// Number of the stream, written into its stamps.
    pub(crate) stream: u16,
    /// Where it is published.
    pub(crate) path: &'a str,
    /// Added to the start, so that many publishers do not send at the same instant.
    pub(crate) delay: Duration,
    /// How many frames were sent.
    pub(crate) sent: &'a AtomicU64,
    /// Counts the publishers that the server agreed to.
    pub(crate) started: &'a AtomicUsize,
    /// Counts the publishers that sent their last frame.
    pub(crate) stopped: &'a AtomicUsize,
}

/// What a clip is announced as.
pub(crate) fn description(clip: &Clip) -> sdp::Session {
    sdp::Session::describe("wasmtx-load", [format(clip)])
}

fn format(clip: &Clip) -> Format {
    Format::of(&clip.track, 96)
}

/// Publishes while the run goes on, and closes when it is over.
pub(crate) async fn publish(
    target: &Target,
    place: Place<'_>,
    clip: &Clip,
    buffer: &Buffer,
    mut phase: watch::Receiver<Phase>,
) -> Result<()> {
    let mut session = Session::open(target, place.path, Role::Publish(description(clip))).await?;
    // A relay agrees to everything without a word.
    let mut agreed = target.protocol == Protocol::Bare;
    while !agreed {
        match session.step(buffer, |_| {}).await? {
            Step::Event(Event::Recording) => agreed = true,
            Step::End => bail!("the server closed the connection before it agreed"),
            _ => {}
        }
    }
    place.started.fetch_add(1, Ordering::Release);

    let options = Options {
        ssrc: u32::from(place.stream) + 1,
        first_sequence: 0,
        timestamp_offset: 0,
        mtu: DEFAULT_MTU,
        channel: session.channel(0),
    };
    let mut packetizer = Packetizer::new(&format(clip), options);
    let begin = Instant::now() + place.delay;
    let mut number: u32 = 0;
    while *phase.borrow_and_update() == Phase::Running {
        // From the beginning each time: a late frame does not delay the later ones.
        let due = begin + clip.interval * number;
        tokio::select! {
            () = sleep_until(due) => {
                let frame = clip.frame(place.stream, number, stamp::now());
                let packetized = packetizer.packetize(&frame, &clip.track)?;
                session.send(packetized.interleaved(), packetized.packets()).await?;
                number += 1;
                place.sent.store(u64::from(number), Ordering::Release);
            }
            step = session.step(buffer, |_| {}) => {
                if matches!(step?, Step::End) {
                    bail!("the server closed the connection after {number} frames");
                }
            }
            _ = phase.changed() => {}
        }
    }
    place.stopped.fetch_add(1, Ordering::Release);
    // Readers still take what is on its way: a server sends them away when its publisher goes.
    let _ = phase.wait_for(|phase| *phase == Phase::Over).await;
    session.close().await;
    Ok(())
}

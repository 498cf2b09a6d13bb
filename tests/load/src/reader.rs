//! A reader: plays a path and checks what comes. Cheap, so that a thousand of them leave the processor to the server.

use std::{
    cell::RefCell,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::{
    sync::{Semaphore, watch},
    time::sleep,
};
use wasmtx_media::{Codec, TrackId};
use wasmtx_protocol::rtsp::{client::Event, sdp};

use crate::{
    histogram::Histogram,
    run::Phase,
    session::{Buffer, Protocol, Received, Role, Session, Step, Target},
    stamp,
    verify::{Depth, Summary, Verifier, Whole},
};

/// How long a reader waits for the last frames after the publishers stopped.
const DRAIN_TIME: Duration = Duration::from_secs(3);

/// What the readers of a run share with those who watch them.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Latencies and bytes count while this is set.
    pub(crate) measuring: AtomicBool,
    /// Bytes read by all readers, headers included.
    pub(crate) bytes: AtomicU64,
    /// Frames completed by all readers.
    pub(crate) frames: AtomicU64,
    /// Readers that had their first frame.
    pub(crate) started: AtomicUsize,
    /// Readers that ended before their time.
    pub(crate) failed: AtomicUsize,
}

/// What the readers of a thread share.
pub(crate) struct Thread {
    /// Filled by one reader at a time.
    pub(crate) buffer: Buffer,
    /// Sent to complete at the reader.
    pub(crate) latency: RefCell<Histogram>,
    /// Connecting to the first complete frame.
    pub(crate) first_frame: RefCell<Histogram>,
    /// How deep to look.
    pub(crate) depth: Depth,
    /// What a relay's readers take for granted.
    pub(crate) known: sdp::Session,
    /// Shared with the other threads.
    pub(crate) progress: Arc<Progress>,
}

/// The checks of one reader and what they found so far.
struct Reader<'a> {
    thread: &'a Thread,
    begin: Instant,
    verifiers: Vec<Verifier>,
    started: bool,
}

impl Reader<'_> {
    fn describe(&mut self, description: &sdp::Session) {
        let verifiers = description.medias.iter().filter_map(|media| {
            let format = media.formats.first()?;
            let track = format.track(TrackId(0));
            let depth = if matches!(track.codec, Codec::H264(_)) {
                self.thread.depth
            } else {
                Depth::Headers
            };
            Some(Verifier::new(depth, format, &track))
        });
        self.verifiers = verifiers.collect();
    }

    fn handle(&mut self, packet: &Received<'_>) {
        let (false, Some(verifier)) = (packet.rtcp, self.verifiers.get_mut(packet.media)) else {
            return;
        };
        let Some(whole) = verifier.handle(packet.data) else {
            return;
        };
        let progress = &self.thread.progress;
        progress.frames.fetch_add(1, Ordering::Relaxed);
        if let (Whole::Stamped(stamp), true) = (whole, progress.measuring.load(Ordering::Relaxed)) {
            let nanos = stamp::now().saturating_sub(stamp.sent);
            self.thread.latency.borrow_mut().add(nanos);
        }
        if !std::mem::replace(&mut self.started, true) {
            let nanos = self.begin.elapsed().as_nanos();
            self.thread
                .first_frame
                .borrow_mut()
                .add(u64::try_from(nanos).unwrap_or(u64::MAX));
            progress.started.fetch_add(1, Ordering::Release);
        }
    }

    /// Whether the publisher's last frame has come.
    fn has_all(&self, sent: u64) -> bool {
        self.verifiers
            .iter()
            .any(|verifier| verifier.next_frame().is_some_and(|next| next >= sent))
    }
}

/// One reader's place in a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// What is read.
    pub(crate) path: &'a str,
    /// Frames that the path's publisher sent; 0 when somebody else publishes.
    pub(crate) sent: &'a AtomicU64,
    /// Bounds how many connect at the same time.
    pub(crate) opening: &'a Semaphore,
}

/// Reads until the end of the run.
pub(crate) async fn read(
    target: &Target,
    place: Place<'_>,
    thread: &Thread,
    mut phase: watch::Receiver<Phase>,
) -> (Summary, Result<()>) {
    let mut reader = Reader {
        thread,
        begin: Instant::now(),
        verifiers: Vec::new(),
        started: false,
    };
    reader.describe(&thread.known);
    let result = play(target, place, &mut reader, &mut phase).await;
    if result.is_err() {
        thread.progress.failed.fetch_add(1, Ordering::Release);
    }
    let sent = place.sent.load(Ordering::Acquire);
    let end = (sent > 0).then_some(sent);
    let mut summary = Summary::default();
    reader
        .verifiers
        .iter()
        .for_each(|verifier| summary.add(&verifier.summary(end)));
    (summary, result)
}

async fn play(
    target: &Target,
    place: Place<'_>,
    reader: &mut Reader<'_>,
    phase: &mut watch::Receiver<Phase>,
) -> Result<()> {
    let thread = reader.thread;
    let mut opening = Some(place.opening.acquire().await?);
    reader.begin = Instant::now();
    let mut session = Session::open(target, place.path, Role::Read).await?;
    let mut draining = false;
    let drained = sleep(Duration::ZERO);
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            step = session.step(&thread.buffer, |packet| reader.handle(&packet)) => match step? {
                Step::Event(Event::Described(description)) => {
                    reader.describe(&description);
                    session.set_up(target.protocol, description.medias.len()).await?;
                }
                Step::Event(Event::Playing(_)) => opening = None,
                Step::Event(Event::Redirected(elsewhere)) => bail!("the server sends readers to {elsewhere}"),
                Step::Event(_) | Step::Time => {}
                Step::Input(bytes) => {
                    thread.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    if target.protocol == Protocol::Bare {
                        opening = None;
                    }
                }
                Step::End if draining => break,
                Step::End => bail!("the server closed the connection"),
            },
            _ = phase.wait_for(|phase| *phase >= Phase::Draining), if !draining => {
                draining = true;
                drained.as_mut().reset(tokio::time::Instant::now() + DRAIN_TIME);
            }
            () = &mut drained, if draining => break,
        }
        if draining && reader.has_all(place.sent.load(Ordering::Acquire)) {
            break;
        }
    }
    drop(opening);
    session.close().await;
    Ok(())
}

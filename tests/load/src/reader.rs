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
    chunks::Message,
    histogram::Histogram,
    run::Phase,
    session::{Buffer, Protocol, Received, Role, Session, Step, Target},
    stamp,
    tags::Tags,
    verify::{Depth, Summary, Verifier, Whole},
    viewer::Viewer,
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
    /// Of RTP, one for each track.
    verifiers: Vec<Verifier>,
    /// Of RTMP and FLV.
    tags: Tags,
    started: bool,
}

/// A reader's connection.
enum Inlet {
    Packets(Box<Session>),
    Tags(Box<Viewer>),
}

impl Inlet {
    async fn open(target: &Target, path: &str, reader: &mut Reader<'_>) -> Result<Inlet> {
        Ok(match target.protocol {
            Protocol::Rtmp | Protocol::Flv => {
                let viewer = Viewer::open(target, path, |tag| reader.handle_tag(tag)).await?;
                Inlet::Tags(Box::new(viewer))
            }
            _ => Inlet::Packets(Box::new(Session::open(target, path, Role::Read).await?)),
        })
    }

    /// Waits for the next thing that happens. Cancel safe.
    async fn step(&mut self, reader: &mut Reader<'_>) -> Result<Step> {
        let buffer = &reader.thread.buffer;
        match self {
            Inlet::Packets(session) => session.step(buffer, |packet| reader.handle(&packet)).await,
            Inlet::Tags(viewer) => viewer.step(buffer, |tag| reader.handle_tag(tag)).await,
        }
    }

    async fn set_up(&mut self, protocol: Protocol, medias: usize) -> Result<()> {
        match self {
            Inlet::Packets(session) => session.set_up(protocol, medias).await,
            Inlet::Tags(_) => Ok(()),
        }
    }

    async fn close(self) {
        match self {
            Inlet::Packets(session) => session.close().await,
            Inlet::Tags(viewer) => viewer.close().await,
        }
    }
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
        if let Some(whole) = verifier.handle(packet.data) {
            self.note(whole);
        }
    }

    fn handle_tag(&mut self, tag: Message<'_>) -> Result<()> {
        if let Some(whole) = self.tags.handle(tag.kind, tag.body) {
            self.note(whole);
        }
        Ok(())
    }

    /// A frame came whole.
    fn note(&mut self, whole: Whole) {
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
        let packets = self.verifiers.iter().filter_map(Verifier::next_frame);
        packets.chain(self.tags.next_picture()).any(|next| next >= sent)
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
        tags: Tags::new(thread.depth),
        started: false,
    };
    reader.describe(&thread.known);
    let result = play(target, place, &mut reader, &mut phase).await;
    if result.is_err() {
        thread.progress.failed.fetch_add(1, Ordering::Release);
    }
    let sent = place.sent.load(Ordering::Acquire);
    let end = (sent > 0).then_some(sent);
    let mut summary = reader.tags.summary(end);
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
    let mut inlet = Inlet::open(target, place.path, reader).await?;
    let mut draining = false;
    let drained = sleep(Duration::ZERO);
    tokio::pin!(drained);
    loop {
        tokio::select! {
            biased;
            step = inlet.step(reader) => match step? {
                Step::Event(Event::Described(description)) => {
                    reader.describe(&description);
                    inlet.set_up(target.protocol, description.medias.len()).await?;
                }
                Step::Event(Event::Playing(_)) => opening = None,
                Step::Event(Event::Redirected(elsewhere)) => bail!("the server sends readers to {elsewhere}"),
                Step::Event(_) | Step::Time => {}
                Step::Input(bytes) => {
                    thread.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    // Those that do not say when they begin to play.
                    if !matches!(target.protocol, Protocol::RtspTcp | Protocol::RtspUdp) {
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
    inlet.close().await;
    Ok(())
}

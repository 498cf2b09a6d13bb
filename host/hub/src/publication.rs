//! A stream that is being published: the ring, the way into it, and its end.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use wasmtx_media::{Frame, TrackId, Tracks, WallClock};

use crate::{
    Demand, Flow, Form, Lane, Limits, Notices, Opening, Output, PathName, Refusal, Stage, Wanted,
    path::Path,
    path::ReaderStart,
    reader::Start,
    ring::{Cursor, MAX_TRACKS, Ring, has_keyframes},
    seat::Seat,
};

/// Readers for whose positions there is room from the start.
const MIN_POSITIONS: usize = 16;

/// Why a stream or a session ended; `close-reason` of `wit/plugin.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The other side said so.
    Ended,
    /// Another publisher took the path, or the tracks changed.
    Replaced,
    /// The configuration or a plugin changed.
    Reload,
    /// Something broke.
    Failed,
    /// The server stops.
    Shutdown,
    /// Through the API or a plugin.
    Kicked,
    /// The permission ran out.
    Expired,
    /// Nothing was heard for too long.
    Timeout,
    /// Could not keep up.
    TooSlow,
    /// None of these.
    Other,
}

impl std::fmt::Display for CloseReason {
    /// For the log: what happened, in a few words.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CloseReason::Ended => "the stream ended",
            CloseReason::Replaced => "another publisher took over, or the tracks changed",
            CloseReason::Reload => "the configuration changed",
            CloseReason::Failed => "the publisher is gone",
            CloseReason::Shutdown => "the server stops",
            CloseReason::Kicked => "it was kicked",
            CloseReason::Expired => "the permission ran out",
            CloseReason::Timeout => "nothing was heard for too long",
            CloseReason::TooSlow => "it took nothing for too long",
            CloseReason::Other => "for another reason",
        })
    }
}

/// One stream on a path, from its first to its last frame, with one set of tracks.
pub struct Publication {
    /// Where.
    pub path: PathName,
    /// Which of the path's publications.
    pub generation: u32,
    /// When it began.
    pub since: WallClock,
    demand: Demand,
    ring: RwLock<Ring>,
    /// Counts pushes and the end; readers sleep on it.
    news: watch::Sender<u64>,
    /// Where each reader stands, to know how far back the ring must reach.
    positions: Mutex<Vec<Weak<AtomicU64>>>,
    /// One lane per wire form and variant, kept alive by its readers.
    lanes: Mutex<HashMap<(TypeId, u64), Weak<dyn Any + Send + Sync>>>,
}

impl std::fmt::Debug for Publication {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publication")
            .field("path", &self.path)
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Publication {
    pub(crate) fn new(path: PathName, generation: u32, since: WallClock, limits: Limits, tracks: Tracks) -> Self {
        Publication {
            path,
            generation,
            since,
            demand: Demand::new(&tracks),
            ring: RwLock::new(Ring::new(limits, tracks)),
            news: watch::Sender::new(0),
            positions: Mutex::default(),
            lanes: Mutex::default(),
        }
    }

    /// The tracks that readers see, with the parameters now in force.
    pub fn tracks(&self) -> Tracks {
        self.ring.read().tracks().clone()
    }

    /// Wants these tracks for as long as what is answered lives; [`Reader::take`](crate::Reader::take) for those who read.
    pub fn want(&self, tracks: &[TrackId]) -> Wanted {
        self.demand.want(tracks)
    }

    /// Which tracks somebody wants.
    pub fn demand(&self) -> &Demand {
        &self.demand
    }

    /// Whether the track that readers begin with, the first with keyframes, has had no frame yet. False without such a track.
    pub fn is_dark(&self) -> bool {
        self.ring.read().is_dark()
    }

    /// Payload bytes that the ring holds.
    pub fn buffered_bytes(&self) -> usize {
        self.ring.read().bytes()
    }

    /// Why the publication is over; `None` while it lives.
    pub fn ended(&self) -> Option<CloseReason> {
        self.ring.read().ended()
    }

    /// The lane that makes `F`'s wire form for every reader of this publication. `make` runs when there is none yet.
    pub fn lane<F: Form>(self: &Arc<Self>, make: impl FnOnce(&Publication) -> F) -> Arc<Lane<F>> {
        self.lane_of(0, make)
    }

    /// The same for a form that comes in variants, by what a reader can play: each has its lane.
    pub fn lane_of<F: Form>(self: &Arc<Self>, variant: u64, make: impl FnOnce(&Publication) -> F) -> Arc<Lane<F>> {
        let key = (TypeId::of::<F>(), variant);
        let mut lanes = self.lanes.lock();
        if let Some(lane) = lanes.get(&key).and_then(Weak::upgrade)
            && let Ok(lane) = Arc::downcast::<Lane<F>>(lane)
        {
            return lane;
        }
        let lane = Arc::new(Lane::new(self.clone(), make(self)));
        let erased: Arc<dyn Any + Send + Sync> = lane.clone();
        lanes.retain(|_, lane| lane.strong_count() > 0);
        lanes.insert(key, Arc::downgrade(&erased));
        lane
    }

    pub(crate) fn ring(&self) -> &RwLock<Ring> {
        &self.ring
    }

    /// Tells when something was published; for one task that serves many readers.
    pub fn follow(&self) -> News {
        News(self.news.subscribe())
    }

    pub(crate) fn news(&self) -> watch::Receiver<u64> {
        self.news.subscribe()
    }

    pub(crate) fn join(&self, now: Instant, start: Start) -> (Cursor, Arc<AtomicU64>) {
        let ring = self.ring.read();
        let cursor = match start {
            Start::At(start) => ring.join(now, start == ReaderStart::Keyframe),
            Start::Back(back) => ring.join_back(now, back),
        };
        let position = Arc::new(AtomicU64::new(cursor.next));
        // Registered under the ring's lock: the publisher cannot trim in between.
        let mut positions = self.positions.lock();
        if positions.len() == positions.capacity() {
            // A stream whose next GOP never starts forgets those who left here.
            positions.retain(|position| position.strong_count() > 0);
            let present = positions.len();
            positions.reserve(present.max(MIN_POSITIONS));
        }
        positions.push(Arc::downgrade(&position));
        drop(positions);
        (cursor, position)
    }

    /// The slowest reader's position. Walked once per GOP, not per frame, and not more often than [`Ring::is_trim_due`].
    fn slowest(&self) -> u64 {
        let mut slowest = u64::MAX;
        self.positions.lock().retain(|position| match position.upgrade() {
            Some(position) => {
                slowest = slowest.min(position.load(Ordering::Relaxed));
                true
            }
            None => false,
        });
        slowest
    }

    /// Publishes a frame, unless the publisher has lost its path: who takes a running ring over does so under the ring's
    /// lock, and no frame of the one before comes after that.
    fn append(&self, seat: &Seat, now: Instant, frame: Frame) {
        let mut ring = self.ring.write();
        if seat.is_lost() {
            return;
        }
        if ring.push(now, frame) == Some(true) && ring.is_trim_due(now) {
            let floor = self.slowest();
            ring.trim_before(now, floor);
        }
    }

    fn announce(&self) {
        self.news.send_modify(|count| *count = count.wrapping_add(1));
    }

    fn last_push(&self) -> Option<Instant> {
        let ring = self.ring.read();
        Some(ring.get(ring.head().checked_sub(1)?)?.at)
    }

    /// Where the stream would stand now had it gone on, in microseconds of decoding time.
    pub(crate) fn position(&self, now: Instant) -> Option<i128> {
        let ring = self.ring.read();
        let newest = ring.get(ring.head().checked_sub(1)?)?;
        let rate = i128::from(newest.tracks[newest.slot].clock_rate);
        let elapsed = now.saturating_duration_since(newest.at).as_micros();
        Some(i128::from(newest.frame.dts) * 1_000_000 / rate + i128::try_from(elapsed).ok()?)
    }

    pub(crate) fn set_limits(&self, limits: Limits) {
        self.ring.write().set_limits(limits);
    }

    pub(crate) fn end(&self, reason: CloseReason) {
        self.ring.write().end(reason);
        self.announce();
    }
}

/// Tells when something was published, or the publication ended.
#[derive(Debug)]
pub struct News(watch::Receiver<u64>);

impl News {
    /// Waits for something that was not there when this last returned. Cancel safe.
    pub async fn wait(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

/// The way into a path's ring. Dropping it takes the path offline.
pub struct Publisher {
    path: Arc<Path>,
    seat: Arc<Seat>,
    publication: Arc<Publication>,
    opening: Opening,
    stage: Option<Box<dyn Stage>>,
    /// [`Path::stages_changed`] when `stage` was made.
    stages_seen: u64,
    output: Output,
    timeline: Timeline,
    /// Counts frames per track as they come in, for the stage.
    numbers: Vec<(TrackId, u64)>,
    /// A newcomer on a running ring begins at a keyframe.
    awaits_key: bool,
    /// Frames are in the ring that nobody was woken for.
    untold: bool,
    closed: bool,
}

impl std::fmt::Debug for Publisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Publisher")
            .field("publication", &self.publication)
            .finish_non_exhaustive()
    }
}

impl Publisher {
    pub(crate) fn new(
        path: Arc<Path>,
        seat: Arc<Seat>,
        publication: Arc<Publication>,
        opening: Opening,
        (stage, stages_seen): (Option<Box<dyn Stage>>, u64),
        continues: Option<i128>,
    ) -> Publisher {
        Publisher {
            path,
            seat,
            numbers: opening.tracks.iter().map(|track| (track.id, 0)).collect(),
            awaits_key: continues.is_some() && opening.tracks.iter().any(has_keyframes),
            timeline: Timeline {
                continues,
                shift: None,
                walls: Vec::new(),
            },
            opening,
            stage,
            stages_seen,
            untold: false,
            output: Output {
                demand: publication.demand.clone(),
                ..Output::default()
            },
            publication,
            closed: false,
        }
    }

    /// What readers join.
    pub fn publication(&self) -> &Arc<Publication> {
        &self.publication
    }

    /// The path published on, which a permit may have changed.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// A handle that tells what this publisher is asked to do.
    pub fn notices(&self) -> Notices {
        self.seat.notices()
    }

    /// Publishes one frame: through the stage, into the ring, to every reader. Never waits.
    ///
    /// # Errors
    /// The reason why this publisher must stop: it was replaced or kicked, or a stage closed the stream.
    pub fn push(&mut self, now: Instant, wall: WallClock, frame: Frame) -> Result<(), CloseReason> {
        let pushed = self.push_quietly(now, wall, frame);
        self.tell();
        pushed
    }

    /// The same without waking the readers: [`Publisher::tell`] does that once for all frames that came together, and each
    /// reader writes once for them.
    ///
    /// # Errors
    /// As [`Publisher::push`].
    pub fn push_quietly(&mut self, now: Instant, wall: WallClock, mut frame: Frame) -> Result<(), CloseReason> {
        if self.seat.is_lost() {
            return Err(self.seat.reason().unwrap_or(CloseReason::Other));
        }
        if self.path.stages_changed() != self.stages_seen {
            self.restage(now)?;
        }
        let Some(number) = self.numbers.iter_mut().find(|(id, _)| *id == frame.track) else {
            self.path.counters.frames_in_error.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        };
        frame.number = number.1;
        number.1 += 1;
        if self.awaits_key {
            let is_video = self
                .opening
                .tracks
                .iter()
                .any(|track| track.id == frame.track && has_keyframes(track));
            if !(is_video && frame.is_key()) {
                return Ok(());
            }
            self.awaits_key = false;
            Ring::mark_discontinuity(&mut frame);
        }
        self.timeline
            .place(&self.opening.tracks, wall, self.path.keeps_sender_clock(), &mut frame);
        self.path
            .counters
            .inbound_bytes
            .fetch_add(frame.payload.len() as u64, Ordering::Relaxed);

        let Some(stage) = &mut self.stage else {
            self.publication.append(&self.seat, now, frame);
            self.untold = true;
            return Ok(());
        };
        let flow = stage.frame(now, frame, &mut self.output);
        self.flush(now);
        match flow {
            Flow::Continue => Ok(()),
            Flow::Close(why) => {
                self.path.note_closed_by_stage(why);
                Err(CloseReason::Kicked)
            }
        }
    }

    /// The path got another chain: it takes over before the next frame.
    fn restage(&mut self, now: Instant) -> Result<(), CloseReason> {
        self.stages_seen = self.path.stages_changed();
        let made = || -> Result<_, Refusal> {
            let mut stage = self
                .path
                .config()
                .stages
                .as_ref()
                .map(|stages| stages.stage(&self.path.name))
                .transpose()?;
            let shown = match &mut stage {
                Some(stage) => stage.open(now, &self.opening)?,
                None => self.opening.tracks.clone(),
            };
            Ok((stage, shown))
        };
        let (stage, shown) = made().map_err(|refusal| {
            self.path.note_closed_by_stage(refusal.to_string());
            CloseReason::Kicked
        })?;
        if let Some(mut old) = std::mem::replace(&mut self.stage, stage) {
            old.close(now, CloseReason::Reload, &mut self.output);
            self.flush(now);
        }
        self.show(shown);
        Ok(())
    }

    fn flush(&mut self, now: Instant) {
        if let Some(tracks) = self.output.tracks.take() {
            self.show(tracks);
        }
        if !self.output.frames.is_empty() {
            for frame in self.output.frames.drain(..) {
                self.publication.append(&self.seat, now, frame);
            }
            self.untold = true;
        }
    }

    /// Wakes the readers when something was published since they were woken last.
    pub fn tell(&mut self) {
        if std::mem::take(&mut self.untold) {
            self.publication.announce();
        }
    }

    /// The publisher's parameters changed: with the same ids and codecs readers stay, else a new generation begins and
    /// the readers of the old one are told.
    ///
    /// # Errors
    /// The stage refuses the new tracks; the publisher must stop.
    pub fn set_tracks(&mut self, now: Instant, tracks: Tracks) -> Result<(), Refusal> {
        self.numbers
            .retain(|(id, _)| tracks.iter().any(|track| track.id == *id));
        for track in tracks.iter() {
            if !self.numbers.iter().any(|(id, _)| *id == track.id) {
                self.numbers.push((track.id, 0));
            }
        }
        self.opening.tracks = tracks;
        let shown = match &mut self.stage {
            Some(stage) => stage.open(now, &self.opening).inspect_err(|refusal| {
                self.path.note_closed_by_stage(refusal.to_string());
            })?,
            None => self.opening.tracks.clone(),
        };
        self.show(shown);
        Ok(())
    }

    fn show(&mut self, tracks: Tracks) {
        if same_format(&self.publication.tracks(), &tracks) {
            let mut ring = self.publication.ring.write();
            if !self.seat.is_lost() {
                ring.set_tracks(tracks);
            }
        } else {
            self.path
                .begin_generation(&self.seat, &mut self.publication, &mut self.opening, tracks);
            self.output.demand = self.publication.demand.clone();
        }
    }

    /// Ends the stream; frames that the stage held back still come out.
    pub fn close(mut self, now: Instant, reason: CloseReason) {
        self.end(now, reason);
    }

    fn end(&mut self, now: Instant, reason: CloseReason) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        if let Some(mut stage) = self.stage.take() {
            stage.close(now, reason, &mut self.output);
            // Whoever took the path over has begun to write: what this stage still holds comes too late.
            if !self.seat.is_lost() {
                self.flush(now);
            }
        }
        self.tell();
        self.path.leave(&self.seat, &self.publication, reason);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // A publisher dropped without a word is one whose task ended: the reason is not known here, and the time of its
        // last frame stands for now.
        let reason = self.seat.reason().unwrap_or(CloseReason::Failed);
        let last = self.publication.last_push().unwrap_or(self.path.created);
        self.end(last, reason);
    }
}

/// Whether readers of `old` can go on with `new`: the same ids with the same codecs, in the same order.
pub(crate) fn same_format(old: &Tracks, new: &Tracks) -> bool {
    old.len() == new.len()
        && old.iter().zip(new.iter()).all(|(a, b)| {
            a.id == b.id && a.kind == b.kind && a.clock_rate == b.clock_rate && a.codec.same_format(&b.codec)
        })
}

/// Refuses what a ring cannot hold.
pub(crate) fn valid(tracks: &Tracks) -> bool {
    !tracks.is_empty() && tracks.len() <= MAX_TRACKS && tracks.iter().all(|track| track.clock_rate > 0)
}

/// Puts a publisher's frames on the path's clock.
#[derive(Debug)]
struct Timeline {
    /// Where a running ring stands, in microseconds, when a newcomer takes it over.
    continues: Option<i128>,
    /// Microseconds added to every timestamp, known from the first frame on.
    shift: Option<i128>,
    /// Per track: the wall clock of a tick, for senders that tell none.
    walls: Vec<(TrackId, i64, u64)>,
}

/// Beyond this difference the sender's clock is taken to have jumped, and the estimate starts anew.
const WALL_DRIFT: u64 = 5_000_000;

impl Timeline {
    fn place(&mut self, tracks: &Tracks, wall: WallClock, keep_sender_clock: bool, frame: &mut Frame) {
        let Some(rate) = tracks
            .iter()
            .find(|track| track.id == frame.track)
            .map(|track| i128::from(track.clock_rate))
        else {
            return;
        };
        if let Some(target) = self.continues {
            let shift = *self
                .shift
                .get_or_insert_with(|| target - i128::from(frame.dts) * 1_000_000 / rate);
            let ticks = i64::try_from(shift * rate / 1_000_000).unwrap_or(0);
            frame.pts = frame.pts.saturating_add(ticks);
            frame.dts = frame.dts.saturating_add(ticks);
        }
        if !(keep_sender_clock && frame.wall.is_some()) {
            frame.wall = Some(WallClock(self.estimate(frame.track, frame.dts, rate, wall.0)));
        }
    }

    /// The wall clock of a frame by the local clock, without the jitter of its arrival.
    fn estimate(&mut self, track: TrackId, dts: i64, rate: i128, now: u64) -> u64 {
        let Some(known) = self.walls.iter_mut().find(|(id, ..)| *id == track) else {
            self.walls.push((track, dts, now));
            return now;
        };
        let elapsed = (i128::from(dts) - i128::from(known.1)) * 1_000_000 / rate;
        let wall = u64::try_from(i128::from(known.2) + elapsed).unwrap_or(now);
        if wall.abs_diff(now) > WALL_DRIFT {
            *known = (track, dts, now);
            return now;
        }
        wall
    }
}

#[cfg(test)]
mod tests {
    use wasmtx_media::{Codec, Kind, Track};

    use super::*;

    #[test]
    fn readers_that_left_are_forgotten_although_no_frame_comes() {
        let tracks = Arc::from([Track {
            id: TrackId(0),
            kind: Kind::Video,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        }]);
        let path = PathName::new("cam1").unwrap();
        let publication = Publication::new(path, 1, WallClock(1), Limits::default(), tracks);
        let now = Instant::now();
        let staying = publication.join(now, Start::At(ReaderStart::Keyframe));
        for _ in 0..10_000 {
            drop(publication.join(now, Start::At(ReaderStart::Keyframe)));
        }
        assert!(publication.positions.lock().len() <= 2 * MIN_POSITIONS);
        drop(staying);
    }
}

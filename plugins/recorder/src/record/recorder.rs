//! Where files begin and end, and what becomes of frames that the disk does not take.

use wasmtx_media::{
    Flags, Track, TrackId,
    container::mp4::{Body, Sample},
};

use super::{
    Server, Settings, Told, Trouble,
    lane::{Lane, Last},
    muxer,
    segment::{Entry, MAX_LEAD, Place, Segment},
};

/// Microseconds.
const SECOND: i64 = 1_000_000;
/// The wall clock was set, when it moves so far against the other one.
const CLOCK_STEP: i64 = SECOND;
/// The stream's clock does not fit the wall clock any more.
const MAX_DRIFT: i64 = 5 * SECOND;
/// A hole in front of a keyframe that ends a file when it is marked, and one anywhere else.
const HOLE_AT_KEY: i64 = SECOND / 10;
const HOLE: i64 = SECOND;
/// A track of video that sent nothing for so long has no say in where files end.
const SILENCE: i64 = 10 * SECOND;
/// For so long a file waits for a track that is announced without its parameters.
const UNDESCRIBED: i64 = 5 * SECOND;
/// For so long a file waits for a track whose first frame tells what the file begins with.
const FIRST_FRAMES: i64 = 2 * SECOND;
/// Between two attempts to write to a disk that does not take it.
const BACKOFF: u64 = 1_000_000;
/// What is tried then is at least so long.
const RETRY: i64 = SECOND / 2;

/// A frame of the stream. Its fields are those of [`wasmtx_media::Frame`].
#[derive(Clone, Debug)]
pub(crate) struct Frame<P> {
    /// Its track.
    pub(crate) track: TrackId,
    /// Presentation time, in ticks.
    pub(crate) pts: i64,
    /// Decoding time, in ticks.
    pub(crate) dts: i64,
    /// In ticks, 0 when unknown.
    pub(crate) duration: u32,
    /// Microseconds since 1970, 0 when unknown.
    pub(crate) wall: u64,
    /// What is known of it.
    pub(crate) flags: Flags,
    /// What stands for its bytes.
    pub(crate) payload: P,
}

/// Records one stream.
pub(crate) struct Recorder<S: Server> {
    server: S,
    settings: Settings,
    path: String,
    lanes: Vec<Lane>,
    /// The track whose keyframes begin files: the first one of video. None: every frame may.
    leading: Option<usize>,
    segment: Option<Segment<S>>,
    /// What the next file is, if it goes on where the last one ended.
    next: Option<Place>,
    /// The file is to end as soon as another one can begin, and that one belongs to another recording.
    renew: bool,
    /// When the first frame came of a stream whose tracks are not all described.
    undescribed: Option<i64>,
    /// The monotonic clock when the calls at hand began.
    at: u64,
    /// The wall clock against it.
    clock: Option<i64>,
    /// Nothing can be written; to be tried again then.
    suspended: Option<u64>,
    /// It was said that there is no file to be made of this.
    refused: bool,
}

impl<S: Server> Recorder<S> {
    /// For the stream of a path, before [`open`](Self::open).
    pub(crate) fn new(server: S, settings: Settings, path: &str) -> Recorder<S> {
        Recorder {
            server,
            settings,
            path: path.to_owned(),
            lanes: Vec::new(),
            leading: None,
            segment: None,
            next: None,
            renew: false,
            undescribed: None,
            at: 0,
            clock: None,
            suspended: None,
            refused: false,
        }
    }

    /// The stream begins, or its tracks are others: a file that is at hand ends if they concern it. Answers the tracks that are recorded.
    pub(crate) fn open(&mut self, tracks: &[Track]) -> Vec<TrackId> {
        let format = self.settings.format;
        let forms = |track: &Track| muxer::form(format, &track.codec);
        let readable = wasmtx_media::readable(tracks, |track| forms(track).is_some());
        let mut lanes: Vec<Lane> = Vec::new();
        for track in readable.into_iter().take(muxer::MAX_TRACKS) {
            let Some(codec) = forms(track) else { continue };
            let coded = (codec != track.codec).then(|| track.codec.clone());
            lanes.push(Lane::new(Track { codec, ..track.clone() }, coded));
        }
        let ids: Vec<TrackId> = lanes.iter().map(|lane| lane.track.id).collect();
        let same = lanes.len() == self.lanes.len() && lanes.iter().zip(&self.lanes).all(|(new, old)| new.goes_on(old));
        if !same {
            self.end(None);
            self.lanes = lanes;
            self.leading = self.lanes.iter().position(Lane::is_video);
            self.start_anew();
            (self.undescribed, self.refused) = (None, false);
        } else {
            for (old, new) in self.lanes.iter_mut().zip(lanes) {
                old.track = new.track;
            }
        }
        ids
    }

    /// Frames follow: looks at the clocks once for all of them.
    pub(crate) fn batch(&mut self) {
        self.at = self.server.monotonic();
        let signed = |time: u64| i64::try_from(time).unwrap_or(i64::MAX);
        let clock = signed(self.server.now()).saturating_sub(signed(self.at));
        let before = *self.clock.get_or_insert(clock);
        if clock.saturating_sub(before).saturating_abs() > CLOCK_STEP {
            self.clock = Some(clock);
            self.renew = true;
        }
    }

    /// Takes a frame.
    pub(crate) fn push(&mut self, frame: Frame<S::Payload>) {
        let Some(place) = self.lanes.iter().position(|lane| lane.track.id == frame.track) else {
            return;
        };
        let Some(entry) = self.enter(place, frame) else { return };
        let (micros, key) = (entry.micros, entry.sample.flags.contains(Flags::KEY));
        let starts = self.starts(place, key, micros);
        self.cut(place, &entry, starts);
        if self.segment.is_none() {
            if !starts || self.waits_for_description(micros) {
                return;
            }
            self.begin(&entry);
        }
        let Some(lane) = self.lanes.get_mut(place) else { return };
        lane.aligned |= key;
        let included = lane.included;
        if !lane.aligned || !lane.is_described() {
            return;
        }
        if !included {
            // Only now it can be told what it is.
            self.renew |= !std::mem::replace(&mut lane.late, true);
            return;
        }
        let wall = entry.wall;
        self.add(entry);
        let Some(lane) = self.lanes.get_mut(place) else { return };
        lane.base.get_or_insert((micros, wall));
    }

    /// Which file comes next of which recording, for another recorder that goes on where this one ends. None when something will be missing between.
    pub(crate) fn next(&self) -> Option<([u8; 16], u64)> {
        if self.renew || self.suspended.is_some() {
            return None;
        }
        let next = match &self.segment {
            Some(segment) => Some(segment.place().next()),
            None => self.next,
        };
        next.map(|place| (place.stream, place.number))
    }

    /// Goes on with the file after those of another recorder, as its [`next`](Self::next) said.
    pub(crate) fn go_on(&mut self, (stream, number): ([u8; 16], u64)) {
        if self.segment.is_none() {
            self.next = Some(Place { stream, number });
        }
    }

    /// Time passes without frames.
    pub(crate) fn tick(&mut self) {
        self.batch();
        let Some(segment) = &self.segment else { return };
        let old = |since: u64| self.at.saturating_sub(since) >= self.settings.part.unsigned_abs();
        let due = match self.suspended {
            Some(next) => next <= self.at,
            None => segment.since.is_some_and(old),
        };
        if due {
            self.flush();
        }
    }

    /// The stream is over. What can still be written is.
    pub(crate) fn close(&mut self) {
        self.end(None);
        self.next = None;
    }

    /// Puts a frame on the clock of its track, and looks for holes in front of it.
    fn enter(&mut self, place: usize, frame: Frame<S::Payload>) -> Option<Entry<S::Payload>> {
        let leading = self.leading == Some(place) || self.leading.is_none();
        let lane = self.lanes.get_mut(place)?;
        let dts = lane.last.map_or(frame.dts, |last| frame.dts.max(last.dts));
        let micros = lane.micros(dts);
        let mut hole = 0;
        let mut step = lane.micros(frame.duration.into());
        if let Some(last) = lane.last {
            let passed = micros.saturating_sub(last.micros);
            if frame.flags.contains(Flags::DISCONTINUITY) {
                hole = passed.saturating_sub(last.step);
            } else {
                step = passed;
            }
        }
        lane.last = Some(Last { dts, micros, step });
        let key = frame.flags.contains(Flags::KEY);
        let drifted = lane.base.is_some_and(|(base, wall)| {
            let real = i64::try_from(frame.wall)
                .unwrap_or_default()
                .saturating_sub(i64::try_from(wall).unwrap_or_default());
            let drift = real.saturating_sub(micros.saturating_sub(base));
            frame.wall != 0 && wall != 0 && drift.saturating_abs() > MAX_DRIFT
        });
        self.renew |= drifted || leading && key && hole > HOLE_AT_KEY;
        if leading && !key && hole > HOLE {
            // What follows cannot be decoded before the next keyframe.
            self.end(None);
            self.start_anew();
        }
        let lane = self.lanes.get(place)?;
        let payload = match &lane.coded {
            Some(codec) => muxer::converted(codec, &self.server.bytes(&frame.payload)).into(),
            None => frame.payload,
        };
        Some(Entry {
            lane: place,
            micros,
            step,
            wall: frame.wall,
            sample: Sample {
                track: frame.track,
                pts: frame.pts,
                dts,
                duration: frame.duration,
                flags: frame.flags,
                payload,
            },
        })
    }

    /// Whether a file may begin with this frame.
    fn starts(&self, place: usize, key: bool, micros: i64) -> bool {
        let Some(leading) = self.leading.and_then(|leading| self.lanes.get(leading)) else {
            return true;
        };
        if self.leading == Some(place) {
            return key;
        }
        // Without pictures there is still sound.
        let silent = leading
            .last
            .is_none_or(|last| micros.saturating_sub(last.micros) > SILENCE);
        silent && self.lanes.get(place).is_some_and(|lane| key || !lane.is_video())
    }

    /// Ends the file at hand in front of this frame, if it is time.
    fn cut(&mut self, place: usize, entry: &Entry<S::Payload>, starts: bool) {
        if !starts {
            return;
        }
        if self.suspended.is_some() && self.leading == Some(place) {
            self.flush();
            if self.suspended.is_some() {
                // Of what cannot be written the newest is kept.
                return self.discard();
            }
        }
        let Some(segment) = &self.segment else { return };
        let over = entry.micros.saturating_sub(segment.start()) >= self.settings.segment;
        if !self.renew && !over {
            return;
        }
        self.end((!self.renew).then_some((place, entry.sample.dts)));
        if self.leading != Some(place) {
            // It goes on without its keyframe.
            self.lanes.iter_mut().for_each(|lane| lane.aligned &= !lane.is_video());
        }
    }

    /// Forgets what is not written of a file; the next one begins with the next keyframe.
    fn discard(&mut self) {
        self.renew |= self.segment.take().is_some();
    }

    fn begin(&mut self, entry: &Entry<S::Payload>) {
        if self.renew {
            self.start_anew();
        }
        let fresh = || Place {
            stream: self.server.identity(),
            number: 0,
        };
        let next = self.next.take();
        let goes_on = next.is_some();
        let place = next.unwrap_or_else(fresh);
        let wall = if entry.wall == 0 { self.server.now() } else { entry.wall };
        self.lanes.iter_mut().for_each(|lane| lane.included = true);
        let mut segment = Segment::new(place, entry.micros, wall);
        if goes_on {
            // Other tracks may be behind: what they have not sent yet belongs into this file.
            let behind = self
                .lanes
                .iter()
                .filter_map(|lane| lane.last)
                .map(|last| last.micros.saturating_add(last.step));
            behind
                .filter(|micros| entry.micros.saturating_sub(*micros) <= MAX_LEAD)
                .for_each(|micros| segment.expect(micros));
        }
        self.segment = Some(segment);
    }

    /// The next file belongs to another recording.
    fn start_anew(&mut self) {
        (self.next, self.renew) = (None, false);
        for lane in &mut self.lanes {
            lane.base = None;
            lane.aligned = !lane.is_video();
        }
    }

    /// Whether some track may still say what it is, before anything is written.
    fn waits_for_description(&mut self, micros: i64) -> bool {
        if self.lanes.iter().all(Lane::is_described) {
            return false;
        }
        let since = *self.undescribed.get_or_insert(micros);
        let waits = micros.saturating_sub(since) < UNDESCRIBED;
        waits || !self.lanes.iter().any(Lane::is_described)
    }

    fn add(&mut self, mut entry: Entry<S::Payload>) {
        let micros = entry.micros;
        let size = entry.sample.payload.size();
        let Some(segment) = &self.segment else { return };
        if segment.bytes() > 0 && segment.bytes().saturating_add(size) > self.settings.part_bytes {
            self.flush();
        }
        let at = self.at;
        let Some(segment) = &mut self.segment else { return };
        if let Some(lane) = self.lanes.get(entry.lane).filter(|_| micros < segment.floor()) {
            entry.sample.dts = entry.sample.dts.max(lane.ticks(segment.floor()));
        }
        if segment.push(&self.server, entry, at).is_err() {
            self.flush();
            return;
        }
        // A disk that took a little would not show that there is room again.
        let part = if self.suspended.is_some() {
            self.settings.part.min(RETRY)
        } else {
            self.settings.part
        };
        let over = segment.lasts(micros) >= part;
        // Some tracks tell with their first frame what the file begins with.
        let lacks = segment.lasts(micros) < FIRST_FRAMES && segment.lacks(&self.lanes, self.settings.format);
        if over && !lacks || segment.is_full(self.settings.format) {
            self.flush();
        }
    }

    /// Makes a part of what waits and writes it.
    fn flush(&mut self) {
        let Some(segment) = &mut self.segment else { return };
        if self.suspended.is_some_and(|next| self.at < next) {
            if segment.is_full(self.settings.format) {
                // More than may be kept.
                self.discard();
            }
            return;
        }
        if let Err(error) = segment.gather(&self.server, &self.settings, &mut self.lanes) {
            if !std::mem::replace(&mut self.refused, true) {
                self.server
                    .tell(Told::Warning(&format!("no file can be made of this stream: {error}")));
            }
            return self.discard();
        }
        let begun = segment.is_begun();
        let written = segment.write(&self.server, &self.settings, &self.path, false);
        if written.is_err() && begun {
            // What it would go on with is missing.
            self.discard();
        }
        self.written(written);
    }

    /// What came of writing: whether there was something.
    fn written(&mut self, result: Result<bool, Trouble>) {
        match result {
            Ok(true) => {
                if self.suspended.take().is_some() {
                    self.server.tell(Told::Resumed);
                }
            }
            Ok(false) => {}
            Err(trouble) => {
                if self.suspended.is_none() {
                    self.server.tell(Told::Suspended(trouble));
                }
                self.suspended = Some(self.at.saturating_add(BACKOFF));
            }
        }
    }

    /// Ends the file at hand. With `until`, the track and time of its next frame, the next file goes on where it ends.
    fn end(&mut self, until: Option<(usize, i64)>) {
        let Some(segment) = self.segment.take() else { return };
        self.next = until.map(|_| segment.place().next());
        let result = segment.close(&self.server, &self.settings, &self.path, &mut self.lanes, until);
        if result.is_err() {
            self.renew = true;
        }
        self.written(result);
    }
}

//! The tracks that are made of others, while the stream runs. On the publisher's task: nothing here waits for a codec.
//!
//! A frame of a source is handed to its converter and goes on at once, as every other frame does. What a converter has ready
//! joins the stream in front of the next frame of any track: as much later than its source as the codec takes, in order, in
//! the time of its source. The last of it, that a codec has when the stream ends, is not waited for.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtx_hub::Output;
use wasmtx_media::{Flags, Frame, TrackId, Tracks, WallClock};

use super::plan::Job;
use crate::{
    metrics::{Place, tally},
    services::{Codecs, Converter, Report},
};

/// A track that nobody takes any more is made for so long: readers come back.
const LINGER: Duration = Duration::from_secs(10);
/// Frames of one made track that join the stream at one time. A converter holds no more than it may, so this only spreads
/// what comes all at once.
const AT_ONCE: usize = 64;

/// All tracks that one stream makes.
pub(crate) struct Makings {
    codecs: Arc<dyn Codecs>,
    path: String,
    all: Vec<Making>,
    /// Tracks whose frames go nowhere.
    ended: Vec<TrackId>,
}

impl Makings {
    pub(crate) fn new(codecs: &Arc<dyn Codecs>, path: &str) -> Makings {
        Makings {
            codecs: codecs.clone(),
            path: path.to_owned(),
            all: Vec::new(),
            ended: Vec::new(),
        }
    }

    /// What is to be made from now on, each with where it is counted, of a stream that comes in with these tracks and goes on
    /// with those. What is the same as before goes on.
    pub(crate) fn set(&mut self, jobs: Vec<(Job, Arc<Place>)>, filtered: &Tracks, tracks: &Tracks) {
        let mut before = std::mem::take(&mut self.all);
        self.all = jobs
            .into_iter()
            .map(
                |(job, place)| match before.iter().position(|making| making.job == job) {
                    Some(same) => before.swap_remove(same),
                    None => Making::new(job, place),
                },
            )
            .collect();
        let goes_on = |id: TrackId| tracks.iter().any(|track| track.id == id);
        let ended = filtered.iter().map(|track| track.id).filter(|id| !goes_on(*id));
        self.ended = ended.collect();
    }

    /// Starts what is wanted, stops what is not any more, and lets what is ready into the stream.
    #[inline]
    pub(crate) fn bring(&mut self, now: Instant, output: &mut Output) {
        for making in &mut self.all {
            if making.job.always || output.demand.has(making.job.made) {
                making.start(now, &*self.codecs, &self.path);
            } else {
                making.rest(now);
            }
            making.drain(&self.path, output);
        }
    }

    /// A frame that came through the filters.
    #[inline]
    pub(crate) fn frame(&mut self, frame: Frame, output: &mut Output) {
        for making in &mut self.all {
            if making.job.source.id == frame.track {
                making.push(&frame);
            }
        }
        if !self.ended.contains(&frame.track) {
            output.frames.push(frame);
        }
    }

    /// The stream ends: what is ready joins it.
    pub(crate) fn close(&mut self, output: &mut Output) {
        for mut making in self.all.drain(..) {
            if let Some(running) = &mut making.running {
                running.converter.finish();
            }
            making.drain(&self.path, output);
        }
    }
}

/// One track that is made of another.
struct Making {
    job: Job,
    place: Arc<Place>,
    running: Option<Running>,
    /// Frames are missing in front of the next one that comes out.
    gap: bool,
}

struct Running {
    converter: Box<dyn Converter>,
    /// When the track was last wanted.
    wanted: Instant,
    /// Time and wall clock of a frame of the source, in its ticks.
    clock: Option<(i64, WallClock)>,
    /// Frames of the source were refused since the last that was not.
    refused: bool,
    /// What was counted already.
    counted: Report,
    _shown: Shown,
}

impl Making {
    fn new(job: Job, place: Arc<Place>) -> Making {
        Making {
            job,
            place,
            running: None,
            gap: false,
        }
    }

    #[inline]
    fn start(&mut self, now: Instant, codecs: &dyn Codecs, path: &str) {
        match &mut self.running {
            Some(running) => running.wanted = now,
            None => self.running = Some(self.run(now, codecs, path)),
        }
    }

    #[cold]
    fn run(&self, now: Instant, codecs: &dyn Codecs, path: &str) -> Running {
        let (track, codec) = (self.job.made.0, self.job.form.codec.name());
        tracing::info!(path, track, source = self.job.source.id.0, codec, "re-encoding begins");
        tally(&self.place.counts.conversions, 1);
        Running {
            converter: codecs.open(path, &self.job.source, &self.job.form),
            wanted: now,
            clock: None,
            refused: false,
            counted: Report::default(),
            _shown: Shown::new(&self.place, track),
        }
    }

    /// Nobody wants the track now.
    #[inline]
    fn rest(&mut self, now: Instant) {
        let running = self.running.as_ref();
        if running.is_some_and(|running| now.saturating_duration_since(running.wanted) >= LINGER) {
            // What is still inside would come after a pause that it does not know of.
            self.running = None;
            self.gap = true;
        }
    }

    fn push(&mut self, frame: &Frame) {
        let Some(running) = &mut self.running else { return };
        if let Some(wall) = frame.wall {
            running.clock = Some((frame.dts, wall));
        }
        let mut frame = frame.clone();
        if running.refused {
            frame.flags = frame.flags.with(Flags::DISCONTINUITY);
        }
        running.refused = !running.converter.push(&frame);
    }

    fn drain(&mut self, path: &str, output: &mut Output) {
        let Some(running) = &mut self.running else { return };
        for _ in 0..AT_ONCE {
            let Some(mut frame) = running.converter.pull() else {
                break;
            };
            frame.track = self.job.made;
            frame.wall = running.clock.and_then(|clock| self.job.wall(clock, frame.dts));
            if std::mem::take(&mut self.gap) {
                frame.flags = frame.flags.with(Flags::DISCONTINUITY);
            }
            tally(&self.place.counts.converted, 1);
            output.frames.push(frame);
        }
        let report = running.converter.report();
        if report != running.counted {
            let lost = report.lost.saturating_sub(running.counted.lost);
            let restarts = report.restarts.saturating_sub(running.counted.restarts);
            tally(&self.place.counts.unconverted, lost);
            tally(&self.place.counts.codec_restarts, restarts);
            if running.counted == Report::default() {
                let track = self.job.made.0;
                tracing::warn!(
                    path,
                    track,
                    lost,
                    restarts,
                    "a codec fails: the track that it makes has gaps"
                );
            }
            running.counted = report;
        }
    }
}

impl Job {
    /// The wall clock of a frame that is made, by that of a frame of the source.
    fn wall(&self, (dts, wall): (i64, WallClock), made: i64) -> Option<WallClock> {
        let micros = |ticks: i64, rate: u32| i128::from(ticks) * 1_000_000 / i128::from(rate.max(1));
        let since = micros(made, self.form.clock_rate) - micros(dts, self.source.clock_rate);
        u64::try_from(i128::from(wall.0) + since).ok().map(WallClock)
    }
}

/// While it lives, it is shown that a track is being made.
struct Shown {
    place: Arc<Place>,
    made: u32,
}

impl Shown {
    fn new(place: &Arc<Place>, made: u32) -> Shown {
        place.running.lock().push(made);
        Shown {
            place: place.clone(),
            made,
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        let mut running = self.place.running.lock();
        if let Some(place) = running.iter().position(|made| *made == self.made) {
            running.swap_remove(place);
        }
    }
}

//! A clip through a filter: the same stage that a path has, with the time of the clip.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{BufWriter, Write},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use clap::ArgMatches;
use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Stage, Stages};
use wasmtx_media::{
    Frame, Track, TrackId, Tracks,
    container::mp4::{Movie, Step},
};
use wasmtx_sandbox::{Registry, Sample, Usage};

use super::verdict::{Row, Said, Total, failures};
use crate::plugin_cli::{clip, shown};

/// Feeds the clip, prints what became of it, and answers whether the plugin failed.
pub(super) fn run(
    registry: &Registry,
    filters: &dyn Stages,
    path: &PathName,
    input: &Path,
    matches: &ArgMatches,
    output: &mut dyn Write,
) -> anyhow::Result<bool> {
    let movie = clip::read(input)?;
    for format in &movie.skipped {
        writeln!(output, "a track of the clip is left out: its format is {format:?}")?;
    }
    if movie.missing > 0 {
        writeln!(
            output,
            "the clip is cut off: {} frames are missing",
            shown::count(movie.missing as u64)
        )?;
    }
    let verdicts = matches.get_one::<PathBuf>("verdicts").map(|file| {
        let created = File::create(file).with_context(|| format!("{} cannot be written", file.display()));
        created.map(BufWriter::new)
    });
    let mut feed = Feed::open(registry, filters, path, &movie)?;
    feed.verdicts = verdicts.transpose()?;
    feed.verbose = matches.get_flag("verbose");
    feed.all(&movie, output)?;
    feed.report(output)?;
    if let Some(file) = matches.get_one::<PathBuf>("output") {
        for note in clip::write(file, &feed.tracks_out, &feed.steps)? {
            writeln!(output, "{note}")?;
        }
        writeln!(output, "written: {}", file.display())?;
    }
    if let Some(verdicts) = &mut feed.verdicts {
        verdicts.flush()?;
    }
    Ok(failures(&feed.usage()) > 0)
}

/// A publication that is fed from a clip.
struct Feed<'a> {
    registry: &'a Registry,
    stage: Box<dyn Stage>,
    opening: Opening,
    begun: Instant,
    now: Instant,
    /// Where the clip begins, in microseconds of decoding time.
    start: Option<i128>,
    numbers: BTreeMap<TrackId, u64>,
    totals: BTreeMap<TrackId, Total>,
    times: Vec<Duration>,
    /// The most that the instance took, as far as it was looked at.
    memory: u64,
    /// What goes on at the start.
    tracks_out: Tracks,
    /// What came out, in order.
    steps: Vec<Step>,
    closed: Option<String>,
    verdicts: Option<BufWriter<File>>,
    verbose: bool,
}

impl<'a> Feed<'a> {
    fn open(registry: &'a Registry, filters: &dyn Stages, path: &PathName, movie: &Movie) -> anyhow::Result<Feed<'a>> {
        let now = Instant::now();
        let opening = Opening {
            path: path.clone(),
            generation: 1,
            publisher: None,
            source: None,
            tracks: movie.tracks.clone(),
        };
        let mut stage = filters.stage(path).map_err(|refusal| anyhow!("{refusal}"))?;
        let tracks_out = stage.open(now, &opening).map_err(|refusal| anyhow!("{refusal}"))?;
        Ok(Feed {
            registry,
            stage,
            opening,
            begun: now,
            now,
            start: None,
            numbers: BTreeMap::new(),
            totals: BTreeMap::new(),
            times: Vec::new(),
            memory: 0,
            tracks_out,
            steps: Vec::new(),
            closed: None,
            verdicts: None,
            verbose: false,
        })
    }

    fn all(&mut self, movie: &Movie, output: &mut dyn Write) -> anyhow::Result<()> {
        for step in &movie.steps {
            match step {
                Step::Tracks(tracks) => {
                    self.opening.tracks = tracks.clone();
                    let opened = self.stage.open(self.now, &self.opening);
                    self.steps
                        .push(Step::Tracks(opened.map_err(|refusal| anyhow!("{refusal}"))?));
                }
                Step::Frame(frame) => self.feed(frame, output)?,
            }
            if self.closed.is_some() {
                break;
            }
        }
        let mut held = Output::default();
        self.stage.close(self.now, CloseReason::Ended, &mut held);
        self.take(held);
        Ok(())
    }

    fn feed(&mut self, frame: &Frame, output: &mut dyn Write) -> anyhow::Result<()> {
        let tracks = self.opening.tracks.clone();
        let Some(track) = clip::track(&tracks, frame.track) else {
            return Ok(());
        };
        let number = self.numbers.entry(frame.track).or_default();
        let frame = Frame {
            number: *number,
            ..frame.clone()
        };
        *number += 1;
        self.pass_time(&frame, track);
        let before = self.usage();
        let mut out = Output::default();
        let begun = Instant::now();
        let flow = self.stage.frame(self.now, frame.clone(), &mut out);
        let took = begun.elapsed();
        let after = self.usage();
        let is_it = |other: &&Frame| other.track == frame.track && other.number == frame.number;
        let changed = out
            .frames
            .iter()
            .rev()
            .find(is_it)
            .is_some_and(|out| out.payload != frame.payload);
        let row = Row {
            frame: &frame,
            track,
            said: Said::of(&before, &after, changed),
            emitted: after.emitted - before.emitted,
            took,
        };
        self.memory = self.memory.max(after.memory_bytes);
        if after.calls > before.calls {
            self.times.push(took);
        }
        self.totals.entry(frame.track).or_default().add(&row);
        if let Some(verdicts) = &mut self.verdicts {
            writeln!(verdicts, "{}", row.json())?;
        }
        if self.verbose {
            writeln!(output, "{}", row.line())?;
        }
        if let Flow::Close(reason) = flow {
            writeln!(
                output,
                "the stream is closed at {:.3} s: {reason}",
                clip::seconds(frame.pts, track)
            )?;
            self.closed = Some(reason);
        }
        self.take(out);
        Ok(())
    }

    /// Lets the clock of the plugin's ticks and pauses stand where the clip is.
    fn pass_time(&mut self, frame: &Frame, track: &Track) {
        let micros = i128::from(frame.dts) * 1_000_000 / i128::from(track.clock_rate);
        let elapsed = micros - *self.start.get_or_insert(micros);
        let elapsed = Duration::from_micros(u64::try_from(elapsed).unwrap_or_default());
        // A clip whose clock jumps to the end of time stands still there.
        self.now = self.begun.checked_add(elapsed).unwrap_or(self.now).max(self.now);
    }

    fn take(&mut self, out: Output) {
        self.steps.extend(out.tracks.map(Step::Tracks));
        for frame in out.frames {
            self.totals.entry(frame.track).or_default().add_out(&frame);
            self.steps.push(Step::Frame(frame));
        }
    }

    /// What was counted for the plugin on the path.
    fn usage(&self) -> Usage {
        let path = self.opening.path.as_str();
        let statuses = self.registry.status().into_iter();
        let mut uses = statuses.flat_map(|status| status.uses);
        uses.find(|usage| usage.path == path).unwrap_or_default()
    }

    fn report(&mut self, output: &mut dyn Write) -> anyhow::Result<()> {
        for track in self.opening.tracks.iter() {
            let total = self.totals.entry(track.id).or_default();
            let gone = if clip::track(&self.tracks_out, track.id).is_none() {
                " (the track is taken out)"
            } else {
                ""
            };
            writeln!(output, "{}{gone}", total.line(track))?;
        }
        let usage = self.usage();
        self.times.sort_unstable();
        if let (Some(median), Some(last)) = (self.times.get(self.times.len() / 2), self.times.last()) {
            let p99 = self.times.get(self.times.len() * 99 / 100).unwrap_or(last);
            writeln!(
                output,
                "{} calls: median {}, 99 % within {}, longest {}; memory {}",
                shown::count(usage.calls),
                shown::time(*median),
                shown::time(*p99),
                shown::time(*last),
                shown::bytes(self.memory),
            )?;
        }
        if failures(&usage) > 0 {
            writeln!(
                output,
                "it failed: {} traps, {} missed deadlines, {} times out of memory, {} other failures; {} restarts",
                usage.traps, usage.deadlines, usage.memory, usage.other, usage.restarts
            )?;
        }
        for (name, sample) in &usage.series {
            match sample {
                Sample::Counter(value) => writeln!(output, "{name} {value}")?,
                Sample::Gauge(value) => writeln!(output, "{name} {value}")?,
                Sample::Summary { count, sum } => writeln!(output, "{name} {count} values, sum {sum}")?,
            }
        }
        Ok(())
    }
}

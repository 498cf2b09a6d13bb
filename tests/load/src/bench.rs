//! `make bench`: every figure of the server beside its reference, measured in the same run.
//!
//! Server and reference take turns within each figure, so that what else the machine does hits both. A figure is never a
//! test: it is printed with the value that must hold and the one that is aimed at, and read by people.

mod audience;
mod recording;

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context, Result};

use crate::{
    child::{Running, Scratch},
    clip::{Clip, Shape},
    pace::Pace,
    process::Process,
    relay::Unit,
    report::{Report, bytes, columns, milliseconds},
    run,
    session::{Protocol, Target},
    verify::Depth,
};

/// 4 Mb/s in 8 RTP packets a frame.
const SHAPE: Shape = Shape {
    bitrate: 4_000_000,
    fps: 50.0,
    gop: 100,
};
/// How often server and reference take turns.
const TURNS: u32 = 2;
/// How often the server is started to see how long that takes; the middle one counts.
const STARTS: usize = 7;
/// Where RTSP is served.
const RTSP: [&str; 1] = ["rtspAddress"];
/// Readers where merged writes are measured.
const MERGE_READERS: u32 = 100;
const MERGE_WINDOW: &str = "40ms";

/// What is measured, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The server's program.
    pub(crate) server: PathBuf,
    /// How long each figure is measured.
    pub(crate) window: Duration,
    /// Fan-outs, the largest last.
    pub(crate) readers: Vec<u32>,
    /// Rows of other benches.
    pub(crate) rows: Option<PathBuf>,
}

/// Figure, measured, reference, what must hold, what is aimed at.
type Row = [String; 5];

/// Measures everything and prints the table.
pub(crate) fn bench(options: &Options) -> Result<()> {
    let scratch = Scratch::new()?;
    let mut bench = Bench {
        options,
        plain: scratch.write("plain.yml", &config(&scratch, ""))?,
        merging: scratch.write(
            "merging.yml",
            &config(&scratch, &format!("    writeMergeWindow: {MERGE_WINDOW}\n")),
        )?,
        plugins: scratch.write("plugins.yml", &(config(&scratch, "") + PLUGINS))?,
        clip: Arc::new(Clip::synthetic(SHAPE)?),
        rows: vec![["figure", "measured", "reference", "hold", "aim"].map(str::to_owned)],
    };
    if let Some(file) = &options.rows {
        let text = fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
        bench.rows.extend(text.lines().filter_map(parse_row));
    }
    bench.start()?;
    let busiest = bench.fan_out()?;
    bench.merge()?;
    bench.latency(busiest)?;
    audience::measure(&mut bench, &scratch)?;
    recording::measure(&mut bench, &scratch)?;
    let rows: Vec<Vec<String>> = bench.rows.into_iter().map(Vec::from).collect();
    print!("\n{}", columns(&rows));
    Ok(())
}

/// Two plugins, as a fresh installation may have them, on a path that nobody uses.
const PLUGINS: &str = "  guarded:
    plugins:
      - use: token-auth
        config: { secrets: [a secret for nobody to guess] }
      - keyframes-only
";

fn config(scratch: &Scratch, path: &str) -> String {
    let state = scratch.path().join("state");
    // Everything else is off: what is measured is RTSP.
    let others = ["rtmp", "hls", "webrtc", "srt"]
        .map(|key| format!("{key}: no\n"))
        .concat();
    format!(
        "rtspAddress: 127.0.0.1:0\nrtspTransports: [tcp]\n{others}stateDirectory: {}\npaths:\n  load:\n{path}",
        state.display()
    )
}

/// A row `| figure | measured | reference | hold | aim |` of another bench.
fn parse_row(line: &str) -> Option<Row> {
    let cells: Vec<String> = line
        .strip_prefix('|')?
        .strip_suffix('|')?
        .split('|')
        .map(|c| c.trim().to_owned())
        .collect();
    cells.try_into().ok()
}

/// What a figure is measured against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Server,
    Merging,
    Relay(Unit),
}

struct Bench<'a> {
    options: &'a Options,
    plain: PathBuf,
    merging: PathBuf,
    plugins: PathBuf,
    clip: Arc<Clip>,
    rows: Vec<Row>,
}

impl Bench<'_> {
    fn row(&mut self, figure: impl Into<String>, measured: String, reference: String, hold: &str, aim: &str) {
        let row = [figure.into(), measured, reference, hold.to_owned(), aim.to_owned()];
        eprintln!("{}", row[..3].join(": "));
        self.rows.push(row);
    }

    /// How long a start takes, first with nothing compiled, then as it always is.
    fn start(&mut self) -> Result<()> {
        let cold = Running::server(&self.options.server, &self.plugins, &RTSP)?.start;
        let mut with = Vec::new();
        let mut without = Vec::new();
        let mut idle = 0;
        for _ in 0..STARTS {
            with.push(Running::server(&self.options.server, &self.plugins, &RTSP)?.start);
            let server = Running::server(&self.options.server, &self.plain, &RTSP)?;
            without.push(server.start);
            idle = Process::new(server.pid()).memory()?.rss;
        }
        let median = |starts: &mut Vec<Duration>| {
            starts.sort();
            milliseconds(starts.get(STARTS / 2).copied())
        };
        let (with, without) = (median(&mut with), median(&mut without));
        let reference = format!("{without} (without plugins)");
        self.row("start to listening, two plugins", with, reference, "100 ms", "25 ms");
        self.row(
            "the same, plugins not compiled yet",
            milliseconds(Some(cold)),
            "–".into(),
            "–",
            "–",
        );
        self.row("memory when idle", bytes(idle as f64), "–".into(), "–", "–");
        let size = fs::metadata(&self.options.server)?.len();
        self.row("size of the program", bytes(size as f64), "–".into(), "–", "–");
        Ok(())
    }

    /// Processor time per gigabyte at each fan-out. Answers the last report of the largest.
    fn fan_out(&mut self) -> Result<Option<Report>> {
        let mut busiest = None;
        for readers in self.options.readers.clone() {
            let [server, relay] = self.compare([Subject::Server, Subject::Relay(Unit::Frame)], readers)?;
            let figure = format!("RTSP/TCP to {readers} readers, CPU per GB");
            let ratio = server.cost() / relay.cost();
            let measured = format!("{}{}", seconds(server.cost()), server.flaws());
            let reference = format!(
                "{} (null relay), ratio {ratio:.2}{}",
                seconds(relay.cost()),
                relay.flaws()
            );
            self.row(figure, measured, reference, "ratio 1.5", "ratio 1.3");
            let [first, theirs] = [&server, &relay].map(|turns| turns.last().first_frame.quantile(0.99));
            let figure = format!("RTSP/TCP to {readers} readers, connect to first keyframe, p99");
            let reference = format!("{} (null relay, any frame)", milliseconds(theirs));
            self.row(figure, milliseconds(first), reference, "–", "–");
            busiest = Some(server);
        }
        let Some(busiest) = busiest else { return Ok(None) };
        let last = busiest.into_last();
        let memory = last.memory_per_reader().map_or("–".to_owned(), bytes);
        self.row(
            format!("memory per RTSP/TCP reader, of {}", last.readers),
            memory,
            "–".into(),
            "16 KiB",
            "8 KiB",
        );
        Ok(Some(last))
    }

    /// What merging writes saves.
    fn merge(&mut self) -> Result<()> {
        let [merging, plain] = self.compare([Subject::Merging, Subject::Server], MERGE_READERS)?;
        let figure = format!("writeMergeWindow: {MERGE_WINDOW}, {MERGE_READERS} readers, CPU per GB");
        let gain = 100.0 * (1.0 - merging.cost() / plain.cost());
        let measured = format!("{}{}", seconds(merging.cost()), merging.flaws());
        let reference = format!("{} (without), gain {gain:.0} %", seconds(plain.cost()));
        self.row(figure, measured, reference, "–", "–");
        Ok(())
    }

    /// From publisher to reader, with one reader and with so many that half of the machine is busy.
    fn latency(&mut self, busiest: Option<Report>) -> Result<()> {
        let half = busiest.map_or(1, |report| half_load(&report));
        for (load, readers, holds) in [("one reader", 1, ["–", "–"]), ("half load", half, ["1 ms", "5 ms"])] {
            let subjects = [
                Subject::Server,
                Subject::Relay(Unit::Packet),
                Subject::Relay(Unit::Frame),
            ];
            let [server, packets, frames] = self.compare(subjects, readers)?;
            for ((name, share), hold) in [("p50", 0.5), ("p99", 0.99)].into_iter().zip(holds) {
                let [server, packets, frames] =
                    [&server, &packets, &frames].map(|turns| turns.last().latency.quantile(share));
                let figure = format!("publisher to reader, {load} ({readers}), {name}");
                let reference = format!(
                    "{} (packet relay), {} (null relay)",
                    milliseconds(packets),
                    milliseconds(frames)
                );
                self.row(figure, milliseconds(server), reference, hold, "–");
            }
        }
        Ok(())
    }

    /// Lets subjects take turns.
    fn compare<const N: usize>(&self, subjects: [Subject; N], readers: u32) -> Result<[Turns; N]> {
        let mut all: [Turns; N] = std::array::from_fn(|_| Turns(Vec::new()));
        for _ in 0..TURNS {
            for (subject, turns) in subjects.iter().zip(&mut all) {
                turns.0.push(self.measure(*subject, readers)?);
            }
        }
        Ok(all)
    }

    fn measure(&self, subject: Subject, readers: u32) -> Result<Report> {
        let (running, protocol) = match subject {
            Subject::Server => (
                Running::server(&self.options.server, &self.plain, &RTSP)?,
                Protocol::RtspTcp,
            ),
            Subject::Merging => (
                Running::server(&self.options.server, &self.merging, &RTSP)?,
                Protocol::RtspTcp,
            ),
            Subject::Relay(unit) => (Running::relay(unit)?, Protocol::Bare),
        };
        let target = Target {
            address: running.addresses[0],
            protocol,
            query: String::new(),
            login: None,
        };
        let options = self.run(target, running.pid(), readers);
        run::run(options, self.clip.clone()).with_context(|| format!("{subject:?} with {readers} readers"))
    }

    /// One turn with a program.
    fn run(&self, target: Target, pid: u32, readers: u32) -> run::Options {
        run::Options {
            source: Some(target.clone()),
            target,
            pace: Pace::Steady,
            path: "load".to_owned(),
            paths: 1,
            readers,
            threads: 1,
            window: self.options.window / TURNS,
            settle: run::SETTLE_TIME,
            pid: Some(pid),
            depth: Depth::Headers,
        }
    }
}

/// The reports of one subject.
struct Turns(Vec<Report>);

impl Turns {
    /// Seconds of processor time per gigabyte, over all turns.
    fn cost(&self) -> f64 {
        let cpu: f64 = self
            .0
            .iter()
            .filter_map(|report| report.server)
            .map(|server| server.cpu.as_secs_f64())
            .sum();
        let bytes: u64 = self.0.iter().map(|report| report.bytes).sum();
        cpu / (bytes as f64 / 1e9)
    }

    /// What went wrong, if anything did: a figure with losses is not the figure it seems to be.
    fn flaws(&self) -> String {
        let missing: u32 = self.0.iter().map(|report| report.readers - report.joined).sum();
        let lost: u64 = self.0.iter().map(|report| report.summary.frames.lost).sum();
        match (missing, lost) {
            (0, 0) if self.0.iter().all(Report::is_clean) => String::new(),
            _ => format!(" ({missing} readers missing, {lost} frames lost)"),
        }
    }

    fn last(&self) -> &Report {
        &self.0[self.0.len() - 1]
    }

    fn into_last(mut self) -> Report {
        self.0.remove(self.0.len() - 1)
    }
}

/// Readers with whom server and readers together take half of the machine, by what they took with many.
fn half_load(report: &Report) -> u32 {
    let cores = std::thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
    let taken = report.share(report.own_cpu) + report.server.map_or(0.0, |server| report.share(server.cpu));
    let readers = f64::from(report.readers) * (cores / 2.0) / taken.max(0.01);
    (readers as u32).clamp(1, report.readers.max(1))
}

fn seconds(seconds: f64) -> String {
    format!("{seconds:.3} s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_other_benches_are_taken_as_they_are() {
        let row = parse_row("| a guest call | 150 ns | 3 ns (branch) | 250 ns | – |").unwrap();
        assert_eq!(row, ["a guest call", "150 ns", "3 ns (branch)", "250 ns", "–"]);
        for line in ["", "Running benches/guest.rs", "| too | few |", "|||||||"] {
            assert_eq!(parse_row(line), None, "{line:?}");
        }
    }

    #[test]
    fn configurations_name_the_path_and_what_is_special_about_it() {
        let scratch = Scratch::new().unwrap();
        let config = config(&scratch, "    writeMergeWindow: 40ms\n") + PLUGINS;
        assert!(
            config.contains("paths:\n  load:\n    writeMergeWindow: 40ms\n  guarded:\n    plugins:\n"),
            "{config}"
        );
    }
}

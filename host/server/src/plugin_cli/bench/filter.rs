//! What a filter costs: per frame, per instance, per stream.

use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

use anyhow::anyhow;
use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Refusal, Stage, Stages};
use wasmtx_media::{Frame, Tracks};
use wasmtx_sandbox::{Limits, Registry};

use super::{
    figures::{Report, Times},
    stream::Stream,
};

/// Frames up to this size are told apart from large ones: what a filter does with the bytes shows in these.
const SMALL: usize = 4 << 10;
const LARGE: usize = 16 << 10;
/// Instances that are started one after the other.
const STARTS: usize = 100;
/// Instances that live at once, to see what one of them takes.
const ALIVE: usize = 64;

/// A filter that is not a guest.
struct Native;

impl Stage for Native {
    fn open(&mut self, _: Instant, opening: &Opening) -> Result<Tracks, Refusal> {
        Ok(opening.tracks.clone())
    }

    fn frame(&mut self, _: Instant, frame: Frame, output: &mut Output) -> Flow {
        output.frames.push(frame);
        Flow::Continue
    }

    fn close(&mut self, _: Instant, _: CloseReason, _: &mut Output) {}
}

/// Measures everything about a filter.
pub(super) fn measure(
    registry: &Registry,
    filters: &dyn Stages,
    limits: &Limits,
    stream: &Stream,
    time: Duration,
    paths: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let opening = opening(stream)?;
    let shown = shown(registry, filters, &opening, stream)?;
    let calls = calls(filters, &opening, stream, &shown, time)?;
    report.times("native filter that does nothing, per frame", &calls.native);
    report.times("frames that the plugin sees", &calls.seen);
    if calls.small.len() > 0 && calls.large.len() > 0 {
        report.times("  up to 4 KiB", &calls.small);
        report.times("  over 16 KiB", &calls.large);
    }
    report.times("frames that go round it", &calls.unseen);
    if calls.large.len() > 0 {
        let large = stream.frames.iter().filter(|frame| frame.payload.len() > LARGE);
        report.times("copying a frame over 16 KiB, for comparison", &copies(large));
    }
    report.times("start of an instance, until it is open", &starts(filters, &opening)?);
    memory(registry, filters, &opening, stream, report)?;

    let count = |seen: bool| shown.iter().filter(|shown| **shown == seen).count() as f64;
    let each = |times: &Times| times.within(50).as_secs_f64();
    let per_round = count(true) * each(&calls.seen) + count(false) * each(&calls.unseen);
    let share = per_round / stream.lasts.as_secs_f64() * f64::from(paths);
    let rate = stream.frames.len() as f64 / stream.lasts.as_secs_f64();
    report.share(
        "coreShare",
        &format!("share of a core: {paths} paths of {rate:.0} frames per second"),
        share,
    );
    let p99 = calls.seen.within(99).as_secs_f64();
    report.share(
        "budgetShare",
        &format!(
            "share of callTimeout ({}) that the p99 takes",
            crate::plugin_cli::shown::time(limits.frame)
        ),
        p99 / limits.frame.as_secs_f64(),
    );
    Ok(())
}

fn opening(stream: &Stream) -> anyhow::Result<Opening> {
    Ok(Opening {
        path: PathName::new("bench")?,
        generation: 1,
        publisher: None,
        source: None,
        tracks: stream.tracks.clone(),
    })
}

fn open(filters: &dyn Stages, opening: &Opening) -> anyhow::Result<Box<dyn Stage>> {
    let mut stage = filters.stage(&opening.path).map_err(|refusal| anyhow!("{refusal}"))?;
    stage
        .open(Instant::now(), opening)
        .map_err(|refusal| anyhow!("{refusal}"))?;
    Ok(stage)
}

/// Which frames of a round the plugin is called for.
fn shown(registry: &Registry, filters: &dyn Stages, opening: &Opening, stream: &Stream) -> anyhow::Result<Vec<bool>> {
    let calls = || {
        let uses = registry.status().into_iter().flat_map(|status| status.uses);
        uses.map(|usage| usage.calls).sum::<u64>()
    };
    let mut stage = open(filters, opening)?;
    let now = Instant::now();
    let mut shown = Vec::with_capacity(stream.frames.len());
    for frame in &stream.frames {
        let before = calls();
        if let Flow::Close(reason) = stage.frame(now, frame.clone(), &mut Output::default()) {
            return Err(anyhow!("it closes the stream, and nothing can be measured: {reason}"));
        }
        shown.push(calls() > before);
    }
    Ok(shown)
}

#[derive(Default)]
struct Calls {
    native: Times,
    seen: Times,
    small: Times,
    large: Times,
    unseen: Times,
}

/// Times every frame alone, native and guest in turn, so that both meet the same machine.
fn calls(
    filters: &dyn Stages,
    opening: &Opening,
    stream: &Stream,
    shown: &[bool],
    time: Duration,
) -> anyhow::Result<Calls> {
    let mut calls = Calls::default();
    let mut stage = open(filters, opening)?;
    let mut native: Box<dyn Stage> = Box::new(Native);
    let begun = Instant::now();
    let mut output = Output::default();
    let mut once = |stage: &mut Box<dyn Stage>, now: Instant, frame: Frame| {
        let before = Instant::now();
        let flow = black_box(stage).frame(now, black_box(frame), &mut output);
        let took = before.elapsed();
        output.frames.clear();
        output.tracks = None;
        (took, flow)
    };
    for round in 0.. {
        // The clock of the stream, for ticks.
        let now = begun + stream.lasts.saturating_mul(round);
        for (index, shown) in shown.iter().enumerate() {
            let Some(frame) = stream.frame(index, round) else {
                continue;
            };
            let size = frame.payload.len();
            let (took, _) = once(&mut native, now, frame.clone());
            calls.native.push(took);
            let (took, flow) = once(&mut stage, now, frame);
            if let Flow::Close(reason) = flow {
                return Err(anyhow!("it closes the stream after {round} rounds: {reason}"));
            }
            if !shown {
                calls.unseen.push(took);
                continue;
            }
            calls.seen.push(took);
            if size <= SMALL {
                calls.small.push(took);
            } else if size > LARGE {
                calls.large.push(took);
            }
        }
        if begun.elapsed() >= time {
            break;
        }
    }
    Ok(calls)
}

/// What it takes to copy payloads: the least that a filter pays who reads or replaces them whole.
fn copies<'a>(frames: impl Iterator<Item = &'a Frame> + Clone) -> Times {
    let mut times = Times::default();
    for frame in frames.cycle().take(1_000) {
        let before = Instant::now();
        drop(black_box(frame.payload.to_vec()));
        times.push(before.elapsed());
    }
    times
}

fn starts(filters: &dyn Stages, opening: &Opening) -> anyhow::Result<Times> {
    let mut times = Times::default();
    for _ in 0..STARTS {
        let before = Instant::now();
        let stage = open(filters, opening)?;
        times.push(before.elapsed());
        drop(stage);
    }
    Ok(times)
}

/// Memory of the guest as it sees it, how much that grows over a round, and what an instance takes of the machine.
fn memory(
    registry: &Registry,
    filters: &dyn Stages,
    opening: &Opening,
    stream: &Stream,
    report: &mut Report,
) -> anyhow::Result<()> {
    let guest = || {
        let uses = registry.status().into_iter().flat_map(|status| status.uses);
        uses.map(|usage| usage.memory_bytes)
            .max()
            .unwrap_or_default()
            .cast_signed()
    };
    let mut stage = open(filters, opening)?;
    let now = Instant::now();
    let (mut first, mut output) = (0, Output::default());
    for round in 0..ROUNDS {
        for index in 0..stream.frames.len() {
            if let Some(frame) = stream.frame(index, round) {
                stage.frame(now, frame, &mut output);
                output.frames.clear();
            }
            if first == 0 {
                first = guest();
            }
        }
    }
    let last = guest();
    drop(stage);
    report.bytes("memory", "memory of an instance, as the guest sees it", last);
    report.bytes("growth", "  grown while it ran", last - first);
    let before = resident();
    let mut alive = Vec::with_capacity(ALIVE);
    for _ in 0..ALIVE {
        let mut stage = open(filters, opening)?;
        for index in 0..stream.frames.len().min(ALIVE) {
            if let Some(frame) = stream.frame(index, 0) {
                stage.frame(now, frame, &mut output);
                output.frames.clear();
            }
        }
        alive.push(stage);
    }
    if let (Some(before), Some(after)) = (before, resident()) {
        let each = after.saturating_sub(before) / ALIVE as u64;
        report.bytes("resident", "memory of the machine per instance", each.cast_signed());
    }
    Ok(())
}

/// Rounds after which the memory is looked at again.
const ROUNDS: u32 = 20;

/// Bytes of memory that this process has.
fn resident() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes << 10)
}

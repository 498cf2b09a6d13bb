//! Many paths, each with an instance of its own: cold caches, the share of a core, and memory.

use std::{
    fs,
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use wasmtx_hub::{Flow, Output, Stage};

use super::{Native, Row, SMALL, frame, plugin, registry, stage};

/// Paths in turn, for cold caches.
const TURN: usize = 900;
/// Paths of a large site, the frames per second of each, and how long it is measured.
const PATHS: usize = 1_000;
const RATE: u32 = 77;
const SPAN: Duration = Duration::from_secs(3);

pub(super) fn paths(rows: &mut Vec<Row>) {
    println!("\nmany paths");
    let pass = registry(vec![plugin("pass", json!({}))]);
    let before = resident();
    let mut guests: Vec<_> = (0..PATHS).map(|_| stage(&pass, "pass", 1)).collect();
    in_turn(&mut guests[..PATHS]);
    let each = (resident().saturating_sub(before)) as f64 / PATHS as f64 / 1024.0;
    println!("  resident memory of an idle instance, of {PATHS}: {each:.1} KiB");
    rows.push(Row::new(
        &format!("memory of an idle instance, of {PATHS}"),
        format!("{each:.1} KiB"),
        "0 (a native filter)".into(),
        "32 KiB",
        "20 KiB",
    ));
    let mut natives: Vec<Box<dyn Stage>> = (0..PATHS).map(|_| Box::new(Native) as Box<dyn Stage>).collect();
    let (cold, native) = (best_turn(&mut guests[..TURN]), best_turn(&mut natives[..TURN]));
    println!("  one frame, {TURN} paths in turn: {cold:.0} ns, native {native:.0} ns");
    rows.push(Row::new(
        &format!("pass verdict, {TURN} paths in turn"),
        format!("{cold:.0} ns"),
        format!("{native:.0} ns (native filters)"),
        "700 ns",
        "350 ns",
    ));
    let cold = share(&mut guests);
    let native = share(&mut natives);
    let warm = warm_share(&mut guests[0]);
    println!(
        "  {PATHS} paths of {RATE} frames per second: {cold:.1} % of a core, native {native:.1} %; as many frames on one path: {warm:.1} %"
    );
    rows.push(Row::new(
        &format!("{PATHS} paths x {RATE} frames/s, share of a core"),
        format!("{cold:.1} % cold, {warm:.1} % warm"),
        format!("{native:.1} % (native filters)"),
        "8 %",
        "–",
    ));
}

/// One frame through each, one after the other.
fn in_turn(stages: &mut [Box<dyn Stage>]) {
    let (frame, mut output, now) = (frame(SMALL), Output::default(), Instant::now());
    for stage in stages {
        let flow = stage.frame(now, frame.clone(), &mut output);
        assert!(flow == Flow::Continue);
        output.frames.clear();
    }
}

/// The best of many rounds, in nanoseconds a frame.
fn best_turn(stages: &mut [Box<dyn Stage>]) -> f64 {
    let round = |stages: &mut [Box<dyn Stage>]| {
        let begun = Instant::now();
        in_turn(stages);
        begun.elapsed().as_nanos() as f64 / stages.len() as f64
    };
    (0..200).map(|_| round(stages)).fold(f64::MAX, f64::min)
}

/// Processor time of this thread, as a share of a core, while each path gets a frame at its time.
fn share(stages: &mut [Box<dyn Stage>]) -> f64 {
    let (frame, mut output) = (frame(SMALL), Output::default());
    let interval = Duration::from_secs(1) / RATE / u32::try_from(stages.len()).expect("few paths");
    // Frames of a burst of paths that share a millisecond come together, as from a network.
    let burst = usize::try_from(Duration::from_millis(1).as_nanos() / interval.as_nanos())
        .expect("few")
        .max(1);
    let (begun, used) = (Instant::now(), processor_time());
    let mut sent = 0u32;
    while begun.elapsed() < SPAN {
        let now = Instant::now();
        for _ in 0..burst {
            let stage = &mut stages[sent as usize % PATHS];
            let flow = stage.frame(now, frame.clone(), &mut output);
            assert!(flow == Flow::Continue);
            output.frames.clear();
            sent += 1;
        }
        std::thread::sleep((begun + interval * sent).saturating_duration_since(Instant::now()));
    }
    (processor_time() - used).as_secs_f64() / begun.elapsed().as_secs_f64() * 100.0
}

/// The same number of frames through one path, without a pause.
fn warm_share(stage: &mut Box<dyn Stage>) -> f64 {
    let frames = PATHS * RATE as usize;
    let (frame, mut output, now) = (frame(SMALL), Output::default(), Instant::now());
    let used = processor_time();
    for _ in 0..frames {
        let flow = stage.frame(now, frame.clone(), &mut output);
        assert!(flow == Flow::Continue);
        output.frames.clear();
    }
    (processor_time() - used).as_secs_f64() * 100.0
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

/// Bytes of memory that this process has in use.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kilobytes.unwrap_or(0) * 1024
}

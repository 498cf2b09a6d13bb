//! What a guest costs, each figure beside its reference in the same run. `cargo bench -p wasmtx-sandbox`.
//!
//! Times of calls are the smallest and the median of many short samples, less what the loop itself takes; times of
//! things that happen once are percentiles over many times. Nothing here is a test: read the figures, do not assert them.

use std::{
    hint::black_box,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Refusal, Stage};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks};
use wasmtx_sandbox::{PluginSpec, Registry, Services, Source, Use};

const SAMPLES: usize = 41;
const SAMPLE: Duration = Duration::from_millis(3);
/// The payload of an ordinary packet-sized frame, and of a keyframe.
const SMALL: usize = 1_200;
const LARGE: usize = 50_000;
/// How often things that happen once are measured.
const TIMES: usize = 200;

fn main() {
    start();
    calls();
    sparse();
    cut_off();
    after_a_trap();
    swap();
}

fn guest(name: &str) -> PathBuf {
    let file = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../target/plugins")
        .join(name)
        .with_extension("wasm");
    assert!(file.is_file(), "the guest {name} is not built: run `make plugins`");
    file
}

fn plugin(name: &str, config: Json) -> PluginSpec {
    let mut spec = PluginSpec::new(name, Source::File(guest(name)));
    spec.limits.share = u32::MAX;
    PluginSpec { config, ..spec }
}

fn state() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
}

fn registry(specs: Vec<PluginSpec>) -> Registry {
    Registry::new(Some(state()), Services::default(), specs).expect("the guests load")
}

fn stage(registry: &Registry, name: &str, times: usize) -> Box<dyn Stage> {
    let uses = vec![
        Use {
            plugin: name.to_owned(),
            ..Use::default()
        };
        times
    ];
    let chains = registry.chains(&uses).expect("the guest is configured");
    let path = PathName::new("bench").expect("a name");
    let mut stage = chains
        .filters
        .expect("the guest is a filter")
        .stage(&path)
        .expect("a stage");
    stage.open(Instant::now(), &opening()).expect("the stream opens");
    stage
}

fn opening() -> Opening {
    let track = Track {
        id: TrackId(1),
        kind: Kind::Video,
        codec: Codec::Vp8,
        clock_rate: 90_000,
        extra: Vec::new(),
    };
    let path = PathName::new("bench").expect("a name");
    Opening {
        path,
        generation: 1,
        publisher: None,
        source: None,
        tracks: Tracks::from([track]),
    }
}

fn frame(len: usize) -> Frame {
    Frame {
        track: TrackId(1),
        number: 0,
        pts: 0,
        dts: 0,
        duration: 0,
        wall: None,
        flags: Flags::KEY,
        payload: vec![7; len].into(),
    }
}

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

fn calls() {
    println!(
        "\none frame, ns                                    best  median   (less the loop: clone a frame, drop it)"
    );
    let floor = time(|frame, output, _| output.frames.push(frame.clone()), SMALL);
    row("the loop itself, 0 plugins", floor, (0.0, 0.0));
    let through = |mut stage: Box<dyn Stage>, size| {
        time(
            move |frame, output, now| {
                let flow = stage.frame(now, frame.clone(), output);
                assert!(flow == Flow::Continue);
            },
            size,
        )
    };
    row(
        "native filter behind the same trait",
        through(Box::new(Native), SMALL),
        floor,
    );
    let pass = registry(vec![plugin("pass", json!({}))]);
    row("pass, 1 guest", through(stage(&pass, "pass", 1), SMALL), floor);
    row("pass, 4 guests", through(stage(&pass, "pass", 4), SMALL), floor);
    let sound = registry(vec![plugin("drop-audio", json!({}))]);
    row(
        "1 guest that did not ask for the frame",
        through(stage(&sound, "drop-audio", 1), SMALL),
        floor,
    );
    for size in [SMALL, LARGE] {
        let copy = time(|frame, _, _| drop(black_box(frame.payload.to_vec())), size);
        row(&format!("copy of {size} B"), copy, (0.0, 0.0));
        let read = registry(vec![plugin("hostile", json!({ "mode": "bad-read" }))]);
        row(
            &format!("read all of {size} B, and once past its end"),
            through(stage(&read, "hostile", 1), size),
            floor,
        );
        let mark = registry(vec![plugin("marker", json!({ "mark": 1 }))]);
        row(
            &format!("splice 9 B in front of {size} B"),
            through(stage(&mark, "marker", 1), size),
            floor,
        );
    }
}

/// Nanoseconds per frame: best and median.
fn time(mut each: impl FnMut(&Frame, &mut Output, Instant), size: usize) -> (f64, f64) {
    let frame = frame(size);
    let mut output = Output::default();
    let mut run = |times: u32| {
        let begun = Instant::now();
        for _ in 0..times {
            each(black_box(&frame), &mut output, begun);
            output.frames.clear();
        }
        begun.elapsed()
    };
    let mut times = 64;
    while run(times) < SAMPLE {
        times *= 2;
    }
    let mut samples: Vec<f64> = (0..SAMPLES)
        .map(|_| run(times).as_nanos() as f64 / f64::from(times))
        .collect();
    samples.sort_by(f64::total_cmp);
    (samples[0], samples[SAMPLES / 2])
}

fn row(what: &str, time: (f64, f64), floor: (f64, f64)) {
    println!("  {what:<44} {:>7.0} {:>7.0}", time.0 - floor.0, time.1 - floor.1);
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!("  {what:<44} {:>9.1} {:>9.1} {:>9.1}", at(50), at(99), at(100));
}

fn heading(what: &str) {
    println!("\n{what:<46} {:>9} {:>9} {:>9}", "p50", "p99", "max");
}

/// A live stream: the frame does not find everything in the caches, nor the clock that ends guests awake.
fn sparse() {
    heading("a frame every 13 ms, us");
    let registry = registry(vec![plugin("pass", json!({}))]);
    let timed = |mut stage: Box<dyn Stage>| {
        let (frame, mut output) = (frame(SMALL), Output::default());
        let once = |_| {
            std::thread::sleep(Duration::from_millis(13));
            let begun = Instant::now();
            let flow = stage.frame(begun, frame.clone(), &mut output);
            let time = begun.elapsed();
            assert!(flow == Flow::Continue);
            output.frames.clear();
            time
        };
        (0..TIMES).map(once).collect()
    };
    percentiles("native filter", timed(Box::new(Native)));
    percentiles("pass, 1 guest", timed(stage(&registry, "pass", 1)));
}

/// Each time a fresh instance that never returns from its first frame.
fn cut_off() {
    heading("a guest that spins, deadline 2 ms, us");
    let registry = registry(vec![plugin("hostile", json!({ "mode": "spin" }))]);
    percentiles("from the frame to its being passed on", first_frames(&registry));
}

/// Each time a fresh instance that panics in its first frame: the frame goes on, and the next instance is there.
fn after_a_trap() {
    heading("a guest that panics, us");
    let registry = registry(vec![plugin("hostile", json!({ "mode": "trap" }))]);
    percentiles("trap, new instance, frame passed on", first_frames(&registry));
}

fn first_frames(registry: &Registry) -> Vec<Duration> {
    let (frame, mut output) = (frame(SMALL), Output::default());
    let once = |_| {
        let mut stage = stage(registry, "hostile", 1);
        let begun = Instant::now();
        let flow = stage.frame(begun, frame.clone(), &mut output);
        let time = begun.elapsed();
        assert!(flow == Flow::Continue && output.frames.len() == 1);
        output.frames.clear();
        time
    };
    (0..TIMES).map(once).collect()
}

/// One version takes the place of another: what the frame that sees it waits for, and how long it takes to come.
fn swap() {
    heading("hot swap with 8 bytes of state, us");
    let marker = |mark: usize| plugin("marker", json!({ "mark": mark % 250 }));
    let registry = registry(vec![marker(0)]);
    let mut stage = stage(&registry, "marker", 1);
    let (frame, mut output) = (frame(SMALL), Output::default());
    let (mut pauses, mut usual, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    let mut sent = 0u64;
    for n in 1..=TIMES {
        registry.apply(vec![marker(n)]).expect("the marker takes any mark");
        let offered = Instant::now();
        loop {
            let begun = Instant::now();
            let flow = stage.frame(begun, frame.clone(), &mut output);
            let time = begun.elapsed();
            sent += 1;
            assert!(
                flow == Flow::Continue && output.frames.len() == 1,
                "no frame is lost or doubled"
            );
            let payload = output.frames.remove(0).payload;
            assert_eq!(payload[1..9], sent.to_be_bytes(), "the count goes over");
            if usize::from(payload[0]) == n % 250 {
                pauses.push(time);
                waits.push(offered.elapsed());
                break;
            }
            usual.push(time);
        }
    }
    percentiles("the frame at which it happens", pauses);
    percentiles("any other frame", usual);
    percentiles("from the new version to its first frame", waits);
}

fn start() {
    println!("start, ms");
    let bundled = || {
        ["keyframes-only", "token-auth"]
            .map(|name| PluginSpec::new(name, Source::Bundled(name.into())))
            .to_vec()
    };
    let timed = |what: &str, state: Option<&Path>| {
        let begun = Instant::now();
        drop(Registry::new(state, Services::default(), bundled()).expect("bundled plugins load"));
        println!("  {what:<44} {:>7.1}", begun.elapsed().as_secs_f64() * 1e3);
    };
    timed("engine and 2 plugins, compiled", None);
    registry(bundled());
    timed("engine and 2 plugins, from the cache", Some(state()));
}

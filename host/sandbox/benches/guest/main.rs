//! What plugins cost, each figure beside its reference in the same run. `cargo bench -p wasmtx-sandbox`, or with
//! `-- recorder` at the end only what a recording costs.
//!
//! Times of calls are the best and the median of many short samples, less what the loop itself takes; times of things
//! that happen once are percentiles over many times. At the end stand rows of the table that `make bench` prints: figure,
//! measured, reference, the value that has to hold, the one aimed at. Nothing here is a test: read the figures, do not
//! assert them.

mod calls;
mod life;
mod paths;
mod recorder;
mod sinks;

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use wasmtx_hub::{CloseReason, Flow, Opening, Output, PathName, Refusal, Stage};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks};
use wasmtx_sandbox::{PluginSpec, Registry, Services, Source, Use};

/// The payload of an ordinary packet-sized frame, and of a keyframe.
const SMALL: usize = 1_200;
const LARGE: usize = 50_000;
/// How often things that happen once are measured.
const TIMES: usize = 200;

fn main() {
    let mut rows = Vec::new();
    if std::env::args().any(|argument| argument == "recorder") {
        recorder::recorder(&mut rows);
        return rows.iter().for_each(|Row(row)| println!("{row}"));
    }
    life::start();
    calls::calls(&mut rows);
    calls::sparse();
    paths::paths(&mut rows);
    sinks::recorder(&mut rows);
    recorder::recorder(&mut rows);
    life::cut_off(&mut rows);
    life::after_a_trap(&mut rows);
    life::swap(&mut rows);
    life::saved_file(&mut rows);
    println!();
    rows.iter().for_each(|Row(row)| println!("{row}"));
}

/// A line of the table.
struct Row(String);

impl Row {
    fn new(figure: &str, measured: String, reference: String, hold: &str, aim: &str) -> Row {
        Row(format!("| {figure} | {measured} | {reference} | {hold} | {aim} |"))
    }
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

/// A registry with one plugin that does one small thing per frame.
fn costs(mode: &str) -> Registry {
    registry(vec![plugin("costs", json!({ "mode": mode }))])
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
    let path = PathName::new("bench").expect("a name");
    Opening {
        path,
        generation: 1,
        publisher: None,
        source: None,
        tracks: tracks(),
    }
}

fn tracks() -> Tracks {
    Tracks::from([Track {
        id: TrackId(1),
        kind: Kind::Video,
        codec: Codec::Vp8,
        clock_rate: 90_000,
        extra: Vec::new(),
        derived: None,
    }])
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

/// Prints and answers the median and the 99th percentile, in microseconds.
fn percentiles(what: &str, mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1e6;
    println!("  {what:<44} {:>9.1} {:>9.1} {:>9.1}", at(50), at(99), at(100));
    (at(50), at(99))
}

fn heading(what: &str) {
    println!("\n{what:<46} {:>9} {:>9} {:>9}", "p50", "p99", "max");
}

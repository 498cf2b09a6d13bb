//! What happens to a plugin once: start, swap, failure, a new file.

use std::{
    fs,
    path::Path,
    time::{Duration, Instant},
};

use serde_json::json;
use wasmtx_hub::{Flow, Output, Stage};
use wasmtx_sandbox::{PluginSpec, Registry, Services, Source};

use super::{Row, SMALL, TIMES, frame, guest, heading, percentiles, plugin, registry, stage, state};

pub(super) fn start() {
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

/// Each time a fresh instance that never returns from its first frame.
pub(super) fn cut_off(rows: &mut Vec<Row>) {
    heading("a guest that spins, deadline 2 ms, us");
    let registry = registry(vec![plugin("hostile", json!({ "mode": "spin" }))]);
    let (p50, p99) = percentiles("from the frame to its being passed on", first_frames(&registry));
    rows.push(Row::new(
        "a guest that spins, cut off, p99",
        format!("{:.2} ms (median {:.2})", p99 / 1e3, p50 / 1e3),
        "2 ms (its deadline)".into(),
        "4 ms",
        "3 ms",
    ));
}

/// Each time a fresh instance that panics in its first frame: the frame goes on, and the next instance is there.
pub(super) fn after_a_trap(rows: &mut Vec<Row>) {
    heading("a guest that panics, us");
    let registry = registry(vec![plugin("hostile", json!({ "mode": "trap" }))]);
    let (p50, p99) = percentiles("trap, new instance, frame passed on", first_frames(&registry));
    rows.push(Row::new(
        "trap to the next frame served",
        format!("{p50:.0} us (p99 {p99:.0})"),
        "–".into(),
        "100 us",
        "40 us",
    ));
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
pub(super) fn swap(rows: &mut Vec<Row>) {
    let (small, usual) = swaps("8 bytes", 0);
    let (large, _) = swaps("64 KiB", 64 << 10);
    rows.push(Row::new(
        "hot swap, pause, 8 bytes / 64 KiB of state",
        format!("{small:.1} / {large:.1} us (median)"),
        format!("{usual:.1} us (any other frame)"),
        "20 us",
        "5 us",
    ));
}

/// Medians of the frame at which it happens, and of the others.
fn swaps(what: &str, state: usize) -> (f64, f64) {
    heading(&format!("hot swap with {what} of state, us"));
    let version = |n: usize| match state {
        0 => plugin("marker", json!({ "mark": n % 250 })),
        state => plugin("costs", json!({ "state": state, "version": n })),
    };
    let registry = registry(vec![version(0)]);
    let name = registry.status().remove(0).name;
    let mut stage = stage(&registry, &name, 1);
    let (frame, mut output) = (frame(SMALL), Output::default());
    let swapped = || registry.status()[0].uses[0].swaps as usize;
    let (mut pauses, mut usual, mut waits) = (Vec::new(), Vec::new(), Vec::new());
    for n in 1..=TIMES {
        registry.apply(vec![version(n)]).expect("the plugin takes any number");
        let offered = Instant::now();
        loop {
            let begun = Instant::now();
            let flow = stage.frame(begun, frame.clone(), &mut output);
            let time = begun.elapsed();
            assert!(
                flow == Flow::Continue && output.frames.len() == 1,
                "no frame is lost or doubled"
            );
            output.frames.clear();
            if swapped() == n {
                pauses.push(time);
                waits.push(offered.elapsed());
                break;
            }
            usual.push(time);
        }
    }
    let (pause, _) = percentiles("the frame at which it happens", pauses);
    let (other, _) = percentiles("any other frame", usual);
    percentiles("from the new version to its first frame", waits);
    (pause, other)
}

/// A file is replaced while a stream runs: how long until its code sees a frame.
pub(super) fn saved_file(rows: &mut Vec<Row>) {
    heading("file saved to new code runs, us");
    let directory = state().join("saved");
    let (cache, file) = (directory.join("state"), directory.join("door.wasm"));
    fs::create_dir_all(&directory).expect("a directory");
    let component = fs::read(guest("costs")).expect("a guest");
    // A custom section of one byte, which no compiler looks at, makes it another component.
    let version = |n: u8| [&component[..], &[0, 3, 1, b'n', n]].concat();
    fs::write(&file, version(0)).expect("a file");
    let spec = PluginSpec::new("door", Source::File(file.clone()));
    let registry = Registry::new(Some(&cache), Services::default(), vec![spec]).expect("the guest loads");
    let _watch = registry.watch().expect("the directory is watched");
    let mut stage = stage(&registry, "door", 1);
    let (frame, mut output) = (frame(SMALL), Output::default());
    let mut saved = |bytes: &[u8], n: u64, stage: &mut Box<dyn Stage>| {
        let fresh = directory.join("fresh");
        fs::write(&fresh, bytes).expect("a file");
        let begun = Instant::now();
        fs::rename(&fresh, &file).expect("a file");
        while registry.status()[0].uses[0].swaps < n {
            let flow = stage.frame(Instant::now(), frame.clone(), &mut output);
            assert!(flow == Flow::Continue);
            output.frames.clear();
            std::thread::yield_now();
        }
        begun.elapsed()
    };
    let compiled: Vec<_> = (1..=10).map(|n| saved(&version(n), n.into(), &mut stage)).collect();
    let cached: Vec<_> = (11..61)
        .map(|n| saved(&version((n % 10) as u8), n, &mut stage))
        .collect();
    let (compiled, _) = percentiles("compiled first", compiled);
    let (cached, _) = percentiles("from the cache", cached);
    let size = component.len() / 1000;
    rows.push(Row::new(
        &format!("file saved to new code runs, cached / {size} kB compiled"),
        format!("{:.1} / {:.0} ms (median)", cached / 1e3, compiled / 1e3),
        "–".into(),
        "5 / 150 ms",
        "1 / 60 ms",
    ));
    drop(stage);
    let _ = fs::remove_dir_all(&directory);
}

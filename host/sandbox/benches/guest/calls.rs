//! One frame through a chain.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use serde_json::json;
use wasmtx_hub::{Flow, Output, Stage};
use wasmtx_media::Frame;

use super::{LARGE, Native, Row, SMALL, TIMES, costs, frame, heading, percentiles, plugin, registry, stage};

const SAMPLES: usize = 41;
const SAMPLE: Duration = Duration::from_millis(3);

/// Best and median, in nanoseconds.
#[derive(Clone, Copy)]
struct Time {
    best: f64,
    median: f64,
}

impl Time {
    fn less(self, floor: Time) -> Time {
        Time {
            best: self.best - floor.best,
            median: self.median - floor.median,
        }
    }
}

pub(super) fn calls(rows: &mut Vec<Row>) {
    println!(
        "\none frame, ns                                    best  median   (less the loop: clone a frame, drop it)"
    );
    let floor = show(
        "the loop itself, 0 plugins",
        time(|frame, output, _| output.frames.push(frame.clone()), SMALL),
    );
    let through = |what: &str, mut stage: Box<dyn Stage>, size| {
        let each = move |frame: &Frame, output: &mut Output, now| {
            let flow = stage.frame(now, frame.clone(), output);
            assert!(flow == Flow::Continue);
        };
        show(what, time(each, size).less(floor))
    };
    let native = through("native filter behind the same trait", Box::new(Native), SMALL);
    let pass = registry(vec![plugin("pass", json!({}))]);
    let one = through("pass, 1 guest", stage(&pass, "pass", 1), SMALL);
    let four = through("pass, 4 guests", stage(&pass, "pass", 4), SMALL);
    let sound = registry(vec![plugin("drop-audio", json!({}))]);
    through(
        "1 guest that did not ask for the frame",
        stage(&sound, "drop-audio", 1),
        SMALL,
    );
    let (reads, splices) = (costs("read"), costs("splice"));
    let mut large = None;
    for size in [SMALL, LARGE] {
        let copy = show(
            &format!("copy of {size} B"),
            time(|frame, _, _| drop(black_box(frame.payload.to_vec())), size),
        );
        let read = through(&format!("read all of {size} B"), stage(&reads, "costs", 1), size);
        let splice = through(
            &format!("put 32 B in front of {size} B"),
            stage(&splices, "costs", 1),
            size,
        );
        large = Some((copy, read, splice));
    }
    let beside = format!("{:.0} ns (native filter)", native.best.max(0.0));
    let ns = |time: Time| format!("{:.0} ns (median {:.0})", time.best, time.median);
    rows.push(Row::new(
        "pass verdict, one filter",
        ns(one),
        beside.clone(),
        "200 ns",
        "100 ns",
    ));
    rows.push(Row::new(
        "pass verdict, chain of 4",
        ns(four),
        beside,
        "800 ns",
        "400 ns",
    ));
    let Some((copy, read, splice)) = large else { return };
    let memcpy = format!("{:.0} ns (its copy)", copy.best);
    rows.push(Row::new(
        "read a 50 kB payload",
        format!("{}, ratio {:.2}", ns(read), read.best / copy.best),
        memcpy.clone(),
        "ratio 1.5",
        "1.2",
    ));
    rows.push(Row::new(
        "put 32 bytes into a 50 kB frame",
        ns(splice),
        memcpy,
        "600 ns",
        "300 ns",
    ));
}

fn time(mut each: impl FnMut(&Frame, &mut Output, Instant), size: usize) -> Time {
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
    Time {
        best: samples[0],
        median: samples[SAMPLES / 2],
    }
}

fn show(what: &str, time: Time) -> Time {
    println!("  {what:<44} {:>7.0} {:>7.0}", time.best, time.median);
    time
}

/// A live stream: the frame does not find everything in the caches, nor the clock that ends guests awake.
pub(super) fn sparse() {
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

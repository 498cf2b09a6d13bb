use std::{
    sync::atomic::Ordering::Relaxed,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId};

use super::*;

/// Longer than anything takes on the slowest machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// As the server runs them, but for pauses that a test does not wait for.
fn options() -> Options {
    let tests = env::current_exe().unwrap();
    let program = tests.parent().and_then(Path::parent).unwrap().join(PROGRAM);
    assert!(
        program.exists(),
        "{} is missing; run: cargo build --workspace --bins",
        program.display()
    );
    Options {
        program,
        threads: 2,
        pauses: (Duration::from_millis(1), Duration::from_millis(50)),
        ..Options::default()
    }
}

fn track() -> Track {
    Track {
        id: TrackId(1),
        kind: Kind::Audio,
        codec: Codec::G711 {
            mu_law: false,
            sample_rate: 8_000,
            channels: 1,
        },
        clock_rate: 8_000,
        extra: Vec::new(),
        derived: None,
    }
}

fn wanted() -> Wanted {
    Wanted {
        codec: "MPEG-4 Audio".to_owned(),
        ..Wanted::default()
    }
}

/// A stream on its way through a converter.
struct Stream {
    workers: Workers,
    converter: Converter,
    pts: i64,
    made: Vec<Frame>,
}

impl Stream {
    fn open(workers: &Workers) -> Stream {
        let form = form::form(&track(), &wanted()).unwrap();
        Stream {
            workers: workers.clone(),
            converter: workers.open("live", &track(), &form),
            pts: 0,
            made: Vec::new(),
        }
    }

    /// The next 20 ms; whether they were taken.
    fn push(&mut self) -> bool {
        let frame = Frame {
            track: TrackId(1),
            number: 0,
            pts: self.pts,
            dts: self.pts,
            duration: 160,
            wall: None,
            flags: Flags::NONE,
            payload: vec![0xd5; 160].into(),
        };
        self.pts += 160;
        self.converter.push(&frame)
    }

    /// Goes on until what was made satisfies.
    fn run_until(&mut self, done: impl Fn(&Stream) -> bool) {
        eventually(|| {
            self.push();
            self.made.extend(std::iter::from_fn(|| self.converter.pull()));
            done(self)
        });
    }

    /// The process that works for it, once there is one.
    fn worker(&self) -> Pid {
        let mut pid = None;
        eventually(|| {
            pid = Pid::from_raw(self.workers.0.counts.pid.load(Relaxed) as i32);
            pid.is_some()
        });
        pid.unwrap()
    }

    fn made_behind(&self, pts: i64) -> bool {
        self.made.last().is_some_and(|frame| frame.pts > pts)
    }

    /// Frames follow each other, and where one does not it says so.
    fn check(&self) {
        for pair in self.made.windows(2) {
            let behind = pair[1].pts - pair[0].pts - i64::from(pair[0].duration);
            assert!(behind >= 0, "{behind}");
            assert_eq!(behind > 0, pair[1].flags.contains(Flags::DISCONTINUITY), "{behind}");
        }
    }
}

fn eventually(mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < deadline, "it never came to that");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn sound_goes_through_a_worker_and_all_of_it_comes_out() {
    let workers = Workers::new(options());
    workers.ready().unwrap();
    let mut stream = Stream::open(&workers);
    let mut taken = 0;
    eventually(|| {
        taken += i64::from(stream.push());
        stream.made.extend(std::iter::from_fn(|| stream.converter.pull()));
        taken >= 100
    });
    stream.converter.finish();
    assert!(!stream.push());
    eventually(|| {
        stream.made.extend(std::iter::from_fn(|| stream.converter.pull()));
        stream.converter.is_finished()
    });
    stream.check();
    let last = stream.made.last().unwrap();
    assert_eq!((stream.made[0].pts, last.duration), (0, 1_024));
    assert!(last.pts + 1_024 >= taken * 160);
    let statistics = workers.statistics();
    assert_eq!((statistics.workers, statistics.starts, statistics.restarts), (1, 1, 0));
    assert_eq!(statistics.packets_out, stream.made.len() as u64);
    assert_eq!((statistics.converters, statistics.packets_broken), (1, 0));
}

#[test]
fn a_worker_that_is_killed_is_replaced_and_its_streams_go_on() {
    let workers = Workers::new(options());
    let mut streams = [Stream::open(&workers), Stream::open(&workers)];
    for round in 1..=10 {
        for stream in &mut streams {
            stream.run_until(|stream| stream.made.len() > 20 * round as usize);
        }
        let before: Vec<_> = streams.iter().map(|stream| stream.pts).collect();
        kill_process(streams[0].worker(), Signal::KILL).unwrap();
        for (stream, before) in streams.iter_mut().zip(before) {
            stream.run_until(|stream| stream.workers.statistics().restarts >= round && stream.made_behind(before));
        }
    }
    for stream in &streams {
        stream.check();
        assert!(stream.converter.report().restarts >= 10);
    }
    let statistics = workers.statistics();
    assert!(statistics.restarts >= 10 && statistics.starts == statistics.restarts + 1);
}

#[test]
fn a_worker_that_does_not_answer_is_replaced() {
    let workers = Workers::new(Options {
        patience: Duration::from_secs(3),
        ..options()
    });
    let mut stream = Stream::open(&workers);
    stream.run_until(|stream| stream.made.len() > 10);
    kill_process(stream.worker(), Signal::STOP).unwrap();
    let before = stream.pts;
    stream.run_until(|stream| stream.made_behind(before + 160 * i64::from(wasmtx_codec::wire::WINDOW)));
    stream.check();
    assert!(workers.statistics().packets_lost > 0);
}

#[test]
fn a_worker_leaves_when_nobody_has_needed_it_for_a_while_and_comes_back() {
    let workers = Workers::new(Options {
        idle: Duration::ZERO,
        ..options()
    });
    for round in 1..=2 {
        let mut stream = Stream::open(&workers);
        stream.run_until(|stream| stream.made.len() > 10);
        drop(stream);
        eventually(|| workers.statistics().workers == 0);
        let statistics = workers.statistics();
        assert_eq!(
            (statistics.starts, statistics.restarts, statistics.converters),
            (round, 0, 0)
        );
    }
}

#[test]
fn a_program_that_is_missing_is_named() {
    let workers = Workers::new(Options {
        program: "/nowhere/wasmtx-codec".into(),
        ..options()
    });
    let error = workers.ready().unwrap_err();
    assert!(
        error.contains("/nowhere/wasmtx-codec") && error.contains("No such file"),
        "{error}"
    );
    assert_eq!(workers.form(&track(), &wanted()), Err(error));
    // One that vanishes later: packets are lost, nobody waits.
    let mut stream = Stream::open(&workers);
    stream.run_until(|stream| stream.workers.statistics().packets_lost > 0);
    assert!(stream.made.is_empty());
}

#[test]
fn a_program_that_is_no_worker_is_not_believed() {
    // One hangs up, one repeats what it hears, one says nothing that is a message.
    for program in ["/bin/true", "/bin/cat", "/usr/bin/yes"] {
        let workers = Workers::new(Options {
            program: program.into(),
            ..options()
        });
        let mut stream = Stream::open(&workers);
        stream.run_until(|stream| stream.workers.statistics().restarts >= 2);
        assert!(stream.made.is_empty(), "{program}");
    }
}

#[test]
fn a_form_that_nobody_offered_makes_nothing() {
    let workers = Workers::new(options());
    let form = Form {
        codec: Codec::Vp8,
        clock_rate: 90_000,
        bitrate: 0,
    };
    let mut converter = workers.open("live", &track(), &form);
    assert!(converter.is_finished() && converter.pull().is_none());
    converter.finish();
    assert_eq!(workers.statistics().starts, 0);
}

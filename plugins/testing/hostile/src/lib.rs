//! A filter that does what no filter should, chosen by configuration: `{ mode: <one of Mode>, every: n, first: m }`.
//!
//! `every` makes it misbehave on each n-th frame only (default: each), `first` not before that call (default: at once), so that a test can
//! see a healthy stream before and after. Everything else passes.

use std::hint::black_box;

use serde::Deserialize;
use wasmtx_plugin::filter::{Filter, Interest, Opening, Verdict};
use wasmtx_plugin::log::{Level, log};
use wasmtx_plugin::{CloseReason, Error, Frame, Held, Part, Plugin, Publication, Snapshot, emit};

/// What it does wrong.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Mode {
    /// Nothing.
    Tame,
    /// Never returns from `configure`.
    SpinInConfigure,
    /// Panics in `configure`.
    TrapInConfigure,
    /// Refuses its configuration, pointing at `/mode`.
    Refuse,
    /// Never returns from `open`.
    SpinInOpen,
    /// Panics in `open`.
    TrapInOpen,
    /// Answers `open` with an error.
    RefuseOpen,
    /// Answers `open` with tracks that the stream does not have, and with none twice.
    BadTracks,
    /// Answers `open` with interests in tracks that do not exist, `every: 0` among them.
    BadInterests,
    /// Never returns from `frame`.
    Spin,
    /// Panics in `frame`.
    Trap,
    /// Takes memory until it is refused.
    Grow,
    /// Calls itself without end.
    Recurse,
    /// Splices ranges outside the frame, then a huge part; panics if the first is not refused, drops the frame if the second is taken.
    BadSplice,
    /// Splices the frame to nothing.
    EmptySplice,
    /// Reads far outside the frame; panics unless that gives less or nothing.
    BadRead,
    /// Emits a thousand frames per frame, timestamps and tracks at random.
    EmitMany,
    /// Keeps every frame forever.
    Hoard,
    /// Writes a thousand log lines per frame, long, with control characters.
    LogFlood,
    /// Closes the publication.
    Close,
    /// Never returns from `close`.
    SpinInClose,
    /// Never returns from `save`.
    SpinInSave,
    /// Panics in `save`.
    TrapInSave,
    /// Saves far more than a snapshot may hold.
    HugeSave,
    /// Panics in `restore`.
    TrapInRestore,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    mode: Mode,
    #[serde(default = "one")]
    every: u64,
    #[serde(default)]
    first: u64,
}

fn one() -> u64 {
    1
}

struct Hostile {
    config: Config,
    calls: u64,
    hoard: Vec<Held>,
}

impl Plugin for Hostile {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        match config.mode {
            Mode::SpinInConfigure => spin(),
            Mode::TrapInConfigure => panic!("this configuration is not to my liking"),
            Mode::Refuse => Err(Error::invalid("/mode", "refused as asked")),
            _ => Ok(Self {
                config,
                calls: 0,
                hoard: Vec::new(),
            }),
        }
    }

    fn save(&self) -> Option<Snapshot> {
        match self.config.mode {
            Mode::SpinInSave => spin(),
            Mode::TrapInSave => panic!("nothing is saved here"),
            Mode::HugeSave => Some(Snapshot {
                schema: 1,
                data: vec![7; 4 << 20],
            }),
            _ => None,
        }
    }

    fn restore(&mut self, _: Snapshot) -> Result<(), Error> {
        match self.config.mode {
            Mode::TrapInRestore => panic!("nothing is restored here"),
            _ => Err(Error::Unsupported),
        }
    }
}

impl Filter for Hostile {
    fn open(&mut self, publication: Publication) -> Result<Opening, Error> {
        let opening = Opening::all(&publication.tracks);
        match self.config.mode {
            Mode::SpinInOpen => spin(),
            Mode::TrapInOpen => panic!("this stream is not to my liking"),
            Mode::RefuseOpen => Err(Error::other("refused as asked")),
            Mode::BadTracks => {
                let mut tracks = [publication.tracks.clone(), publication.tracks].concat();
                for track in &mut tracks {
                    track.codec = "\u{1b}[31mH2640\n".repeat(10_000);
                    track.clock_rate = 0;
                }
                if let Some(last) = tracks.last_mut() {
                    last.id = u32::MAX;
                }
                Ok(opening.announcing(tracks))
            }
            Mode::BadInterests => Ok(Opening::with((0..100_000).map(|track| Interest::all(track).every(0)))),
            _ => Ok(opening),
        }
    }

    fn frame(&mut self, frame: &Frame) -> Verdict {
        let call = self.calls;
        self.calls += 1;
        if call < self.config.first || !(call - self.config.first).is_multiple_of(self.config.every.max(1)) {
            return Verdict::Pass;
        }
        match self.config.mode {
            Mode::Spin => spin(),
            Mode::Trap => panic!("frame {} is not to my liking", frame.number),
            Mode::Grow => grow(),
            Mode::Recurse => drop(black_box(recurse(1))),
            Mode::BadSplice => return bad_splice(frame),
            Mode::EmptySplice => frame.splice(&[]).expect("an empty splice is a splice"),
            Mode::BadRead => {
                assert!(frame.read(u32::MAX..u32::MAX).is_empty(), "nothing is there");
                assert!(
                    frame.read(0..u32::MAX).len() as u32 <= frame.size,
                    "there is no more than that"
                );
            }
            Mode::EmitMany => emit_many(frame),
            Mode::Hoard => self.hoard.extend(frame.hold()),
            Mode::LogFlood => {
                let line = "\u{1b}[31m\r\nERROR all is lost\0".repeat(1_000);
                (0..1_000).for_each(|_| log(Level::Error, &line));
            }
            Mode::Close => return Verdict::Close,
            _ => {}
        }
        Verdict::Pass
    }

    fn close(&mut self, _: CloseReason) {
        if self.config.mode == Mode::SpinInClose {
            spin();
        }
    }
}

fn spin() -> ! {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn grow() {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(black_box(vec![1; 1 << 20]));
    }
}

fn recurse(depth: u64) -> u64 {
    let room = black_box([depth; 64]);
    if black_box(depth) == 0 {
        return 0;
    }
    black_box(recurse(depth + 1)) + room[0]
}

fn bad_splice(frame: &Frame) -> Verdict {
    let outside = [
        0..frame.size + 1,
        frame.size + 1..frame.size + 2,
        u32::MAX - 1..u32::MAX,
    ];
    for range in outside {
        assert!(
            frame.splice(&[Part::Original(range)]).is_err(),
            "a range outside the frame was taken"
        );
    }
    // All of the frame, and again, and again: growth without a byte of the guest's own.
    let all = || Part::Original(0..frame.size);
    let parts: Vec<_> = (0..100_000).map(|_| all()).collect();
    if frame.splice(&parts).is_ok() {
        Verdict::Drop
    } else {
        Verdict::Pass
    }
}

fn emit_many(frame: &Frame) {
    for turn in 0..1_000_u32 {
        let mut info = **frame;
        info.pts = i64::MIN.wrapping_add(i64::from(turn));
        info.dts = i64::MAX - i64::from(turn);
        info.track = frame.track.wrapping_add(turn % 3);
        info.flags = u32::MAX;
        // Refused past the limit; going on all the same is the point.
        let _ = emit(info, &[Part::Original(0..frame.size)]);
    }
}

wasmtx_plugin::export!(Hostile: filter);

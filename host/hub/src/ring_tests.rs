//! Each invariant of the ring, and a property test over random streams and readers.

use std::time::Duration;

use proptest::prelude::*;
use wasmtx_media::{Codec, Track};

use super::*;

const VIDEO: TrackId = TrackId(0);
const AUDIO: TrackId = TrackId(1);
/// Made of the sound.
const DERIVED: TrackId = TrackId(2);

fn tracks(video: bool, audio: bool) -> Tracks {
    let track = |id, kind, codec, clock_rate| Track {
        id,
        kind,
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    };
    let video = video.then(|| track(VIDEO, Kind::Video, Codec::Vp8, 90_000));
    let audio = audio.then(|| track(AUDIO, Kind::Audio, Codec::Opus { channels: 2 }, 48_000));
    let derived = audio.clone().map(|audio| Track {
        id: DERIVED,
        derived: Some(AUDIO),
        ..audio
    });
    video.into_iter().chain(audio).chain(derived).collect()
}

fn frame(track: TrackId, key: bool, size: usize) -> Frame {
    Frame {
        track,
        number: 0,
        pts: 0,
        dts: 0,
        duration: 0,
        wall: None,
        flags: Flags::NONE.set(Flags::KEY, key),
        payload: vec![0; size].into(),
    }
}

struct Bench {
    ring: Ring,
    now: Instant,
}

impl Bench {
    fn new(limits: Limits, tracks: Tracks) -> Bench {
        Bench {
            ring: Ring::new(limits, tracks),
            now: Instant::now(),
        }
    }

    fn push(&mut self, track: TrackId, key: bool, size: usize) {
        self.now += Duration::from_millis(40);
        self.ring.push(self.now, frame(track, key, size));
        self.ring.check_invariants();
    }

    /// `K` keyframe, `f` other picture, `a` audio.
    fn play(&mut self, script: &str) {
        for c in script.chars() {
            match c {
                'K' => self.push(VIDEO, true, 100),
                'f' => self.push(VIDEO, false, 100),
                _ => self.push(AUDIO, false, 100),
            }
        }
    }

    /// Trims, and sees that what a reader may want to begin with is still there.
    fn trim(&mut self, floor: u64) {
        let back = self.ring.limits.keep_back;
        let wanted = self.ring.start_back(self.now, back);
        self.ring.trim_before(self.now, floor);
        self.ring.check_invariants();
        assert_eq!(self.ring.start_back(self.now, back), wanted);
    }

    fn take(&self, cursor: &mut Cursor) -> (Vec<u64>, u64) {
        let mut out = Vec::new();
        let taken = self.ring.take(cursor, usize::MAX, usize::MAX, &mut out);
        (out.iter().map(|entry| entry.index).collect(), taken.lost)
    }
}

fn limits(keep_bytes: usize) -> Limits {
    Limits {
        keep_bytes,
        ..Limits::default()
    }
}

#[test]
fn a_reader_that_joins_late_starts_at_the_newest_keyframe() {
    let mut bench = Bench::new(Limits::default(), tracks(true, true));
    bench.play("KafafKafa");
    let mut cursor = bench.ring.join(bench.now, true);
    assert_eq!(bench.take(&mut cursor), (vec![5, 6, 7, 8], 0));
}

#[test]
fn a_reader_that_joins_live_waits_for_the_next_keyframe_and_has_audio_meanwhile() {
    let mut bench = Bench::new(Limits::default(), tracks(true, true));
    bench.play("Kaf");
    let mut cursor = bench.ring.join(bench.now, false);
    bench.play("fafKf");
    assert_eq!(bench.take(&mut cursor), (vec![4, 6, 7], 0));
}

#[test]
fn a_keyframe_that_is_too_old_is_no_start() {
    let mut bench = Bench::new(
        Limits {
            start_age: Duration::from_secs(1),
            ..Limits::default()
        },
        tracks(true, false),
    );
    bench.play("K");
    bench.play(&"f".repeat(30));
    let mut cursor = bench.ring.join(bench.now, true);
    bench.play("fK");
    assert_eq!(bench.take(&mut cursor), (vec![32], 0));
}

#[test]
fn a_slow_reader_loses_whole_gops_and_the_loss_is_counted() {
    let mut bench = Bench::new(limits(1_000), tracks(true, false));
    bench.play("Kff");
    let mut cursor = bench.ring.join(bench.now, true);
    assert_eq!(bench.take(&mut cursor).0, [0, 1, 2]);
    bench.play("fffKffffffKfffff");
    assert_eq!(bench.take(&mut cursor), (vec![13, 14, 15, 16, 17, 18], 10));
}

#[test]
fn a_reader_overtaken_within_an_endless_gop_waits_for_the_next_keyframe() {
    let mut bench = Bench::new(limits(500), tracks(true, false));
    bench.play("Kf");
    let mut cursor = bench.ring.join(bench.now, true);
    bench.play("ffffffffff");
    assert_eq!(bench.take(&mut cursor), (vec![], 12));
    bench.play("ffKf");
    assert_eq!(bench.take(&mut cursor).0, [14, 15]);
}

#[test]
fn a_configured_lag_counts_from_where_the_reader_started() {
    let mut bench = Bench::new(
        Limits {
            max_lag: Some(4),
            ..Limits::default()
        },
        tracks(true, false),
    );
    bench.play("Kfffffff");
    let mut cursor = bench.ring.join(bench.now, true);
    assert_eq!(
        bench.take(&mut cursor),
        ((0..8).collect(), 0),
        "the backlog at the start is not lag"
    );
    bench.play("fKfff");
    assert_eq!(bench.take(&mut cursor), (vec![9, 10, 11, 12], 1));
}

#[test]
fn the_tail_reaches_back_to_the_newest_keyframe_or_the_slowest_reader() {
    let mut bench = Bench::new(Limits::default(), tracks(true, false));
    bench.play("KffKffKf");
    bench.ring.trim_before(bench.now, 4);
    assert_eq!(bench.ring.first(), 4, "a reader at 4 still needs it");
    bench.ring.trim_before(bench.now, u64::MAX);
    assert_eq!(bench.ring.first(), 6, "nobody needs more than the newest GOP");
    bench.ring.check_invariants();
}

/// So many frames of a bench.
fn frames(count: u32) -> Duration {
    count * Duration::from_millis(40)
}

fn keeping_back(frames_back: u32) -> Limits {
    Limits {
        keep_back: frames(frames_back),
        ..Limits::default()
    }
}

#[test]
fn the_tail_reaches_back_in_whole_gops_as_far_as_somebody_may_want_to_begin() {
    let mut bench = Bench::new(keeping_back(3), tracks(true, false));
    bench.play("KffKffKf");
    bench.trim(u64::MAX);
    assert_eq!(bench.ring.first(), 3, "the frame three back is within the second GOP");
    bench.play("f");
    bench.trim(u64::MAX);
    assert_eq!(bench.ring.first(), 3);
    bench.play("f");
    bench.trim(u64::MAX);
    assert_eq!(bench.ring.first(), 6);
    bench.trim(1);
    assert_eq!(bench.ring.first(), 6, "what is gone is gone");
}

#[test]
fn who_begins_in_the_past_begins_at_a_keyframe_before_it_or_at_the_oldest_that_is_left() {
    let mut bench = Bench::new(keeping_back(100), tracks(true, true));
    bench.play("faKafKafKa");
    let start = |bench: &Bench, back| bench.take(&mut bench.ring.join_back(bench.now, frames(back))).0[0];
    assert_eq!(start(&bench, 1), 8);
    assert_eq!(start(&bench, 2), 5);
    assert_eq!(start(&bench, 5), 2);
    assert_eq!(
        start(&bench, 50),
        2,
        "before the first keyframe there is nothing to begin with"
    );
    let mut all = bench.ring.join_back(bench.now, Duration::MAX);
    bench.play("f");
    assert_eq!(bench.take(&mut all), ((2..11).collect(), 0));
}

#[test]
fn a_past_that_is_too_long_ago_is_no_beginning() {
    let mut bench = Bench::new(keeping_back(100), tracks(true, false));
    bench.play("KfKf");
    // Nobody published for a while.
    bench.now += Limits::default().keep_age + Duration::from_secs(1);
    let mut cursor = bench.ring.join_back(bench.now, frames(100));
    bench.play("fK");
    assert_eq!(bench.take(&mut cursor), (vec![5], 0));
    let empty = Bench::new(keeping_back(100), tracks(true, false));
    assert_eq!(empty.ring.join_back(empty.now, frames(1)).next, 0);
}

#[test]
fn the_bounds_of_the_ring_hold_for_the_past_too() {
    let limits = Limits {
        keep_bytes: 500,
        ..keeping_back(100)
    };
    let mut bench = Bench::new(limits, tracks(true, false));
    bench.play("KfffKfffKf");
    assert_eq!(bench.ring.first(), 5);
    bench.trim(u64::MAX);
    assert_eq!(bench.ring.first(), 8, "a GOP without its beginning is of no use");
    let mut cursor = bench.ring.join_back(bench.now, frames(100));
    assert_eq!(bench.take(&mut cursor).0, [8, 9]);
    let age = Limits {
        keep_age: frames(1),
        start_age: frames(2),
        ..keeping_back(4)
    };
    let mut bench = Bench::new(age, tracks(true, false));
    bench.play("KffffKffff");
    assert_eq!(bench.ring.first(), 3, "age bounds it, with time for a GOP to end");
}

#[test]
fn one_frame_larger_than_the_bound_is_kept() {
    let mut bench = Bench::new(limits(100), tracks(true, false));
    bench.push(VIDEO, true, 5_000);
    let mut cursor = bench.ring.join(bench.now, true);
    assert_eq!(bench.take(&mut cursor), (vec![0], 0));
    bench.push(VIDEO, true, 5_000);
    bench.push(VIDEO, false, 50);
    assert_eq!(
        bench.take(&mut cursor),
        (vec![], 2),
        "the second keyframe had to make room"
    );
}

#[test]
fn any_audio_frame_starts_a_stream_without_pictures() {
    let mut bench = Bench::new(Limits::default(), tracks(false, true));
    bench.play("aaa");
    let mut cursor = bench.ring.join(bench.now, true);
    bench.play("a");
    assert_eq!(bench.take(&mut cursor).0, [2, 3]);
}

#[test]
fn a_stream_is_dark_until_its_first_picture() {
    let mut bench = Bench::new(Limits::default(), tracks(true, true));
    bench.play("aa");
    assert!(bench.ring.is_dark());
    bench.play("f");
    assert!(!bench.ring.is_dark(), "although nobody can begin with it");
    assert!(!Bench::new(Limits::default(), tracks(false, true)).ring.is_dark());
}

#[test]
fn decoding_time_never_goes_back() {
    let mut bench = Bench::new(Limits::default(), tracks(true, false));
    for dts in [10, 5, 12] {
        bench.ring.push(
            bench.now,
            Frame {
                dts,
                ..frame(VIDEO, true, 1)
            },
        );
    }
    let times: Vec<_> = (0..3).map(|index| bench.ring.get(index).unwrap().frame.dts).collect();
    assert_eq!(times, [10, 10, 12]);
}

#[test]
fn however_small_the_frames_there_is_an_end_to_their_number() {
    let limits = Limits {
        keep_age: Duration::MAX,
        ..Limits::default()
    };
    let mut bench = Bench::new(limits, tracks(true, true));
    for _ in 0..=MAX_ENTRIES {
        bench.ring.push(bench.now, frame(AUDIO, true, 1));
    }
    assert_eq!(bench.ring.bytes(), MAX_ENTRIES);
    assert_eq!(bench.ring.first(), 1);
}

#[test]
fn a_frame_of_an_unknown_track_is_refused() {
    let mut bench = Bench::new(Limits::default(), tracks(true, false));
    assert_eq!(bench.ring.push(bench.now, frame(AUDIO, true, 1)), None);
}

#[derive(Clone, Debug)]
enum Step {
    Push { track: TrackId, key: bool, size: usize },
    Join { at_keyframe: bool },
    JoinBack { frames: u32 },
    Take { reader: usize, frames: usize },
    Trim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0u32..6, prop::bool::weighted(0.15), 1usize..300).prop_map(|(track, key, size)| Step::Push {
            track: [VIDEO, VIDEO, VIDEO, AUDIO, AUDIO, DERIVED][track as usize],
            key,
            size,
        }),
        1 => any::<bool>().prop_map(|at_keyframe| Step::Join { at_keyframe }),
        1 => (0u32..100).prop_map(|frames| Step::JoinBack { frames }),
        3 => (0usize..4, 1usize..20).prop_map(|(reader, frames)| Step::Take { reader, frames }),
        1 => Just(Step::Trim),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    /// No reader ever sees a frame twice, out of order, or a picture that is not a keyframe after a gap.
    #[test]
    fn readers_see_each_frame_once_in_order_and_a_keyframe_after_a_gap(
        steps in prop::collection::vec(step(), 1..400),
        keep_bytes in 200usize..3_000,
        max_lag in prop::option::of(1u64..20),
        keep_back in 0u32..60,
    ) {
        let limits = Limits { keep_bytes, max_lag, ..keeping_back(keep_back) };
        let mut bench = Bench::new(limits, tracks(true, true));
        // Per reader: its cursor, and the index of the last picture it saw.
        let mut readers: Vec<(Cursor, Option<u64>, Option<u64>)> = Vec::new();
        let mut pictures: Vec<u64> = Vec::new();
        for step in steps {
            match step {
                Step::Push { track, key, size } => {
                    if track == VIDEO {
                        pictures.push(bench.ring.head());
                    }
                    bench.push(track, track == VIDEO && key, size);
                }
                Step::Join { at_keyframe } => readers.push((bench.ring.join(bench.now, at_keyframe), None, None)),
                Step::JoinBack { frames: back } => {
                    let cursor = bench.ring.join_back(bench.now, frames(back));
                    let begins = bench.ring.get(cursor.next);
                    prop_assert!(begins.is_none_or(|entry| entry.starts_gop), "in the middle of a GOP");
                    let between = |entry: &&Arc<Entry>| entry.starts_gop && bench.now - entry.at >= frames(back);
                    let better = (cursor.next + 1..bench.ring.head()).filter_map(|index| bench.ring.get(index)).find(between);
                    prop_assert!(better.is_none(), "further back than it wants");
                    readers.push((cursor, None, None));
                }
                Step::Trim => {
                    let floor = readers.iter().map(|(cursor, ..)| cursor.next).min().unwrap_or(u64::MAX);
                    bench.trim(floor);
                }
                Step::Take { reader, frames } => {
                    let count = readers.len().max(1);
                    let Some((cursor, last, last_picture)) = readers.get_mut(reader % count) else { continue };
                    let mut out = Vec::new();
                    bench.ring.take(cursor, frames, usize::MAX, &mut out);
                    prop_assert!(out.len() <= frames);
                    for entry in out {
                        prop_assert!(last.is_none_or(|last| entry.index > last), "twice or out of order");
                        *last = Some(entry.index);
                        if entry.frame.track != VIDEO {
                            continue;
                        }
                        let follows = last_picture.is_some_and(|seen| {
                            let place = pictures.binary_search(&entry.index).unwrap();
                            place > 0 && pictures[place - 1] == seen
                        });
                        prop_assert!(follows || entry.frame.is_key(), "a picture after a gap is a keyframe");
                        *last_picture = Some(entry.index);
                    }
                }
            }
        }
    }
}

//! Plans that are carried out, by codecs that do what the test says.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::json;
use wasmtx_hub::Demand;
use wasmtx_media::{Codec, Flags, Frame, Track, TrackId, Tracks, WallClock, codec::aac};
use wasmtx_sandbox::{
    Conversions, Registry, Services, Target, Use,
    services::{Codecs, Converter, Form, Report},
};

use crate::support::*;

const GUEST: &str = "transcoder-modes";
/// What is made of the sound.
const MADE: TrackId = TrackId(3);

/// Codecs in the test's hands: Opus and AAC, at 16 kHz so that its clock is not that of the source.
#[derive(Clone, Default)]
struct Bench(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The source of every converter that was opened.
    opened: Vec<Track>,
    /// Those that are still there.
    open: usize,
    finished: usize,
    full: bool,
    taken: Vec<Frame>,
    ready: VecDeque<Frame>,
    report: Report,
}

impl Bench {
    fn registry(&self, mode: &str) -> Registry {
        registry_with(self.services(), vec![plugin(GUEST, json!({ "mode": mode }))])
    }

    fn services(&self) -> Services {
        let mut services = Services::default();
        services.codecs = Arc::new(self.clone());
        services
    }

    fn state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    /// A frame comes out of the codec, at this time of a 16 kHz clock.
    fn ready(&self, dts: i64) {
        let frame = Frame {
            track: TrackId(99),
            pts: dts,
            dts,
            flags: Flags::KEY,
            ..frame(AUDIO, 0)
        };
        self.state(|state| state.ready.push_back(frame));
    }
}

impl Codecs for Bench {
    fn ready(&self) -> Result<(), String> {
        Ok(())
    }

    fn form(&self, _: &Track, target: &Target) -> Result<Form, String> {
        let codec = match target.codec.as_str() {
            "Opus" => Codec::Opus { channels: 1 },
            "MPEG-4 Audio" => Codec::Aac(aac::Config::new(aac::LOW_COMPLEXITY, 16_000, 1).unwrap()),
            other => return Err(format!("no encoder for {other}")),
        };
        Ok(Form {
            codec,
            clock_rate: 16_000,
            bitrate: target.bitrate,
        })
    }

    fn open(&self, path: &str, source: &Track, _: &Form) -> Box<dyn Converter> {
        assert_eq!(path, "cam1");
        self.state(|state| {
            state.opened.push(source.clone());
            state.open += 1;
        });
        Box::new(Work(self.clone()))
    }
}

struct Work(Bench);

impl Converter for Work {
    fn push(&mut self, frame: &Frame) -> bool {
        self.0.state(|state| {
            if state.full {
                state.report.lost += 1;
            } else {
                state.taken.push(frame.clone());
            }
            !state.full
        })
    }

    fn pull(&mut self) -> Option<Frame> {
        self.0.state(|state| state.ready.pop_front())
    }

    fn finish(&mut self) {
        self.0.state(|state| state.finished += 1);
    }

    fn report(&self) -> Report {
        self.0.state(|state| state.report)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.0.state(|state| state.open -= 1);
    }
}

fn ids(tracks: &Tracks) -> Vec<(u32, Option<u32>)> {
    let derived = |track: &Track| (track.id.0, track.derived.map(|source| source.0));
    tracks.iter().map(derived).collect()
}

/// A stream, and what its readers want.
fn begin(registry: &Registry) -> (Stream, Demand, Tracks) {
    let (mut stream, tracks) = Stream::try_open(&chains(registry, &[GUEST])).unwrap();
    let demand = Demand::new(&tracks);
    stream.output.demand = demand.clone();
    (stream, demand, tracks)
}

fn tracks_of(frames: &[Frame]) -> Vec<(TrackId, i64)> {
    frames.iter().map(|frame| (frame.track, frame.dts)).collect()
}

#[test]
fn what_is_replaced_is_not_announced_and_goes_only_to_the_codec() {
    let bench = Bench::default();
    let registry = bench.registry("replace");
    let (mut stream, _, tracks) = begin(&registry);
    assert_eq!(ids(&tracks), [(VIDEO.0, None), (MADE.0, None)]);
    assert_eq!((tracks[1].clock_rate, tracks[1].codec.name()), (16_000, "Opus"));
    let heard = Frame {
        wall: Some(WallClock(5_000_000)),
        ..frame(AUDIO, 16)
    };
    assert!(stream.feed(heard.clone()).unwrap().is_empty());
    assert_eq!(
        bench.state(|state| state.taken.clone()),
        [heard],
        "with nobody who reads"
    );
    // The source stands at one second of its 48 kHz; what comes is half a second younger.
    bench.ready(24_000);
    let out = stream.feed(frame(VIDEO, 0)).unwrap();
    assert_eq!(
        tracks_of(&out),
        [(MADE, 24_000), (VIDEO, 0)],
        "it comes before what comes later"
    );
    assert_eq!(out[0].wall, Some(WallClock(5_500_000)));
    let usage = usage(&registry, GUEST);
    let plan = &usage.plan[0];
    assert_eq!((plan.done, plan.made, plan.running), (true, Some(MADE.0), true));
    assert_eq!(
        (usage.plan[1].done, usage.plan[1].reason.as_deref()),
        (false, Some("no encoder for H264"))
    );
    drop(stream);
    assert!(!self::usage(&registry, GUEST).plan[0].running);
}

#[test]
fn what_is_added_is_made_while_somebody_takes_it_and_for_ten_seconds_after() {
    let bench = Bench::default();
    let registry = bench.registry("add");
    let (mut stream, demand, tracks) = begin(&registry);
    assert_eq!(
        ids(&tracks),
        [(VIDEO.0, None), (AUDIO.0, None), (MADE.0, Some(AUDIO.0))]
    );
    let open = || bench.state(|state| (state.opened.len(), state.open));
    let running = || usage(&registry, GUEST).plan[0].running;
    assert_eq!(stream.feed(frame(AUDIO, 0)).unwrap(), [frame(AUDIO, 0)]);
    assert_eq!((open(), running()), ((0, 0), false), "offered, and nobody took it");

    let wanted = demand.want(&[VIDEO, MADE]);
    stream.feed(frame(AUDIO, 1)).unwrap();
    assert_eq!((open(), running()), ((1, 1), true));
    bench.ready(1_000);
    let out = stream.feed(frame(AUDIO, 2)).unwrap();
    assert_eq!(tracks_of(&out), [(MADE, 1_000), (AUDIO, 6_000)], "the source goes on");
    assert!(!out[0].flags.contains(Flags::DISCONTINUITY));

    drop(wanted);
    for number in 3..6 {
        stream.now += Duration::from_secs(3);
        stream.feed(frame(VIDEO, number)).unwrap();
    }
    assert_eq!(open(), (1, 1), "readers come back");
    drop(demand.want(&[MADE]));
    let back = demand.want(&[MADE]);
    stream.feed(frame(AUDIO, 7)).unwrap();
    drop(back);
    stream.now += Duration::from_secs(10);
    stream.feed(frame(VIDEO, 8)).unwrap();
    assert_eq!((open(), running()), ((1, 0), false));

    let _again = demand.want(&[MADE]);
    stream.feed(frame(AUDIO, 9)).unwrap();
    bench.ready(9_000);
    let out = stream.feed(frame(VIDEO, 10)).unwrap();
    assert!(
        out[0].flags.contains(Flags::DISCONTINUITY),
        "nothing was made meanwhile"
    );
    let conversions = usage(&registry, GUEST).conversions;
    assert_eq!((conversions.running, conversions.begun, conversions.frames), (1, 2, 2));
}

#[test]
fn a_codec_that_does_not_keep_up_or_fails_costs_the_others_nothing_and_is_counted() {
    let bench = Bench::default();
    let registry = bench.registry("replace");
    let (mut stream, ..) = begin(&registry);
    bench.state(|state| state.full = true);
    for number in 0..3 {
        assert!(stream.feed(frame(AUDIO, number)).unwrap().is_empty());
        assert_eq!(stream.feed(frame(VIDEO, number)).unwrap(), [frame(VIDEO, number)]);
    }
    bench.state(|state| state.full = false);
    stream.feed(frame(AUDIO, 3)).unwrap();
    stream.feed(frame(AUDIO, 4)).unwrap();
    let gaps = bench.state(|state| {
        let taken = state.taken.iter();
        taken
            .map(|frame| (frame.number, frame.flags.contains(Flags::DISCONTINUITY)))
            .collect::<Vec<_>>()
    });
    assert_eq!(gaps, [(3, true), (4, false)]);
    bench.state(|state| state.report.restarts = 1);
    stream.feed(frame(VIDEO, 4)).unwrap();
    let report = Report { lost: 10, restarts: 2 };
    bench.state(|state| state.report = report);
    stream.feed(frame(VIDEO, 5)).unwrap();
    let Conversions { lost, restarts, .. } = usage(&registry, GUEST).conversions;
    assert_eq!((lost, restarts), (10, 2));
}

#[test]
fn what_is_ready_when_the_stream_ends_still_comes() {
    let bench = Bench::default();
    let registry = bench.registry("replace");
    let (mut stream, ..) = begin(&registry);
    stream.feed(frame(AUDIO, 0)).unwrap();
    (0..200).for_each(|number| bench.ready(number));
    let first = stream.feed(frame(VIDEO, 0)).unwrap();
    assert!(first.len() < 100, "not all at once");
    let rest = stream.close();
    let times: Vec<i64> = first
        .iter()
        .chain(&rest)
        .filter(|frame| frame.track == MADE)
        .map(|frame| frame.dts)
        .collect();
    assert!(times.is_sorted() && times.len() > 64);
    assert_eq!(bench.state(|state| (state.finished, state.open)), (1, 0));
    assert_eq!(usage(&registry, GUEST).conversions.running, 0);
}

#[test]
fn a_codec_goes_on_when_only_other_tracks_change() {
    let bench = Bench::default();
    let registry = bench.registry("replace");
    let (mut stream, ..) = begin(&registry);
    stream.feed(frame(AUDIO, 0)).unwrap();
    let with = |id: TrackId, codec: Codec| -> Tracks {
        let mut tracks = tracks().to_vec();
        tracks.iter_mut().find(|track| track.id == id).unwrap().codec = codec;
        tracks.into()
    };
    stream.reopen(with(VIDEO, Codec::Vp9)).unwrap();
    stream.feed(frame(AUDIO, 1)).unwrap();
    assert_eq!(bench.state(|state| (state.opened.len(), state.open)), (1, 1));
    stream.reopen(with(AUDIO, Codec::Opus { channels: 1 })).unwrap();
    stream.feed(frame(AUDIO, 2)).unwrap();
    assert_eq!(bench.state(|state| (state.opened.len(), state.open)), (2, 1));
}

#[test]
fn a_codec_gets_what_the_filters_leave() {
    let bench = Bench::default();
    let marker = plugin("marker", json!({ "mark": 7 }));
    let registry = registry_with(
        bench.services(),
        vec![plugin(GUEST, json!({ "mode": "replace" })), marker],
    );
    let (mut stream, _) = Stream::try_open(&chains(&registry, &[GUEST, "marker"])).unwrap();
    stream.feed(frame(AUDIO, 0)).unwrap();
    assert_eq!(bench.state(|state| state.taken[0].payload[0]), 7);
}

#[test]
fn a_new_version_changes_the_tracks_of_a_running_stream_only_where_it_may() {
    for allowed in [false, true] {
        let bench = Bench::default();
        let spec = |mode: &str| {
            let mut spec = plugin(GUEST, json!({ "mode": mode }));
            spec.allow_track_change = allowed;
            spec
        };
        let registry = registry_with(bench.services(), vec![spec("add")]);
        let (mut stream, ..) = begin(&registry);
        registry.apply(vec![spec("replace")]).unwrap();
        let error = || registry.status().remove(0).error;
        if allowed {
            eventually("the new plan is carried out", || {
                stream.step();
                stream.output.tracks.is_some()
            });
            assert_eq!(
                ids(stream.output.tracks.as_ref().unwrap()),
                [(VIDEO.0, None), (MADE.0, None)]
            );
            assert!(stream.feed(frame(AUDIO, 0)).unwrap().is_empty());
            assert_eq!(error(), None);
        } else {
            eventually("the new plan is refused", || {
                stream.step();
                error().is_some()
            });
            assert!(error().unwrap().contains("allowTrackChange"));
            assert_eq!(stream.output.tracks, None);
            assert_eq!(stream.feed(frame(AUDIO, 0)).unwrap(), [frame(AUDIO, 0)]);
            assert_eq!(usage(&registry, GUEST).plan[0].plan.name(), "add");
        }
    }
}

#[test]
fn a_transcoder_that_fails_when_parameters_change_is_taken_at_its_former_word() {
    let bench = Bench::default();
    let registry = bench.registry("add");
    let (mut stream, _, before) = begin(&registry);
    registry.apply(vec![plugin(GUEST, json!({ "mode": "trap" }))]).unwrap();
    let mut titled = tracks().to_vec();
    titled[0].extra = vec![("title".into(), "hall".into())];
    let after = stream.reopen(titled.into()).unwrap();
    assert_eq!(usage(&registry, GUEST).traps, 1);
    assert_eq!(ids(&after), ids(&before));
    let other = |track: &Track| Track {
        codec: Codec::Vp9,
        ..track.clone()
    };
    let changed: Vec<Track> = [other(&tracks()[0])]
        .into_iter()
        .chain(tracks()[1..].to_vec())
        .collect();
    let after = stream.reopen(changed.into()).unwrap();
    assert_eq!(
        ids(&after),
        [(VIDEO.0, None), (AUDIO.0, None)],
        "of other tracks it said nothing"
    );
}

#[test]
fn a_new_version_that_says_the_same_disturbs_nothing() {
    let bench = Bench::default();
    let registry = bench.registry("replace");
    let (mut stream, ..) = begin(&registry);
    stream.feed(frame(AUDIO, 0)).unwrap();
    let mut spec = plugin(GUEST, json!({ "mode": "replace" }));
    spec.limits.memory -= 1;
    registry.apply(vec![spec]).unwrap();
    eventually("the new version is asked", || {
        stream.step();
        usage(&registry, GUEST).calls == 2
    });
    stream.step();
    stream.feed(frame(AUDIO, 1)).unwrap();
    assert_eq!(bench.state(|state| (state.opened.len(), state.open)), (1, 1));
}

#[test]
fn the_bundled_aac_offers_aac_or_is_refused_where_nothing_can_be_re_encoded() {
    let bench = Bench::default();
    let registry = registry_with(bench.services(), Vec::new());
    let (_, tracks) = Stream::try_open(&chains(&registry, &["builtin:aac"])).unwrap();
    assert_eq!(
        ids(&tracks),
        [(VIDEO.0, None), (AUDIO.0, None), (MADE.0, Some(AUDIO.0))]
    );
    assert_eq!(tracks[2].codec.name(), "MPEG-4 Audio");
    let with = |config| Use {
        config: Some(config),
        ..used("builtin:aac")
    };
    let replaced = registry.chains(&[with(json!({ "mode": "replace" }))]).unwrap();
    let (_, tracks) = Stream::try_open(&replaced).unwrap();
    assert_eq!(ids(&tracks), [(VIDEO.0, None), (MADE.0, None)]);
    let wrong = registry.chains(&[with(json!({ "bitrate": 128 }))]).err().unwrap();
    assert!(wrong[0].to_string().contains("/bitrate"), "{}", wrong[0]);

    let without = self::registry(vec![plugin(GUEST, json!({ "mode": "add" }))]);
    let errors = without.chains(&[used("builtin:aac"), used("aac")]).err().unwrap();
    assert_eq!(
        errors[0].to_string(),
        "plugin \"builtin:aac\" is refused: this server cannot re-encode"
    );
    assert_eq!(errors.len(), 2);
    without.chains(&[used(GUEST)]).unwrap();
}

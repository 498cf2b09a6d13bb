//! Transcoders: what they decide about tracks, and what their failures mean for the stream.

use serde_json::json;
use wasmtx_media::TrackId;
use wasmtx_sandbox::{Plan, Registry, TranscoderFailure};

use crate::support::{AUDIO, Stream, VIDEO, chains, frame, plugin, registry, usage};

const GUEST: &str = "transcoder-modes";

fn with(mode: &str) -> Registry {
    registry(vec![plugin(GUEST, json!({ "mode": mode }))])
}

/// The tracks that go on, and those whose frames do.
fn ids(registry: &Registry) -> (Vec<TrackId>, Vec<TrackId>) {
    let (mut stream, tracks) = Stream::try_open(&chains(registry, &[GUEST])).unwrap();
    let passed = [VIDEO, AUDIO].into_iter().filter(|track| {
        let out = stream.feed(frame(*track, 0)).unwrap();
        !out.is_empty()
    });
    let passed = passed.collect();
    (tracks.iter().map(|track| track.id).collect(), passed)
}

#[test]
fn a_dropped_track_is_not_announced_and_its_frames_go_nowhere() {
    let registry = with("drop-audio");
    assert_eq!(ids(&registry), (vec![VIDEO], vec![VIDEO]));
    let plan = &usage(&registry, GUEST).plan;
    assert_eq!(
        (plan[0].track, &plan[0].plan, plan[0].done),
        (AUDIO.0, &Plan::Drop, true)
    );
}

#[test]
fn what_the_server_cannot_do_leaves_the_tracks_as_they_are_and_is_shown() {
    for (mode, plans) in [("replace", 2), ("ladder", 2), ("many", 128)] {
        let registry = with(mode);
        assert_eq!(ids(&registry), (vec![VIDEO, AUDIO], vec![VIDEO, AUDIO]), "{mode}");
        let plan = usage(&registry, GUEST).plan;
        assert_eq!(plan.len(), plans, "{mode}");
        assert!(
            plan.iter()
                .all(|planned| !planned.done && planned.plan.target().is_some())
        );
    }
}

#[test]
fn whatever_a_transcoder_says_the_stream_goes_on() {
    for mode in ["nothing", "keep", "tell"] {
        let registry = with(mode);
        assert_eq!(ids(&registry), (vec![VIDEO, AUDIO], vec![VIDEO, AUDIO]), "{mode}");
        assert_eq!(usage(&registry, GUEST).other, 0, "{mode}");
    }
    // Of what garbage says about the first video track, dropping it comes first.
    assert_eq!(ids(&with("garbage")), (vec![AUDIO], vec![AUDIO]));
}

#[test]
fn a_transcoder_that_fails_leaves_the_tracks_or_closes_the_stream_as_its_policy_says() {
    for mode in ["refuse", "trap", "spin", "grow", "drop-all"] {
        let registry = with(mode);
        assert_eq!(ids(&registry), (vec![VIDEO, AUDIO], vec![VIDEO, AUDIO]), "{mode}");
        let usage = usage(&registry, GUEST);
        let failures = usage.traps + usage.deadlines + usage.memory + usage.other;
        assert_eq!(failures, 1, "{mode}: {usage:?}");

        let mut strict = plugin(GUEST, json!({ "mode": mode }));
        strict.on_error.transcoder = TranscoderFailure::Close;
        let refusal = Stream::try_open(&chains(&self::registry(vec![strict]), &[GUEST])).err();
        assert_eq!(refusal.unwrap().stage, GUEST, "{mode}");
    }
}

#[test]
fn a_transcoder_comes_behind_the_filters_wherever_it_stands_in_the_list() {
    let registry = registry(vec![
        plugin(GUEST, json!({ "mode": "drop-audio" })),
        plugin("marker", json!({ "mark": 7 })),
    ]);
    let (mut stream, _) = Stream::try_open(&chains(&registry, &[GUEST, "marker"])).unwrap();
    assert!(stream.feed(frame(AUDIO, 0)).unwrap().is_empty());
    let out = stream.feed(frame(VIDEO, 0)).unwrap();
    assert_eq!(out[0].payload[0], 7);
    assert_eq!(
        usage(&registry, "marker").calls,
        2,
        "the filter sees what is dropped behind it"
    );
}

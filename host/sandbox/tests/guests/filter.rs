//! What well-behaved filters can do.

use serde_json::json;

use crate::support::*;

#[test]
fn no_plugin_is_no_stage() {
    assert!(registry(vec![]).chains(&[]).unwrap().filters.is_none());
}

#[test]
fn a_filter_that_passes_changes_nothing() {
    let registry = registry(vec![plugin("pass", json!({}))]);
    let mut stream = Stream::open(&chains(&registry, &["pass", "pass", "pass", "pass"]));
    stream.passes(100);
    assert_eq!(stream.close(), []);
    assert_eq!(
        (usage(&registry, "pass").calls, usage(&registry, "pass").passed),
        (100, 100)
    );
}

#[test]
fn a_spliced_payload_goes_on_in_place_of_the_original() {
    let registry = registry(vec![plugin("marker", json!({ "mark": 7 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker", "marker"]));
    for n in 1..=10u64 {
        let (sent, out) = stream.step();
        let mark = [&[7][..], &n.to_be_bytes()].concat();
        assert_eq!(out.len(), 1);
        assert_eq!(*out[0].payload, [&mark, &mark, &sent.payload[..]].concat());
        assert_eq!((out[0].dts, out[0].flags), (sent.dts, sent.flags));
    }
}

#[test]
fn keyframes_only_lets_every_nth_keyframe_through_and_the_rest_costs_no_call() {
    let registry = registry(vec![plugin("keyframes-only", json!({ "every": 2 }))]);
    let mut stream = Stream::open(&chains(&registry, &["keyframes-only"]));
    let mut passed = Vec::new();
    for _ in 0..60 {
        passed.extend(stream.step().1.iter().map(|frame| frame.number));
    }
    assert_eq!(passed, [0, 20, 40]);
    assert!(usage(&registry, "keyframes-only").calls <= 6);
}

#[test]
fn drop_audio_leaves_the_track_out_and_its_frames_with_it() {
    let registry = registry(vec![plugin("drop-audio", json!({})), plugin("pass", json!({}))]);
    let (mut stream, seen) = Stream::try_open(&chains(&registry, &["drop-audio", "pass"])).unwrap();
    assert_eq!(seen[..], tracks()[..1]);
    for n in 0..10 {
        assert_eq!(stream.feed(frame(AUDIO, n)).unwrap(), []);
    }
    stream.passes(10);
    assert_eq!(
        usage(&registry, "pass").calls,
        10,
        "the next filter does not see the audio"
    );
}

#[test]
fn tracks_may_change_while_the_stream_runs() {
    let registry = registry(vec![plugin("drop-audio", json!({}))]);
    let (mut stream, _) = Stream::try_open(&chains(&registry, &["drop-audio"])).unwrap();
    stream.passes(3);
    let audio_first: wasmtx_media::Tracks = tracks().iter().rev().cloned().collect();
    assert_eq!(stream.reopen(audio_first).unwrap()[..], tracks()[..1]);
    stream.passes(3);
}

#[test]
fn bundled_plugins_need_no_entry() {
    let registry = registry(vec![]);
    let mut stream = Stream::open(&chains(&registry, &["drop-audio", "builtin:keyframes-only"]));
    let out: usize = (0..20).map(|_| stream.step().1.len()).sum();
    assert_eq!(out, 2);
    let names: Vec<_> = registry.status().into_iter().map(|status| status.name).collect();
    assert_eq!(names, ["builtin:keyframes-only", "drop-audio"]);
}

//! Filters that do what no filter should: the policy is applied, the stream and its other filters go on.

use std::time::Duration;

use serde_json::json;
use wasmtx_media::Frame;
use wasmtx_sandbox::{Error, FilterFailure, OnError, PluginSpec, Registry, Use};

use crate::support::*;

fn hostile(mode: &str) -> PluginSpec {
    plugin("hostile", json!({ "mode": mode }))
}

fn from_the_third_frame(mode: &str) -> PluginSpec {
    let mut spec = plugin("hostile", json!({ "mode": mode, "first": 2 }));
    if mode == "spin" {
        spec.limits.frame = Duration::from_millis(2);
    }
    spec
}

fn with(spec: PluginSpec, filter: FilterFailure) -> PluginSpec {
    PluginSpec {
        on_error: OnError {
            filter,
            ..OnError::default()
        },
        ..spec
    }
}

/// A registry with the hostile filter between two others.
fn surrounded(spec: PluginSpec) -> (Registry, Stream) {
    let registry = registry(vec![spec, plugin("pass", json!({}))]);
    let chains = chains(&registry, &["pass", "hostile", "pass"]);
    let stream = Stream::open(&chains);
    (registry, stream)
}

#[test]
fn a_filter_that_fails_on_a_frame_costs_nothing_but_its_own_work() {
    for mode in ["trap", "spin", "grow", "recurse"] {
        let (registry, mut stream) = surrounded(from_the_third_frame(mode));
        stream.passes(20);
        let usage = usage(&registry, "hostile");
        let (failures, kind) = match mode {
            "spin" => (usage.deadlines, "deadline"),
            "grow" => (usage.memory, "memory"),
            _ => (usage.traps, "trap"),
        };
        assert!(failures >= 1, "{mode}: {kind}");
        assert_eq!(
            failures,
            usage.traps + usage.deadlines + usage.memory + usage.other,
            "{mode}"
        );
        assert_eq!(status_error(&registry, "pass"), None, "{mode}");
    }
}

#[test]
fn what_a_guest_says_wrongly_is_cut_or_refused_and_no_failure() {
    for mode in ["bad-read", "hoard", "log-flood", "bad-interests", "emit-many"] {
        let (registry, mut stream) = surrounded(hostile(mode));
        for _ in 0..300 {
            let (sent, out) = stream.step();
            assert_eq!(out.last(), Some(&sent), "{mode}: the frame itself goes on");
            assert!(out.len() <= 17, "{mode}: {} frames", out.len());
        }
        let usage = usage(&registry, "hostile");
        assert_eq!(usage.traps + usage.deadlines + usage.memory + usage.other, 0, "{mode}");
        assert!(usage.held_bytes <= 32 << 20, "{mode}");
    }
}

#[test]
fn a_payload_does_not_grow_without_end() {
    let registry = registry(vec![hostile("bad-splice")]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    // A hundred thousand times this is far more than a frame may have: the guest is refused, and passes the frame.
    let large = Frame {
        payload: vec![7; 1_000].into(),
        ..frame(VIDEO, 0)
    };
    assert_eq!(stream.feed(large.clone()).unwrap(), [large]);
    let usage = usage(&registry, "hostile");
    assert_eq!(usage.passed, 1, "{usage:?}");
}

#[test]
fn frames_with_impossible_times_or_tracks_do_not_go_on() {
    let (registry, mut stream) = surrounded(hostile("emit-many"));
    stream.passes(10);
    let usage = usage(&registry, "hostile");
    assert_eq!(usage.emitted, 0);
    assert!(usage.refused > 0);
}

#[test]
fn a_frame_without_a_payload_does_not_go_on() {
    let (registry, mut stream) = surrounded(hostile("empty-splice"));
    for _ in 0..10 {
        assert_eq!(stream.step().1, []);
    }
    assert_eq!(usage(&registry, "hostile").refused, 10);
}

#[test]
fn a_filter_that_does_not_open_is_gone_round() {
    for mode in ["trap-in-open", "refuse-open", "bad-tracks", "spin-in-open"] {
        let (_, mut stream) = surrounded(hostile(mode));
        stream.passes(20);
    }
}

#[test]
fn a_filter_that_does_not_open_keeps_the_stream_out_when_its_policy_is_to_close() {
    for mode in ["trap-in-open", "refuse-open", "bad-tracks"] {
        let registry = registry(vec![with(hostile(mode), FilterFailure::Close)]);
        let refusal = Stream::try_open(&chains(&registry, &["hostile"])).err().expect(mode);
        assert_eq!(refusal.stage, "hostile");
    }
}

#[test]
fn the_frame_that_killed_a_guest_goes_the_way_of_the_policy() {
    let registry = registry(vec![with(from_the_third_frame("trap"), FilterFailure::Drop)]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    stream.passes(2);
    assert_eq!(stream.step().1, [], "the frame it failed on");
    stream.passes(2);
    assert_eq!(stream.step().1, [], "and the third of its successor");

    let registry = crate::support::registry(vec![with(from_the_third_frame("trap"), FilterFailure::Close)]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    stream.passes(2);
    let reason = stream.feed(frame(VIDEO, 2)).unwrap_err();
    assert!(reason.contains("hostile"), "{reason}");
}

#[test]
fn the_policy_of_a_use_comes_before_that_of_the_plugin() {
    let registry = registry(vec![hostile("trap")]);
    let close = OnError {
        filter: FilterFailure::Close,
        ..OnError::default()
    };
    let chains = registry
        .chains(&[Use {
            on_error: Some(close),
            ..used("hostile")
        }])
        .unwrap();
    assert!(Stream::open(&chains).feed(frame(VIDEO, 0)).is_err());
}

#[test]
fn a_closing_filter_closes() {
    let (_, mut stream) = surrounded(from_the_third_frame("close"));
    stream.passes(2);
    assert!(
        stream
            .feed(frame(VIDEO, 2))
            .unwrap_err()
            .contains("hostile closes the stream")
    );
}

#[test]
fn a_filter_that_does_not_end_is_ended() {
    let (registry, mut stream) = surrounded(hostile("spin-in-close"));
    stream.passes(3);
    assert_eq!(stream.close(), []);
    assert_eq!(usage(&registry, "hostile").deadlines, 1);
}

#[test]
fn after_eight_failures_in_a_minute_a_filter_stays_off() {
    let registry = registry(vec![hostile("trap")]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    let failures = || usage(&registry, "hostile").traps;
    let begun = stream.now;
    eventually("eight failures", || {
        // Each restart is due at once, and all failures fall into one minute.
        stream.now = begun + Duration::from_secs(4) * failures() as u32;
        stream.passes(1);
        failures() == 8
    });
    stream.now += Duration::from_secs(3_600);
    stream.passes(1_000);
    assert_eq!(failures(), 8);
    assert!(status_error(&registry, "hostile").unwrap().contains("too often"));
}

#[test]
fn a_plugin_that_used_up_its_share_is_gone_round() {
    let mut spec = plugin("pass", json!({}));
    spec.limits.share = 0;
    let registry = registry(vec![spec]);
    let mut stream = Stream::open(&chains(&registry, &["pass"]));
    eventually("frames go round it", || {
        stream.now = std::time::Instant::now();
        stream.passes(1);
        usage(&registry, "pass").bypassed > 0
    });
}

#[test]
fn a_configuration_that_the_plugin_refuses_is_an_error_with_its_place() {
    let error = first_error(hostile("refuse"));
    let Error::Config {
        plugin,
        pointer,
        message,
    } = error
    else {
        panic!("{error}")
    };
    assert_eq!((plugin.as_str(), pointer.as_str()), ("hostile", "/mode"));
    assert!(message.contains("refused as asked"));
    assert!(matches!(first_error(hostile("no such mode")), Error::Config { .. }));
}

#[test]
fn a_plugin_that_fails_when_configured_is_an_error() {
    for mode in ["trap-in-configure", "spin-in-configure"] {
        let error = first_error(hostile(mode));
        assert!(matches!(error, Error::Failed { .. }), "{error}");
    }
}

fn first_error(spec: PluginSpec) -> Error {
    let name = spec.name.clone();
    let registry = registry(vec![spec]);
    registry.chains(&[used(&name)]).err().unwrap().remove(0)
}

fn status_error(registry: &Registry, name: &str) -> Option<String> {
    registry
        .status()
        .into_iter()
        .find(|status| status.name == name)
        .unwrap()
        .error
}

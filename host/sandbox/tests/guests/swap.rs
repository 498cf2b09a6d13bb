//! One version of a plugin takes the place of another while the stream runs.

use std::{fs, time::Duration};

use serde_json::{Value as Json, json};
use wasmtx_media::Frame;
use wasmtx_sandbox::{PluginSpec, Registry, Source, Use};

use crate::support::*;

fn marker(config: Json) -> PluginSpec {
    plugin("marker", config)
}

/// The mark and the count that a marker put in front.
fn mark(frame: &Frame) -> (u8, u64) {
    let count = frame.payload[1..9].try_into().unwrap();
    (frame.payload[0], u64::from_be_bytes(count))
}

/// Feeds frames until the first one with this mark; every frame comes out once and in order. Answers all marks.
fn until_marked(stream: &mut Stream, wanted: u8) -> Vec<(u8, u64)> {
    let mut marks = Vec::new();
    eventually("the new version takes over", || {
        let (sent, out) = stream.step();
        assert_eq!(out.len(), 1, "no frame is lost or doubled");
        assert_eq!((out[0].number, &out[0].payload[9..]), (sent.number, &sent.payload[..]));
        marks.push(mark(&out[0]));
        marks.last().unwrap().0 == wanted
    });
    marks
}

fn swaps(registry: &Registry) -> (u64, u64) {
    let status = registry.status().remove(0);
    (status.swaps, status.uses[0].swaps)
}

#[test]
fn the_new_version_goes_on_where_the_old_one_was() {
    let registry = registry(vec![marker(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    let mut counts = until_marked(&mut stream, 1);
    for wanted in [2, 3, 4] {
        registry.apply(vec![marker(json!({ "mark": wanted }))]).unwrap();
        counts.extend(until_marked(&mut stream, wanted));
    }
    let carried: Vec<u64> = counts.iter().map(|(_, count)| *count).collect();
    assert_eq!(
        carried,
        (1..=counts.len() as u64).collect::<Vec<_>>(),
        "the count is the state, and goes over"
    );
    assert!(counts.is_sorted_by_key(|(mark, _)| *mark));
    assert_eq!(swaps(&registry), (3, 3));
}

#[test]
fn a_version_that_cannot_read_the_old_state_begins_afresh() {
    let registry = registry(vec![marker(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    until_marked(&mut stream, 1);
    registry.apply(vec![marker(json!({ "mark": 2, "schema": 2 }))]).unwrap();
    assert_eq!(until_marked(&mut stream, 2).pop(), Some((2, 1)));
}

#[test]
fn where_state_must_be_kept_a_version_that_cannot_read_it_does_not_take_over() {
    let keeping = |config| PluginSpec {
        keep_state: true,
        ..marker(config)
    };
    let registry = registry(vec![keeping(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    until_marked(&mut stream, 1);
    registry
        .apply(vec![keeping(json!({ "mark": 2, "schema": 2 }))])
        .unwrap();
    eventually("the reason is shown", || {
        let (_, out) = stream.step();
        assert_eq!(mark(&out[0]).0, 1);
        registry.status()[0]
            .error
            .as_ref()
            .is_some_and(|error| error.contains("state: keep"))
    });
    registry.apply(vec![keeping(json!({ "mark": 3 }))]).unwrap();
    assert!(until_marked(&mut stream, 3).pop().unwrap().1 > 1, "the count went on");
}

#[test]
fn uses_with_a_configuration_of_their_own_keep_it() {
    let registry = registry(vec![marker(json!({ "mark": 1 }))]);
    let own = registry
        .chains(&[Use {
            config: Some(json!({ "mark": 9 })),
            ..used("marker")
        }])
        .unwrap();
    let mut stream = Stream::open(&own);
    until_marked(&mut stream, 9);
    registry.apply(vec![marker(json!({ "mark": 2 }))]).unwrap();
    eventually("the new version takes over", || {
        assert_eq!(mark(&stream.step().1[0]).0, 9);
        swaps(&registry).1 == 1
    });
}

#[test]
fn a_configuration_that_is_refused_keeps_the_old_version() {
    let registry = registry(vec![marker(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    assert!(registry.apply(vec![marker(json!({ "mark": 1_000 }))]).is_err());
    for count in 1..=100 {
        assert_eq!(mark(&stream.step().1[0]), (1, count));
    }
}

#[test]
fn reloading_gives_a_filter_that_failed_too_often_a_fresh_start() {
    let registry = registry(vec![plugin("hostile", json!({ "mode": "trap" }))]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    let failures = || usage(&registry, "hostile").traps;
    let begun = stream.now;
    eventually("eight failures", || {
        // Each restart is due at once, and all failures fall into one minute.
        stream.now = begun + Duration::from_secs(4) * failures() as u32;
        stream.passes(1);
        failures() == 8
    });
    stream.passes(100);
    registry.reload("hostile").unwrap();
    eventually("it is tried again", || {
        stream.passes(1);
        failures() > 8
    });
}

#[test]
fn a_new_version_that_fails_soon_gives_way_to_the_old_one_and_its_state() {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::copy(guest("marker"), &file).unwrap();
    let spec = |config| PluginSpec {
        source: Source::File(file.clone()),
        name: "plugin".into(),
        ..plugin("marker", config)
    };
    let registry = registry(vec![spec(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["plugin"]));
    for count in 1..=10 {
        assert_eq!(mark(&stream.step().1[0]), (1, count));
    }
    fs::copy(guest("hostile"), &file).unwrap();
    registry
        .apply(vec![spec(json!({ "mode": "trap", "first": 5 }))])
        .unwrap();
    let (mut marked, mut plain) = (10, 0);
    eventually("the old version is back", || {
        let (sent, out) = stream.step();
        assert_eq!(out.len(), 1, "no frame is lost or doubled");
        if out[0] == sent {
            // The new version passes frames as they are.
            plain += 1;
        } else {
            marked += 1;
            assert_eq!(mark(&out[0]), (1, marked), "the count goes on where it was saved");
        }
        plain == 6 && out[0] != sent
    });
    let status = registry.status().remove(0);
    assert!(status.error.unwrap().contains("soon after it took over"));
    for _ in 0..1_000 {
        marked += 1;
        assert_eq!(
            mark(&stream.step().1[0]),
            (1, marked),
            "the version that failed is not tried again"
        );
    }
}

#[test]
fn an_old_version_that_cannot_save_is_replaced_all_the_same() {
    for mode in ["trap-in-save", "spin-in-save", "huge-save"] {
        let registry = registry(vec![plugin("hostile", json!({ "mode": mode }))]);
        let mut stream = Stream::open(&chains(&registry, &["hostile"]));
        stream.passes(3);
        registry
            .apply(vec![plugin("hostile", json!({ "mode": "tame" }))])
            .unwrap();
        eventually("the new version takes over", || {
            stream.passes(1);
            usage(&registry, "hostile").swaps == 1
        });
    }
}

#[test]
fn a_new_version_that_fails_at_the_handover_leaves_the_old_one_in_place() {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::copy(guest("marker"), &file).unwrap();
    let spec = |config| PluginSpec {
        config,
        ..PluginSpec::new("plugin", Source::File(file.clone()))
    };
    let registry = registry(vec![spec(json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["plugin"]));
    until_marked(&mut stream, 1);
    fs::copy(guest("hostile"), &file).unwrap();
    registry
        .apply(vec![spec(json!({ "mode": "trap-in-restore" }))])
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    eventually("the new version is refused", || {
        assert_eq!(mark(&stream.step().1[0]).0, 1);
        registry.status()[0].error.is_some()
    });
    for _ in 0..100 {
        assert_eq!(mark(&stream.step().1[0]).0, 1);
    }
    assert_eq!(swaps(&registry).1, 0);
}

#[test]
fn a_version_that_would_change_the_tracks_takes_over_only_where_that_is_allowed() {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    let spec = PluginSpec::new("plugin", Source::File(file.clone()));
    fs::copy(guest("pass"), &file).unwrap();
    let registry = registry(vec![spec, plugin("pass", json!({}))]);
    let allowed = Use {
        allow_track_change: Some(true),
        ..used("plugin")
    };
    let mut free = Stream::open(&registry.chains(&[allowed, used("pass")]).unwrap());
    let mut bound = Stream::open(&registry.chains(&[used("plugin"), used("pass")]).unwrap());
    fs::copy(guest("drop-audio"), &file).unwrap();
    registry.reload("plugin").unwrap();
    eventually("the new tracks are announced", || {
        free.passes(1);
        free.output.tracks.take().is_some_and(|now| now[..] == tracks()[..1])
    });
    assert_eq!(free.feed(frame(AUDIO, 0)).unwrap(), []);
    eventually("the new version is refused", || {
        bound.passes(1);
        registry
            .status()
            .iter()
            .any(|status| status.error.as_ref().is_some_and(|error| error.contains("tracks")))
    });
    assert_eq!(bound.feed(frame(AUDIO, 0)).unwrap(), [frame(AUDIO, 0)]);
    assert_eq!(bound.output.tracks, None);
}

#[test]
fn a_changed_file_takes_over_by_itself_and_a_broken_one_does_not() {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::copy(guest("pass"), &file).unwrap();
    // The new version announces no sound.
    let allow_track_change = true;
    let spec = PluginSpec {
        allow_track_change,
        ..PluginSpec::new("plugin", Source::File(file.clone()))
    };
    let registry = registry(vec![spec]);
    let mut stream = Stream::open(&chains(&registry, &["plugin"]));
    let _watch = registry.watch().unwrap();
    stream.passes(3);
    let before = registry.status().remove(0);

    let whole = fs::read(guest("keyframes-only")).unwrap();
    fs::write(&file, &whole[..whole.len() / 2]).unwrap();
    eventually("the half-written file is refused", || {
        stream.passes(1);
        registry.status()[0].error.is_some()
    });
    assert_eq!(registry.status()[0].version, before.version);

    // As an editor or a deployment does it: written aside, then renamed.
    let aside = directory.path().join("plugin.wasm.new");
    fs::write(&aside, &whole).unwrap();
    fs::rename(&aside, &file).unwrap();
    eventually("the new version takes over", || {
        stream.step();
        usage(&registry, "plugin").swaps == 1
    });
    let after = registry.status().remove(0);
    assert_ne!(after.version, before.version);
    assert_eq!((after.error, after.swaps), (None, 1));
}

#[test]
fn a_file_that_lost_its_role_is_refused() {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::copy(guest("pass"), &file).unwrap();
    let registry = registry(vec![PluginSpec::new("plugin", Source::File(file.clone()))]);
    fs::copy(guest("auth-modes"), &file).unwrap();
    let error = registry.reload("plugin").unwrap_err().to_string();
    assert!(error.contains("does not export filter"), "{error}");
    assert!(registry.status()[0].error.is_some());
}

#[test]
fn keyframes_only_is_swapped_without_losing_a_keyframe() {
    let every = |n: u32| plugin("keyframes-only", json!({ "every": n }));
    let registry = registry(vec![every(1)]);
    let mut stream = Stream::open(&chains(&registry, &["keyframes-only"]));
    let (mut sent, mut passed) = (0, Vec::new());
    let mut step = || {
        sent += 1;
        passed.extend(stream.step().1.iter().map(|frame| frame.number));
    };
    (0..95).for_each(|_| step());
    registry.reload("keyframes-only").unwrap();
    eventually("the new version takes over", || {
        step();
        usage(&registry, "keyframes-only").swaps == 1
    });
    (0..95).for_each(|_| step());
    let keys: Vec<u64> = (0..sent).filter(|n| n % 10 == 0).collect();
    assert_eq!(passed, keys);
}

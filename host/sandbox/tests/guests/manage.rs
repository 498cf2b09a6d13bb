//! What an operator does to a plugin while streams run: push, reload, switch off and on.

use std::{fs, path::PathBuf};

use serde_json::json;
use wasmtx_sandbox::{Condition, Error, PluginSpec, Registry, Source, Status};

use crate::support::*;

/// A registry with the guest `door` in a file of its own, made of the guest `of`.
fn door(directory: &Directory, of: &str) -> (Registry, PathBuf) {
    let file = directory.path().join("door.wasm");
    fs::copy(guest(of), &file).unwrap();
    let spec = plugin(of, json!({}));
    let spec = PluginSpec {
        name: "door".into(),
        source: Source::File(file.clone()),
        allow_track_change: true,
        ..spec
    };
    (registry(vec![spec]), file)
}

fn status(registry: &Registry) -> Status {
    registry.get("door").unwrap()
}

#[test]
fn what_is_pushed_runs_and_lies_in_the_file_for_the_next_start() {
    let directory = Directory::new();
    let (registry, file) = door(&directory, "pass");
    let mut stream = Stream::open(&chains(&registry, &["door"]));
    stream.passes(3);
    let new = fs::read(guest("keyframes-only")).unwrap();
    let (old, version) = registry.push("door", new.clone()).unwrap();
    assert_ne!(old, version);
    assert_eq!((status(&registry).version, status(&registry).swaps), (version, 1));
    assert!(fs::read(&file).unwrap() == new);
    eventually("only keyframes come out", || {
        let (sent, out) = stream.step();
        !sent.is_key() && out.is_empty()
    });
    let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left there");
}

#[test]
fn what_is_pushed_and_refused_changes_nothing() {
    let directory = Directory::new();
    let (registry, file) = door(&directory, "pass");
    let before = (fs::read(&file).unwrap(), status(&registry).version);
    let auth_only = fs::read(guest("auth-modes")).unwrap();
    for (bytes, reason) in [
        (b"no component".to_vec(), "component"),
        (auth_only, "does not export filter"),
        (Vec::new(), "component"),
    ] {
        let error = registry.push("door", bytes).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
    assert_eq!((fs::read(&file).unwrap(), status(&registry).version), before);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn only_a_plugin_with_a_file_takes_a_push() {
    let spec = PluginSpec::new("door", Source::Bundled("keyframes-only".into()));
    let registry = registry(vec![spec]);
    let component = fs::read(guest("pass")).unwrap();
    assert!(matches!(
        registry.push("door", component.clone()),
        Err(Error::NoFile(_))
    ));
    assert!(matches!(registry.push("nobody", component), Err(Error::Unknown(_))));
    assert!(matches!(registry.reload("nobody"), Err(Error::Unknown(_))));
    assert!(matches!(registry.enable("nobody", true), Err(Error::Unknown(_))));
    assert!(registry.get("nobody").is_none());
}

#[test]
fn a_file_that_cannot_be_written_keeps_the_old_version() {
    let directory = Directory::new();
    let (registry, file) = door(&directory, "pass");
    let before = status(&registry).version;
    fs::remove_file(&file).unwrap();
    fs::remove_dir(directory.path()).unwrap();
    let component = fs::read(guest("keyframes-only")).unwrap();
    assert!(matches!(registry.push("door", component), Err(Error::Write { .. })));
    assert_eq!(status(&registry).version, before);
}

#[test]
fn a_filter_that_is_switched_off_lets_everything_pass_until_it_is_on_again() {
    let registry = registry(vec![plugin("marker", json!({ "mark": 7 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    let marked = |stream: &mut Stream| {
        let (sent, out) = stream.step();
        assert_eq!(out.len(), 1, "no frame is lost or doubled");
        out[0] != sent
    };
    assert!(marked(&mut stream));
    registry.enable("marker", false).unwrap();
    eventually("it is off", || !marked(&mut stream));
    assert!(!marked(&mut stream));
    let status = registry.get("marker").unwrap();
    assert_eq!((status.enabled, status.uses[0].condition), (false, Condition::Disabled));

    let mut another = Stream::open(&chains(&registry, &["marker"]));
    another.passes(3);

    registry.enable("marker", true).unwrap();
    eventually("it is on again", || marked(&mut stream));
    eventually("also for the stream that began without it", || marked(&mut another));
    let status = registry.get("marker").unwrap();
    assert_eq!((status.enabled, status.uses[0].condition), (true, Condition::Running));
    assert_eq!(status.uses[0].restarts, 0, "being switched off is no failure");
}

#[test]
fn a_new_version_of_a_plugin_that_is_off_stays_off() {
    let registry = registry(vec![plugin("marker", json!({ "mark": 1 }))]);
    registry.enable("marker", false).unwrap();
    registry.apply(vec![plugin("marker", json!({ "mark": 2 }))]).unwrap();
    registry.reload("marker").unwrap();
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    stream.passes(3);
    assert!(!registry.get("marker").unwrap().enabled);
}

#[test]
fn calls_and_the_bytes_that_cross_are_counted_and_timed() {
    let registry = registry(vec![plugin("marker", json!({ "mark": 1 }))]);
    let mut stream = Stream::open(&chains(&registry, &["marker"]));
    for _ in 0..40 {
        stream.step();
    }
    let usage = usage(&registry, "marker");
    assert_eq!((usage.calls, usage.bytes_made), (40, 40 * 9));
    assert!(usage.times.count > 0 && usage.times.count <= 40);
    assert!(usage.times.quantile(0.5).is_some());
}

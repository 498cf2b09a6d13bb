//! Every bound that a guest meets is counted under the key that changes it, and changing it helps.

use std::{fs, time::Duration};

use serde_json::json;
use wasmparser::{Parser, Payload};
use wasmtx_media::Frame;
use wasmtx_sandbox::{Error, Limits, PluginSpec, Registry, Services, Source};

use crate::support::*;

/// What the hostile filter met in a stream of some frames.
fn met(mode: &str, limits: impl FnOnce(&mut Limits)) -> Vec<(&'static str, u64)> {
    let mut spec = plugin("hostile", json!({ "mode": mode }));
    limits(&mut spec.limits);
    let registry = registry(vec![spec]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    for number in 0..3 {
        stream.now += Duration::from_millis(33);
        let large = Frame {
            payload: vec![7; 1_000].into(),
            ..frame(VIDEO, number)
        };
        let _ = stream.feed(large);
    }
    usage(&registry, "hostile").hits
}

fn hits(met: &[(&'static str, u64)], key: &str) -> u64 {
    met.iter().find(|(met, _)| *met == key).map_or(0, |(_, hits)| *hits)
}

#[test]
fn what_a_guest_meets_is_counted_by_the_key_that_changes_it() {
    type Set = fn(&mut Limits);
    let cases: [(&str, &str, Set); 11] = [
        ("spin", "callTimeout", |limits| limits.frame = Duration::from_millis(2)),
        ("spin-in-open", "configureTimeout", |_| {}),
        ("grow", "memory", |_| {}),
        ("hoard", "heldFrames", |limits| limits.held_frames = 2),
        ("hoard", "heldBytes", |limits| limits.held_bytes = 2_500),
        ("hoard", "handles", |limits| limits.handles = 2),
        ("emit-many", "framesPerCall", |_| {}),
        ("bad-splice", "payloadSize", |_| {}),
        ("bad-splice", "hostcallBytes", |limits| limits.hostcall = 1_000),
        ("log-flood", "logLines", |_| {}),
        ("log-flood", "logLineSize", |limits| limits.log_line = 10),
    ];
    for (mode, key, set) in cases {
        let met = met(mode, set);
        assert!(hits(&met, key) > 0, "{mode}, {key}: {met:?}");
    }
}

#[test]
fn a_bound_that_is_raised_is_met_no_more() {
    type Set = fn(&mut Limits);
    let cases: [(&str, &str, Set); 3] = [
        ("hoard", "heldFrames", |limits| limits.held_frames = 3),
        ("log-flood", "logLineSize", |limits| limits.log_line = 1 << 20),
        ("log-flood", "logLines", |limits| limits.log_lines = 10_000),
    ];
    for (mode, key, set) in cases {
        let met = met(mode, set);
        assert_eq!(hits(&met, key), 0, "{mode}, {key}: {met:?}");
    }
}

#[test]
fn tables_of_an_instance_are_bounded_together() {
    let mut spec = plugin("pass", json!({}));
    spec.limits.table = 0;
    let error = Registry::new(None, Services::default(), vec![spec]);
    let error = error.err().expect("a table is there").remove(0).to_string();
    assert!(error.contains("tableElements"), "{error}");
}

/// A section: its number, its length, its content.
fn section(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number];
    let mut len = content.len();
    while len >= 0x80 {
        bytes.push(len as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend_from_slice(content);
    bytes
}

#[test]
fn a_start_function_that_spins_is_cut_off() {
    // A good plugin, with one more module behind everything else, which is instantiated with the rest.
    let mut component = fs::read(guest("pass")).unwrap();
    let (mut depth, mut modules) = (0, 0);
    for part in Parser::new(0).parse_all(&component) {
        match part.unwrap() {
            Payload::ModuleSection { .. } => {
                modules += u8::from(depth == 0);
                depth += 1;
            }
            Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth -= 1,
            _ => {}
        }
    }
    let spinning = wat::parse_str("(module (func $spin (loop (br 0))) (start $spin))").unwrap();
    component.extend(section(1, &spinning));
    component.extend(section(2, &[1, 0, modules, 0]));

    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::write(&file, component).unwrap();
    let registry = registry(vec![PluginSpec::new("spinning", Source::File(file))]);
    let error = registry.chains(&[used("spinning")]).err().unwrap().remove(0);
    assert!(matches!(error, Error::Failed { .. }), "{error}");
    assert!(error.to_string().contains("took too long"), "{error}");
}

//! A plugin that is refused when the server starts: its paths take no stream until it loads, the others do not notice.

use std::fs;

use serde_json::json;
use wasmtx_sandbox::{Error, PluginSpec, Registry, Services, Source};

use crate::support::*;

/// A registry with a plugin that is refused and one that is not, and the file of the first.
fn with_refused(directory: &Directory) -> Registry {
    let file = directory.path().join("bad.wasm");
    fs::write(&file, wat::parse_str("(component)").unwrap()).unwrap();
    let bad = PluginSpec::new("bad", Source::File(file));
    Registry::begin(None, Services::default(), vec![bad, plugin("pass", json!({}))]).unwrap()
}

fn error_of(registry: &Registry, name: &str) -> Option<String> {
    registry.get(name).expect("it is listed").error
}

#[test]
fn its_paths_take_no_stream_and_others_do() {
    let directory = Directory::new();
    let registry = with_refused(&directory);
    Stream::open(&chains(&registry, &["pass"])).passes(3);

    let closed = chains(&registry, &["pass", "bad"]);
    assert!(closed.closed);
    let refusal = Stream::try_open(&closed).err().expect("no stream");
    assert_eq!(refusal.stage, "bad");
    assert!(refusal.reason.contains("lifecycle"), "{refusal}");

    let listed: Vec<_> = registry.status().into_iter().map(|status| status.name).collect();
    assert_eq!(listed, ["bad", "pass"]);
    assert!(error_of(&registry, "bad").unwrap().contains("lifecycle"));
    assert_eq!(error_of(&registry, "pass"), None);
}

#[test]
fn it_opens_when_it_loads() {
    let directory = Directory::new();
    let registry = with_refused(&directory);
    assert!(
        matches!(registry.reload("bad"), Err(Error::Refused { .. })),
        "it is still the same"
    );
    fs::copy(guest("pass"), directory.path().join("bad.wasm")).unwrap();
    registry.reload("bad").unwrap();
    let opened = chains(&registry, &["bad"]);
    assert!(!opened.closed);
    Stream::open(&opened).passes(3);
    assert_eq!(error_of(&registry, "bad"), None);
}

#[test]
fn its_file_is_watched_and_whoever_waits_is_told() {
    let directory = Directory::new();
    let registry = with_refused(&directory);
    let _watch = registry.watch().unwrap();
    fs::copy(guest("pass"), directory.path().join("bad.wasm")).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let told = runtime.block_on(async { tokio::time::timeout(PATIENCE, registry.mended()).await });
    told.expect("it loads");
    assert!(!chains(&registry, &["bad"]).closed);
}

#[test]
fn the_same_configuration_again_is_no_error_and_another_is() {
    let directory = Directory::new();
    let registry = with_refused(&directory);
    let same = PluginSpec::new("bad", Source::File(directory.path().join("bad.wasm")));
    registry.apply(vec![same.clone()]).unwrap();
    let other = PluginSpec {
        allow_track_change: true,
        ..same
    };
    assert_eq!(registry.apply(vec![other]).unwrap_err().len(), 1);
    registry.apply(Vec::new()).unwrap();
    assert_eq!(registry.status(), []);
}

#[test]
fn what_is_wrong_with_the_configuration_is_still_an_error() {
    let missing = PluginSpec::new("missing", Source::File("no/such/file.wasm".into()));
    let errors = Registry::begin(None, Services::default(), vec![missing]).err().unwrap();
    assert!(matches!(errors[..], [Error::Read { .. }]), "{errors:?}");
}

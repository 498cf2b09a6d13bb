//! What is loaded, what is refused, and what the cache does.

use std::{fs, path::Path, time::Duration};

use serde_json::json;
use wasmtx_sandbox::{Error, PluginSpec, Registry, Role, Services, Source};

use crate::support::*;

fn refusal(bytes: &[u8]) -> String {
    let directory = Directory::new();
    let file = directory.path().join("plugin.wasm");
    fs::write(&file, bytes).unwrap();
    let spec = PluginSpec::new("plugin", Source::File(file));
    let error = Registry::new(None, Services::default(), vec![spec])
        .err()
        .unwrap()
        .remove(0);
    assert!(matches!(error, Error::Refused { .. }), "{error}");
    error.to_string()
}

fn refused_text(text: &str) -> String {
    refusal(&wat::parse_str(text).unwrap())
}

#[test]
fn every_import_that_wasmtx_does_not_have_is_named() {
    let error = refused_text(
        r#"(component
            (import "wasi:cli/environment@0.2.0" (instance))
            (import "wasi:random/random@0.2.0" (instance))
            (import "wasmtx:plugin/log@0.2.0" (instance)))"#,
    );
    for name in [
        "wasi:cli/environment@0.2.0",
        "wasi:random/random@0.2.0",
        "wasmtx:plugin/log@0.2.0",
    ] {
        assert!(error.contains(name), "{error}");
    }
}

#[test]
fn a_component_must_have_a_role_and_a_life_cycle() {
    assert!(refused_text("(component)").contains("lifecycle"));
    let empty = |names: &[&str]| {
        let export = |name| format!("(instance $i{name}) (export \"wasmtx:plugin/{name}@0.1.0\" (instance $i{name}))");
        refused_text(&format!("(component {})", names.iter().map(export).collect::<String>()))
    };
    assert!(empty(&["lifecycle"]).contains("no role"));
    for role in Role::ALL {
        let error = empty(&["lifecycle", role.name()]);
        assert!(
            error.contains("contract"),
            "an interface without its functions: {error}"
        );
    }
}

#[test]
fn what_is_no_component_is_refused() {
    assert!(refusal(b"").contains("no WebAssembly component"));
    assert!(refusal(b"plugins:\n  pass: {}\n").contains("no WebAssembly component"));
    assert!(refused_text("(module)").contains("core module"));
    let whole = fs::read(guest("pass")).unwrap();
    for part in 1..8 {
        refusal(&whole[..whole.len() * part / 8]);
    }
}

#[test]
fn all_errors_of_a_registry_come_at_once() {
    let missing = PluginSpec::new("missing", Source::File("no/such/file.wasm".into()));
    let unknown = PluginSpec::new("unknown", Source::Bundled("no-such-plugin".into()));
    let errors = Registry::new(
        None,
        Services::default(),
        vec![missing, plugin("pass", json!({})), unknown],
    )
    .err()
    .unwrap();
    assert!(
        matches!(&errors[..], [Error::Read { .. }, Error::Unknown(_)]),
        "{errors:?}"
    );
    assert!(errors[0].to_string().contains("no/such/file.wasm"));
    assert!(errors[1].to_string().contains("token-auth"), "what there is, is named");
}

#[test]
fn only_the_component_with_the_wanted_digest_is_loaded() {
    let spec = PluginSpec {
        sha256: Some([7; 32]),
        ..plugin("pass", json!({}))
    };
    let error = Registry::new(None, Services::default(), vec![spec])
        .err()
        .unwrap()
        .remove(0)
        .to_string();
    assert!(error.contains(&"07".repeat(32)), "{error}");
}

#[test]
fn a_list_of_a_path_is_bounded() {
    let registry = registry(vec![plugin("pass", json!({}))]);
    let uses = vec![used("pass"); 33];
    assert!(matches!(
        registry.chains(&uses).err().unwrap()[..],
        [Error::TooMany(33)]
    ));
}

#[test]
fn the_status_shows_what_runs() {
    let registry = registry(vec![plugin("auth-modes", json!({})), plugin("pass", json!({}))]);
    let status = registry.status();
    let shown: Vec<_> = status
        .iter()
        .map(|status| (status.name.as_str(), &status.roles[..]))
        .collect();
    assert_eq!(
        shown,
        [("auth-modes", &[Role::Auth][..]), ("pass", &[Role::Filter][..])]
    );
    assert!(
        status
            .iter()
            .all(|status| status.version.len() == 12 && status.error.is_none())
    );
}

#[test]
fn plugins_that_are_gone_from_the_configuration_are_forgotten_and_running_streams_keep_them() {
    let registry = registry(vec![plugin("pass", json!({}))]);
    let mut stream = Stream::open(&chains(&registry, &["pass"]));
    registry.apply(vec![]).unwrap();
    assert!(registry.status().is_empty());
    stream.passes(10);
}

#[test]
fn a_bundled_plugin_is_back_when_the_entry_of_its_name_is_gone() {
    let named = |guest_name| PluginSpec {
        name: "drop-audio".into(),
        ..plugin(guest_name, json!({}))
    };
    let registry = registry(vec![named("pass")]);
    assert_eq!(
        Stream::try_open(&chains(&registry, &["drop-audio"])).unwrap().1.len(),
        2
    );
    assert_eq!(
        Stream::try_open(&chains(&registry, &["builtin:drop-audio"]))
            .unwrap()
            .1
            .len(),
        1
    );
    registry.apply(vec![]).unwrap();
    assert_eq!(
        Stream::try_open(&chains(&registry, &["drop-audio"])).unwrap().1.len(),
        1
    );
}

#[test]
fn a_guest_is_still_ended_when_the_registry_is_gone() {
    let mut spec = plugin("hostile", json!({ "mode": "spin" }));
    spec.limits.frame = Duration::from_millis(2);
    let registry = registry(vec![spec]);
    let mut stream = Stream::open(&chains(&registry, &["hostile"]));
    drop(registry);
    stream.passes(1);
}

fn compiled(state: &Path) -> Vec<std::path::PathBuf> {
    let files = fs::read_dir(state.join("compiled")).unwrap();
    files.map(|file| file.unwrap().path()).collect()
}

#[test]
fn a_tampered_cache_is_compiled_anew() {
    let state = Directory::new();
    let start = || Registry::new(Some(state.path()), Services::default(), vec![plugin("pass", json!({}))]).unwrap();
    start();
    let files = compiled(state.path());
    assert_eq!(files.len(), 1);
    let whole = fs::read(&files[0]).unwrap();
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x40;
    fs::write(&files[0], &changed).unwrap();
    let registry = start();
    Stream::open(&chains(&registry, &["pass"])).passes(10);
    let renewed = fs::read(&files[0]).unwrap();
    assert_ne!(renewed, changed, "compiled code was written again");
}

#[test]
fn a_state_directory_that_cannot_be_used_costs_only_the_cache() {
    let state = Directory::new();
    let file = state.path().join("file");
    fs::write(&file, b"in the way").unwrap();
    let registry = Registry::new(Some(&file), Services::default(), vec![plugin("pass", json!({}))]).unwrap();
    Stream::open(&chains(&registry, &["pass"])).passes(3);
}

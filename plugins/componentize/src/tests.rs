use super::*;
use wit_component::{StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// A core module that imports the function `now` of `interface` and exports the function `export`, with the world that says so.
fn module(wit: &str, interface: &str, export: &str) -> Vec<u8> {
    let mut bytes = b"\0asm\x01\0\0\0".to_vec();
    let section = |bytes: &mut Vec<u8>, id: u8, content: &[u8]| {
        bytes.extend([id, content.len() as u8]);
        bytes.extend(content);
    };
    let named = |name: &str| [&[name.len() as u8], name.as_bytes()].concat();
    // One type, () -> (); one import and one function of it; the function exported; its empty body.
    section(&mut bytes, 1, &[1, 0x60, 0, 0]);
    section(
        &mut bytes,
        2,
        &[&[1][..], &named(interface), &named("now"), &[0, 0]].concat(),
    );
    section(&mut bytes, 3, &[1, 0]);
    section(&mut bytes, 7, &[&[1][..], &named(export), &[0, 1]].concat());
    section(&mut bytes, 10, &[1, 2, 0, 0x0b]);

    let mut resolve = Resolve::default();
    let package = resolve.push_str("test.wit", wit).unwrap();
    let world = resolve.select_world(&[package], Some("w")).unwrap();
    embed_component_metadata(&mut bytes, &resolve, world, StringEncoding::UTF8, false).unwrap();
    bytes
}

const CONTRACT_WIT: &str = "
    package wasmtx:plugin@0.1.0;
    interface clock { now: func(); later: func(); }
    interface kv { get: func(); }
    interface lifecycle { tick: func(); }
    world w { import clock; import kv; export lifecycle; }
";
const FOREIGN_WIT: &str = "
    package wasi:clocks@0.2.0;
    interface clock { now: func(); }
    interface run { run: func(); }
    world w { import clock; export run; }
";

#[test]
fn what_nobody_calls_is_not_imported() {
    let module = module(
        CONTRACT_WIT,
        "wasmtx:plugin/clock@0.1.0",
        "wasmtx:plugin/lifecycle@0.1.0#tick",
    );
    let component = Component::from_module(&module).unwrap();
    assert_eq!(
        (component.exports, component.imports),
        (vec!["lifecycle".to_owned()], vec!["clock".to_owned()])
    );
}

#[test]
fn imports_of_others_are_refused_by_name() {
    let module = module(FOREIGN_WIT, "wasi:clocks/clock@0.2.0", "wasi:clocks/run@0.2.0#run");
    let error = Component::from_module(&module).unwrap_err().to_string();
    assert!(error.contains("`wasi:clocks/"), "{error}");
}

#[test]
fn what_is_no_plugin_is_refused() {
    let error = Component::from_module(b"\0asm\x01\0\0\0").unwrap_err().to_string();
    assert!(error.contains("export!"), "{error}");
    assert!(Component::from_module(b"GIF89a").is_err());
    assert!(Component::from_module(b"").is_err());
}

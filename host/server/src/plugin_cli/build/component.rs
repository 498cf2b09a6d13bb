//! From a core module to a component, and the last look at it before it is written.

use std::{fs, path::Path};

use anyhow::{Context, bail, ensure};
use wasmtx_sandbox::inspect::Anatomy;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The package that everything imported belongs to.
const CONTRACT: &str = "wasmtx:plugin/";
/// What runtimes call that were made for an operating system.
const WASI: &str = "wasi_snapshot_preview1";
/// Answers it inside the component.
const STUB: &str = include_str!("stub-wasi.wat");
/// What the answers are made of.
const STUB_IMPORTS: [&str; 3] = ["log", "clock", "random"];

/// A component, and the interfaces it names without package and version.
#[derive(Debug)]
pub(super) struct Component {
    pub(super) bytes: Vec<u8>,
    pub(super) exports: Vec<String>,
    pub(super) imports: Vec<String>,
    /// Bytes of code.
    pub(super) largest_function: usize,
}

/// The types of a world, as bindings and components are made from them.
pub(super) struct World {
    pub(super) resolve: Resolve,
    pub(super) id: WorldId,
}

impl World {
    /// From the text of the contract and that of a world that refers to it.
    pub(super) fn new(contract: &str, world: &str) -> anyhow::Result<World> {
        let mut resolve = Resolve::default();
        resolve.push_str("plugin.wit", contract)?;
        let package = resolve.push_str("world.wit", world)?;
        let id = resolve.select_world(&[package], None)?;
        Ok(World { resolve, id })
    }
}

impl Component {
    /// From a core module that carries its types, as wit-bindgen leaves them there.
    pub(super) fn from_module(module: &[u8], contract: &str) -> anyhow::Result<Component> {
        // A module that does not import WASI goes without the answers.
        let encoder = ComponentEncoder::default().validate(true).module(module)?;
        Component::check(encoder.adapter(WASI, &stub(contract)?)?.encode()?)
    }

    /// From a core module without types.
    pub(super) fn from_untyped(mut module: Vec<u8>, contract: &str, world: &World) -> anyhow::Result<Component> {
        embed_component_metadata(&mut module, &world.resolve, world.id, StringEncoding::UTF8)?;
        Component::from_module(&module, contract)
    }

    /// Refuses what a server would not link.
    pub(super) fn check(bytes: Vec<u8>) -> anyhow::Result<Component> {
        let anatomy =
            Anatomy::read(&bytes).map_err(|reason| anyhow::anyhow!("what the tools made is refused: {reason}"))?;
        let foreign: Vec<_> = (anatomy.imports.iter())
            .filter(|name| !name.starts_with(CONTRACT))
            .map(|name| format!("`{name}`"))
            .collect();
        ensure!(
            foreign.is_empty(),
            "a plugin imports {CONTRACT}… only, and this one also {}; leave out the library or the call that needs it, the \
             contract's own interfaces are in wit/plugin.wit",
            foreign.join(", ")
        );
        let exports = short(&anatomy.exports);
        if !exports.iter().any(|name| name == "lifecycle") {
            bail!("it exports no plugin: every plugin exports `lifecycle` (in Rust, wasmtx_plugin::export! does)");
        }
        Ok(Component {
            imports: short(&anatomy.imports),
            exports,
            largest_function: anatomy.largest_function,
            bytes,
        })
    }

    /// Writes it in one step, since a server may be watching the file. False when the file had this content already: it is
    /// not touched then.
    pub(super) fn write(&self, file: &Path) -> anyhow::Result<bool> {
        if fs::read(file).is_ok_and(|old| old == self.bytes) {
            return Ok(false);
        }
        let fresh = file.with_extension("wasm.new");
        fs::write(&fresh, &self.bytes)
            .and_then(|()| fs::rename(&fresh, file))
            .with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(true)
    }
}

/// The stub with its types.
fn stub(contract: &str) -> anyhow::Result<Vec<u8>> {
    let prefix = format!("import \"{CONTRACT}log@");
    let version = (STUB.split_once(&prefix))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("", |(version, _)| version);
    let imports = STUB_IMPORTS
        .map(|name| format!("  import {CONTRACT}{name}@{version};\n"))
        .concat();
    let world = World::new(contract, &format!("package wasmtx:stub;\nworld stub {{\n{imports}}}\n"))
        .context("wit/plugin.wit is of another version of the contract than this program")?;
    let mut module = wat::parse_str(STUB)?;
    embed_component_metadata(&mut module, &world.resolve, world.id, StringEncoding::UTF8)?;
    Ok(module)
}

/// `frame` for `wasmtx:plugin/frame@0.1.0`. What tools export for themselves is nobody's here.
fn short(names: &[String]) -> Vec<String> {
    let of_contract = names.iter().filter_map(|name| name.strip_prefix(CONTRACT));
    of_contract
        .map(|name| name.split('@').next().unwrap_or(name).to_owned())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLUGIN: &str = "package wasmtx:guest; world plugin { import wasmtx:plugin/clock@0.1.0; export wasmtx:plugin/lifecycle@0.1.0; }";
    /// A contract of which everything is simple.
    const SMALL: &str = "package wasmtx:plugin@0.1.0;
        interface clock { now: func() -> u64; monotonic: func() -> u64; }
        interface random { bytes: func(len: u32) -> list<u8>; }
        interface log { enum level { trace, debug, info, warn, error } log: func(level: level, message: string); }
        interface lifecycle { tick: func(now: u64); }";

    /// The component of a module whose `tick` calls this function.
    fn made(import: &str) -> anyhow::Result<Component> {
        let text = format!(
            r#"(module (import {import} (func $called (result i64))) (memory (export "memory") 1)
                (func (export "wasmtx:plugin/lifecycle@0.1.0#tick") (param i64) (drop (call $called))))"#
        );
        Component::from_untyped(wat::parse_str(text)?, SMALL, &World::new(SMALL, PLUGIN)?)
    }

    #[test]
    fn a_module_becomes_a_component_that_names_what_it_calls() {
        let component = made(r#""wasmtx:plugin/clock@0.1.0" "now""#).unwrap();
        assert_eq!(
            (component.exports, component.imports),
            (vec!["lifecycle".to_owned()], vec!["clock".to_owned()])
        );
        assert!(component.largest_function > 0);
    }

    /// A call of WASI, by name, type and arguments; the result is taken for whatever the module needs.
    fn wasi(name: &str, parameters: &str, arguments: &str) -> Vec<String> {
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "{name}" (func $called (param {parameters}) (result i32)))
                (memory (export "memory") 1)
                (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
                (func (export "wasmtx:plugin/lifecycle@0.1.0#tick") (param i64) (drop (call $called {arguments}))))"#
        );
        let module = wat::parse_str(text).unwrap();
        Component::from_untyped(module, SMALL, &World::new(SMALL, PLUGIN).unwrap())
            .unwrap()
            .imports
    }

    #[test]
    fn wasi_is_answered_by_the_contract() {
        let (one, zeros) = ("(i32.const 1)", "(i32.const 0) (i32.const 0) (i32.const 0)");
        assert_eq!(wasi("fd_write", "i32 i32 i32 i32", &format!("{one} {zeros}")), ["log"]);
        assert_eq!(wasi("random_get", "i32 i32", &format!("{one} {one}")), ["random"]);
        assert_eq!(
            wasi("clock_time_get", "i32 i64 i32", &format!("{one} (i64.const 0) {one}")),
            ["clock"]
        );
        assert!(wasi("sched_yield", "", "").is_empty());
        assert!(wasi("fd_close", "i32", one).is_empty());
    }

    #[test]
    fn imports_of_others_are_refused_by_name() {
        let text = "package wasi:clocks@0.2.0; interface clock { now: func() -> u64; }
            interface lifecycle { tick: func(now: u64); } world plugin { import clock; export lifecycle; }";
        let mut resolve = Resolve::default();
        let package = resolve.push_str("wasi.wit", text).unwrap();
        let id = resolve.select_world(&[package], None).unwrap();
        let module = r#"(module (import "wasi:clocks/clock@0.2.0" "now" (func $now (result i64)))
            (func (export "wasi:clocks/lifecycle@0.2.0#tick") (param i64) (drop (call $now))))"#;
        let module = wat::parse_str(module).unwrap();
        let error = Component::from_untyped(module, SMALL, &World { resolve, id })
            .unwrap_err()
            .to_string();
        assert!(error.contains("`wasi:clocks/clock@0.2.0`"), "{error}");
    }

    #[test]
    fn what_is_no_plugin_is_refused() {
        let empty = wat::parse_str("(component)").unwrap();
        assert!(
            Component::check(empty)
                .unwrap_err()
                .to_string()
                .contains("exports no plugin")
        );
        for bytes in [&b"GIF89a"[..], b"", b"\0asm\x01\0\0\0"] {
            assert!(Component::check(bytes.to_vec()).is_err());
        }
    }

    #[test]
    fn a_file_that_would_not_change_is_not_touched() {
        let file = std::env::temp_dir().join(format!("wasmtx-component-{}.wasm", std::process::id()));
        let component = made(r#""wasmtx:plugin/clock@0.1.0" "now""#).unwrap();
        assert!(component.write(&file).unwrap());
        assert!(!component.write(&file).unwrap());
        assert_eq!(fs::read(&file).unwrap(), component.bytes);
        fs::remove_file(&file).unwrap();
        assert!(component.write(Path::new("/nowhere/at/all.wasm")).is_err());
    }
}

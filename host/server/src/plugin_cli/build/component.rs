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
        let anatomy = Anatomy::read(&bytes).map_err(|reason| anyhow::anyhow!("what the tools made is refused: {reason}"))?;
        let foreign: Vec<_> = (anatomy.imports.iter().chain(&anatomy.exports))
            .filter(|name| !name.starts_with(CONTRACT))
            .map(|name| format!("`{name}`"))
            .collect();
        ensure!(
            foreign.is_empty(),
            "a plugin imports and exports {CONTRACT}… only, and this one also {}; leave out the library or the call that \
             needs it, the contract's own interfaces are in wit/plugin.wit",
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
    let version = (STUB.split_once(&prefix)).and_then(|(_, rest)| rest.split_once('"')).map_or("", |(version, _)| version);
    let imports = STUB_IMPORTS.map(|name| format!("  import {CONTRACT}{name}@{version};\n")).concat();
    let world = World::new(contract, &format!("package wasmtx:stub;\nworld stub {{\n{imports}}}\n"))
        .context("wit/plugin.wit is of another version of the contract than this program")?;
    let mut module = wat::parse_str(STUB)?;
    embed_component_metadata(&mut module, &world.resolve, world.id, StringEncoding::UTF8)?;
    Ok(module)
}

/// `frame` for `wasmtx:plugin/frame@0.1.0`.
fn short(names: &[String]) -> Vec<String> {
    let short = |name: &String| {
        let name = name.strip_prefix(CONTRACT).unwrap_or(name);
        name.split('@').next().unwrap_or(name).to_owned()
    };
    names.iter().map(short).collect()
}

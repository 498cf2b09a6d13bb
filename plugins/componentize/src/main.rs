//! `componentize DIRECTORY MODULE…`: turns the core modules that rustc makes into components, `DIRECTORY/<name>.wasm` each.
//!
//! Says what each exports and imports, and refuses imports that are not the contract's: a plugin that pulled in WASI would not load, and is better
//! found here. A file whose content stays the same is not touched, so that nothing is built or swapped again because of it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use wit_component::{ComponentEncoder, DecodedWasm};

/// The package that everything imported belongs to.
const CONTRACT: &str = "wasmtx:plugin/";

fn main() -> ExitCode {
    let mut args = env::args_os().skip(1).map(PathBuf::from);
    let Some(directory) = args.next() else {
        eprintln!("usage: componentize DIRECTORY MODULE…");
        return ExitCode::FAILURE;
    };
    for module in args {
        if let Err(error) = convert(&module, &directory) {
            eprintln!("{}: {error:#}", module.display());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn convert(module: &Path, directory: &Path) -> Result<()> {
    let stem = module
        .file_stem()
        .and_then(|stem| stem.to_str())
        .context("the file has no readable name")?;
    let name = stem.replace('_', "-");
    let component = Component::from_module(&fs::read(module)?)?;
    let target = directory.join(&name).with_extension("wasm");
    if fs::read(&target).is_ok_and(|old| old == component.bytes) {
        return Ok(());
    }
    // Under another name first: a server that watches the file must never read half of it.
    let fresh = directory.join(&name).with_extension("wasm.new");
    fs::write(&fresh, &component.bytes)?;
    fs::rename(&fresh, &target)?;
    println!("{name}: {} kB, {component}", component.bytes.len().div_ceil(1000));
    Ok(())
}

/// A component and the interfaces it names, without package and version.
#[derive(Debug)]
struct Component {
    bytes: Vec<u8>,
    exports: Vec<String>,
    imports: Vec<String>,
}

impl Component {
    fn from_module(module: &[u8]) -> Result<Self> {
        let bytes = ComponentEncoder::default().validate(true).module(module)?.encode()?;
        let DecodedWasm::Component(resolve, world) = wit_component::decode(&bytes)? else {
            bail!("the result is no component");
        };
        let world = &resolve.worlds[world];
        let names = |items: &wit_parser::IndexMap<wit_parser::WorldKey, wit_parser::WorldItem>| {
            items
                .keys()
                .map(|key| short(&resolve.name_world_key(key)))
                .collect::<Result<Vec<_>>>()
        };
        let exports = names(&world.exports)?;
        let imports = names(&world.imports)?;
        if !exports.iter().any(|name| name == "lifecycle") {
            bail!("it exports no plugin: there is no wasmtx_plugin::export! in it");
        }
        Ok(Self {
            bytes,
            exports,
            imports,
        })
    }
}

impl std::fmt::Display for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "exports {}; imports {}",
            self.exports.join(", "),
            self.imports.join(", ")
        )
    }
}

/// `frame` for `wasmtx:plugin/frame@0.1.0`.
fn short(name: &str) -> Result<String> {
    let Some(interface) = name.strip_prefix(CONTRACT) else {
        bail!("`{name}` is not part of the contract: a plugin imports and exports {CONTRACT}… only");
    };
    Ok(interface.split('@').next().unwrap_or(interface).to_owned())
}

#[cfg(test)]
mod tests;

//! JavaScript: QuickJS with the plugin's modules inside, by `componentize-qjs`.

use std::fs;

use anyhow::Context;

use super::{bindings, component::Component, scratch, tool};
use crate::plugin_cli::project::Project;

const TOOL: &str = "componentize-qjs";
/// The module that exports the plugin's interfaces; it may import others.
const ENTRY: &str = "plugin.js";

pub(super) fn build(project: &Project) -> anyhow::Result<Component> {
    let root = &project.directory;
    let shown = root.display();
    let program = tool::require(
        &[TOOL],
        &[root.join("node_modules/.bin")],
        "makes components of JavaScript",
        &format!("cd {shown} && npm install (npm comes with Node.js 18 or newer: apt-get install -y nodejs npm)"),
    )?;
    anyhow::ensure!(
        root.join(ENTRY).is_file(),
        "{shown}/{ENTRY} is missing: it exports the plugin's interfaces"
    );
    let contract = project.contract()?;
    let scratch = scratch(project)?;
    bindings::write_wit(&scratch.join("wit"), &contract, &project.world(&contract)?)?;
    let made = scratch.join("component.wasm");
    // Without `--sync` a component would be of a kind that a server refuses, and without `--stub-wasi` it would import WASI.
    tool::run(
        tool::command(&program, root)
            .args([
                "--sync",
                "--stub-wasi",
                "--opt-size",
                "--world",
                "plugin",
                "--module-root",
                ".",
                "--js",
                ENTRY,
            ])
            .args(["--wit", "build/wit", "--output", "build/component.wasm"]),
    )?;
    Component::check(fs::read(&made).with_context(|| format!("{TOOL} wrote no {}", made.display()))?)
}

//! Python: CPython with the plugin's modules inside, by `componentize-py`.

use std::fs;

use anyhow::Context;

use super::{bindings, component::Component, scratch, tool};
use crate::plugin_cli::project::Project;

const TOOL: &str = "componentize-py";
/// The module with a class per interface; it may import others.
const ENTRY: &str = "app";

pub(super) fn build(project: &Project) -> anyhow::Result<Component> {
    let root = &project.directory;
    let shown = root.display();
    let program = tool::require(
        &[TOOL],
        &[root.join(".venv/bin")],
        "makes components of Python",
        &format!(
            "cd {shown} && python3 -m venv .venv && .venv/bin/pip install -r requirements.txt (venv: apt-get install -y python3-venv)"
        ),
    )?;
    anyhow::ensure!(
        root.join(ENTRY).with_extension("py").is_file(),
        "{shown}/{ENTRY}.py is missing: it has the plugin's classes"
    );
    let contract = project.contract()?;
    let scratch = scratch(project)?;
    bindings::write_wit(&scratch.join("wit"), &contract, &project.world(&contract)?)?;
    let made = scratch.join("component.wasm");
    let command = || {
        let mut command = tool::command(&program, root);
        command.args(["--quiet", "--wit-path", "build/wit", "--world", "plugin"]);
        command
    };
    // For editors and tests; the component carries its own.
    let bindings = scratch.join("bindings");
    if bindings.exists() {
        fs::remove_dir_all(&bindings).with_context(|| format!("{} cannot be removed", bindings.display()))?;
    }
    tool::run(command().args(["bindings", "build/bindings"]))?;
    // Without `--stub-wasi` it would import WASI.
    tool::run(command().args([
        "componentize",
        "--stub-wasi",
        "--python-path",
        ".",
        "--output",
        "build/component.wasm",
        ENTRY,
    ]))?;
    Component::check(fs::read(&made).with_context(|| format!("{TOOL} wrote no {}", made.display()))?)
}

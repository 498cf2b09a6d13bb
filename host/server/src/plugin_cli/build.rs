//! `wasmtx plugin build [DIRECTORY]`: sources become a component, with the tools of their language.
//!
//! A file per language knows its tools, and what to say when one is missing. What they make goes through [`component`],
//! so that a plugin that imports anything but the contract is refused here and not when a server loads it.

mod bindings;
mod c;
mod component;
mod go;
mod js;
mod python;
mod rust;
mod tool;

use std::{fs, io::Write, path::PathBuf, process::ExitCode};

use anyhow::Context;
use clap::{Arg, ArgMatches, Command, value_parser};

use self::component::Component;
use super::{
    Subcommand,
    project::{Language, Project},
    shown,
};

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "build",
    describe,
    run,
};

/// What compilers leave on their way, below the project.
const SCRATCH: &str = "build";
/// Code of one function beyond this needs a limit in mediamtx.yml; the runtimes of some languages have such a function.
const FUNCTION_LIMIT: usize = 128 << 10;

fn describe(command: Command) -> Command {
    command
        .about("Compile a plugin's sources to a component")
        .after_help(
            "Uses the tools of the plugin's language and says how to install what is missing.\n\
             Exit code 0: there is a component. 1: there is none.",
        )
        .arg(
            Arg::new("DIRECTORY")
                .default_value(".")
                .value_parser(value_parser!(PathBuf))
                .help("The plugin, a directory with a plugin.yml or a Cargo.toml"),
        )
        .arg(
            Arg::new("output")
                .short('o')
                .long("output")
                .value_name("FILE")
                .value_parser(value_parser!(PathBuf))
                .help("Where to write it, instead of NAME.wasm in the directory"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let directory = matches.get_one::<PathBuf>("DIRECTORY").cloned().unwrap_or_default();
    let project = Project::open(&directory)?;
    let component = build(&project)?;
    let file = match matches.get_one::<PathBuf>("output") {
        Some(file) => file.clone(),
        None => directory.join(&project.name).with_extension("wasm"),
    };
    let news = if component.write(&file)? { "" } else { ", as it was" };
    writeln!(
        output,
        "{}: {}{news}; exports {}; imports {}",
        file.display(),
        shown::bytes(component.bytes.len() as u64),
        component.exports.join(", "),
        component.imports.join(", ")
    )?;
    if component.largest_function > FUNCTION_LIMIT {
        let needed = component.largest_function.next_multiple_of(FUNCTION_LIMIT) >> 10;
        writeln!(
            output,
            "in mediamtx.yml it needs: limits: {{ functionSize: {needed}k }}"
        )?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The component that a project is the source of.
fn build(project: &Project) -> anyhow::Result<Component> {
    match project.language {
        Language::Rust => rust::build(project),
        Language::Js => js::build(project),
        Language::Python => python::build(project),
        Language::C => c::build(project),
        Language::Go => go::build(project),
    }
}

/// The project's directory for what is made on the way.
fn scratch(project: &Project) -> anyhow::Result<PathBuf> {
    let scratch = project.directory.join(SCRATCH);
    fs::create_dir_all(&scratch).with_context(|| format!("{} cannot be made", scratch.display()))?;
    Ok(scratch)
}

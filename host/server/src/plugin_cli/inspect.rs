//! `wasmtx plugin inspect FILE`: what a component is made of, and what compiling makes of it.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Value as Json, json};
use wasmtx_sandbox::{
    Error, Limits,
    inspect::{self, Anatomy, Compiled, Memory},
};

use super::{Subcommand, component, shown};

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "inspect",
    describe,
    run,
};

/// Sections shown; a component of a script runtime has hundreds.
const SECTIONS: usize = 12;

fn describe(command: Command) -> Command {
    command
        .about("Show what a component is made of: imports, exports, size, and what compiling takes")
        .after_help("Exit code 0: it was looked at, even when the server would refuse it. 1: it is no component.")
        .arg(component::argument())
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let component = component::read(matches)?;
    let anatomy = Anatomy::read(&component.bytes).map_err(|reason| component.refused(&reason))?;
    let compiled = inspect::compile(&component.name, &component.bytes, &Limits::default());
    if matches.get_flag("json") {
        writeln!(output, "{:#}", json(&component.file, &anatomy, &compiled))?;
    } else {
        print(output, &component.file, &anatomy, &compiled)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn print(output: &mut dyn Write, file: &str, anatomy: &Anatomy, compiled: &Result<Compiled, Error>) -> io::Result<()> {
    let mut row = |name: &str, value: &str| writeln!(output, "{name:<10} {value}");
    row("file", file)?;
    if let Some(name) = &anatomy.name {
        row("name", name)?;
    }
    row("size", &format!("{} bytes", shown::count(anatomy.size as u64)))?;
    row("sha256", &anatomy.sha256)?;
    match compiled {
        Ok(compiled) => {
            row("roles", &roles(compiled).join(", "))?;
            let (code, time) = (shown::bytes(compiled.code as u64), shown::time(compiled.time));
            row("compiled", &format!("{code} in {time}"))?;
        }
        Err(error) => row("refused", &reason(error))?,
    }
    row("imports", &list(&anatomy.imports))?;
    row("exports", &list(&anatomy.exports))?;
    let (functions, modules) = (shown::count(anatomy.functions.into()), anatomy.modules);
    row(
        "functions",
        &format!("{functions} in {}", plural(modules as usize, "core module")),
    )?;
    for memory in &anatomy.memories {
        row("memory", &size(memory))?;
    }
    for (name, size) in anatomy.sections.iter().take(SECTIONS) {
        row("section", &format!("{name}, {}", shown::bytes(*size as u64)))?;
    }
    if anatomy.sections.len() > SECTIONS {
        row("section", &format!("and {} more", anatomy.sections.len() - SECTIONS))?;
    }
    let makers: Vec<_> = anatomy
        .made_by
        .iter()
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    if !makers.is_empty() {
        row("made by", makers.join(", ").trim_end())?;
    }
    Ok(())
}

fn json(file: &str, anatomy: &Anatomy, compiled: &Result<Compiled, Error>) -> Json {
    let memory = |memory: &Memory| json!({ "initial": memory.initial, "maximum": memory.maximum });
    let section = |(name, size): &(String, usize)| json!({ "name": name, "size": size });
    let maker = |(name, version): &(String, String)| json!({ "name": name, "version": version });
    json!({
        "file": file,
        "name": anatomy.name,
        "size": anatomy.size,
        "sha256": anatomy.sha256,
        "roles": compiled.as_ref().map(roles).unwrap_or_default(),
        "compiledSize": compiled.as_ref().ok().map(|compiled| compiled.code),
        "compileSeconds": compiled.as_ref().ok().map(|compiled| compiled.time.as_secs_f64()),
        "refused": compiled.as_ref().err().map(reason),
        "imports": anatomy.imports,
        "exports": anatomy.exports,
        "modules": anatomy.modules,
        "functions": anatomy.functions,
        "memories": anatomy.memories.iter().map(memory).collect::<Vec<_>>(),
        "sections": anatomy.sections.iter().map(section).collect::<Vec<_>>(),
        "madeBy": anatomy.made_by.iter().map(maker).collect::<Vec<_>>(),
    })
}

fn roles(compiled: &Compiled) -> Vec<String> {
    compiled.roles.iter().map(ToString::to_string).collect()
}

fn reason(error: &Error) -> String {
    match error {
        Error::Refused { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

fn list(names: &[String]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join("\n           ")
    }
}

fn size(memory: &Memory) -> String {
    let initial = shown::bytes(memory.initial);
    match memory.maximum {
        Some(maximum) => format!("{initial} at the start, at most {}", shown::bytes(maximum)),
        None => format!("{initial} at the start"),
    }
}

fn plural(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

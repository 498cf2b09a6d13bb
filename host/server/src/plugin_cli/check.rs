//! `wasmtx plugin check FILE`: whether the server would load a component, and what its entry in mediamtx.yml needs.

use std::{
    collections::BTreeSet,
    io::{self, Write},
    process::ExitCode,
};

use anyhow::anyhow;
use clap::{ArgMatches, Command};
use wasmtx_sandbox::{
    Compiling, Error, Registry, Services, Source,
    inspect::{Anatomy, CONTRACT},
};

use super::{
    Subcommand,
    component::{self, Component},
    settings::{self, GRANTS, Settings},
    shown,
};
use crate::wiring;

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "check",
    describe,
    run,
};

fn describe(command: Command) -> Command {
    settings::arguments(command)
        .about("Say whether the server would load a component, and what its entry in mediamtx.yml needs")
        .after_help("Exit code 0: it can be loaded with this configuration. 1: it cannot.")
        .arg(component::argument())
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let component = component::read(matches)?;
    let anatomy = Anatomy::read(&component.bytes).map_err(|reason| component.refused(&reason))?;
    let settings = settings::read(matches, &component)?;
    if let Some(remedy) = remedy(&anatomy) {
        let (_, unknown) = anatomy.wants();
        let reason = if unknown.is_empty() {
            format!("it does not export {CONTRACT}")
        } else {
            format!("it imports {}, which wasmtx does not offer", unknown.join(", "))
        };
        return Err(component.refused(&format!("{reason}\n{remedy}")));
    }
    let registry = load(&component, &settings, wiring::services())?;
    print(output, &component, &anatomy, &settings, &registry)?;
    Ok(ExitCode::SUCCESS)
}

/// Loads the component with its settings and has it look at each configuration, as a start of the server does.
pub(super) fn load(component: &Component, settings: &Settings, services: Services) -> anyhow::Result<Registry> {
    let specs = vec![settings.spec.clone()];
    let mut services = services;
    services.compiling = Compiling::child();
    let registry = Registry::new(None, services, specs).map_err(|errors| explain(component, settings, &errors))?;
    for used in &settings.uses {
        let chains = registry.chains(std::slice::from_ref(used));
        chains.map_err(|errors| explain(component, settings, &errors))?;
    }
    Ok(registry)
}

fn explain(component: &Component, settings: &Settings, errors: &[Error]) -> anyhow::Error {
    let sentences = errors.iter().map(|error| match error {
        Error::Refused { reason, .. } | Error::Entry { reason, .. } => component.refused(reason).to_string(),
        Error::Config { pointer, message, .. } => {
            let place = if pointer.is_empty() { "the whole of it" } else { pointer };
            let next = match &settings.origin {
                Some(origin) => format!("change it in {origin}"),
                None => "none was given: pass one with --config '{…}' or --config mediamtx.yml".to_owned(),
            };
            format!(
                "{} does not accept its `config`, at {place}: {message}\n{next}",
                component.file
            )
        }
        Error::Failed { reason, .. } => {
            let next = "A configuration that is wrong should be an error with a pointer, not a failure.";
            format!("{} fails when it is configured: {reason}\n{next}", component.file)
        }
        other => format!("{:#}", anyhow!("{other}")),
    });
    anyhow!("{}", sentences.collect::<Vec<_>>().join("\n"))
}

/// All that is wrong, a line each.
pub(super) fn sentences(errors: Vec<Error>) -> anyhow::Error {
    let sentences = errors.into_iter().map(|error| format!("{:#}", anyhow!(error)));
    anyhow!("{}", sentences.collect::<Vec<_>>().join("\n"))
}

/// What to do about a component that was built against something else.
fn remedy(anatomy: &Anatomy) -> Option<String> {
    let (_, unknown) = anatomy.wants();
    if unknown.iter().any(|name| name.starts_with("wasi:")) {
        return Some(
            "wasmtx links no WASI. Build without it: Rust for wasm32-unknown-unknown, C without a libc that calls it, \
             JavaScript with `componentize-qjs --stub-wasi --sync`, Python with `componentize-py --stub-wasi`."
                .to_owned(),
        );
    }
    let names = anatomy.imports.iter().chain(&anatomy.exports);
    let contracts: BTreeSet<_> = names.filter_map(|name| contract(name)).collect();
    if contracts.iter().any(|version| !version.starts_with("0.1.")) {
        let contracts = contracts.into_iter().collect::<Vec<_>>().join(", ");
        return Some(format!(
            "It was built for wasmtx:plugin@{contracts}, this server speaks {CONTRACT}: build it with that version of the SDK \
             or of plugin.wit."
        ));
    }
    if !unknown.is_empty() {
        return Some(
            "A plugin can only import the interfaces of wit/plugin.wit: leave out what needs the others.".to_owned(),
        );
    }
    None
}

/// The version of our package that a name belongs to.
fn contract(name: &str) -> Option<&str> {
    name.strip_prefix("wasmtx:plugin/")?
        .split_once('@')
        .map(|(_, version)| version)
}

fn print(
    output: &mut dyn Write,
    component: &Component,
    anatomy: &Anatomy,
    settings: &Settings,
    registry: &Registry,
) -> io::Result<()> {
    let status = registry.status();
    let roles: Vec<_> = status
        .iter()
        .flat_map(|plugin| &plugin.roles)
        .map(ToString::to_string)
        .collect();
    let (wanted, _) = anatomy.wants();
    writeln!(output, "{} can be loaded", component.file)?;
    let mut row = |name: &str, value: &str| writeln!(output, "  {name:<10} {value}");
    row("contract", CONTRACT)?;
    row("roles", &roles.join(", "))?;
    row("size", &format!("{} bytes", shown::count(anatomy.size as u64)))?;
    row("sha256", &anatomy.sha256)?;
    // Types alone are nothing that could be called.
    let interfaces: Vec<_> = wanted.iter().copied().filter(|name| *name != "types").collect();
    row("imports", &interfaces.join(", "))?;
    match &settings.origin {
        Some(origin) if settings.uses.len() > 1 => {
            row(
                "config",
                &format!("accepted: {origin}, {} different uses", settings.uses.len()),
            )?;
        }
        Some(origin) => row("config", &format!("accepted: {origin}"))?,
        None => row("config", "none needed")?,
    }
    let needs: Vec<_> = GRANTS.iter().filter(|(grant, _)| wanted.contains(grant)).collect();
    let missing: Vec<_> = needs
        .iter()
        .filter(|(grant, _)| !settings.granted.iter().any(|given| given == grant))
        .collect();
    let is_auth = roles.iter().any(|role| role == "auth");
    if is_auth && !settings.granted.iter().any(|given| given == "credentials") {
        row(
            "note",
            "sees passwords and tokens only with `credentials: yes` below `grant`",
        )?;
    }
    for (grant, meaning) in &missing {
        row(
            "not granted",
            &format!("{grant} ({meaning}): calls answer `not-granted`"),
        )?;
    }
    writeln!(output, "\nIn mediamtx.yml:\n")?;
    writeln!(
        output,
        "plugins:\n  {}:\n    file: {}",
        settings.spec.name,
        quoted(&component.file)
    )?;
    if matches!(settings.spec.source, Source::File(_)) {
        writeln!(output, "    sha256: {}", anatomy.sha256)?;
    }
    if !settings.spec.config.is_null() && settings.origin.is_some() {
        writeln!(output, "    config: {}", settings.spec.config)?;
    }
    if !needs.is_empty() || settings.granted.iter().any(|given| given == "credentials") {
        writeln!(output, "    grant:")?;
    }
    for (grant, meaning) in needs {
        writeln!(
            output,
            "      {:<42} # {meaning}",
            format!("{grant}: {}", example(grant))
        )?;
    }
    if settings.granted.iter().any(|given| given == "credentials") {
        writeln!(output, "      credentials: yes")?;
    }
    writeln!(output, "pathDefaults:\n  plugins: [{}]", settings.spec.name)
}

/// A value for the key below `grant`.
fn example(grant: &str) -> &'static str {
    match grant {
        "http" => "[https://service.example/]",
        "storage" => "./recordings",
        _ => "yes",
    }
}

/// A file name as YAML takes it.
fn quoted(file: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'/' | b'-' | b'_' | b':');
    if file.bytes().all(plain) {
        file.to_owned()
    } else {
        format!("{file:?}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn anatomy(imports: &[&str], exports: &[&str]) -> Anatomy {
        let owned = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
        let mut anatomy = Anatomy::default();
        anatomy.imports = owned(imports);
        anatomy.exports = owned(exports);
        anatomy
    }

    #[test]
    fn a_component_with_wasi_is_told_how_to_do_without() {
        let remedy = remedy(&anatomy(&["wasi:cli/environment@0.2.0"], &[])).unwrap();
        assert!(remedy.contains("--stub-wasi"), "{remedy}");
    }

    #[test]
    fn a_component_for_another_contract_is_told_both_versions() {
        let remedy = remedy(&anatomy(&[], &["wasmtx:plugin/filter@0.9.0"])).unwrap();
        assert!(remedy.contains("0.9.0") && remedy.contains(CONTRACT), "{remedy}");
    }

    #[test]
    fn what_fits_needs_no_remedy() {
        assert_eq!(
            remedy(&anatomy(&["wasmtx:plugin/log@0.1.2"], &["wasmtx:plugin/filter@0.1.0"])),
            None
        );
    }
}

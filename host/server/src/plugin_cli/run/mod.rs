//! `wasmtx plugin run FILE`: a plugin at work, without a server: frames of a recorded clip go through a filter, requests
//! are put to an auth plugin, events are told to an events plugin.

pub(super) mod auth;
mod events;
mod filter;
mod verdict;

use std::{io::Write, path::PathBuf, process::ExitCode};

use anyhow::{Context, bail};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use wasmtx_hub::{Events, PathName};
use wasmtx_sandbox::Role;

use super::{Subcommand, check, component, settings};
use crate::wiring;

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "run",
    describe,
    run,
};

/// The path that a plugin sees when none is named.
const PATH: &str = "clip";

fn describe(command: Command) -> Command {
    let file = |name: &'static str, value: &'static str| {
        Arg::new(name)
            .long(name)
            .value_name(value)
            .value_parser(value_parser!(PathBuf))
    };
    settings::arguments(command)
        .about("Feed a recorded clip to a filter, requests to an auth plugin, or events, and show what it says")
        .after_help(
            "Exit code 0: it ran. 1: it failed on something, or did not run at all. A filter that drops frames or closes \
             the stream, and an auth plugin that denies, ran.",
        )
        .arg(component::argument())
        .arg(file("input", "CLIP").help("An MP4 file whose frames go through the filter"))
        .arg(file("output", "FILE").help("Write what comes out as an MP4 file"))
        .arg(file("verdicts", "FILE").help("Write one JSON line per frame or request"))
        .arg(
            Arg::new("request")
                .long("request")
                .value_name("JSON|FILE")
                .action(ArgAction::Append)
                .help("For auth: who wants what, as {\"action\": \"read\", \"path\": …, \"user\": …, \"password\": …, \"token\": …, \"query\": …, \"ip\": …, \"protocol\": …}, or a list of such"),
        )
        .arg(
            Arg::new("event")
                .long("event")
                .value_name("JSON|FILE")
                .action(ArgAction::Append)
                .help("For events: what happened, as lines of /v3/events say it: {\"kind\": \"online\", \"path\": …}"),
        )
        .arg(Arg::new("path").long("path").value_name("NAME").help(
            "The path that it runs on; of a mediamtx.yml, the configuration that it has there",
        ))
        .arg(
            Arg::new("verbose")
                .short('v')
                .long("verbose")
                .action(ArgAction::SetTrue)
                .help("Show each frame, and all that the plugin logs"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    super::log(matches.get_flag("verbose"));
    let component = component::read(matches)?;
    let mut settings = settings::read(matches, &component)?;
    // A clip goes through as fast as it can, which is many times what a live stream takes of the processor.
    settings.spec.limits.share = u32::MAX;
    let path = PathName::new(matches.get_one::<String>("path").map_or(PATH, String::as_str))?;
    let mut services = wiring::services();
    let raised = Events::default();
    services.events = raised.clone();
    let mut raised = raised.listen(events::now).context("a first listener")?;
    let registry = check::load(&component, &settings, services)?;
    let chains = match settings.uses.first() {
        Some(used) => registry.chains(std::slice::from_ref(used)).map_err(check::sentences)?,
        None => bail!("there is nothing to run"),
    };
    if settings.uses.len() > 1 {
        writeln!(
            output,
            "{} different uses; this is the first of them (--path names another)",
            settings.uses.len()
        )?;
    }
    let roles = registry
        .status()
        .into_iter()
        .flat_map(|plugin| plugin.roles)
        .collect::<Vec<_>>();
    let requests: Vec<_> = matches.get_many::<String>("request").unwrap_or_default().collect();
    let told: Vec<_> = matches.get_many::<String>("event").unwrap_or_default().collect();
    let input = matches.get_one::<PathBuf>("input");
    let mut failed = false;
    if let Some(input) = input {
        let Some(filters) = &chains.filters else {
            bail!("--input is for filters; {} is {}", component.file, named(&roles));
        };
        failed |= filter::run(&registry, &**filters, &path, input, matches, output)?;
    }
    if !requests.is_empty() {
        let Some(auth) = &chains.auth else {
            bail!("--request is for auth plugins; {} is {}", component.file, named(&roles));
        };
        failed |= auth::run(&registry, auth, &path, &requests, matches, output)?;
    }
    if !told.is_empty() {
        let Some(observers) = &chains.events else {
            bail!("--event is for events plugins; {} is {}", component.file, named(&roles));
        };
        failed |= events::run(&registry, observers, &mut raised, &path, &told, output)?;
    }
    if input.is_none() && requests.is_empty() && told.is_empty() {
        bail!("{} is {}: pass {}", component.file, named(&roles), wanted(&roles));
    }
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn named(roles: &[Role]) -> String {
    let roles: Vec<_> = roles.iter().map(ToString::to_string).collect();
    format!("for {}", roles.join(", "))
}

fn wanted(roles: &[Role]) -> String {
    let mut options = Vec::new();
    if roles.contains(&Role::Filter) {
        options.push("--input clip.mp4");
    }
    if roles.contains(&Role::Auth) {
        options.push("--request '{\"action\": \"read\", \"path\": \"cam1\", \"user\": \"…\"}'");
    }
    if roles.contains(&Role::Events) {
        options.push("--event '{\"kind\": \"online\", \"path\": \"cam1\"}'");
    }
    if options.is_empty() {
        return "it to a server: this command runs filters, auth and events plugins".to_owned();
    }
    options.join(" or ")
}

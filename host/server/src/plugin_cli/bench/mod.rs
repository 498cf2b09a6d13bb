//! `wasmtx plugin bench FILE`: what a plugin costs per call, per instance and per stream, beside a native filter that does
//! nothing, in the same run.

mod auth;
mod figures;
mod filter;
mod stream;

use std::{io::Write, path::PathBuf, process::ExitCode, time::Duration};

use anyhow::bail;
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use wasmtx_sandbox::Role;

use self::figures::Report;
use super::{Subcommand, check, component, settings};
use crate::wiring;

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "bench",
    describe,
    run,
};

fn describe(command: Command) -> Command {
    settings::arguments(command)
        .about("Measure a plugin: time per call, per instance, memory, and its share of a core")
        .after_help(
            "Times include what the server does around a call. Measure with a release build on a quiet machine.\n\
             Exit code 0: it was measured. 1: it failed while it was.",
        )
        .arg(component::argument())
        .arg(
            Arg::new("input")
                .long("input")
                .value_name("CLIP")
                .value_parser(value_parser!(PathBuf))
                .help("Use the frames of an MP4 file, again and again, instead of made-up ones"),
        )
        .arg(
            Arg::new("request")
                .long("request")
                .value_name("JSON|FILE")
                .action(ArgAction::Append)
                .help("For auth: what is asked, as for `wasmtx plugin run`"),
        )
        .arg(
            Arg::new("paths")
                .long("paths")
                .value_name("COUNT")
                .default_value("100")
                .value_parser(value_parser!(u32).range(1..=100_000))
                .help("Streams for which the share of a core is told"),
        )
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_name("SECONDS")
                .default_value("2")
                .value_parser(value_parser!(u64).range(1..=600))
                .help("How long calls are measured"),
        )
        .arg(
            Arg::new("json")
                .long("json")
                .action(ArgAction::SetTrue)
                .help("Print JSON"),
        )
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    super::log(false);
    let component = component::read(matches)?;
    let mut settings = settings::read(matches, &component)?;
    // What is measured runs without pause, and must not go round the plugin for it.
    settings.spec.limits.share = u32::MAX;
    let registry = check::load(&component, &settings, wiring::services())?;
    let Some(used) = settings.uses.first() else {
        bail!("there is nothing to measure");
    };
    let chains = registry.chains(std::slice::from_ref(used)).map_err(check::sentences)?;
    let time = Duration::from_secs(matches.get_one("seconds").copied().unwrap_or(1));
    let mut report = Report::default();
    if cfg!(debug_assertions) {
        report.note("a debug build: the figures say nothing about a release");
    }
    let requests: Vec<_> = matches.get_many::<String>("request").unwrap_or_default().collect();
    if let Some(filters) = &chains.filters {
        let stream = match matches.get_one::<PathBuf>("input") {
            Some(clip) => stream::of_clip(clip)?,
            None => stream::made_up(),
        };
        let paths = matches.get_one("paths").copied().unwrap_or(1);
        filter::measure(
            &registry,
            &**filters,
            &settings.spec.limits,
            &stream,
            time,
            paths,
            &mut report,
        )?;
    }
    if let Some(auth) = &chains.auth {
        auth::measure(auth, &settings.spec.limits, &requests, time, &mut report)?;
    }
    if chains.filters.is_none() && chains.auth.is_none() {
        let roles = registry.status().into_iter().flat_map(|plugin| plugin.roles);
        let roles: Vec<_> = roles.map(|role: Role| role.to_string()).collect();
        bail!(
            "{} is for {}: only filters and auth plugins can be measured",
            component.file,
            roles.join(", ")
        );
    }
    let failures = registry
        .status()
        .into_iter()
        .flat_map(|plugin| plugin.uses)
        .map(|usage| usage.traps + usage.deadlines + usage.memory + usage.other)
        .sum::<u64>();
    if failures > 0 {
        report.note(&format!(
            "it failed {failures} times: the figures are of calls that failed, too"
        ));
    }
    if matches.get_flag("json") {
        writeln!(output, "{:#}", report.json(&component.file, failures))?;
    } else {
        report.print(output)?;
    }
    Ok(if failures > 0 {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

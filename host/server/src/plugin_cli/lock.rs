//! `wasmtx plugin lock FILE`: finds out what the plugins that are fetched are, and writes it beside the configuration.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, anyhow};
use clap::{Arg, ArgMatches, Command, value_parser};
use wasmtx_endpoints::fetch::{Error, Fetched, Fetcher, Wanted};

use super::Subcommand;
use crate::{
    config::{
        self, Config,
        plugin::{LOCK, Lock},
    },
    sources,
};

pub(super) const SUBCOMMAND: Subcommand = Subcommand {
    name: "lock",
    describe,
    run,
};

fn describe(command: Command) -> Command {
    let file = Arg::new("FILE").value_parser(value_parser!(PathBuf));
    command
        .about("Write down which components the https:// and oci:// plugins of a configuration are")
        .after_help(
            "Fetches each of them, keeps it in the state directory, and writes plugins.lock beside the configuration. The \
             server loads what the lock names and nothing else. Exit code 0: all are written down. 1: none is.",
        )
        .arg(file.help("The configuration; without it mediamtx.yml of the working directory and of the usual places"))
}

fn run(matches: &ArgMatches, output: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let file = matches.get_one::<PathBuf>("FILE").map(PathBuf::as_path);
    let config = config::load(file, &config::environment())?;
    let Some(file) = &config.file else {
        return Err(anyhow!("there is no configuration: name one, wasmtx plugin lock FILE"));
    };
    let remote = sources::remote(&config);
    let place = Lock::beside(file);
    if remote.is_empty() && !place.exists() {
        writeln!(
            output,
            "no plugin of {} comes from elsewhere: nothing to lock",
            file.display()
        )?;
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let found = runtime.block_on(resolve(&config, &remote))?;
    let mut lock = Lock::default();
    for ((name, wanted), found) in remote.iter().zip(&found) {
        lock.insert(name, &wanted.origin, found);
        let before = config.lock.plugins.get(*name);
        let news = match before.map(|before| before.sha256.sha256()) {
            None => "new",
            Some(sha256) if sha256 == Some(found.sha256.0) => "as before",
            Some(_) => "changed",
        };
        writeln!(output, "{name}: {news}\n  {}\n  sha256 {}", found.origin, found.sha256)?;
    }
    write(&place, &lock.text()).with_context(|| format!("{}", place.display()))?;
    writeln!(output, "written: {}", place.display())?;
    Ok(ExitCode::SUCCESS)
}

async fn resolve(config: &Config, remote: &[(&str, Wanted)]) -> anyhow::Result<Vec<Fetched>> {
    let fetcher = Fetcher::new(&config.global.state_directory);
    let mut found = Vec::with_capacity(remote.len());
    for (name, wanted) in remote {
        let resolved = fetcher.resolve(wanted).await;
        found.push(resolved.map_err(|error| anyhow!("plugins.{name}: {error}{}", next(&error)))?);
    }
    Ok(found)
}

/// What to do about it.
fn next(error: &Error) -> &'static str {
    match error {
        Error::Mismatch { .. } => "\nif the new one is meant, change its `sha256` or digest in the configuration",
        Error::Unsigned => "\nput its signature where it belongs (docs/plugins/sources.md), or leave `publicKey` out",
        _ => "",
    }
}

/// Whole or not at all.
fn write(place: &Path, text: &str) -> anyhow::Result<()> {
    let aside = place.with_file_name(format!("{LOCK}.new"));
    fs::write(&aside, text)?;
    fs::rename(&aside, place)?;
    Ok(())
}

//! `wasmtx plugin …`: what somebody who writes or runs plugins does without a server, and one way to hand one to it.
//!
//! A subcommand is one file here and one line in `SUBCOMMANDS`. What it found goes to standard output, what went wrong
//! to standard error with what to do next; the exit code says whether it was well.

mod bench;
mod build;
mod check;
mod clip;
mod component;
mod inspect;
mod lock;
mod new;
mod project;
mod push;
mod run;
mod settings;
mod shown;

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{ArgMatches, Command};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::{Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// All there are, in the order of `--help`.
const SUBCOMMANDS: &[Subcommand] = &[
    new::SUBCOMMAND,
    build::SUBCOMMAND,
    check::SUBCOMMAND,
    run::SUBCOMMAND,
    bench::SUBCOMMAND,
    inspect::SUBCOMMAND,
    lock::SUBCOMMAND,
    push::SUBCOMMAND,
];

/// One word behind `wasmtx plugin`.
struct Subcommand {
    name: &'static str,
    /// Adds help and arguments to the command of that name.
    describe: fn(Command) -> Command,
    /// Does it. Results are written to the second argument; an error is printed by the caller.
    run: fn(&ArgMatches, &mut dyn Write) -> anyhow::Result<ExitCode>,
}

/// A subcommand with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Task {
    name: String,
    matches: ArgMatches,
}

/// `plugin` for the command line.
pub(crate) fn command() -> Command {
    let subcommands = SUBCOMMANDS
        .iter()
        .map(|subcommand| (subcommand.describe)(Command::new(subcommand.name)));
    Command::new("plugin")
        .about("Write, look at, try and measure plugins")
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_help_subcommand(true)
        .subcommands(subcommands)
}

/// What was asked for behind `plugin`.
pub(crate) fn task(matches: &ArgMatches) -> Option<Task> {
    let (name, matches) = matches.subcommand()?;
    Some(Task {
        name: name.to_owned(),
        matches: matches.clone(),
    })
}

impl Task {
    /// Does what was asked for. Blocks until it is done.
    pub fn run(&self) -> ExitCode {
        let Some(subcommand) = SUBCOMMANDS.iter().find(|subcommand| subcommand.name == self.name) else {
            return ExitCode::FAILURE;
        };
        let mut output = io::BufWriter::new(io::stdout().lock());
        let done = (subcommand.run)(&self.matches, &mut output);
        match done.and_then(|code| Ok(output.flush().map(|()| code)?)) {
            Ok(code) => code,
            // Whoever read the output has seen enough.
            Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
            Err(error) => {
                // What was found before comes first.
                let _ = output.flush();
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        }
    }
}

/// Shows on standard error what plugins log.
fn log(verbose: bool) {
    let level = if verbose { LevelFilter::TRACE } else { LevelFilter::INFO };
    // The compiler and the runtime of plugins have much to say, too.
    let ours = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target("wasmtx", level);
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .without_time();
    // Whoever runs this within a program that logs already keeps that log.
    let _ = tracing_subscriber::registry().with(lines.with_filter(ours)).try_init();
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

//! The command line: `wasmtx [FILE]` and its subcommands.

use clap::{Arg, ArgMatches, Command, value_parser};
use std::{ffi::OsString, path::PathBuf};

use crate::plugin_cli;

const FILE: &str = "FILE";
const FILE_HELP: &str = "The configuration; without it mediamtx.yml is looked for in the working directory and in the \
                         usual places of the system, and defaults are used when there is none";

/// What somebody asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Task {
    /// Serve.
    Run {
        /// The file that was named.
        file: Option<PathBuf>,
    },
    /// Say what is wrong with a configuration.
    Check {
        /// The file that was named.
        file: Option<PathBuf>,
    },
    /// Do something with a plugin, without a server.
    Plugin(plugin_cli::Task),
}

/// The version, as `--version`, the API and the log tell it.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Reads the command line, the program's name first.
///
/// # Errors
/// What to print instead of doing something, and the exit code: help and version are among it.
pub fn parse<I, T>(arguments: I) -> Result<Task, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let matches = command().try_get_matches_from(arguments)?;
    Ok(match matches.subcommand() {
        Some(("check", matches)) => Task::Check { file: file(matches) },
        Some(("plugin", matches)) => match plugin_cli::task(matches) {
            Some(task) => Task::Plugin(task),
            // clap answers with the help before it comes to this.
            None => return Err(command().error(clap::error::ErrorKind::MissingSubcommand, "what about the plugin?")),
        },
        _ => Task::Run { file: file(&matches) },
    })
}

fn command() -> Command {
    let file = Arg::new(FILE).help(FILE_HELP).value_parser(value_parser!(PathBuf));
    Command::new("wasmtx")
        .version(VERSION)
        .about("A live media server with WASM plugins; reads mediamtx.yml")
        .args_conflicts_with_subcommands(true)
        .disable_help_subcommand(true)
        .arg(file.clone())
        .subcommand(
            Command::new("check")
                .about("Say `ok`, or everything that is wrong with a configuration")
                .after_help("Exit code 0: the configuration can be used. 1: it cannot.")
                .arg(file),
        )
        .subcommand(plugin_cli::command())
}

fn file(matches: &ArgMatches) -> Option<PathBuf> {
    matches.get_one::<PathBuf>(FILE).cloned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::error::ErrorKind;

    fn task(arguments: &[&str]) -> Result<Task, ErrorKind> {
        parse([&["wasmtx"], arguments].concat()).map_err(|error| error.kind())
    }

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn a_file_is_served_and_check_checks_it() {
        let file = || Some(PathBuf::from("a.yml"));
        assert_eq!(task(&[]), Ok(Task::Run { file: None }));
        assert_eq!(task(&["a.yml"]), Ok(Task::Run { file: file() }));
        assert_eq!(task(&["check"]), Ok(Task::Check { file: None }));
        assert_eq!(task(&["check", "a.yml"]), Ok(Task::Check { file: file() }));
    }

    #[test]
    fn a_subcommand_for_plugins_takes_its_own_arguments() {
        assert!(matches!(task(&["plugin", "inspect", "a.wasm"]), Ok(Task::Plugin(_))));
        assert_eq!(
            task(&["plugin"]),
            Err(ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
        );
        assert_eq!(task(&["plugin", "inspect"]), Err(ErrorKind::MissingRequiredArgument));
        assert_eq!(task(&["plugin", "brew", "a.wasm"]), Err(ErrorKind::InvalidSubcommand));
    }

    #[test]
    fn what_nobody_knows_is_refused() {
        assert_eq!(task(&["--help"]), Err(ErrorKind::DisplayHelp));
        assert_eq!(task(&["--version"]), Err(ErrorKind::DisplayVersion));
        assert_eq!(task(&["--upgrade"]), Err(ErrorKind::UnknownArgument));
        assert_eq!(task(&["check", "a.yml", "b.yml"]), Err(ErrorKind::UnknownArgument));
    }
}

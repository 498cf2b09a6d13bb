//! The program `wasmtx`: command line, configuration, log, then the server.

use std::{
    io::{self, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use wasmtx_sandbox::{COMPILE_ARGUMENT, compile_worker};
use wasmtx_server::{
    cli::{self, Task},
    config, log, run, sound, sources,
};

/// For work on threads of its own that is not over when the server is.
const LAST_MOMENT: Duration = Duration::from_millis(100);

fn main() -> ExitCode {
    // First of all: this process is to have nothing that it does not need, not even a log.
    if std::env::args_os()
        .nth(1)
        .is_some_and(|argument| argument == COMPILE_ARGUMENT)
    {
        return compile();
    }
    let task = match cli::parse(std::env::args_os()) {
        Ok(task) => task,
        Err(error) => error.exit(),
    };
    let done = match task {
        Task::Check { file } => checked(file.as_deref()).map(|config| {
            config
                .warnings
                .iter()
                .for_each(|warning| eprintln!("warning: {warning}"));
            // Nobody may be listening any more; the exit code says it too.
            let _ = writeln!(io::stdout(), "ok");
        }),
        Task::Run { file } => match loaded(file.as_deref()) {
            Ok(config) => return serve(config),
            Err(problems) => Err(problems),
        },
        Task::Plugin(task) => return task.run(),
        _ => return ExitCode::FAILURE,
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problems) => {
            eprintln!("{problems}");
            ExitCode::FAILURE
        }
    }
}

/// Is the server's compile child until the server hangs up.
fn compile() -> ExitCode {
    match compile_worker() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A configuration that this program can do.
fn loaded(file: Option<&Path>) -> Result<config::Config, config::Problems> {
    let config = config::load(file, &config::environment())?;
    sound::able(&config, sound::ready())?;
    Ok(config)
}

/// The same, and whether it says which components its plugins are.
fn checked(file: Option<&Path>) -> Result<config::Config, config::Problems> {
    let config = loaded(file)?;
    sources::pinned(&config)?;
    Ok(config)
}

fn serve(config: config::Config) -> ExitCode {
    let logs = match log::init(&log::Settings::from(&config.global)) {
        Ok(logs) => logs,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    run::announce(&config);
    let served = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let served = runtime.block_on(run::run(config, logs.clone()));
            // A plugin that is being compiled has its thread, and would take it along for half a minute.
            runtime.shutdown_timeout(LAST_MOMENT);
            served
        });
    let code = match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for problem in format!("{error:#}").lines() {
                tracing::error!("{problem}");
            }
            ExitCode::FAILURE
        }
    };
    logs.close();
    code
}

//! The server from its start to its end.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use wasmtx_sandbox::Compiling;

use crate::{
    cli,
    config::{self, Config},
    log::{self, Logs},
    reload::FileWatch,
    server::Server,
};

/// Logs what the operator should know before anything listens.
pub fn announce(config: &Config) {
    match &config.file {
        Some(file) => tracing::info!("wasmtx {}, configuration from {}", cli::VERSION, file.display()),
        None => tracing::info!(
            "wasmtx {}, no configuration file: defaults, and no path is configured",
            cli::VERSION
        ),
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if !config.unserved.is_empty() {
        tracing::info!("not served by this version: {}", config.unserved.join(", "));
    }
}

/// Serves until somebody asks to stop.
///
/// # Errors
/// What kept the server from starting.
pub async fn run(config: Config, logs: Logs) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut watch = watch(&config);
    let server = tokio::select! {
        server = Server::start(config, Some(logs.clone()), Compiling::child()) => server?,
        // Plugins may take long to compile.
        () = signals.next() => return Ok(()),
    };
    loop {
        tokio::select! {
            () = signals.next() => break,
            mended = server.mend() => {
                if let Err(error) = mended {
                    refuse(&format!("{error:#}"));
                }
            }
            () = changed(&mut watch) => {
                let Some(watch) = &watch else { continue };
                tokio::select! {
                    () = reload(&server, &logs, watch) => {}
                    // What takes long comes before anything changes in the server: nothing is half done.
                    () = signals.next() => break,
                }
            }
        }
    }
    tracing::info!("stopping");
    tokio::select! {
        () = server.stop() => {}
        // Asked twice: now.
        () = signals.next() => {}
    }
    Ok(())
}

/// The two ways to ask a server to stop.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Signals> {
        let interrupt = signal(SignalKind::interrupt()).context("signal handler")?;
        let terminate = signal(SignalKind::terminate()).context("signal handler")?;
        Ok(Signals { interrupt, terminate })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

fn watch(config: &Config) -> Option<FileWatch> {
    let file = config.file.as_ref()?;
    FileWatch::new(file)
        .map_err(|error| tracing::warn!("changes of {} are not noticed: {error:#}", file.display()))
        .ok()
}

async fn changed(watch: &mut Option<FileWatch>) {
    match watch {
        Some(watch) => watch.changed().await,
        None => std::future::pending().await,
    }
}

/// Reads the file again. What is wrong with it is logged, and the configuration in force stays.
async fn reload(server: &Server, logs: &Logs, watch: &FileWatch) {
    let config = match config::load(Some(watch.file()), &config::environment()) {
        Ok(config) => config,
        Err(problems) => {
            refuse(&problems.to_string());
            return;
        }
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let settings = log::Settings::from(&config.global);
    if let Err(error) = server.reload(config).await {
        refuse(&format!("{error:#}"));
        return;
    }
    if let Err(error) = logs.reload(&settings) {
        tracing::error!(code = "log", "the log stays as it is: {error}");
    }
    tracing::info!("configuration reloaded");
}

/// Says what is wrong with a changed file, a line each.
fn refuse(problems: &str) {
    for problem in problems.lines() {
        tracing::error!(code = "config", "{problem}");
    }
    tracing::error!(code = "config", "the configuration in force stays");
}

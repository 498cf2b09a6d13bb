//! The server from its start to its end.

use crate::{cli, config::Config, log::Logs, server::Server};
use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

/// Logs what the operator should know before anything listens.
pub fn announce(config: &Config) {
    match &config.file {
        Some(file) => tracing::info!("wasmtx {}, configuration from {}", cli::VERSION, file.display()),
        None => tracing::info!("wasmtx {}, no configuration file: defaults, and no path is configured", cli::VERSION),
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
    let server = Server::start(config).await?;
    let mut interrupt = signal(SignalKind::interrupt()).context("signal handler")?;
    let mut terminate = signal(SignalKind::terminate()).context("signal handler")?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    tracing::info!("stopping");
    let _ = logs;
    tokio::select! {
        () = server.stop() => {}
        // Asked twice: now.
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

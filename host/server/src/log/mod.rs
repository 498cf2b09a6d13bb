//! The log: what `tracing` and `log` record, as lines of text or JSON, to standard output, a file and the system log.
//!
//! Whoever logs never waits: lines go through a bounded queue to one thread that writes, and what does not fit is
//! counted and said once there is room again. Level and destinations change while the server runs.
//!
//! A record's target is its component when it begins with a capital (`target: "RTSP"`), shown as `[RTSP]`. Fields of a
//! record and of the spans around it follow the message; JSON keeps them apart.

mod line;
mod sink;

use crate::config::{Global, LogDestination, LogLevel};
use std::{path::PathBuf, sync::Arc};
use tracing::{Metadata, level_filters::LevelFilter, subscriber::Interest};
use tracing_subscriber::{
    Layer, Registry,
    layer::{Context, Filter, SubscriberExt},
    reload,
    util::SubscriberInitExt,
};

/// What the file says about logging.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How much.
    pub level: LogLevel,
    /// Where to.
    pub destinations: Vec<LogDestination>,
    /// JSON instead of text.
    pub structured: bool,
    /// The file, when that is a destination.
    pub file: PathBuf,
    /// The name in the system log.
    pub syslog_prefix: String,
}

impl From<&Global> for Settings {
    fn from(global: &Global) -> Settings {
        Settings {
            level: global.log_level,
            destinations: global.log_destinations.clone(),
            structured: global.log_structured,
            file: global.log_file.clone(),
            syslog_prefix: global.sys_log_prefix.clone(),
        }
    }
}

/// Why the log cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be opened.
    #[error("logFile: cannot open {file}: {source}")]
    File {
        /// The file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The thread that writes cannot be started.
    #[error("the log's thread cannot be started: {0}")]
    Thread(std::io::Error),
    /// Something else in this process logs already.
    #[error("a log is set up already")]
    Taken,
}

/// The running log.
#[derive(Clone)]
pub struct Logs {
    filter: reload::Handle<Verbosity, Registry>,
    queue: Arc<sink::Queue>,
}

impl Logs {
    /// Changes level and destinations; on an error all stays as it is.
    ///
    /// # Errors
    /// The new file cannot be opened.
    pub fn reload(&self, settings: &Settings) -> Result<(), Error> {
        self.queue.redirect(sink::Outputs::open(settings)?);
        // It fails only when the subscriber is gone, and then nobody logs.
        let _ = self.filter.reload(Verbosity(settings.level));
        Ok(())
    }

    /// Lines that did not fit into the queue.
    pub fn dropped(&self) -> u64 {
        self.queue.dropped()
    }

    /// Writes what is queued and ends; later lines are lost.
    pub fn close(&self) {
        self.queue.close();
    }
}

/// Starts logging for the whole process.
///
/// # Errors
/// The file cannot be opened, or something logs already.
pub fn init(settings: &Settings) -> Result<Logs, Error> {
    let (layer, logs) = layer(settings)?;
    tracing_subscriber::registry()
        .with(layer)
        .try_init()
        .map_err(|_| Error::Taken)?;
    Ok(logs)
}

/// The log as a layer of `tracing`.
fn layer(settings: &Settings) -> Result<(impl Layer<Registry>, Logs), Error> {
    let queue = Arc::new(sink::Queue::start(sink::Outputs::open(settings)?)?);
    let (filter, handle) = reload::Layer::new(Verbosity(settings.level));
    Ok((
        line::Lines::new(queue.clone()).with_filter(filter),
        Logs { filter: handle, queue },
    ))
}

/// Lets through what the level asks for. Of other people's code only warnings: its details drown ours.
#[derive(Clone, Copy)]
struct Verbosity(LogLevel);

impl Verbosity {
    fn level(self) -> LevelFilter {
        match self.0 {
            LogLevel::Error => LevelFilter::ERROR,
            LogLevel::Warn => LevelFilter::WARN,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Debug => LevelFilter::DEBUG,
        }
    }

    fn allows(self, metadata: &Metadata<'_>) -> bool {
        let target = metadata.target();
        // `log` records pass under the target "log" once their own target was let through.
        let ours = metadata.is_span() || target.starts_with("wasmtx") || line::component(target).is_some();
        let level = if ours || target == "log" {
            self.level()
        } else {
            self.level().min(LevelFilter::WARN)
        };
        *metadata.level() <= level
    }
}

impl<S> Filter<S> for Verbosity {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        self.allows(metadata)
    }

    fn callsite_enabled(&self, metadata: &'static Metadata<'static>) -> Interest {
        if self.allows(metadata) {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn records_pass_by_level_and_keep_the_fields_of_their_spans() {
        let file = std::env::temp_dir().join(format!("wasmtx-log-{}-records", std::process::id()));
        let mut settings = Settings {
            level: LogLevel::Info,
            destinations: vec![LogDestination::File],
            structured: true,
            file: file.clone(),
            syslog_prefix: String::new(),
        };
        let (layer, logs) = layer(&settings).unwrap();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let span = tracing::info_span!("connection", conn = "ab12", path = tracing::field::Empty);
            let _entered = span.enter();
            span.record("path", "cam1");
            tracing::info!(target: "RTSP", code = 404, "not found");
            tracing::debug!("too much");
            tracing::info!(target: "hyper::proto", "not ours");
            tracing::warn!(target: "hyper::proto", "serious");
            settings.level = LogLevel::Debug;
            logs.reload(&settings).unwrap();
            tracing::debug!("wanted now");
        });
        logs.close();
        let text = fs::read_to_string(&file).unwrap();
        fs::remove_file(file).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let messages: Vec<&str> = lines.iter().filter_map(|line| line["message"].as_str()).collect();
        assert_eq!(messages, ["not found", "serious", "wanted now"]);
        let mut first = lines[0].clone();
        first["timestamp"].take();
        let expected = serde_json::json!({
            "timestamp": null, "level": "INF", "component": "RTSP", "message": "not found",
            "conn": "ab12", "path": "cam1", "code": 404
        });
        assert_eq!(first, expected);
    }
}

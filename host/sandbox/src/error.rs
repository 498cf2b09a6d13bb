//! What can go wrong before a guest runs. What goes wrong inside a guest is [`crate::instance::Failure`].

use std::{io, path::PathBuf};

/// A plugin that cannot be loaded, configured or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The wasm engine does not start.
    #[error("the wasm engine does not start")]
    Engine(#[source] wasmtime::Error),
    /// The system refuses a thread.
    #[error("no thread for plugins")]
    Thread(#[source] io::Error),
    /// The plugin's file cannot be read.
    #[error("plugin {plugin:?}: {}", .file.display())]
    Read {
        /// The name in the configuration.
        plugin: String,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The plugin's file cannot be replaced.
    #[error("plugin {plugin:?}: {} cannot be written", .file.display())]
    Write {
        /// The name in the configuration.
        plugin: String,
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A component can only take the place of a file.
    #[error("plugin {0:?} has no file of its own to replace: give its entry in mediamtx.yml a `file`")]
    NoFile(String),
    /// Nothing has that name, neither in the configuration nor in the binary.
    #[error("there is no plugin {0:?}; bundled are {list}", list = crate::BUNDLED.join(", "))]
    Unknown(String),
    /// The bytes are not a component that wasmtx would run.
    #[error("plugin {plugin:?} is refused: {reason}")]
    Refused {
        /// The name in the configuration.
        plugin: String,
        /// What is wrong with it.
        reason: String,
    },
    /// What the plugin's entry says about it does not hold: another component than it wants, a grant that cannot work.
    #[error("plugin {plugin:?} is refused: {reason}")]
    Entry {
        /// The name in the configuration.
        plugin: String,
        /// What does not hold.
        reason: String,
    },
    /// The plugin says that its configuration is wrong.
    #[error("plugin {plugin:?}, config{pointer}: {message}")]
    Config {
        /// The name in the configuration.
        plugin: String,
        /// A JSON pointer into the plugin's `config`; empty for the whole of it.
        pointer: String,
        /// The plugin's words.
        message: String,
    },
    /// The plugin failed while its configuration was checked.
    #[error("plugin {plugin:?} fails when it is configured: {reason}")]
    Failed {
        /// The name in the configuration.
        plugin: String,
        /// What happened.
        reason: String,
    },
    /// The plugin cannot do what it is to do here.
    #[error("plugin {plugin:?} cannot be used here: {reason}")]
    Use {
        /// The name in the configuration.
        plugin: String,
        /// Why.
        reason: String,
    },
    /// The list of a path is too long.
    #[error("a path may use at most {max} plugins, not {0}", max = crate::limits::CHAIN_LENGTH)]
    TooMany(usize),
    /// The files of plugins cannot be watched for changes.
    #[error("plugin files are not watched for changes")]
    Watch(#[source] notify::Error),
}

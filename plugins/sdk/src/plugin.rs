//! The life of a plugin: configured once, ticked if it likes, replaced by its successor.

use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

use crate::Error;
pub use crate::bindings::lifecycle::exports::wasmtx::plugin::lifecycle::Snapshot;

/// What every plugin is, whatever its role.
///
/// The server makes an instance per role and use in `mediamtx.yml`, of filters and sinks one per stream, of the others one or several as they are
/// needed, and makes one call of an instance at a time: no locks are needed. An instance may also be made only to check a configuration, so nothing but
/// checking belongs into [`new`](Plugin::new).
pub trait Plugin: Sized + 'static {
    /// The `config` section of `mediamtx.yml`, read by serde. [`NoConfig`] when there is none. Put `deny_unknown_fields` on it: a misspelt key
    /// is then reported at start with its file and line, and so is every other error of reading it.
    type Config: DeserializeOwned;

    /// First call. Refuse values that make no sense with [`Error::invalid`]; the plugin is then not loaded (or the old one kept) and the
    /// operator sees file, line and sentence.
    fn new(config: Self::Config) -> Result<Self, Error>;

    /// How often [`tick`](Plugin::tick) is wanted; asked once after `new`. None for never.
    fn tick_every(&self) -> Option<Duration> {
        None
    }

    /// `now` as [`clock::now`](crate::clock::now).
    fn tick(&mut self, now: Duration) {
        let _ = now;
    }

    /// Asked when the plugin's file or configuration was replaced while it runs. What it returns is given to the new one. None: nothing to hand over.
    fn save(&self) -> Option<Snapshot> {
        None
    }

    /// The state an older version of this plugin saved, between two frames. [`Error::Unsupported`] (the default) starts fresh.
    /// `schema` is what the old one wrote: raise it whenever the layout of `data` changes.
    fn restore(&mut self, old: Snapshot) -> Result<(), Error> {
        let _ = old;
        Err(Error::Unsupported)
    }
}

/// For plugins without configuration: refuses any key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

//! A plugin in the list of a path, and how an instance of it is made.

use std::sync::Arc;

use wasmtx_hub::Opening;
use wasmtx_media::Tracks;

use crate::{
    failure::Refused,
    host::storage::Granted,
    instance::{Guest, Opened},
    metrics::Place,
    plugin::Plugin,
    policy::OnError,
    version::Version,
};

/// A plugin in the list of a path, with what the list says about it.
pub(crate) struct Slot {
    pub(crate) plugin: Arc<Plugin>,
    /// JSON text in place of the plugin's own.
    pub(crate) config: Option<Arc<str>>,
    /// In place of what the plugin was granted; for a sink.
    pub(crate) storage: Option<Granted>,
    pub(crate) on_error: Option<OnError>,
    pub(crate) allow_track_change: Option<bool>,
    /// A failing instance is followed by another, however often it fails.
    pub(crate) tireless: bool,
    /// Position in the list.
    pub(crate) position: usize,
}

impl Slot {
    fn config<'a>(&'a self, version: &'a Version) -> &'a str {
        self.config.as_deref().unwrap_or(&version.config)
    }

    /// Instantiates, configures and opens.
    pub(super) fn make(&self, version: Arc<Version>, place: &Arc<Place>, opening: &Opening) -> Result<Made, Refused> {
        let mut guest = Guest::start(&self.plugin.common, place, &version, self.config(&version))?;
        let opened = guest.open(opening)?;
        Ok(Made {
            guest,
            opened,
            version,
            input: opening.tracks.clone(),
        })
    }
}

/// An instance that is ready to run.
pub(super) struct Made {
    pub(super) guest: Guest,
    pub(super) opened: Opened,
    pub(super) version: Arc<Version>,
    /// What it was opened with: if the stream changed since, it is of no use.
    pub(super) input: Tracks,
}

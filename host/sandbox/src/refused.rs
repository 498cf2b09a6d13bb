//! Plugins that were refused when the server started: what is wrong with one of them harms its own paths and no other.
//!
//! A path whose list has such a plugin takes no stream, because nobody knows what the plugin would have kept away from it.
//! The plugin is tried again when its file changes, when it is reloaded, and when the configuration is.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

use parking_lot::Mutex;
use tokio::sync::Notify;
use wasmtx_hub::{PathName, Refusal, Stage, Stages};

use crate::{
    Error, PluginSpec, Registry, Services, Source, Status,
    cache::{self, Digest, hex},
    registry::{Inner, read},
};

/// Those of a registry.
#[derive(Default)]
pub(crate) struct Waiting {
    plugins: Mutex<BTreeMap<String, Refused>>,
    /// One of them loads by now.
    mended: Notify,
}

/// A plugin without a version.
#[derive(Clone)]
struct Refused {
    spec: PluginSpec,
    /// Of the component that was refused.
    digest: Digest,
    reason: String,
}

impl Registry {
    /// The same as [`new`](Self::new), but a plugin whose component is refused keeps nobody from starting: it is logged,
    /// [`status`](Self::status) shows it with its error, and paths that use it take no stream until it loads.
    ///
    /// # Errors
    /// All that is wrong besides, one error per plugin.
    pub fn begin(state: Option<&Path>, services: Services, specs: Vec<PluginSpec>) -> Result<Registry, Vec<Error>> {
        let registry = Registry::new(state, services, Vec::new())?;
        let Err(errors) = registry.apply(specs.clone()) else {
            return Ok(registry);
        };
        let (refused, others): (Vec<_>, Vec<_>) = errors
            .into_iter()
            .partition(|error| matches!(error, Error::Refused { .. }));
        if !others.is_empty() {
            return Err(others.into_iter().chain(refused).collect());
        }
        for error in refused {
            let Error::Refused { plugin, reason } = error else {
                continue;
            };
            let Some(spec) = specs.iter().find(|spec| spec.name == plugin) else {
                continue;
            };
            tracing::error!(plugin, reason, "plugin is refused: paths that use it take no stream");
            registry.0.waiting.add(spec, reason);
        }
        Ok(registry)
    }

    /// Waits until a plugin that was refused can be had: whoever made chains with it makes them anew.
    pub async fn mended(&self) {
        self.0.waiting.mended.notified().await;
    }
}

impl Inner {
    /// Tries a refused plugin again. `None` when no plugin of that name waits.
    pub(crate) fn try_again(&self, name: &str) -> Option<Result<(), Error>> {
        let spec = self.waiting.plugins.lock().get(name)?.spec.clone();
        Some(match self.put(spec.clone(), true) {
            Ok(()) => {
                tracing::info!(plugin = name, "plugin is no longer refused");
                self.waiting.remove(name);
                self.waiting.mended.notify_one();
                Ok(())
            }
            Err(error) => {
                self.waiting.add(&spec, reason(&error));
                Err(error)
            }
        })
    }
}

/// Without the plugin's name in front, where there is a place for that.
fn reason(error: &Error) -> String {
    match error {
        Error::Refused { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl Waiting {
    fn add(&self, spec: &PluginSpec, reason: String) {
        let digest = read(spec).map_or([0; 32], |bytes| cache::digest(&bytes));
        let refused = Refused {
            spec: spec.clone(),
            digest,
            reason,
        };
        self.plugins.lock().insert(spec.name.clone(), refused);
    }

    pub(crate) fn remove(&self, name: &str) {
        self.plugins.lock().remove(name);
    }

    /// Forgets those that `keep` does not name.
    pub(crate) fn retain(&self, keep: &[String]) {
        self.plugins.lock().retain(|name, _| keep.contains(name));
    }

    /// Whether exactly this plugin waits: being refused again is no news.
    pub(crate) fn has(&self, spec: &PluginSpec) -> bool {
        self.plugins
            .lock()
            .get(&spec.name)
            .is_some_and(|refused| refused.spec == *spec)
    }

    /// The plugin of that name, as something that lets no stream begin.
    pub(crate) fn closed(&self, name: &str) -> Option<Closed> {
        let plugins = self.plugins.lock();
        let refused = plugins.get(name)?;
        Some(Closed {
            plugin: name.to_owned(),
            reason: refused.reason.clone(),
        })
    }

    /// Those from files: name, file, digest of what was refused.
    pub(crate) fn files(&self) -> Vec<(String, PathBuf, Digest)> {
        let file = |refused: &Refused| match &refused.spec.source {
            Source::File(file) => Some((refused.spec.name.clone(), file.clone(), refused.digest)),
            Source::Bundled(_) => None,
        };
        self.plugins.lock().values().filter_map(file).collect()
    }

    pub(crate) fn status(&self) -> Vec<Status> {
        let status = |refused: &Refused| Status {
            name: refused.spec.name.clone(),
            version: String::new(),
            sha256: hex(&refused.digest),
            source: refused.spec.source.clone(),
            enabled: true,
            roles: Vec::new(),
            swaps: 0,
            error: Some(refused.reason.clone()),
            uses: Vec::new(),
        };
        self.plugins.lock().values().map(status).collect()
    }
}

/// In the place of a chain that has a refused plugin.
pub(crate) struct Closed {
    plugin: String,
    reason: String,
}

impl Closed {
    pub(crate) fn stages(self) -> Arc<dyn Stages> {
        Arc::new(self)
    }
}

impl Stages for Closed {
    fn stage(&self, _path: &PathName) -> Result<Box<dyn Stage>, Refusal> {
        Err(Refusal {
            stage: self.plugin.clone(),
            reason: format!("the plugin is not loaded: {}", self.reason),
        })
    }
}

//! One entry of the registry while the server runs: its present version, what its instances share, what was counted.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;
use wasmtx_hub::Events;

use crate::{
    Error, PluginSpec, Source,
    bindings::{auth::Deciding, resolver::Resolving},
    cache::hex,
    component::Role,
    failure::Refused,
    fiber::Pool,
    host::{Common, kv},
    instance::configure_only,
    metrics::{Place, Usage},
    observer::Observer,
    share::Share,
    version::Version,
};

/// Places kept although nothing runs there, so that their counters stay; past it the idle ones are forgotten.
const PLACES: usize = 4_096;

/// A plugin that is loaded.
pub(crate) struct Plugin {
    pub(crate) common: Arc<Common>,
    /// What new instances are made from. Replaced whole.
    pub(crate) version: ArcSwap<Version>,
    pub(crate) share: Share,
    /// Counters by path and place in the path's list.
    places: Mutex<BTreeMap<(String, usize), Arc<Place>>>,
    /// Configurations of the uses: what a new version must accept before it replaces this one.
    configs: Mutex<Vec<Weak<str>>>,
    /// Whether some use has none and takes the plugin's own.
    own_config: AtomicBool,
    /// Instances off the media path, by role.
    pub(crate) deciding: ByConfig<Pool<Deciding>>,
    pub(crate) resolving: ByConfig<Pool<Resolving>>,
    pub(crate) observing: ByConfig<Observer>,
    /// Tells the number of the present version to who waits for another.
    changes: watch::Sender<u64>,
    /// Versions that replaced another one.
    pub(crate) swaps: AtomicU64,
    /// Why the last attempt to change the plugin failed; none when it did not.
    pub(crate) error: Mutex<Option<String>>,
}

/// A plugin as the API shows it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Status {
    /// The name in the configuration.
    pub name: String,
    /// The first digits of the SHA-256 of the component that runs.
    pub version: String,
    /// All of them.
    pub sha256: String,
    /// Where its component comes from.
    pub source: Source,
    /// Whether it may run; see [`crate::Registry::enable`].
    pub enabled: bool,
    /// What the component can do.
    pub roles: Vec<Role>,
    /// How often a new version took over.
    pub swaps: u64,
    /// Why the last change did not happen, if it did not.
    pub error: Option<String>,
    /// What it did, per use.
    pub uses: Vec<Usage>,
}

impl Plugin {
    pub(crate) fn new(name: &str, kv: Arc<kv::Store>, events: &Events, version: Version) -> Arc<Plugin> {
        Arc::new(Plugin {
            common: Arc::new(Common::new(name, kv, events.clone())),
            version: ArcSwap::from_pointee(version),
            share: Share::new(),
            places: Mutex::default(),
            configs: Mutex::default(),
            own_config: AtomicBool::new(false),
            deciding: ByConfig::default(),
            resolving: ByConfig::default(),
            observing: ByConfig::default(),
            changes: watch::Sender::default(),
            swaps: AtomicU64::new(0),
            error: Mutex::default(),
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.common.name
    }

    /// Counters of the `entry`-th plugin of a path's list.
    pub(crate) fn place(&self, path: &str, entry: usize) -> Arc<Place> {
        let mut places = self.places.lock();
        if places.len() >= PLACES {
            places.retain(|_, place| Arc::strong_count(place) > 1);
        }
        places
            .entry((path.to_owned(), entry))
            .or_insert_with(|| Arc::new(Place::new(path)))
            .clone()
    }

    /// Remembers the configuration of a use for as long as the use lives, after the present version accepted it.
    pub(crate) fn accept(&self, config: Option<&Arc<str>>) -> Result<(), Error> {
        let version = self.version.load();
        let Some(config) = config else {
            self.check(&version, &version.config)?;
            self.own_config.store(true, Relaxed);
            return Ok(());
        };
        self.check(&version, config)?;
        let mut configs = self.configs.lock();
        configs.retain(|config| config.strong_count() > 0);
        configs.push(Arc::downgrade(config));
        Ok(())
    }

    /// Whether `version` accepts the configurations of all uses.
    pub(crate) fn accepts(&self, version: &Version) -> Result<(), Error> {
        if self.own_config.load(Relaxed) {
            self.check(version, &version.config)?;
        }
        let mut configs: Vec<_> = self.configs.lock().iter().filter_map(Weak::upgrade).collect();
        configs.sort();
        configs.dedup();
        configs.iter().try_for_each(|config| self.check(version, config))
    }

    /// Configures an instance of `version` and throws it away.
    fn check(&self, version: &Version, config: &str) -> Result<(), Error> {
        let plugin = || self.name().to_owned();
        configure_only(&self.common, version, config).map_err(|refused| match refused {
            Refused::Config { pointer, message } => Error::Config {
                plugin: plugin(),
                pointer,
                message,
            },
            other => Error::Failed {
                plugin: plugin(),
                reason: other.to_string(),
            },
        })
    }

    /// The old instance stays on a path, and why is said.
    pub(crate) fn keep(&self, path: &str, reason: &str) {
        let plugin = self.name();
        tracing::warn!(plugin, path, reason, "the new version of a plugin does not take over");
        *self.error.lock() = Some(format!("{path}: {reason}"));
    }

    /// Tells of new versions.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Puts a new version in place. Running instances notice by themselves.
    pub(crate) fn replace(&self, version: Version) {
        let number = version.number;
        self.version.store(Arc::new(version));
        self.changes.send_replace(number);
        self.deciding.all().iter().for_each(|pool| pool.renew());
        self.resolving.all().iter().for_each(|pool| pool.renew());
        self.swaps.fetch_add(1, Relaxed);
        *self.error.lock() = None;
    }

    pub(crate) fn status(&self, spec: &PluginSpec) -> Status {
        let version = self.version.load();
        Status {
            name: self.name().to_owned(),
            version: version.short(),
            sha256: hex(&version.code.digest),
            source: spec.source.clone(),
            enabled: version.enabled,
            roles: version.code.roles(),
            swaps: self.swaps.load(Relaxed),
            error: self.error.lock().clone(),
            uses: self.places.lock().values().map(|place| place.usage()).collect(),
        }
    }
}

/// What all uses of a plugin with the same configuration share.
pub(crate) struct ByConfig<T>(Mutex<BTreeMap<Arc<str>, Weak<T>>>);

impl<T> Default for ByConfig<T> {
    fn default() -> ByConfig<T> {
        ByConfig(Mutex::default())
    }
}

impl<T> ByConfig<T> {
    /// The one of this configuration, made if nobody has it.
    pub(crate) fn share(&self, config: Option<&Arc<str>>, make: impl FnOnce(Option<Arc<str>>) -> T) -> Arc<T> {
        let mut all = self.0.lock();
        all.retain(|_, shared| shared.strong_count() > 0);
        // The empty text is no JSON, so it stands for "the plugin's own".
        let key = config.cloned().unwrap_or_else(|| "".into());
        if let Some(shared) = all.get(&key).and_then(Weak::upgrade) {
            return shared;
        }
        let shared = Arc::new(make(config.cloned()));
        all.insert(key, Arc::downgrade(&shared));
        shared
    }

    /// Those that somebody has.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.0.lock().values().filter_map(Weak::upgrade).collect()
    }
}

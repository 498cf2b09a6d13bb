//! The plugins of a server: loaded from files or from the binary, put into paths, replaced while streams run.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use serde_json::Value as Json;
use wasmtx_hub::{Happened, Stages};

use crate::{
    Error, admission,
    aside::Aside,
    auth::{AuthChain, AuthSlot},
    bundled,
    cache::{self, Cache, Digest, hex},
    chain::Chain,
    compile::Compiler,
    component::{Loader, Role},
    engine::Clocked,
    entry::Slot,
    fiber::Pool,
    host::{
        Grants, Kv, Outside,
        storage::{Granted, Places},
    },
    limits::{CHAIN_LENGTH, COMPONENT_BYTES, Limits},
    observer::{Observer, Observers},
    plugin::{Plugin, Status},
    policy::OnError,
    refused::Waiting,
    resolver::Resolvers,
    services::{Services, StorageGrant},
    shelf::Shelf,
    sink::Sinks,
    version::Version,
};

/// In front of a name: the bundled plugin, even when the configuration has one of the same name.
const BUILTIN: &str = "builtin:";

/// Where a component comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file. Watched, if [`Registry::watch`] is on.
    File(PathBuf),
    /// The bundled plugin of that name.
    Bundled(String),
}

/// One entry of the registry, as the configuration says it.
#[derive(Clone, Debug, PartialEq)]
pub struct PluginSpec {
    /// What paths call it.
    pub name: String,
    /// Where its component is.
    pub source: Source,
    /// The only component that is accepted, if there is to be one.
    pub sha256: Option<[u8; 32]>,
    /// Handed to the plugin as JSON text; null becomes `{}`.
    pub config: Json,
    /// What it may use.
    pub grants: Grants,
    /// What it may take.
    pub limits: Limits,
    /// What a failure means.
    pub on_error: OnError,
    /// Whether a new version may change the tracks of running streams.
    pub allow_track_change: bool,
    /// Whether a new version that cannot read the state of the old one is refused, instead of beginning afresh.
    pub keep_state: bool,
}

impl PluginSpec {
    /// A plugin with no configuration, no grants and the usual bounds.
    pub fn new(name: impl Into<String>, source: Source) -> PluginSpec {
        PluginSpec {
            name: name.into(),
            source,
            sha256: None,
            config: Json::Null,
            grants: Grants::default(),
            limits: Limits::default(),
            on_error: OnError::default(),
            allow_track_change: false,
            keep_state: false,
        }
    }
}

/// A plugin in the list of a path.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Use {
    /// The name in the registry, else of a bundled plugin; `builtin:name` is always the bundled one.
    pub plugin: String,
    /// In place of the plugin's configuration.
    pub config: Option<Json>,
    /// Where it keeps its files as a sink, in place of what the plugin's entry grants.
    pub storage: Option<StorageGrant>,
    /// In place of the plugin's failure policy.
    pub on_error: Option<OnError>,
    /// In place of what the plugin's entry says.
    pub allow_track_change: Option<bool>,
}

/// The list of a path, by role. Position counts only among plugins of the same role.
#[derive(Clone, Default)]
pub struct Chains {
    /// The filters, and the transcoders behind them; none, and the path pays nothing.
    pub filters: Option<Arc<dyn Stages>>,
    /// The sinks.
    pub sinks: Option<Arc<Sinks>>,
    /// The auth plugins.
    pub auth: Option<Arc<AuthChain>>,
    /// The events plugins.
    pub events: Option<Arc<Observers>>,
    /// The resolvers.
    pub resolver: Option<Arc<Resolvers>>,
    /// Whether a plugin of the list was refused, so that the filters let no stream begin; see [`Registry::begin`].
    pub closed: bool,
}

/// All plugins of a server. Cheap to clone; threads end with the last clone.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    loader: Loader,
    services: Services,
    places: Places,
    pub(crate) aside: Arc<Aside>,
    shelf: Shelf,
    pub(crate) plugins: Mutex<BTreeMap<String, Entry>>,
    pub(crate) waiting: Waiting,
    /// The number of the next version of any plugin.
    pub(crate) numbers: AtomicU64,
    /// Held while plugins change, so that two changes of one plugin come one after the other.
    pub(crate) changing: Mutex<()>,
}

#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) plugin: Arc<Plugin>,
    pub(crate) spec: PluginSpec,
    /// Whether the configuration names it; the others are bundled plugins that some path asked for.
    listed: bool,
}

impl Registry {
    /// Loads all plugins. Blocks: a component that is not in the cache below `state` yet is compiled.
    ///
    /// # Errors
    /// All that is wrong, one error per plugin.
    pub fn new(state: Option<&Path>, services: Services, specs: Vec<PluginSpec>) -> Result<Registry, Vec<Error>> {
        let inner = Inner::new(state, services).map_err(|error| vec![error])?;
        let registry = Registry(Arc::new(inner));
        registry.apply(specs)?;
        Ok(registry)
    }

    /// Makes the registry what the configuration says now: loads what is new, replaces what changed, forgets what is
    /// gone. Streams keep a plugin that is gone until they end. Blocks as [`new`](Self::new) does.
    ///
    /// # Errors
    /// All that is wrong, one error per plugin; those plugins stay as they were.
    pub fn apply(&self, specs: Vec<PluginSpec>) -> Result<(), Vec<Error>> {
        let _changing = self.0.changing.lock();
        let names: Vec<_> = specs.iter().map(|spec| spec.name.clone()).collect();
        let put = |spec: PluginSpec| {
            let refused = self.0.waiting.has(&spec);
            let name = spec.name.clone();
            match self.0.put(spec, true) {
                Ok(()) => {
                    self.0.waiting.remove(&name);
                    None
                }
                Err(Error::Refused { .. }) if refused => None,
                Err(error) => Some(error),
            }
        };
        let errors: Vec<_> = specs.into_iter().filter_map(put).collect();
        self.0.waiting.retain(&names);
        self.0
            .plugins
            .lock()
            .retain(|name, entry| !entry.listed || names.contains(name));
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }

    /// Turns the list of a path into what the path runs. Checks each configuration with the plugin itself.
    ///
    /// # Errors
    /// All that is wrong with the list.
    pub fn chains(&self, uses: &[Use]) -> Result<Chains, Vec<Error>> {
        if uses.len() > CHAIN_LENGTH {
            return Err(vec![Error::TooMany(uses.len())]);
        }
        let (mut filters, mut transcoders, mut sinks) = (Vec::new(), Vec::new(), Vec::new());
        let (mut auth, mut events, mut resolvers) = (Vec::new(), Vec::new(), Vec::new());
        let (mut errors, mut closed) = (Vec::new(), None);
        for (position, used) in uses.iter().enumerate() {
            let config: Option<Arc<str>> = used.config.as_ref().map(text);
            let (plugin, storage) = match self.0.accept(used, config.as_ref()) {
                Ok(accepted) => accepted,
                Err(error) => {
                    match self.0.waiting.closed(&used.plugin) {
                        Some(plugin) => closed = Some(plugin),
                        None => errors.push(error),
                    }
                    continue;
                }
            };
            let code = plugin.version.load().code.clone();
            if let Err(error) = self.0.can_transcode(plugin.name()) {
                errors.push(error);
                continue;
            }
            if code.has(Role::Auth) {
                auth.push(AuthSlot {
                    pool: plugin
                        .deciding
                        .share(config.as_ref(), |config| Pool::new(&plugin, config)),
                    on_error: used.on_error,
                });
            }
            if code.has(Role::Events) {
                events.push(
                    plugin
                        .observing
                        .share(config.as_ref(), |config| Observer::new(&plugin, config)),
                );
            }
            if code.has(Role::Resolver) {
                resolvers.push(
                    plugin
                        .resolving
                        .share(config.as_ref(), |config| Pool::new(&plugin, config)),
                );
            }
            let slot = Arc::new(Slot {
                plugin,
                config,
                storage,
                on_error: used.on_error,
                allow_track_change: used.allow_track_change,
                tireless: false,
                position,
            });
            if code.has(Role::Sink) {
                sinks.push(slot.clone());
            }
            if code.has(Role::Transcoder) {
                transcoders.push(slot.clone());
            }
            if code.has(Role::Filter) {
                filters.push(slot);
            }
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        if let Some(plugin) = closed {
            return Ok(Chains {
                filters: Some(plugin.stages()),
                closed: true,
                ..Chains::default()
            });
        }
        Ok(Chains {
            closed: false,
            filters: (!filters.is_empty() || !transcoders.is_empty()).then(|| {
                Arc::new(Chain::new(&self.0.aside, &self.0.services.codecs, filters, transcoders)) as Arc<dyn Stages>
            }),
            sinks: (!sinks.is_empty()).then(|| Arc::new(Sinks::new(sinks))),
            auth: (!auth.is_empty()).then(|| Arc::new(AuthChain::new(auth))),
            events: (!events.is_empty()).then(|| Arc::new(Observers::new(events))),
            resolver: (!resolvers.is_empty()).then(|| Arc::new(Resolvers::new(resolvers))),
        })
    }

    /// One plugin as a sink, apart from the lists of paths: whoever attends it can begin and end it alone. It counts in a place
    /// of its own beside those of the path's list. Unless its policy is to stop, it is made anew after each failure, at last every
    /// half minute: no stream switches its recording off for good.
    ///
    /// # Errors
    /// What is wrong with this use; also that the plugin is no sink.
    pub fn sink(&self, used: &Use) -> Result<Arc<Sinks>, Error> {
        let config: Option<Arc<str>> = used.config.as_ref().map(text);
        let (plugin, storage) = self.0.accept(used, config.as_ref())?;
        if !plugin.version.load().code.has(Role::Sink) {
            return Err(Error::Use {
                plugin: used.plugin.clone(),
                reason: format!("it does not export {}", Role::Sink),
            });
        }
        let slot = Arc::new(Slot {
            plugin,
            config,
            storage,
            on_error: used.on_error,
            allow_track_change: used.allow_track_change,
            tireless: true,
            position: CHAIN_LENGTH,
        });
        Ok(Arc::new(Sinks::new(vec![slot])))
    }

    /// Waits until what plugins keep over a restart is on the disk.
    pub fn flush(&self) {
        self.0.shelf.flush();
    }

    /// Hands an event on to the plugins of the path that it is about. One task alone may do this. Never waits; needs a
    /// tokio runtime.
    pub fn tell(&self, happened: &Arc<Happened>, those: Option<&Observers>) {
        if happened.lost > 0 {
            let all = self.observers();
            all.iter().for_each(|observer| observer.lose(happened.lost));
        }
        if let Some(those) = those {
            those.tell(happened);
        }
    }

    /// The same for an event without a path: to all events plugins in use.
    pub fn tell_all(&self, happened: &Arc<Happened>) {
        let all = Observers::new(self.observers());
        self.tell(happened, Some(&all));
    }

    /// Waits until every events plugin has been told what was handed on so far.
    pub async fn told(&self) {
        for observer in self.observers() {
            observer.settled().await;
        }
    }

    fn observers(&self) -> Vec<Arc<Observer>> {
        let plugins: Vec<_> = self
            .0
            .plugins
            .lock()
            .values()
            .map(|entry| entry.plugin.clone())
            .collect();
        plugins.iter().flat_map(|plugin| plugin.observing.all()).collect()
    }

    /// All plugins, by name.
    pub fn status(&self) -> Vec<Status> {
        let plugins = self.0.plugins.lock();
        let mut all: Vec<_> = plugins.values().map(|entry| entry.plugin.status(&entry.spec)).collect();
        drop(plugins);
        all.extend(self.0.waiting.status());
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Inner {
    fn new(state: Option<&Path>, services: Services) -> Result<Inner, Error> {
        let clocked = Arc::new(Clocked::new()?);
        let cache = state.and_then(|state| {
            Cache::open(state, &clocked.engine)
                .inspect_err(|error| {
                    tracing::warn!(%error, directory = %state.display(), "compiled plugins are not kept");
                })
                .ok()
        });
        let compiler = Compiler::new(&clocked.engine, cache, services.compiling.clone())?;
        Ok(Inner {
            loader: Loader::new(clocked, compiler).map_err(Error::Engine)?,
            services,
            places: Places::default(),
            aside: Arc::new(Aside::new()?),
            shelf: Shelf::new(state)?,
            plugins: Mutex::default(),
            waiting: Waiting::default(),
            numbers: AtomicU64::new(1),
            changing: Mutex::new(()),
        })
    }

    /// Loads or replaces one plugin, if anything about it changed.
    pub(crate) fn put(&self, spec: PluginSpec, listed: bool) -> Result<(), Error> {
        let present = self.plugins.lock().get(&spec.name).cloned();
        let plugin = match present {
            Some(present) if present.spec == spec => present.plugin,
            Some(present) => {
                self.replace(&present.plugin, &spec, &read(&spec)?)?;
                present.plugin
            }
            None => {
                let version = self.version(&spec, &read(&spec)?)?;
                let kept = self.shelf.store(&spec.name);
                Plugin::new(&spec.name, kept, &self.services.events, version)
            }
        };
        self.plugins
            .lock()
            .insert(spec.name.clone(), Entry { plugin, spec, listed });
        Ok(())
    }

    /// The plugin of that name; a bundled one is loaded when it is first asked for.
    fn find(&self, name: &str) -> Result<Arc<Plugin>, Error> {
        let find = |name: &str| self.plugins.lock().get(name).map(|entry| entry.plugin.clone());
        if let Some(plugin) = find(name) {
            return Ok(plugin);
        }
        let bundled = name.strip_prefix(BUILTIN).unwrap_or(name);
        // One that is refused does not become the bundled one of its name.
        if bundled::component(bundled).is_none() || self.waiting.closed(name).is_some() {
            return Err(Error::Unknown(name.to_owned()));
        }
        let _changing = self.changing.lock();
        let spec = PluginSpec {
            limits: bundled::limits(bundled),
            ..PluginSpec::new(name, Source::Bundled(bundled.to_owned()))
        };
        self.put(spec, false)?;
        find(name).ok_or_else(|| Error::Unknown(name.to_owned()))
    }

    /// The plugin of a use, after it accepted its configuration there, and the place that the use grants it.
    fn accept(&self, used: &Use, config: Option<&Arc<str>>) -> Result<(Arc<Plugin>, Option<Granted>), Error> {
        let plugin = self.find(&used.plugin)?;
        plugin.accept(config)?;
        let open = |grant| self.places.open(grant, &*self.services.storage);
        let storage = used.storage.as_ref().map(open).transpose();
        let storage = storage.map_err(|reason| Error::Use {
            plugin: used.plugin.clone(),
            reason,
        })?;
        Ok((plugin, storage))
    }

    /// Whether a bundled plugin that re-encodes can do what it is for. Of somebody else's that is not known: what the server
    /// cannot do of its plans is shown.
    fn can_transcode(&self, name: &str) -> Result<(), Error> {
        let transcodes = |entry: &Entry| match &entry.spec.source {
            Source::Bundled(name) => bundled::TRANSCODING.contains(&name.as_str()),
            Source::File(_) => false,
        };
        if !self.plugins.lock().get(name).is_some_and(transcodes) {
            return Ok(());
        }
        self.services.codecs.ready().map_err(|reason| Error::Entry {
            plugin: name.to_owned(),
            reason,
        })
    }

    /// A version of these bytes and settings.
    fn version(&self, spec: &PluginSpec, bytes: &Arc<[u8]>) -> Result<Version, Error> {
        let plugin = || spec.name.clone();
        let entry = |reason| Error::Entry {
            plugin: plugin(),
            reason,
        };
        let digest = cache::digest(bytes);
        if let Some(wanted) = &spec.sha256
            && *wanted != digest
        {
            let (wanted, found) = (hex(wanted), hex(&digest));
            return Err(entry(format!(
                "its SHA-256 is {found}, the configuration wants {wanted}"
            )));
        }
        let code = self.loader.load(bytes, &spec.limits).map_err(|reason| Error::Refused {
            plugin: plugin(),
            reason,
        })?;
        self.shelf
            .keep(&spec.name, spec.grants.kv == Kv::Persist)
            .map_err(entry)?;
        Ok(Version {
            number: self.numbers.fetch_add(1, Relaxed),
            code,
            config: text(&spec.config),
            outside: Outside::new(&spec.grants, &spec.limits, &self.services, &self.places).map_err(entry)?,
            grants: spec.grants.clone(),
            limits: spec.limits.clone(),
            on_error: spec.on_error,
            allow_track_change: spec.allow_track_change,
            keep_state: spec.keep_state,
            enabled: true,
        })
    }

    /// Lets a new version take over, after everything about it was checked.
    pub(crate) fn replace(&self, plugin: &Plugin, spec: &PluginSpec, bytes: &Arc<[u8]>) -> Result<(), Error> {
        let mut version = self.version(spec, bytes)?;
        let old = plugin.version.load();
        version.enabled = old.enabled;
        if let Some(role) = old.code.roles().into_iter().find(|role| !version.code.has(*role)) {
            let reason = format!("it does not export {role}, which the running version does");
            return Err(Error::Refused {
                plugin: spec.name.clone(),
                reason,
            });
        }
        plugin.accepts(&version)?;
        tracing::info!(
            plugin = spec.name,
            old = old.short(),
            new = version.short(),
            "plugin has a new version"
        );
        plugin.common.note("", "plugin-changed", || {
            serde_json::json!({ "from": old.short(), "to": version.short() }).to_string()
        });
        plugin.replace(version);
        self.aside.changed();
        Ok(())
    }

    /// The plugins that come from files: name, file, digest of what runs.
    pub(crate) fn files(&self) -> Vec<(String, PathBuf, Digest)> {
        let file = |entry: &Entry| match &entry.spec.source {
            Source::File(file) => Some((
                entry.spec.name.clone(),
                file.clone(),
                entry.plugin.version.load().code.digest,
            )),
            Source::Bundled(_) => None,
        };
        let mut files: Vec<_> = self.plugins.lock().values().filter_map(file).collect();
        files.extend(self.waiting.files());
        files
    }

    /// Whether these bytes are a component that might be run.
    pub(crate) fn is_whole(&self, name: &str, bytes: &[u8]) -> bool {
        let plugins = self.plugins.lock();
        let limits = plugins.get(name).map(|entry| entry.spec.limits.clone());
        drop(plugins);
        limits.is_some_and(|limits| admission::check(bytes, &limits).is_ok())
    }

    /// Offers the content of a plugin's file. On any error the old version stays, and the reason is logged and shown.
    pub(crate) fn offer(&self, name: &str, bytes: &Arc<[u8]>) {
        let _changing = self.changing.lock();
        let entry = self.plugins.lock().get(name).cloned();
        let Some(Entry { plugin, spec, .. }) = entry else {
            if let Some(Err(error)) = self.try_again(name) {
                tracing::warn!(plugin = name, %error, "the plugin is still refused");
            }
            return;
        };
        if let Err(error) = self.replace(&plugin, &spec, bytes) {
            tracing::warn!(plugin = name, %error, "the changed file is not used: the old version runs on");
            plugin.common.note("", "plugin-refused", || {
                serde_json::json!({ "error": error.to_string() }).to_string()
            });
            *plugin.error.lock() = Some(error.to_string());
        }
    }
}

/// The bytes of a component, read once.
pub(crate) fn read(spec: &PluginSpec) -> Result<Arc<[u8]>, Error> {
    match &spec.source {
        Source::Bundled(name) => bundled::component(name)
            .map(Arc::from)
            .ok_or_else(|| Error::Unknown(name.clone())),
        Source::File(file) => read_file(file).map_err(|source| Error::Read {
            plugin: spec.name.clone(),
            file: file.clone(),
            source,
        }),
    }
}

/// At most one byte more than a component may have, so that a giant file costs nothing.
pub(crate) fn read_file(file: &Path) -> io::Result<Arc<[u8]>> {
    let mut bytes = Vec::new();
    File::open(file)?
        .take(COMPONENT_BYTES as u64 + 1)
        .read_to_end(&mut bytes)?;
    Ok(bytes.into())
}

/// A configuration as plugins get it.
fn text(config: &Json) -> Arc<str> {
    if config.is_null() {
        "{}".into()
    } else {
        config.to_string().into()
    }
}

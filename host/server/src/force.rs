//! What is in force: a configuration and what was made of it, replaced as one.

use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use wasmtx_endpoints::{
    forward::Destinations,
    hooks::Pair,
    keeper::{PathPlan, Plans},
};
use wasmtx_hub::{Access, Decision, Path, PathName, Rules};
use wasmtx_sandbox::{AuthChain, Chains, Registry};

use crate::{
    access::{Answer, PluginAuth},
    config::Config,
    wiring::{self, PathChains, PathDestinations, PathPlans, Recorder, Recorders},
};

/// A configuration with everything that was made of it, checked as a whole.
pub(crate) struct Force {
    pub(crate) config: Arc<Config>,
    pub(crate) rules: Rules,
    /// `runOnConnect` and `runOnDisconnect`.
    pub(crate) on_connect: Pair,
    chains: PathChains,
    plans: PathPlans,
    destinations: PathDestinations,
    recorders: Recorders,
}

impl Force {
    /// Makes everything, or changes nothing. Blocks while plugins check their configuration. Chains that are the same
    /// as in the `previous` one stay as they are: their streams notice nothing.
    ///
    /// # Errors
    /// Everything that is wrong with the chains, else the first other thing.
    pub(crate) fn new(config: Config, plugins: &Registry, previous: Option<&Force>) -> anyhow::Result<Force> {
        let known = |name: &str| previous?.chain_like(&config, name);
        let chains =
            wiring::chains(&config, plugins, known).map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
        let recorders = wiring::recorders(&config, plugins, previous.and_then(|old| old.recorders_like(&config)))
            .map_err(|problems| anyhow::anyhow!(problems.join("\n")))?;
        let rules = wiring::rules(&config, &chains)?;
        let plans = wiring::plans(&config)?;
        let destinations = wiring::destinations(&config)?;
        let on_connect = wiring::on_connect(&config.global)?;
        Ok(Force {
            config: Arc::new(config),
            rules,
            on_connect,
            chains,
            plans,
            destinations,
            recorders,
        })
    }

    /// Starts the events plugins that do not run yet. Needs a tokio runtime.
    pub(crate) fn start_observers(&self) {
        let observers = self.chains.values().filter_map(|chains| chains.events.as_ref());
        observers.for_each(|observers| observers.start());
    }

    /// The recorders, if `config` means the same plugin by their name.
    fn recorders_like(&self, config: &Config) -> Option<&Recorders> {
        let own = |config: &Config| config.global.plugins.contains_key(wiring::RECORDER);
        (own(&self.config) == own(config)).then_some(&self.recorders)
    }

    /// All recorders that were made or should have been.
    pub(crate) fn recorders(&self) -> impl Iterator<Item = (&String, &Arc<Recorder>)> {
        self.recorders.iter()
    }

    /// The chains of an entry, if `config` says the same about them.
    fn chain_like(&self, config: &Config, name: &str) -> Option<Chains> {
        let same_list = self.config.paths.get(name)?.conf.plugins == config.paths.get(name)?.conf.plugins;
        let same_names = self.config.global.plugins.keys().eq(config.global.plugins.keys());
        (same_list && same_names)
            .then(|| self.chains.get(name).cloned())
            .flatten()
            // What it waits for may be there now.
            .filter(|chains| !chains.closed)
    }
}

/// The present one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct InForce(Arc<ArcSwap<Force>>);

impl InForce {
    pub(crate) fn new(force: Force) -> InForce {
        InForce(Arc::new(ArcSwap::from_pointee(force)))
    }

    /// For who is itself a part of what is in force.
    pub(crate) fn downgrade(&self) -> Weak<ArcSwap<Force>> {
        Arc::downgrade(&self.0)
    }

    /// From [`downgrade`](Self::downgrade), while the server runs.
    pub(crate) fn upgrade(this: &Weak<ArcSwap<Force>>) -> Option<InForce> {
        this.upgrade().map(InForce)
    }

    pub(crate) fn replace(&self, force: Force) {
        self.0.store(Arc::new(force));
    }

    /// Everything that is in force.
    pub(crate) fn load(&self) -> Arc<Force> {
        self.0.load_full()
    }

    /// The configuration now in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.0.load().config.clone()
    }

    /// The chains of a path; `None` when no entry of `paths` matches it.
    pub(crate) fn chains(&self, path: &PathName) -> Option<Chains> {
        let force = self.0.load();
        let (entry, _) = force.config.paths.find(path.as_str())?;
        force.chains.get(&entry.name).cloned()
    }

    /// Where a path's stream is sent on to.
    pub(crate) fn destinations(&self, path: &Path) -> Destinations {
        self.0
            .load()
            .destinations
            .get(&*path.rule())
            .cloned()
            .unwrap_or_default()
    }

    /// How a path is recorded, when it is.
    pub(crate) fn recorder(&self, path: &Path) -> Option<Arc<Recorder>> {
        self.0.load().recorders.get(&*path.rule()).cloned()
    }

    /// Whether a path's list has that plugin.
    pub(crate) fn uses(&self, path: &PathName, plugin: &str) -> bool {
        let force = self.0.load();
        let found = force.config.paths.find(path.as_str());
        found.is_some_and(|(entry, _)| entry.conf.plugins.0.iter().any(|used| used.name == plugin))
    }

    fn auth(&self, path: &PathName) -> Option<Arc<AuthChain>> {
        self.chains(path)?.auth
    }
}

impl PluginAuth for InForce {
    fn covers(&self, path: &PathName) -> bool {
        self.auth(path).is_some()
    }

    fn check<'a>(&'a self, access: &'a Access) -> Answer<'a, Option<Decision>> {
        Box::pin(async move { self.auth(access.path.as_ref()?)?.check(access).await })
    }
}

impl Plans for InForce {
    fn plan(&self, path: &Path) -> Arc<PathPlan> {
        self.0.load().plans.get(&*path.rule()).cloned().unwrap_or_default()
    }
}

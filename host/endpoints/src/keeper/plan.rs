//! What the configuration says about bringing one path online.

use std::sync::Arc;

use wasmtx_hub::Path;

use super::Timing;
use crate::{
    hooks::{Hook, Pair},
    source,
};

/// What brings a path online, and which commands go with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PathPlan {
    /// The stream that the server fetches itself; `None` when clients publish.
    pub source: Option<source::Plan>,
    /// Start the source, or [`Hooks::demand`], only when somebody wants to read. `None`: the source runs always and
    /// the command never.
    pub on_demand: Option<Timing>,
    /// How a stream is fetched that a resolver found, and for how long.
    pub found: (source::Manner, Timing),
    /// External commands.
    pub hooks: Hooks,
}

/// The commands of a path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    /// `runOnInit`: while the path exists.
    pub init: Hook,
    /// `runOnDemand`, `runOnUnDemand`.
    pub demand: Pair,
    /// `runOnAvailable`, `runOnUnavailable`.
    pub available: Pair,
    /// `runOnOnline`, `runOnOffline`.
    pub online: Pair,
}

/// Looks up the plan of a path in the configuration that is in force.
pub trait Plans: Send + Sync + 'static {
    /// The plan of this path now.
    fn plan(&self, path: &Path) -> Arc<PathPlan>;
}

impl<F: Fn(&Path) -> Arc<PathPlan> + Send + Sync + 'static> Plans for F {
    fn plan(&self, path: &Path) -> Arc<PathPlan> {
        self(path)
    }
}

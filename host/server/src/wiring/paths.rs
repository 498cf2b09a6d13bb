//! The entries of `paths`, as the hub and the keeper take them.

use std::{collections::HashMap, sync::Arc};

use wasmtx_hub::{Limits, PathConfig, ReaderStart, Resolver, Role, Rule, Rules};
use wasmtx_sandbox::{Chains, Registry};

use super::plugins::uses;
use crate::config::{self, Config, Global, PathConf, SourceKind};

/// The plugin chains of every entry of `paths`, by the entry's key.
pub(crate) type PathChains = HashMap<String, Chains>;

/// Makes the chains of every entry, each configuration checked by its plugin; those that are `known` already stay.
///
/// # Errors
/// Everything that is wrong, a sentence each that begins with the entry.
pub(crate) fn chains(
    config: &Config,
    registry: &Registry,
    known: impl Fn(&str) -> Option<Chains>,
) -> Result<PathChains, Vec<String>> {
    let mut chains = PathChains::new();
    let mut problems = Vec::new();
    for entry in config.paths.entries() {
        let made = known(&entry.name).map_or_else(|| registry.chains(&uses(&entry.conf.plugins)), Ok);
        match made {
            Ok(made) => {
                chains.insert(entry.name.clone(), made);
            }
            Err(errors) => problems.extend(
                errors
                    .iter()
                    .map(|error| format!("paths.{}.plugins: {error}", entry.name)),
            ),
        }
    }
    if problems.is_empty() { Ok(chains) } else { Err(problems) }
}

/// Every entry of `paths` as a rule of the hub.
///
/// # Errors
/// A key that is neither a name nor a pattern, which the configuration has ruled out.
pub(crate) fn rules(config: &Config, chains: &PathChains) -> anyhow::Result<Rules> {
    let rules = config.paths.entries().iter().map(|entry| {
        let mut path = path_config(&config.global, &entry.conf);
        if let Some(chains) = chains.get(&entry.name) {
            path.stages = chains.filters.clone();
            path.resolver = chains.resolver.clone().map(|resolver| resolver as Arc<dyn Resolver>);
        }
        Ok(Rule::new(&entry.name, Arc::new(path))?)
    });
    Ok(Rules::new(rules.collect::<anyhow::Result<_>>()?))
}

fn path_config(global: &Global, conf: &PathConf) -> PathConfig {
    let mut path = PathConfig::default();
    path.role = match conf.source.kind() {
        SourceKind::Publisher => Role::Publisher,
        SourceKind::Redirect => Role::Redirect(conf.source_redirect.clone()),
        _ => Role::Source,
    };
    path.on_demand = conf.source_on_demand || !conf.run_on_demand.is_empty();
    path.max_readers = conf.max_readers.try_into().unwrap_or(usize::MAX);
    path.override_publisher = conf.override_publisher;
    path.reader_start = match conf.reader_start {
        config::ReaderStart::Keyframe => ReaderStart::Keyframe,
        config::ReaderStart::Live => ReaderStart::Live,
    };
    path.limits = limits(global, conf);
    path.absolute_timestamp = conf.use_absolute_timestamp;
    path.write_merge_window = conf.write_merge_window;
    path
}

/// The ring's bounds: the GOP cache, and as much again for readers that fall behind.
fn limits(global: &Global, conf: &PathConf) -> Limits {
    let default = Limits::default();
    let cache = global.limits.cache_size.as_usize();
    let queue = (global.write_queue_size != config::DEFAULT_WRITE_QUEUE).then(|| global.write_queue_size.into());
    Limits {
        start_age: global.limits.cache_duration,
        start_bytes: cache,
        keep_back: conf.record_pre_roll,
        keep_age: global.limits.cache_duration * 2,
        keep_bytes: cache.saturating_add(default.keep_bytes - default.start_bytes),
        max_lag: queue,
    }
}

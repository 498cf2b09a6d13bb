//! What brings the paths online, as the keeper takes it, and external commands.

use std::{collections::HashMap, sync::Arc};

use anyhow::Context;
use wasmtx_endpoints::{
    forward::{Destination, Destinations},
    hooks::{Hook, Pair},
    keeper::{Hooks, PathPlan, Timing},
    source::{Manner, Plan, Transport, Url},
};

use crate::config::{Config, Global, PathConf, SourceKind, SourceTransport};

/// The plan of every entry of `paths`, by the entry's key.
pub(crate) type PathPlans = HashMap<String, Arc<PathPlan>>;

/// Makes the plan of every entry.
///
/// # Errors
/// The first source or command that cannot be used, named by its key.
pub(crate) fn plans(config: &Config) -> anyhow::Result<PathPlans> {
    let plans = config.paths.entries().iter().map(|entry| {
        let plan = plan(&config.global, &entry.conf).with_context(|| format!("paths.{}", entry.name))?;
        Ok((entry.name.clone(), Arc::new(plan)))
    });
    plans.collect()
}

/// The commands of connections.
///
/// # Errors
/// The command that cannot be used, named by its key.
pub(crate) fn on_connect(global: &Global) -> anyhow::Result<Pair> {
    Ok(Pair {
        during: hook("runOnConnect", &global.run_on_connect, global.run_on_connect_restart)?,
        after: hook("runOnDisconnect", &global.run_on_disconnect, false)?,
    })
}

/// Where the stream of every entry is sent on to, by the entry's key; entries that send it nowhere are left out.
pub(crate) type PathDestinations = HashMap<String, Destinations>;

/// Makes the destinations of every entry. Those of kinds that are not built were named at start-up.
///
/// # Errors
/// The first URL that cannot be used, named by its key.
pub(crate) fn destinations(config: &Config) -> anyhow::Result<PathDestinations> {
    let mut all = PathDestinations::new();
    for entry in config.paths.entries() {
        let built = entry.conf.forward.iter().filter(|forward| forward.dest.is_built());
        let made = built.map(|forward| Destination::new(forward.dest.as_str(), forward.dest_fingerprint.sha256()));
        let made: Result<Vec<_>, _> = made.collect();
        let made = made.with_context(|| format!("paths.{}.forward", entry.name))?;
        if !made.is_empty() {
            all.insert(entry.name.clone(), made.into());
        }
    }
    Ok(all)
}

fn plan(global: &Global, conf: &PathConf) -> anyhow::Result<PathPlan> {
    let pulls = matches!(
        conf.source.kind(),
        SourceKind::Rtsp | SourceKind::Rtsps | SourceKind::Rtmp | SourceKind::Flv
    );
    let source = pulls.then(|| source(global, conf)).transpose()?;
    let by_source = source.is_some() && conf.source_on_demand;
    let by_command = !conf.run_on_demand.is_empty();
    let source_timing = Timing {
        start_timeout: conf.source_on_demand_start_timeout,
        close_after: conf.source_on_demand_close_after,
    };
    let manner = Manner {
        read_timeout: global.read_timeout,
    };
    let on_demand = match (by_source, by_command) {
        (true, _) => Some(source_timing),
        (false, true) => Some(Timing {
            start_timeout: conf.run_on_demand_start_timeout,
            close_after: conf.run_on_demand_close_after,
        }),
        (false, false) => None,
    };
    let hooks = Hooks {
        init: hook("runOnInit", &conf.run_on_init, conf.run_on_init_restart)?,
        demand: Pair {
            during: hook("runOnDemand", &conf.run_on_demand, conf.run_on_demand_restart)?,
            after: hook("runOnUnDemand", &conf.run_on_un_demand, false)?,
        },
        available: Pair {
            during: hook("runOnAvailable", &conf.run_on_available, conf.run_on_available_restart)?,
            after: hook("runOnUnavailable", &conf.run_on_unavailable, false)?,
        },
        online: Pair {
            during: hook("runOnOnline", &conf.run_on_online, conf.run_on_online_restart)?,
            after: hook("runOnOffline", &conf.run_on_offline, false)?,
        },
    };
    Ok(PathPlan {
        source,
        on_demand,
        found: (manner, source_timing),
        hooks,
    })
}

fn source(global: &Global, conf: &PathConf) -> anyhow::Result<Plan> {
    Ok(Plan {
        url: Url::new(conf.source.as_str()).context("source")?,
        transport: match conf.rtsp_transport {
            SourceTransport::Udp => Transport::Udp,
            SourceTransport::Tcp => Transport::Tcp,
            // Multicast is named at start-up as not built yet.
            SourceTransport::Automatic | SourceTransport::Multicast => Transport::Automatic,
        },
        fingerprint: conf.source_fingerprint.sha256(),
        read_timeout: global.read_timeout,
        named: None,
    })
}

fn hook(key: &'static str, command: &str, restart: bool) -> anyhow::Result<Hook> {
    let hook = Hook {
        command: command.to_owned(),
        restart,
    };
    hook.check().context(key)?;
    Ok(hook)
}

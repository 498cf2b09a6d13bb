//! The registry of plugins, as the sandbox takes it.

use wasmtx_endpoints::{fetch::Fetched, storage};
use wasmtx_sandbox::{
    AuthFailure, FilterFailure, Grants, Kv, OnError, PluginSpec, Reach, SinkFailure, Source, TranscoderFailure, Use,
    services::{Place, StorageGrant},
};

use super::limits::limits;
use crate::config::{Config, plugin};

/// The entries of the global `plugins`. Those that come from elsewhere are taken from where they were fetched to.
pub(crate) fn specs(config: &Config) -> Vec<PluginSpec> {
    let plugins = config.global.plugins.iter();
    plugins
        .map(|(name, plugin)| spec(name, plugin, config.fetched.get(name)))
        .collect()
}

fn spec(name: &str, plugin: &plugin::Plugin, fetched: Option<&Fetched>) -> PluginSpec {
    let source = match &plugin.file {
        plugin::Location::Bundled => Source::Bundled(name.to_owned()),
        plugin::Location::Builtin(bundled) => Source::Bundled(bundled.clone()),
        plugin::Location::File(file) => Source::File(file.clone()),
        // Without having been fetched it is nowhere, which loading it says.
        plugin::Location::Remote(_) => Source::File(fetched.map(|fetched| fetched.file.clone()).unwrap_or_default()),
    };
    PluginSpec {
        sha256: fetched.map(|fetched| fetched.sha256.0).or(plugin.sha256.sha256()),
        config: plugin.config.0.clone(),
        grants: grants(&plugin.grant),
        limits: limits(&plugin.limits),
        on_error: on_error(&plugin.on_error.0),
        allow_track_change: plugin.allow_track_change,
        keep_state: plugin.state == plugin::State::Keep,
        ..PluginSpec::new(name, source)
    }
}

fn grants(grant: &plugin::Grant) -> Grants {
    let storage = &grant.storage.0;
    let mut grants = Grants::default();
    grants.http.clone_from(&grant.http.0);
    grants.sources = grant.sources.0.as_slice().into();
    grants.kv = match grant.kv {
        plugin::KeyValues::No => Kv::No,
        plugin::KeyValues::Yes => Kv::Memory,
        plugin::KeyValues::Persist => Kv::Persist,
    };
    grants.storage =
        (!storage.directory.is_nowhere()).then(|| StorageGrant::private(place(&storage.directory), storage.quota.0));
    grants.control = match grant.control {
        plugin::Control::No => Reach::Nowhere,
        plugin::Control::Yes => Reach::OwnPaths,
        plugin::Control::All => Reach::Everywhere,
    };
    grants.credentials = grant.credentials;
    grants
}

fn place(folder: &plugin::Folder) -> Place {
    match storage::Place::parse(&folder.0) {
        Ok(storage::Place::Objects(url)) => Place::Objects(url),
        // What is no address was refused when it was read.
        Ok(storage::Place::Directory(_)) | Err(_) => Place::Directory(folder.0.clone().into()),
    }
}

fn on_error(policy: &plugin::OnError) -> OnError {
    OnError {
        auth: match policy.auth {
            plugin::AuthFailure::Deny => AuthFailure::Deny,
            plugin::AuthFailure::Next => AuthFailure::Next,
        },
        filter: match policy.filter {
            plugin::FilterFailure::Pass => FilterFailure::Pass,
            plugin::FilterFailure::Drop => FilterFailure::Drop,
            plugin::FilterFailure::Close => FilterFailure::Close,
        },
        sink: match policy.sink {
            plugin::SinkFailure::Restart => SinkFailure::Restart,
            plugin::SinkFailure::Stop => SinkFailure::Stop,
        },
        transcoder: match policy.transcoder {
            plugin::TranscoderFailure::Keep => TranscoderFailure::Keep,
            plugin::TranscoderFailure::Close => TranscoderFailure::Close,
        },
    }
}

/// The list of a path.
pub(crate) fn uses(chain: &plugin::Chain) -> Vec<Use> {
    let uses = chain.0.iter().map(|used| Use {
        plugin: used.name.clone(),
        config: used.config.as_ref().map(|settings| settings.0.clone()),
        storage: None,
        on_error: used.on_error.as_ref().map(|policy| on_error(&policy.0)),
        allow_track_change: used.allow_track_change,
    });
    uses.collect()
}

//! A running server: every room wired together, from the first listener to the last goodbye.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use arc_swap::ArcSwap;
use wasmtx_endpoints::{rtsp, wall_clock};
use wasmtx_hub::{Access, Decision, Hub, PathName};
use wasmtx_media::WallClock;
use wasmtx_sandbox as sandbox;

use crate::{
    access::{Answer, Gate, PluginAuth},
    config::Config,
    wiring::{self, PathChains},
};

/// A started server. Dropping it without [`Server::stop`] cuts everybody off.
pub struct Server {
    /// When it was started.
    pub started: WallClock,
    hub: Hub,
    plugins: sandbox::Registry,
    _watch: Option<sandbox::Watch>,
    rtsp: Option<rtsp::Server>,
    sessions: rtsp::Registry,
    gate: Arc<Gate>,
    listeners: Vec<Listener>,
}

/// A bound address, for the log and the API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The key of mediamtx.yml.
    pub key: &'static str,
    /// The address as bound, with the port that the system chose.
    pub address: String,
}

/// Everybody is gone after this time, or left behind.
const GOODBYE: Duration = Duration::from_secs(4);

/// The auth plugins of every path, by the entries of `paths` now in force.
struct Doors(ArcSwap<(Config, PathChains)>);

impl Doors {
    fn chain(&self, path: &PathName) -> Option<Arc<sandbox::AuthChain>> {
        let now = self.0.load();
        let (entry, _) = now.0.paths.find(path.as_str())?;
        now.1.get(&entry.name)?.auth.clone()
    }
}

impl PluginAuth for Doors {
    fn covers(&self, path: &PathName) -> bool {
        self.chain(path).is_some()
    }

    fn check<'a>(&'a self, access: &'a Access) -> Answer<'a, Option<Decision>> {
        Box::pin(async move { self.chain(access.path.as_ref()?)?.check(access).await })
    }
}

impl Server {
    /// Loads the plugins, binds every listener, and serves.
    ///
    /// # Errors
    /// The first thing that cannot be had, named by its key.
    pub async fn start(config: Config) -> anyhow::Result<Server> {
        let global = &config.global;
        let state = global.state_directory.clone();
        let specs = wiring::specs(global);
        let for_chains = config.clone();
        let loaded = tokio::task::spawn_blocking(move || {
            let plugins = sandbox::Registry::new(Some(&state), specs).map_err(sentences)?;
            let chains = wiring::chains(&for_chains, &plugins).map_err(|problems| anyhow!(problems.join("\n")))?;
            anyhow::Ok((plugins, chains))
        });
        let (plugins, chains) = loaded.await.context("loading plugins")??;
        let watch = plugins.watch().map_err(|error| tracing::warn!("plugins are not watched: {error}")).ok();

        let (hub, births) = Hub::new();
        hub.configure(Instant::now(), wiring::rules(&config, &chains)?);
        drop(births);
        let doors = Arc::new(Doors(ArcSwap::from_pointee((config.clone(), chains))));
        let gate = Arc::new(Gate::new(&config, doors));

        let sessions = rtsp::Registry::default();
        let mut server = Server {
            started: wall_clock(),
            hub,
            plugins,
            _watch: watch,
            rtsp: None,
            sessions,
            gate,
            listeners: Vec::new(),
        };
        server.start_rtsp(&config)?;
        for Listener { key, address } in &server.listeners {
            tracing::info!("listening: {key} {address}");
        }
        Ok(server)
    }

    fn start_rtsp(&mut self, config: &Config) -> anyhow::Result<()> {
        let global = &config.global;
        if !global.rtsp {
            return Ok(());
        }
        let identity = match global.rtsp_encryption.allows_tls() {
            true => Some(wiring::identity_of(&global.rtsp_server_key, &global.rtsp_server_cert)?),
            false => None,
        };
        let settings = wiring::rtsp(global, identity.as_ref())?;
        let server = rtsp::Server::start(settings, self.hub.clone(), self.gate.clone(), self.sessions.clone())?;
        let datagrams = server.datagram_addresses.map(|[rtp, rtcp]| [("rtpAddress", rtp), ("rtcpAddress", rtcp)]);
        let streams = [("rtspAddress", server.address), ("rtspsAddress", server.encrypted_address)];
        let streams = streams.into_iter().filter_map(|(key, address)| Some((key, address?)));
        let bound = streams.chain(datagrams.into_iter().flatten());
        self.listeners.extend(bound.map(|(key, address)| Listener { key, address: address.to_string() }));
        self.rtsp = Some(server);
        Ok(())
    }

    /// Every bound address.
    pub fn listeners(&self) -> &[Listener] {
        &self.listeners
    }

    /// The paths.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The plugins.
    pub fn plugins(&self) -> &sandbox::Registry {
        &self.plugins
    }

    /// Stops accepting, tells everybody, and waits for the last one, within [`GOODBYE`].
    pub async fn stop(mut self) {
        self.hub.shut_down();
        let rtsp = self.rtsp.take();
        let goodbye = async {
            if let Some(rtsp) = rtsp {
                rtsp.stop().await;
            }
        };
        if tokio::time::timeout(GOODBYE, goodbye).await.is_err() {
            tracing::warn!("some connections did not end in time");
        }
    }
}

/// All errors of a list, a line each.
fn sentences(errors: Vec<sandbox::Error>) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}

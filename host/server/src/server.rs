//! A running server: every room wired together, from the first listener to the last goodbye.

use std::{
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow};
use wasmtx_endpoints::{
    codec::{Options, Workers},
    flv, forward,
    hooks::{self, OnConnect, Runner},
    keeper::Keeper,
    recording::{self, Archive},
    rtmp, rtsp,
    source::Puller,
    storage::Directories,
    wall_clock,
};
use wasmtx_hub::Hub;
use wasmtx_media::WallClock;
use wasmtx_sandbox as sandbox;

use crate::{
    access::Gate,
    api::View,
    config::Config,
    events::Listening,
    force::{Force, InForce},
    log::Logs,
    recording::{Counts, Recording, Switches, Told},
    sources,
    window::{Open, Window},
    wiring::{self, Flv, Late, Playback, Streams},
};

/// A started server. Dropping it without [`Server::stop`] cuts everybody off.
pub struct Server {
    /// When it was started.
    pub started: WallClock,
    hub: Hub,
    plugins: sandbox::Registry,
    watch: Option<sandbox::Watch>,
    in_force: InForce,
    listening: Listening,
    keeper: Keeper,
    sinks: sandbox::Attendance,
    recording: Recording,
    archive: Arc<Archive>,
    keeping: recording::Keeping,
    forwarder: forward::Forwarder,
    rtsp: Option<rtsp::Server>,
    sessions: rtsp::Registry,
    rtmp: Option<rtmp::Server>,
    rtmp_conns: rtmp::Registry,
    flv: Option<Flv>,
    flv_conns: flv::Registry,
    playback: Option<Playback>,
    gate: Arc<Gate>,
    on_connect: OnConnect,
    window: Open,
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

/// What is kept over a restart is written in this time, or not at all.
const LAST_WRITES: Duration = Duration::from_secs(1);

impl Server {
    /// Loads the plugins, binds every listener, and serves. `log` is asked for what the metrics show of it; `compiling`
    /// says where plugins are compiled.
    ///
    /// # Errors
    /// The first thing that cannot be had, named by its key.
    pub async fn start(config: Config, log: Option<Logs>, compiling: sandbox::Compiling) -> anyhow::Result<Server> {
        let (hub, births) = Hub::new();
        let sessions = rtsp::Registry::default();
        let rtmp_conns = rtmp::Registry::default();
        let forwards = forward::Registry::default();
        let flv_conns = flv::Registry::default();
        let late = Late::default();
        let workers = Workers::new(Options::default());
        let directories = Arc::new(Directories::new(config.global.state_directory.clone()));
        let archive = Archive::new(recording::Parts {
            directories: directories.clone(),
            state: config.global.state_directory.clone(),
            clock: Arc::new(recording::MachineClock),
            events: hub.events().clone(),
        });
        let mut services = wiring::services_with(&workers, directories.clone());
        services.events = hub.events().clone();
        services.control = Arc::new(Streams {
            hub: hub.clone(),
            sessions: sessions.clone(),
            rtmp: rtmp_conns.clone(),
            flv: flv_conns.clone(),
            in_force: late.clone(),
        });
        services.compiling = compiling;
        let limits = &config.global.limits;
        let commands = hooks::Limits {
            commands: limits.commands.try_into()?,
            ..hooks::Limits::default()
        };
        let runner = Runner::new(commands);
        let rtsp_port = Arc::new(OnceLock::new());
        let recorded = Arc::<Counts>::default();
        services.recordings = Arc::new(Told {
            in_force: late.clone(),
            archive: archive.clone(),
            runner: runner.clone(),
            rtsp_port: rtsp_port.clone(),
            counts: recorded.clone(),
        });
        let (plugins, force) = load(sources::fetch(config).await?, services).await?;
        let config = force.config.clone();
        let watch = plugins
            .watch()
            .map_err(|error| tracing::warn!("plugins are not watched: {error}"))
            .ok();

        archive.configure(wiring::archived(&config));
        let (rules, on_connect) = (force.rules.clone(), force.on_connect.clone());
        force.start_observers();
        let in_force = InForce::new(force);
        // Nobody else sets it.
        let _ = late.set(in_force.downgrade());
        let feed = hub
            .events()
            .listen(wall_clock)
            .context("somebody listens to the events")?;
        let listening = Listening::spawn(feed, plugins.clone(), in_force.clone());
        let gate = Arc::new(Gate::new(&config, Arc::new(in_force.clone())));
        let window = Window::bind(&config.global)?;
        let limits = &config.global.limits;
        let on_connect = OnConnect::new(runner.clone(), on_connect);
        let (rtsp, mut listeners) = wiring::start_rtsp(&config, &hub, &gate, &sessions, &on_connect)?;
        let (rtmp, rtmp_listeners) = wiring::start_rtmp(&config, &hub, &gate, &rtmp_conns, &on_connect)?;
        listeners.extend(rtmp_listeners);
        let gallery = wiring::gallery();
        let flv = Flv::start(&config.global, &hub, &gate, &flv_conns, &gallery)?;
        listeners.extend(flv.as_ref().map(Flv::listener));
        let playback = Playback::start(&config.global, &hub, &gate, &archive, &gallery)?;
        listeners.extend(playback.as_ref().map(Playback::listener));
        listeners.extend(window.listeners());
        let bound = rtsp.as_ref().and_then(|rtsp| rtsp.address);
        let rtsp_port = *rtsp_port.get_or_init(|| bound.map_or(0, |address| address.port()));

        let puller = Puller::new(hub.clone(), limits.starting_sources.try_into()?);
        let keeper = Keeper::spawn(births, in_force.clone(), runner, puller, rtsp_port);
        let listed = in_force.clone();
        let sinks = sandbox::Attendance::spawn(hub.births(), move |path| listed.chains(&path.name)?.sinks);
        let recording = Recording::spawn(&hub, Switches::new(in_force.clone(), plugins.clone(), recorded));
        let sent_on = in_force.clone();
        let forwarder = forward::Forwarder::new(hub.births(), move |path| sent_on.destinations(path), forwards.clone());
        // A second server that was started by mistake has ended by now: it could not have the addresses.
        let keeping = archive.spawn();
        // Paths come to life last: their sources and commands find the listeners there.
        hub.configure(Instant::now(), rules);

        let started = wall_clock();
        let current = in_force.clone();
        let view = View {
            started,
            hub: hub.clone(),
            rtsp: sessions.clone(),
            rtmp: rtmp_conns.clone(),
            forwards: forwards.clone(),
            flv: flv_conns.clone(),
            config: Arc::new(move || current.config()),
            listeners: listeners.clone(),
            plugins: plugins.clone(),
            workers,
            recording: recording.switches(),
            archive: archive.clone(),
            directories,
            events: listening.followers(),
        };
        let log_dropped = move || log.as_ref().map_or(0, Logs::dropped);
        let refused = vec![
            ("flv", flv.as_ref().map(Flv::refused)),
            ("playback", playback.as_ref().map(Playback::refused)),
        ];
        let window = window.open(Arc::new(view), gate.clone(), Arc::new(log_dropped), refused);
        for Listener { key, address } in &listeners {
            tracing::info!("listening: {key} {address}");
        }
        Ok(Server {
            started,
            hub,
            plugins,
            watch,
            in_force,
            listening,
            keeper,
            sinks,
            recording,
            archive,
            keeping,
            forwarder,
            rtsp,
            sessions,
            rtmp,
            rtmp_conns,
            flv,
            flv_conns,
            playback,
            gate,
            on_connect,
            window,
            listeners,
        })
    }

    /// Puts another configuration in force. Nobody is disconnected whose own path did not become invalid; addresses and
    /// listeners stay as they are until a restart.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub async fn reload(&self, config: Config) -> anyhow::Result<()> {
        let config = sources::fetch(config).await?;
        let (plugins, previous) = (self.plugins.clone(), self.in_force.load());
        let for_restart = settings_for_restart(&previous.config, &config);
        let force = tokio::task::spawn_blocking(move || {
            let applied = plugins.apply(wiring::specs(&config)).map_err(sentences);
            let force = applied.and_then(|()| Force::new(config, &plugins, Some(&previous)));
            if force.is_err() {
                // The plugins, too, go back to what they were; what cannot is in the log of the plugin.
                let _ = plugins.apply(wiring::specs(&previous.config));
            }
            force
        });
        let force = force.await.context("loading plugins")??;
        if !for_restart.is_empty() {
            tracing::warn!(
                "these settings take effect at the next start: {}",
                for_restart.join(", ")
            );
        }
        let rules = force.rules.clone();
        force.start_observers();
        self.archive.configure(wiring::archived(&force.config));
        self.gate.configure(&force.config);
        self.on_connect.configure(force.on_connect.clone());
        self.in_force.replace(force);
        self.hub.configure(Instant::now(), rules);
        self.keeper.reload();
        self.sinks.reload();
        self.recording.reload();
        self.forwarder.reload();
        self.sessions.rules_changed();
        self.rtmp_conns.rules_changed();
        if let Some(flv) = &self.flv {
            flv.configure(&self.in_force.config().global);
        }
        self.flv_conns.rules_changed();
        if let Some(playback) = &self.playback {
            playback.configure(&self.in_force.config().global);
        }
        if let Some(watch) = &self.watch {
            // Plugins that are new may lie where nothing was watched so far.
            watch.refresh();
        }
        Ok(())
    }

    /// Waits until a plugin that was refused so far can be had, and puts the configuration in force once more: paths that
    /// use the plugin open.
    ///
    /// # Errors
    /// As of [`reload`](Self::reload).
    pub async fn mend(&self) -> anyhow::Result<()> {
        self.plugins.mended().await;
        self.reload((*self.in_force.config()).clone()).await
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

    /// The RTSP connections and sessions.
    pub fn sessions(&self) -> &rtsp::Registry {
        &self.sessions
    }

    /// The RTMP connections.
    pub fn rtmp_conns(&self) -> &rtmp::Registry {
        &self.rtmp_conns
    }

    /// Stops accepting, tells everybody, and waits for the last one, for a few seconds at most.
    pub async fn stop(self) {
        self.hub.shut_down();
        let rtsp = async {
            if let Some(rtsp) = self.rtsp {
                rtsp.stop().await;
            }
        };
        let rtmp = async {
            if let Some(rtmp) = self.rtmp {
                rtmp.stop().await;
            }
        };
        let flv = async {
            if let Some(flv) = self.flv {
                flv.close().await;
            }
        };
        let playback = async {
            if let Some(playback) = self.playback {
                playback.close().await;
            }
        };
        let streams = async {
            tokio::join!(rtsp, rtmp, flv, playback, self.keeper.close(GOODBYE));
            // Now everything has happened; who follows it over the API is told the end.
            self.listening.close().await;
        };
        let everybody = async {
            tokio::join!(
                streams,
                self.sinks.close(GOODBYE),
                self.recording.close(GOODBYE),
                self.forwarder.close(GOODBYE),
                self.window.close()
            )
        };
        if tokio::time::timeout(GOODBYE, everybody).await.is_err() {
            tracing::warn!("some connections or commands did not end in time");
        }
        // After the last guest had its last word. A disk that does not answer keeps nobody.
        let plugins = self.plugins;
        let flushed = tokio::task::spawn_blocking(move || plugins.flush());
        let disks = async { tokio::join!(self.keeping.stop(), flushed) };
        if tokio::time::timeout(LAST_WRITES, disks).await.is_err() {
            tracing::warn!("a disk did not take in time what was to be kept");
        }
    }
}

/// Global settings that a reload puts in force. The others are read when the server starts.
const LIVE: &[&str] = &[
    "logLevel",
    "writeQueueSize",
    "runOnConnect",
    "runOnConnectRestart",
    "runOnDisconnect",
    "authMethod",
    "authInternalUsers",
    "authOrder",
    "authFallback",
    "hlsAllowOrigins",
    "hlsTrustedProxies",
    "apiAllowOrigins",
    "apiTrustedProxies",
    "metricsAllowOrigins",
    "metricsTrustedProxies",
    "playbackAllowOrigins",
    "playbackTrustedProxies",
    "plugins",
    "limits",
];

/// The global settings that differ and take effect at the next start only.
fn settings_for_restart(old: &Config, new: &Config) -> Vec<String> {
    let (old, new) = (old.global_json(), new.global_json());
    let keys = new.as_object().into_iter().flatten();
    let differ = keys.filter(|(key, value)| old.get(key) != Some(value) && !LIVE.contains(&key.as_str()));
    differ.map(|(key, _)| key.clone()).collect()
}

async fn load(config: Config, services: sandbox::Services) -> anyhow::Result<(sandbox::Registry, Force)> {
    let loaded = tokio::task::spawn_blocking(move || {
        let state = config.global.state_directory.clone();
        let specs = wiring::specs(&config);
        let plugins = sandbox::Registry::begin(Some(&state), services, specs).map_err(sentences)?;
        let force = Force::new(config, &plugins, None)?;
        anyhow::Ok((plugins, force))
    });
    loaded.await.context("loading plugins")?
}

/// All errors of a list, a line each.
fn sentences(errors: Vec<sandbox::Error>) -> anyhow::Error {
    let lines: Vec<String> = errors.iter().map(ToString::to_string).collect();
    anyhow!(lines.join("\n"))
}

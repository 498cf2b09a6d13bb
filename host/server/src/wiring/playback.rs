//! The HTTP server of recordings: the playback server.

use std::sync::Arc;

use wasmtx_endpoints::{http, playback, recording::Archive, snapshot};
use wasmtx_hub::{Hub, Protocol};

use super::serving::Serving;
use crate::{access::Gate, config::Global, server::Listener, window};

/// Serving; dropped, it stops.
pub(crate) struct Playback {
    service: playback::Service,
    snapshots: snapshot::Service,
    serving: Serving,
}

impl Playback {
    /// Binds what the configuration switches on, and serves.
    ///
    /// # Errors
    /// The address, the key or the certificate that cannot be had.
    pub(crate) fn start(
        global: &Global,
        hub: &Hub,
        gate: &Arc<Gate>,
        archive: &Arc<Archive>,
        gallery: &snapshot::Gallery,
    ) -> anyhow::Result<Option<Playback>> {
        if !global.playback {
            return Ok(None);
        }
        let pair = (
            global.playback_server_key.as_path(),
            global.playback_server_cert.as_path(),
        );
        let pair = global.playback_encryption.then_some(pair);
        let bound = window::listen(global, "playbackAddress", &global.playback_address, pair)?;
        let settings = playback::Settings::default();
        let service = playback::Service::new(settings, archive.clone(), hub.clone(), gate.clone());
        let looks = snapshot::Settings::default();
        let snapshots = snapshot::Service::new(looks, Protocol::Hls, hub.clone(), gate.clone(), gallery.clone());
        let serving = Serving::start("playbackAddress", bound, snapshots.in_front_of(service.router()));
        let playback = Playback {
            service,
            snapshots,
            serving,
        };
        playback.configure(global);
        Ok(Some(playback))
    }

    /// Where it listens.
    pub(crate) fn listener(&self) -> Listener {
        self.serving.listener()
    }

    /// Counts what it refused.
    pub(crate) fn refused(&self) -> http::Refused {
        self.serving.refused()
    }

    /// Puts the settings in force that do not wait for a restart.
    pub(crate) fn configure(&self, global: &Global) {
        let mut settings = playback::Settings::default();
        settings.allow_origins.clone_from(&global.playback_allow_origins);
        settings.trusted_proxies.clone_from(&global.playback_trusted_proxies);
        self.service.configure(settings);
        let mut settings = snapshot::Settings::default();
        settings.allow_origins.clone_from(&global.playback_allow_origins);
        settings.trusted_proxies.clone_from(&global.playback_trusted_proxies);
        self.snapshots.configure(settings);
    }

    /// Cuts off who is served and stops.
    pub(crate) async fn close(self) {
        self.serving.close().await;
    }
}

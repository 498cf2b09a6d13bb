//! The HTTP server of HTTP-FLV and of snapshots. Its port is meant to be that of HLS, whose keys for TLS, web pages and proxies hold for it.

use std::sync::Arc;

use wasmtx_endpoints::{flv, http, snapshot};
use wasmtx_hub::{Hub, Protocol};

use super::serving::Serving;
use crate::{access::Gate, config::Global, server::Listener, window};

/// Serving; dropped, it stops.
pub(crate) struct Flv {
    service: flv::Service,
    snapshots: snapshot::Service,
    settings: flv::Settings,
    serving: Serving,
}

impl Flv {
    /// Binds what the configuration switches on, and serves.
    ///
    /// # Errors
    /// The address, the key or the certificate that cannot be had.
    pub(crate) fn start(
        global: &Global,
        hub: &Hub,
        gate: &Arc<Gate>,
        conns: &flv::Registry,
        gallery: &snapshot::Gallery,
    ) -> anyhow::Result<Option<Flv>> {
        if !global.flv {
            return Ok(None);
        }
        let pair = (global.hls_server_key.as_path(), global.hls_server_cert.as_path());
        let pair = global.hls_encryption.then_some(pair);
        let bound = window::listen(global, "flvAddress", &global.flv_address, pair)?;
        let mut settings = flv::Settings::default();
        settings.write_timeout = global.write_timeout;
        let service = flv::Service::new(settings.clone(), hub.clone(), gate.clone(), conns.clone());
        let looks = snapshot::Settings::default();
        let snapshots = snapshot::Service::new(looks, Protocol::Hls, hub.clone(), gate.clone(), gallery.clone());
        let serving = Serving::start("flvAddress", bound, snapshots.in_front_of(service.router()));
        let flv = Flv {
            service,
            snapshots,
            settings,
            serving,
        };
        flv.configure(global);
        Ok(Some(flv))
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
        let mut settings = self.settings.clone();
        settings.allow_origins.clone_from(&global.hls_allow_origins);
        settings.trusted_proxies.clone_from(&global.hls_trusted_proxies);
        self.service.configure(settings);
        let mut settings = snapshot::Settings::default();
        settings.allow_origins.clone_from(&global.hls_allow_origins);
        settings.trusted_proxies.clone_from(&global.hls_trusted_proxies);
        self.snapshots.configure(settings);
    }

    /// Sends the players away and stops.
    pub(crate) async fn close(self) {
        self.serving.close().await;
    }
}

//! The HTTP servers of the API and the metrics: the window into a running server.

use std::{path::Path, sync::Arc};

use tokio::{sync::watch, task::JoinSet};
use wasmtx_endpoints::http;

use crate::{
    access::Gate,
    api::{self, View},
    config::{Address, Global},
    metrics::{self, Counters},
    server::Listener,
    wiring,
};

/// Both servers, bound and not yet serving, so that each can show the address of the other.
pub(crate) struct Window {
    api: Option<http::Server>,
    metrics: Option<http::Server>,
}

/// Serving; dropped, both stop.
pub(crate) struct Open {
    stop: watch::Sender<bool>,
    servers: JoinSet<()>,
}

impl Window {
    /// Binds what the configuration switches on.
    ///
    /// # Errors
    /// The address, the key or the certificate that cannot be had.
    pub(crate) fn bind(global: &Global) -> anyhow::Result<Window> {
        let api = || {
            let pair = (global.api_server_key.as_path(), global.api_server_cert.as_path());
            listen(
                global,
                "apiAddress",
                &global.api_address,
                global.api_encryption.then_some(pair),
            )
        };
        let metrics = || {
            let pair = (
                global.metrics_server_key.as_path(),
                global.metrics_server_cert.as_path(),
            );
            listen(
                global,
                "metricsAddress",
                &global.metrics_address,
                global.metrics_encryption.then_some(pair),
            )
        };
        Ok(Window {
            api: global.api.then(api).transpose()?,
            metrics: global.metrics.then(metrics).transpose()?,
        })
    }

    /// The bound addresses.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let servers = [("apiAddress", &self.api), ("metricsAddress", &self.metrics)];
        let bound = servers
            .into_iter()
            .filter_map(|(key, server)| Some((key, server.as_ref()?.local_address())));
        bound.map(|(key, address)| Listener { key, address }).collect()
    }

    /// Serves both. `others` is what the metrics show of the other HTTP servers, by name.
    pub(crate) fn open(
        self,
        view: Arc<View>,
        gate: Arc<Gate>,
        log_dropped: Arc<dyn Fn() -> u64 + Send + Sync>,
        others: Vec<(&'static str, Option<http::Refused>)>,
    ) -> Open {
        let refused_by = |server: &Option<http::Server>| server.as_ref().map(http::Server::refused);
        let named = [("api", refused_by(&self.api)), ("metrics", refused_by(&self.metrics))];
        let refused = named
            .into_iter()
            .chain(others)
            .filter_map(|(name, refused)| Some((name, refused?)))
            .collect();
        let counters = Counters {
            gate: gate.clone(),
            http: refused,
            log_dropped,
        };
        let stop = watch::Sender::new(false);
        let mut servers = JoinSet::new();
        if let Some(server) = self.api {
            servers.spawn(server.serve(api::router(view.clone(), gate), stop.subscribe()));
        }
        if let Some(server) = self.metrics {
            servers.spawn(server.serve(metrics::router(view, counters), stop.subscribe()));
        }
        Open { stop, servers }
    }
}

impl Open {
    /// Answers what was asked and stops.
    pub(crate) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.servers.join_next().await.is_some() {}
    }
}

/// Binds one server, with TLS when a key and a certificate are given.
pub(crate) fn listen(
    global: &Global,
    key: &'static str,
    address: &Address,
    pair: Option<(&Path, &Path)>,
) -> anyhow::Result<http::Server> {
    let identity = pair
        .map(|(key, certificate)| wiring::identity_of(key, certificate))
        .transpose()?;
    let tls = identity
        .map(|identity| identity.server_config(http::PROTOCOLS))
        .transpose()?;
    Ok(http::Server::bind(key, address.as_str(), limits(global), tls)?)
}

fn limits(global: &Global) -> http::Limits {
    let mut limits = http::Limits::default();
    let usize_of = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    limits.connections = usize_of(global.limits.connections_per_listener);
    limits.connections_per_address = usize_of(global.limits.connections_per_address);
    limits.head_time = global.limits.http_head;
    // What a route reads of it is bounded there; a component may be larger than anything else.
    limits.body = global.limits.api_body.0.max(api::COMPONENT as u64);
    limits.tls_handshake = global.limits.tls_handshake;
    limits.tls_handshakes = usize_of(global.limits.tls_handshakes);
    limits.write_stall = global.write_timeout;
    limits
}

//! The RTMP and RTMPS listeners.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use ipnet::IpNet;
use tokio::{sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use wasmtx_hub::{Gate, Hub};

use super::{connection, registry::Registry};
use crate::{
    admission::Bounds,
    bind::{self, BindError},
    hooks::OnConnect,
    listener::{Complaints, Guest, Listener, Service},
};

/// How the RTMP servers are set up.
pub struct Config {
    /// `rtmpAddress`; `None` when only RTMPS is served.
    pub address: Option<String>,
    /// `rtmpsAddress` and what it encrypts with.
    pub encrypted: Option<(String, TlsAcceptor)>,
    /// `rtmpTrustedProxies`: who may say in the PROXY protocol for whom it speaks.
    pub trusted_proxies: Vec<IpNet>,
    /// What runs when a client connects.
    pub on_connect: OnConnect,
    /// `readTimeout`.
    pub read_timeout: Duration,
    /// `writeTimeout`.
    pub write_timeout: Duration,
    /// Connections of each listener at once.
    pub connections: usize,
    /// Connections of a listener from one address, loopback excepted.
    pub connections_per_address: usize,
    /// The same, before the gate let them in.
    pub connections_before_login: usize,
    /// TLS handshakes at once.
    pub tls_handshakes: usize,
    /// Time for a TLS handshake, and for what a proxy says before it.
    pub tls_deadline: Duration,
}

/// What every connection of both servers shares.
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) registry: Registry,
    pub(super) on_connect: OnConnect,
    pub(super) read_timeout: Duration,
    pub(super) write_timeout: Duration,
    pub(super) complaints: Complaints,
}

impl Service for Shared {
    async fn serve(self: Arc<Self>, guest: Guest, stop: watch::Receiver<bool>) {
        connection::serve(self, guest, stop).await;
    }

    fn count_refused(&self, reason: &'static str) {
        self.registry.count_refused(reason);
    }

    fn complaints(&self) -> &Complaints {
        &self.complaints
    }
}

/// The RTMP servers, bound and serving. Dropping it stops them.
pub struct Server {
    /// The address of `rtmpAddress` as it was bound.
    pub address: Option<SocketAddr>,
    /// The address of `rtmpsAddress` as it was bound.
    pub encrypted_address: Option<SocketAddr>,
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Server {
    /// Binds every listener, then serves them.
    ///
    /// # Errors
    /// [`BindError`] names the first address that cannot be had; none is served then.
    pub fn start(config: Config, hub: Hub, gate: Arc<dyn Gate>, registry: Registry) -> Result<Server, BindError> {
        let plain = match &config.address {
            Some(address) => Some(("RTMP", bind::tcp("rtmpAddress", address)?, None)),
            None => None,
        };
        let encrypted = match config.encrypted {
            Some((address, acceptor)) => Some(("RTMPS", bind::tcp("rtmpsAddress", &address)?, Some(acceptor))),
            None => None,
        };
        let shared = Arc::new(Shared {
            hub,
            gate,
            registry,
            on_connect: config.on_connect,
            read_timeout: config.read_timeout,
            write_timeout: config.write_timeout,
            complaints: Complaints::default(),
        });
        let mut server = Server {
            address: plain.as_ref().and_then(|(_, socket, _)| socket.local_addr().ok()),
            encrypted_address: encrypted.as_ref().and_then(|(_, socket, _)| socket.local_addr().ok()),
            stop: watch::Sender::new(false),
            accepting: JoinSet::new(),
        };
        for (name, socket, acceptor) in plain.into_iter().chain(encrypted) {
            let listener = Listener {
                name,
                socket,
                acceptor,
                bounds: Bounds {
                    connections: config.connections,
                    per_address: config.connections_per_address,
                    per_stranger: config.connections_before_login,
                    handshakes: config.tls_handshakes,
                },
                tls_deadline: config.tls_deadline,
                trusted_proxies: config.trusted_proxies.clone(),
            };
            let stop = server.stop.subscribe();
            server.accepting.spawn(listener.run(shared.clone(), stop));
        }
        Ok(server)
    }

    /// Stops accepting and ends every connection. Readers get what is left of a stream that is over.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.accepting.join_next().await.is_some() {}
    }
}

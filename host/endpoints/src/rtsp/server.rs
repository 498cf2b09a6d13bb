//! The RTSP and RTSPS listeners.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use ipnet::IpNet;
use tokio::{sync::watch, task::JoinSet};
use tokio_rustls::TlsAcceptor;
use wasmtx_hub::{Gate, Hub};
use wasmtx_protocol::rtsp::{
    auth::{Offers, Scheme},
    server::Config as MachineConfig,
};

use super::{connection, ports::Ports, registry::Registry};
use crate::{
    admission::Bounds,
    bind::{self, BindError},
    hooks::OnConnect,
    listener::{Complaints, Guest, Listener, Service},
};

/// How the RTSP servers are set up.
pub struct Config {
    /// `rtspAddress`; `None` when only RTSPS is served.
    pub address: Option<String>,
    /// `rtspsAddress` and what it encrypts with.
    pub encrypted: Option<(String, TlsAcceptor)>,
    /// Which transports of `rtspTransports` are on.
    pub transports: Transports,
    /// `rtpAddress`.
    pub rtp_address: String,
    /// `rtcpAddress`.
    pub rtcp_address: String,
    /// `rtspAuthMethods` and `rtspDigestAlgorithms`, strongest first.
    pub auth: Vec<Scheme>,
    /// `readTimeout`.
    pub read_timeout: Duration,
    /// `writeTimeout`.
    pub write_timeout: Duration,
    /// `udpMaxPayloadSize`.
    pub udp_max_payload: usize,
    /// `udpReadBufferSize`; 0: the system's default.
    pub udp_read_buffer: usize,
    /// Connections of each listener at once.
    pub connections: usize,
    /// Connections of a listener from one address, loopback excepted.
    pub connections_per_address: usize,
    /// The same, before the gate let them in.
    pub connections_before_login: usize,
    /// TLS handshakes at once.
    pub tls_handshakes: usize,
    /// Time for a TLS handshake.
    pub tls_deadline: Duration,
    /// `rtspTrustedProxies`: who may say in the PROXY protocol for whom it speaks.
    pub trusted_proxies: Vec<IpNet>,
    /// `runOnConnect` and `runOnDisconnect`.
    pub on_connect: OnConnect,
}

/// What clients may ask for in SETUP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transports {
    /// RTP inside the RTSP connection.
    pub tcp: bool,
    /// RTP in datagrams.
    pub udp: bool,
}

/// What every connection of both servers shares.
pub(super) struct Shared {
    pub(super) hub: Hub,
    pub(super) gate: Arc<dyn Gate>,
    pub(super) registry: Registry,
    pub(super) on_connect: OnConnect,
    pub(super) transports: Transports,
    pub(super) ports: Option<Arc<Ports>>,
    pub(super) write_timeout: Duration,
    pub(super) udp_max_payload: usize,
    read_timeout: Duration,
    auth: Vec<Scheme>,
    pub(super) complaints: Complaints,
}

/// A session is over when nothing was heard for this long; clients are told (RFC 2326 section 12.37).
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);

impl Shared {
    pub(super) fn machine_config(&self, remote: IpAddr) -> MachineConfig {
        MachineConfig {
            remote,
            seed: rand::random(),
            server: "wasmtx".to_owned(),
            auth: Offers {
                realm: "wasmtx".to_owned(),
                schemes: self.auth.clone(),
            },
            session_timeout: SESSION_TIMEOUT,
            read_timeout: self.read_timeout,
        }
    }

    /// The connection type of the API.
    pub(super) fn conn_kind(&self, encrypted: bool) -> &'static str {
        if encrypted { "rtspsConn" } else { "rtspConn" }
    }

    /// The session type of the API.
    pub(super) fn kind(&self, encrypted: bool) -> &'static str {
        if encrypted { "rtspsSession" } else { "rtspSession" }
    }
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

/// The RTSP servers, bound and serving. Dropping it stops them.
pub struct Server {
    /// The address of `rtspAddress` as it was bound.
    pub address: Option<SocketAddr>,
    /// The address of `rtspsAddress` as it was bound.
    pub encrypted_address: Option<SocketAddr>,
    /// The addresses of `rtpAddress` and `rtcpAddress` as they were bound.
    pub datagram_addresses: Option<[SocketAddr; 2]>,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    accepting: JoinSet<()>,
}

impl Server {
    /// Binds every listener, then serves them.
    ///
    /// # Errors
    /// [`BindError`] names the first address that cannot be had; none is served then.
    pub fn start(config: Config, hub: Hub, gate: Arc<dyn Gate>, registry: Registry) -> Result<Server, BindError> {
        let plain = config
            .address
            .as_deref()
            .map(|address| bind::tcp("rtspAddress", address))
            .transpose()?;
        let encrypted = match &config.encrypted {
            Some((address, acceptor)) => Some((bind::tcp("rtspsAddress", address)?, acceptor.clone())),
            None => None,
        };
        let wants_ports = config.transports.udp && plain.is_some();
        let ports = wants_ports
            .then(|| Ports::bind(&config.rtp_address, &config.rtcp_address, config.udp_read_buffer))
            .transpose()?
            .map(Arc::new);
        let shared = Arc::new(Shared {
            hub,
            gate,
            registry,
            on_connect: config.on_connect,
            transports: config.transports,
            ports,
            write_timeout: config.write_timeout,
            udp_max_payload: config.udp_max_payload,
            read_timeout: config.read_timeout,
            auth: config.auth,
            complaints: Complaints::default(),
        });
        let mut server = Server {
            address: plain.as_ref().and_then(|listener| listener.local_addr().ok()),
            encrypted_address: encrypted.as_ref().and_then(|(listener, _)| listener.local_addr().ok()),
            datagram_addresses: shared.ports.as_ref().and_then(|ports| ports.addresses().ok()),
            shared,
            stop: watch::Sender::new(false),
            accepting: JoinSet::new(),
        };
        // Before the first client can come.
        server
            .shared
            .on_connect
            .set_rtsp_port(server.address.map_or(0, |address| address.port()));
        let bounds = Bounds {
            connections: config.connections,
            per_address: config.connections_per_address,
            per_stranger: config.connections_before_login,
            handshakes: config.tls_handshakes,
        };
        let listener = |(name, socket, acceptor)| Listener {
            name,
            socket,
            acceptor,
            bounds: bounds.clone(),
            tls_deadline: config.tls_deadline,
            trusted_proxies: config.trusted_proxies.clone(),
        };
        let plain = plain.map(|socket| ("RTSP", socket, None));
        let encrypted = encrypted.map(|(socket, acceptor)| ("RTSPS", socket, Some(acceptor)));
        for listener in plain.into_iter().chain(encrypted).map(listener) {
            let stop = server.stop.subscribe();
            server.accepting.spawn(listener.run(server.shared.clone(), stop));
        }
        Ok(server)
    }

    /// Datagrams that came from nobody who set up a session.
    pub fn stray_datagrams(&self) -> u64 {
        self.shared.ports.as_ref().map_or(0, |ports| ports.strangers())
    }

    /// Stops accepting and ends every connection. Readers get what is left of a stream that is over.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        while self.accepting.join_next().await.is_some() {}
    }
}

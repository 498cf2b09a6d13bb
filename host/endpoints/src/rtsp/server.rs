//! The RTSP and RTSPS listeners.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use wasmtx_hub::{Gate, Hub};
use wasmtx_protocol::rtsp::{
    auth::{Offers, Scheme},
    server::Config as MachineConfig,
};

use super::{connection, ports::Ports, registry::Registry};
use crate::{
    admission::{Admission, Bounds, Slot},
    bind::{self, BindError},
    hooks::OnConnect,
    tcp::Stream,
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
    logged: Mutex<HashMap<(IpAddr, &'static str), Instant>>,
    bounds: Bounds,
    tls_deadline: Duration,
}

/// A session is over when nothing was heard for this long; clients are told (RFC 2326 section 12.37).
const SESSION_TIMEOUT: Duration = Duration::from_secs(60);
/// The same complaint about the same address is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Addresses remembered for that.
const LOG_ADDRESSES: usize = 4_096;
/// Pause after an error of accept(2): usually no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Time between two complaints about that.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// For connections to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_secs(2);

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

    /// Whether a complaint about an address is due.
    pub(super) fn may_log(&self, remote: IpAddr, code: &'static str) -> bool {
        let now = Instant::now();
        let mut logged = self.logged.lock();
        if logged.len() >= LOG_ADDRESSES {
            logged.retain(|_, last| now.duration_since(*last) < LOG_EVERY);
        }
        let last = logged.get(&(remote, code));
        // With as many addresses as that complaining, one more complaint tells nobody anything.
        let due = last.map_or(logged.len() < LOG_ADDRESSES, |last| {
            now.duration_since(*last) >= LOG_EVERY
        });
        if due {
            logged.insert((remote, code), now);
        }
        due
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
            logged: Mutex::default(),
            bounds: Bounds {
                connections: config.connections,
                per_address: config.connections_per_address,
                per_stranger: config.connections_before_login,
                handshakes: config.tls_handshakes,
            },
            tls_deadline: config.tls_deadline,
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
        if let Some(listener) = plain {
            server
                .accepting
                .spawn(accept(server.shared.clone(), listener, None, server.stop.subscribe()));
        }
        if let Some((listener, acceptor)) = encrypted {
            server.accepting.spawn(accept(
                server.shared.clone(),
                listener,
                Some(acceptor),
                server.stop.subscribe(),
            ));
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

async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    acceptor: Option<TlsAcceptor>,
    mut stop: watch::Receiver<bool>,
) {
    let admission = Admission::new(shared.bounds.clone());
    let mut connections = JoinSet::new();
    let mut complained: Option<Instant> = None;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, remote)) => {
                    let remote = SocketAddr::new(remote.ip().to_canonical(), remote.port());
                    match admission.admit(remote.ip()) {
                        Ok(slot) => {
                            connections.spawn(serve(shared.clone(), socket, remote, slot, acceptor.clone(), stop.clone()));
                        }
                        Err(reason) => shared.registry.count_refused(reason),
                    }
                }
                Err(error) => {
                    if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                        complained = Some(Instant::now());
                        tracing::error!(code = "accept", "[RTSP] cannot accept connections: {error}");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            // The only news is the stop, or that the server is gone.
            _ = stop.changed() => break,
        }
    }
    drop(listener);
    let goodbye = async { while connections.join_next().await.is_some() {} };
    // Whoever is still here then is cut off below.
    let _ = tokio::time::timeout(GOODBYE, goodbye).await;
    connections.shutdown().await;
}

async fn serve(
    shared: Arc<Shared>,
    socket: TcpStream,
    remote: SocketAddr,
    slot: Slot,
    acceptor: Option<TlsAcceptor>,
    stop: watch::Receiver<bool>,
) {
    let prepare = || -> io::Result<SocketAddr> {
        socket.set_nodelay(true)?;
        let local = socket.local_addr()?;
        Ok(SocketAddr::new(local.ip().to_canonical(), local.port()))
    };
    let Ok(local) = prepare() else { return };
    let encrypted = acceptor.is_some();
    let stream = match acceptor {
        None => Stream::plain(socket),
        Some(acceptor) => match handshake(&shared, &slot, acceptor, socket).await {
            Ok(stream) => Stream::Tls(Box::new(stream)),
            Err(reason) => {
                shared.registry.count_refused(reason);
                if shared.may_log(remote.ip(), reason) {
                    tracing::warn!(%remote, code = reason, "[RTSPS] no encrypted connection");
                }
                return;
            }
        },
    };
    connection::serve(shared, stream, slot, [local, remote], encrypted, stop).await;
}

async fn handshake(
    shared: &Shared,
    slot: &Slot,
    acceptor: TlsAcceptor,
    socket: TcpStream,
) -> Result<TlsStream<TcpStream>, &'static str> {
    let _turn = slot.admission().handshake().ok_or("tls-handshakes")?;
    match tokio::time::timeout(shared.tls_deadline, acceptor.accept(socket)).await {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(_)) => Err("tls"),
        Err(_) => Err("tls-timeout"),
    }
}

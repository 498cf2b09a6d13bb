//! The door of every server whose connections stay: who is let in, encryption, what a proxy says about who comes, and the
//! way out when the server stops.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use parking_lot::Mutex;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    admission::{Admission, Bounds, Slot},
    proxy,
    tcp::Stream,
};

/// Pause after an error of accept(2): usually no file descriptor is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
/// Time between two complaints about that.
const COMPLAIN_EVERY: Duration = Duration::from_secs(1);
/// For connections to say goodbye when the server stops.
const GOODBYE: Duration = Duration::from_secs(2);
/// The same complaint about the same address is logged once in this time.
const LOG_EVERY: Duration = Duration::from_secs(60);
/// Addresses remembered for that.
const LOG_ADDRESSES: usize = 4_096;

/// One listening socket, and the terms of coming in.
pub(crate) struct Listener {
    /// For the log: `RTSP`, `RTSPS` and so on.
    pub(crate) name: &'static str,
    pub(crate) socket: TcpListener,
    /// Makes it a server with TLS.
    pub(crate) acceptor: Option<TlsAcceptor>,
    pub(crate) bounds: Bounds,
    /// Time for a TLS handshake, and before it for what a proxy says.
    pub(crate) tls_deadline: Duration,
    /// Who may say in the PROXY protocol for whom it speaks.
    pub(crate) trusted_proxies: Vec<IpNet>,
}

/// A client that came in.
pub(crate) struct Guest {
    pub(crate) stream: Stream,
    pub(crate) slot: Slot,
    pub(crate) local: SocketAddr,
    /// Behind a trusted proxy: whom it speaks for.
    pub(crate) remote: SocketAddr,
    pub(crate) encrypted: bool,
}

/// What is behind the door.
pub(crate) trait Service: Send + Sync + 'static {
    /// Serves one client to its end, which comes soon after `stop` became true.
    fn serve(self: Arc<Self>, guest: Guest, stop: watch::Receiver<bool>) -> impl Future<Output = ()> + Send;

    /// Counts a connection that was closed for a reason that is the client's fault.
    fn count_refused(&self, reason: &'static str);

    /// What was complained about.
    fn complaints(&self) -> &Complaints;
}

/// Remembers what was logged about whom, so that nobody fills the log.
#[derive(Debug, Default)]
pub(crate) struct Complaints(Mutex<HashMap<(IpAddr, &'static str), Instant>>);

impl Complaints {
    /// Whether a complaint about an address is due.
    pub(crate) fn is_due(&self, remote: IpAddr, code: &'static str) -> bool {
        let now = Instant::now();
        let mut logged = self.0.lock();
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

impl Listener {
    /// Lets clients in until `stop` becomes true, then waits a moment for those who are in to leave.
    pub(crate) async fn run<S: Service>(self, service: Arc<S>, mut stop: watch::Receiver<bool>) {
        let admission = Admission::new(self.bounds.clone());
        let door = Arc::new(self);
        let mut connections = JoinSet::new();
        let mut complained: Option<Instant> = None;
        loop {
            tokio::select! {
                accepted = door.socket.accept() => match accepted {
                    Ok((socket, remote)) => {
                        let remote = canonical(remote);
                        let is_proxy = door.trusted_proxies.iter().any(|proxy| proxy.contains(&remote.ip()));
                        let slot = if is_proxy { admission.admit_proxy(remote.ip()) } else { admission.admit(remote.ip()) };
                        match slot {
                            Ok(slot) => {
                                let (door, service, stop) = (door.clone(), service.clone(), stop.clone());
                                connections.spawn(async move {
                                    // Apart: a connection does not carry the room of its TLS handshake along.
                                    let welcome = Box::pin(door.welcome(&*service, socket, remote, slot, is_proxy));
                                    if let Some(guest) = welcome.await {
                                        drop(door);
                                        service.serve(guest, stop).await;
                                    }
                                });
                            }
                            Err(reason) => service.count_refused(reason),
                        }
                    }
                    Err(error) => {
                        if complained.is_none_or(|last| last.elapsed() >= COMPLAIN_EVERY) {
                            complained = Some(Instant::now());
                            tracing::error!(code = "accept", "[{}] cannot accept connections: {error}", door.name);
                        }
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                },
                Some(_) = connections.join_next() => {}
                // The only news is the stop, or that the server is gone.
                _ = stop.changed() => break,
            }
        }
        drop(door);
        let goodbye = async { while connections.join_next().await.is_some() {} };
        // Whoever is still here then is cut off below.
        let _ = tokio::time::timeout(GOODBYE, goodbye).await;
        connections.shutdown().await;
    }

    /// Finds out who it is, and encrypts.
    async fn welcome(
        &self,
        service: &impl Service,
        mut socket: TcpStream,
        mut remote: SocketAddr,
        mut slot: Slot,
        is_proxy: bool,
    ) -> Option<Guest> {
        let prepare = || -> io::Result<SocketAddr> {
            socket.set_nodelay(true)?;
            socket.local_addr().map(canonical)
        };
        let local = prepare().ok()?;
        let refuse = |remote: SocketAddr, reason| {
            service.count_refused(reason);
            if service.complaints().is_due(remote.ip(), reason) {
                tracing::warn!(%remote, code = reason, "[{}] no connection", self.name);
            }
        };
        if is_proxy {
            let said = tokio::time::timeout(self.tls_deadline, proxy::read(&mut socket)).await;
            let client = match said {
                Ok(Ok(client)) => client,
                Ok(Err(proxy::Error::Gone)) => return None,
                Ok(Err(proxy::Error::Malformed)) => {
                    refuse(remote, "proxy");
                    return None;
                }
                Err(_) => {
                    refuse(remote, "proxy-timeout");
                    return None;
                }
            };
            if let Some(client) = client.map(canonical) {
                remote = client;
                if let Err(reason) = slot.name(client.ip()) {
                    service.count_refused(reason);
                    return None;
                }
            }
        }
        let stream = match &self.acceptor {
            None => Stream::plain(socket),
            Some(acceptor) => match self.handshake(&slot, acceptor.clone(), socket).await {
                Ok(stream) => Stream::Tls(Box::new(stream)),
                Err(reason) => {
                    refuse(remote, reason);
                    return None;
                }
            },
        };
        Some(Guest {
            stream,
            slot,
            local,
            remote,
            encrypted: self.acceptor.is_some(),
        })
    }

    async fn handshake(
        &self,
        slot: &Slot,
        acceptor: TlsAcceptor,
        socket: TcpStream,
    ) -> Result<TlsStream<TcpStream>, &'static str> {
        let _turn = slot.admission().handshake().ok_or("tls-handshakes")?;
        match tokio::time::timeout(self.tls_deadline, acceptor.accept(socket)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) => Err("tls"),
            Err(_) => Err("tls-timeout"),
        }
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

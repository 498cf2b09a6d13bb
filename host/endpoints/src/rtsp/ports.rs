//! The pair of UDP ports that all sessions share, and the table of who sends to them.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::{Bytes, BytesMut};
use parking_lot::RwLock;
use tokio::{net::UdpSocket, sync::mpsc, task::AbortHandle};

use crate::{
    bind::{self, BindError},
    datagrams,
};

/// Datagrams that a session may leave unread; past it they are dropped, as the network would.
const QUEUE: usize = 1_024;
/// No datagram is larger.
const MAX_DATAGRAM: usize = 65_535;
/// Ports that the system is asked for until one has a free neighbour.
const PAIR_ATTEMPTS: u32 = 32;
/// Reserved at once, to be cut into datagrams.
const CHUNK: usize = 256 << 10;

/// One datagram for a session.
pub(super) struct Datagram {
    pub(super) media: usize,
    pub(super) rtcp: bool,
    pub(super) data: Bytes,
}

/// Where a session's datagrams arrive.
pub(super) type Inbox = mpsc::Receiver<Datagram>;

/// The way into an [`Inbox`].
#[derive(Clone)]
pub(super) struct Address(mpsc::Sender<Datagram>);

pub(super) fn inbox() -> (Address, Inbox) {
    let (sender, inbox) = mpsc::channel(QUEUE);
    (Address(sender), inbox)
}

type Table = Arc<RwLock<HashMap<SocketAddr, (usize, Address)>>>;

/// `rtpAddress` and `rtcpAddress`.
pub(super) struct Ports {
    rtp: Port,
    rtcp: Port,
}

struct Port {
    socket: Arc<UdpSocket>,
    table: Table,
    task: AbortHandle,
    strangers: Arc<AtomicU64>,
}

impl Ports {
    /// Binds both. Where the system may choose both ports it is asked until RTCP gets the one after RTP, as clients
    /// expect (RFC 3550 section 11).
    pub(super) fn bind(rtp: &str, rtcp: &str, receive_buffer: usize) -> Result<Ports, BindError> {
        let (first, second) = match rtcp.strip_suffix(":0").filter(|_| rtp.ends_with(":0")) {
            Some(host) => bind_pair(rtp, host, receive_buffer)?,
            None => (
                bind::udp("rtpAddress", rtp, receive_buffer)?,
                bind::udp("rtcpAddress", rtcp, receive_buffer)?,
            ),
        };
        Ok(Ports { rtp: Port::spawn(first, false), rtcp: Port::spawn(second, true) })
    }

    /// Our port for RTP and the one for RTCP.
    pub(super) fn numbers(&self) -> io::Result<(u16, u16)> {
        Ok((self.rtp.socket.local_addr()?.port(), self.rtcp.socket.local_addr()?.port()))
    }

    /// The addresses that were bound.
    pub(super) fn addresses(&self) -> io::Result<[SocketAddr; 2]> {
        Ok([self.rtp.socket.local_addr()?, self.rtcp.socket.local_addr()?])
    }

    /// Datagrams from nobody that set up a session.
    pub(super) fn strangers(&self) -> u64 {
        self.rtp.strangers.load(Ordering::Relaxed) + self.rtcp.strangers.load(Ordering::Relaxed)
    }

    /// Delivers what comes from these two ports of a peer, and only that, for as long as the guard lives.
    pub(super) fn deliver(self: &Arc<Self>, peer: IpAddr, rtp: u16, rtcp: u16, media: usize, to: &Address) -> Delivery {
        let (rtp, rtcp) = (SocketAddr::new(peer, rtp), SocketAddr::new(peer, rtcp));
        self.rtp.table.write().insert(rtp, (media, to.clone()));
        self.rtcp.table.write().insert(rtcp, (media, to.clone()));
        Delivery { ports: self.clone(), rtp, rtcp }
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        self.rtp.task.abort();
        self.rtcp.task.abort();
    }
}

fn bind_pair(rtp: &str, rtcp_host: &str, receive_buffer: usize) -> Result<(UdpSocket, UdpSocket), BindError> {
    let mut attempt = 1;
    loop {
        let first = bind::udp("rtpAddress", rtp, receive_buffer)?;
        let port = first.local_addr().map_or(0, |address| address.port());
        let next = port.checked_add(1).filter(|_| port % 2 == 0);
        let second = next.map(|next| bind::udp("rtcpAddress", &format!("{rtcp_host}:{next}"), receive_buffer));
        match second {
            Some(Ok(second)) => return Ok((first, second)),
            Some(Err(error)) if attempt >= PAIR_ATTEMPTS => return Err(error),
            _ if attempt >= 2 * PAIR_ATTEMPTS => {
                return Ok((first, bind::udp("rtcpAddress", &format!("{rtcp_host}:0"), receive_buffer)?));
            }
            _ => attempt += 1,
        }
    }
}

/// One media of one peer over UDP.
pub(super) struct Delivery {
    ports: Arc<Ports>,
    rtp: SocketAddr,
    rtcp: SocketAddr,
}

impl Delivery {
    pub(super) async fn send_rtp(&self, packets: &[Bytes]) -> io::Result<()> {
        datagrams::send_all(&self.ports.rtp.socket, self.ports.rtp.reach(self.rtp), packets).await
    }

    pub(super) async fn send_rtcp(&self, packet: &Bytes) -> io::Result<()> {
        let port = &self.ports.rtcp;
        port.socket.send_to(packet, port.reach(self.rtcp)).await.map(drop)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.ports.rtp.table.write().remove(&self.rtp);
        self.ports.rtcp.table.write().remove(&self.rtcp);
    }
}

impl Port {
    fn spawn(socket: UdpSocket, rtcp: bool) -> Port {
        let socket = Arc::new(socket);
        let table = Table::default();
        let strangers = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(receive(socket.clone(), rtcp, table.clone(), strangers.clone())).abort_handle();
        Port { socket, table, task, strangers }
    }

    /// An IPv4 peer as a socket that serves both families knows it.
    fn reach(&self, peer: SocketAddr) -> SocketAddr {
        match (self.socket.local_addr(), peer.ip()) {
            (Ok(SocketAddr::V6(_)), IpAddr::V4(v4)) => SocketAddr::new(v4.to_ipv6_mapped().into(), peer.port()),
            _ => peer,
        }
    }
}

async fn receive(socket: Arc<UdpSocket>, rtcp: bool, table: Table, strangers: Arc<AtomicU64>) {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.capacity() < MAX_DATAGRAM {
            buffer.reserve(CHUNK);
        }
        // An error here is an ICMP answer to something sent earlier: no reason to stop receiving.
        let Ok((_, from)) = socket.recv_buf_from(&mut buffer).await else {
            buffer.clear();
            continue;
        };
        let data = buffer.split().freeze();
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let receiver = table.read().get(&from).cloned();
        match receiver {
            Some((media, Address(inbox))) => {
                // Full: the session does not keep up, and the datagram is lost as on any network.
                let _ = inbox.try_send(Datagram { media, rtcp, data });
            }
            None => {
                strangers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

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

use bytes::Bytes;
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
        Ok(Ports {
            rtp: Port::spawn(first, false),
            rtcp: Port::spawn(second, true),
        })
    }

    /// Our port for RTP and the one for RTCP.
    pub(super) fn numbers(&self) -> io::Result<(u16, u16)> {
        Ok((
            self.rtp.socket.local_addr()?.port(),
            self.rtcp.socket.local_addr()?.port(),
        ))
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
        Delivery {
            ports: self.clone(),
            rtp,
            rtcp,
            to: to.clone(),
        }
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
                return Ok((
                    first,
                    bind::udp("rtcpAddress", &format!("{rtcp_host}:0"), receive_buffer)?,
                ));
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
    to: Address,
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
        self.ports.rtp.forget(self.rtp, &self.to);
        self.ports.rtcp.forget(self.rtcp, &self.to);
    }
}

impl Port {
    fn spawn(socket: UdpSocket, rtcp: bool) -> Port {
        let socket = Arc::new(socket);
        let table = Table::default();
        let strangers = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(receive(socket.clone(), rtcp, table.clone(), strangers.clone())).abort_handle();
        Port {
            socket,
            table,
            task,
            strangers,
        }
    }

    /// Delivers no more from this peer, unless another session has taken its ports over: a client that comes back before
    /// its old connection is known to be dead.
    fn forget(&self, peer: SocketAddr, to: &Address) {
        let mut table = self.table.write();
        if table
            .get(&peer)
            .is_some_and(|(_, present)| present.0.same_channel(&to.0))
        {
            table.remove(&peer);
        }
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
    let mut buffer = vec![0; MAX_DATAGRAM];
    loop {
        // An error here is an ICMP answer to something sent earlier: no reason to stop receiving.
        let Ok((len, from)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let receiver = table.read().get(&from).cloned();
        match receiver {
            Some((media, Address(inbox))) => {
                // A copy: frames are shares of what arrived, and one session's frame must not keep the datagrams of
                // others in memory for as long as the ring keeps it.
                let data = Bytes::copy_from_slice(&buffer[..len]);
                // Full: the session does not keep up, and the datagram is lost as on any network.
                let _ = inbox.try_send(Datagram { media, rtcp, data });
            }
            None => {
                strangers.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn who_comes_back_with_the_same_ports_is_still_heard_when_the_old_session_ends() {
        let ports = Arc::new(Ports::bind("127.0.0.1:0", "127.0.0.1:0", 0).unwrap());
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let port = peer.local_addr().unwrap().port();
        let deliver = |to: &Address| ports.deliver(Ipv4Addr::LOCALHOST.into(), port, port, 0, to);
        let (old, _old_inbox) = inbox();
        let (new, mut new_inbox) = inbox();
        let old_delivery = deliver(&old);
        let _new_delivery = deliver(&new);
        drop(old_delivery);
        peer.send_to(b"packet", ("127.0.0.1", ports.numbers().unwrap().0))
            .await
            .unwrap();
        let Datagram { media, rtcp, data } = new_inbox.recv().await.unwrap();
        assert_eq!((media, rtcp, &data[..]), (0, false, &b"packet"[..]));
        assert_eq!(ports.strangers(), 0);
    }
}

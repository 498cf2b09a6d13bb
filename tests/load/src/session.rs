//! One connection of a publisher or reader: the RTSP client machine on a socket, or a relay's bare stream.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context as Wakers, Poll},
    time::Instant,
};

use anyhow::{Context, Result, bail};
use bytes::{Buf, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::{TcpStream, UdpSocket},
    time::{Sleep, sleep_until},
};
use wasmtx_protocol::rtsp::{
    auth::{Login, Secret},
    client::{Client, Config, Event, Goal, Lane, Output, Reason, Way},
    sdp,
};

use crate::wire::{Part, Scanner};

/// How often a free pair of UDP ports is looked for.
const PORT_ATTEMPTS: usize = 64;
/// Datagrams taken from one socket before others get their turn.
const MAX_BATCH: usize = 64;

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// RTSP, media inside the connection.
    RtspTcp,
    /// RTSP, media in datagrams.
    RtspUdp,
    /// RTMP.
    Rtmp,
    /// FLV over HTTP, to be read only.
    Flv,
    /// The relays' (see `relay`).
    Bare,
}

/// Where publishers and readers go.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// The server.
    pub(crate) address: SocketAddr,
    /// What it speaks.
    pub(crate) protocol: Protocol,
    /// Behind the path, without the question mark.
    pub(crate) query: String,
    /// User and password.
    pub(crate) login: Option<(String, String)>,
}

/// What a connection is opened for.
#[derive(Debug)]
pub(crate) enum Role {
    /// To send these medias.
    Publish(sdp::Session),
    /// To receive.
    Read,
}

/// A read buffer that all connections of a thread share.
pub(crate) type Buffer = RefCell<Box<[u8]>>;

/// One packet that arrived.
#[derive(Debug)]
pub(crate) struct Received<'a> {
    /// The media it belongs to.
    pub(crate) media: usize,
    /// Whether it is RTCP.
    pub(crate) rtcp: bool,
    /// The packet.
    pub(crate) data: &'a [u8],
}

/// What a [`Session::step`] brought.
#[derive(Debug)]
pub(crate) enum Step {
    /// The machine has something to say.
    Event(Event),
    /// So many bytes were read; what they held went to the sink.
    Input(usize),
    /// A machine's deadline passed.
    Time,
    /// The other side closed the connection.
    End,
}

/// An open connection.
#[derive(Debug)]
pub(crate) struct Session {
    stream: TcpStream,
    scanner: Scanner,
    /// `None` when a relay is spoken to.
    client: Option<Client>,
    /// The machine was fed since it was drained.
    fed: bool,
    /// When the machine wants to be asked again.
    wake: Pin<Box<Sleep>>,
    /// What the machine wants to be written.
    outgoing: BytesMut,
    /// RTP and RTCP sockets of each media, when datagrams are used.
    sockets: Vec<[UdpSocket; 2]>,
}

impl Session {
    /// Connects, and begins what it is there for.
    pub(crate) async fn open(target: &Target, path: &str, role: Role) -> Result<Session> {
        let stream = TcpStream::connect(target.address).await;
        let stream = stream.with_context(|| format!("no connection to {}", target.address))?;
        stream.set_nodelay(true)?;
        let now = Instant::now();
        let mut session = Session {
            stream,
            scanner: Scanner::default(),
            client: None,
            fed: true,
            wake: Box::pin(sleep_until(now.into())),
            outgoing: BytesMut::new(),
            sockets: Vec::new(),
        };
        if target.protocol == Protocol::Bare {
            let verb = if matches!(role, Role::Publish(_)) {
                "PUBLISH"
            } else {
                "READ"
            };
            session.stream.write_all(format!("{verb} {path}\n").as_bytes()).await?;
            return Ok(session);
        }
        let goal = match role {
            Role::Read => Goal::Read,
            Role::Publish(description) => {
                let ways = session.ways(target.protocol, description.medias.len()).await?;
                Goal::Publish(description, ways)
            }
        };
        session.client = Some(Client::new(now, config(target, path), goal));
        Ok(session)
    }

    /// Answers [`Event::Described`]: all medias of the description shall flow.
    pub(crate) async fn set_up(&mut self, protocol: Protocol, medias: usize) -> Result<()> {
        let ways = self.ways(protocol, medias).await?;
        if let Some(client) = &mut self.client {
            client.set_up(ways.into_iter().enumerate());
            self.fed = true;
        }
        Ok(())
    }

    /// Does the next thing there is to do, waiting for it if needed. Packets go to the sink as they come. Cancel safe.
    pub(crate) async fn step(&mut self, buffer: &Buffer, mut sink: impl FnMut(Received<'_>)) -> Result<Step> {
        if let Some(event) = self.drain().await? {
            return Ok(Step::Event(event));
        }
        poll_fn(|wakers| self.poll_input(wakers, buffer, &mut sink)).await
    }

    /// Sends a frame's packets, each behind its interleaved header. In datagrams the headers are left out.
    pub(crate) async fn send(&mut self, interleaved: &[u8], packets: impl Iterator<Item = bytes::Bytes>) -> Result<()> {
        match self.sockets.first() {
            None => self.stream.write_all(interleaved).await?,
            Some([rtp, _]) => {
                for packet in packets {
                    rtp.send(&packet).await?;
                }
            }
        }
        Ok(())
    }

    /// The channel of a media's RTP packets; 0 where nothing was agreed.
    pub(crate) fn channel(&self, media: usize) -> u8 {
        match self.client.as_ref().and_then(|client| client.lane(media)) {
            Some(Lane::Tcp { rtp, .. }) => rtp,
            Some(Lane::Udp { .. }) | None => 0,
        }
    }

    /// Ends the session as a polite client does, without waiting for an answer.
    pub(crate) async fn close(mut self) {
        if let Some(client) = &mut self.client {
            client.teardown();
            self.fed = true;
            // The other side may be gone already, and that is what is wanted.
            let _ = self.drain().await;
        }
        let _ = self.stream.shutdown().await;
    }

    async fn drain(&mut self) -> Result<Option<Event>> {
        loop {
            while self.outgoing.has_remaining() {
                self.stream.write_buf(&mut self.outgoing).await?;
            }
            let (Some(client), true) = (&mut self.client, self.fed) else {
                return Ok(None);
            };
            match client.poll() {
                Output::Send(bytes) => self.outgoing.extend_from_slice(&bytes),
                Output::Event(event) => {
                    if matches!(event, Event::Playing(_) | Event::Recording) {
                        self.connect_sockets().await?;
                    }
                    return Ok(Some(event));
                }
                Output::Close(Reason::TornDown) => return Ok(None),
                Output::Close(reason) => return Err(reason.into()),
                Output::WaitUntil(at) => {
                    self.fed = false;
                    if self.wake.deadline() != at.into() {
                        self.wake.as_mut().reset(at.into());
                    }
                }
            }
        }
    }

    fn poll_input(
        &mut self,
        wakers: &mut Wakers<'_>,
        buffer: &Buffer,
        sink: &mut impl FnMut(Received<'_>),
    ) -> Poll<Result<Step>> {
        let mut buffer = buffer.borrow_mut();
        let mut input = ReadBuf::new(&mut buffer);
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_read(wakers, &mut input) {
            read?;
            let filled = input.filled();
            if filled.is_empty() {
                return Poll::Ready(Ok(Step::End));
            }
            self.take_stream(filled, sink)?;
            return Poll::Ready(Ok(Step::Input(filled.len())));
        }
        let bytes = self.poll_datagrams(wakers, &mut buffer, sink)?;
        if bytes > 0 {
            return Poll::Ready(Ok(Step::Input(bytes)));
        }
        if let Some(client) = &mut self.client
            && self.wake.as_mut().poll(wakers).is_ready()
        {
            client.handle_timeout(Instant::now());
            self.fed = true;
            return Poll::Ready(Ok(Step::Time));
        }
        Poll::Pending
    }

    fn take_stream(&mut self, bytes: &[u8], sink: &mut impl FnMut(Received<'_>)) -> Result<()> {
        let Session {
            scanner, client, fed, ..
        } = self;
        scanner.feed(bytes, |part| {
            match (part, &mut *client) {
                (Part::Packet { channel, data }, None) => {
                    sink(Received {
                        media: usize::from(channel / 2),
                        rtcp: channel % 2 == 1,
                        data,
                    });
                }
                (Part::Packet { channel, data }, Some(client)) => {
                    if let Some((media, rtcp)) = media_of(client, channel) {
                        sink(Received { media, rtcp, data });
                    }
                }
                (Part::Message(raw), Some(client)) => {
                    client.handle_input(Instant::now(), &mut BytesMut::from(raw));
                    *fed = true;
                }
                (Part::Message(_), None) => bail!("a relay sent a message"),
            }
            Ok(())
        })
    }

    fn poll_datagrams(
        &mut self,
        wakers: &mut Wakers<'_>,
        buffer: &mut [u8],
        sink: &mut impl FnMut(Received<'_>),
    ) -> io::Result<usize> {
        let mut bytes = 0;
        for (media, pair) in self.sockets.iter().enumerate() {
            for (socket, rtcp) in pair.iter().zip([false, true]) {
                for _ in 0..MAX_BATCH {
                    let mut input = ReadBuf::new(buffer);
                    match socket.poll_recv(wakers, &mut input) {
                        Poll::Pending => break,
                        // A server that is not there yet, or any more, says so by ICMP: that is no end.
                        Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                        Poll::Ready(result) => {
                            result?;
                            bytes += input.filled().len();
                            sink(Received {
                                media,
                                rtcp,
                                data: input.filled(),
                            });
                        }
                    }
                }
            }
        }
        Ok(bytes)
    }

    /// How medias shall travel; binds what that takes.
    async fn ways(&mut self, protocol: Protocol, medias: usize) -> Result<Vec<Way>> {
        if protocol != Protocol::RtspUdp {
            return Ok(vec![Way::Tcp; medias]);
        }
        let local = self.stream.local_addr()?;
        let mut ways = Vec::with_capacity(medias);
        for _ in 0..medias {
            let pair = bind_pair(local).await?;
            ways.push(Way::Udp {
                rtp: pair[0].local_addr()?.port(),
                rtcp: pair[1].local_addr()?.port(),
            });
            self.sockets.push(pair);
        }
        Ok(ways)
    }

    async fn connect_sockets(&self) -> Result<()> {
        let server = self.stream.peer_addr()?.ip();
        for (media, pair) in self.sockets.iter().enumerate() {
            let lane = self.client.as_ref().and_then(|client| client.lane(media));
            let Some(Lane::Udp { rtp, rtcp }) = lane else {
                bail!("the server did not agree to datagrams")
            };
            pair[0].connect((server, rtp)).await?;
            pair[1].connect((server, rtcp)).await?;
        }
        Ok(())
    }
}

fn config(target: &Target, path: &str) -> Config {
    let question = if target.query.is_empty() { "" } else { "?" };
    Config {
        url: format!("rtsp://{}/{path}{question}{}", target.address, target.query),
        login: target
            .login
            .as_ref()
            .map(|(user, password)| Login::new(user, Secret::new(password))),
        // Client nonces of a load tool need not be secret.
        seed: [7; 32],
        user_agent: "wasmtx-load".to_owned(),
    }
}

fn media_of(client: &Client, channel: u8) -> Option<(usize, bool)> {
    (0..sdp::MAX_MEDIAS).find_map(|media| match client.lane(media)? {
        Lane::Tcp { rtp, .. } if rtp == channel => Some((media, false)),
        Lane::Tcp { rtcp, .. } if rtcp == channel => Some((media, true)),
        _ => None,
    })
}

/// An even port and the odd one above it (RFC 3550 section 11).
async fn bind_pair(local: SocketAddr) -> Result<[UdpSocket; 2]> {
    for _ in 0..PORT_ATTEMPTS {
        let any = UdpSocket::bind((local.ip(), 0)).await?;
        let port = any.local_addr()?.port();
        let Ok(other) = UdpSocket::bind((local.ip(), port ^ 1)).await else {
            continue;
        };
        return Ok(if port % 2 == 0 { [any, other] } else { [other, any] });
    }
    bail!("no free pair of UDP ports in {PORT_ATTEMPTS} attempts")
}

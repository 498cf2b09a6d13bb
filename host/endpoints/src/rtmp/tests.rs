//! The server over real sockets on the loopback address, with our own client half at the other end.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use uuid::Uuid;
use wasmtx_hub::{Access, Decision, Denial, Gate, Hub, PathConfig, PathName, Peer, Permit, Rule, Rules};
use wasmtx_media::{Codec, Kind as Media, Track, TrackId, WallClock};
use wasmtx_protocol::rtmp::{
    Capabilities, Kind, Message,
    amf0::{self, Value},
    client::{self, Client, Event, Goal, Output, Reason, Url},
};

use super::*;
use crate::{hooks::OnConnect, tls, tls::tests::Folder};

mod connections;
mod streams;

/// For something that should happen soon, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets in who knows the password, and everybody where no user is named.
struct Door;

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        let proof = &access.proof;
        let decision = if !proof.is_some() || proof.matches("alice", "secret") || proof.token() == Some("key") {
            Decision::Allow(Permit {
                identity: proof.user().map(str::to_owned),
                ..Permit::default()
            })
        } else {
            Decision::Deny(Denial::Credentials)
        };
        Box::pin(std::future::ready(decision))
    }
}

struct House {
    hub: Hub,
    server: Server,
    conns: Registry,
}

fn config() -> Config {
    Config {
        address: Some("127.0.0.1:0".to_owned()),
        encrypted: None,
        trusted_proxies: Vec::new(),
        on_connect: OnConnect::default(),
        read_timeout: PATIENCE,
        write_timeout: PATIENCE,
        connections: 100,
        connections_per_address: 100,
        connections_before_login: 100,
        tls_handshakes: 100,
        tls_deadline: PATIENCE,
    }
}

impl House {
    fn new() -> House {
        House::with(config(), PathConfig::default())
    }

    fn with(config: Config, path: PathConfig) -> House {
        let hub = Hub::new().0;
        let rule = Rule::new("all_others", Arc::new(path)).unwrap();
        hub.configure(Instant::now(), Rules::new(vec![rule]));
        let conns = Registry::default();
        let server = Server::start(config, hub.clone(), Arc::new(Door), conns.clone()).unwrap();
        House { hub, server, conns }
    }

    async fn socket(&self) -> TcpStream {
        TcpStream::connect(self.server.address.unwrap()).await.unwrap()
    }

    async fn client(&self, goal: Goal, resource: &str) -> Guest<TcpStream> {
        Guest::new(self.socket().await, goal, resource, Capabilities::default())
    }

    /// A publisher that is online.
    async fn publish(&self, resource: &str) -> Guest<TcpStream> {
        let mut publisher = self.client(Goal::Publish, resource).await;
        publisher.begin_publishing().await;
        let name = PathName::new(resource.split('?').next().unwrap()).unwrap();
        eventually(|| self.hub.path(&name).is_some_and(|path| path.publication().is_some())).await;
        publisher
    }

    async fn play(&self, resource: &str) -> Guest<TcpStream> {
        let mut player = self.client(Goal::Play, resource).await;
        player.expect_playing().await;
        player
    }

    fn refused(&self, reason: &str) -> u64 {
        let counts = self.conns.refused();
        counts
            .iter()
            .find(|(label, _)| *label == reason)
            .map_or(0, |(_, count)| *count)
    }
}

/// Waits until it is so.
async fn eventually(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

/// A client of the server.
struct Guest<S> {
    socket: S,
    machine: Client,
    input: BytesMut,
    /// Bytes are written one by one.
    trickles: bool,
}

/// AAC-LC, 44.1 kHz, stereo.
const CONFIGURATION: &[u8] = &[0xaf, 0, 0x12, 0x10];

fn sound(payload: &[u8]) -> Bytes {
    [&[0xaf, 1], payload].concat().into()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guest<S> {
    fn new(socket: S, goal: Goal, resource: &str, capabilities: Capabilities) -> Guest<S> {
        let config = client::Config {
            url: Url::parse(&format!("rtmp://localhost/{resource}")).unwrap(),
            flash_version: "FMLE/3.0 (compatible; test)".to_owned(),
            capabilities,
            read_timeout: PATIENCE,
            proof: String::new(),
            seed: [0; 8],
        };
        Guest {
            socket,
            machine: Client::new(Instant::now(), config, goal),
            input: BytesMut::new(),
            trickles: false,
        }
    }

    async fn write(&mut self, bytes: &[u8]) {
        let step = if self.trickles { 1 } else { bytes.len().max(1) };
        for piece in bytes.chunks(step) {
            self.socket.write_all(piece).await.unwrap();
            self.socket.flush().await.unwrap();
        }
    }

    /// What happens next, or why nothing will; a socket that is closed without a word is an `Err(None)`.
    async fn next(&mut self) -> Result<Event, Option<Reason>> {
        loop {
            match self.machine.poll() {
                Output::Send(bytes) => self.write(&bytes).await,
                Output::Event(event) => return Ok(event),
                Output::Close(reason) => return Err(Some(reason)),
                Output::WaitUntil(_) => {
                    let read = tokio::time::timeout(PATIENCE, self.socket.read_buf(&mut self.input)).await;
                    match read.unwrap() {
                        Ok(0) | Err(_) => return Err(None),
                        Ok(_) => self.machine.handle_input(Instant::now(), &mut self.input),
                    }
                }
            }
        }
    }

    async fn flush(&mut self) {
        while let Output::Send(bytes) = self.machine.poll() {
            self.write(&bytes).await;
        }
    }

    async fn send(&mut self, kind: Kind, timestamp: u32, payload: impl Into<Bytes>) {
        self.machine.send(kind, timestamp, payload.into());
        self.flush().await;
    }

    /// Says that it publishes sound, and what kind.
    async fn begin_publishing(&mut self) {
        assert!(matches!(self.next().await, Ok(Event::Publishing)));
        let metadata = Value::Ecma(vec![("audiocodecid".to_owned(), 10.0.into())]);
        let data = amf0::write(&["onMetaData".into(), metadata]);
        self.send(Kind::Data, 0, data).await;
        self.send(Kind::Audio, 0, CONFIGURATION).await;
        self.send(Kind::Audio, 0, sound(b"first")).await;
    }

    async fn expect_playing(&mut self) {
        assert!(matches!(self.next().await, Ok(Event::Playing)));
    }

    /// The next message of media.
    async fn media(&mut self) -> Message {
        loop {
            if let Event::Media(message) = self.next().await.unwrap() {
                return message;
            }
        }
    }

    /// Why it is over, whatever comes before.
    async fn end(&mut self) -> Option<Reason> {
        loop {
            if let Err(reason) = self.next().await {
                return reason;
            }
        }
    }
}

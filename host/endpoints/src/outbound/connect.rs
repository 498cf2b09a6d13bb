//! How outbound connections come to be: the one place where a name becomes an address, so nothing gets past the guard.
//!
//! Redirects, connections that are opened ahead, addresses in place of names: whatever wants a connection comes
//! through here, and only an address that was checked is connected to.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::Uri;
use hyper::rt;
use hyper_util::{
    client::legacy::connect::{Connected, Connection},
    rt::TokioIo,
};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    net::TcpStream,
    sync::{OnceCell, Semaphore},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tower_service::Service;

use super::Allow;
use crate::tls;

/// Addresses of one name that are tried, one after the other.
const ADDRESSES: usize = 4;
/// Names of one client that are looked up at once. A lookup cannot be broken off, so it keeps its place until the
/// system's resolver is done with it, also when nobody waits for it any more.
const LOOKUPS: usize = 4;

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The name leads to no address that may be connected to.
    #[error("the host leads to addresses that are neither public nor listed")]
    Refused,
    #[error("{0}")]
    Tls(io::Error),
    #[error("{0}")]
    Network(#[from] io::Error),
}

/// What is asked about the world.
pub(super) trait World: Send + Sync {
    /// The addresses of a name. May block for as long as the system's resolver does.
    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;

    /// The authorities that vouch for servers. Reads files.
    fn authorities(&self) -> Result<Arc<ClientConfig>, tls::Error>;
}

/// The system's resolver and the system's authorities.
pub(super) struct System;

impl World for System {
    fn look_up(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        (host, port).to_socket_addrs().map(Iterator::collect)
    }

    fn authorities(&self) -> Result<Arc<ClientConfig>, tls::Error> {
        tls::client_config(None)
    }
}

/// Makes the connections of one client.
#[derive(Clone)]
pub(super) struct Connector {
    allow: Arc<Allow>,
    world: Arc<dyn World>,
    lookups: Arc<Semaphore>,
    // Read when the first connection needs them: where only plain HTTP is spoken there may be none.
    authorities: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Connector {
    pub(super) fn new(allow: Arc<Allow>, world: Arc<dyn World>) -> Connector {
        Connector {
            allow,
            world,
            lookups: Arc::new(Semaphore::new(LOOKUPS)),
            authorities: Arc::default(),
        }
    }

    async fn connect(self, uri: Uri) -> Result<Stream, Failure> {
        let missing = || Failure::Network(io::ErrorKind::InvalidInput.into());
        let host = uri.host().ok_or_else(missing)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let encrypted = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if encrypted { 443 } else { 80 });

        let found = self.look_up(&host, port).await?;
        let admitted = found
            .into_iter()
            .filter(|address| self.allow.admits_address(&host, *address));
        let mut failure = Failure::Refused;
        for address in admitted.take(ADDRESSES) {
            match TcpStream::connect(address).await {
                Ok(stream) => return self.dress(stream, &host, encrypted).await,
                Err(error) => failure = error.into(),
            }
        }
        Err(failure)
    }

    async fn look_up(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let place = self.lookups.clone().acquire_owned().await.map_err(io::Error::other)?;
        let (world, host) = (self.world.clone(), host.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let found = world.look_up(&host, port);
            drop(place);
            found
        });
        Ok(found.await.map_err(io::Error::other)??)
    }

    async fn dress(&self, stream: TcpStream, host: &str, encrypted: bool) -> Result<Stream, Failure> {
        stream.set_nodelay(true)?;
        if !encrypted {
            return Ok(Stream::Plain(TokioIo::new(stream)));
        }
        let config = self.authorities.get_or_try_init(|| async {
            let world = self.world.clone();
            let read = tokio::task::spawn_blocking(move || world.authorities()).await;
            let read = read.map_err(io::Error::other)?;
            read.map_err(|error| Failure::Tls(io::Error::other(error)))
        });
        let config = config.await?.clone();
        let name = ServerName::try_from(host.to_owned()).map_err(|error| Failure::Tls(io::Error::other(error)))?;
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        Ok(Stream::Encrypted(Box::new(TokioIo::new(shaken.map_err(Failure::Tls)?))))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("allow", &self.allow)
            .finish_non_exhaustive()
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, encrypted or not.
pub(super) enum Stream {
    Plain(TokioIo<TcpStream>),
    Encrypted(Box<TokioIo<TlsStream<TcpStream>>>),
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl rt::Read for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: rt::ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Encrypted(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl rt::Write for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_write(cx, buf),
            Stream::Encrypted(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Stream::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Encrypted(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

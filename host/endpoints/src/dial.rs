//! Connections to servers of others: a name becomes an address, the address is judged where it has to be, and TLS is
//! spoken where the URL says so.

use std::io;

use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{guard, outbound::Allow, tls};

/// Which addresses a host may lead to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Guard<'a> {
    /// Any: the operator wrote the host.
    Trusted,
    /// Public ones: a client had a say in the host.
    Public,
    /// Public ones and these: a plugin named the host.
    Listed(&'a Allow),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("the address of {0} is not known: {1}")]
    Resolve(String, io::Error),
    #[error("{0} is not a public address, and the host was chosen by a client or a plugin")]
    NotPublic(String),
    #[error("cannot connect to {0}: {1}")]
    Connect(String, io::Error),
    #[error(transparent)]
    Tls(#[from] tls::Error),
}

/// A connection, encrypted or not.
pub(crate) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Connection for S {}

/// Where to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place<'a> {
    /// A name or an address, without brackets.
    pub(crate) host: &'a str,
    /// The port.
    pub(crate) port: u16,
    /// What its address has to be.
    pub(crate) guard: Guard<'a>,
}

impl Place<'_> {
    /// Connects to the address that was judged: a name that means something else a moment later gains nothing.
    pub(crate) async fn connect(&self) -> Result<TcpStream, Error> {
        let host = || self.host.to_owned();
        let found = lookup_host((self.host, self.port)).await;
        let mut found: Vec<_> = found.map_err(|error| Error::Resolve(host(), error))?.collect();
        let checked = match self.guard {
            Guard::Trusted => None,
            Guard::Public => Some(guard::first_public(found.iter().copied())),
            Guard::Listed(allow) => {
                let mut found = found.iter().copied();
                Some(found.find(|address| allow.admits_address(self.host, *address)))
            }
        };
        if let Some(checked) = checked {
            found = vec![checked.ok_or_else(|| Error::NotPublic(host()))?];
        }
        let connection = TcpStream::connect(found.as_slice()).await;
        let connection = connection.and_then(|connection| connection.set_nodelay(true).map(|()| connection));
        connection.map_err(|error| Error::Connect(host(), error))
    }

    /// Speaks TLS over a connection to this place: with the one certificate of a `fingerprint`, else with whoever the
    /// system's authorities vouch for.
    pub(crate) async fn encrypt(
        &self,
        connection: TcpStream,
        fingerprint: Option<[u8; 32]>,
    ) -> Result<TlsStream<TcpStream>, Error> {
        let failed = |error| Error::Connect(self.host.to_owned(), error);
        // Reads the system's list of authorities.
        let config = tokio::task::spawn_blocking(move || tls::client_config(fingerprint)).await;
        let config = config.map_err(|error| failed(io::Error::other(error)))??;
        let name = ServerName::try_from(self.host.to_owned()).map_err(|error| failed(io::Error::other(error)))?;
        TlsConnector::from(config)
            .connect(name, connection)
            .await
            .map_err(failed)
    }

    /// Both, as the URL says.
    pub(crate) async fn open(
        &self,
        encrypted: bool,
        fingerprint: Option<[u8; 32]>,
    ) -> Result<Box<dyn Connection>, Error> {
        let connection = self.connect().await?;
        Ok(match encrypted {
            true => Box::new(self.encrypt(connection, fingerprint).await?),
            false => Box::new(connection),
        })
    }
}

//! HTTP listeners: one loop around hyper, so that every HTTP server of ours has the same bounds.
//!
//! hyper and not `axum::serve`, because the bounds before a handler runs (time for the head, its size, the TLS
//! handshake, connections per address) are set on the connection. Routes come as an [`axum::Router`]; each request
//! carries a [`Peer`].

mod credentials;
mod limits;
mod origin;
mod stall;
mod takeover;
mod transport;
mod visitor;

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    http::{HeaderValue, Request, Response, StatusCode, header},
};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, UnixListener},
    sync::watch,
    task::{JoinError, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use crate::{
    admission::Slot,
    bind::{self, BindError},
};
pub use credentials::Credentials;
use limits::Shared;
pub use limits::{Limits, Refused};
pub use origin::{Page, client_address};
use stall::Stalled;
use takeover::Rest;
pub(crate) use takeover::{Taken, Takeover, spell};
pub(crate) use transport::Transport;
pub(crate) use visitor::{Refusal, Visitor, later, preflight, refuse, share};

/// The value of `Server`.
const PRODUCT: HeaderValue = HeaderValue::from_static("wasmtx");
/// What is offered by ALPN. HTTP/2 brings its own ways to flood a server and nothing that these routes need.
pub const PROTOCOLS: &[&[u8]] = &[b"http/1.1"];
/// Pause after the system had no descriptor left for a connection.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(10);
/// At a graceful stop requests that are being answered get this long.
const GOODBYE: Duration = Duration::from_secs(2);

/// Who sent a request; an extension of every request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The other end of the connection, before any proxy's word. The loopback address for a Unix socket, whose file
    /// permissions said who may connect.
    pub address: IpAddr,
    /// Its port; 0 for a Unix socket.
    pub port: u16,
    /// Whether the connection is encrypted.
    pub encrypted: bool,
}

/// A bound HTTP listener.
#[derive(Debug)]
pub struct Server {
    socket: Socket,
    shared: Arc<Shared>,
    tls: Option<Arc<rustls::ServerConfig>>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Server {
    /// Listens on `address`, the value of `key`: `:9997`, `127.0.0.1:0`, or `unix:///run/api.sock`.
    ///
    /// # Errors
    /// [`BindError`] names the key and the address.
    pub fn bind(
        key: &'static str,
        address: &str,
        limits: Limits,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Result<Server, BindError> {
        let socket = match address.strip_prefix("unix://") {
            Some(path) => {
                let path = PathBuf::from(path);
                let listener = bind_unix(&path);
                let blame = |source| BindError {
                    key,
                    address: address.to_owned(),
                    source,
                    holder: None,
                };
                Socket::Unix(listener.map_err(blame)?, path)
            }
            None => Socket::Tcp(bind::tcp(key, address)?),
        };
        Ok(Server {
            socket,
            shared: Shared::new(limits),
            tls,
        })
    }

    /// Where it listens, with the port that the system chose; as text, since it may be a file.
    pub fn local_address(&self) -> String {
        match &self.socket {
            Socket::Tcp(listener) => listener
                .local_addr()
                .map_or_else(|error| error.to_string(), |a| a.to_string()),
            Socket::Unix(_, path) => format!("unix://{}", path.display()),
        }
    }

    /// How many connections were refused or closed for each reason that is the client's doing. Stays readable while
    /// the server runs.
    pub fn refused(&self) -> Refused {
        Refused(self.shared.clone())
    }

    /// Serves until `stop` says true or its sender is gone; then takes no more connections and gives requests that are
    /// being answered a moment to end.
    pub async fn serve(self, router: Router, mut stop: watch::Receiver<bool>) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                () = stopped(&mut stop) => break,
                Some(done) = connections.join_next() => {
                    go_on(&mut connections, done);
                    continue;
                }
                accepted = self.socket.accept() => accepted,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.shared.count("accept");
                    if is_exhausted(&error) {
                        tokio::time::sleep(EXHAUSTED_PAUSE).await;
                    }
                    continue;
                }
            };
            let slot = match self.shared.admission.admit(canonical(address)) {
                Ok(slot) => slot,
                Err(reason) => {
                    self.shared.count(reason);
                    continue;
                }
            };
            let connection = Connection {
                shared: self.shared.clone(),
                slot,
                port: address.port(),
                router: router.clone(),
                stop: stop.clone(),
            };
            connections.spawn(connection.run(stream, self.tls.clone().map(TlsAcceptor::from)));
        }
        let Server { socket, .. } = self;
        drop(socket);
        let all = async {
            while let Some(done) = connections.join_next().await {
                go_on(&mut connections, done);
            }
        };
        // What is not done by then is cut off with the set.
        let _ = tokio::time::timeout(GOODBYE, all).await;
    }
}

/// What a handler took over goes on in a task of its own, that of HTTP with all its buffers is over.
fn go_on(connections: &mut JoinSet<Option<Rest>>, done: Result<Option<Rest>, JoinError>) {
    if let Ok(Some(rest)) = done {
        connections.spawn(async move {
            rest.await;
            None
        });
    }
}

/// Waits for the end, without holding on to the watch.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn is_exhausted(error: &io::Error) -> bool {
    !matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted
    )
}

/// A socket file that nobody listens on is what a killed process leaves behind: it is replaced.
fn bind_unix(path: &PathBuf) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => match std::os::unix::net::UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(error),
        },
        other => other,
    }
}

impl Socket {
    async fn accept(&self) -> io::Result<(Transport, SocketAddr)> {
        Ok(match self {
            Socket::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Answers are written at once and in whole.
                stream.set_nodelay(true)?;
                (Transport::Tcp(stream), address)
            }
            Socket::Unix(listener, _) => {
                let nobody = (Ipv4Addr::LOCALHOST, 0).into();
                (Transport::Unix(listener.accept().await?.0), nobody)
            }
        })
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Socket::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// IPv4 as IPv4, though it came through a socket for both.
fn canonical(address: SocketAddr) -> IpAddr {
    address.ip().to_canonical()
}

/// One connection, from its first byte to its end.
struct Connection {
    shared: Arc<Shared>,
    slot: Slot,
    port: u16,
    router: Router,
    stop: watch::Receiver<bool>,
}

impl Connection {
    /// Answers with what is left to do when a handler took the connection over.
    async fn run(self, stream: Transport, tls: Option<TlsAcceptor>) -> Option<Rest> {
        let Some(tls) = tls else {
            return self.serve(stream, false).await;
        };
        let Some(turn) = self.slot.admission().handshake() else {
            self.shared.count("tls-handshakes");
            return None;
        };
        match tokio::time::timeout(self.shared.limits.tls_handshake, tls.accept(stream)).await {
            Ok(Ok(stream)) => {
                drop(turn);
                return self.serve(Transport::Tls(Box::new(stream)), true).await;
            }
            Ok(Err(_)) => self.shared.count("tls"),
            Err(_) => self.shared.count("tls-timeout"),
        }
        None
    }

    async fn serve(mut self, stream: Transport, encrypted: bool) -> Option<Rest> {
        let peer = Peer {
            address: self.slot.address(),
            port: self.port,
            encrypted,
        };
        let limits = self.shared.limits.clone();
        let takeover = Takeover::default();
        let offered = takeover.clone();
        let routes = TowerToHyperService::new(self.router);
        let answer = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer);
            request.extensions_mut().insert(offered.clone());
            let fits = fits(&request, limits.body);
            let answered = fits.then(|| routes.call(request));
            async move {
                let mut response = match answered {
                    Some(answered) => answered.await?,
                    None => too_large(),
                };
                response.headers_mut().insert(header::SERVER, PRODUCT);
                Ok::<_, std::convert::Infallible>(response)
            }
        });
        let stream = Stalled::new(stream, limits.write_stall);
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.head_time)
            .max_buf_size(limits.head)
            .max_headers(limits.headers)
            .serve_connection(TokioIo::new(stream), answer);
        let mut is_stopping = false;
        let ended = loop {
            tokio::select! {
                ended = &mut connection => break ended,
                then = takeover.wanted() => {
                    let parts = connection.into_parts();
                    // A client that asks without having taken the answer before: what hyper still holds of that is lost.
                    let Some(stream) = parts.io.into_inner().idle() else {
                        self.shared.count("broken");
                        return None;
                    };
                    let (slot, stop) = (self.slot, self.stop);
                    return Some(then(Taken { stream, early: parts.read_buf, slot, stop }));
                }
                () = stopped(&mut self.stop), if !is_stopping => {
                    is_stopping = true;
                    std::pin::Pin::new(&mut connection).graceful_shutdown();
                }
            }
        };
        if let Err(error) = ended {
            self.shared.count(reason(&error));
        }
        None
    }
}

/// Whether the announced body is within bounds. One of unknown length is bounded where it is read.
fn fits(request: &Request<Incoming>, max: u64) -> bool {
    let length = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    length.is_none_or(|length| length <= max)
}

fn too_large() -> Response<axum::body::Body> {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
    response
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// Why a connection broke, in a word for the metrics.
fn reason(error: &hyper::Error) -> &'static str {
    if error.is_timeout() {
        "timeout"
    } else if error.is_parse_too_large() {
        "head-too-large"
    } else if error.is_parse() {
        "malformed"
    } else {
        "broken"
    }
}

#[cfg(test)]
mod tests;

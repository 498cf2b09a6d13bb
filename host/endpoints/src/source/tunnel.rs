//! A relay on the loopback address for one connection: RTSP over TLS for a client that speaks plain RTSP only, and a
//! filter before it for servers that nobody vouches for.
//!
//! ```text
//! retina ── rtsp://127.0.0.1:port/token/… ──▶ relay ── TLS, rtsps://host/… ──▶ server
//! ```
//!
//! The relay is more than a pipe, because requests name the server: it writes the real URL into them, and since a digest
//! covers the URL, it answers the server's challenges itself. Descriptions and headers of the server pass as they are;
//! the URLs in them are already the real ones. They are parsed within our own bounds, which the client has not. The token
//! in the path keeps other programs of this machine out.

use std::{io, time::Duration};

use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::{sleep, timeout},
};
use url::Url;
use uuid::Uuid;
use wasmtx_protocol::rtsp::{
    Decoder, Item, Request, Status,
    auth::{Challenge, Login},
};

use super::target::Target;

/// Bytes read at once.
const CHUNK: usize = 16 * 1024;

/// How long the client may take to connect, which it does at once.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a goodbye may take once the tunnel is dropped.
const GOODBYE: Duration = Duration::from_secs(5);

/// A relay that waits for its one connection, or serves it. Dropped, it serves as long as a goodbye takes.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// What to connect to instead of the server.
    pub(super) url: Url,
    _alive: oneshot::Sender<()>,
}

impl Tunnel {
    /// A relay to `server`, a connection that is open already.
    pub(super) async fn open<S>(server: S, target: &Target) -> io::Result<Tunnel>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let prefix = format!("rtsp://{}/{}", listener.local_addr()?, Uuid::new_v4().simple());
        let url = Url::parse(&format!("{prefix}{}", target.resource())).map_err(io::Error::other)?;
        let login = target
            .credentials
            .clone()
            .map(|(user, password)| Login::new(user, password));
        let mut relay = Relay::new(prefix, target.origin().to_owned(), login);
        let (alive, dropped) = oneshot::channel::<()>();
        tokio::spawn(async move {
            let Ok(Ok((client, _))) = timeout(CONNECT, listener.accept()).await else {
                return;
            };
            drop(listener);
            let too_long = async {
                let _ = dropped.await;
                sleep(GOODBYE).await;
            };
            tokio::select! {
                ended = relay.run(client, server) => if let Err(error) = ended {
                    tracing::debug!(%error, "relay to a source ended");
                },
                () = too_long => {}
            }
        });
        Ok(Tunnel { url, _alive: alive })
    }
}

/// Turns what one side says into what the other hears.
struct Relay {
    /// What our URLs begin with, and what the server's do.
    prefix: String,
    origin: String,
    login: Option<Login>,
    /// The client has shown the token.
    admitted: bool,
    /// The request that no response has come to yet.
    pending: Option<Request>,
}

impl Relay {
    fn new(prefix: String, origin: String, login: Option<Login>) -> Relay {
        Relay {
            prefix,
            origin,
            login,
            admitted: false,
            pending: None,
        }
    }

    async fn run<S>(&mut self, client: TcpStream, server: S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        client.set_nodelay(true)?;
        let (mut from_client, mut to_client) = client.into_split();
        let (mut from_server, mut to_server) = tokio::io::split(server);
        let (mut requests, mut responses) = (Decoder::new(), Decoder::new());
        let (mut upstream, mut downstream) = (BytesMut::with_capacity(CHUNK), BytesMut::with_capacity(CHUNK));
        let (mut out, mut again) = (BytesMut::new(), BytesMut::new());
        loop {
            tokio::select! {
                read = from_client.read_buf(&mut upstream) => {
                    if read? == 0 {
                        return to_server.shutdown().await;
                    }
                    while let Some(item) = requests.decode(&mut upstream).map_err(io::Error::other)? {
                        self.handle_client(item, &mut out)?;
                    }
                    to_server.write_all_buf(&mut out).await?;
                    to_server.flush().await?;
                }
                read = from_server.read_buf(&mut downstream) => {
                    if read? == 0 {
                        return to_client.shutdown().await;
                    }
                    while let Some(item) = responses.decode(&mut downstream).map_err(io::Error::other)? {
                        self.handle_server(item, &mut out, &mut again)?;
                    }
                    to_client.write_all_buf(&mut out).await?;
                    if !again.is_empty() {
                        to_server.write_all_buf(&mut again).await?;
                        to_server.flush().await?;
                    }
                }
            }
            upstream.reserve(CHUNK);
            downstream.reserve(CHUNK);
        }
    }

    /// A request goes out with the server's URL and our proof.
    fn handle_client(&mut self, item: Item, out: &mut BytesMut) -> io::Result<()> {
        match item {
            Item::Request(mut request) => {
                if let Some(resource) = request.url.strip_prefix(&self.prefix) {
                    request.url = format!("{}{resource}", self.origin);
                    self.admitted = true;
                }
                if !self.admitted {
                    return Err(io::Error::other("somebody else has connected"));
                }
                self.send(request, out);
            }
            _ if !self.admitted => return Err(io::Error::other("somebody else has connected")),
            Item::Response(response) => out.put(response.to_bytes()),
            Item::Frame { channel, data } => put_frame(channel, &data, out)?,
        }
        Ok(())
    }

    /// A response comes back, unless it is a challenge that we can answer.
    fn handle_server(&mut self, item: Item, out: &mut BytesMut, again: &mut BytesMut) -> io::Result<()> {
        match item {
            Item::Response(response) => {
                let asked = self.pending.take();
                if response.status == Status::UNAUTHORIZED
                    && let (Some(login), Some(request)) = (&mut self.login, asked)
                {
                    let challenges = response.headers.get_all("www-authenticate");
                    let challenges = challenges
                        .filter_map(|value| Challenge::parse_list(value).ok())
                        .flatten();
                    if login.take(challenges) {
                        self.send(request, again);
                        return Ok(());
                    }
                }
                out.put(response.to_bytes());
            }
            Item::Request(request) => out.put(request.to_bytes()),
            Item::Frame { channel, data } => put_frame(channel, &data, out)?,
        }
        Ok(())
    }

    fn send(&mut self, request: Request, out: &mut BytesMut) {
        let mut signed = request.clone();
        let nonce = Uuid::new_v4().simple().to_string();
        let proof = self
            .login
            .as_mut()
            .and_then(|login| login.sign(&request.method, &request.url, &nonce));
        if let Some(proof) = proof {
            signed.headers.push("Authorization", proof);
        }
        out.put(signed.to_bytes());
        self.pending = Some(request);
    }
}

fn put_frame(channel: u8, data: &[u8], out: &mut BytesMut) -> io::Result<()> {
    let len = u16::try_from(data.len()).map_err(io::Error::other)?;
    out.put_slice(&[b'$', channel]);
    out.put_u16(len);
    out.put_slice(data);
    Ok(())
}

#[cfg(test)]
mod tests;

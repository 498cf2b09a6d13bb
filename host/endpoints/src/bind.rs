//! Listening sockets, and one clear sentence when an address cannot be had.

use std::{
    fmt, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Why a listener cannot be opened: names the key, the address and, where the system tells, who holds it.
#[derive(Debug)]
pub struct BindError {
    /// The key of mediamtx.yml.
    pub key: &'static str,
    /// The address as configured.
    pub address: String,
    /// What the system said.
    pub source: io::Error,
    /// `program (process id)` of the present holder.
    pub holder: Option<String>,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BindError {
            key,
            address,
            source,
            holder,
        } = self;
        match (source.kind(), holder) {
            (io::ErrorKind::AddrInUse, Some(holder)) => write!(f, "{key}: address {address} is in use by {holder}"),
            (io::ErrorKind::AddrInUse, None) => write!(f, "{key}: address {address} is in use by another program"),
            _ => write!(f, "{key}: cannot listen on {address}"),
        }
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The sentence about an address in use has said it all.
        let said = self.source.kind() == io::ErrorKind::AddrInUse;
        (!said).then_some(&self.source as _)
    }
}

/// A TCP listener on `address` (`:8554`, `127.0.0.1:0`, `[::1]:8554`, `host:8554`). Without a host it takes IPv4 and
/// IPv6.
///
/// # Errors
/// [`BindError`].
pub fn tcp(key: &'static str, address: &str) -> Result<tokio::net::TcpListener, BindError> {
    open(key, address, Type::STREAM, "tcp", |socket| {
        // A server that restarts takes its port back although old connections linger.
        socket.set_reuse_address(true)?;
        Ok(())
    })
    .and_then(|socket| {
        let listen = || {
            socket.listen(BACKLOG)?;
            tokio::net::TcpListener::from_std(socket.into())
        };
        listen().map_err(|source| blame(key, address, "tcp", source))
    })
}

/// A UDP socket on `address`, with a receive buffer of `receive_buffer` bytes (0: the system's default).
///
/// # Errors
/// [`BindError`].
pub fn udp(key: &'static str, address: &str, receive_buffer: usize) -> Result<tokio::net::UdpSocket, BindError> {
    let socket = open(key, address, Type::DGRAM, "udp", |socket| {
        if receive_buffer > 0 {
            socket.set_recv_buffer_size(receive_buffer)?;
        }
        Ok(())
    })?;
    tokio::net::UdpSocket::from_std(socket.into()).map_err(|source| blame(key, address, "udp", source))
}

fn open(
    key: &'static str,
    address: &str,
    kind: Type,
    table: &str,
    prepare: impl Fn(&Socket) -> io::Result<()>,
) -> Result<Socket, BindError> {
    let candidates = resolve(address).map_err(|source| BindError {
        key,
        address: address.to_owned(),
        source,
        holder: None,
    })?;
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address");
    for candidate in candidates {
        let attempt = || -> io::Result<Socket> {
            let protocol = if kind == Type::STREAM {
                Protocol::TCP
            } else {
                Protocol::UDP
            };
            let socket = Socket::new(Domain::for_address(candidate), kind, Some(protocol))?;
            if candidate.is_ipv6() {
                socket.set_only_v6(!candidate.ip().is_unspecified())?;
            }
            socket.set_nonblocking(true)?;
            prepare(&socket)?;
            socket.bind(&candidate.into())?;
            Ok(socket)
        };
        match attempt() {
            Ok(socket) => return Ok(socket),
            // Only a machine without IPv6 deserves the second try.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(blame(key, address, table, error)),
            Err(error) => last = error,
        }
    }
    Err(blame(key, address, table, last))
}

/// The addresses to try, best first.
fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    if let Some(port) = address.strip_prefix(':') {
        let port = port
            .parse()
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the port is not a number"))?;
        return Ok(vec![
            (Ipv6Addr::UNSPECIFIED, port).into(),
            (Ipv4Addr::UNSPECIFIED, port).into(),
        ]);
    }
    Ok(address.to_socket_addrs()?.collect())
}

fn blame(key: &'static str, address: &str, table: &str, source: io::Error) -> BindError {
    let in_use = source.kind() == io::ErrorKind::AddrInUse;
    let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
    let holder = port.filter(|_| in_use).and_then(|port| holder(table, port));
    BindError {
        key,
        address: address.to_owned(),
        source,
        holder,
    }
}

/// The process that holds a port, by the tables of Linux (`proc(5)`, `/proc/net/tcp`). Needs the right to look at it.
fn holder(table: &str, port: u16) -> Option<String> {
    let inode = [table.to_owned(), format!("{table}6")]
        .iter()
        .find_map(|table| socket_inode(table, port))?;
    let wanted = format!("socket:[{inode}]");
    std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
        let pid: u32 = process.file_name().to_str()?.parse().ok()?;
        let owns = std::fs::read_dir(process.path().join("fd"))
            .ok()?
            .flatten()
            .any(|fd| std::fs::read_link(fd.path()).is_ok_and(|target| target.as_os_str() == wanted.as_str()));
        let name = std::fs::read_to_string(process.path().join("comm")).ok();
        owns.then(|| format!("{} (process {pid})", name.as_deref().unwrap_or("a program").trim()))
    })
}

fn socket_inode(table: &str, port: u16) -> Option<u64> {
    const LISTEN: &str = "0A";
    let text = std::fs::read_to_string(format!("/proc/net/{table}")).ok()?;
    text.lines().skip(1).find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let local = fields.get(1)?.rsplit_once(':')?.1;
        let matches = u16::from_str_radix(local, 16).ok()? == port
            && (table.starts_with("udp") || fields.get(3) == Some(&LISTEN));
        matches.then(|| fields.get(9)?.parse().ok()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_in_use_names_key_address_and_holder() {
        let first = tcp("rtspAddress", "127.0.0.1:0").unwrap();
        let address = first.local_addr().unwrap().to_string();
        let error = tcp("rtspAddress", &address).unwrap_err();
        let expected = format!("rtspAddress: address {address} is in use by ");
        assert!(error.to_string().starts_with(&expected), "{error}");
        assert!(
            error.to_string().contains(&format!("process {}", std::process::id())),
            "{error}"
        );
    }

    #[tokio::test]
    async fn without_a_host_both_families_are_served() {
        let listener = tcp("rtspAddress", ":0").unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port))
            .await
            .unwrap();
    }

    #[tokio::test]
    async fn an_address_without_a_port_is_an_error_that_names_the_key() {
        for address in [":x", "localhost", "127.0.0.1:99999"] {
            let error = udp("rtpAddress", address, 0).unwrap_err();
            assert!(error.to_string().starts_with("rtpAddress: cannot listen on"), "{error}");
        }
    }
}

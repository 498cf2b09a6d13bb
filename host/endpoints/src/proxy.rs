//! The PROXY protocol, versions 1 and 2: what a load balancer says about the client for whom it speaks, before the
//! client's first byte. Only ever read from addresses that the configuration trusts.
//!
//! <https://www.haproxy.org/download/1.8/doc/proxy-protocol.txt>

use std::{io, net::SocketAddr};

use ppp::{HeaderResult, v1, v2};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::TcpStream,
};

/// First bytes of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Version 2 before what its length counts.
const FIXED: usize = 16;
/// Bytes of a header, at most: addresses, and what a load balancer adds to them.
const MAX_HEADER: usize = 1_024;
/// The same of version 1 (section 2.1).
const MAX_LINE: usize = 107;

/// Why a header cannot be had.
#[derive(Debug)]
pub(crate) enum Error {
    /// The socket is gone.
    Gone,
    /// It begins like a header and is none.
    Malformed,
}

impl From<io::Error> for Error {
    fn from(_: io::Error) -> Error {
        Error::Gone
    }
}

/// Reads the header and not a byte more. `None`: the proxy speaks for itself, or there is no header; no protocol that is
/// served begins like one.
pub(crate) async fn read(socket: &mut TcpStream) -> Result<Option<SocketAddr>, Error> {
    let mut first = [0];
    if socket.peek(&mut first).await? == 0 {
        return Err(Error::Gone);
    }
    match first {
        [b'P'] => read_line(socket).await,
        [b'\r'] => read_binary(socket).await,
        _ => Ok(None),
    }
}

/// Version 1: a line of text. It has no length, so it is read byte by byte.
async fn read_line(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Error> {
    let mut line = Vec::with_capacity(MAX_LINE);
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_LINE {
            return Err(Error::Malformed);
        }
        line.push(socket.read_u8().await?);
    }
    parse(&line)
}

/// Version 2: bytes, with their length.
async fn read_binary(socket: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, Error> {
    let mut header = vec![0; FIXED];
    socket.read_exact(&mut header).await?;
    if !header.starts_with(SIGNATURE) {
        return Err(Error::Malformed);
    }
    let len = FIXED + usize::from(u16::from_be_bytes([header[14], header[15]]));
    if len > MAX_HEADER {
        return Err(Error::Malformed);
    }
    header.resize(len, 0);
    socket.read_exact(&mut header[FIXED..]).await?;
    parse(&header)
}

/// Whom a whole header names.
fn parse(header: &[u8]) -> Result<Option<SocketAddr>, Error> {
    match HeaderResult::parse(header) {
        HeaderResult::V1(Ok(header)) => Ok(match header.addresses {
            v1::Addresses::Unknown => None,
            v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
            v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        }),
        HeaderResult::V2(Ok(header)) if header.command == v2::Command::Proxy => Ok(match header.addresses {
            v2::Addresses::IPv4(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::IPv6(ip) => Some((ip.source_address, ip.source_port).into()),
            v2::Addresses::Unspecified | v2::Addresses::Unix(_) => None,
        }),
        // A health check of the proxy's own.
        HeaderResult::V2(Ok(_)) => Ok(None),
        HeaderResult::V1(Err(_)) | HeaderResult::V2(Err(_)) => Err(Error::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    /// What is read from a proxy that says this and goes, and what is left of it.
    async fn said(bytes: &[u8]) -> (Result<Option<SocketAddr>, Error>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut socket, _) = listener.accept().await.unwrap();
        proxy.write_all(bytes).await.unwrap();
        drop(proxy);
        let client = read(&mut socket).await;
        let mut rest = Vec::new();
        socket.read_to_end(&mut rest).await.unwrap();
        (client, rest)
    }

    const LINE: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 1935\r\n";

    fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
        let len = u16::try_from(addresses.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &len, addresses].concat()
    }

    fn binary4() -> Vec<u8> {
        binary(0x21, 0x11, &[192, 0, 2, 1, 198, 51, 100, 1, 0xdc, 0x04, 0x07, 0x8f])
    }

    #[tokio::test]
    async fn both_versions_name_the_client_and_leave_what_it_says() {
        for header in [LINE.to_vec(), binary4()] {
            let (client, rest) = said(&[&header[..], b"\x03hello"].concat()).await;
            assert_eq!(client.unwrap(), Some("192.0.2.1:56324".parse().unwrap()));
            assert_eq!(rest, b"\x03hello");
        }
        let (client, _) = said(b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\n").await;
        assert_eq!(client.unwrap(), Some("[2001:db8::1]:1".parse().unwrap()));
    }

    #[tokio::test]
    async fn a_proxy_that_speaks_for_itself_names_nobody() {
        for header in [
            b"PROXY UNKNOWN\r\n".to_vec(),
            binary(0x20, 0x00, &[]),
            b"\x03hello".to_vec(),
        ] {
            assert_eq!(said(&header).await.0.unwrap(), None);
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused_and_what_is_endless_too() {
        let endless = [&b"PROXY TCP4 "[..], &[b'1'; 300]].concat();
        let long = [&SIGNATURE[..], &[0x21, 0x11, 0xff, 0xff], &[0; 2_000]].concat();
        for header in [
            &b"PROXY TCP9 x\r\n"[..],
            b"\r\n\r\n hello, I am no proxy",
            &endless,
            &long,
        ] {
            assert!(matches!(said(header).await.0, Err(Error::Malformed)), "{header:?}");
        }
    }

    #[tokio::test]
    async fn a_header_cut_at_any_byte_names_nobody() {
        for header in [LINE.to_vec(), binary4()] {
            for len in 0..header.len() {
                assert!(matches!(said(&header[..len]).await.0, Err(Error::Gone)), "{len}");
            }
        }
    }
}

//! As much HTTP as the API and the metrics need.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
};

use super::PATIENCE;

/// The status and the body of one request's answer.
pub(crate) fn request(method: &str, address: SocketAddr, route: &str) -> io::Result<(u16, String)> {
    send(method, address, route, "application/octet-stream", &[])
}

/// The same with a body.
pub(crate) fn send(
    method: &str,
    address: SocketAddr,
    route: &str,
    kind: &str,
    body: &[u8],
) -> io::Result<(u16, String)> {
    let (status, body) = exchange(method, address, route, kind, body)?;
    let body = String::from_utf8(body).map_err(|_| io::ErrorKind::InvalidData)?;
    Ok((status, body))
}

/// The status and the bytes of the answer to a GET.
///
/// # Errors
/// Also when the answer ends before it is whole.
pub(crate) fn get_bytes(address: SocketAddr, route: &str) -> io::Result<(u16, Vec<u8>)> {
    exchange("GET", address, route, "application/octet-stream", &[])
}

fn exchange(method: &str, address: SocketAddr, route: &str, kind: &str, body: &[u8]) -> io::Result<(u16, Vec<u8>)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let length = body.len();
    let head = format!(
        "{method} {route} HTTP/1.1\r\nHost: {address}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let body = answer.split_off(end.ok_or(io::ErrorKind::InvalidData)? + 4);
    let head = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
    let body = match length {
        _ if head.contains("transfer-encoding: chunked") => unchunk(&body)?,
        Some(length) if method != "HEAD" && length != body.len() => return Err(io::ErrorKind::UnexpectedEof.into()),
        _ => body,
    };
    Ok((status.ok_or(io::ErrorKind::InvalidData)?, body))
}

/// RFC 9112 section 7.1.
fn unchunk(mut rest: &[u8]) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let end = rest.windows(2).position(|two| two == b"\r\n");
        let (size, after) = rest.split_at(end.ok_or(io::ErrorKind::UnexpectedEof)?);
        let size = std::str::from_utf8(size).ok();
        let size = size.and_then(|size| usize::from_str_radix(size.trim(), 16).ok());
        let size = size.ok_or(io::ErrorKind::InvalidData)?;
        if size == 0 {
            return Ok(body);
        }
        let chunk = after.get(2..2 + size).ok_or(io::ErrorKind::UnexpectedEof)?;
        body.extend_from_slice(chunk);
        rest = after.get(2 + size + 2..).ok_or(io::ErrorKind::UnexpectedEof)?;
    }
}

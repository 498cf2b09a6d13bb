//! Many datagrams to one peer with one system call.
#![allow(
    unsafe_code,
    reason = "sendmmsg has no safe binding; decisions: datagram batches are a named unsafe module"
)]

use std::{io, net::SocketAddr, os::fd::AsRawFd};

use bytes::Bytes;
use socket2::SockAddr;
use tokio::{io::Interest, net::UdpSocket};

/// Datagrams per call; Linux takes up to 1,024 (`UIO_MAXIOV`).
const BATCH: usize = 64;

/// Sends every datagram to `peer`, in order, as few system calls as possible. Waits while the socket's buffer is full.
///
/// # Errors
/// What `sendmmsg(2)` says; datagrams before the failing one are on their way.
pub(crate) async fn send_all(socket: &UdpSocket, peer: SocketAddr, datagrams: &[Bytes]) -> io::Result<()> {
    let peer = SockAddr::from(peer);
    let mut rest = datagrams;
    while !rest.is_empty() {
        let batch = &rest[..rest.len().min(BATCH)];
        let sent = socket
            .async_io(Interest::WRITABLE, || send_some(socket, &peer, batch))
            .await?;
        rest = &rest[sent.min(rest.len())..];
    }
    Ok(())
}

fn send_some(socket: &UdpSocket, peer: &SockAddr, batch: &[Bytes]) -> io::Result<usize> {
    let mut parts: [libc::iovec; BATCH] = [libc::iovec {
        iov_base: std::ptr::null_mut(),
        iov_len: 0,
    }; BATCH];
    for (part, datagram) in parts.iter_mut().zip(batch) {
        *part = libc::iovec {
            iov_base: datagram.as_ptr().cast_mut().cast(),
            iov_len: datagram.len(),
        };
    }
    let mut messages = parts.map(|_| {
        // SAFETY: all fields of `mmsghdr` are integers or pointers, for which zero is a valid value.
        unsafe { std::mem::zeroed::<libc::mmsghdr>() }
    });
    for (message, part) in messages.iter_mut().zip(parts.iter_mut()).take(batch.len()) {
        message.msg_hdr.msg_name = peer.as_ptr().cast_mut().cast();
        message.msg_hdr.msg_namelen = peer.len();
        message.msg_hdr.msg_iov = part;
        message.msg_hdr.msg_iovlen = 1;
    }
    let count = libc::c_uint::try_from(batch.len().min(BATCH)).unwrap_or(0);
    // SAFETY: the first `count` messages point to one iovec each, which points into `batch`, and to `peer`; all three
    // outlive the call, and the kernel only reads them.
    let sent = unsafe { libc::sendmmsg(socket.as_raw_fd(), messages.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_batch_arrives_whole_and_in_order() {
        let (from, to) = (
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
            UdpSocket::bind("127.0.0.1:0").await.unwrap(),
        );
        let datagrams: Vec<Bytes> = (0..150_u8).map(|n| Bytes::from(vec![n; usize::from(n) + 1])).collect();
        send_all(&from, to.local_addr().unwrap(), &datagrams).await.unwrap();
        let mut buf = [0; 512];
        for expected in &datagrams {
            let len = to.recv(&mut buf).await.unwrap();
            assert_eq!(&buf[..len], &expected[..]);
        }
    }
}

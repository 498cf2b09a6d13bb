//! The socket of a connection, and what waits to be written to it.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};
use tokio_rustls::server::TlsStream;

/// Plain or encrypted.
pub(super) enum Stream {
    /// The half that writes is lent to a crew while the connection plays.
    Tcp(OwnedReadHalf, Option<OwnedWriteHalf>),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Shares of shared buffers, to be written in order. Media is added only when it is empty, so a reader that does not read
/// holds one wake's worth and no more.
#[derive(Default)]
pub(super) struct Outgoing {
    parts: VecDeque<Bytes>,
    /// Bytes of answers that were added since it was last empty.
    answers: usize,
}

/// Bytes of answers that may wait; nothing more is read from a client who asks and asks and does not take the answers.
const MAX_ANSWERS: usize = 64 << 10;

/// Slices given to one vectored write; the system takes up to 1,024.
const SLICES: usize = 64;
/// Read at once from a client that publishes: tens of RTP packets.
const READ_MEDIA: usize = 64 << 10;
/// Read at once from anybody else, through the stack: idle readers hold no buffer.
const READ_REQUESTS: usize = 4 << 10;

/// Read from somebody who says more while an answer is being looked for.
const READ_AHEAD: usize = 16 << 10;

/// What the socket did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Io {
    /// So many bytes came in; 0: the peer is done.
    Read(usize),
    /// So many bytes went out.
    Written(usize),
}

impl Outgoing {
    pub(super) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(super) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push_back(part);
        }
    }

    /// Adds a part of an answer.
    pub(super) fn push_answer(&mut self, part: Bytes) {
        self.answers += part.len();
        self.push(part);
    }

    /// Whether the client must take answers before it may ask again.
    pub(super) fn is_choked(&self) -> bool {
        self.answers >= MAX_ANSWERS
    }

    /// Takes everything that waits.
    pub(super) fn take(&mut self) -> Outgoing {
        std::mem::take(self)
    }

    /// Takes everything that waits in another one.
    pub(super) fn append(&mut self, mut other: Outgoing) {
        self.answers += other.answers;
        self.parts.append(&mut other.parts);
    }

    /// Writes until nothing waits or the socket takes no more. Answers how many bytes went; pending when none did.
    pub(super) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<usize>> {
        self.write_with(|parts| match parts {
            // One part, the usual case, goes with the cheaper system call.
            [part] => Pin::new(&mut *writer).poll_write(cx, part),
            parts => with_slices(parts, |slices| Pin::new(&mut *writer).poll_write_vectored(cx, slices)),
        })
    }

    /// Writes what the socket takes at once, without asking to be woken when it takes more. 0: it takes nothing.
    pub(super) fn try_write(&mut self, writer: &OwnedWriteHalf) -> io::Result<usize> {
        let written = self.write_with(|parts| {
            let written = match parts {
                [part] => writer.try_write(part),
                parts => with_slices(parts, |slices| writer.try_write_vectored(slices)),
            };
            match written {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Poll::Pending,
                written => Poll::Ready(written),
            }
        });
        match written {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(0),
        }
    }

    fn write_with(&mut self, mut write: impl FnMut(&[Bytes]) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let mut total = 0;
        while !self.is_empty() {
            match write(self.parts.make_contiguous()) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(written)) => {
                    self.advance(written);
                    total += written;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending if total > 0 => break,
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(total))
    }

    fn advance(&mut self, mut written: usize) {
        while let Some(part) = self.parts.front_mut() {
            if written < part.len() {
                part.advance(written);
                return;
            }
            written -= part.len();
            self.parts.pop_front();
        }
        self.answers = 0;
    }
}

/// The first parts as one vectored write takes them.
fn with_slices<T>(parts: &[Bytes], write: impl FnOnce(&[IoSlice<'_>]) -> T) -> T {
    let mut slices = [IoSlice::new(&[]); SLICES];
    for (slice, part) in slices.iter_mut().zip(parts) {
        *slice = IoSlice::new(part);
    }
    write(&slices[..parts.len().min(SLICES)])
}

impl Stream {
    /// A plain connection.
    pub(super) fn plain(socket: TcpStream) -> Stream {
        let (reader, writer) = socket.into_split();
        Stream::Tcp(reader, Some(writer))
    }

    /// Lends the half that writes; `None` when it is lent already, or encrypted.
    pub(super) fn lend(&mut self) -> Option<OwnedWriteHalf> {
        match self {
            Stream::Tcp(_, writer) => writer.take(),
            Stream::Tls(_) => None,
        }
    }

    /// Takes it back.
    pub(super) fn give_back(&mut self, half: OwnedWriteHalf) {
        if let Stream::Tcp(_, writer) = self {
            *writer = Some(half);
        }
    }

    /// Writes what waits and reads what is there, whichever comes first. Cancel safe.
    pub(super) async fn ready(
        &mut self,
        input: &mut BytesMut,
        wants_input: bool,
        media: bool,
        outgoing: &mut Outgoing,
    ) -> io::Result<Io> {
        std::future::poll_fn(|cx| {
            if !outgoing.is_empty()
                && let Poll::Ready(written) = self.poll_write(cx, outgoing)
            {
                return Poll::Ready(written.map(Io::Written));
            }
            self.poll_flush(cx)?;
            if !wants_input {
                return Poll::Pending;
            }
            let read = if media {
                self.poll_read_media(cx, input)
            } else {
                self.poll_read_requests(cx, input)
            };
            read.map_ok(Io::Read)
        })
        .await
    }

    /// Waits until the peer is gone, while an answer for it is being looked for; what it says meanwhile goes to `input`, up
    /// to a bound. Cancel safe.
    pub(super) async fn gone(&mut self, input: &mut BytesMut) -> io::Result<()> {
        loop {
            let wants_input = input.len() < READ_AHEAD;
            if let Io::Read(0) = self.ready(input, wants_input, false, &mut Outgoing::default()).await? {
                return Ok(());
            }
        }
    }

    /// Writes as much as the socket takes at once; 0 when it takes nothing. The task is woken when it takes more.
    pub(super) async fn write_now(&mut self, outgoing: &mut Outgoing) -> io::Result<usize> {
        std::future::poll_fn(|cx| match self.poll_write(cx, outgoing) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => Poll::Ready(Ok(0)),
        })
        .await
    }

    /// Writes everything that waits and says goodbye; for the last answer before the end.
    pub(super) async fn finish(&mut self, outgoing: &mut Outgoing) -> io::Result<()> {
        while !outgoing.is_empty() {
            std::future::poll_fn(|cx| self.poll_write(cx, outgoing)).await?;
        }
        std::future::poll_fn(|cx| match self {
            Stream::Tcp(_, Some(writer)) => Pin::new(writer).poll_shutdown(cx),
            Stream::Tcp(_, None) => Poll::Ready(Ok(())),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
        })
        .await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(_, Some(writer)) => outgoing.poll_write(cx, writer),
            Stream::Tcp(_, None) => Poll::Pending,
            Stream::Tls(stream) => {
                let written = std::task::ready!(outgoing.poll_write(cx, &mut **stream));
                self.poll_flush(cx)?;
                Poll::Ready(written)
            }
        }
    }

    /// TLS keeps whole records back; what cannot be sent now goes when the socket takes more.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        match self {
            Stream::Tcp(..) => Ok(()),
            Stream::Tls(stream) => match Pin::new(&mut **stream).poll_flush(cx) {
                Poll::Ready(flushed) => flushed,
                Poll::Pending => Ok(()),
            },
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Stream::Tcp(reader, _) => Pin::new(reader).poll_read(cx, buf),
            Stream::Tls(stream) => Pin::new(&mut **stream).poll_read(cx, buf),
        }
    }

    fn poll_read_requests(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        let mut space = [0; READ_REQUESTS];
        let mut buf = ReadBuf::new(&mut space);
        std::task::ready!(self.poll_read(cx, &mut buf))?;
        input.extend_from_slice(buf.filled());
        Poll::Ready(Ok(buf.filled().len()))
    }

    fn poll_read_media(&mut self, cx: &mut Context<'_>, input: &mut BytesMut) -> Poll<io::Result<usize>> {
        input.reserve(READ_MEDIA);
        // The driver hands out shares of this buffer: packets are not copied again on their way to the depacketiser.
        match self {
            Stream::Tcp(reader, _) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, input),
            Stream::Tls(stream) => tokio_util::io::poll_read_buf(Pin::new(&mut **stream), cx, input),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_takes_no_answers_is_not_heard_until_it_does() {
        let answer = Bytes::from(vec![0; 1_000]);
        let mut outgoing = Outgoing::default();
        let mut answers = 0;
        while !outgoing.is_choked() {
            outgoing.push_answer(answer.clone());
            answers += 1;
        }
        assert_eq!(answers, MAX_ANSWERS / answer.len() + 1);
        outgoing.advance(answers * answer.len() - 1);
        assert!(outgoing.is_choked());
        outgoing.advance(1);
        assert!(outgoing.is_empty() && !outgoing.is_choked());
    }

    #[test]
    fn media_that_waits_chokes_nobody() {
        let mut outgoing = Outgoing::default();
        outgoing.push(Bytes::from(vec![0; 2 * MAX_ANSWERS]));
        assert!(!outgoing.is_choked());
    }
}

//! The socket of a connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{
        TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::Outgoing;
use crate::http::Transport;

/// Plain or encrypted.
pub(crate) enum Stream {
    /// The half that writes is lent to a crew while the connection plays.
    Tcp(OwnedReadHalf, Option<OwnedWriteHalf>),
    /// TLS, and whatever else has no halves to lend.
    Tls(Box<dyn Duplex>),
}

/// Both directions of a connection.
pub(crate) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

impl From<Transport> for Stream {
    fn from(transport: Transport) -> Stream {
        match transport {
            Transport::Tcp(socket) => Stream::plain(socket),
            Transport::Unix(socket) => Stream::Tls(Box::new(socket)),
            Transport::Tls(stream) => Stream::Tls(stream),
        }
    }
}

/// Room made for what a client publishes: tens of RTP packets, or of messages.
const READ_MEDIA: usize = 64 << 10;
/// New room is made when less is left. Frames are shares of that memory: whatever is read into it is kept together.
const READ_ROOM: usize = 8 << 10;
/// Read at once from anybody else, through the stack: idle readers hold no buffer.
const READ_REQUESTS: usize = 4 << 10;
/// Read from somebody who says more while an answer is being looked for.
const READ_AHEAD: usize = 16 << 10;

/// What the socket did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Io {
    /// So many bytes came in; 0: the peer is done.
    Read(usize),
    /// So many bytes went out.
    Written(usize),
}

impl Stream {
    /// A plain connection.
    pub(crate) fn plain(socket: TcpStream) -> Stream {
        let (reader, writer) = socket.into_split();
        Stream::Tcp(reader, Some(writer))
    }

    /// Lends the half that writes; `None` when it is lent already, or encrypted.
    pub(crate) fn lend(&mut self) -> Option<OwnedWriteHalf> {
        match self {
            Stream::Tcp(_, writer) => writer.take(),
            Stream::Tls(_) => None,
        }
    }

    /// Takes it back.
    pub(crate) fn give_back(&mut self, half: OwnedWriteHalf) {
        if let Stream::Tcp(_, writer) = self {
            *writer = Some(half);
        }
    }

    /// Writes what waits and reads what is there, whichever comes first. Cancel safe.
    pub(crate) async fn ready(
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
    pub(crate) async fn gone(&mut self, input: &mut BytesMut) -> io::Result<()> {
        loop {
            let wants_input = input.len() < READ_AHEAD;
            if let Io::Read(0) = self.ready(input, wants_input, false, &mut Outgoing::default()).await? {
                return Ok(());
            }
        }
    }

    /// Writes as much as the socket takes at once; 0 when it takes nothing. The task is woken when it takes more.
    pub(crate) async fn write_now(&mut self, outgoing: &mut Outgoing) -> io::Result<usize> {
        std::future::poll_fn(|cx| match self.poll_write(cx, outgoing) {
            Poll::Ready(written) => Poll::Ready(written),
            Poll::Pending => Poll::Ready(Ok(0)),
        })
        .await
    }

    /// Writes everything that waits and says goodbye; for the last answer before the end.
    pub(crate) async fn finish(&mut self, outgoing: &mut Outgoing) -> io::Result<()> {
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

    /// Reads until the peer is gone, and forgets it. A socket that is dropped with bytes unread is reset, and what was
    /// written last is lost.
    pub(crate) async fn read_away(&mut self) -> io::Result<()> {
        let mut space = BytesMut::new();
        loop {
            space.clear();
            if std::future::poll_fn(|cx| self.poll_read_requests(cx, &mut space)).await? == 0 {
                return Ok(());
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, outgoing: &mut Outgoing) -> Poll<io::Result<usize>> {
        match self {
            Stream::Tcp(_, Some(writer)) => outgoing.poll_write(cx, writer),
            Stream::Tcp(_, None) => Poll::Pending,
            Stream::Tls(stream) => {
                let written = std::task::ready!(outgoing.poll_write(cx, stream));
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
        if input.capacity() - input.len() < READ_ROOM {
            input.reserve(READ_MEDIA);
        }
        // The driver hands out shares of this buffer: packets are not copied again on their way to the depacketiser.
        match self {
            Stream::Tcp(reader, _) => tokio_util::io::poll_read_buf(Pin::new(reader), cx, input),
            Stream::Tls(stream) => tokio_util::io::poll_read_buf(Pin::new(&mut **stream), cx, input),
        }
    }
}

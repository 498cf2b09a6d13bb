//! What waits to be written to a socket.

use std::{
    collections::VecDeque,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use tokio::{io::AsyncWrite, net::tcp::OwnedWriteHalf};

/// Shares of shared buffers, to be written in order. Media is added only when it is empty, so a reader that does not read
/// holds one wake's worth and no more.
#[derive(Default)]
pub(crate) struct Outgoing {
    parts: VecDeque<Bytes>,
    /// Bytes of answers that were added since it was last empty.
    answers: usize,
}

/// Bytes of answers that may wait; nothing more is read from a client who asks and asks and does not take the answers.
const MAX_ANSWERS: usize = 64 << 10;

/// Slices given to one vectored write; the system takes up to 1,024.
const SLICES: usize = 64;
impl Outgoing {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn push(&mut self, part: Bytes) {
        if !part.is_empty() {
            self.parts.push_back(part);
        }
    }

    /// Adds a part of an answer.
    pub(crate) fn push_answer(&mut self, part: Bytes) {
        self.answers += part.len();
        self.push(part);
    }

    /// Whether the client must take answers before it may ask again.
    pub(crate) fn is_choked(&self) -> bool {
        self.answers >= MAX_ANSWERS
    }

    /// Takes everything that waits.
    pub(crate) fn take(&mut self) -> Outgoing {
        std::mem::take(self)
    }

    /// What waits, part by part.
    #[cfg(test)]
    pub(crate) fn into_parts(self) -> VecDeque<Bytes> {
        self.parts
    }

    /// Takes everything that waits in another one.
    pub(crate) fn append(&mut self, mut other: Outgoing) {
        self.answers += other.answers;
        self.parts.append(&mut other.parts);
    }

    /// Writes until nothing waits or the socket takes no more. Answers how many bytes went; pending when none did.
    pub(crate) fn poll_write(
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
    pub(crate) fn try_write(&mut self, writer: &OwnedWriteHalf) -> io::Result<usize> {
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

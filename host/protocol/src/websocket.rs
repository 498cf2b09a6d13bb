//! WebSocket frames (RFC 6455 section 5), as a server reads and writes them.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-------+-+-------------+-------------------------------+
//! |F|R|R|R| opcode|M| length (7)  |  length (16 or 64 bits), when |
//! |I|S|S|S|  (4)  |A|             |  the first is 126 or 127      |
//! |N|V|V|V|       |S|             |                               |
//! +-+-+-+-+-------+K+-------------+-------------------------------+
//! |  masking key (32 bits), when M; then the payload              |
//! +---------------------------------------------------------------+
//! ```
//!
//! For servers that send and are told nothing: what a client says in messages is counted against a bound and passed over,
//! only its control frames come out.

use bytes::{Buf, BufMut, Bytes, BytesMut};

/// Bytes of one message of a client, at most.
pub const MAX_MESSAGE: u64 = 64 << 10;
/// Bytes of a control frame's payload (section 5.5).
const MAX_CONTROL: usize = 125;
/// Bytes in front of a server's payload, at most.
pub const MAX_HEADER: usize = 10;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// Why a connection is closed (section 7.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Status {
    /// Nothing more will come.
    Normal = 1000,
    /// The server stops.
    GoingAway = 1001,
    /// The client breaks the rules.
    Protocol = 1002,
    /// The client may not have it any more.
    Policy = 1008,
    /// A message is too large.
    TooBig = 1009,
}

/// What a client says that concerns a server which only sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// To be answered by [`pong`] with the same bytes.
    Ping(Bytes),
    /// It closes, with its status if it gives one. To be answered by [`close`].
    Close(Option<u16>),
}

/// A client that does not keep to the rules; the status to close with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the WebSocket frame is against the rules ({0:?})")]
pub struct Violation(pub Status);

const BROKEN: Violation = Violation(Status::Protocol);

/// Reads the frames of one client.
#[derive(Debug, Default)]
pub struct Receiver {
    /// Bytes of the present frame's payload to be passed over.
    skip: u64,
    /// Bytes of the present message so far, when more frames of it are to come.
    message: Option<u64>,
}

/// The front of a frame.
struct Head {
    is_final: bool,
    opcode: u8,
    mask: [u8; 4],
    /// Bytes of all that, and of what follows.
    len: usize,
    payload: u64,
}

impl Receiver {
    /// Takes what can be taken from the front of `input`: up to and including the next control frame, which is the answer;
    /// `None` when more bytes are needed. What is left of `input` then is less than one control frame.
    ///
    /// # Errors
    /// [`Violation`]: nothing after it can be understood.
    pub fn handle(&mut self, input: &mut BytesMut) -> Result<Option<Said>, Violation> {
        loop {
            let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(input.len());
            input.advance(skipped);
            self.skip -= skipped as u64;
            if self.skip > 0 {
                return Ok(None);
            }
            let Some(head) = Head::parse(input)? else {
                return Ok(None);
            };
            if head.opcode < CLOSE {
                self.begin_data(&head)?;
                input.advance(head.len);
                self.skip = head.payload;
                continue;
            }
            let payload = usize::try_from(head.payload).ok().filter(|len| *len <= MAX_CONTROL);
            let (Some(payload), true) = (payload, head.is_final) else {
                return Err(BROKEN);
            };
            if input.len() < head.len + payload {
                return Ok(None);
            }
            input.advance(head.len);
            let mut payload = input.split_to(payload);
            let masks = head.mask.into_iter().cycle();
            payload.iter_mut().zip(masks).for_each(|(byte, mask)| *byte ^= mask);
            match head.opcode {
                PONG => {}
                PING => return Ok(Some(Said::Ping(payload.freeze()))),
                CLOSE => return said_close(&payload).map(Some),
                _ => return Err(BROKEN),
            }
        }
    }

    /// A frame of a message begins.
    fn begin_data(&mut self, head: &Head) -> Result<(), Violation> {
        let before = match (head.opcode, self.message) {
            (CONTINUATION, Some(before)) => before,
            (TEXT | BINARY, None) => 0,
            _ => return Err(BROKEN),
        };
        let message = before.saturating_add(head.payload);
        if message > MAX_MESSAGE {
            return Err(Violation(Status::TooBig));
        }
        self.message = (!head.is_final).then_some(message);
        Ok(())
    }
}

fn said_close(payload: &[u8]) -> Result<Said, Violation> {
    match payload {
        [] => Ok(Said::Close(None)),
        [_] => Err(BROKEN),
        [high, low, ..] => Ok(Said::Close(Some(u16::from_be_bytes([*high, *low])))),
    }
}

impl Head {
    /// `None` when more bytes are needed.
    fn parse(input: &[u8]) -> Result<Option<Head>, Violation> {
        let mut rest = input;
        let (Some(first), Some(second)) = (take::<1>(&mut rest), take::<1>(&mut rest)) else {
            return Ok(None);
        };
        let ([first], [second]) = (first, second);
        // Reserved bits belong to extensions, and none was agreed on; a client masks (section 5.1).
        if first & 0x70 != 0 || second & 0x80 == 0 {
            return Err(BROKEN);
        }
        let payload = match second & 0x7f {
            126 => take(&mut rest).map(|len| u64::from(u16::from_be_bytes(len))),
            127 => take(&mut rest).map(u64::from_be_bytes),
            len => Some(u64::from(len)),
        };
        let (Some(payload), Some(mask)) = (payload, take(&mut rest)) else {
            return Ok(None);
        };
        Ok(Some(Head {
            is_final: first & 0x80 != 0,
            opcode: first & 0xf,
            mask,
            len: input.len() - rest.len(),
            payload,
        }))
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk()?;
    *rest = left;
    Some(*taken)
}

/// Puts the front of a server's frame in front of a binary message of `len` bytes: it is whole and not masked, so the same
/// for every client.
pub fn begin_binary(len: usize, out: &mut BytesMut) {
    begin(BINARY, len, out);
}

fn begin(opcode: u8, len: usize, out: &mut BytesMut) {
    out.reserve(MAX_HEADER);
    out.put_u8(0x80 | opcode);
    match (u8::try_from(len), u16::try_from(len)) {
        (Ok(len), _) if len < 126 => out.put_u8(len),
        (_, Ok(len)) => {
            out.put_u8(126);
            out.put_u16(len);
        }
        _ => {
            out.put_u8(127);
            out.put_u64(len as u64);
        }
    }
}

/// The answer to a ping.
pub fn pong(payload: &[u8]) -> Bytes {
    control(PONG, payload)
}

/// The last frame of a server.
pub fn close(status: Status) -> Bytes {
    control(CLOSE, &(status as u16).to_be_bytes())
}

/// The last frame of a server whose client closes first: it hears its own status.
pub fn close_as_said(status: Option<u16>) -> Bytes {
    let status = status.map(u16::to_be_bytes);
    control(CLOSE, status.as_ref().map_or(&[], |status| &status[..]))
}

fn control(opcode: u8, payload: &[u8]) -> Bytes {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let mut frame = BytesMut::new();
    begin(opcode, payload.len(), &mut frame);
    frame.put_slice(payload);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

    /// A frame as a client sends it, `first` being its first byte.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = BytesMut::new();
        begin(0, payload.len(), &mut bytes);
        bytes[0] = first;
        bytes[1] |= 0x80;
        bytes.put_slice(&MASK);
        bytes.extend(
            payload
                .iter()
                .zip(MASK.into_iter().cycle())
                .map(|(byte, mask)| byte ^ mask),
        );
        bytes.to_vec()
    }

    fn said(bytes: &[u8]) -> Result<Vec<Said>, Violation> {
        let (mut receiver, mut input) = (Receiver::default(), BytesMut::from(bytes));
        let mut all = Vec::new();
        while let Some(said) = receiver.handle(&mut input)? {
            all.push(said);
        }
        Ok(all)
    }

    fn ping(payload: &'static [u8]) -> Said {
        Said::Ping(Bytes::from_static(payload))
    }

    #[test]
    fn the_examples_of_the_rfc_are_understood() {
        // Section 5.7: a masked "Hello", and the same in two pieces as a ping in between would cut them.
        let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];
        assert_eq!(said(&hello), Ok(vec![]));
        assert_eq!(frame(0x81, b"Hello"), hello);
        let pieces = [frame(0x01, b"Hel"), frame(0x89, b"Hello"), frame(0x80, b"lo")].concat();
        assert_eq!(said(&pieces), Ok(vec![ping(b"Hello")]));
    }

    #[test]
    fn control_frames_come_out_and_messages_are_passed_over() {
        let all = [
            frame(0x82, &[0; 70]),
            frame(0x89, b"a"),
            frame(0x81, &[0; 300]),
            frame(0x8a, b"pong"),
            frame(0x88, &[0x03, 0xe8, b'x']),
        ];
        assert_eq!(said(&all.concat()), Ok(vec![ping(b"a"), Said::Close(Some(1000))]));
        assert_eq!(said(&frame(0x88, b"")), Ok(vec![Said::Close(None)]));
    }

    #[test]
    fn no_split_changes_what_is_understood_and_little_is_kept() {
        let all = [
            frame(0x02, &[7; 200]),
            frame(0x89, b"ping"),
            frame(0x80, b"rest"),
            frame(0x88, b""),
        ]
        .concat();
        for at in 0..=all.len() {
            let (mut receiver, mut input, mut heard) = (Receiver::default(), BytesMut::new(), Vec::new());
            for part in [&all[..at], &all[at..]] {
                input.extend_from_slice(part);
                while let Some(said) = receiver.handle(&mut input).unwrap() {
                    heard.push(said);
                }
                assert!(input.len() < MAX_HEADER + 4 + MAX_CONTROL);
            }
            assert_eq!(heard, [ping(b"ping"), Said::Close(None)], "split at {at}");
        }
    }

    #[test]
    fn what_is_against_the_rules_is_a_violation() {
        let check = |bytes: &[u8], status| assert_eq!(said(bytes), Err(Violation(status)), "{bytes:x?}");
        check(&[0x81, 0x05, b'H', b'e', b'l', b'l', b'o'], Status::Protocol);
        check(&frame(0xc1, b"compressed"), Status::Protocol);
        check(&frame(0x83, b"reserved"), Status::Protocol);
        check(&frame(0x8b, b"reserved"), Status::Protocol);
        check(&frame(0x09, b"a ping in pieces"), Status::Protocol);
        check(&frame(0x89, &[0; 126]), Status::Protocol);
        check(&frame(0x80, b"continues nothing"), Status::Protocol);
        check(&[frame(0x01, b"a"), frame(0x81, b"b")].concat(), Status::Protocol);
        check(&frame(0x88, b"x"), Status::Protocol);
        let mut endless = vec![0x82, 0xff];
        endless.extend_from_slice(&u64::MAX.to_be_bytes());
        endless.extend_from_slice(&MASK);
        check(&endless, Status::TooBig);
        let mut pieces = frame(0x02, &[0; 60 << 10]);
        pieces.extend(frame(0x00, &[0; 5 << 10]));
        check(&pieces, Status::TooBig);
    }

    #[test]
    fn what_a_server_says_is_spelled_as_in_the_rfc() {
        let front = |len| {
            let mut out = BytesMut::new();
            begin_binary(len, &mut out);
            out.to_vec()
        };
        assert_eq!(front(125), [0x82, 125]);
        assert_eq!(front(256), [0x82, 0x7e, 0x01, 0x00]);
        assert_eq!(front(65_536), [0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0]);
        assert_eq!(pong(b"Hello")[..], [0x8a, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);
        assert_eq!(close(Status::GoingAway)[..], [0x88, 2, 0x03, 0xe9]);
        assert_eq!(close_as_said(None)[..], [0x88, 0]);
        assert_eq!(close_as_said(Some(1000))[..], [0x88, 2, 0x03, 0xe8]);
    }
}

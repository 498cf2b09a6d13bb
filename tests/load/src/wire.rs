//! Cuts what a reader receives into interleaved packets, without a buffer per reader.
//!
//! A thread of readers shares one large read buffer; a reader keeps only the piece of a packet that had not arrived
//! whole. RTSP messages between packets (answers to keep-alives) are handed on as they are.

use anyhow::{Result, bail};
use bytes::BytesMut;
use wasmtx_protocol::rtsp::{Decoder, FRAME_HEADER};

/// One thing out of the stream.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Part<'a> {
    /// An interleaved packet.
    Packet {
        /// Its channel.
        channel: u8,
        /// The RTP or RTCP packet.
        data: &'a [u8],
    },
    /// An RTSP message, whole.
    Message(&'a [u8]),
}

/// Where one reader's stream stands.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The start of a packet that has not arrived whole.
    carry: Vec<u8>,
    /// A message that has not arrived whole.
    message: Option<Box<Message>>,
}

#[derive(Debug, Default)]
struct Message {
    decoder: Decoder,
    input: BytesMut,
    /// The message as it came, for those who want to parse it themselves.
    raw: Vec<u8>,
}

impl Scanner {
    /// Takes the next bytes of the stream and hands on every part that is whole now.
    pub(crate) fn feed(&mut self, mut input: &[u8], mut sink: impl FnMut(Part<'_>) -> Result<()>) -> Result<()> {
        while !input.is_empty() {
            if self.message.is_some() {
                input = self.feed_message(input, &mut sink)?;
                continue;
            }
            if !self.carry.is_empty() {
                input = self.complete(input);
                if let Some((part, rest)) = split_packet(&self.carry) {
                    debug_assert!(rest.is_empty(), "no more is carried than one packet");
                    sink(part)?;
                    self.carry.clear();
                }
                continue;
            }
            match (split_packet(input), input.first()) {
                (Some((part, rest)), _) => {
                    sink(part)?;
                    input = rest;
                }
                (None, Some(b'$')) => {
                    self.carry.extend_from_slice(input);
                    input = &[];
                }
                _ => self.message = Some(Box::default()),
            }
        }
        Ok(())
    }

    /// Moves as much of the input behind the carried piece as its packet lacks.
    fn complete<'a>(&mut self, mut input: &'a [u8]) -> &'a [u8] {
        for whole in [|_: &[u8]| FRAME_HEADER, packet_size] {
            let missing = whole(&self.carry).saturating_sub(self.carry.len());
            let (more, rest) = input.split_at(missing.min(input.len()));
            self.carry.extend_from_slice(more);
            input = rest;
            if self.carry.len() < FRAME_HEADER {
                break;
            }
        }
        input
    }

    fn feed_message<'a>(&mut self, input: &'a [u8], sink: &mut impl FnMut(Part<'_>) -> Result<()>) -> Result<&'a [u8]> {
        let Some(message) = &mut self.message else {
            return Ok(input);
        };
        message.input.extend_from_slice(input);
        message.raw.extend_from_slice(input);
        let Some(_) = message.decoder.decode(&mut message.input)? else {
            return Ok(&[]);
        };
        let behind = message.input.len();
        if behind > input.len() {
            bail!("a message ended before its last piece came");
        }
        message.raw.truncate(message.raw.len() - behind);
        sink(Part::Message(&message.raw))?;
        self.message = None;
        Ok(&input[input.len() - behind..])
    }
}

/// The first packet of the input and what follows it, if it is whole.
pub(crate) fn split_packet(input: &[u8]) -> Option<(Part<'_>, &[u8])> {
    let &[b'$', channel, ..] = input else { return None };
    let (packet, rest) = input.split_at_checked(packet_size(input))?;
    Some((
        Part::Packet {
            channel,
            data: packet.get(FRAME_HEADER..)?,
        },
        rest,
    ))
}

/// Bytes of the packet whose header starts the input, header included; the header's own size while that is not whole.
fn packet_size(input: &[u8]) -> usize {
    match input {
        [_, _, high, low, ..] => FRAME_HEADER + usize::from(u16::from_be_bytes([*high, *low])),
        _ => FRAME_HEADER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] = b"RTSP/1.0 200 OK\r\nCSeq: 5\r\nContent-Length: 3\r\n\r\n$$$";

    fn stream() -> Vec<u8> {
        [b"$\x00\x00\x03abc", ANSWER, b"$\x01\x00\x00", b"$\x02\x00\x01$"].concat()
    }

    fn scan(pieces: &[&[u8]]) -> Result<Vec<(Option<u8>, Vec<u8>)>> {
        let mut scanner = Scanner::default();
        let mut parts = Vec::new();
        for piece in pieces {
            scanner.feed(piece, |part| {
                parts.push(match part {
                    Part::Packet { channel, data } => (Some(channel), data.to_vec()),
                    Part::Message(raw) => (None, raw.to_vec()),
                });
                Ok(())
            })?;
        }
        Ok(parts)
    }

    #[test]
    fn packets_and_messages_come_out_whole_wherever_the_stream_is_cut() {
        let stream = stream();
        let whole = vec![
            (Some(0), b"abc".to_vec()),
            (None, ANSWER.to_vec()),
            (Some(1), Vec::new()),
            (Some(2), b"$".to_vec()),
        ];
        assert_eq!(scan(&[&stream]).unwrap(), whole);
        for cut in 1..stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(scan(&[head, tail]).unwrap(), whole, "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(scan(&bytes).unwrap(), whole, "byte by byte");
    }

    #[test]
    fn what_is_neither_packet_nor_message_is_an_error() {
        assert!(scan(&[b"\x16\x03\x01\x00\x00"]).is_err());
    }

    #[test]
    fn a_truncated_packet_comes_out_of_nothing() {
        assert_eq!(scan(&[b"$\x00\x00\x04abc"]).unwrap(), []);
    }
}

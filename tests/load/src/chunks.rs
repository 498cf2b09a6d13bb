//! RTMP's chunk stream (Adobe's RTMP 1.0, section 5.3), as little of it as publishers and readers of ours need.
//!
//! A thread of readers shares one large read buffer; a reader keeps only what had not arrived whole. Messages that came
//! in one chunk are looked at where they lie.

use anyhow::{Result, bail, ensure};

/// Set Chunk Size (section 5.4.1).
pub(crate) const SET_CHUNK_SIZE: u8 = 1;
/// A frame of sound or of pictures (section 7.1).
pub(crate) const AUDIO: u8 = 8;
pub(crate) const VIDEO: u8 = 9;
/// A command in AMF0 (section 7.1.1).
pub(crate) const COMMAND: u8 = 20;

/// What chunks have until somebody says otherwise (section 5.4.1).
const FIRST_SIZE: usize = 128;
/// The chunk size that our publishers announce.
pub(crate) const OUR_SIZE: usize = 65_536;
/// More than a server may send.
const MAX_MESSAGE: usize = 16 << 20;
const MAX_STREAMS: usize = 64;
/// A timestamp that stands in four bytes of its own (section 5.3.1.3).
const EXTENDED: u32 = 0x00ff_ffff;

/// A message that is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    /// Its type.
    pub(crate) kind: u8,
    /// What it says.
    pub(crate) body: &'a [u8],
}

/// Where one reader's stream stands.
#[derive(Debug)]
pub(crate) struct Chunks {
    size: usize,
    streams: Vec<Stream>,
    /// The start of a chunk that has not arrived whole.
    carry: Vec<u8>,
}

/// What the last chunk of a chunk stream said.
#[derive(Debug, Default)]
struct Stream {
    id: u32,
    kind: u8,
    length: usize,
    extended: bool,
    /// What came of a message of several chunks.
    partial: Vec<u8>,
}

/// A chunk's head.
struct Head {
    /// Place in `streams`.
    stream: usize,
    /// Bytes of the head.
    size: usize,
}

impl Chunks {
    /// Nothing came yet.
    pub(crate) fn new() -> Chunks {
        Chunks {
            size: FIRST_SIZE,
            streams: Vec::new(),
            carry: Vec::new(),
        }
    }

    /// Takes the next bytes of the stream and hands on every message that is whole now.
    pub(crate) fn feed(&mut self, input: &[u8], mut sink: impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
        if self.carry.is_empty() {
            let taken = self.take(input, &mut sink)?;
            self.carry.extend_from_slice(input.get(taken..).unwrap_or_default());
        } else {
            let mut carry = std::mem::take(&mut self.carry);
            carry.extend_from_slice(input);
            let taken = self.take(&carry, &mut sink)?;
            carry.drain(..taken);
            self.carry = carry;
        }
        Ok(())
    }

    /// Takes whole chunks; answers their bytes.
    fn take(&mut self, input: &[u8], sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<usize> {
        let mut taken = 0;
        loop {
            let rest = input.get(taken..).unwrap_or_default();
            let Some(head) = self.head(rest)? else {
                return Ok(taken);
            };
            let stream = &mut self.streams[head.stream];
            let part = (stream.length - stream.partial.len()).min(self.size);
            let Some(body) = rest.get(head.size..head.size + part) else {
                return Ok(taken);
            };
            taken += head.size + part;
            if part == stream.length {
                let message = Message {
                    kind: stream.kind,
                    body,
                };
                deliver(&mut self.size, message, sink)?;
                continue;
            }
            stream.partial.extend_from_slice(body);
            if stream.partial.len() == stream.length {
                let whole = std::mem::take(&mut stream.partial);
                let message = Message {
                    kind: stream.kind,
                    body: &whole,
                };
                deliver(&mut self.size, message, sink)?;
            }
        }
    }

    /// Reads a chunk's head if it is whole. Reading one again changes nothing.
    fn head(&mut self, input: &[u8]) -> Result<Option<Head>> {
        let Some(&first) = input.first() else { return Ok(None) };
        let (id, mut size) = match (first & 0x3f, input) {
            (0, [_, low, ..]) => (64 + u32::from(*low), 2),
            (1, [_, low, high, ..]) => (64 + u32::from(*low) + u32::from(*high) * 256, 3),
            (0 | 1, _) => return Ok(None),
            (id, _) => (u32::from(id), 1),
        };
        let format = first >> 6;
        let fields = [11, 7, 3, 0][usize::from(format)];
        let Some(header) = input.get(size..size + fields) else {
            return Ok(None);
        };
        size += fields;
        let stream = match self.streams.iter().position(|stream| stream.id == id) {
            Some(stream) => stream,
            None => {
                ensure!(format == 0, "chunk stream {id} begins without a whole header");
                ensure!(self.streams.len() < MAX_STREAMS, "too many chunk streams");
                self.streams.push(Stream {
                    id,
                    ..Stream::default()
                });
                self.streams.len() - 1
            }
        };
        let known = &mut self.streams[stream];
        let number = |bytes: &[u8]| bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
        if fields >= 3 {
            ensure!(known.partial.is_empty(), "a message begins before another one ended");
            known.extended = number(&header[..3]) == EXTENDED;
        }
        if fields >= 7 {
            known.length = number(&header[3..6]) as usize;
            known.kind = header[6];
            ensure!(known.length <= MAX_MESSAGE, "a message of {} bytes", known.length);
        }
        if known.extended {
            size += 4;
        }
        Ok((input.len() >= size).then_some(Head { stream, size }))
    }
}

fn deliver(size: &mut usize, message: Message<'_>, sink: &mut impl FnMut(Message<'_>) -> Result<()>) -> Result<()> {
    if message.kind != SET_CHUNK_SIZE {
        return sink(message);
    }
    match message.body.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)) {
        Some(new @ 1..=0x7fff_ffff) => *size = new as usize,
        other => bail!("a chunk size of {other:?}"),
    }
    Ok(())
}

/// Where a message goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Address {
    /// Chunk stream, 2 to 63.
    pub(crate) chunks: u8,
    /// Message stream.
    pub(crate) stream: u32,
}

/// Appends a message cut into chunks of `size`. Its time, in milliseconds, must stay below four and a half hours.
pub(crate) fn write(out: &mut Vec<u8>, size: usize, address: Address, kind: u8, time: u32, body: &[u8]) {
    out.push(address.chunks & 0x3f);
    out.extend_from_slice(&time.min(EXTENDED - 1).to_be_bytes()[1..]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.push(kind);
    out.extend_from_slice(&address.stream.to_le_bytes());
    for (number, part) in body.chunks(size).enumerate() {
        if number > 0 {
            out.push(0xc0 | address.chunks);
        }
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8], step: usize) -> Result<Vec<(u8, Vec<u8>)>> {
        let mut chunks = Chunks::new();
        let mut found = Vec::new();
        for piece in bytes.chunks(step) {
            chunks.feed(piece, |message| {
                found.push((message.kind, message.body.to_vec()));
                Ok(())
            })?;
        }
        Ok(found)
    }

    fn address(chunks: u8) -> Address {
        Address { chunks, stream: 1 }
    }

    #[test]
    fn messages_come_whole_however_the_stream_is_cut() {
        let long: Vec<u8> = (0..1_000u32).map(|number| number as u8).collect();
        let mut stream = Vec::new();
        write(&mut stream, 128, address(4), VIDEO, 0, &long);
        write(&mut stream, 128, address(2), SET_CHUNK_SIZE, 0, &300u32.to_be_bytes());
        write(&mut stream, 300, address(4), VIDEO, 40, &long);
        write(&mut stream, 300, address(6), AUDIO, 40, b"sound");
        // The same length, kind and stream again, once with a delta and once without.
        stream.extend_from_slice(b"\x86\x00\x00\x17again");
        stream.extend_from_slice(b"\xc6third");
        let expected = [
            (VIDEO, long.clone()),
            (VIDEO, long.clone()),
            (AUDIO, b"sound".to_vec()),
            (AUDIO, b"again".to_vec()),
            (AUDIO, b"third".to_vec()),
        ];
        for step in [1, 2, 7, 129, stream.len()] {
            assert_eq!(read(&stream, step).unwrap(), expected, "{step} bytes at a time");
        }
    }

    #[test]
    fn chunks_of_several_streams_may_alternate() {
        let mut stream = vec![4, 0, 0, 0, 0, 0, 200, VIDEO, 1, 0, 0, 0];
        stream.extend_from_slice(&[1; 128]);
        stream.extend_from_slice(&[6, 0, 0, 0, 0, 0, 2, AUDIO, 1, 0, 0, 0, 7, 7]);
        stream.push(0xc4);
        stream.extend_from_slice(&[2; 72]);
        let video = [[1; 128].as_slice(), &[2; 72]].concat();
        assert_eq!(read(&stream, 5).unwrap(), [(AUDIO, vec![7, 7]), (VIDEO, video)]);
    }

    #[test]
    fn an_extended_time_is_repeated_in_every_chunk() {
        let mut stream = vec![4, 0xff, 0xff, 0xff, 0, 0, 130, VIDEO, 1, 0, 0, 0, 1, 2, 3, 4];
        stream.extend_from_slice(&[9; 128]);
        stream.extend_from_slice(&[0xc4, 1, 2, 3, 4, 9, 9]);
        assert_eq!(read(&stream, 3).unwrap(), [(VIDEO, vec![9; 130])]);
    }

    #[test]
    fn a_stream_that_is_none_is_an_error() {
        let huge = [4, 0, 0, 0, 0xff, 0xff, 0xff, VIDEO, 1, 0, 0, 0, 0];
        let nested = [&[4, 0, 0, 0, 0, 0, 200, VIDEO, 1, 0, 0, 0][..], &[0; 128], &[4; 12]].concat();
        let zero = [2, 0, 0, 0, 0, 0, 4, SET_CHUNK_SIZE, 0, 0, 0, 0, 0, 0, 0, 0];
        let headless = [0xc5, 0];
        for (name, stream) in [
            ("no header", &headless[..]),
            ("a message in a message", &nested),
            ("chunks of nothing", &zero),
        ] {
            assert!(read(stream, stream.len()).is_err(), "{name}");
        }
        // Just below the bound.
        assert!(read(&huge, 4).unwrap().is_empty());
    }
}

//! The reading half: bounded, whatever the other side claims.
//!
//! ```text
//! | format 2 | chunk stream 6, or 0: one more byte, 1: two more |   basic header
//! | time 24 | length 24 | type 8 | message stream 32, little endian |   format 0; 1 is without the stream,
//! | time 32, where the 24 bits are all ones |                     2 only the time, 3 nothing of it
//! | up to the chunk size of payload |
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use bytes::{Buf, Bytes, BytesMut};

use super::{DEFAULT_CHUNK_SIZE, MAX_CHUNK_SIZE, MAX_PARTIAL, MAX_PARTIAL_BEFORE_LOGIN, MAX_STREAMS};
use crate::rtmp::Error;
use crate::rtmp::message::{Kind, Message, control_number};

/// A time field of all ones says that the time follows in 32 bits.
const EXTENDED: u32 = 0xff_ffff;
/// What a message that spans chunks reserves at first. Then it doubles, up to its length: it grows with what comes, not
/// with what was promised.
const RESERVE: usize = 16 << 10;

/// Puts messages together.
///
/// Set Chunk Size and Abort are carried out here and not given out. A message that fits into one chunk is a slice of
/// the input; a longer one is copied once.
#[derive(Clone, Debug)]
pub struct Reader {
    chunk_size: usize,
    streams: Vec<Stream>,
    /// The chunk whose payload is next in the input.
    current: Option<Current>,
    /// What the messages that are begun promise together; the sum of [`Stream::promised`].
    promised: usize,
    limit: usize,
    consumed: u64,
}

#[derive(Clone, Copy, Debug)]
struct Current {
    /// Index into the streams.
    stream: usize,
    /// Bytes of the chunk that have not been read.
    left: usize,
}

/// What the last chunk of a chunk stream said, for those after it that do not repeat it.
#[derive(Clone, Debug)]
struct Stream {
    id: u32,
    /// The time field as sent: absolute in format 0, else a difference. In a chunk of format 3 that begins a message
    /// it is a difference in any case (section 5.3.1.2.4).
    field: u32,
    /// Whether the field was sent in 32 bits, which chunks of format 3 should repeat.
    extended: bool,
    timestamp: u32,
    length: usize,
    kind: Kind,
    message_stream: u32,
    /// What came of a message that is begun and does not fit into one chunk.
    partial: Vec<u8>,
    /// The length of the message that is begun; 0 when there is none.
    promised: usize,
}

/// One chunk header, parsed but not applied.
#[derive(Clone, Copy, Debug)]
struct Header {
    /// Bytes it took.
    size: usize,
    format: u8,
    id: u32,
    field: u32,
    extended: bool,
    length: usize,
    kind: Kind,
    message_stream: u32,
}

impl Default for Reader {
    fn default() -> Reader {
        Reader {
            chunk_size: usize::try_from(DEFAULT_CHUNK_SIZE).unwrap_or(usize::MAX),
            streams: Vec::new(),
            current: None,
            promised: 0,
            limit: MAX_PARTIAL_BEFORE_LOGIN,
            consumed: 0,
        }
    }
}

impl Reader {
    /// A reader for a peer that nobody knows yet.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// The peer was let in: messages may be larger from now on.
    pub fn trust(&mut self) {
        self.limit = MAX_PARTIAL;
    }

    /// Bytes taken from inputs so far, for acknowledgements.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Takes the next message out of `input`; `None` when more bytes are needed. Leaves no more than a chunk in it.
    /// After an error the stream cannot be read on.
    pub fn read(&mut self, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        loop {
            let current = match self.current {
                Some(current) => current,
                None => match self.begin(input)? {
                    Some(current) => current,
                    None => return Ok(None),
                },
            };
            let Some(message) = self.payload(current, input)? else {
                if self.current.is_some() {
                    return Ok(None);
                }
                continue;
            };
            match message.kind {
                Kind::ChunkSize => self.resize(&message.payload)?,
                Kind::Abort => self.abort(&message.payload)?,
                _ => return Ok(Some(message)),
            }
        }
    }

    /// Checks what has to hold between any two calls.
    #[doc(hidden)]
    pub fn check_invariants(&self) {
        assert!(self.streams.len() <= MAX_STREAMS);
        assert!(self.promised <= self.limit);
        assert_eq!(self.promised, self.streams.iter().map(|stream| stream.promised).sum());
        assert!(
            self.streams
                .iter()
                .all(|stream| stream.partial.len() <= stream.promised)
        );
    }

    /// Reads a chunk's header and makes it the current one.
    fn begin(&mut self, input: &mut BytesMut) -> Result<Option<Current>, Error> {
        let Some((format, id, basic)) = basic_header(input) else {
            return Ok(None);
        };
        let known = self.streams.iter().position(|stream| stream.id == id);
        let previous = known.and_then(|index| self.streams.get(index));
        let Some(header) = message_header(input, (format, id, basic), previous)? else {
            return Ok(None);
        };
        let index = match known {
            Some(index) => index,
            None if self.streams.len() < MAX_STREAMS => {
                self.streams.push(Stream::new(&header));
                self.streams.len().saturating_sub(1)
            }
            None => return Err(Error::ChunkStreams),
        };
        let stream = self.streams.get_mut(index).ok_or(Error::NoHeader)?;
        if stream.promised == 0 {
            let promised = self.promised.saturating_add(header.length);
            if promised > self.limit {
                return Err(Error::MessageTooLarge);
            }
            self.promised = promised;
            stream.apply(&header);
        } else {
            stream.go_on(&header)?;
        }
        self.take(input, header.size);
        let stream = self.streams.get(index).ok_or(Error::NoHeader)?;
        let missing = stream.length.saturating_sub(stream.partial.len());
        let current = Current {
            stream: index,
            left: missing.min(self.chunk_size),
        };
        self.current = Some(current);
        Ok(Some(current))
    }

    /// Reads what there is of a chunk's payload. Gives the message that it ends.
    fn payload(&mut self, current: Current, input: &mut BytesMut) -> Result<Option<Message>, Error> {
        let stream = self.streams.get_mut(current.stream).ok_or(Error::NoHeader)?;
        let whole = stream.partial.is_empty() && current.left == stream.length;
        if whole && input.len() < current.left {
            return Ok(None);
        }
        let count = current.left.min(input.len());
        let piece = input.split_to(count);
        self.consumed = self.consumed.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
        let left = current.left.saturating_sub(count);
        self.current = (left > 0).then_some(Current { left, ..current });
        let payload = if whole {
            piece.freeze()
        } else {
            let had = stream.partial.len();
            if stream.partial.capacity() < had.saturating_add(count) {
                let missing = stream.length.saturating_sub(had);
                stream.partial.reserve_exact(missing.min(RESERVE.max(had)).max(count));
            }
            stream.partial.extend_from_slice(&piece);
            if stream.partial.len() < stream.length {
                return Ok(None);
            }
            Bytes::from(std::mem::take(&mut stream.partial))
        };
        Ok(Some(self.finish(current.stream, payload)?))
    }

    fn finish(&mut self, index: usize, payload: Bytes) -> Result<Message, Error> {
        let stream = self.streams.get_mut(index).ok_or(Error::NoHeader)?;
        self.promised = self.promised.saturating_sub(stream.promised);
        stream.promised = 0;
        Ok(Message {
            kind: stream.kind,
            timestamp: stream.timestamp,
            stream: stream.message_stream,
            payload,
        })
    }

    fn resize(&mut self, payload: &[u8]) -> Result<(), Error> {
        let size = control_number(payload)?;
        if !(1..=MAX_CHUNK_SIZE).contains(&size) {
            return Err(Error::ChunkSize);
        }
        self.chunk_size = usize::try_from(size).map_err(|_| Error::ChunkSize)?;
        Ok(())
    }

    fn abort(&mut self, payload: &[u8]) -> Result<(), Error> {
        let id = control_number(payload)?;
        if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
            self.promised = self.promised.saturating_sub(stream.promised);
            stream.promised = 0;
            stream.partial = Vec::new();
        }
        Ok(())
    }

    fn take(&mut self, input: &mut BytesMut, count: usize) {
        input.advance(count);
        self.consumed = self.consumed.saturating_add(u64::try_from(count).unwrap_or(u64::MAX));
    }
}

impl Stream {
    fn new(header: &Header) -> Stream {
        Stream {
            id: header.id,
            field: 0,
            extended: false,
            timestamp: 0,
            length: 0,
            kind: header.kind,
            message_stream: header.message_stream,
            partial: Vec::new(),
            promised: 0,
        }
    }

    /// A message begins.
    fn apply(&mut self, header: &Header) {
        self.timestamp = match header.format {
            0 => header.field,
            _ => self.timestamp.wrapping_add(header.field),
        };
        self.field = header.field;
        self.extended = header.extended;
        self.length = header.length;
        self.kind = header.kind;
        self.message_stream = header.message_stream;
        self.promised = header.length;
    }

    /// A message goes on. That is format 3; encoders that repeat the header instead must repeat it as it was.
    fn go_on(&mut self, header: &Header) -> Result<(), Error> {
        if header.length != self.length || header.kind != self.kind || header.message_stream != self.message_stream {
            return Err(Error::HeaderChanged);
        }
        self.extended = header.extended;
        self.field = header.field;
        Ok(())
    }
}

/// The format, the chunk stream and the length of a basic header (section 5.3.1.1).
fn basic_header(input: &[u8]) -> Option<(u8, u32, usize)> {
    let mut rest = input;
    let first = rest.try_get_u8().ok()?;
    let format = first >> 6;
    let id = match first & 0x3f {
        0 => u32::from(rest.try_get_u8().ok()?).wrapping_add(64),
        1 => u32::from(rest.try_get_u16_le().ok()?).wrapping_add(64),
        id => id.into(),
    };
    Some((format, id, input.len().wrapping_sub(rest.len())))
}

/// The rest of the header, filled up with what the stream said before; `None` when more bytes are needed.
fn message_header(
    input: &[u8],
    (format, id, basic): (u8, u32, usize),
    previous: Option<&Stream>,
) -> Result<Option<Header>, Error> {
    let mut rest = input.get(basic..).unwrap_or_default();
    let fields = match format {
        0 => 11,
        1 => 7,
        2 => 3,
        _ => 0,
    };
    if rest.len() < fields {
        return Ok(None);
    }
    // librtmp begins its pings with format 1, on a chunk stream that was silent before.
    if previous.is_none() && format > 1 {
        return Err(Error::NoHeader);
    }
    let u24 = |rest: &mut &[u8]| u32::try_from(rest.try_get_uint(3).unwrap_or_default()).unwrap_or_default();
    let field = (format < 3).then(|| u24(&mut rest));
    let (length, kind) = if format < 2 {
        let length = usize::try_from(u24(&mut rest)).unwrap_or(usize::MAX);
        (length, Kind::from_id(rest.try_get_u8().unwrap_or_default()))
    } else {
        previous.map_or((0, Kind::Other(0)), |previous| (previous.length, previous.kind))
    };
    let message_stream = match format {
        0 => rest.try_get_u32_le().unwrap_or_default(),
        _ => previous.map_or(0, |previous| previous.message_stream),
    };
    let (field, extended) = match (field, previous) {
        (Some(EXTENDED), _) => match rest.try_get_u32() {
            Ok(field) => (field, true),
            Err(_) => return Ok(None),
        },
        (Some(field), _) => (field, false),
        (None, Some(previous)) if previous.extended => {
            match starts_with(rest, previous.field.to_be_bytes()) {
                None => return Ok(None),
                Some(repeated) => rest.advance(if repeated { 4 } else { 0 }),
            }
            (previous.field, true)
        }
        (None, previous) => (previous.map_or(0, |previous| previous.field), false),
    };
    Ok(Some(Header {
        size: input.len().wrapping_sub(rest.len()),
        format,
        id,
        field,
        extended,
        length,
        kind,
        message_stream,
    }))
}

/// Whether a chunk of format 3 repeats the extended time, as it should and as Flash, old FFmpeg and librtmp do not.
/// `None` when too few bytes are there to tell.
fn starts_with(rest: &[u8], time: [u8; 4]) -> Option<bool> {
    let differs = rest.iter().zip(&time).any(|(byte, expected)| byte != expected);
    match differs {
        true => Some(false),
        false => (rest.len() >= time.len()).then_some(true),
    }
}

//! How tags stand in a file, and in the body of an HTTP response (section E.2 and E.3).
//!
//! ```text
//! | "FLV" | 1 | flags | header size (32) | 0 (32) |
//! | type | body size (24) | timestamp (24) | its upper 8 bits | 0 (24) | body | 11 + body size (32) | …
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{Error, Kind, Tag};

const SIGNATURE: &[u8; 3] = b"FLV";
const VERSION: u8 = 1;
/// Bytes of the header of a file; the field that says so may say more.
const HEADER: usize = 9;
/// The largest header that is passed over.
const MAX_HEADER: usize = 1024;
const HAS_AUDIO: u8 = 4;
const HAS_VIDEO: u8 = 1;
/// Bytes in front of a tag's body.
const TAG_HEADER: usize = 11;
/// Bytes of the size behind each tag.
const BACK_POINTER: usize = 4;
/// The largest body that its field can tell.
const MAX_BODY: usize = (1 << 24) - 1;
/// The bit of the type that says that the body is encrypted.
const FILTER: u8 = 0x20;

/// What a file begins with.
pub fn header(audio: bool, video: bool) -> Bytes {
    let flags = if audio { HAS_AUDIO } else { 0 } | if video { HAS_VIDEO } else { 0 };
    let mut header = BytesMut::with_capacity(HEADER + BACK_POINTER);
    header.put_slice(SIGNATURE);
    header.put_slice(&[VERSION, flags]);
    header.put_u32(HEADER as u32);
    header.put_u32(0);
    header.freeze()
}

/// Appends a tag. One whose body is larger than the field for its size can tell is left out.
pub fn put(tag: &Tag, buffer: &mut BytesMut) {
    let length = tag.payload.len();
    if length > MAX_BODY {
        return;
    }
    buffer.reserve(TAG_HEADER + length + BACK_POINTER);
    buffer.put_u8(tag.kind.number());
    buffer.put_uint(length as u64, 3);
    buffer.put_uint(u64::from(tag.timestamp & 0xff_ffff), 3);
    buffer.put_u8((tag.timestamp >> 24) as u8);
    buffer.put_uint(0, 3);
    buffer.put_slice(&tag.payload);
    buffer.put_u32((TAG_HEADER + length) as u32);
}

/// Cuts tags out of the bytes of a file, as they come.
#[derive(Debug, Default)]
pub struct Reader {
    /// The header of the file is behind us.
    started: bool,
}

impl Reader {
    /// The next tag of media, taken off the front of `buffer`; `None` when more bytes are needed. Tags of other types
    /// are passed over. Fails for good when the bytes are no FLV.
    pub fn next(&mut self, buffer: &mut BytesMut) -> Result<Option<Tag>, Error> {
        if !self.started {
            let known = buffer.len().min(SIGNATURE.len());
            if buffer[..known] != SIGNATURE[..known] {
                return Err(Error::NotFlv);
            }
            let Some(header) = buffer.first_chunk::<HEADER>() else {
                return Ok(None);
            };
            let size = u32::from_be_bytes([header[5], header[6], header[7], header[8]]) as usize;
            if header[3] != VERSION || !(HEADER..=MAX_HEADER).contains(&size) {
                return Err(Error::NotFlv);
            }
            if buffer.len() < size + BACK_POINTER {
                return Ok(None);
            }
            buffer.advance(size + BACK_POINTER);
            self.started = true;
        }
        loop {
            let Some(&[kind, a, b, c, t2, t1, t0, t3, ..]) = buffer.first_chunk::<TAG_HEADER>() else {
                return Ok(None);
            };
            if kind & FILTER != 0 {
                return Err(Error::Encrypted);
            }
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            if buffer.len() < TAG_HEADER + length + BACK_POINTER {
                return Ok(None);
            }
            buffer.advance(TAG_HEADER);
            let payload = buffer.split_to(length).freeze();
            buffer.advance(BACK_POINTER);
            if let Some(kind) = Kind::of(kind) {
                return Ok(Some(Tag {
                    kind,
                    timestamp: u32::from_be_bytes([t3, t2, t1, t0]),
                    payload,
                }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tags() -> Vec<Tag> {
        let tag = |kind, timestamp, payload: &'static [u8]| Tag {
            kind,
            timestamp,
            payload: Bytes::from_static(payload),
        };
        vec![
            tag(Kind::Script, 0, &[2, 0, 1, b'x']),
            tag(Kind::Video, 0x0102_0304, &[0x17, 0]),
            tag(Kind::Audio, u32::MAX, &[]),
        ]
    }

    fn file() -> BytesMut {
        let mut file = BytesMut::from(&*header(true, true));
        tags().iter().for_each(|tag| put(tag, &mut file));
        file
    }

    fn read(pieces: impl Iterator<Item = Bytes>) -> Result<Vec<Tag>, Error> {
        let (mut reader, mut buffer, mut tags) = (Reader::default(), BytesMut::new(), Vec::new());
        for piece in pieces {
            buffer.extend_from_slice(&piece);
            while let Some(tag) = reader.next(&mut buffer)? {
                tags.push(tag);
            }
        }
        Ok(tags)
    }

    #[test]
    fn what_is_put_is_read_however_it_is_cut() {
        let file = file().freeze();
        for size in 1..=file.len() {
            let pieces = (0..file.len()).step_by(size);
            let pieces = pieces.map(|at| file.slice(at..file.len().min(at + size)));
            assert_eq!(read(pieces).unwrap(), tags(), "pieces of {size}");
        }
        for length in 0..file.len() {
            assert!(read([file.slice(..length)].into_iter()).unwrap().len() < 3, "{length}");
        }
    }

    #[test]
    fn what_is_no_flv_is_refused_at_its_first_wrong_byte() {
        let check = |bytes: &'static [u8], error| {
            assert_eq!(read([Bytes::from_static(bytes)].into_iter()), Err(error), "{bytes:?}");
        };
        check(b"<", Error::NotFlv);
        check(b"FLX", Error::NotFlv);
        check(b"FLV\x02\x05\0\0\0\x09", Error::NotFlv);
        check(b"FLV\x01\x05\0\0\0\x08", Error::NotFlv);
        check(b"FLV\x01\x05\xff\0\0\x09", Error::NotFlv);
        check(
            b"FLV\x01\x05\0\0\0\x09\0\0\0\0\x29\0\0\0\0\0\0\0\0\0\0",
            Error::Encrypted,
        );
    }

    #[test]
    fn strange_tags_are_passed_over() {
        let mut file = BytesMut::from(&*header(true, false));
        file.put_slice(&[15, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 9, 9, 0, 0, 0, 13]);
        put(&tags()[1], &mut file);
        assert_eq!(read([file.freeze()].into_iter()).unwrap(), tags()[1..2]);
    }
}

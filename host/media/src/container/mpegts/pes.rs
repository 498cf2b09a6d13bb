//! PES packets (ISO/IEC 13818-1 section 2.4.3.6): the header with its times, and how one is put together again.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use super::packet::TIME_MASK;
use crate::{Error, read::Cursor};

/// Start code, stream id, length.
const HEAD: usize = 6;
/// Flags and the length of what is optional.
const FLAGS: usize = 3;
/// Bytes of a time.
const TIME: usize = 5;
/// The largest header that is written.
const MAX_HEADER: usize = HEAD + FLAGS + 2 * TIME;
const HAS_PTS: u8 = 0x80;
const HAS_DTS: u8 = 0x40;
/// Streams whose packets have no optional part: map, padding, private 2, ECM, EMM, DSM-CC, directory and so on.
const PLAIN: [u8; 8] = [0xbc, 0xbe, 0xbf, 0xf0, 0xf1, 0xf2, 0xf8, 0xff];

/// Presentation and decoding time, as they stand: 33 bits of 90 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    pub(super) pts: u64,
    pub(super) dts: u64,
}

/// The header of a PES packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// Bytes of it.
    pub(super) size: usize,
    /// Bytes that follow; `None` when only the next packet tells.
    pub(super) length: Option<usize>,
    pub(super) times: Option<Times>,
}

impl Header {
    /// Reads the header that `bytes` begin with; [`Error::Truncated`] means that more of them are needed.
    pub(super) fn parse(bytes: &[u8]) -> Result<Header, Error> {
        let mut cursor = Cursor::new(bytes);
        if cursor.u24()? != 1 {
            return Err(Error::Invalid("PES start code"));
        }
        if PLAIN.contains(&cursor.u8()?) {
            return Err(Error::Unsupported("PES stream"));
        }
        let declared = usize::from(cursor.u16()?);
        if cursor.u8()? & 0xc0 != 0x80 {
            return Err(Error::Invalid("PES header"));
        }
        let flags = cursor.u8()?;
        let optional = usize::from(cursor.u8()?);
        let mut fields = Cursor::new(cursor.take(optional)?);
        let size = HEAD.saturating_add(FLAGS).saturating_add(optional);
        let length = match declared {
            0 => None,
            declared => Some(
                declared
                    .checked_sub(FLAGS.saturating_add(optional))
                    .ok_or(Error::Invalid("PES length"))?,
            ),
        };
        // A time that does not fit into the header is as good as none.
        let pts = (flags & HAS_PTS != 0).then(|| read_time(&mut fields).ok()).flatten();
        let dts = (flags & HAS_DTS != 0).then(|| read_time(&mut fields).ok()).flatten();
        let times = pts.map(|pts| Times {
            pts,
            dts: dts.unwrap_or(pts),
        });
        Ok(Header { size, length, times })
    }
}

/// A header that is written: at most [`MAX_HEADER`] bytes.
#[derive(Debug)]
pub(super) struct Written {
    bytes: [u8; MAX_HEADER],
    size: usize,
}

impl Written {
    /// For a payload of `length` bytes. Only video may be longer than the length field can tell, and says 0 then.
    pub(super) fn new(stream_id: u8, times: Times, length: usize) -> Written {
        let both = times.pts != times.dts;
        let optional = if both { 2 * TIME } else { TIME };
        let size = HEAD.saturating_add(FLAGS).saturating_add(optional);
        let declared = length.saturating_add(size).saturating_sub(HEAD);
        let [high, low] = u16::try_from(declared).unwrap_or_default().to_be_bytes();
        let [_, _, _, pts @ ..] = time(if both { 3 } else { 2 }, times.pts).to_be_bytes();
        let [_, _, _, dts @ ..] = time(1, times.dts).to_be_bytes();
        let flags = if both { HAS_PTS | HAS_DTS } else { HAS_PTS };
        // "Data alignment": what follows is the beginning of an access unit.
        let head = [
            0,
            0,
            1,
            stream_id,
            high,
            low,
            0x84,
            flags,
            u8::try_from(optional).unwrap_or_default(),
        ];
        let mut bytes = [0; MAX_HEADER];
        for (to, from) in bytes.iter_mut().zip(head.into_iter().chain(pts).chain(dts)) {
            *to = from;
        }
        Written { bytes, size }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.size).unwrap_or_default()
    }
}

/// Four bits of a mark, then 33 bits in three groups with a 1 behind each.
fn time(mark: u64, time: u64) -> u64 {
    let time = time & TIME_MASK;
    mark << 36 | (time >> 30) << 33 | 1 << 32 | (time >> 15 & 0x7fff) << 17 | 1 << 16 | (time & 0x7fff) << 1 | 1
}

/// The marks and the 1s are not looked at: devices have them wrong.
fn read_time(cursor: &mut Cursor<'_>) -> Result<u64, Error> {
    let [a, b, c, d, e] = cursor.array()?;
    let bits = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
    Ok((bits >> 33 & 7) << 30 | (bits >> 17 & 0x7fff) << 15 | bits >> 1 & 0x7fff)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_as_it_was_written() {
        for pts in [0, 1, 0x7fff, 0x8000, 90_000, TIME_MASK] {
            for dts in [pts, pts / 2] {
                for length in [0, 1, 60_000, 65_535, 70_000] {
                    let written = Written::new(0xe0, Times { pts, dts }, length);
                    let bytes = written.bytes();
                    let header = Header::parse(bytes).unwrap();
                    assert_eq!(header.size, bytes.len());
                    assert_eq!(header.times, Some(Times { pts, dts }));
                    assert_eq!(header.length, Some(length).filter(|length| *length < 65_000));
                    for end in 0..bytes.len() {
                        assert_eq!(Header::parse(&bytes[..end]), Err(Error::Truncated), "{end}");
                    }
                }
            }
        }
    }

    #[test]
    fn times_stand_as_others_write_them() {
        // FFmpeg: PTS 1.48 s, DTS 1.4 s.
        let bytes = [
            0, 0, 1, 0xe0, 0, 0, 0x80, 0xc0, 10, 0x31, 0x00, 0x09, 0x10, 0xa1, 0x11, 0x00, 0x07, 0xd8, 0x61,
        ];
        let times = Times {
            pts: 133_200,
            dts: 126_000,
        };
        assert_eq!(Header::parse(&bytes).unwrap().times, Some(times));
        assert_eq!(Written::new(0xe0, times, 70_000).bytes()[9..], bytes[9..]);
    }

    #[test]
    fn forbidden_values_are_errors() {
        let check = |bytes: &[u8], error| assert_eq!(Header::parse(bytes), Err(error));
        check(&[0, 0, 2], Error::Invalid("PES start code"));
        check(&[0, 0, 1, 0xbe], Error::Unsupported("PES stream"));
        check(&[0, 0, 1, 0xe0, 0, 0, 0x40], Error::Invalid("PES header"));
        check(&[0, 0, 1, 0xe0, 0, 2, 0x80, 0, 0], Error::Invalid("PES length"));
        let none = Header::parse(&[0, 0, 1, 0xe0, 0, 5, 0x80, 0x80, 2, 0x21, 0]).unwrap();
        assert_eq!((none.times, none.length), (None, Some(0)), "a time that is cut off");
    }
}

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
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use bytes::{Bytes, BytesMut};

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

/// The largest packet that is put together: the largest NAL unit, about.
pub(super) const MAX_PES: usize = 8 * 1024 * 1024;

/// A PES packet, or what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Unit {
    pub(super) times: Option<Times>,
    pub(super) payload: Bytes,
    /// All of it is there.
    pub(super) whole: bool,
}

/// Puts the PES packets of one PID together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    buffer: BytesMut,
    /// Whether what comes belongs to `buffer`.
    open: bool,
    header: Option<Header>,
}

impl Assembler {
    /// Bytes that wait.
    pub(super) fn held(&self) -> usize {
        self.buffer.len()
    }

    /// Something was lost: gives what there is. What comes next belongs to nothing.
    pub(super) fn lose(&mut self) -> Option<Unit> {
        let open = std::mem::take(&mut self.open);
        let buffer = self.buffer.split();
        let header = self.header.take().filter(|_| open)?;
        Some(Unit {
            times: header.times,
            payload: buffer.freeze().slice(header.size..),
            whole: false,
        })
    }

    /// Nothing more comes: gives what there is.
    pub(super) fn finish(&mut self) -> Option<Unit> {
        // What has no length ends where the next one begins, or the stream.
        let whole = self.header.is_some_and(|header| header.length.is_none());
        self.lose().map(|unit| Unit { whole, ..unit })
    }

    /// Takes the payload of a packet; calls back with what is done: the packet before, this one, or both.
    pub(super) fn push(&mut self, starts: bool, payload: &[u8], mut each: impl FnMut(Unit)) {
        if starts {
            self.finish().into_iter().for_each(&mut each);
            self.open = true;
        }
        if !self.open {
            return;
        }
        self.buffer.extend_from_slice(payload);
        if self.header.is_none() {
            match Header::parse(&self.buffer) {
                Ok(header) => self.header = Some(header),
                Err(Error::Truncated) => {}
                Err(_) => return drop(self.lose()),
            }
        }
        if self.buffer.len() > MAX_PES {
            self.lose().into_iter().for_each(&mut each);
        } else if let Some(end) = self.end().filter(|end| self.buffer.len() >= *end) {
            self.buffer.truncate(end);
            let unit = self.lose().map(|unit| Unit { whole: true, ..unit });
            unit.into_iter().for_each(&mut each);
        }
    }

    /// Bytes of the packet, when it says so.
    fn end(&self) -> Option<usize> {
        let header = self.header?;
        Some(header.size.saturating_add(header.length?))
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

    fn pes(times: Times, payload: &[u8], bounded: bool) -> Vec<u8> {
        let length = if bounded { payload.len() } else { 70_000 };
        [Written::new(0xe0, times, length).bytes(), payload].concat()
    }

    #[test]
    fn packets_with_and_without_length_are_put_together_from_any_pieces() {
        let times = |n| Times { pts: n, dts: n };
        for piece in [1, 5, 14, 20, 184] {
            let (mut assembler, mut units) = (Assembler::default(), Vec::new());
            assembler.push(false, &[7; 20], |_| panic!("belongs to nothing"));
            for n in 0..6u8 {
                let bytes = pes(times(n.into()), &vec![n; 30 + usize::from(n)], n % 2 == 0);
                for (at, piece) in bytes.chunks(piece).enumerate() {
                    assembler.push(at == 0, piece, |unit| units.push(unit));
                }
                // What comes behind the length belongs to nothing.
                if n % 2 == 0 {
                    assert_eq!((assembler.held(), units.len()), (0, usize::from(n) + 1));
                    assembler.push(false, &[7; 20], |_| panic!("belongs to nothing"));
                }
            }
            units.extend(assembler.finish());
            let expected = (0..6u8).map(|n| Unit {
                times: Some(times(n.into())),
                payload: vec![n; 30 + usize::from(n)].into(),
                whole: true,
            });
            assert_eq!(units, expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_not_whole_says_so_and_what_never_ends_is_cut() {
        let times = Times { pts: 5, dts: 5 };
        let mut assembler = Assembler::default();
        assembler.push(true, &pes(times, &[1; 50], true)[..40], |_| panic!());
        let mut given = Vec::new();
        assembler.push(true, &pes(times, &[2; 50], false), |unit| given.push(unit));
        given.extend(assembler.lose());
        assert_eq!(
            given
                .iter()
                .map(|unit| (unit.payload.len(), unit.whole))
                .collect::<Vec<_>>(),
            [(26, false), (50, false)]
        );
        assert_eq!(assembler.finish(), None);

        let mut longest = 0;
        assembler.push(true, &pes(times, &[], false), |_| panic!());
        for _ in 0..MAX_PES / 184 + 10 {
            assembler.push(false, &[3; 184], |unit| longest = unit.payload.len());
            assert!(assembler.held() <= MAX_PES + 184);
        }
        assert!(longest > MAX_PES - 100 && assembler.held() == 0);
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

//! How much of a fragmented file is whole, when whoever wrote it was cut off. The file is read in ranges and never held.
//!
//! What is cut off at the end of a file cannot be brought back, so a part is given up only when it is certain that it is
//! not there, or cannot be right: its boxes end behind the file, or its samples lie outside of it.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use bytes::Bytes;

use super::{
    boxes::{Kind, find},
    recorded::{self, Header},
};
use crate::{Error, read::Cursor};

/// Bytes of a header that is looked into: `ftyp` and `moov`, the tables in it empty.
const MAX_HEADER: u64 = 1 << 20;
/// Bytes of a `moof` that is looked into.
const MAX_MOOF: u64 = 1 << 20;
/// Read at once where a box begins: a part's `moof` usually has fewer.
const STEP: usize = 4 << 10;
/// Size and kind of a box; with a size of 64 bits.
const BOX: usize = 8;
const BOX_HEADER: u64 = 16;
/// Boxes in front of `moov`, and between two parts.
const MAX_BETWEEN: usize = 64;
/// What may stand between `moov` and the parts and says nothing about them: an index, a segment's type, padding.
const BETWEEN: [Kind; 9] = [
    *b"styp", *b"sidx", *b"ssix", *b"prft", *b"emsg", *b"free", *b"skip", *b"uuid", *b"mfra",
];

/// How much of a file is whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Whole {
    /// Bytes of the longest beginning that consists of a header and of whole parts; 0 when the header is not whole. All
    /// bytes of a file that is not fragmented: it has no parts to be cut at.
    pub len: u64,
    /// The parts in it.
    pub parts: u64,
}

/// Finds out how much of a file of `size` bytes is whole. `read` answers a range of the file, an offset and a length;
/// fewer bytes than that only where the file ends.
///
/// # Errors
/// Those of `read`.
pub fn whole<E>(size: u64, mut read: impl FnMut(u64, usize) -> Result<Bytes, E>) -> Result<Whole, E> {
    let mut file = File { size, read: &mut read };
    let (header, mut len) = match file.beginning()? {
        Beginning::Torn => return Ok(Whole { len: 0, parts: 0 }),
        Beginning::Other => return Ok(Whole { len: size, parts: 0 }),
        Beginning::Header(header, len) => (header, len),
    };
    let mut parts = 0u64;
    let mut between = 0;
    while let Some((first, bytes)) = file.next(len)? {
        if first.kind == *b"moof" {
            let Some(end) = file.part(&first, bytes, header.as_ref())? else {
                break;
            };
            len = end;
            parts = parts.saturating_add(1);
            between = 0;
        } else if BETWEEN.contains(&first.kind) && between < MAX_BETWEEN {
            len = first.range.end;
            between = between.saturating_add(1);
        } else {
            break;
        }
    }
    Ok(Whole { len, parts })
}

/// What a file begins with.
enum Beginning {
    /// Nothing, or something that ends before it is whole.
    Torn,
    /// Something else than the header of a fragmented file.
    Other,
    /// A header, if it is understood, and where it ends.
    Header(Option<Header>, u64),
}

/// A box that ends within the file.
struct Found {
    kind: Kind,
    range: Range<u64>,
}

struct File<'a, R> {
    size: u64,
    read: &'a mut R,
}

impl<E, R: FnMut(u64, usize) -> Result<Bytes, E>> File<'_, R> {
    fn beginning(&mut self) -> Result<Beginning, E> {
        let mut at = 0;
        for _ in 0..MAX_BETWEEN {
            let bytes = (self.read)(at, STEP)?;
            let Some((kind, header, size)) = head(&bytes) else {
                // Bytes that were never written read as zeros.
                let is_torn = bytes.len() < BOX || bytes.iter().all(|byte| *byte == 0);
                return Ok(if is_torn { Beginning::Torn } else { Beginning::Other });
            };
            match &kind {
                b"ftyp" if at == 0 => {}
                b"free" | b"skip" | b"uuid" if at > 0 => {}
                b"moov" if size <= MAX_HEADER && at > 0 => return self.header(at, header, size, bytes),
                _ => return Ok(Beginning::Other),
            }
            at = at.saturating_add(size);
            if at > self.size {
                return Ok(Beginning::Torn);
            }
        }
        Ok(Beginning::Other)
    }

    fn header(&mut self, at: u64, header: u64, size: u64, bytes: Bytes) -> Result<Beginning, E> {
        let end = at.saturating_add(size);
        if end > self.size {
            return Ok(Beginning::Torn);
        }
        let moov = self.fill(at, bytes, size)?;
        let body = length(header).zip(length(size));
        let Some(body) = body.and_then(|(from, to)| moov.get(from..to)) else {
            return Ok(Beginning::Torn);
        };
        if find(body, *b"mvex").is_none() {
            return Ok(Beginning::Other);
        }
        let header = match Header::read(&moov) {
            Ok(header) => Some(header),
            // One that was written but for some of its bytes.
            Err(Error::Truncated) => return Ok(Beginning::Torn),
            Err(_) => None,
        };
        Ok(Beginning::Header(header, end))
    }

    /// The box at `at`, and its first bytes. None when it does not end within the file, or does not say where.
    fn next(&mut self, at: u64) -> Result<Option<(Found, Bytes)>, E> {
        let bytes = (self.read)(at, STEP)?;
        let found = head(&bytes).and_then(|(kind, _, size)| {
            let range = at..at.checked_add(size)?;
            (range.end <= self.size).then_some(Found { kind, range })
        });
        Ok(found.map(|found| (found, bytes)))
    }

    /// Where the part ends that begins with this `moof`; none when it is not whole.
    fn part(&mut self, moof: &Found, bytes: Bytes, header: Option<&Header>) -> Result<Option<u64>, E> {
        let start = moof.range.start;
        let size = moof.range.end.saturating_sub(start);
        if size > MAX_MOOF {
            let mdat = self.next(moof.range.end)?;
            let mdat = mdat.filter(|(found, _)| found.kind == *b"mdat");
            return Ok(mdat.map(|(found, _)| found.range.end));
        }
        // Most times this is all that has to be read of a part.
        let bytes = self.fill(start, bytes, size.saturating_add(BOX_HEADER))?;
        let Some((moof, rest)) = length(size).and_then(|size| bytes.split_at_checked(size)) else {
            return Ok(None);
        };
        let end = start.saturating_add(size);
        let mdat = head(rest).filter(|(kind, ..)| kind == b"mdat");
        let Some((_, before, size)) = mdat else { return Ok(None) };
        let data = end.saturating_add(before)..end.saturating_add(size);
        if data.end > self.size {
            return Ok(None);
        }
        let is_right = header.is_none_or(|header| is_right(moof, start, header, &data));
        Ok(is_right.then_some(data.end))
    }

    /// More of what begins with `bytes`.
    fn fill(&mut self, at: u64, bytes: Bytes, size: u64) -> Result<Bytes, E> {
        match length(size) {
            Some(size) if bytes.len() < size => (self.read)(at, size),
            _ => Ok(bytes),
        }
    }
}

/// Whether what a `moof` says can be: its samples lie in its own data. What is only not understood may be right.
fn is_right(moof: &[u8], at: u64, header: &Header, data: &Range<u64>) -> bool {
    let mut inside = true;
    let read = recorded::samples(moof, at, &header.tracks, |sample| {
        let end = sample.offset.saturating_add(sample.size.into());
        inside &= sample.offset >= data.start && end <= data.end;
    });
    match read {
        Ok(()) => inside,
        Err(Error::Unsupported(_) | Error::TooLarge(_)) => true,
        Err(_) => false,
    }
}

/// Kind, bytes of the header and of the whole of the box that `bytes` begin with. None when the header is not whole, or
/// when the box goes on to the end of the file: whether such a one is whole cannot be told.
fn head(bytes: &[u8]) -> Option<(Kind, u64, u64)> {
    let mut cursor = Cursor::new(bytes);
    let short = cursor.u32().ok()?;
    let kind = cursor.array().ok()?;
    let (header, size) = match short {
        1 => (BOX_HEADER, cursor.u64().ok()?),
        short => (8, short.into()),
    };
    (size >= header).then_some((kind, header, size))
}

/// A length in memory.
fn length(size: u64) -> Option<usize> {
    usize::try_from(size).ok()
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )]

    use std::convert::Infallible;

    use super::*;
    use crate::container::mp4::{self, boxes::Boxes};

    const FRAGMENTS: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac-fragments.mp4");
    const PLAIN: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac.mp4");

    fn of(file: &[u8]) -> Whole {
        let read = |at: u64, len: usize| {
            let from = file.len().min(at.try_into().unwrap());
            let to = file.len().min(from + len);
            Ok::<_, Infallible>(Bytes::copy_from_slice(&file[from..to]))
        };
        let Ok(whole) = whole(file.len() as u64, read);
        whole
    }

    /// Where the header and each part end.
    fn ends(file: &[u8]) -> Vec<u64> {
        let mut boxes = Boxes::new(file);
        let mut ends = Vec::new();
        while let Some(found) = boxes.next() {
            if matches!(&found.unwrap().kind, b"moov" | b"mdat") {
                ends.push(boxes.position() as u64);
            }
        }
        ends
    }

    fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let size = (body.len() + 8) as u32;
        [&size.to_be_bytes(), &kind[..], body].concat()
    }

    #[test]
    fn cut_at_any_byte_a_file_keeps_all_parts_that_are_there() {
        let ends = ends(FRAGMENTS);
        assert!(ends.len() > 2);
        for size in 0..=FRAGMENTS.len() {
            let whole = of(&FRAGMENTS[..size]);
            let there = ends.iter().filter(|end| **end <= size as u64).count();
            // The index that FFmpeg writes at the end is no part, and may stay.
            let last = there.checked_sub(1).map_or(0, |last| ends[last]);
            let rest = if there == ends.len() { size as u64 } else { last };
            assert!(whole.len == last || whole.len == rest, "{size}: {whole:?}");
            assert_eq!(whole.parts, there.saturating_sub(1) as u64, "{size}");
            if whole.parts > 0 {
                let kept = Bytes::copy_from_slice(&FRAGMENTS[..whole.len as usize]);
                assert_eq!(mp4::read(&kept).unwrap().missing, 0);
                assert_eq!(of(&kept), whole, "what is whole stays");
            }
        }
    }

    #[test]
    fn what_was_never_written_is_given_up() {
        let ends = ends(FRAGMENTS);
        let first = ends[1] as usize;
        let mut zeros = FRAGMENTS.to_vec();
        zeros[first..].fill(0);
        let expected = Whole { len: ends[1], parts: 1 };
        assert_eq!(of(&zeros), expected);
        // Only the beginning of a part is there, and the file already has its length.
        for kept in 1..40 {
            zeros[first + kept - 1] = FRAGMENTS[first + kept - 1];
            assert_eq!(of(&zeros), expected, "{kept}");
        }
        assert_eq!(of(&[]).len, 0);
        assert_eq!(of(&[0; 5_000]).len, 0);
    }

    #[test]
    fn a_part_whose_samples_are_elsewhere_is_none() {
        let ends = ends(FRAGMENTS);
        let mut file = FRAGMENTS[..ends[2] as usize].to_vec();
        let second = ends[1] as usize;
        let trun = second + file[second..].windows(4).position(|kind| kind == b"trun").unwrap();
        // The offset of the data stands behind version, flags and count.
        file[trun + 12..trun + 16].copy_from_slice(&0x7fff_ffffu32.to_be_bytes());
        assert_eq!(of(&file), Whole { len: ends[1], parts: 1 });
    }

    #[test]
    fn a_file_that_is_no_recording_is_left_alone() {
        for size in [9, 1_000, PLAIN.len()] {
            let file = &PLAIN[..size];
            let is_torn = size == 9;
            assert_eq!(of(file).len, if is_torn { 0 } else { size as u64 }, "{size}");
        }
        let text = b"no film at all, whatever its name says";
        assert_eq!(of(text).len, text.len() as u64);
        let many = [boxed(b"ftyp", b""), boxed(b"free", b"").repeat(1_000_000)].concat();
        assert_eq!(of(&many).len, many.len() as u64);
    }

    #[test]
    fn boxes_of_impossible_sizes_end_the_parts() {
        let header = &FRAGMENTS[..ends(FRAGMENTS)[0] as usize];
        let wide = |kind: &[u8; 4], size: u64| [b"\0\0\0\x01", &kind[..], &size.to_be_bytes()].concat();
        for tail in [
            boxed(b"moof", b""),
            b"\0\0\0\0moof".to_vec(),
            b"\0\0\0\x07moof".to_vec(),
            wide(b"moof", u64::MAX),
            wide(b"moof", 1 << 63),
            wide(b"free", u64::MAX),
            wide(b"moof", 15),
            [boxed(b"moof", b""), b"\0\0\0\0mdat".to_vec()].concat(),
            [boxed(b"moof", b""), wide(b"mdat", u64::MAX)].concat(),
            [boxed(b"moof", b"12345678"), boxed(b"mdat", b"")].concat(),
        ] {
            let file = [header, &tail, &[1; 100]].concat();
            let expected = Whole {
                len: header.len() as u64,
                parts: 0,
            };
            assert_eq!(of(&file), expected, "{:?}", tail.escape_ascii());
        }
        let between = [header, &boxed(b"free", b"1"), &boxed(b"what", b"")].concat();
        assert_eq!(of(&between).len, header.len() as u64 + 9);
    }

    #[test]
    fn errors_of_the_file_are_passed_on() {
        let mut left = 3;
        let read = |at: u64, len: usize| {
            left -= 1;
            if left == 0 {
                return Err("disk");
            }
            let from = at as usize;
            let to = FRAGMENTS.len().min(from + len);
            Ok(Bytes::copy_from_slice(&FRAGMENTS[from..to]))
        };
        assert_eq!(whole(FRAGMENTS.len() as u64, read), Err("disk"));
    }
}

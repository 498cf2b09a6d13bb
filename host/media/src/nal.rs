//! Access units of H.264 and H.265: the canonical length-prefixed form, its builder, and Annex B.
//!
//! ```text
//! +----------------+-------------+----------------+-------------+
//! | length (4, BE) | NAL unit    | length (4, BE) | NAL unit    | …
//! +----------------+-------------+----------------+-------------+
//! ```
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

use bytes::{Bytes, BytesMut};

use crate::Error;
use crate::read::Cursor;

/// The largest parameter set that is kept.
pub const MAX_PARAMETER_SET: usize = 4 * 1024;
/// The largest NAL unit.
pub const MAX_NAL: usize = 8 * 1024 * 1024;
/// The largest access unit.
pub const MAX_ACCESS_UNIT: usize = 16 * 1024 * 1024;
/// The most NAL units of one access unit.
pub const MAX_NALS: usize = 512;
/// Bytes before each NAL unit of the canonical form.
pub const LENGTH_SIZE: usize = 4;

/// The NAL units of a canonical payload, in order. Ends at the first length that does not fit.
pub fn iter(payload: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    Iter {
        cursor: Cursor::new(payload),
    }
}

/// The NAL units of a canonical payload as shares of it, in order. Ends at the first length that does not fit.
pub fn iter_shared(payload: &Bytes) -> impl Iterator<Item = Bytes> + Clone {
    iter(payload).map(|nal| payload.slice_ref(nal))
}

#[derive(Clone)]
struct Iter<'a> {
    cursor: Cursor<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let length = self.cursor.u32().ok()?;
        self.cursor.take(usize::try_from(length).ok()?).ok()
    }
}

/// Checks that a payload is canonical: lengths that add up, no empty NAL unit, within the bounds.
pub fn check(payload: &[u8]) -> Result<(), Error> {
    check_pieces(std::iter::once(payload))
}

/// [`check`] of a payload in pieces, which may end anywhere, within a length too.
pub fn check_pieces<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<(), Error> {
    let (mut total, mut count) = (0usize, 0usize);
    // Of the NAL unit at hand: bytes of its length that were read, that length, and bytes of the unit still to come.
    let (mut read, mut length, mut left) = (0usize, 0usize, 0usize);
    for piece in pieces {
        total = total.saturating_add(piece.len());
        if total > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge("access unit"));
        }
        let mut cursor = Cursor::new(piece);
        while !cursor.is_empty() {
            if left > 0 {
                let here = left.min(cursor.remaining());
                cursor.skip(here)?;
                left = left.saturating_sub(here);
                continue;
            }
            length = length << 8 | usize::from(cursor.u8()?);
            read = read.saturating_add(1);
            if read < LENGTH_SIZE {
                continue;
            }
            if length == 0 {
                return Err(Error::Invalid("empty NAL unit"));
            }
            if length > MAX_NAL {
                return Err(Error::TooLarge("NAL unit"));
            }
            (read, length, left) = (0, 0, length);
            count = count.saturating_add(1);
        }
    }
    if read > 0 || left > 0 {
        Err(Error::Truncated)
    } else if count > MAX_NALS {
        Err(Error::TooLarge("NAL units of an access unit"))
    } else {
        Ok(())
    }
}

/// Builds one canonical payload, whole NAL units or fragments of them, with one copy of each byte.
#[derive(Debug, Default)]
pub struct Builder {
    buffer: BytesMut,
    /// Where the length of the NAL unit now being put together stands.
    open: Option<usize>,
    count: usize,
}

impl Builder {
    /// An empty access unit.
    pub fn new() -> Self {
        Builder::default()
    }

    /// Whether it holds no byte.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes so far, lengths included.
    pub fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Appends a whole NAL unit.
    pub fn push(&mut self, nal: &[u8]) -> Result<(), Error> {
        self.begin()?;
        self.extend(nal)?;
        self.finish();
        Ok(())
    }

    /// Starts a NAL unit that comes in fragments.
    pub fn begin(&mut self) -> Result<(), Error> {
        if self.count >= MAX_NALS {
            return Err(Error::TooLarge("NAL units of an access unit"));
        }
        self.count = self.count.saturating_add(1);
        self.open = Some(self.buffer.len());
        self.buffer.extend_from_slice(&[0; LENGTH_SIZE]);
        Ok(())
    }

    /// Appends bytes to the NAL unit begun last.
    pub fn extend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let length = self.open_len().saturating_add(bytes.len());
        if length > MAX_NAL {
            return Err(Error::TooLarge("NAL unit"));
        }
        if self.buffer.len().saturating_add(bytes.len()) > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge("access unit"));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// Ends the NAL unit begun last and gives its bytes to look at.
    pub fn finish(&mut self) -> &[u8] {
        let length = self.open_len();
        let Some(at) = self.open.take() else { return &[] };
        let start = at.saturating_add(LENGTH_SIZE);
        if let (Some(room), Ok(length)) = (self.buffer.get_mut(at..start), u32::try_from(length)) {
            room.copy_from_slice(&length.to_be_bytes());
        }
        self.buffer.get(start..).unwrap_or_default()
    }

    /// Whether a NAL unit is begun and not finished.
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Takes the last `length` payload bytes and their length field back out: a NAL unit that turned out not to belong
    /// into the payload.
    pub fn remove_last(&mut self, length: usize) {
        let keep = self.buffer.len().saturating_sub(length.saturating_add(LENGTH_SIZE));
        self.buffer.truncate(keep);
        self.count = self.count.saturating_sub(1);
        self.open = None;
    }

    /// The payload; the builder is empty afterwards. A NAL unit begun and not finished is left out.
    pub fn take(&mut self) -> Bytes {
        if let Some(at) = self.open.take() {
            self.buffer.truncate(at);
        }
        self.count = 0;
        self.buffer.split().freeze()
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.buffer.clear();
        self.open = None;
        self.count = 0;
    }

    fn open_len(&self) -> usize {
        self.open
            .map_or(0, |at| self.buffer.len().saturating_sub(at).saturating_sub(LENGTH_SIZE))
    }
}

/// The canonical form of NAL units.
pub fn from_nals<'a>(nals: impl IntoIterator<Item = &'a [u8]>) -> Result<Bytes, Error> {
    let mut builder = Builder::new();
    for nal in nals {
        builder.push(nal)?;
    }
    Ok(builder.take())
}

/// The NAL units of an Annex B byte stream (start codes `00 00 01` or `00 00 00 01`), empty ones left out.
pub fn split_annex_b(stream: &[u8]) -> Vec<&[u8]> {
    iter_annex_b(stream).collect()
}

/// [`split_annex_b`], one after the other: however many a stream claims to have, they take no memory.
pub fn iter_annex_b(stream: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = behind_start_code(stream);
    std::iter::from_fn(move || {
        loop {
            let stream = rest?;
            let (nal, next) = match start_code(stream) {
                Some(at) => {
                    let (nal, next) = stream.split_at_checked(at)?;
                    (nal, behind_start_code(next))
                }
                None => (stream, None),
            };
            rest = next;
            // trailing_zero_8bits belong to the byte stream, not to the NAL unit (ITU-T H.264 section B.1).
            let end = nal.iter().rposition(|byte| *byte != 0);
            if let Some(nal) = end.and_then(|last| nal.get(..=last)) {
                return Some(nal);
            }
        }
    })
}

fn behind_start_code(stream: &[u8]) -> Option<&[u8]> {
    stream.get(start_code(stream)?.saturating_add(3)..)
}

/// Where the next `00 00 01` stands.
fn start_code(stream: &[u8]) -> Option<usize> {
    // The last byte of the three is looked at: most bytes are larger than 1 and rule out three places at once.
    let mut at = 2usize;
    loop {
        at = match stream.get(at.saturating_sub(2)..)? {
            [_, _, 0, ..] => at.saturating_add(1),
            [0, 0, 1, ..] => return at.checked_sub(2),
            [_, _, _, ..] => at.saturating_add(3),
            _ => return None,
        };
    }
}

/// A canonical payload as an Annex B byte stream with 4-byte start codes.
pub fn to_annex_b(payload: &[u8]) -> Vec<u8> {
    // A start code is as long as a length, so the size is the same.
    let mut stream = Vec::with_capacity(payload.len());
    for nal in iter(payload) {
        stream.extend_from_slice(&[0, 0, 0, 1]);
        stream.extend_from_slice(nal);
    }
    stream
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn annex_b_and_the_canonical_form_convert_both_ways() {
        let nals: [&[u8]; 3] = [&[0x67, 1, 2], &[0x68, 0, 0, 3, 1], &[0x65, 9]];
        let payload = from_nals(nals).unwrap();
        check(&payload).unwrap();
        assert_eq!(iter(&payload).collect::<Vec<_>>(), nals);
        let stream = to_annex_b(&payload);
        assert_eq!(split_annex_b(&stream), nals);
        assert_eq!(
            split_annex_b(&[&[0, 0, 1, 7, 8, 0, 0, 0, 1, 9][..], &[0, 0]].concat()),
            [&[7u8, 8][..], &[9]]
        );
    }

    #[test]
    fn fragments_become_one_nal_unit() {
        let mut builder = Builder::new();
        builder.push(&[1, 2]).unwrap();
        builder.begin().unwrap();
        builder.extend(&[3]).unwrap();
        builder.extend(&[4, 5]).unwrap();
        assert_eq!(builder.finish(), [3, 4, 5]);
        builder.begin().unwrap();
        builder.extend(&[6]).unwrap();
        assert_eq!(
            builder.take()[..],
            [0, 0, 0, 2, 1, 2, 0, 0, 0, 3, 3, 4, 5],
            "an unfinished NAL unit is left out"
        );
        assert!(builder.is_empty());
    }

    #[test]
    fn the_bounds_hold() {
        let mut builder = Builder::new();
        for _ in 0..MAX_NALS {
            builder.push(&[1]).unwrap();
        }
        assert!(builder.push(&[1]).is_err());
        let mut builder = Builder::new();
        builder.begin().unwrap();
        builder.extend(&vec![0; MAX_NAL]).unwrap();
        assert!(builder.extend(&[0]).is_err());
        builder.finish();
        assert!(
            builder.push(&vec![0; MAX_NAL]).is_err(),
            "the access unit is bounded as a whole"
        );
    }

    #[test]
    fn a_payload_with_wrong_lengths_is_found_and_iterated_without_panic() {
        let payload = from_nals([&[1u8, 2, 3][..], &[4]]).unwrap();
        for cut in 1..payload.len() {
            let cut_payload = &payload[..cut];
            assert_eq!(check(cut_payload).is_ok(), cut == 7, "cut at {cut}");
            assert!(iter(cut_payload).count() <= 1);
        }
        assert!(check(&[0, 0, 0, 0]).is_err());
        assert!(check(&[0xff; 8]).is_err());
    }
}

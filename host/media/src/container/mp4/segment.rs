//! `mtxi`: which segment of a recording a file is, so that segments can be joined again. The box is MediaMTX's, in
//! `moov/udta`, and is written and read as it does.
//!
//! ```text
//! +------------------+------------------+--------+-----------------+------------------+
//! | version, flags 0 | stream id (16)   | number | decoding time   | wall clock, ns   |
//! |                  |                  | (8)    | of start, ns (8)| since 1970 (8)   |
//! +------------------+------------------+--------+-----------------+------------------+
//! ```
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{BufMut, BytesMut};

use super::boxes::{Kind, find, full, put_full};
use crate::{Error, read::Cursor};

/// The box in `udta`.
const MTXI: Kind = *b"mtxi";

/// Which segment of a recording a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Names the recording: all files of one have the same, no two recordings share one.
    pub stream: [u8; 16],
    /// Counts the files of the recording.
    pub number: u64,
    /// When decoding of the file begins, in nanoseconds on a clock that all files of the recording share.
    pub dts: i64,
    /// The wall clock then, in nanoseconds since 1970-01-01 00:00 UTC.
    pub wall: i64,
}

impl Segment {
    /// Whether `next` goes on where this one ends.
    pub fn is_before(&self, next: &Segment) -> bool {
        self.stream == next.stream && self.number.checked_add(1) == Some(next.number)
    }

    /// Reads it from the body of `udta`; none when there is none.
    pub(super) fn read(udta: &[u8]) -> Result<Option<Segment>, Error> {
        let Some(body) = find(udta, MTXI) else { return Ok(None) };
        let (_, _, mut cursor) = full(body)?;
        let signed = |cursor: &mut Cursor<'_>| cursor.u64().map(u64::cast_signed);
        Ok(Some(Segment {
            stream: cursor.array()?,
            number: cursor.u64()?,
            dts: signed(&mut cursor)?,
            wall: signed(&mut cursor)?,
        }))
    }

    /// Appends the box.
    pub(super) fn put(&self, udta: &mut BytesMut) {
        put_full(udta, MTXI, 0, 0, |body| {
            body.put_slice(&self.stream);
            body.put_u64(self.number);
            body.put_i64(self.dts);
            body.put_i64(self.wall);
        });
    }
}

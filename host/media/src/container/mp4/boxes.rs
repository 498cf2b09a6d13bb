//! Boxes: a length, four letters, and what is inside.
//!
//! ```text
//! +-----------+-----------+------------------------+----------------------+
//! | size (4)  | kind (4)  | size (8), if size is 1 | body, more boxes or  |
//! |           |           |                        | fields               |
//! +-----------+-----------+------------------------+----------------------+
//! ```
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::unwrap_used))]

use bytes::{BufMut, BytesMut};

use crate::{Error, read::Cursor};

/// The four letters of a box.
pub(super) type Kind = [u8; 4];

/// A box that was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    pub(super) kind: Kind,
    /// What is inside, as far as it is there.
    pub(super) body: &'a [u8],
    /// The bytes end before the box does; it is the last then.
    pub(super) cut: bool,
}

/// Walks the boxes that stand one behind the other.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boxes<'a> {
    all: usize,
    cursor: Cursor<'a>,
}

impl<'a> Boxes<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Boxes<'a> {
        Boxes {
            all: bytes.len(),
            cursor: Cursor::new(bytes),
        }
    }

    /// Where the next box begins.
    pub(super) fn position(&self) -> usize {
        self.all.saturating_sub(self.cursor.remaining())
    }

    fn read(&mut self) -> Result<Found<'a>, Error> {
        let size = self.cursor.u32()?;
        let kind = self.cursor.array()?;
        let left = match size {
            // To the end of the file.
            0 => u64::try_from(self.cursor.remaining()).map_err(|_| Error::Truncated)?,
            1 => self.cursor.u64()?.checked_sub(16).ok_or(Error::Invalid("box size"))?,
            size => u64::from(size).checked_sub(8).ok_or(Error::Invalid("box size"))?,
        };
        let there = self.cursor.remaining();
        let size = usize::try_from(left).unwrap_or(usize::MAX);
        Ok(Found {
            kind,
            body: self.cursor.take(size.min(there))?,
            cut: size > there,
        })
    }
}

impl<'a> Iterator for Boxes<'a> {
    type Item = Result<Found<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        // Fewer bytes than a header are padding.
        if self.cursor.remaining() < 8 {
            return None;
        }
        let read = self.read();
        if read.is_err() {
            self.cursor = Cursor::new(&[]);
        }
        Some(read)
    }
}

/// The body of the first box of a kind among `bytes`, if there is one.
pub(super) fn find(bytes: &[u8], kind: Kind) -> Option<&[u8]> {
    let mut boxes = Boxes::new(bytes).filter_map(Result::ok);
    boxes.find(|found| found.kind == kind).map(|found| found.body)
}

/// The body of the box at the end of a way of kinds.
pub(super) fn find_deep<'a>(bytes: &'a [u8], way: &[Kind]) -> Option<&'a [u8]> {
    way.iter().try_fold(bytes, |bytes, &kind| find(bytes, kind))
}

/// Version and flags, which begin a "full" box, and the rest.
pub(super) fn full(body: &[u8]) -> Result<(u8, u32, Cursor<'_>), Error> {
    let mut cursor = Cursor::new(body);
    let version = cursor.u8()?;
    let flags = cursor.u24()?;
    Ok((version, flags, cursor))
}

/// Four letters as people read them.
pub(super) fn shown(kind: Kind) -> String {
    kind.escape_ascii().to_string()
}

/// Appends a box and what `fill` puts into it.
pub(super) fn put_box(buffer: &mut BytesMut, kind: Kind, fill: impl FnOnce(&mut BytesMut)) {
    let start = buffer.len();
    buffer.put_u32(0);
    buffer.put_slice(&kind);
    fill(buffer);
    let size = buffer.len().saturating_sub(start);
    patch(buffer, start, u32::try_from(size).unwrap_or_default());
}

/// Appends a box that begins with version and flags.
pub(super) fn put_full(buffer: &mut BytesMut, kind: Kind, version: u8, flags: u32, fill: impl FnOnce(&mut BytesMut)) {
    put_box(buffer, kind, |buffer| {
        buffer.put_u32(u32::from(version) << 24 | flags & 0x00ff_ffff);
        fill(buffer);
    });
}

/// Writes over four bytes that are there already.
pub(super) fn patch(buffer: &mut BytesMut, at: usize, value: u32) {
    if let Some(room) = buffer.get_mut(at..at.saturating_add(4)) {
        room.copy_from_slice(&value.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(bytes: &[u8]) -> Vec<(Kind, usize, bool)> {
        let boxes = Boxes::new(bytes).map_while(Result::ok);
        boxes.map(|found| (found.kind, found.body.len(), found.cut)).collect()
    }

    #[test]
    fn boxes_of_all_sizes_are_walked() {
        let mut bytes = b"\0\0\0\x0aaaaa12\0\0\0\x01bbbb\0\0\0\0\0\0\0\x123".to_vec();
        bytes.extend(b"4\0\0\0\0ccccrest");
        assert_eq!(
            found(&bytes),
            [(*b"aaaa", 2, false), (*b"bbbb", 2, false), (*b"cccc", 4, false)]
        );
        assert_eq!(find(&bytes, *b"cccc"), Some(&b"rest"[..]));
        assert_eq!(find(&bytes, *b"dddd"), None);
    }

    #[test]
    fn a_box_that_is_cut_is_the_last_and_an_impossible_size_ends_the_walk() {
        assert_eq!(found(b"\0\0\0\x10aaaa12"), [(*b"aaaa", 2, true)]);
        assert_eq!(found(b"\0\0\0\x07aaaa12345678"), []);
        assert_eq!(found(b"\0\0\0\x01aaaa\0\0\0\0\0\0\0\x0f1234"), []);
        assert_eq!(
            found(b"\0\0\0\x01aaaa\xff\xff\xff\xff\xff\xff\xff\xff12"),
            [(*b"aaaa", 2, true)]
        );
        assert_eq!(found(b"\0\0\0"), []);
    }
}

//! What the index of a path keeps on the disk: one record for each thing that changed.
//!
//! ```text
//! length of the rest (4) | check sum (8) | kind (1) | fields, little endian; a text is its length (2) and its bytes
//! ```
//!
//! A record is read back whole or not at all; the first one that is not ends the file.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation
)]

use std::sync::Arc;

use bytes::{Buf, BufMut, TryGetError};
use wasmtx_media::recording::Format;

use super::{
    index::Entry,
    segment::{Join, Segment},
};
use crate::storage::Stamp;

/// Bytes of a record: names have 1,024.
const MAX_RECORD: usize = 2_048;

const HEAD: u8 = 0;
const PUT: u8 = 1;
const GONE: u8 = 2;
const FOLDER: u8 = 3;

const KNOWN: u8 = 1;
const FINISHED: u8 = 2;
const JOINED: u8 = 4;
const BORN: u8 = 8;
const TRANSPORT_STREAM: u8 = 16;

/// Something that changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    /// Whose file this is; the first one.
    Head(String),
    /// A file is there, or is known better than before.
    Put(Entry),
    /// A file is gone.
    Gone {
        /// When it began.
        start: u64,
        /// Its name.
        file: String,
    },
    /// A folder was looked through.
    Folder {
        /// Its name.
        name: String,
        /// As it was then.
        stamp: Option<Stamp>,
    },
}

impl Record {
    pub(super) fn put(&self, into: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(160);
        match self {
            Record::Head(text) => {
                body.put_u8(HEAD);
                put_text(&mut body, text);
            }
            Record::Put(entry) => put_entry(&mut body, entry),
            Record::Gone { start, file } => {
                body.put_u8(GONE);
                body.put_u64_le(*start);
                put_text(&mut body, file);
            }
            Record::Folder { name, stamp } => {
                body.put_u8(FOLDER);
                // No stamp is 0: nothing changed in 1970.
                body.put_u128_le(stamp.map_or(0, Into::into));
                put_text(&mut body, name);
            }
        }
        into.put_u32_le(u32::try_from(body.len()).unwrap_or(u32::MAX));
        into.put_u64_le(sum(&body));
        into.put_slice(&body);
    }

    /// The next record of a file; `None` at its end, and at what is no record.
    pub(super) fn next(file: &mut &[u8]) -> Option<Record> {
        let mut rest = *file;
        let length = usize::try_from(rest.try_get_u32_le().ok()?).ok()?;
        let expected = rest.try_get_u64_le().ok()?;
        if length > MAX_RECORD {
            return None;
        }
        let (mut body, rest) = rest.split_at_checked(length)?;
        if sum(body) != expected {
            return None;
        }
        let record = read(&mut body).ok().flatten()?;
        *file = rest;
        Some(record)
    }
}

fn put_entry(body: &mut Vec<u8>, entry: &Entry) {
    let segment = &entry.segment;
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    body.put_u8(PUT);
    body.put_u8(
        flag(segment.known, KNOWN)
            | flag(entry.finished, FINISHED)
            | flag(segment.join.is_some(), JOINED)
            | flag(entry.born.is_some(), BORN)
            | flag(segment.format == Format::MpegTs, TRANSPORT_STREAM),
    );
    for number in [
        segment.start,
        segment.duration,
        segment.size,
        segment.tracks,
        entry.modified,
    ] {
        body.put_u64_le(number);
    }
    if let Some(born) = entry.born {
        body.put_u64_le(born);
    }
    if let Some(join) = segment.join {
        body.put_slice(&join.stream);
        body.put_u64_le(join.number);
        body.put_i64_le(join.dts);
    }
    put_text(body, &segment.file);
}

fn read(body: &mut &[u8]) -> Result<Option<Record>, TryGetError> {
    Ok(match body.try_get_u8()? {
        HEAD => text(body)?.map(Record::Head),
        PUT => entry(body)?.map(Record::Put),
        GONE => {
            let start = body.try_get_u64_le()?;
            text(body)?.map(|file| Record::Gone { start, file })
        }
        FOLDER => {
            let stamp = Some(body.try_get_u128_le()?)
                .filter(|stamp| *stamp > 0)
                .map(Stamp::from);
            text(body)?.map(|name| Record::Folder { name, stamp })
        }
        _ => None,
    })
}

fn entry(body: &mut &[u8]) -> Result<Option<Entry>, TryGetError> {
    let flags = body.try_get_u8()?;
    let mut segment = Segment {
        start: body.try_get_u64_le()?,
        duration: body.try_get_u64_le()?,
        size: body.try_get_u64_le()?,
        tracks: body.try_get_u64_le()?,
        file: Arc::default(),
        format: if flags & TRANSPORT_STREAM == 0 {
            Format::Fmp4
        } else {
            Format::MpegTs
        },
        active: false,
        known: flags & KNOWN != 0,
        join: None,
    };
    let modified = body.try_get_u64_le()?;
    let born = if flags & BORN == 0 {
        None
    } else {
        Some(body.try_get_u64_le()?)
    };
    if flags & JOINED != 0 {
        let mut stream = [0; 16];
        body.try_copy_to_slice(&mut stream)?;
        segment.join = Some(Join {
            stream,
            number: body.try_get_u64_le()?,
            dts: body.try_get_i64_le()?,
        });
    }
    let Some(file) = text(body)? else { return Ok(None) };
    segment.file = file.into();
    Ok(Some(Entry {
        segment,
        modified,
        born,
        finished: flags & FINISHED != 0,
    }))
}

fn put_text(body: &mut Vec<u8>, text: &str) {
    body.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    body.put_slice(text.as_bytes());
}

/// The rest of the record, which is a text.
fn text(body: &mut &[u8]) -> Result<Option<String>, TryGetError> {
    let length = body.try_get_u16_le()?;
    let text = std::str::from_utf8(body).ok();
    Ok(text.filter(|text| text.len() == usize::from(length)).map(str::to_owned))
}

/// FNV-1a: whether the disk gave back what it was given, no more.
fn sum(bytes: &[u8]) -> u64 {
    let mix = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, reason = "a test fails by it")]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let segment = Segment {
            start: 1,
            duration: 2,
            size: 3,
            file: "cam/ü 1.mp4".into(),
            format: Format::Fmp4,
            active: false,
            known: true,
            join: Some(Join {
                stream: [7; 16],
                number: 4,
                dts: -5,
            }),
            tracks: 6,
        };
        let plain = Segment {
            format: Format::MpegTs,
            known: false,
            join: None,
            ..segment.clone()
        };
        let entry = |segment, born, finished| {
            Record::Put(Entry {
                segment,
                modified: 9,
                born,
                finished,
            })
        };
        vec![
            Record::Head("cam\n./recordings".to_owned()),
            entry(segment, Some(8), true),
            entry(plain, None, false),
            Record::Gone {
                start: u64::MAX,
                file: "x".to_owned(),
            },
            Record::Folder {
                name: String::new(),
                stamp: Some(Stamp::from(77)),
            },
            Record::Folder {
                name: "cam".to_owned(),
                stamp: None,
            },
        ]
    }

    fn read_all(mut file: &[u8]) -> Vec<Record> {
        std::iter::from_fn(|| Record::next(&mut file)).collect()
    }

    #[test]
    fn records_come_back_as_they_were() {
        let mut file = Vec::new();
        records().iter().for_each(|record| record.put(&mut file));
        assert_eq!(read_all(&file), records());
    }

    #[test]
    fn a_file_that_was_cut_or_changed_ends_before_the_damage() {
        let mut file = Vec::new();
        let mut ends = vec![0];
        for record in records() {
            record.put(&mut file);
            ends.push(file.len());
        }
        for cut in 0..file.len() {
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(read_all(&file[..cut]), records()[..whole], "{cut}");
            let mut changed = file.clone();
            changed[cut] ^= 0x20;
            assert_eq!(read_all(&changed), records()[..whole], "{cut}");
        }
    }
}

//! A track of a file: its `trak`, and the samples found for it so far.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    MAX_EMPTY_SAMPLES, MAX_MISSING_SAMPLES, MAX_TIME,
    boxes::{find, find_deep, full, shown},
    entry, table,
};
use crate::{Error, Kind, container::sample::Description, read::Cursor};

/// Where a sample is, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) offset: usize,
    pub(super) size: usize,
    pub(super) dts: i64,
    /// What presentation is later than decoding.
    pub(super) later: i64,
    pub(super) duration: u32,
}

/// A track while the file is read.
#[derive(Debug)]
pub(super) struct Track {
    pub(super) id: u32,
    pub(super) kind: Kind,
    pub(super) entry: Description,
    pub(super) clock_rate: u32,
    /// Added to every time of the file: what its edit list says.
    pub(super) shift: i64,
    pub(super) samples: Vec<Sample>,
    /// Where the next fragment goes on when it does not say.
    pub(super) next_dts: i64,
    pub(super) defaults: Defaults,
}

/// What fragments do not repeat (`trex`).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub(super) entry: u32,
    pub(super) duration: u32,
    pub(super) size: u32,
}

/// What samples there may be: each byte of the file is in one sample at most.
#[derive(Debug)]
pub(super) struct Budget {
    file: usize,
    bytes: usize,
    empty: usize,
    /// Samples that are listed but lie outside of the file.
    pub(super) missing: usize,
}

impl Budget {
    pub(super) fn of(file: &[u8]) -> Budget {
        Budget {
            file: file.len(),
            bytes: file.len(),
            empty: MAX_EMPTY_SAMPLES,
            missing: 0,
        }
    }

    /// Takes the room of one sample. Answers whether there is something to read.
    pub(super) fn take(&mut self, offset: usize, size: usize) -> Result<bool, Error> {
        if size == 0 {
            self.empty = self
                .empty
                .checked_sub(1)
                .ok_or(Error::TooLarge("samples without bytes"))?;
            return Ok(false);
        }
        if offset.checked_add(size).is_none_or(|end| end > self.file) {
            self.missing = self.missing.saturating_add(1);
            if self.missing > MAX_MISSING_SAMPLES {
                return Err(Error::TooLarge("samples outside of the file"));
            }
            return Ok(false);
        }
        self.bytes = self
            .bytes
            .checked_sub(size)
            .ok_or(Error::Invalid("samples that overlap"))?;
        Ok(true)
    }
}

/// What became of a `trak`.
pub(super) enum Found {
    Track(Track),
    /// It holds what wasmtx does not carry, by its four letters.
    Other(String),
}

/// Reads a `trak` and the samples that its tables list. `movie_rate` is the clock of the file itself.
pub(super) fn read(trak: &[u8], movie_rate: u32, budget: &mut Budget) -> Result<Found, Error> {
    let missing = Error::Invalid("track without its boxes");
    let media = find(trak, *b"mdia").ok_or(missing)?;
    let kind = entry::media(find(media, *b"hdlr").ok_or(missing)?)?;
    let tables = find_deep(media, &[*b"minf", *b"stbl"]).ok_or(missing)?;
    let mut entries = entry::entries(find(tables, *b"stsd").ok_or(missing)?)?;
    let Some(first) = entries.next().transpose()? else {
        return Err(Error::Invalid("track without sample entry"));
    };
    let entry = match entry::read(&first) {
        Ok(entry) => entry,
        Err(Error::Unsupported(_)) => return Ok(Found::Other(shown(first.kind))),
        Err(error) => return Err(error),
    };
    let clock_rate = clock_rate(find(media, *b"mdhd").ok_or(missing)?)?;
    let edits = find_deep(trak, &[*b"edts", *b"elst"]);
    let shift = edits.map_or(Ok(0), |edits| shift(edits, clock_rate, movie_rate))?;
    let mut samples = Vec::new();
    let next_dts = table::read(tables, budget, &mut samples)?;
    Ok(Found::Track(Track {
        id: id(find(trak, *b"tkhd").ok_or(missing)?)?,
        kind,
        entry,
        clock_rate,
        shift,
        samples,
        next_dts,
        defaults: Defaults::default(),
    }))
}

/// `tkhd`, `mdhd` and `mvhd` begin alike: two times of 32 bits, or of 64 in version 1.
fn after_times(body: &[u8]) -> Result<Cursor<'_>, Error> {
    let (version, _, mut cursor) = full(body)?;
    cursor.skip(if version == 1 { 16 } else { 8 })?;
    Ok(cursor)
}

fn id(tkhd: &[u8]) -> Result<u32, Error> {
    after_times(tkhd)?.u32()
}

/// Ticks per second, of `mdhd` or `mvhd`.
pub(super) fn clock_rate(header: &[u8]) -> Result<u32, Error> {
    match after_times(header)?.u32()? {
        0 => Err(Error::Invalid("clock rate")),
        rate => Ok(rate),
    }
}

/// What the edit list adds to every time: the pauses it begins with, less the media that it leaves out at the start.
/// Later edits are not followed: all of the media is shown once, in order.
pub(super) fn shift(elst: &[u8], clock_rate: u32, movie_rate: u32) -> Result<i64, Error> {
    let (version, _, mut cursor) = full(elst)?;
    let count = cursor.u32()?;
    let mut pause = 0i128;
    for _ in 0..count {
        let (duration, start) = if version == 1 {
            (i128::from(cursor.u64()?), i128::from(cursor.u64()?.cast_signed()))
        } else {
            (i128::from(cursor.u32()?), i128::from(cursor.u32()?.cast_signed()))
        };
        cursor.skip(4)?;
        if start >= 0 {
            let shift = pause.saturating_sub(start);
            return time(i64::try_from(shift).unwrap_or(i64::MAX));
        }
        let ticks = duration
            .saturating_mul(clock_rate.into())
            .checked_div(movie_rate.into());
        pause = pause.saturating_add(ticks.unwrap_or_default());
    }
    Ok(0)
}

/// A time that can be added to others.
pub(super) fn time(ticks: i64) -> Result<i64, Error> {
    if (-MAX_TIME..=MAX_TIME).contains(&ticks) {
        Ok(ticks)
    } else {
        Err(Error::Invalid("time"))
    }
}

/// `mvex`: what the fragments of a track do not repeat.
pub(super) fn defaults(trex: &[u8]) -> Result<(u32, Defaults), Error> {
    let (_, _, mut cursor) = full(trex)?;
    let id = cursor.u32()?;
    let (entry, duration, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
    Ok((id, Defaults { entry, duration, size }))
}

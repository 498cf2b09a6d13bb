//! One `moof`: the samples that it adds to the tracks (ISO/IEC 14496-12 section 8.8).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::{
    boxes::{Boxes, full},
    track::time,
};
use crate::{Error, read::Cursor};

/// A sample that decoding may not start at has this bit (`sample_is_non_sync_sample`).
const NON_SYNC: u32 = 0x0001_0000;

/// What the fragments of a track do not repeat (`trex`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) entry: u32,
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

impl Defaults {
    /// Reads a `trex`; answers the number of its track, too.
    pub(super) fn read(trex: &[u8]) -> Result<(u32, Defaults), Error> {
        let (_, _, mut cursor) = full(trex)?;
        let id = cursor.u32()?;
        let (entry, duration, size) = (cursor.u32()?, cursor.u32()?, cursor.u32()?);
        let flags = cursor.u32()?;
        let defaults = Defaults {
            entry,
            duration,
            size,
            flags,
        };
        Ok((id, defaults))
    }
}

/// A sample of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The place of its track in the header.
    pub track: usize,
    /// Which run of the part it stands in, from 1 on.
    pub run: u32,
    /// Ticks since the beginning of the file, its edit list applied.
    pub dts: i64,
    /// Ticks from decoding to presentation.
    pub later: i32,
    /// Ticks.
    pub duration: u32,
    /// Bytes.
    pub size: u32,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// As the file has them.
    pub flags: u32,
}

impl Sample {
    /// Whether decoding may start here.
    pub fn is_sync(&self) -> bool {
        self.flags & NON_SYNC == 0
    }
}

/// What a part is read with.
pub(super) trait Known {
    /// The place of the track with this number, and what its fragments do not repeat. None when its samples are to be left
    /// out.
    fn track(&self, id: u32) -> Result<Option<(usize, Defaults)>, Error>;

    /// Where the track at this place goes on when the part does not say.
    fn goes_on(&self, track: usize) -> Result<i64, Error>;

    /// Takes the next sample. Its times are those of the file.
    fn push(&mut self, sample: &Sample) -> Result<(), Error>;

    /// The track at this place goes on there.
    fn ends(&mut self, track: usize, dts: i64);
}

/// Reads the body of a `moof` that begins at `start` in the file.
pub(super) fn read(moof: &[u8], start: u64, known: &mut impl Known) -> Result<(), Error> {
    let mut reading = Reading {
        start,
        end: start,
        run: 0,
        known,
    };
    for found in Boxes::new(moof) {
        let found = found?;
        if found.cut {
            return Err(Error::Truncated);
        }
        if found.kind == *b"traf" {
            reading.track(found.body)?;
        }
    }
    Ok(())
}

/// `tfhd`: what all runs of a track fragment share.
pub(super) struct Head {
    pub(super) id: u32,
    /// Where in the file offsets count from, when it says so.
    pub(super) base: Option<u64>,
    from_moof: bool,
    entry: Option<u32>,
    duration: Option<u32>,
    size: Option<u32>,
    flags: Option<u32>,
}

impl Head {
    pub(super) fn read(body: &[u8]) -> Result<Head, Error> {
        let (_, flags, mut cursor) = full(body)?;
        let id = cursor.u32()?;
        let base = if flags & 1 != 0 { Some(cursor.u64()?) } else { None };
        let mut field = |flag: u32| -> Result<Option<u32>, Error> {
            if flags & flag == 0 {
                return Ok(None);
            }
            cursor.u32().map(Some)
        };
        Ok(Head {
            id,
            base,
            from_moof: flags & 0x02_0000 != 0,
            entry: field(2)?,
            duration: field(8)?,
            size: field(0x10)?,
            flags: field(0x20)?,
        })
    }

    fn over(&self, defaults: Defaults) -> Defaults {
        Defaults {
            entry: self.entry.unwrap_or(defaults.entry),
            duration: self.duration.unwrap_or(defaults.duration),
            size: self.size.unwrap_or(defaults.size),
            flags: self.flags.unwrap_or(defaults.flags),
        }
    }
}

/// `tfdt`.
pub(super) fn decode_time(body: &[u8]) -> Result<i64, Error> {
    let (version, _, mut cursor) = full(body)?;
    let ticks = if version == 1 {
        cursor.u64()?
    } else {
        cursor.u32()?.into()
    };
    time(i64::try_from(ticks).unwrap_or(i64::MAX))
}

struct Reading<'a, K> {
    start: u64,
    /// Where the data of the last run ended.
    end: u64,
    run: u32,
    known: &'a mut K,
}

impl<K: Known> Reading<'_, K> {
    fn track(&mut self, traf: &[u8]) -> Result<(), Error> {
        let mut head: Option<(usize, Defaults, u64)> = None;
        let mut is_left_out = false;
        let mut begins = None;
        let mut offset = None;
        for found in Boxes::new(traf) {
            let found = found?;
            match &found.kind {
                b"tfhd" => {
                    let of_track = Head::read(found.body)?;
                    let base = match of_track.base {
                        Some(base) => base,
                        None if of_track.from_moof => self.start,
                        None => self.end,
                    };
                    let known = self.known.track(of_track.id)?;
                    is_left_out = known.is_none();
                    head = known.map(|(place, defaults)| (place, of_track.over(defaults), base));
                    offset = None;
                }
                b"tfdt" => begins = Some(decode_time(found.body)?),
                b"trun" if is_left_out => {}
                b"trun" => {
                    let (place, defaults, base) = head.ok_or(Error::Invalid("track run without header"))?;
                    let dts = begins.map_or_else(|| self.known.goes_on(place), Ok)?;
                    let run = Run {
                        place,
                        defaults,
                        base,
                        offset: offset.unwrap_or(base),
                    };
                    let ends = self.run(found.body, &run, dts)?;
                    (begins, offset) = (Some(ends), Some(self.end));
                    self.known.ends(place, ends);
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Reads a `trun`; answers where it ends.
    fn run(&mut self, trun: &[u8], run: &Run, mut dts: i64) -> Result<i64, Error> {
        let Defaults {
            entry,
            duration,
            size,
            flags: sample_flags,
        } = run.defaults;
        if entry > 1 {
            return Err(Error::Unsupported("track with several sample entries"));
        }
        let (_, flags, mut cursor) = full(trun)?;
        let count = cursor.u32()?;
        let mut offset = run.offset;
        if flags & 1 != 0 {
            offset = run.base.saturating_add_signed(cursor.u32()?.cast_signed().into());
        }
        // Those of the first sample, when they are not with each.
        let mut first_flags = if flags & 4 != 0 { Some(cursor.u32()?) } else { None };
        let optional = |cursor: &mut Cursor<'_>, flag: u32, otherwise: u32| {
            if flags & flag == 0 { Ok(otherwise) } else { cursor.u32() }
        };
        self.run = self.run.saturating_add(1);
        for _ in 0..count {
            let sample = Sample {
                track: run.place,
                run: self.run,
                dts,
                duration: optional(&mut cursor, 0x100, duration)?,
                size: optional(&mut cursor, 0x200, size)?,
                flags: optional(&mut cursor, 0x400, first_flags.take().unwrap_or(sample_flags))?,
                later: optional(&mut cursor, 0x800, 0)?.cast_signed(),
                offset,
            };
            self.known.push(&sample)?;
            offset = offset.saturating_add(sample.size.into());
            dts = time(dts.saturating_add(sample.duration.into()))?;
        }
        self.end = offset;
        Ok(dts)
    }
}

/// Where a `trun` begins, and what its samples have when it does not say.
struct Run {
    place: usize,
    defaults: Defaults,
    base: u64,
    offset: u64,
}

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
    track::{Budget, Defaults, Sample, Track, time},
};
use crate::{Error, read::Cursor};

/// Adds the samples of a `moof` that begins at `start` in the file.
pub(super) fn read(moof: &[u8], start: usize, tracks: &mut [Track], budget: &mut Budget) -> Result<(), Error> {
    let start = u64::try_from(start).map_err(|_| Error::TooLarge("file"))?;
    // Where the data of the next track fragment begins when it does not say.
    let mut end = start;
    for found in Boxes::new(moof) {
        let found = found?;
        if found.kind == *b"traf" {
            read_track(found.body, start, &mut end, tracks, budget)?;
        }
    }
    Ok(())
}

/// `tfhd`: what all runs of a track fragment share.
struct Header {
    id: u32,
    base: Option<u64>,
    from_moof: bool,
    duration: Option<u32>,
    size: Option<u32>,
    entry: Option<u32>,
}

fn header(body: &[u8]) -> Result<Header, Error> {
    let (_, flags, mut cursor) = full(body)?;
    let id = cursor.u32()?;
    let base = if flags & 1 != 0 { Some(cursor.u64()?) } else { None };
    let mut field = |flag: u32| -> Result<Option<u32>, Error> {
        if flags & flag == 0 {
            return Ok(None);
        }
        cursor.u32().map(Some)
    };
    Ok(Header {
        id,
        base,
        from_moof: flags & 0x02_0000 != 0,
        entry: field(2)?,
        duration: field(8)?,
        size: field(0x10)?,
    })
}

fn read_track(traf: &[u8], start: u64, end: &mut u64, tracks: &mut [Track], budget: &mut Budget) -> Result<(), Error> {
    let mut head = None;
    let mut offset = 0u64;
    let mut base = 0u64;
    for found in Boxes::new(traf) {
        let found = found?;
        match &found.kind {
            b"tfhd" => {
                let header = header(found.body)?;
                base = match header.base {
                    Some(base) => base,
                    None if header.from_moof => start,
                    None => *end,
                };
                offset = base;
                head = Some(header);
            }
            b"tfdt" => {
                if let Some(track) = head.as_ref().and_then(|head| of(tracks, head.id)) {
                    let (version, _, mut cursor) = full(found.body)?;
                    let dts = if version == 1 {
                        cursor.u64()?
                    } else {
                        cursor.u32()?.into()
                    };
                    track.next_dts = time(i64::try_from(dts).unwrap_or(i64::MAX))?;
                }
            }
            b"trun" => {
                let head = head.as_ref().ok_or(Error::Invalid("track run without header"))?;
                if let Some(track) = of(tracks, head.id) {
                    offset = read_run(found.body, head, base, offset, track, budget)?;
                    *end = offset;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn of(tracks: &mut [Track], id: u32) -> Option<&mut Track> {
    tracks.iter_mut().find(|track| track.id == id)
}

/// Adds the samples of a `trun` whose data begins at `offset` unless it says otherwise; answers where they end.
fn read_run(
    trun: &[u8],
    head: &Header,
    base: u64,
    offset: u64,
    track: &mut Track,
    budget: &mut Budget,
) -> Result<u64, Error> {
    let Defaults { entry, duration, size } = track.defaults;
    if head.entry.unwrap_or(entry) > 1 {
        return Err(Error::Unsupported("track with several sample entries"));
    }
    let (_, flags, mut cursor) = full(trun)?;
    let count = cursor.u32()?;
    let mut offset = offset;
    if flags & 1 != 0 {
        offset = base.saturating_add_signed(cursor.u32()?.cast_signed().into());
    }
    if flags & 4 != 0 {
        cursor.skip(4)?;
    }
    let optional = |cursor: &mut Cursor<'_>, flag: u32, otherwise: u32| {
        if flags & flag == 0 { Ok(otherwise) } else { cursor.u32() }
    };
    for _ in 0..count {
        let duration = optional(&mut cursor, 0x100, head.duration.unwrap_or(duration))?;
        let size = optional(&mut cursor, 0x200, head.size.unwrap_or(size))?;
        optional(&mut cursor, 0x400, 0)?;
        let later = optional(&mut cursor, 0x800, 0)?.cast_signed();
        let place = usize::try_from(offset).map_err(|_| Error::TooLarge("file"))?;
        offset = offset.saturating_add(size.into());
        let size = usize::try_from(size).map_err(|_| Error::TooLarge("sample"))?;
        if budget.take(place, size)? {
            track.samples.push(Sample {
                offset: place,
                size,
                dts: track.next_dts,
                later: later.into(),
                duration,
            });
        }
        track.next_dts = time(track.next_dts.saturating_add(duration.into()))?;
    }
    Ok(offset)
}

//! A track as a header describes it: its `trak`, and what its fragments do not repeat.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::Bytes;

use super::{
    MAX_TIME, MAX_TRACKS,
    boxes::{Boxes, find, find_deep, full},
    fragment::Defaults,
};
use crate::Error;

/// A track of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Of `tkhd`.
    pub id: u32,
    /// Of `hdlr`: `vide`, `soun`, or another.
    pub handler: [u8; 4],
    /// Ticks per second.
    pub clock_rate: u32,
    /// The first sample entry of `stsd`, a whole box.
    pub entry: Bytes,
    /// Width and height, 16.16.
    pub size: [u32; 2],
    /// Ticks that the file's edit list adds to every time.
    pub shift: i64,
    pub(super) defaults: Defaults,
}

impl Track {
    /// One that is to be written.
    pub(super) fn new(id: u32, handler: [u8; 4], clock_rate: u32, entry: Bytes, size: [u32; 2]) -> Track {
        Track {
            id,
            handler,
            clock_rate,
            entry,
            size,
            shift: 0,
            defaults: Defaults::default(),
        }
    }

    /// Whether it is a track of pictures.
    pub fn is_video(&self) -> bool {
        self.handler == *b"vide"
    }

    /// The four letters of its sample entry.
    pub fn format(&self) -> [u8; 4] {
        let letters = self.entry.get(4..8).and_then(|letters| letters.try_into().ok());
        letters.unwrap_or_default()
    }

    /// Reads a `trak`. `movie_rate` is the clock of the file itself.
    fn read(trak: &[u8], movie_rate: u32) -> Result<Track, Error> {
        let missing = Error::Invalid("track without its boxes");
        let (id, size) = id_and_size(find(trak, *b"tkhd").ok_or(missing)?)?;
        let media = find(trak, *b"mdia").ok_or(missing)?;
        let (_, _, mut hdlr) = full(find(media, *b"hdlr").ok_or(missing)?)?;
        hdlr.skip(4)?;
        let handler = hdlr.array()?;
        let (clock_rate, _) = rate_and_duration(find(media, *b"mdhd").ok_or(missing)?)?;
        let stsd = find_deep(media, &[*b"minf", *b"stbl", *b"stsd"]).ok_or(missing)?;
        let edits = find_deep(trak, &[*b"edts", *b"elst"]);
        Ok(Track {
            id,
            handler,
            clock_rate,
            entry: entry(stsd)?,
            size,
            shift: edits.map_or(Ok(0), |edits| shift(edits, clock_rate, movie_rate))?,
            defaults: Defaults::default(),
        })
    }
}

/// The tracks of a `moov`, each with its `trak`. `movie_rate` is the clock of the file itself.
pub(super) fn all(moov: &[u8], movie_rate: u32) -> Result<Vec<(Track, &[u8])>, Error> {
    let mut tracks: Vec<(Track, &[u8])> = Vec::new();
    for found in Boxes::new(moov) {
        let found = found?;
        if found.kind != *b"trak" {
            continue;
        }
        if tracks.len() >= MAX_TRACKS {
            return Err(Error::TooLarge("tracks"));
        }
        let track = Track::read(found.body, movie_rate)?;
        if tracks.iter().any(|(other, _)| other.id == track.id) {
            return Err(Error::Invalid("two tracks with one id"));
        }
        tracks.push((track, found.body));
    }
    for found in Boxes::new(find(moov, *b"mvex").unwrap_or_default()) {
        let found = found?;
        if found.kind == *b"trex" {
            let (id, defaults) = Defaults::read(found.body)?;
            if let Some((track, _)) = tracks.iter_mut().find(|(track, _)| track.id == id) {
                track.defaults = defaults;
            }
        }
    }
    Ok(tracks)
}

/// Of `mvhd` or `mdhd`, which begin alike.
pub(super) fn rate_and_duration(body: &[u8]) -> Result<(u32, u64), Error> {
    let (version, _, mut cursor) = full(body)?;
    let (rate, duration) = if version == 1 {
        cursor.skip(16)?;
        (cursor.u32()?, cursor.u64()?)
    } else {
        cursor.skip(8)?;
        (cursor.u32()?, cursor.u32()?.into())
    };
    match rate {
        0 => Err(Error::Invalid("clock rate")),
        // All ones: unknown.
        rate if duration == u64::from(u32::MAX) || duration == u64::MAX => Ok((rate, 0)),
        rate => Ok((rate, duration)),
    }
}

/// Of `tkhd`: the number of the track, and width and height.
fn id_and_size(tkhd: &[u8]) -> Result<(u32, [u32; 2]), Error> {
    let (version, _, mut cursor) = full(tkhd)?;
    cursor.skip(if version == 1 { 16 } else { 8 })?;
    let id = cursor.u32()?;
    // Reserved, duration; reserved, layer, group, volume, reserved, matrix.
    cursor.skip(if version == 1 { 12 } else { 8 })?;
    cursor.skip(52)?;
    Ok((id, [cursor.u32()?, cursor.u32()?]))
}

/// The first sample entry, a copy that lets go of the rest of the header.
fn entry(stsd: &[u8]) -> Result<Bytes, Error> {
    let (_, _, mut cursor) = full(stsd)?;
    cursor.skip(4)?;
    let rest = cursor.rest();
    let mut boxes = Boxes::new(rest);
    match boxes.next().transpose()? {
        Some(found) if !found.cut => {
            let entry = rest.get(..boxes.position()).unwrap_or_default();
            Ok(Bytes::copy_from_slice(entry))
        }
        Some(_) => Err(Error::Truncated),
        None => Err(Error::Invalid("track without sample entry")),
    }
}

/// What the edit list adds to every time: the pauses it begins with, less the media that it leaves out at the start.
/// Later edits are not followed: all of the media is shown once, in order.
fn shift(elst: &[u8], clock_rate: u32, movie_rate: u32) -> Result<i64, Error> {
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

//! What a recorded file begins with: its tracks, and which recording it belongs to.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::Bytes;

use super::super::{
    MAX_TRACKS, Segment,
    boxes::{Boxes, find, find_deep, full},
    track::{self, time},
};
use crate::Error;

/// The beginning of a recorded file: `ftyp` and `moov`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// Where the parts begin.
    pub len: u64,
    /// In the order of the file.
    pub tracks: Vec<Track>,
    /// The place of the file in its recording, if the recorder noted it.
    pub segment: Option<Segment>,
    /// Nanoseconds that the file lasts, when its writer noted that at the end.
    pub duration: Option<u64>,
}

/// A track of a recorded file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Of `tkhd`.
    pub id: u32,
    /// Of `hdlr`: `vide`, `soun`, or another.
    pub handler: [u8; 4],
    /// Ticks per second.
    pub clock_rate: u32,
    /// The one sample entry of `stsd`, a whole box.
    pub entry: Bytes,
    /// Width and height, 16.16.
    pub size: [u32; 2],
    /// Ticks that the file's edit list adds to every time.
    pub shift: i64,
    pub(super) defaults: Defaults,
}

/// What the parts of a track do not repeat (`trex`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Defaults {
    pub(super) duration: u32,
    pub(super) size: u32,
    pub(super) flags: u32,
}

impl Header {
    /// Reads the first bytes of a file.
    ///
    /// # Errors
    /// [`Error::Truncated`] when `moov` ends behind `bytes`; any other one when this is no recording.
    pub fn read(bytes: &[u8]) -> Result<Header, Error> {
        let mut boxes = Boxes::new(bytes);
        loop {
            let Some(found) = boxes.next().transpose()? else {
                return Err(Error::Truncated);
            };
            match &found.kind {
                b"moov" if found.cut => return Err(Error::Truncated),
                b"moov" => {
                    let len = u64::try_from(boxes.position()).map_err(|_| Error::TooLarge("header"))?;
                    return read_movie(found.body, len);
                }
                b"moof" | b"mdat" => return Err(Error::Invalid("recording without header")),
                _ if found.cut => return Err(Error::Truncated),
                _ => {}
            }
        }
    }

    /// A number that two files share when their tracks are the same in every respect that a decoder sees. Never 0.
    pub fn fingerprint(&self) -> u64 {
        // FNV-1a: stable for ever, as an index on a disk needs it.
        let mut hash = 0xcbf2_9ce4_8422_2325u64;
        let mut add = |bytes: &[u8]| {
            for byte in bytes {
                hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            }
        };
        for track in &self.tracks {
            add(&track.id.to_be_bytes());
            add(&track.clock_rate.to_be_bytes());
            add(&track.entry);
        }
        hash.max(1)
    }

    /// The place of a track by its number in the file.
    pub fn track(&self, id: u32) -> Option<usize> {
        self.tracks.iter().position(|track| track.id == id)
    }
}

impl Track {
    /// Whether it is a track of pictures.
    pub fn is_video(&self) -> bool {
        self.handler == *b"vide"
    }

    /// The four letters of its sample entry.
    pub fn format(&self) -> [u8; 4] {
        let letters = self.entry.get(4..8).and_then(|letters| letters.try_into().ok());
        letters.unwrap_or_default()
    }
}

fn read_movie(moov: &[u8], len: u64) -> Result<Header, Error> {
    let (movie_rate, duration) = match find(moov, *b"mvhd") {
        Some(mvhd) => rate_and_duration(mvhd)?,
        None => return Err(Error::Invalid("header without movie")),
    };
    let mut tracks = Vec::new();
    for found in Boxes::new(moov) {
        let found = found?;
        if found.kind == *b"trak" {
            if tracks.len() >= MAX_TRACKS {
                return Err(Error::TooLarge("number of tracks"));
            }
            tracks.push(read_track(found.body, movie_rate)?);
        }
    }
    if tracks.is_empty() {
        return Err(Error::Invalid("recording without tracks"));
    }
    for found in Boxes::new(find(moov, *b"mvex").unwrap_or_default()) {
        let found = found?;
        if found.kind == *b"trex" {
            let (id, defaults) = read_defaults(found.body)?;
            if let Some(track) = tracks.iter_mut().find(|track| track.id == id) {
                track.defaults = defaults;
            }
        }
    }
    let udta = find(moov, *b"udta").unwrap_or_default();
    let nanoseconds = u128::from(duration).saturating_mul(1_000_000_000);
    let nanoseconds = nanoseconds.checked_div(movie_rate.into()).unwrap_or_default();
    Ok(Header {
        len,
        tracks,
        segment: Segment::read(udta)?,
        duration: u64::try_from(nanoseconds).ok().filter(|duration| *duration > 0),
    })
}

/// Of `mvhd` or `mdhd`, which begin alike.
fn rate_and_duration(body: &[u8]) -> Result<(u32, u64), Error> {
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

fn read_track(trak: &[u8], movie_rate: u32) -> Result<Track, Error> {
    let missing = Error::Invalid("track without its boxes");
    let (id, size) = id_and_size(find(trak, *b"tkhd").ok_or(missing)?)?;
    let media = find(trak, *b"mdia").ok_or(missing)?;
    let (_, _, mut hdlr) = full(find(media, *b"hdlr").ok_or(missing)?)?;
    hdlr.skip(4)?;
    let handler = hdlr.array()?;
    let (clock_rate, _) = rate_and_duration(find(media, *b"mdhd").ok_or(missing)?)?;
    let stsd = find_deep(media, &[*b"minf", *b"stbl", *b"stsd"]).ok_or(missing)?;
    let shift = match find_deep(trak, &[*b"edts", *b"elst"]) {
        Some(elst) => track::shift(elst, clock_rate, movie_rate)?,
        None => 0,
    };
    Ok(Track {
        id,
        handler,
        clock_rate,
        entry: entry(stsd)?,
        size,
        shift: time(shift)?,
        defaults: Defaults::default(),
    })
}

fn id_and_size(tkhd: &[u8]) -> Result<(u32, [u32; 2]), Error> {
    let (version, _, mut cursor) = full(tkhd)?;
    cursor.skip(if version == 1 { 16 } else { 8 })?;
    let id = cursor.u32()?;
    // Reserved, duration; reserved, layer, group, volume, reserved, matrix.
    cursor.skip(if version == 1 { 12 } else { 8 })?;
    cursor.skip(52)?;
    Ok((id, [cursor.u32()?, cursor.u32()?]))
}

/// The one sample entry, a copy that lets go of the rest of the header.
fn entry(stsd: &[u8]) -> Result<Bytes, Error> {
    let (_, _, mut cursor) = full(stsd)?;
    if cursor.u32()? != 1 {
        return Err(Error::Unsupported("track with several sample entries"));
    }
    let rest = cursor.rest();
    let mut boxes = Boxes::new(rest);
    match boxes.next().transpose()? {
        Some(found) if !found.cut => {
            let entry = rest.get(..boxes.position()).unwrap_or_default();
            Ok(Bytes::copy_from_slice(entry))
        }
        _ => Err(Error::Truncated),
    }
}

fn read_defaults(trex: &[u8]) -> Result<(u32, Defaults), Error> {
    let (_, _, mut cursor) = full(trex)?;
    let id = cursor.u32()?;
    cursor.skip(4)?;
    let defaults = Defaults {
        duration: cursor.u32()?,
        size: cursor.u32()?,
        flags: cursor.u32()?,
    };
    Ok((id, defaults))
}

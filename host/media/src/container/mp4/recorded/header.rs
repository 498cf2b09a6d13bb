//! What a recorded file begins with: its tracks, and which recording it belongs to.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::super::{
    Segment,
    boxes::{Boxes, find},
    track::{self, Track},
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

fn read_movie(moov: &[u8], len: u64) -> Result<Header, Error> {
    let (movie_rate, duration) = match find(moov, *b"mvhd") {
        Some(mvhd) => track::rate_and_duration(mvhd)?,
        None => return Err(Error::Invalid("header without movie")),
    };
    let tracks: Vec<_> = track::all(moov, movie_rate)?
        .into_iter()
        .map(|(track, _)| track)
        .collect();
    if tracks.is_empty() {
        return Err(Error::Invalid("recording without tracks"));
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

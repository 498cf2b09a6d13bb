//! A whole file, taken apart into frames in the order in which they are decoded.
//!
//! Payloads are shares of the file wherever its form is ours. What is cut off at the end is left out, as a recording that
//! was interrupted ends; what is wrong anywhere else is an error.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::sync::Arc;

use bytes::Bytes;

use super::{
    MAX_TRACKS, Segment,
    boxes::{Boxes, find},
    fragment,
    track::{self, Budget, Found, Track, time},
};
use crate::{Error, Frame, TrackId, Tracks, container::sample::Canonical};

/// The ticks of the file itself when it does not say.
const MOVIE_RATE: u32 = 1_000;

/// What a file holds.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Movie {
    /// The tracks at the start. Their ids are those of the file, their clocks too.
    pub tracks: Tracks,
    /// What comes, in order of decoding time over all tracks.
    pub steps: Vec<Step>,
    /// Tracks that hold something else, by the four letters of their format.
    pub skipped: Vec<String>,
    /// Samples that are listed but not there: the file was cut off.
    pub missing: usize,
    /// Which segment of a recording it is, if it is one.
    pub segment: Option<Segment>,
}

/// What comes next in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame. Times count from the start of the presentation: what is decoded before it is shown may be negative.
    Frame(Frame),
    /// From here on the tracks have other parameters.
    Tracks(Tracks),
}

/// Takes a file apart.
///
/// # Errors
/// It is no MP4, or not one that could be read.
pub fn read(file: &Bytes) -> Result<Movie, Error> {
    let mut budget = Budget::of(file);
    let mut movie: Option<(Vec<Track>, Vec<String>)> = None;
    let mut segment = None;
    let mut boxes = Boxes::new(file);
    loop {
        let start = boxes.position();
        let Some(found) = boxes.next() else { break };
        let found = found?;
        match &found.kind {
            b"moov" if found.cut => return Err(Error::Truncated),
            b"moov" if movie.is_none() => {
                movie = Some(tracks(found.body, &mut budget)?);
                segment = Segment::read(find(found.body, *b"udta").unwrap_or_default())?;
            }
            b"moof" if !found.cut => {
                let (tracks, _) = movie.as_mut().ok_or(Error::Invalid("fragment before the header"))?;
                fragment::read(found.body, start, tracks, &mut budget)?;
            }
            _ => {}
        }
    }
    let (tracks, skipped) = movie.ok_or(Error::Invalid("file without moov"))?;
    if tracks.is_empty() {
        return Err(Error::Unsupported("tracks"));
    }
    let assembly = Assembly {
        file,
        next: vec![(0, i64::MIN); tracks.len()],
        tracks,
    };
    let (tracks, steps) = assembly.run()?;
    Ok(Movie {
        tracks,
        steps,
        skipped,
        missing: budget.missing,
        segment,
    })
}

fn tracks(moov: &[u8], budget: &mut Budget) -> Result<(Vec<Track>, Vec<String>), Error> {
    let movie_rate = find(moov, *b"mvhd").map_or(Ok(MOVIE_RATE), track::clock_rate)?;
    let (mut tracks, mut skipped): (Vec<Track>, Vec<String>) = (Vec::new(), Vec::new());
    for found in Boxes::new(moov) {
        let found = found?;
        if found.kind != *b"trak" {
            continue;
        }
        if tracks.len().saturating_add(skipped.len()) >= MAX_TRACKS {
            return Err(Error::TooLarge("tracks"));
        }
        match track::read(found.body, movie_rate, budget)? {
            Found::Track(track) if tracks.iter().any(|other| other.id == track.id) => {
                return Err(Error::Invalid("two tracks with one id"));
            }
            Found::Track(track) => tracks.push(track),
            Found::Other(format) => skipped.push(format),
        }
    }
    for found in Boxes::new(find(moov, *b"mvex").unwrap_or_default()) {
        let found = found?;
        if found.kind == *b"trex" {
            let (id, defaults) = track::defaults(found.body)?;
            if let Some(track) = tracks.iter_mut().find(|track| track.id == id) {
                track.defaults = defaults;
            }
        }
    }
    Ok((tracks, skipped))
}

/// Puts the samples of all tracks into one order.
struct Assembly<'a> {
    file: &'a Bytes,
    tracks: Vec<Track>,
    /// Of each track: the next sample, and the last decoding time.
    next: Vec<(usize, i64)>,
}

impl Assembly<'_> {
    fn run(mut self) -> Result<(Tracks, Vec<Step>), Error> {
        let at_start = self.public();
        let mut steps = Vec::new();
        while let Some(place) = self.earliest() {
            self.step(place, &mut steps)?;
        }
        Ok((at_start, steps))
    }

    fn public(&self) -> Tracks {
        let track = |track: &Track| crate::Track {
            id: TrackId(track.id),
            kind: track.kind,
            codec: track.entry.codec.clone(),
            clock_rate: track.clock_rate,
            extra: Vec::new(),
            derived: None,
        };
        self.tracks.iter().map(track).collect::<Arc<[_]>>()
    }

    /// The track whose next sample is decoded first.
    fn earliest(&self) -> Option<usize> {
        let mut earliest: Option<(usize, i128, u32)> = None;
        for (place, (track, (next, _))) in self.tracks.iter().zip(&self.next).enumerate() {
            let Some(sample) = track.samples.get(*next) else {
                continue;
            };
            let dts = i128::from(sample.dts).saturating_add(track.shift.into());
            // a / b < c / d, without dividing.
            let before = |(_, other, rate): (usize, i128, u32)| {
                dts.saturating_mul(rate.into()) < other.saturating_mul(track.clock_rate.into())
            };
            if earliest.is_none_or(before) {
                earliest = Some((place, dts, track.clock_rate));
            }
        }
        earliest.map(|(place, ..)| place)
    }

    fn step(&mut self, place: usize, steps: &mut Vec<Step>) -> Result<(), Error> {
        let (Some(track), Some((next, last))) = (self.tracks.get_mut(place), self.next.get_mut(place)) else {
            return Ok(());
        };
        let Some(sample) = track.samples.get(*next).copied() else {
            return Ok(());
        };
        *next = next.saturating_add(1);
        let end = sample.offset.saturating_add(sample.size);
        let Canonical {
            payload,
            flags,
            changed,
        } = track.entry.canonical(&self.file.slice(sample.offset..end))?;
        let dts = time(sample.dts.saturating_add(track.shift))?;
        let pts = time(dts.saturating_add(sample.later))?;
        let dts = dts.max(*last);
        *last = dts;
        let frame = Frame {
            track: TrackId(track.id),
            number: 0,
            pts,
            dts,
            duration: sample.duration,
            wall: None,
            flags,
            payload: payload.into(),
        };
        if changed {
            steps.push(Step::Tracks(self.public()));
        }
        // Parameter sets alone are no frame.
        if !frame.payload.is_empty() {
            steps.push(Step::Frame(frame));
        }
        Ok(())
    }
}

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
    Segment,
    boxes::{Boxes, find, find_deep, shown},
    budget::Budget,
    entry,
    fragment::{self, Defaults, Sample},
    table,
    track::{self, Track, time},
};
use crate::{
    Error, Frame, Kind, TrackId, Tracks,
    container::sample::{Canonical, Description},
};

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
    let size = u64::try_from(file.len()).map_err(|_| Error::TooLarge("file"))?;
    let mut budget = Budget::of(size);
    let mut movie: Option<Lanes> = None;
    let mut segment = None;
    let mut boxes = Boxes::new(file);
    loop {
        let start = u64::try_from(boxes.position()).unwrap_or(size);
        let Some(found) = boxes.next() else { break };
        let found = found?;
        match &found.kind {
            b"moov" if found.cut => return Err(Error::Truncated),
            b"moov" if movie.is_none() => {
                movie = Some(Lanes::read(found.body, &mut budget)?);
                segment = Segment::read(find(found.body, *b"udta").unwrap_or_default())?;
            }
            b"moof" if !found.cut => {
                let lanes = movie.as_mut().ok_or(Error::Invalid("fragment before the header"))?;
                let budget = &mut budget;
                fragment::read(found.body, start, &mut Listed { lanes, budget })?;
            }
            _ => {}
        }
    }
    let Lanes { lanes, skipped } = movie.ok_or(Error::Invalid("file without moov"))?;
    if lanes.is_empty() {
        return Err(Error::Unsupported("tracks"));
    }
    let assembly = Assembly {
        file,
        next: vec![(0, i64::MIN); lanes.len()],
        lanes,
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

/// The tracks of a file while it is read, and the formats of those that wasmtx does not carry.
struct Lanes {
    lanes: Vec<Lane>,
    skipped: Vec<String>,
}

struct Lane {
    track: Track,
    entry: Description,
    samples: Vec<Sample>,
    /// Where the next fragment goes on when it does not say.
    next_dts: i64,
}

impl Lanes {
    fn read(moov: &[u8], budget: &mut Budget) -> Result<Lanes, Error> {
        let rate = find(moov, *b"mvhd").map_or(Ok((MOVIE_RATE, 0)), track::rate_and_duration)?;
        let (mut lanes, mut skipped) = (Vec::new(), Vec::new());
        for (track, trak) in track::all(moov, rate.0)? {
            let found = Boxes::new(&track.entry).next().transpose()?;
            let entry = match entry::read(&found.ok_or(Error::Truncated)?) {
                Ok(entry) => entry,
                Err(Error::Unsupported(_)) => {
                    skipped.push(shown(track.format()));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let tables = find_deep(trak, &[*b"mdia", *b"minf", *b"stbl"]).unwrap_or_default();
            let mut samples = Vec::new();
            let next_dts = table::read(tables, budget, &mut samples)?;
            lanes.push(Lane {
                track,
                entry,
                samples,
                next_dts,
            });
        }
        Ok(Lanes { lanes, skipped })
    }
}

/// What fragments add to.
struct Listed<'a> {
    lanes: &'a mut Lanes,
    budget: &'a mut Budget,
}

impl fragment::Known for Listed<'_> {
    fn track(&self, id: u32) -> Result<Option<(usize, Defaults)>, Error> {
        let mut lanes = self.lanes.lanes.iter().enumerate();
        let found = lanes.find(|(_, lane)| lane.track.id == id);
        Ok(found.map(|(place, lane)| (place, lane.track.defaults)))
    }

    fn goes_on(&self, track: usize) -> Result<i64, Error> {
        Ok(self.lanes.lanes.get(track).map_or(0, |lane| lane.next_dts))
    }

    fn push(&mut self, sample: &Sample) -> Result<(), Error> {
        if self.budget.take(sample.offset, sample.size)?
            && let Some(lane) = self.lanes.lanes.get_mut(sample.track)
        {
            lane.samples.push(*sample);
        }
        Ok(())
    }

    fn ends(&mut self, track: usize, dts: i64) {
        if let Some(lane) = self.lanes.lanes.get_mut(track) {
            lane.next_dts = dts;
        }
    }
}

/// Puts the samples of all tracks into one order.
struct Assembly<'a> {
    file: &'a Bytes,
    lanes: Vec<Lane>,
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
        let track = |lane: &Lane| crate::Track {
            id: TrackId(lane.track.id),
            kind: match &lane.track.handler {
                b"vide" => Kind::Video,
                b"soun" => Kind::Audio,
                _ => Kind::Data,
            },
            codec: lane.entry.codec.clone(),
            clock_rate: lane.track.clock_rate,
            extra: Vec::new(),
            derived: None,
        };
        self.lanes.iter().map(track).collect::<Arc<[_]>>()
    }

    /// The track whose next sample is decoded first.
    fn earliest(&self) -> Option<usize> {
        let mut earliest: Option<(usize, i128, u32)> = None;
        for (place, (lane, (next, _))) in self.lanes.iter().zip(&self.next).enumerate() {
            let Some(sample) = lane.samples.get(*next) else {
                continue;
            };
            let rate = lane.track.clock_rate;
            let dts = i128::from(sample.dts).saturating_add(lane.track.shift.into());
            // a / b < c / d, without dividing.
            let before = |(_, other, of_other): (usize, i128, u32)| {
                dts.saturating_mul(of_other.into()) < other.saturating_mul(rate.into())
            };
            if earliest.is_none_or(before) {
                earliest = Some((place, dts, rate));
            }
        }
        earliest.map(|(place, ..)| place)
    }

    fn step(&mut self, place: usize, steps: &mut Vec<Step>) -> Result<(), Error> {
        let (Some(lane), Some((next, last))) = (self.lanes.get_mut(place), self.next.get_mut(place)) else {
            return Ok(());
        };
        let Some(sample) = lane.samples.get(*next).copied() else {
            return Ok(());
        };
        *next = next.saturating_add(1);
        let Canonical {
            payload,
            flags,
            changed,
        } = lane.entry.canonical(&bytes(self.file, &sample)?)?;
        let dts = time(sample.dts.saturating_add(lane.track.shift))?;
        let pts = time(dts.saturating_add(sample.later.into()))?;
        let dts = dts.max(*last);
        *last = dts;
        let frame = Frame {
            track: TrackId(lane.track.id),
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

/// The bytes of a sample, which the budget has found to be in the file.
fn bytes(file: &Bytes, sample: &Sample) -> Result<Bytes, Error> {
    let start = usize::try_from(sample.offset).map_err(|_| Error::Truncated)?;
    let size = usize::try_from(sample.size).map_err(|_| Error::Truncated)?;
    let bytes = file.get(start..start.saturating_add(size)).ok_or(Error::Truncated)?;
    Ok(file.slice_ref(bytes))
}

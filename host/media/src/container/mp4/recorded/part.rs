//! One part: what a `moof` lists, the same moved in time, or a piece of it.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use std::ops::Range;

use super::{
    super::{
        MAX_TRACKS,
        boxes::Boxes,
        fragment::{self, Defaults, Head, decode_time},
        track::time,
    },
    MAX_SAMPLES, Sample, Track,
};
use crate::Error;

/// Bytes of a box's size and kind.
const BOX: usize = 8;

/// Shows every sample of a `moof`, a whole box that begins at `at` in the file.
///
/// # Errors
/// It is not understood, or holds more than [`MAX_SAMPLES`].
pub fn samples(moof: &[u8], at: u64, tracks: &[Track], each: impl FnMut(&Sample)) -> Result<(), Error> {
    let mut shown = Shown {
        tracks,
        left: MAX_SAMPLES,
        each,
    };
    fragment::read(body(moof)?, at, &mut shown)
}

struct Shown<'a, F> {
    tracks: &'a [Track],
    left: u32,
    each: F,
}

impl<F: FnMut(&Sample)> fragment::Known for Shown<'_, F> {
    fn track(&self, id: u32) -> Result<Option<(usize, Defaults)>, Error> {
        let found = self.tracks.iter().enumerate().find(|(_, track)| track.id == id);
        let (place, track) = found.ok_or(Error::Invalid("track of a part"))?;
        Ok(Some((place, track.defaults)))
    }

    fn goes_on(&self, _: usize) -> Result<i64, Error> {
        Err(Error::Invalid("track run without its time"))
    }

    fn push(&mut self, sample: &Sample) -> Result<(), Error> {
        self.left = self.left.checked_sub(1).ok_or(Error::TooLarge("samples of a part"))?;
        let shift = self.tracks.get(sample.track).map_or(0, |track| track.shift);
        let dts = time(sample.dts.saturating_add(shift))?;
        (self.each)(&Sample { dts, ..*sample });
        Ok(())
    }

    fn ends(&mut self, _: usize, _: i64) {}
}

fn body(moof: &[u8]) -> Result<&[u8], Error> {
    match Boxes::new(moof).next().transpose()? {
        Some(found) if found.kind == *b"moof" && !found.cut => Ok(found.body),
        _ => Err(Error::Invalid("part without its list")),
    }
}

/// Gives a copied `moof` another number, and adds ticks to the times of its tracks, as `by` says for a track's id.
///
/// # Errors
/// A time has no place in its field, or the part says where its data are in a way that does not survive copying.
pub fn shift(moof: &mut [u8], sequence: u32, by: impl Fn(u32) -> Option<i64>) -> Result<(), Error> {
    let mut changes = Vec::with_capacity(MAX_TRACKS.saturating_add(1));
    let mut boxes = Boxes::new(body(moof)?);
    while let Some(found) = boxes.next() {
        let found = found?;
        let from = BOX.saturating_add(boxes.position()).saturating_sub(found.body.len());
        match &found.kind {
            b"mfhd" => changes.push((from.saturating_add(4), u64::from(sequence), 4)),
            b"traf" if changes.len() <= MAX_TRACKS => shift_track(found.body, from, &by, &mut changes)?,
            b"traf" => return Err(Error::TooLarge("number of tracks")),
            _ => {}
        }
    }
    for (at, value, width) in changes {
        let bytes = value.to_be_bytes();
        let value = bytes.get(8usize.saturating_sub(width)..).unwrap_or_default();
        let room = moof.get_mut(at..at.saturating_add(width)).ok_or(Error::Truncated)?;
        room.copy_from_slice(value);
    }
    Ok(())
}

fn shift_track(
    traf: &[u8],
    at: usize,
    by: &impl Fn(u32) -> Option<i64>,
    changes: &mut Vec<(usize, u64, usize)>,
) -> Result<(), Error> {
    let mut boxes = Boxes::new(traf);
    let mut id = None;
    while let Some(found) = boxes.next() {
        let found = found?;
        match &found.kind {
            b"tfhd" => {
                let head = Head::read(found.body)?;
                if head.base.is_some() {
                    return Err(Error::Unsupported("part with absolute places"));
                }
                id = Some(head.id);
            }
            b"tfdt" => {
                let from = at.saturating_add(boxes.position()).saturating_sub(found.body.len());
                let by = id.and_then(by).ok_or(Error::Invalid("track of a part"))?;
                let ticks = decode_time(found.body)?.saturating_add(by);
                let ticks = u64::try_from(ticks).map_err(|_| Error::Invalid("time"))?;
                let is_wide = found.body.first() == Some(&1);
                if !is_wide && u32::try_from(ticks).is_err() {
                    return Err(Error::Unsupported("time of 32 bits"));
                }
                changes.push((from.saturating_add(4), ticks, if is_wide { 8 } else { 4 }));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Where a sample goes in a part of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Ticks.
    pub dts: u64,
    /// Ticks.
    pub duration: u32,
    /// Ticks from decoding to presentation.
    pub later: i32,
}

/// A new part out of some samples of an old one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// `moof`, and the beginning of `mdat`.
    pub head: Vec<u8>,
    /// Where in the file the bytes are that follow it.
    pub payload: Vec<Range<u64>>,
}

impl Cut {
    /// Bytes of the new part.
    pub fn len(&self) -> u64 {
        let head = u64::try_from(self.head.len()).unwrap_or(u64::MAX);
        let sizes = self.payload.iter().map(|range| range.end.saturating_sub(range.start));
        sizes.fold(head, u64::saturating_add)
    }

    /// No sample was kept.
    pub fn is_empty(&self) -> bool {
        self.payload.is_empty()
    }
}

/// A part that is made of samples of others.
#[derive(Debug, Default)]
pub struct Cutting {
    kept: Vec<Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    track: u32,
    flags: u32,
    size: u32,
    offset: u64,
    placed: Placed,
}

impl Cutting {
    /// Takes the samples of a `moof` that `place` finds a place for.
    ///
    /// # Errors
    /// As of [`samples`].
    pub fn add(
        &mut self,
        moof: &[u8],
        at: u64,
        tracks: &[Track],
        mut place: impl FnMut(&Sample) -> Option<Placed>,
    ) -> Result<(), Error> {
        samples(moof, at, tracks, |sample| {
            if let (Some(placed), Some(track)) = (place(sample), tracks.get(sample.track)) {
                self.kept.push(Kept {
                    track: track.id,
                    flags: sample.flags,
                    size: sample.size,
                    offset: sample.offset,
                    placed,
                });
            }
        })
    }

    /// How many samples were taken.
    pub fn len(&self) -> usize {
        self.kept.len()
    }

    /// No sample was taken.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The part, with one run per track, however many parts its samples come from.
    pub fn finish(mut self, sequence: u32) -> Cut {
        // Stable: samples of a track stay in their order.
        self.kept.sort_by_key(|kept| kept.track);
        let mut head = Vec::with_capacity(self.kept.len().saturating_mul(16).saturating_add(256));
        let mut payload: Vec<Range<u64>> = Vec::new();
        // Where the offset of each run stands, and the bytes of payload in front of it.
        let mut offsets = Vec::new();
        let mut bytes = 0u64;
        put(&mut head, &[0, u32::from_be_bytes(*b"moof")]);
        put(&mut head, &[16, u32::from_be_bytes(*b"mfhd"), 0, sequence]);
        for run in self.kept.chunk_by(|a, b| a.track == b.track) {
            let Some(first) = run.first() else { continue };
            let traf = head.len();
            put(&mut head, &[0, u32::from_be_bytes(*b"traf")]);
            // Offsets count from the beginning of the part.
            put(&mut head, &[16, u32::from_be_bytes(*b"tfhd"), 0x02_0000, first.track]);
            put(&mut head, &[20, u32::from_be_bytes(*b"tfdt"), 0x0100_0000]);
            head.extend_from_slice(&first.placed.dts.to_be_bytes());
            let trun = head.len();
            let count = u32::try_from(run.len()).unwrap_or(u32::MAX);
            // Offset of the data; duration, size, flags and delay of each sample.
            put(&mut head, &[0, u32::from_be_bytes(*b"trun"), 0x0100_0f01, count, 0]);
            offsets.push((trun.saturating_add(16), bytes));
            for kept in run {
                let Placed { duration, later, .. } = kept.placed;
                put(&mut head, &[duration, kept.size, kept.flags, later.cast_unsigned()]);
                let end = kept.offset.saturating_add(kept.size.into());
                bytes = bytes.saturating_add(kept.size.into());
                match payload.last_mut() {
                    Some(last) if last.end == kept.offset => last.end = end,
                    _ => payload.push(kept.offset..end),
                }
            }
            let end = head.len();
            set(&mut head, traf, end.saturating_sub(traf));
            set(&mut head, trun, end.saturating_sub(trun));
        }
        let moof = head.len();
        set(&mut head, 0, moof);
        for (at, before) in offsets {
            let before = usize::try_from(before).unwrap_or(usize::MAX);
            set(&mut head, at, moof.saturating_add(BOX).saturating_add(before));
        }
        let size = u32::try_from(bytes.saturating_add(8)).unwrap_or(u32::MAX);
        put(&mut head, &[size, u32::from_be_bytes(*b"mdat")]);
        Cut { head, payload }
    }
}

fn put(bytes: &mut Vec<u8>, fields: &[u32]) {
    for field in fields {
        bytes.extend_from_slice(&field.to_be_bytes());
    }
}

/// Writes a number of 32 bits over what is there. What has no room in it cannot be in a part of bounded size.
fn set(bytes: &mut [u8], at: usize, value: usize) {
    let value = u32::try_from(value).unwrap_or(u32::MAX);
    if let Some(room) = bytes.get_mut(at..at.saturating_add(4)) {
        room.copy_from_slice(&value.to_be_bytes());
    }
}

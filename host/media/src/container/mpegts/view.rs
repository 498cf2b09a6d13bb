//! A recorded transport stream, looked at as if it were a fragmented MP4: what plays recordings then needs one way only.
//!
//! The MP4 is not made, it is computed where it is read. A part of it is what stands between two entries of the stream
//! (keyframes; of sound alone a packet about every [`STRIDE`] bytes), and it takes as many bytes: a transport stream spends
//! more on a frame than an MP4 does, and the last box of the part is as much larger as is left over. So the place of a
//! part follows from that of its packets, without knowing any other part.
//!
//! ```text
//! transport stream:  PAT PMT | key … … PAT PMT | key … …   PAT PMT | key …
//! looks like:        header  | moof mdat (slack) | moof mdat (slack) | moof mdat
//! ```
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    CLOCK_RATE, Demuxer, Step,
    clock::distance,
    packet::{PACKET, Packet, TIME_MASK},
    pes,
};
use crate::{
    Error, Frame, Kind, TrackId, Tracks,
    container::mp4::{Piece, Writer},
};

const SIZE: u64 = PACKET as u64;
/// Read at once.
const BLOCK: u64 = SIZE * 1_024;
/// How far the first frames of all tracks are looked for.
const MAX_BEGINNING: u64 = SIZE * 44_000;
/// Packets of no track that are kept from the first block: the tables are among them.
const MAX_TABLES: usize = 64;
/// The most that stands between two entries.
const MAX_PART: u64 = SIZE * 90_000;
/// Of a stream without pictures, how far entries are apart.
const STRIDE: u64 = SIZE * 256;
/// What the header is filled up to a multiple of.
const PAGE: usize = 4_096;
/// Of the 26 hours after which times begin anew, half: files are shorter than a day, and begin before they end.
const HALF: i64 = 1 << 32;
/// Size and kind.
const BOX: usize = 8;

/// Makes a transport stream look like a fragmented MP4.
///
/// `read` answers a range of the transport stream, an offset and a length; fewer bytes than that only where it ends.
#[derive(Clone, Debug)]
pub struct View {
    header: Bytes,
    /// Bytes of the stream: whole packets.
    size: u64,
    tables: Bytes,
    tracks: Tracks,
    /// The track at whose packets parts begin.
    main: u16,
    has_pictures: bool,
    /// Where the first entry is: the part that it is in begins with the stream.
    first: u64,
    /// The time of the beginning, in ticks of 90 kHz.
    zero: i64,
}

impl View {
    /// Looks at a stream of `size` bytes.
    ///
    /// # Errors
    /// Those of `read`, and that there is nothing in the stream that an MP4 could hold.
    pub fn open<E: From<Error>>(size: u64, mut read: impl FnMut(u64, usize) -> Result<Bytes, E>) -> Result<View, E> {
        let size = size.saturating_sub(size.checked_rem(SIZE).unwrap_or_default());
        let (mut demuxer, mut beginning) = (Demuxer::recorded(), Bytes::new());
        let (mut tracks, mut frames): (Option<Tracks>, Vec<Frame>) = (None, Vec::new());
        let end = size.min(MAX_BEGINNING);
        let mut at = 0;
        while tracks.is_none() && at < end {
            let bytes = read(at, length(end.saturating_sub(at).min(BLOCK)))?;
            at = at.saturating_add(bytes.len() as u64);
            demuxer.push(&bytes);
            if bytes.is_empty() || at >= end {
                at = end;
                demuxer.finish();
            }
            if beginning.is_empty() {
                beginning = bytes.clone();
            }
            while let Some(step) = demuxer.next() {
                match step {
                    Step::Tracks(told) => tracks = tracks.or(Some(told)),
                    Step::Frame(frame) => frames.push(frame),
                    Step::Skipped { .. } => {}
                }
            }
        }
        let tracks: Tracks = tracks
            .iter()
            .flat_map(|tracks| tracks.iter())
            .filter(|track| Writer::carries(&track.codec))
            .cloned()
            .collect();
        let main = tracks.iter().find(|track| track.kind == Kind::Video).or(tracks.first());
        let main = main.ok_or(Error::Unsupported("tracks"))?;
        let of = |frame: &&Frame| tracks.iter().any(|track| track.id == frame.track);
        let times = frames.iter().filter(of).map(|frame| ninetieth(&tracks, frame));
        let zero = times.min().ok_or(Error::Unsupported("tracks"))?;
        let mut view = View {
            header: Bytes::new(),
            size,
            tables: tables(&beginning, &tracks),
            main: pid(main.id),
            has_pictures: main.kind == Kind::Video,
            first: 0,
            zero,
            tracks: tracks.clone(),
        };
        view.header = view.made_header(&frames)?;
        view.first = view.next_entry(0, &mut read)?.unwrap_or(size);
        Ok(view)
    }

    /// Bytes of the MP4.
    #[allow(clippy::len_without_is_empty, reason = "there is a header always")]
    pub fn len(&self) -> u64 {
        (self.header.len() as u64).saturating_add(self.size)
    }

    /// The first bytes of the MP4: everything in front of the parts.
    pub fn header(&self) -> Bytes {
        self.header.clone()
    }

    /// The part that the byte at `offset` of the MP4 is in, and where it begins. None in the header, and behind the end.
    ///
    /// # Errors
    /// Those of `read`, and that the stream cannot be taken apart there: keyframes are too far apart, or a part takes more
    /// bytes than its packets do.
    pub fn part<E: From<Error>>(
        &self,
        offset: u64,
        mut read: impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<Option<(u64, Bytes)>, E> {
        let header = self.header.len() as u64;
        let Some(place) = offset.checked_sub(header).filter(|place| *place < self.size) else {
            return Ok(None);
        };
        let from = self.entry_before(place, &mut read)?;
        let to = self.next_entry(from.max(self.first), &mut read)?.unwrap_or(self.size);
        let part = self.made(from..to, &mut read)?;
        Ok(Some((from.saturating_add(header), part)))
    }

    /// Where in the MP4 a part begins that is decoded at `time` or before, in nanoseconds since the beginning; not far from
    /// the last one that does.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn near<E: From<Error>>(
        &self,
        time: i64,
        mut read: impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<u64, E> {
        let wanted = i128::from(time).saturating_mul(CLOCK_RATE.into()) / 1_000_000_000;
        let wanted = i64::try_from(wanted).unwrap_or(i64::MAX);
        let (mut early, mut late) = (0, self.size);
        // Close enough: what is left is walked.
        while late.saturating_sub(early) > BLOCK {
            let middle = early.saturating_add(late.saturating_sub(early) >> 1);
            let until = late.min(middle.saturating_add(MAX_PART));
            match self.entry_from(middle, until, &mut read)? {
                Some((entry, dts)) if dts <= wanted && entry > early => early = entry,
                _ => late = middle,
            }
        }
        let from = self.entry_before(early, &mut read)?;
        Ok(from.saturating_add(self.header.len() as u64))
    }

    fn made_header(&self, frames: &[Frame]) -> Result<Bytes, Error> {
        let mut writer = self.writer()?;
        // What a header tells of AC-3 stands in its first frame.
        for track in self.tracks.iter() {
            if let Some(frame) = frames.iter().find(|frame| frame.track == track.id) {
                writer.push(frame)?;
            }
        }
        let mut header = BytesMut::from(&*writer.header()?);
        let size = header.len().saturating_add(BOX).next_multiple_of(PAGE);
        put_free(&mut header, size);
        Ok(header.freeze())
    }

    fn writer(&self) -> Result<Writer, Error> {
        let mut writer = Writer::new(&self.tracks)?;
        for track in self.tracks.iter() {
            let zero = i128::from(self.zero).saturating_mul(track.clock_rate.into());
            let zero = i64::try_from(zero.div_euclid(CLOCK_RATE.into())).unwrap_or_default();
            writer.begin(track.id, zero, zero);
        }
        Ok(writer)
    }

    /// The part of the packets of a range: exactly as many bytes.
    fn made<E: From<Error>>(
        &self,
        range: Range<u64>,
        read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let size = length(range.end.saturating_sub(range.start));
        let mut demuxer = Demuxer::near(self.zero.saturating_add(HALF));
        demuxer.push(&self.tables);
        let mut at = range.start;
        while at < range.end {
            let bytes = read(at, length(range.end.saturating_sub(at).min(BLOCK)))?;
            if bytes.is_empty() {
                return Err(Error::Truncated.into());
            }
            demuxer.push(&bytes);
            at = at.saturating_add(bytes.len() as u64);
        }
        demuxer.finish();
        let mut writer = self.writer()?;
        while let Some(step) = demuxer.next() {
            match step {
                Step::Tracks(told) => writer.set_tracks(&told),
                Step::Frame(frame) => writer.push(&frame)?,
                Step::Skipped { .. } => {}
            }
        }
        if let Some((_, dts)) = self.entry_from(range.end, range.end.saturating_add(SIZE), read)? {
            let main = self.tracks.iter().find(|track| pid(track.id) == self.main);
            let rate = main.map_or(CLOCK_RATE, |track| track.clock_rate);
            let dts = i128::from(dts.saturating_add(self.zero)).saturating_mul(rate.into());
            let dts = i64::try_from(dts.div_euclid(CLOCK_RATE.into())).unwrap_or_default();
            writer.until(TrackId(self.main.into()), dts);
        }
        let mut bytes = BytesMut::with_capacity(size);
        if let Some(part) = writer.finish() {
            bytes.extend_from_slice(&part.head);
            let mdat = bytes.len().saturating_sub(BOX);
            for piece in &part.body {
                match piece {
                    Piece::Inline(piece) => bytes.extend_from_slice(piece),
                    Piece::Payload(payload) => payload.pieces().iter().for_each(|piece| bytes.extend_from_slice(piece)),
                }
            }
            let slack = size
                .checked_sub(bytes.len())
                .ok_or(Error::Unsupported("MPEG-TS that is smaller than as MP4"))?;
            bytes.put_bytes(0, slack);
            let taken = u32::try_from(size.saturating_sub(mdat)).map_err(|_| Error::TooLarge("part"))?;
            if let Some(field) = bytes.get_mut(mdat..).and_then(<[u8]>::first_chunk_mut) {
                *field = taken.to_be_bytes();
            }
        } else {
            put_free(&mut bytes, size);
        }
        Ok(bytes.freeze())
    }

    /// Where the part begins that a place is in.
    fn entry_before<E: From<Error>>(
        &self,
        place: u64,
        read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<u64, E> {
        let mut end = place
            .saturating_sub(place.checked_rem(SIZE).unwrap_or_default())
            .saturating_add(SIZE);
        let least = place.saturating_sub(MAX_PART);
        while end > self.first.saturating_add(SIZE) {
            let from = end.saturating_sub(BLOCK);
            let entries = self.entries(from..end, read)?;
            if let Some((entry, _)) = entries.last().filter(|(entry, _)| *entry > self.first) {
                return Ok(*entry);
            }
            if from < least && from > self.first {
                return Err(Error::TooLarge("distance of keyframes").into());
            }
            end = from;
        }
        Ok(0)
    }

    /// Where the next part begins behind `place`.
    fn next_entry<E: From<Error>>(
        &self,
        place: u64,
        read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<Option<u64>, E> {
        let is_first = place == 0 && self.first == 0;
        let from = if is_first { 0 } else { place.saturating_add(SIZE) };
        let end = place.saturating_add(MAX_PART).min(self.size);
        let found = self.entry_from(from, end, read)?;
        if found.is_none() && end < self.size {
            return Err(Error::TooLarge("distance of keyframes").into());
        }
        Ok(found.map(|(entry, _)| entry))
    }

    /// The first entry that begins in `from..to`, and its decoding time since the beginning.
    fn entry_from<E: From<Error>>(
        &self,
        from: u64,
        to: u64,
        read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<Option<(u64, i64)>, E> {
        let mut at = from.next_multiple_of(SIZE);
        let end = to.min(self.size);
        while at < end {
            let until = at.saturating_add(BLOCK).min(end);
            if let Some(entry) = self.entries(at..until, read)?.first() {
                return Ok(Some(*entry));
            }
            at = until;
        }
        Ok(None)
    }

    /// The entries in a range of at most [`BLOCK`] bytes, each with its decoding time since the beginning.
    fn entries<E: From<Error>>(
        &self,
        range: Range<u64>,
        read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>,
    ) -> Result<Vec<(u64, i64)>, E> {
        // Of sound, which packet is the first of its stretch depends on those in front of it in the stretch.
        let from = match self.has_pictures {
            true => range.start,
            false => range
                .start
                .saturating_sub(range.start.checked_rem(STRIDE).unwrap_or_default()),
        };
        let bytes = read(from, length(range.end.min(self.size).saturating_sub(from)))?;
        let (mut entries, mut stretch) = (Vec::new(), None);
        for (at, packet) in (from..).step_by(PACKET).zip(bytes.chunks_exact(PACKET)) {
            let packet = packet.first_chunk().and_then(|packet| Packet::parse(packet).ok());
            let Some(packet) = packet.filter(|packet| packet.pid == self.main && packet.starts) else {
                continue;
            };
            let times = packet
                .payload
                .and_then(|payload| pes::Header::parse(payload).ok()?.times);
            let Some(times) = times else { continue };
            let enters = if self.has_pictures {
                packet.random_access
            } else {
                stretch.replace(at.checked_div(STRIDE)) != Some(at.checked_div(STRIDE))
            };
            if enters && range.contains(&at) {
                let half = self.zero.saturating_add(HALF);
                let since = distance(half.cast_unsigned() & TIME_MASK, times.dts);
                entries.push((at, since.saturating_add(HALF)));
            }
        }
        Ok(entries)
    }
}

/// The first packets that are of no track.
fn tables(beginning: &[u8], tracks: &Tracks) -> Bytes {
    let is_other = |bytes: &&[u8]| {
        let packet = bytes.first_chunk().and_then(|bytes| Packet::parse(bytes).ok());
        packet.is_some_and(|packet| tracks.iter().all(|track| pid(track.id) != packet.pid))
    };
    let tables: Vec<&[u8]> = beginning
        .chunks_exact(PACKET)
        .filter(is_other)
        .take(MAX_TABLES)
        .collect();
    tables.concat().into()
}

fn pid(track: TrackId) -> u16 {
    u16::try_from(track.0).unwrap_or(u16::MAX)
}

/// The decoding time of a frame in ticks of 90 kHz.
fn ninetieth(tracks: &Tracks, frame: &Frame) -> i64 {
    let track = tracks.iter().find(|track| track.id == frame.track);
    let rate = track.map_or(CLOCK_RATE, |track| track.clock_rate).max(1);
    let time = i128::from(frame.dts).saturating_mul(CLOCK_RATE.into());
    i64::try_from(time.div_euclid(rate.into())).unwrap_or_default()
}

fn length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// Fills up to `size` bytes with a box that says nothing.
fn put_free(bytes: &mut BytesMut, size: usize) {
    let left = size.saturating_sub(bytes.len());
    bytes.put_u32(u32::try_from(left).unwrap_or_default());
    bytes.put_slice(b"free");
    bytes.put_bytes(0, left.saturating_sub(BOX));
}

#[cfg(test)]
#[path = "view_tests.rs"]
mod tests;

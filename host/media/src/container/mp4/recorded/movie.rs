//! The header that a range of recordings gets: for a fragmented file, or for a plain one whose tables are sent as they are made.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    super::boxes::{patch, put_box, put_full},
    Track,
    table::{TableKind, Tally},
};
use crate::Error;

/// Ticks of the movie itself: edit lists are measured in them.
const MOVIE_RATE: u32 = 1_000;
/// No rotation, no scaling.
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// Version, flags, and the number of entries of a table behind its size and kind.
const TABLE_HEAD: u64 = 16;
/// `stsz` says in front of that that sizes differ.
const SIZES_HEAD: u64 = 20;
/// A box of `mdat` with a size of 64 bits, whatever its size.
const DATA_HEAD: u64 = 16;

/// The header of a fragmented file with these tracks.
///
/// # Errors
/// A field has no room for what it must tell.
pub fn fragmented(tracks: &[Track]) -> Result<Bytes, Error> {
    let mut buffer = BytesMut::new();
    put_type(&mut buffer);
    let mut result = Ok(());
    put_box(&mut buffer, *b"moov", |buffer| {
        put_full(buffer, *b"mvhd", 0, 0, |buffer| put_mvhd(buffer, tracks, 0));
        for track in tracks {
            let opened = put_track(buffer, track, None, 0);
            for kind in [b"stts", b"stsc", b"stco"] {
                put_full(buffer, *kind, 0, 0, |buffer| buffer.put_u32(0));
            }
            put_full(buffer, *b"stsz", 0, 0, |buffer| buffer.put_u64(0));
            let closed = opened.and_then(|opened| close(buffer, opened, 0));
            result = result.and(closed);
        }
        put_box(buffer, *b"mvex", |buffer| {
            for track in tracks {
                put_full(buffer, *b"trex", 0, 0, |buffer| {
                    buffer.put_u32(track.id);
                    // The one sample entry; durations, sizes and flags are with the parts.
                    buffer.put_u32(1);
                    buffer.put_bytes(0, 12);
                });
            }
        });
    });
    result.map(|()| buffer.freeze())
}

/// A plain file in pieces, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presentation {
    /// These bytes.
    Bytes(Bytes),
    /// The entries of a table of the track at this place.
    Table(usize, TableKind),
    /// The samples' bytes.
    Data,
}

/// What a plain file with these tracks begins with, each with its tally; `data` bytes of samples follow, the first of them at
/// the place that is answered too. Tracks without a sample are left out.
///
/// # Errors
/// There is no sample at all, or a box becomes too large.
pub fn progressive(tracks: &[Track], tallies: &[Tally], data: u64) -> Result<(Vec<Presentation>, u64), Error> {
    let mut pieces = Vec::new();
    let mut buffer = BytesMut::new();
    put_type(&mut buffer);
    let moov = buffer.len();
    buffer.put_u32(0);
    buffer.put_slice(b"moov");
    let shown = || {
        tracks
            .iter()
            .zip(tallies)
            .enumerate()
            .filter(|(_, (_, tally))| tally.first().is_some())
    };
    let ends = shown().map(|(_, (track, tally))| in_movie(tally.end(), track.clock_rate));
    let end = ends.max().ok_or(Error::Invalid("range without samples"))?;
    put_full(&mut buffer, *b"mvhd", 1, 0, |buffer| put_mvhd(buffer, tracks, end));
    // What tables add behind the bytes that are in hand.
    let mut apart = 0u64;
    for (place, (track, tally)) in shown() {
        let opened = put_track(&mut buffer, track, Some(tally), end)?;
        let mut tables = 0u64;
        for (kind, entries) in tally.tables() {
            let count = u32::try_from(entries).map_err(|_| Error::TooLarge("table"))?;
            let head = if kind == TableKind::Sizes {
                SIZES_HEAD
            } else {
                TABLE_HEAD
            };
            let table = tally.bytes(kind);
            let whole = u32::try_from(table.saturating_add(head)).map_err(|_| Error::TooLarge("table"))?;
            buffer.put_u32(whole);
            buffer.put_slice(&kind.letters());
            // Delays may be negative.
            buffer.put_u32(if kind == TableKind::Delays { 0x0100_0000 } else { 0 });
            if kind == TableKind::Sizes {
                buffer.put_u32(0);
            }
            buffer.put_u32(count);
            tables = tables.saturating_add(table);
            pieces.push((buffer.len(), Presentation::Table(place, kind)));
        }
        // What this track sends from elsewhere is behind it, but for its own tables.
        close(&mut buffer, opened, tables)?;
        apart = apart.saturating_add(tables);
    }
    let in_hand = u64::try_from(buffer.len()).unwrap_or(u64::MAX);
    let size = in_hand
        .saturating_add(apart)
        .saturating_sub(u64::try_from(moov).unwrap_or_default());
    patch(
        &mut buffer,
        moov,
        u32::try_from(size).map_err(|_| Error::TooLarge("header"))?,
    );
    buffer.put_u32(1);
    buffer.put_slice(b"mdat");
    buffer.put_u64(data.saturating_add(DATA_HEAD));
    let begins = in_hand.saturating_add(apart).saturating_add(DATA_HEAD);
    // The bytes are done; now they can be cut where the tables go.
    let mut rest = buffer.freeze();
    let mut cut = 0usize;
    let mut answer = Vec::with_capacity(pieces.len().saturating_mul(2).saturating_add(2));
    for (at, table) in pieces {
        let bytes = rest.split_to(at.saturating_sub(cut).min(rest.len()));
        cut = at;
        answer.push(Presentation::Bytes(bytes));
        answer.push(table);
    }
    answer.push(Presentation::Bytes(rest));
    answer.push(Presentation::Data);
    Ok((answer, begins))
}

fn put_type(buffer: &mut BytesMut) {
    put_box(buffer, *b"ftyp", |buffer| {
        buffer.put_slice(b"iso5\0\0\x02\0iso5iso6mp41")
    });
}

fn put_mvhd(buffer: &mut BytesMut, tracks: &[Track], duration: u64) {
    if duration == 0 {
        buffer.put_bytes(0, 8);
        buffer.put_u32(MOVIE_RATE);
        buffer.put_u32(0);
    } else {
        buffer.put_bytes(0, 16);
        buffer.put_u32(MOVIE_RATE);
        buffer.put_u64(duration);
    }
    // Normal speed, full volume.
    buffer.put_u32(0x1_0000);
    buffer.put_u16(0x100);
    buffer.put_bytes(0, 10);
    UNITY.iter().for_each(|value| buffer.put_u32(*value));
    buffer.put_bytes(0, 24);
    let last = tracks.iter().map(|track| track.id).max().unwrap_or_default();
    buffer.put_u32(last.saturating_add(1));
}

/// Ticks of a track in those of the movie, rounded up: what an edit leaves out of its last sample is not shown.
fn in_movie(ticks: i64, clock_rate: u32) -> u64 {
    let ticks = u128::try_from(ticks).unwrap_or_default();
    let scaled = ticks
        .saturating_mul(MOVIE_RATE.into())
        .div_ceil(u128::from(clock_rate.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// Appends a `trak` whose tables are missing, and answers where the boxes begin that are still open. A track with a tally is one
/// of a plain file.
fn put_track(buffer: &mut BytesMut, track: &Track, tally: Option<&Tally>, end: u64) -> Result<[usize; 4], Error> {
    let media = tally.map_or(0, Tally::duration);
    let trak = open(buffer, *b"trak");
    let version = u8::from(tally.is_some());
    // Enabled and part of the presentation.
    put_full(buffer, *b"tkhd", version, 3, |buffer| {
        if version == 1 {
            buffer.put_bytes(0, 16);
            buffer.put_u32(track.id);
            buffer.put_u32(0);
            buffer.put_u64(end);
        } else {
            buffer.put_bytes(0, 8);
            buffer.put_u32(track.id);
            buffer.put_bytes(0, 8);
        }
        // Reserved, layer, group.
        buffer.put_bytes(0, 12);
        buffer.put_u16(if track.handler == *b"soun" { 0x100 } else { 0 });
        buffer.put_u16(0);
        UNITY.iter().for_each(|value| buffer.put_u32(*value));
        track.size.iter().for_each(|value| buffer.put_u32(*value));
    });
    if let Some(first) = tally.and_then(Tally::first) {
        put_edits(buffer, track, first.dts, first.later.into(), end);
    }
    let mdia = open(buffer, *b"mdia");
    put_full(buffer, *b"mdhd", version, 0, |buffer| {
        if version == 1 {
            buffer.put_bytes(0, 16);
            buffer.put_u32(track.clock_rate);
            buffer.put_u64(media);
        } else {
            buffer.put_bytes(0, 8);
            buffer.put_u32(track.clock_rate);
            buffer.put_u32(0);
        }
        // Language undetermined.
        buffer.put_u32(0x55c4_0000);
    });
    put_full(buffer, *b"hdlr", 0, 0, |buffer| {
        buffer.put_u32(0);
        buffer.put_slice(&track.handler);
        buffer.put_bytes(0, 13);
    });
    let minf = open(buffer, *b"minf");
    match &track.handler {
        b"vide" => put_full(buffer, *b"vmhd", 0, 1, |buffer| buffer.put_bytes(0, 8)),
        b"soun" => put_full(buffer, *b"smhd", 0, 0, |buffer| buffer.put_bytes(0, 4)),
        _ => put_full(buffer, *b"nmhd", 0, 0, |_| {}),
    }
    put_box(buffer, *b"dinf", |buffer| {
        put_full(buffer, *b"dref", 0, 0, |buffer| {
            buffer.put_u32(1);
            // The samples are in this file.
            put_full(buffer, *b"url ", 0, 1, |_| {});
        });
    });
    let stbl = open(buffer, *b"stbl");
    put_full(buffer, *b"stsd", 0, 0, |buffer| {
        buffer.put_u32(1);
        buffer.put_slice(&track.entry);
    });
    if buffer.len() > MAX_HEADER {
        return Err(Error::TooLarge("header"));
    }
    Ok([trak, mdia, minf, stbl])
}

/// Bytes of a header without its tables.
const MAX_HEADER: usize = 512 << 10;

/// The moment 0 is where the range begins: what comes before it is decoded and not shown, and a track that begins later waits.
fn put_edits(buffer: &mut BytesMut, track: &Track, dts: i64, later: i64, end: u64) {
    let shown = dts.saturating_add(later);
    let pause = in_movie(shown, track.clock_rate);
    // Ticks of the media count from the first sample's decoding.
    let from = if shown >= 0 { later } else { dts.saturating_neg() };
    put_box(buffer, *b"edts", |buffer| {
        put_full(buffer, *b"elst", 1, 0, |buffer| {
            buffer.put_u32(if pause > 0 { 2 } else { 1 });
            if pause > 0 {
                buffer.put_u64(pause);
                buffer.put_i64(-1);
                buffer.put_u32(0x1_0000);
            }
            buffer.put_u64(end.saturating_sub(pause));
            buffer.put_i64(from);
            buffer.put_u32(0x1_0000);
        });
    });
}

/// Begins a box; answers where.
fn open(buffer: &mut BytesMut, kind: [u8; 4]) -> usize {
    let start = buffer.len();
    buffer.put_u32(0);
    buffer.put_slice(&kind);
    start
}

/// Sets the sizes of boxes that end here, but for `more` bytes that are sent from elsewhere.
fn close(buffer: &mut BytesMut, starts: [usize; 4], more: u64) -> Result<(), Error> {
    for start in starts {
        let size = u64::try_from(buffer.len().saturating_sub(start)).unwrap_or(u64::MAX);
        let size = u32::try_from(size.saturating_add(more)).map_err(|_| Error::TooLarge("track"))?;
        patch(buffer, start, size);
    }
    Ok(())
}

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
    super::{
        boxes::patch,
        header::{self, MOVIE_RATE, Times, close, put_mvhd, put_track, put_type},
    },
    Track,
    table::{TableKind, Tally},
};
use crate::Error;

/// Version, flags, and the number of entries of a table behind its size and kind.
const TABLE_HEAD: u64 = 16;
/// `stsz` says in front of that that sizes differ.
const SIZES_HEAD: u64 = 20;
/// A box of `mdat` with a size of 64 bits, whatever its size.
const DATA_HEAD: u64 = 16;

/// The header of a fragmented file with these tracks, whose times are those of [`samples`](super::samples): no edit list
/// comes with them.
///
/// # Errors
/// A field has no room for what it must tell.
pub fn fragmented(tracks: &[Track]) -> Result<Bytes, Error> {
    header::fragmented(tracks.iter().map(|track| (track, 0)), None)
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
    put_mvhd(&mut buffer, tracks.iter(), Some(end));
    // What tables add behind the bytes that are in hand.
    let mut apart = 0u64;
    for (place, (track, tally)) in shown() {
        let opened = put_track(&mut buffer, track, &times(track, tally, end))?;
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

/// Ticks of a track in those of the movie, rounded up: what an edit leaves out of its last sample is not shown.
fn in_movie(ticks: i64, clock_rate: u32) -> u64 {
    let ticks = u128::try_from(ticks).unwrap_or_default();
    let scaled = ticks
        .saturating_mul(MOVIE_RATE.into())
        .div_ceil(u128::from(clock_rate.max(1)));
    u64::try_from(scaled).unwrap_or(u64::MAX)
}

/// The moment 0 is where the range begins: what comes before it is decoded and not shown, and a track that begins later waits.
/// The movie lasts until `end`.
fn times(track: &Track, tally: &Tally, end: u64) -> Times {
    let mut edits = Vec::with_capacity(2);
    if let Some(first) = tally.first() {
        let later = first.later.into();
        let shown = first.dts.saturating_add(later);
        let pause = in_movie(shown, track.clock_rate);
        if pause > 0 {
            edits.push((pause, -1));
        }
        // Ticks of the media count from the first sample's decoding.
        let from = if shown >= 0 { later } else { first.dts.saturating_neg() };
        edits.push((end.saturating_sub(pause), from));
    }
    Times {
        duration: Some((end, tally.duration())),
        edits,
    }
}

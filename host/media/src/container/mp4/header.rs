//! What a file begins with: `ftyp` and `moov`, for a fragmented file whole, for a plain one without its tables.
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
    Segment,
    boxes::{Kind, patch, put_box, put_full},
    track::Track,
};
use crate::Error;

/// Ticks of the file itself: pauses in front of a track are measured in them, and should be as exact as any track.
pub(super) const MOVIE_RATE: u32 = 1_000_000;
/// No rotation, no scaling.
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];
/// Bytes of a header without its tables.
const MAX_HEADER: usize = 512 << 10;

/// What a track says of time.
#[derive(Default)]
pub(super) struct Times {
    /// How long it is, in ticks of the movie and of the track; None when that is not known yet.
    pub(super) duration: Option<(u64, u64)>,
    /// How long, in ticks of the movie, what of the media is shown, in ticks of the track from the first sample on; -1 for a
    /// pause.
    pub(super) edits: Vec<(u64, i64)>,
}

/// The header of a fragmented file with these tracks. Of each, so many ticks are decoded before the presentation begins.
///
/// # Errors
/// A field has no room for what it must tell.
pub(super) fn fragmented<'a>(
    tracks: impl Iterator<Item = (&'a Track, i64)> + Clone,
    segment: Option<&Segment>,
) -> Result<Bytes, Error> {
    let mut buffer = BytesMut::new();
    put_type(&mut buffer);
    let mut result = Ok(());
    put_box(&mut buffer, *b"moov", |buffer| {
        put_mvhd(buffer, tracks.clone().map(|(track, _)| track), None);
        for (track, lead) in tracks.clone() {
            // Until the end.
            let edits = if lead > 0 { vec![(0, lead)] } else { Vec::new() };
            let duration = None;
            let opened = put_track(buffer, track, &Times { duration, edits });
            for kind in [b"stts", b"stsc", b"stco"] {
                put_full(buffer, *kind, 0, 0, |buffer| buffer.put_u32(0));
            }
            put_full(buffer, *b"stsz", 0, 0, |buffer| buffer.put_u64(0));
            let closed = opened.and_then(|opened| close(buffer, opened, 0));
            result = result.and(closed);
        }
        put_box(buffer, *b"mvex", |buffer| {
            for (track, _) in tracks {
                put_full(buffer, *b"trex", 0, 0, |buffer| {
                    buffer.put_u32(track.id);
                    // The one sample entry; durations, sizes and flags are with the parts.
                    buffer.put_u32(1);
                    buffer.put_bytes(0, 12);
                });
            }
        });
        // Behind everything else, as MediaMTX has it.
        if let Some(segment) = segment {
            put_box(buffer, *b"udta", |buffer| segment.put(buffer));
        }
    });
    result.map(|()| buffer.freeze())
}

/// Appends `ftyp`.
pub(super) fn put_type(buffer: &mut BytesMut) {
    put_box(buffer, *b"ftyp", |buffer| {
        buffer.put_slice(b"iso5\0\0\x02\0iso5iso6mp41");
    });
}

/// Appends `mvhd`. The duration is in ticks of the movie.
pub(super) fn put_mvhd<'a>(buffer: &mut BytesMut, tracks: impl Iterator<Item = &'a Track>, duration: Option<u64>) {
    put_full(buffer, *b"mvhd", u8::from(duration.is_some()), 0, |buffer| {
        put_rate_and_duration(buffer, MOVIE_RATE, duration);
        // Normal speed, full volume.
        buffer.put_u32(0x1_0000);
        buffer.put_u16(0x100);
        buffer.put_bytes(0, 10);
        UNITY.iter().for_each(|value| buffer.put_u32(*value));
        buffer.put_bytes(0, 24);
        let last = tracks.map(|track| track.id).max().unwrap_or_default();
        buffer.put_u32(last.saturating_add(1));
    });
}

/// `mvhd` and `mdhd` begin alike, with 64 bits in version 1, which says a duration.
fn put_rate_and_duration(buffer: &mut BytesMut, rate: u32, duration: Option<u64>) {
    buffer.put_bytes(0, if duration.is_some() { 16 } else { 8 });
    buffer.put_u32(rate);
    match duration {
        Some(duration) => buffer.put_u64(duration),
        None => buffer.put_u32(0),
    }
}

/// Appends a `trak` whose tables are missing, and answers where the boxes begin that are still open.
pub(super) fn put_track(buffer: &mut BytesMut, track: &Track, times: &Times) -> Result<[usize; 4], Error> {
    let version = u8::from(times.duration.is_some());
    let trak = open(buffer, *b"trak");
    // Enabled and part of the presentation.
    put_full(buffer, *b"tkhd", version, 3, |buffer| {
        put_tkhd(buffer, track, times.duration.map(|(movie, _)| movie));
    });
    if !times.edits.is_empty() {
        put_box(buffer, *b"edts", |buffer| {
            put_full(buffer, *b"elst", 1, 0, |buffer| {
                buffer.put_u32(u32::try_from(times.edits.len()).unwrap_or_default());
                for (duration, from) in &times.edits {
                    buffer.put_u64(*duration);
                    buffer.put_i64(*from);
                    buffer.put_u32(0x1_0000);
                }
            });
        });
    }
    let mdia = open(buffer, *b"mdia");
    put_full(buffer, *b"mdhd", version, 0, |buffer| {
        put_rate_and_duration(buffer, track.clock_rate, times.duration.map(|(_, media)| media));
        // Language undetermined.
        buffer.put_u32(0x55c4_0000);
    });
    put_full(buffer, *b"hdlr", 0, 0, |buffer| {
        buffer.put_u32(0);
        buffer.put_slice(&track.handler);
        buffer.put_bytes(0, 12);
        buffer.put_slice(match &track.handler {
            b"vide" => b"video\0",
            b"soun" => b"sound\0",
            _ => b"\0",
        });
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

fn put_tkhd(buffer: &mut BytesMut, track: &Track, duration: Option<u64>) {
    buffer.put_bytes(0, if duration.is_some() { 16 } else { 8 });
    buffer.put_u32(track.id);
    buffer.put_u32(0);
    match duration {
        Some(duration) => buffer.put_u64(duration),
        None => buffer.put_u32(0),
    }
    // Reserved, layer, group.
    buffer.put_bytes(0, 12);
    buffer.put_u16(if track.handler == *b"soun" { 0x100 } else { 0 });
    buffer.put_u16(0);
    UNITY.iter().for_each(|value| buffer.put_u32(*value));
    track.size.iter().for_each(|value| buffer.put_u32(*value));
}

/// Begins a box; answers where.
fn open(buffer: &mut BytesMut, kind: Kind) -> usize {
    let start = buffer.len();
    buffer.put_u32(0);
    buffer.put_slice(&kind);
    start
}

/// Sets the sizes of boxes that end here, but for `more` bytes that are sent from elsewhere.
pub(super) fn close(buffer: &mut BytesMut, starts: [usize; 4], more: u64) -> Result<(), Error> {
    for start in starts {
        let size = u64::try_from(buffer.len().saturating_sub(start)).unwrap_or(u64::MAX);
        let size = u32::try_from(size.saturating_add(more)).map_err(|_| Error::TooLarge("track"))?;
        patch(buffer, start, size);
    }
    Ok(())
}

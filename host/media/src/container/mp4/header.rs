//! What a fragmented file begins with: `ftyp` and `moov`, the tables in it empty.
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
    boxes::{put_box, put_full},
    describe,
    first::First,
};
use crate::{Codec, Error, Kind};

/// Ticks of the file itself; nothing is measured in them.
const MOVIE_RATE: u32 = 1_000;
/// No rotation, no scaling.
const UNITY: [u32; 9] = [0x1_0000, 0, 0, 0, 0x1_0000, 0, 0, 0, 0x4000_0000];

/// A track as the header says it.
pub(super) struct Track<'a> {
    pub(super) id: u32,
    pub(super) kind: Kind,
    pub(super) codec: &'a Codec,
    pub(super) clock_rate: u32,
    /// Ticks of media that are decoded before the presentation begins.
    pub(super) lead: i64,
    /// What its first frame told.
    pub(super) first: Option<First>,
}

impl Track<'_> {
    fn size(&self) -> (u32, u32) {
        let of_frame = self.first.as_ref().and_then(First::dimensions);
        of_frame.or_else(|| self.codec.dimensions()).unwrap_or_default()
    }
}

pub(super) fn write(tracks: &[Track<'_>], segment: Option<&Segment>) -> Result<Bytes, Error> {
    let mut buffer = BytesMut::new();
    let mut result = Ok(());
    put_box(&mut buffer, *b"ftyp", |buffer| {
        buffer.put_slice(b"iso5\0\0\x02\0iso5iso6mp41");
    });
    put_box(&mut buffer, *b"moov", |buffer| {
        put_full(buffer, *b"mvhd", 0, 0, |buffer| put_mvhd(buffer, tracks));
        for track in tracks {
            put_box(buffer, *b"trak", |buffer| {
                let put = put_trak(buffer, track);
                result = result.and(put);
            });
        }
        put_box(buffer, *b"mvex", |buffer| {
            for track in tracks {
                put_full(buffer, *b"trex", 0, 0, |buffer| {
                    buffer.put_u32(track.id);
                    // The one sample entry; durations, sizes and flags are with the fragments.
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

fn put_mvhd(buffer: &mut BytesMut, tracks: &[Track<'_>]) {
    buffer.put_bytes(0, 8);
    buffer.put_u32(MOVIE_RATE);
    // Duration unknown, normal speed, full volume.
    buffer.put_u32(0);
    buffer.put_u32(0x1_0000);
    buffer.put_u16(0x100);
    buffer.put_bytes(0, 10);
    UNITY.iter().for_each(|value| buffer.put_u32(*value));
    buffer.put_bytes(0, 24);
    let last = tracks.iter().map(|track| track.id).max().unwrap_or_default();
    buffer.put_u32(last.saturating_add(1));
}

fn put_trak(buffer: &mut BytesMut, track: &Track<'_>) -> Result<(), Error> {
    // Enabled and part of the presentation.
    put_full(buffer, *b"tkhd", 0, 3, |buffer| put_tkhd(buffer, track));
    if track.lead > 0 {
        put_box(buffer, *b"edts", |buffer| {
            put_full(buffer, *b"elst", 1, 0, |buffer| {
                buffer.put_u32(1);
                // Until the end.
                buffer.put_u64(0);
                buffer.put_i64(track.lead);
                buffer.put_u32(0x1_0000);
            });
        });
    }
    let mut result = Ok(());
    put_box(buffer, *b"mdia", |buffer| {
        put_full(buffer, *b"mdhd", 0, 0, |buffer| {
            buffer.put_bytes(0, 8);
            buffer.put_u32(track.clock_rate);
            buffer.put_u32(0);
            // Language undetermined.
            buffer.put_u32(0x55c4_0000);
        });
        let (handler, name) = match track.kind {
            Kind::Audio => (b"soun", &b"sound\0"[..]),
            _ => (b"vide", &b"video\0"[..]),
        };
        put_full(buffer, *b"hdlr", 0, 0, |buffer| {
            buffer.put_u32(0);
            buffer.put_slice(handler);
            buffer.put_bytes(0, 12);
            buffer.put_slice(name);
        });
        put_box(buffer, *b"minf", |buffer| result = put_minf(buffer, track));
    });
    result
}

fn put_tkhd(buffer: &mut BytesMut, track: &Track<'_>) {
    buffer.put_bytes(0, 8);
    buffer.put_u32(track.id);
    buffer.put_bytes(0, 16);
    // Layer, group.
    buffer.put_u32(0);
    buffer.put_u16(if track.kind == Kind::Audio { 0x100 } else { 0 });
    buffer.put_u16(0);
    UNITY.iter().for_each(|value| buffer.put_u32(*value));
    let (width, height) = track.size();
    buffer.put_u32(width << 16);
    buffer.put_u32(height << 16);
}

fn put_minf(buffer: &mut BytesMut, track: &Track<'_>) -> Result<(), Error> {
    match track.kind {
        Kind::Audio => put_full(buffer, *b"smhd", 0, 0, |buffer| buffer.put_bytes(0, 4)),
        _ => put_full(buffer, *b"vmhd", 0, 1, |buffer| buffer.put_bytes(0, 8)),
    }
    put_box(buffer, *b"dinf", |buffer| {
        put_full(buffer, *b"dref", 0, 0, |buffer| {
            buffer.put_u32(1);
            // The samples are in this file.
            put_full(buffer, *b"url ", 0, 1, |_| {});
        });
    });
    let mut result = Ok(());
    put_box(buffer, *b"stbl", |buffer| {
        put_full(buffer, *b"stsd", 0, 0, |buffer| {
            buffer.put_u32(1);
            result = describe::write(buffer, track.codec, track.first);
        });
        for kind in [b"stts", b"stsc", b"stco"] {
            put_full(buffer, *kind, 0, 0, |buffer| buffer.put_u32(0));
        }
        put_full(buffer, *b"stsz", 0, 0, |buffer| buffer.put_u64(0));
    });
    result
}

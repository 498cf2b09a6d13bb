//! Sample entries, written: what `stsd` says of a codec.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{BufMut, BytesMut};

use super::{
    boxes::{Kind, put_box, put_full},
    entry::{DECODER_CONFIG, DECODER_SPECIFIC, ES, JPEG, LAST_STREAM_INFO, MPEG1_LAYERS, MPEG4_AUDIO},
    first::First,
};
use crate::{Codec, Error, codec::opus};

/// `streamType` of an `esds`, with the bit behind it that is always set.
const VISUAL_STREAM: u8 = 0x11;
const AUDIO_STREAM: u8 = 0x15;

/// Whether a track of this codec can be written.
pub(super) fn is_written(codec: &Codec) -> bool {
    kinds(codec).is_some()
}

/// The four letters of the sample entry and of the configuration in it.
fn kinds(codec: &Codec) -> Option<(Kind, Kind)> {
    Some(match codec {
        Codec::H264(_) => (*b"avc1", *b"avcC"),
        Codec::H265(_) => (*b"hvc1", *b"hvcC"),
        Codec::Av1(_) => (*b"av01", *b"av1C"),
        Codec::Vp9 => (*b"vp09", *b"vpcC"),
        Codec::Mjpeg => (*b"mp4v", *b"esds"),
        Codec::Aac(_) | Codec::Mp3 { .. } => (*b"mp4a", *b"esds"),
        Codec::Ac3 { .. } => (*b"ac-3", *b"dac3"),
        Codec::Flac(_) => (*b"fLaC", *b"dfLa"),
        Codec::Opus { .. } => (*b"Opus", *b"dOps"),
        // Signed samples only, which those of 8 bits are not.
        Codec::Lpcm { bit_depth: 16 | 24, .. } => (*b"ipcm", *b"pcmC"),
        _ => return None,
    })
}

/// Appends the sample entry of a codec. `first` is what the first frame of the track told.
pub(super) fn write(buffer: &mut BytesMut, codec: &Codec, first: Option<First>) -> Result<(), Error> {
    let (kind, record) = kinds(codec).ok_or(Error::Unsupported("codec in MP4"))?;
    let parameters = codec.parameters();
    if first.is_none() && First::is_needed(codec) {
        return Err(Error::Invalid("track before its first frame"));
    }
    let is_described = matches!(codec, Codec::Mp3 { .. } | Codec::Lpcm { .. }) || First::is_needed(codec);
    if parameters.is_empty() && !is_described {
        return Err(Error::Invalid("track before its parameter sets"));
    }
    let size = first
        .as_ref()
        .and_then(First::dimensions)
        .or_else(|| codec.dimensions());
    let sound = first.as_ref().and_then(First::audio).or_else(|| codec.audio());
    put_box(buffer, kind, |buffer| {
        // Reserved, data_reference_index.
        buffer.put_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        match sound {
            Some((rate, channels)) => put_audio(buffer, rate, channels, depth(codec)),
            None => put_visual(buffer, size.unwrap_or_default()),
        }
        match (codec, first) {
            (Codec::Vp9, Some(First::Vp9(header))) => put_full(buffer, record, 1, 0, |buffer| {
                buffer.put_slice(&header.configuration_record());
            }),
            (Codec::Mjpeg, _) => put_full(buffer, record, 0, 0, |buffer| {
                put_esds(buffer, JPEG, VISUAL_STREAM, &[]);
            }),
            (Codec::Aac(_), _) => put_full(buffer, record, 0, 0, |buffer| {
                put_esds(buffer, MPEG4_AUDIO, AUDIO_STREAM, &parameters);
            }),
            (Codec::Mp3 { .. }, _) => put_full(buffer, record, 0, 0, |buffer| {
                put_esds(buffer, MPEG1_LAYERS, AUDIO_STREAM, &[]);
            }),
            (Codec::Ac3 { .. }, Some(First::Ac3(header))) => put_box(buffer, record, |buffer| {
                buffer.put_slice(&header.specific());
            }),
            (Codec::Flac(_), _) => put_full(buffer, record, 0, 0, |buffer| {
                buffer.put_slice(&LAST_STREAM_INFO);
                buffer.put_slice(&parameters);
            }),
            (Codec::Opus { channels }, _) => put_box(buffer, record, |buffer| put_dops(buffer, *channels)),
            // Big-endian, as the flags say.
            (Codec::Lpcm { bit_depth, .. }, _) => put_full(buffer, record, 0, 0, |buffer| {
                buffer.put_slice(&[0, *bit_depth]);
            }),
            _ => put_box(buffer, record, |buffer| buffer.put_slice(&parameters)),
        }
    });
    Ok(())
}

/// What the entry says that a sample has bits. Of what is compressed it is always 16.
fn depth(codec: &Codec) -> u8 {
    match codec {
        Codec::Lpcm { bit_depth, .. } => *bit_depth,
        _ => 16,
    }
}

fn put_visual(buffer: &mut BytesMut, (width, height): (u32, u32)) {
    buffer.put_bytes(0, 16);
    buffer.put_u16(u16::try_from(width).unwrap_or_default());
    buffer.put_u16(u16::try_from(height).unwrap_or_default());
    // 72 dots per inch, twice.
    buffer.put_u32(0x48_0000);
    buffer.put_u32(0x48_0000);
    buffer.put_u32(0);
    // One frame per sample, no name of the encoder, no alpha.
    buffer.put_u16(1);
    buffer.put_bytes(0, 32);
    buffer.put_u16(24);
    buffer.put_u16(0xffff);
}

fn put_audio(buffer: &mut BytesMut, rate: u32, channels: u8, depth: u8) {
    buffer.put_bytes(0, 8);
    buffer.put_u16(channels.max(1).into());
    buffer.put_u16(depth.into());
    buffer.put_u32(0);
    // 16.16; a rate that does not fit is 0, and the record tells it.
    buffer.put_u16(u16::try_from(rate).unwrap_or_default());
    buffer.put_u16(0);
}

/// `config` is empty for what has no configuration of its own.
fn put_esds(buffer: &mut BytesMut, object_type: u8, stream: u8, config: &[u8]) {
    let tag = |buffer: &mut BytesMut, tag: u8, size: usize| {
        // Sizes in two groups of seven bits: a record has at most 256 bytes.
        let size = u16::try_from(size).unwrap_or_default();
        let [high, low] = (size << 1 & 0x7f00 | size & 0x7f | 0x8000).to_be_bytes();
        buffer.put_slice(&[tag, high, low]);
    };
    let specific = if config.is_empty() {
        0
    } else {
        config.len().saturating_add(3)
    };
    tag(buffer, ES, specific.saturating_add(22));
    buffer.put_slice(&[0, 0, 0]);
    tag(buffer, DECODER_CONFIG, specific.saturating_add(13));
    // Buffer size and bit rates unknown.
    buffer.put_slice(&[object_type, stream]);
    buffer.put_bytes(0, 11);
    if !config.is_empty() {
        tag(buffer, DECODER_SPECIFIC, config.len());
        buffer.put_slice(config);
    }
    // SLConfigDescriptor: predefined for MP4.
    buffer.put_slice(&[6, 1, 2]);
}

/// The binding of Opus, section 4.3.2.
fn put_dops(buffer: &mut BytesMut, channels: u8) {
    buffer.put_slice(&[0, channels, 0, 0, 0, 0, 0xbb, 0x80, 0, 0]);
    if channels <= 2 {
        buffer.put_u8(0);
        return;
    }
    let (streams, coupled, mapping) = opus::channel_mapping(channels);
    buffer.put_slice(&[1, streams, coupled]);
    buffer.put_slice(mapping);
}

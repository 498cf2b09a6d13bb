//! Sample entries: what a decoder must know, as `stsd` says it, to a [`Codec`] and back.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{BufMut, Bytes, BytesMut};

use super::boxes::{Boxes, Found, Kind, find, find_deep, full, put_box, put_full};
use crate::{
    Codec, Error, Kind as Media,
    codec::{aac, av1, flac, opus, vp9},
    container::sample::Description,
    read::Cursor,
};

/// Fields of a visual sample entry before the boxes in it.
const VISUAL: usize = 78;
/// Fields of an audio sample entry before the boxes in it.
const AUDIO: usize = 28;
/// `objectTypeIndication` of MPEG-4 audio.
const MPEG4_AUDIO: u8 = 0x40;
/// `objectTypeIndication` of MPEG-2 and of MPEG-1 audio layers; writers use either for MP3.
const MPEG2_LAYERS: u8 = 0x69;
const MPEG1_LAYERS: u8 = 0x6b;
/// Header of a last FLAC metadata block that is STREAMINFO.
const LAST_STREAM_INFO: [u8; 4] = [0x80, 0, 0, 34];
const ES: u8 = 3;
const DECODER_CONFIG: u8 = 4;
const DECODER_SPECIFIC: u8 = 5;

/// Reads one entry of `stsd`.
pub(super) fn read(found: &Found<'_>) -> Result<Description, Error> {
    let inside = |fields: usize| found.body.get(fields..).ok_or(Error::Truncated);
    let config = |fields, kind| find(inside(fields)?, kind).ok_or(Error::Invalid("sample entry without configuration"));
    match &found.kind {
        b"avc1" | b"avc3" => Description::avc(config(VISUAL, *b"avcC")?),
        b"hvc1" | b"hev1" => Description::hevc(config(VISUAL, *b"hvcC")?),
        b"av01" => av1::Parameters::from_configuration_record(config(VISUAL, *b"av1C")?)
            .map(|parameters| Description::new(Codec::Av1(parameters))),
        b"vp09" => inside(VISUAL).map(|_| Description::new(Codec::Vp9)),
        b"mp4a" => {
            let (_, _, mut cursor) =
                full(esds(found.body).ok_or(Error::Invalid("sample entry without configuration"))?)?;
            match decoder_config(&mut cursor)? {
                (MPEG4_AUDIO, mut specific) => {
                    let record = descriptor(&mut specific, DECODER_SPECIFIC)?;
                    aac::Config::parse(Bytes::copy_from_slice(record))
                        .map(|config| Description::new(Codec::Aac(config)))
                }
                (MPEG2_LAYERS | MPEG1_LAYERS, _) => {
                    let mut fields = Cursor::new(found.body);
                    fields.skip(16)?;
                    let channels = u8::try_from(fields.u16()?).map_err(|_| Error::Invalid("MPEG audio channels"))?;
                    fields.skip(6)?;
                    let sample_rate = fields.u16()?.into();
                    Ok(Description::new(Codec::Mp3 { sample_rate, channels }))
                }
                _ => Err(Error::Unsupported("MPEG audio object type")),
            }
        }
        b"fLaC" => {
            let (_, _, mut cursor) = full(config(AUDIO, *b"dfLa")?)?;
            cursor.skip(LAST_STREAM_INFO.len())?;
            flac::Config::parse(cursor.rest()).map(|config| Description::new(Codec::Flac(config)))
        }
        b"Opus" => {
            let mut cursor = Cursor::new(config(AUDIO, *b"dOps")?);
            cursor.skip(1)?;
            match cursor.u8()? {
                channels @ 1..=8 => Ok(Description::new(Codec::Opus { channels })),
                _ => Err(Error::Invalid("Opus channels")),
            }
        }
        _ => Err(Error::Unsupported("sample entry")),
    }
}

/// QuickTime's versions of the entry have more fields, and may wrap the box.
fn esds(entry: &[u8]) -> Option<&[u8]> {
    let more = match entry.get(8..10)? {
        [0, 1] => 16,
        [0, 2] => 36,
        _ => 0,
    };
    let inside = entry.get(AUDIO.saturating_add(more)..)?;
    find(inside, *b"esds").or_else(|| find_deep(inside, &[*b"wave", *b"esds"]))
}

/// The object type inside the descriptors of an `esds` (ISO/IEC 14496-1 section 7.2.6), and the descriptors behind it.
fn decoder_config<'a>(cursor: &mut Cursor<'a>) -> Result<(u8, Cursor<'a>), Error> {
    let mut es = Cursor::new(descriptor(cursor, ES)?);
    es.skip(2)?;
    let flags = es.u8()?;
    if flags & 0x80 != 0 {
        es.skip(2)?;
    }
    if flags & 0x40 != 0 {
        let length = es.u8()?.into();
        es.skip(length)?;
    }
    if flags & 0x20 != 0 {
        es.skip(2)?;
    }
    let mut decoder = Cursor::new(descriptor(&mut es, DECODER_CONFIG)?);
    let object_type = decoder.u8()?;
    decoder.skip(12)?;
    Ok((object_type, decoder))
}

/// The body of the descriptor that comes next: a tag, a size in groups of seven bits.
fn descriptor<'a>(cursor: &mut Cursor<'a>, tag: u8) -> Result<&'a [u8], Error> {
    if cursor.u8()? != tag {
        return Err(Error::Invalid("esds descriptor"));
    }
    let mut size = 0usize;
    for _ in 0..4 {
        let byte = cursor.u8()?;
        size = size << 7 | usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return cursor.take(size);
        }
    }
    Err(Error::Invalid("esds descriptor size"))
}

/// Whether a track of this codec can be written.
pub(super) fn is_written(codec: &Codec) -> bool {
    matches!(
        codec,
        Codec::H264(_)
            | Codec::H265(_)
            | Codec::Av1(_)
            | Codec::Vp9
            | Codec::Aac(_)
            | Codec::Mp3 { .. }
            | Codec::Flac(_)
            | Codec::Opus { .. }
    )
}

/// Appends the sample entry of a codec. `vp9` is what its first keyframe says, which has no record of its own.
pub(super) fn write(buffer: &mut BytesMut, codec: &Codec, vp9: Option<vp9::Header>) -> Result<(), Error> {
    let (kind, record): (Kind, Kind) = match codec {
        Codec::H264(_) => (*b"avc1", *b"avcC"),
        Codec::H265(_) => (*b"hvc1", *b"hvcC"),
        Codec::Av1(_) => (*b"av01", *b"av1C"),
        Codec::Vp9 => (*b"vp09", *b"vpcC"),
        Codec::Aac(_) | Codec::Mp3 { .. } => (*b"mp4a", *b"esds"),
        Codec::Flac(_) => (*b"fLaC", *b"dfLa"),
        Codec::Opus { .. } => (*b"Opus", *b"dOps"),
        _ => return Err(Error::Unsupported("codec in MP4")),
    };
    let parameters = codec.parameters();
    let size = match (codec, vp9) {
        (Codec::Vp9, Some(header)) => Some((header.width, header.height)),
        (Codec::Vp9, None) => return Err(Error::Invalid("VP9 track before its first keyframe")),
        (Codec::Mp3 { sample_rate: 0, .. }, _) => return Err(Error::Invalid("track before its first frame")),
        (Codec::Mp3 { .. }, _) => None,
        _ if parameters.is_empty() => return Err(Error::Invalid("track before its parameter sets")),
        _ => codec.dimensions(),
    };
    put_box(buffer, kind, |buffer| {
        // Reserved, data_reference_index.
        buffer.put_slice(&[0, 0, 0, 0, 0, 0, 0, 1]);
        match codec.audio() {
            Some((rate, channels)) => put_audio(buffer, rate, channels),
            None => put_visual(buffer, size.unwrap_or_default()),
        }
        match (codec, vp9) {
            (Codec::Vp9, Some(header)) => put_full(buffer, record, 1, 0, |buffer| {
                buffer.put_slice(&header.configuration_record());
            }),
            (Codec::Aac(_), _) => put_full(buffer, record, 0, 0, |buffer| {
                put_esds(buffer, MPEG4_AUDIO, &parameters)
            }),
            (Codec::Mp3 { .. }, _) => put_full(buffer, record, 0, 0, |buffer| put_esds(buffer, MPEG1_LAYERS, &[])),
            (Codec::Flac(_), _) => put_full(buffer, record, 0, 0, |buffer| {
                buffer.put_slice(&LAST_STREAM_INFO);
                buffer.put_slice(&parameters);
            }),
            (Codec::Opus { channels }, _) => put_box(buffer, record, |buffer| put_dops(buffer, *channels)),
            _ => put_box(buffer, record, |buffer| buffer.put_slice(&parameters)),
        }
    });
    Ok(())
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

fn put_audio(buffer: &mut BytesMut, rate: u32, channels: u8) {
    buffer.put_bytes(0, 8);
    buffer.put_u16(channels.max(1).into());
    buffer.put_u16(16);
    buffer.put_u32(0);
    // 16.16; a rate that does not fit is 0, and the record tells it.
    buffer.put_u16(u16::try_from(rate).unwrap_or_default());
    buffer.put_u16(0);
}

/// `config` is empty for what has no configuration of its own.
fn put_esds(buffer: &mut BytesMut, object_type: u8, config: &[u8]) {
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
    // An audio stream; buffer size and bit rates unknown.
    buffer.put_slice(&[object_type, 0x15]);
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

/// What kind of track `hdlr` says this is.
pub(super) fn media(hdlr: &[u8]) -> Result<Media, Error> {
    let (_, _, mut cursor) = full(hdlr)?;
    cursor.skip(4)?;
    Ok(match &cursor.array()? {
        b"vide" => Media::Video,
        b"soun" => Media::Audio,
        _ => Media::Data,
    })
}

/// The entries of `stsd`.
pub(super) fn entries(stsd: &[u8]) -> Result<Boxes<'_>, Error> {
    let (_, _, mut cursor) = full(stsd)?;
    cursor.skip(4)?;
    Ok(Boxes::new(cursor.rest()))
}

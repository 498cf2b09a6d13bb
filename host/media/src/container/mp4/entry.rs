//! Sample entries, read: what a decoder must know, as `stsd` says it.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::Bytes;

use super::boxes::{Found, find, find_deep, full};
use crate::{
    Codec, Error,
    codec::{aac, ac3, av1, flac},
    container::sample::Description,
    read::Cursor,
};

/// Fields of a visual sample entry before the boxes in it.
const VISUAL: usize = 78;
/// Fields of an audio sample entry before the boxes in it.
const AUDIO: usize = 28;
/// `objectTypeIndication` of MPEG-4 audio.
pub(super) const MPEG4_AUDIO: u8 = 0x40;
/// `objectTypeIndication` of MPEG-2 and of MPEG-1 audio layers; writers use either for MP3.
const MPEG2_LAYERS: u8 = 0x69;
pub(super) const MPEG1_LAYERS: u8 = 0x6b;
/// `objectTypeIndication` of JPEG.
pub(super) const JPEG: u8 = 0x6c;
/// Header of a last FLAC metadata block that is STREAMINFO.
pub(super) const LAST_STREAM_INFO: [u8; 4] = [0x80, 0, 0, 34];
pub(super) const ES: u8 = 3;
pub(super) const DECODER_CONFIG: u8 = 4;
pub(super) const DECODER_SPECIFIC: u8 = 5;

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
        b"mp4v" => {
            let (_, _, mut cursor) = full(config(VISUAL, *b"esds")?)?;
            match decoder_config(&mut cursor)? {
                (JPEG, _) => Ok(Description::new(Codec::Mjpeg)),
                _ => Err(Error::Unsupported("MPEG video object type")),
            }
        }
        b"jpeg" => inside(VISUAL).map(|_| Description::new(Codec::Mjpeg)),
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
                    let (sample_rate, channels) = sound(found.body)?;
                    Ok(Description::new(Codec::Mp3 { sample_rate, channels }))
                }
                _ => Err(Error::Unsupported("MPEG audio object type")),
            }
        }
        b"ac-3" => {
            let (sample_rate, channels) = ac3::specific(config(AUDIO, *b"dac3")?)?;
            Ok(Description::new(Codec::Ac3 { sample_rate, channels }))
        }
        b"ipcm" => {
            let (_, _, mut cursor) = full(config(AUDIO, *b"pcmC")?)?;
            let (sample_rate, channels) = sound(found.body)?;
            match (cursor.u8()?, cursor.u8()?) {
                (flags, bit_depth @ (16 | 24)) if flags & 1 == 0 && sample_rate > 0 && channels > 0 => {
                    Ok(Description::new(Codec::Lpcm {
                        bit_depth,
                        sample_rate,
                        channels,
                    }))
                }
                _ => Err(Error::Unsupported("form of PCM samples")),
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
            let channels = cursor.u8()?;
            cursor.skip(8)?;
            // Family 0 has no mapping; recorders write it for any number of channels.
            if cursor.u8()? != 0 {
                cursor.skip(usize::from(channels).saturating_add(2))?;
            }
            match channels {
                1..=8 => Ok(Description::new(Codec::Opus { channels })),
                _ => Err(Error::Invalid("Opus channels")),
            }
        }
        _ => Err(Error::Unsupported("sample entry")),
    }
}

/// Sample rate and channels, as the entry itself says them.
fn sound(entry: &[u8]) -> Result<(u32, u8), Error> {
    let mut fields = Cursor::new(entry);
    fields.skip(16)?;
    let channels = u8::try_from(fields.u16()?).map_err(|_| Error::Invalid("audio channels"))?;
    fields.skip(6)?;
    Ok((fields.u16()?.into(), channels))
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

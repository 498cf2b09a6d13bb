//! Tracks as the contract spells them, as those of `wasmtx-media`.

use bytes::Bytes;
use wasmtx_media::codec::{aac, av1, flac, h264, h265};
use wasmtx_media::{Codec, Kind, Track, TrackId};
use wasmtx_plugin::{Media, Track as Told};

/// The extra field of a track that the server makes: the id of the track that it is made of.
const MADE_OF: &str = "madeOf";
/// Those of G711 and LPCM, whose codec has no record.
const LAW: &str = "law";
const BIT_DEPTH: &str = "bitDepth";

/// A track whose codec is known here, and not broken.
pub(crate) fn known(told: &Told) -> Option<Track> {
    Some(Track {
        id: TrackId(told.id),
        kind: match told.media {
            Media::Video => Kind::Video,
            Media::Audio => Kind::Audio,
            Media::Data => return None,
        },
        codec: codec(told)?,
        clock_rate: told.clock_rate.max(1),
        extra: Vec::new(),
        derived: made_of(told).map(TrackId),
    })
}

/// The track that the server makes this one of.
pub(crate) fn made_of(told: &Told) -> Option<u32> {
    extra(told, MADE_OF)?.parse().ok()
}

fn extra<'a>(told: &'a Told, name: &str) -> Option<&'a str> {
    told.extra
        .iter()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.as_str())
}

fn codec(told: &Told) -> Option<Codec> {
    let record = &told.parameters[..];
    let channels = u8::try_from(told.channels).unwrap_or(u8::MAX);
    let sample_rate = told.sample_rate;
    let codec = match told.codec.as_str() {
        // Parameter sets may come with the stream.
        "H264" if record.is_empty() => Codec::H264(h264::Parameters::default()),
        "H265" if record.is_empty() => Codec::H265(h265::Parameters::default()),
        "AV1" if record.is_empty() => Codec::Av1(av1::Parameters::default()),
        "H264" => Codec::H264(h264::Parameters::from_configuration_record(record).ok()?.0),
        "H265" => Codec::H265(h265::Parameters::from_configuration_record(record).ok()?.0),
        "AV1" => Codec::Av1(av1::Parameters::from_configuration_record(record).ok()?),
        "VP8" => Codec::Vp8,
        "VP9" => Codec::Vp9,
        "M-JPEG" => Codec::Mjpeg,
        "MPEG-4 Audio" => Codec::Aac(aac::Config::parse(Bytes::copy_from_slice(record)).ok()?),
        "Opus" => Codec::Opus { channels },
        "MPEG-1/2 Audio" => Codec::Mp3 { sample_rate, channels },
        "AC3" => Codec::Ac3 { sample_rate, channels },
        "FLAC" => Codec::Flac(flac::Config::parse(record).ok()?),
        "G711" => Codec::G711 {
            mu_law: extra(told, LAW)? == "mu",
            sample_rate,
            channels,
        },
        "LPCM" => Codec::Lpcm {
            bit_depth: extra(told, BIT_DEPTH)?.parse().ok()?,
            sample_rate,
            channels,
        },
        _ => return None,
    };
    Some(codec)
}

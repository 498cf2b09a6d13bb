//! What can be made of what: a track and what is wanted of it become the words of the worker, and the track that comes out is
//! known before the worker runs.

use bytes::Bytes;
use wasmtx_codec::wire::{Decode, Encode, Source, Target};
use wasmtx_media::{
    Codec, Track,
    codec::{aac, opus},
};

/// What a track is to become. Zeros mean "as the source".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// As the API names it: "MPEG-4 Audio" or "Opus".
    pub codec: String,
    /// Bits per second; 0 is left to the encoder.
    pub bitrate: u32,
    /// Channels; of more than two, 0 makes two.
    pub channels: u32,
    /// Samples per second. Opus always has 48,000.
    pub sample_rate: u32,
}

/// What a track is in another form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Form {
    /// The codec with its configuration.
    pub codec: Codec,
    /// Ticks per second of its timestamps: its sample rate.
    pub clock_rate: u32,
    /// Bits per second; 0 is left to the encoder.
    pub bitrate: u32,
}

/// Of Opus, always.
const OPUS_RATE: u32 = 48_000;
/// Samples per second that the AAC encoder takes, ascending.
const AAC_RATES: [u32; 13] = [
    7_350, 8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000,
];
/// What a stream is taken for that does not say: rate and channels of nearly all of them. The decoder will know.
const USUAL: (u32, u8) = (48_000, 2);

/// What a track would be in the form that is asked for.
///
/// # Errors
/// Why it cannot be had, in one sentence.
pub(super) fn form(track: &Track, wanted: &Wanted) -> Result<Form, String> {
    let source = source(track)?;
    let channels = match wanted.channels {
        0 => source.channels.clamp(1, 2),
        asked => u8::try_from(asked).unwrap_or(u8::MAX),
    };
    let (codec, clock_rate) = match wanted.codec.as_str() {
        "MPEG-4 Audio" | "AAC" => {
            let least = if wanted.sample_rate == 0 {
                source.sample_rate
            } else {
                wanted.sample_rate
            };
            let rate = AAC_RATES
                .into_iter()
                .find(|rate| *rate >= least)
                .unwrap_or(AAC_RATES[12]);
            if wanted.sample_rate != 0 && rate != wanted.sample_rate {
                return Err(format!("AAC has no sample rate of {} Hz", wanted.sample_rate));
            }
            let config = aac::Config::new(aac::LOW_COMPLEXITY, rate, channels);
            (
                Codec::Aac(config.ok_or_else(|| format!("AAC has no form for {channels} channels"))?),
                rate,
            )
        }
        "Opus" => match (wanted.sample_rate, channels) {
            (0 | OPUS_RATE, 1..=8) => (Codec::Opus { channels }, OPUS_RATE),
            (0 | OPUS_RATE, _) => return Err(format!("Opus has no form for {channels} channels")),
            (rate, _) => return Err(format!("Opus is always made at {OPUS_RATE} Hz, not at {rate}")),
        },
        other => return Err(format!("{other} cannot be made, only MPEG-4 Audio and Opus")),
    };
    Ok(Form {
        codec,
        clock_rate,
        bitrate: wanted.bitrate,
    })
}

/// What the worker is to make.
///
/// # Errors
/// The form is none that [`form`] answers.
pub(super) fn target(form: &Form) -> Result<Target, String> {
    let (codec, channels) = match &form.codec {
        Codec::Aac(config) => (Encode::Aac, config.channels),
        Codec::Opus { channels } => (Encode::Opus, *channels),
        other => return Err(format!("{} cannot be made", other.name())),
    };
    Ok(Target {
        codec,
        sample_rate: form.clock_rate,
        channels,
        bitrate: form.bitrate,
    })
}

/// What the worker is given.
///
/// # Errors
/// The codec that cannot be decoded.
pub(super) fn source(track: &Track) -> Result<Source, String> {
    let name = track.codec.name();
    let (codec, parameters) = match &track.codec {
        Codec::Opus { channels } => (Decode::Opus, opus_head(*channels)),
        Codec::Mp3 { .. } => (Decode::Mp3, Bytes::new()),
        Codec::Ac3 { .. } => (Decode::Ac3, Bytes::new()),
        Codec::Flac(config) => (Decode::Flac, config.bytes()),
        Codec::Aac(config) => (Decode::Aac, config.bytes()),
        Codec::G711 { mu_law: true, .. } => (Decode::MuLaw, Bytes::new()),
        Codec::G711 { .. } => (Decode::ALaw, Bytes::new()),
        Codec::Lpcm { bit_depth: 8, .. } => (Decode::Pcm8, Bytes::new()),
        Codec::Lpcm { bit_depth: 16, .. } => (Decode::Pcm16, Bytes::new()),
        Codec::Lpcm { bit_depth: 24, .. } => (Decode::Pcm24, Bytes::new()),
        _ => return Err(format!("{name} cannot be re-encoded, only sound of known form")),
    };
    let (rate, channels) = track.codec.audio().unwrap_or_default();
    let sample_rate = if rate == 0 { USUAL.0 } else { rate };
    let channels = if channels == 0 { USUAL.1 } else { channels };
    if channels > 8 {
        return Err(format!("{name} of {channels} channels cannot be re-encoded, at most 8"));
    }
    Ok(Source {
        codec,
        sample_rate,
        channels,
        clock_rate: track.clock_rate.max(1),
        parameters,
    })
}

/// The identification header of RFC 7845 section 5.1, with nothing to skip. Up to two channels need none.
fn opus_head(channels: u8) -> Bytes {
    if channels <= 2 {
        return Bytes::new();
    }
    let (streams, coupled, mapping) = opus::channel_mapping(channels);
    let mut head = b"OpusHead\x01".to_vec();
    head.push(channels);
    head.extend([0, 0]);
    head.extend(OPUS_RATE.to_le_bytes());
    head.extend([0, 0, 1, streams, coupled]);
    head.extend(mapping);
    head.into()
}

#[cfg(test)]
mod tests {
    use wasmtx_media::{Kind, TrackId};

    use super::*;

    fn track(codec: Codec) -> Track {
        Track {
            id: TrackId(3),
            kind: Kind::Audio,
            codec,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        }
    }

    fn wanted(codec: &str, channels: u32, sample_rate: u32) -> Wanted {
        Wanted {
            codec: codec.to_owned(),
            channels,
            sample_rate,
            ..Wanted::default()
        }
    }

    fn alaw(sample_rate: u32, channels: u8) -> Track {
        track(Codec::G711 {
            mu_law: false,
            sample_rate,
            channels,
        })
    }

    #[test]
    fn what_comes_out_is_known_before_anything_runs() {
        let check = |track: &Track, wanted: Wanted, rate, channels| {
            let form = form(track, &wanted).unwrap();
            assert_eq!(form.clock_rate, rate);
            assert_eq!(form.codec.audio(), Some((rate, channels)));
            assert_eq!(target(&form).unwrap().sample_rate, rate);
        };
        check(&alaw(8_000, 1), wanted("MPEG-4 Audio", 0, 0), 8_000, 1);
        check(&alaw(8_000, 1), wanted("MPEG-4 Audio", 2, 44_100), 44_100, 2);
        check(&alaw(8_001, 5), wanted("AAC", 0, 0), 11_025, 2);
        check(&alaw(192_000, 2), wanted("AAC", 0, 0), 96_000, 2);
        check(&alaw(8_000, 1), wanted("Opus", 0, 0), 48_000, 1);
        check(&track(Codec::Opus { channels: 6 }), wanted("AAC", 0, 0), 48_000, 2);
        check(&track(Codec::Opus { channels: 6 }), wanted("AAC", 6, 0), 48_000, 6);
    }

    #[test]
    fn a_configuration_of_aac_has_two_bytes() {
        let form = form(&alaw(8_000, 1), &wanted("AAC", 2, 48_000)).unwrap();
        assert_eq!(form.codec.parameters(), &[0x11, 0x90][..]);
    }

    #[test]
    fn what_cannot_be_made_is_refused_in_words() {
        let check = |track: &Track, wanted: Wanted, expected: &str| {
            let error = form(track, &wanted).unwrap_err();
            assert!(error.contains(expected), "{error}");
        };
        check(&alaw(8_000, 1), wanted("MP3", 0, 0), "MP3 cannot be made");
        check(&alaw(8_000, 1), wanted("AAC", 0, 8_001), "no sample rate of 8001 Hz");
        check(&alaw(8_000, 1), wanted("AAC", 7, 0), "7 channels");
        check(&alaw(8_000, 1), wanted("Opus", 300, 0), "channels");
        check(&alaw(8_000, 1), wanted("Opus", 0, 44_100), "48000 Hz");
        check(&alaw(8_000, 9), wanted("Opus", 0, 0), "at most 8");
        check(&track(Codec::Vp8), wanted("AAC", 0, 0), "VP8 cannot be re-encoded");
    }

    #[test]
    fn the_header_of_many_channels_says_where_each_is() {
        assert_eq!(opus_head(2), Bytes::new());
        let head = opus_head(6);
        assert_eq!((head.len(), &head[9..12]), (19 + 2 + 6, &[6, 0, 0][..]));
        assert_eq!(head[18..], [1, 4, 2, 0, 4, 1, 2, 3, 5]);
    }
}

//! How codecs are named in tags.

use wasmtx_media::Codec;

/// Sample rates of the two bits that legacy audio tags have for them.
pub(super) const LEGACY_RATES: [u32; 4] = [5_512, 11_025, 22_050, 44_100];
/// What legacy G711 always has.
pub(super) const TELEPHONY_RATE: u32 = 8_000;

/// The coding of a tag's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    H264,
    H265,
    Av1,
    Vp8,
    Vp9,
    Aac,
    Mp3,
    Ac3,
    Opus,
    Flac,
    G711 {
        mu_law: bool,
        channels: u8,
    },
    /// Little-endian, where a sample has more than a byte.
    Lpcm {
        bit_depth: u8,
        sample_rate: u32,
        channels: u8,
    },
    /// A legacy codec that nothing here carries, by its name.
    Legacy(&'static str),
    /// A FourCC that nothing here carries.
    Unknown([u8; 4]),
}

/// FourCCs of Enhanced RTMP version 2 (sections "ExVideoTagHeader" and "ExAudioTagHeader").
const FOUR_CCS: [(&[u8; 4], Coding); 10] = [
    (b"avc1", Coding::H264),
    (b"hvc1", Coding::H265),
    (b"av01", Coding::Av1),
    (b"vp08", Coding::Vp8),
    (b"vp09", Coding::Vp9),
    (b"mp4a", Coding::Aac),
    (b".mp3", Coding::Mp3),
    (b"ac-3", Coding::Ac3),
    (b"Opus", Coding::Opus),
    (b"fLaC", Coding::Flac),
];

impl Coding {
    pub(super) fn of_four_cc(four_cc: [u8; 4]) -> Coding {
        let known = FOUR_CCS.iter().find(|(own, _)| **own == four_cc);
        known.map_or(Coding::Unknown(four_cc), |(_, coding)| *coding)
    }

    /// Of the upper four bits of a legacy audio tag's first byte, with its lower four.
    pub(super) fn of_legacy_audio(first: u8) -> Coding {
        let sample_rate = LEGACY_RATES[usize::from(first >> 2 & 3)];
        let bit_depth = if first & 2 == 0 { 8 } else { 16 };
        let channels = (first & 1) + 1;
        match first >> 4 {
            // Format 0 is "platform endian": every platform that has sent it was little-endian.
            0 | 3 => Coding::Lpcm {
                bit_depth,
                sample_rate,
                channels,
            },
            2 | 14 => Coding::Mp3,
            7 => Coding::G711 {
                mu_law: false,
                channels,
            },
            8 => Coding::G711 { mu_law: true, channels },
            10 => Coding::Aac,
            1 => Coding::Legacy("ADPCM"),
            4..=6 => Coding::Legacy("Nellymoser"),
            11 => Coding::Legacy("Speex"),
            _ => Coding::Legacy("unknown audio codec"),
        }
    }

    /// Of the lower four bits of a legacy video tag's first byte.
    pub(super) fn of_legacy_video(number: u8) -> Coding {
        match number {
            7 => Coding::H264,
            // Not in Adobe's specification; many encoders send it since before there were FourCCs.
            12 => Coding::H265,
            2 => Coding::Legacy("Sorenson H.263"),
            3 | 6 => Coding::Legacy("Screen video"),
            4 | 5 => Coding::Legacy("VP6"),
            _ => Coding::Legacy("unknown video codec"),
        }
    }

    pub(super) fn name(self) -> String {
        match self {
            Coding::H264 => "H264".into(),
            Coding::H265 => "H265".into(),
            Coding::Av1 => "AV1".into(),
            Coding::Vp8 => "VP8".into(),
            Coding::Vp9 => "VP9".into(),
            Coding::Aac => "MPEG-4 Audio".into(),
            Coding::Mp3 => "MPEG-1/2 Audio".into(),
            Coding::Ac3 => "AC3".into(),
            Coding::Opus => "Opus".into(),
            Coding::Flac => "FLAC".into(),
            Coding::G711 { .. } => "G711".into(),
            Coding::Lpcm { .. } => "LPCM".into(),
            Coding::Legacy(name) => name.into(),
            // What a stranger sends ends up in the log.
            Coding::Unknown(four_cc) => format!("FourCC {}", four_cc.escape_ascii()),
        }
    }
}

/// The FourCC of a codec that has one.
pub(super) fn four_cc(codec: &Codec) -> Option<&'static [u8; 4]> {
    Some(match codec {
        Codec::H264(_) => b"avc1",
        Codec::H265(_) => b"hvc1",
        Codec::Av1(_) => b"av01",
        Codec::Vp8 => b"vp08",
        Codec::Vp9 => b"vp09",
        Codec::Aac(_) => b"mp4a",
        Codec::Mp3 { .. } => b".mp3",
        Codec::Ac3 { .. } => b"ac-3",
        Codec::Opus { .. } => b"Opus",
        Codec::Flac(_) => b"fLaC",
        _ => return None,
    })
}

/// The first byte of a legacy audio tag of a codec that has one: format, rate, size, channels.
pub(super) fn legacy_audio(codec: &Codec) -> Option<u8> {
    // A rate beside the four is written as the next lower one; who decodes MP3 looks into its frames.
    let rate = |sample_rate: u32| {
        let upto = LEGACY_RATES
            .iter()
            .rposition(|rate| *rate <= sample_rate.max(LEGACY_RATES[0]));
        (upto.unwrap_or_default() as u8) << 2
    };
    let channels = |channels: u8| u8::from(channels > 1);
    Some(match codec {
        // Always these flags; the configuration tells.
        Codec::Aac(_) => 10 << 4 | 0xf,
        Codec::Mp3 {
            sample_rate: 8_000,
            channels: count,
        } => 14 << 4 | 2 | channels(*count),
        Codec::Mp3 {
            sample_rate,
            channels: count,
        } => 2 << 4 | rate(*sample_rate) | 2 | channels(*count),
        Codec::G711 {
            mu_law,
            sample_rate: TELEPHONY_RATE,
            channels: count @ (1 | 2),
        } => (if *mu_law { 8 } else { 7 }) << 4 | 2 | channels(*count),
        Codec::Lpcm {
            bit_depth: depth @ (8 | 16),
            sample_rate,
            channels: count @ (1 | 2),
        } if LEGACY_RATES.contains(sample_rate) => {
            3 << 4 | rate(*sample_rate) | if *depth == 16 { 2 } else { 0 } | channels(*count)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_on_the_wire_come_back() {
        for (name, coding) in FOUR_CCS {
            assert_eq!(Coding::of_four_cc(*name), coding);
        }
        let ac4 = Coding::of_four_cc(*b"ac\n4");
        assert_eq!(
            (ac4, ac4.name()),
            (Coding::Unknown(*b"ac\n4"), "FourCC ac\\n4".to_owned())
        );
        let check = |codec: Codec, byte: u8, coding: Coding| {
            assert_eq!(legacy_audio(&codec), Some(byte));
            assert_eq!(Coding::of_legacy_audio(byte), coding);
        };
        let (mu_law, sample_rate, channels) = (true, 8_000, 1);
        check(
            Codec::G711 {
                mu_law,
                sample_rate,
                channels,
            },
            0x82,
            Coding::G711 { mu_law, channels },
        );
        let (bit_depth, sample_rate, channels) = (16, 44_100, 2);
        check(
            Codec::Lpcm {
                bit_depth,
                sample_rate,
                channels,
            },
            0x3f,
            Coding::Lpcm {
                bit_depth,
                sample_rate,
                channels,
            },
        );
        check(
            Codec::Mp3 {
                sample_rate: 48_000,
                channels: 2,
            },
            0x2f,
            Coding::Mp3,
        );
        check(
            Codec::Mp3 {
                sample_rate: 8_000,
                channels: 1,
            },
            0xe2,
            Coding::Mp3,
        );
        check(
            Codec::Mp3 {
                sample_rate: 22_050,
                channels: 1,
            },
            0x2a,
            Coding::Mp3,
        );
    }

    #[test]
    fn what_legacy_tags_cannot_say_has_no_legacy_form() {
        assert_eq!(legacy_audio(&Codec::Opus { channels: 2 }), None);
        let wide = Codec::G711 {
            mu_law: true,
            sample_rate: 16_000,
            channels: 1,
        };
        assert_eq!((legacy_audio(&wide), four_cc(&wide)), (None, None));
        let studio = Codec::Lpcm {
            bit_depth: 16,
            sample_rate: 48_000,
            channels: 2,
        };
        assert_eq!(legacy_audio(&studio), None);
    }
}

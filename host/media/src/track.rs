//! What a publication carries: its tracks, and the one payload form of each codec.

use std::sync::Arc;

use bytes::Bytes;

use crate::codec::{aac, av1, flac, h264, h265};

/// Names a track within its publication. Ids stay the same for as long as the publication's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrackId(pub u32);

/// What a track is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
    /// Anything else: metadata, subtitles, unknown media.
    Data,
}

/// One elementary stream of a publication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Track {
    /// Unique within the publication.
    pub id: TrackId,
    /// Video, audio or data.
    pub kind: Kind,
    /// The codec with its configuration.
    pub codec: Codec,
    /// Ticks per second of every timestamp of this track; never 0.
    pub clock_rate: u32,
    /// What has no field (language, title, rid, …), by name.
    pub extra: Vec<(String, String)>,
    /// The track of the same publication that the server makes this one from; `None` for what the publisher sends.
    pub derived: Option<TrackId>,
}

/// The tracks that a reader gets whose protocol carries those that `carries` says: each of the publisher's tracks, or in
/// its place the first one made from it that is carried. In the publisher's order; what has no such form is left out.
pub fn readable(tracks: &[Track], carries: impl Fn(&Track) -> bool) -> Vec<&Track> {
    let sent = tracks.iter().filter(|track| track.derived.is_none());
    let form = |sent: &Track| {
        let forms = tracks
            .iter()
            .filter(|track| track.id == sent.id || track.derived == Some(sent.id));
        forms.into_iter().find(|track| carries(track))
    };
    sent.filter_map(form).collect()
}

/// The tracks of a publication, shared by everything that reads it.
pub type Tracks = Arc<[Track]>;

/// A codec, its configuration, and by that the one form of a frame's payload.
///
/// | codec | payload of one frame |
/// |---|---|
/// | H264, H265 | one access unit: NAL units, each behind a 4-byte big-endian length; no access unit delimiter; SEI kept; no parameter sets |
/// | AV1 | one temporal unit: OBUs that all have a size field; no temporal delimiter |
/// | VP8, VP9 | one frame |
/// | M-JPEG | one JFIF image |
/// | AAC | one raw access unit (no ADTS header) |
/// | Opus | one packet |
/// | MP3, AC-3, FLAC | one frame, header included |
/// | G711, LPCM | the interleaved samples of one RTP packet, LPCM big-endian |
/// | Generic | the payload of one RTP packet |
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Codec {
    /// ITU-T H.264. Parameter sets may be empty until the stream brings them.
    H264(h264::Parameters),
    /// ITU-T H.265. Parameter sets may be empty until the stream brings them.
    H265(h265::Parameters),
    /// AOMedia AV1. The sequence header may be empty until the stream brings it.
    Av1(av1::Parameters),
    /// VP8 (RFC 6386).
    Vp8,
    /// VP9.
    Vp9,
    /// JPEG pictures (RFC 2435).
    Mjpeg,
    /// MPEG-4 Audio (ISO/IEC 14496-3).
    Aac(aac::Config),
    /// Opus (RFC 6716), always on a 48 kHz clock.
    Opus {
        /// 1, 2, or up to 8 for multichannel.
        channels: u8,
    },
    /// MPEG-1 and MPEG-2 audio, layers I to III, always on the clock of [`mp3::CLOCK_RATE`](crate::codec::mp3::CLOCK_RATE).
    Mp3 {
        /// Hz; 0 until the first frame tells it.
        sample_rate: u32,
        /// 1 or 2; 0 until the first frame tells it.
        channels: u8,
    },
    /// AC-3 (ETSI TS 102 366).
    Ac3 {
        /// Hz.
        sample_rate: u32,
        /// 1 to 6, the low-frequency one included.
        channels: u8,
    },
    /// FLAC (RFC 9639).
    Flac(flac::Config),
    /// ITU-T G.711.
    G711 {
        /// µ-law when true, A-law when false.
        mu_law: bool,
        /// Hz.
        sample_rate: u32,
        /// Interleaved channels.
        channels: u8,
    },
    /// Linear PCM, signed, big-endian (L8 is unsigned offset binary as in RFC 3551).
    Lpcm {
        /// 8, 16 or 24.
        bit_depth: u8,
        /// Hz.
        sample_rate: u32,
        /// Interleaved channels.
        channels: u8,
    },
    /// An RTP format that wasmtx does not know: passed on as it came, to RTSP readers only.
    Generic {
        /// The RTP payload type that the publisher used.
        payload_type: u8,
        /// The value of `a=rtpmap` behind the payload type (`VND.ONVIF.METADATA/90000`); empty for a static payload type.
        rtpmap: String,
        /// The value of `a=fmtp` behind the payload type; empty when there was none.
        fmtp: String,
    },
}

impl Codec {
    /// The name that the API, the metrics and the plugins see (`compat.md` "track labels").
    pub fn name(&self) -> &'static str {
        match self {
            Codec::H264(_) => "H264",
            Codec::H265(_) => "H265",
            Codec::Av1(_) => "AV1",
            Codec::Vp8 => "VP8",
            Codec::Vp9 => "VP9",
            Codec::Mjpeg => "M-JPEG",
            Codec::Aac(_) => "MPEG-4 Audio",
            Codec::Opus { .. } => "Opus",
            Codec::Mp3 { .. } => "MPEG-1/2 Audio",
            Codec::Ac3 { .. } => "AC3",
            Codec::Flac(_) => "FLAC",
            Codec::G711 { .. } => "G711",
            Codec::Lpcm { .. } => "LPCM",
            Codec::Generic { .. } => "Generic",
        }
    }

    /// What a track of this codec is for. Of a format that is not known only its SDP says it: data.
    pub fn kind(&self) -> Kind {
        match self {
            Codec::H264(_) | Codec::H265(_) | Codec::Av1(_) | Codec::Vp8 | Codec::Vp9 | Codec::Mjpeg => Kind::Video,
            Codec::Aac(_)
            | Codec::Opus { .. }
            | Codec::Mp3 { .. }
            | Codec::Ac3 { .. }
            | Codec::Flac(_)
            | Codec::G711 { .. }
            | Codec::Lpcm { .. } => Kind::Audio,
            Codec::Generic { .. } => Kind::Data,
        }
    }

    /// Whether the two are the same codec in the same shape, whatever their in-band parameters: readers can stay when
    /// one is followed by the other.
    pub fn same_format(&self, other: &Codec) -> bool {
        match (self, other) {
            (Codec::H264(_), Codec::H264(_)) | (Codec::H265(_), Codec::H265(_)) | (Codec::Av1(_), Codec::Av1(_)) => {
                true
            }
            // Each frame says what it is.
            (Codec::Mp3 { .. }, Codec::Mp3 { .. }) => true,
            (Codec::Ac3 { sample_rate: old, .. }, Codec::Ac3 { sample_rate: new, .. }) => old == new,
            _ => self == other,
        }
    }

    /// Width and height where the codec's configuration tells them.
    pub fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            Codec::H264(parameters) => parameters.sps().ok().map(|sps| (sps.width, sps.height)),
            Codec::H265(parameters) => parameters.sps().ok().map(|sps| (sps.width, sps.height)),
            Codec::Av1(parameters) => parameters.sequence().map(|sequence| (sequence.width, sequence.height)),
            _ => None,
        }
    }

    /// Sample rate in Hz and channels of an audio codec.
    pub fn audio(&self) -> Option<(u32, u8)> {
        match self {
            Codec::Aac(config) => Some((config.sample_rate, config.channels)),
            Codec::Opus { channels } => Some((48_000, *channels)),
            Codec::Flac(config) => Some((config.sample_rate, config.channels)),
            Codec::Mp3 { sample_rate, channels }
            | Codec::Ac3 { sample_rate, channels }
            | Codec::G711 {
                sample_rate, channels, ..
            }
            | Codec::Lpcm {
                sample_rate, channels, ..
            } => Some((*sample_rate, *channels)),
            _ => None,
        }
    }

    /// The codec's configuration record: avcC, hvcC, av1C, AudioSpecificConfig, dOps, STREAMINFO; empty when there is none
    /// or it is not known yet. For `Generic` the SDP lines `rtpmap:…` and `fmtp:…`.
    pub fn parameters(&self) -> Bytes {
        match self {
            Codec::H264(parameters) => parameters.configuration_record(),
            Codec::H265(parameters) => parameters.configuration_record(),
            Codec::Av1(parameters) => parameters.configuration_record(),
            Codec::Aac(config) => config.bytes(),
            Codec::Flac(config) => config.bytes(),
            // RFC 7845 section 5.1 without the magic, in the byte order of the ISO-BMFF binding ("dOps").
            Codec::Opus { channels } => Bytes::from(vec![0, *channels, 0, 0, 0, 0, 0xbb, 0x80, 0, 0, 0]),
            Codec::Generic { rtpmap, fmtp, .. } => Bytes::from(format!("rtpmap:{rtpmap}\r\nfmtp:{fmtp}\r\n")),
            Codec::Vp8
            | Codec::Vp9
            | Codec::Mjpeg
            | Codec::Mp3 { .. }
            | Codec::Ac3 { .. }
            | Codec::G711 { .. }
            | Codec::Lpcm { .. } => Bytes::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_each_track_in_a_form_that_it_can_play() {
        let track = |id, codec, derived: Option<u32>| Track {
            id: TrackId(id),
            kind: Kind::Audio,
            codec,
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: derived.map(TrackId),
        };
        let opus = || Codec::Opus { channels: 2 };
        let tracks = [
            track(1, Codec::Vp8, None),
            track(2, opus(), None),
            track(3, Codec::Mjpeg, None),
            track(4, opus(), Some(1)),
            track(5, Codec::Vp9, Some(2)),
        ];
        let ids = |names: &[&str]| -> Vec<u32> {
            let readable = readable(&tracks, |track| names.contains(&track.codec.name()));
            readable.iter().map(|track| track.id.0).collect()
        };
        assert_eq!(ids(&["VP8", "Opus", "VP9", "M-JPEG"]), [1, 2, 3]);
        assert_eq!(ids(&["Opus"]), [4, 2]);
        assert_eq!(ids(&["VP9"]), [5]);
        assert!(ids(&[]).is_empty());
    }
}

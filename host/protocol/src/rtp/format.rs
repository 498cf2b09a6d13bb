//! What SDP says about one RTP payload type, and the track that it means. Both directions: a published format becomes a
//! track ([`Format::track`]), a track to be read becomes a format ([`Format::of`]).

use wasmtx_media::codec::{aac, av1, h264, h265, mp3, opus};
use wasmtx_media::{Codec, Kind, Track, TrackId};

use super::fmtp;

/// The first dynamic payload type (RFC 3551 section 6).
const FIRST_DYNAMIC: u8 = 96;
/// The last payload type there is.
const LAST: u8 = 127;
/// SDP says nothing about it; its frames do.
const MPEG_AUDIO: Codec = Codec::Mp3 {
    sample_rate: 0,
    channels: 0,
};

/// One RTP payload format as SDP describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// From the media line: `m=video` is video, `m=audio` audio, the rest data.
    pub kind: Kind,
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding name of `a=rtpmap` as written; empty when a static payload type came without one.
    pub encoding: String,
    /// Hz; never 0.
    pub clock_rate: u32,
    /// The third part of `a=rtpmap`, 1 when absent.
    pub channels: u8,
    /// The value of `a=fmtp` behind the payload type; empty when absent.
    pub fmtp: String,
}

impl Format {
    /// The track that this format carries. A format that is not known, or known but without the parameters that it
    /// cannot do without, becomes [`Codec::Generic`].
    pub fn track(&self, id: TrackId) -> Track {
        let codec = self.codec().unwrap_or_else(|| self.generic());
        let kind = match codec {
            Codec::Generic { .. } => self.kind,
            _ => codec.kind(),
        };
        let clock_rate = match codec {
            // The clock of a static payload type is not the SDP's to say; nor is Opus's (RFC 7587 section 4.1).
            Codec::Opus { .. } => 48_000,
            _ => self.clock_rate.max(1),
        };
        Track {
            id,
            kind,
            codec,
            clock_rate,
            extra: Vec::new(),
            derived: None,
        }
    }

    /// The format in which a track is served, with `payload_type` where the codec has no static one.
    pub fn of(track: &Track, payload_type: u8) -> Format {
        let format = |payload_type, encoding: &str, channels, fmtp| Format {
            kind: track.kind,
            payload_type,
            encoding: encoding.to_owned(),
            clock_rate: track.clock_rate,
            channels,
            fmtp,
        };
        let dynamic = |encoding, channels, fmtp| format(payload_type, encoding, channels, fmtp);
        match &track.codec {
            Codec::H264(parameters) => dynamic("H264", 1, h264_fmtp(parameters)),
            Codec::H265(parameters) => dynamic("H265", 1, h265_fmtp(parameters)),
            Codec::Av1(parameters) => dynamic("AV1", 1, av1_fmtp(parameters)),
            Codec::Vp8 => dynamic("VP8", 1, String::new()),
            Codec::Vp9 => dynamic("VP9", 1, String::new()),
            Codec::Mjpeg => format(26, "JPEG", 1, String::new()),
            Codec::Aac(config) => dynamic("mpeg4-generic", config.channels.max(1), aac_fmtp(config)),
            Codec::Opus {
                channels: channels @ (1 | 2),
            } => dynamic("opus", 2, format!("sprop-stereo={}", u8::from(*channels == 2))),
            Codec::Opus { channels } => dynamic("multiopus", *channels, multiopus_fmtp(*channels)),
            Codec::G711 {
                mu_law,
                sample_rate,
                channels,
            } => {
                let (number, name) = if *mu_law { (0, "PCMU") } else { (8, "PCMA") };
                let number = if (*sample_rate, *channels) == (8_000, 1) {
                    number
                } else {
                    payload_type
                };
                format(number, name, *channels, String::new())
            }
            Codec::Mp3 { .. } => format(14, "MPA", 1, String::new()),
            Codec::Ac3 { channels, .. } => dynamic("ac3", *channels, String::new()),
            Codec::Lpcm {
                bit_depth,
                sample_rate,
                channels,
            } => {
                let number = match (bit_depth, sample_rate, channels) {
                    (16, 44_100, 2) => 10,
                    (16, 44_100, 1) => 11,
                    _ => payload_type,
                };
                format(number, &format!("L{bit_depth}"), *channels, String::new())
            }
            Codec::Generic {
                payload_type: original,
                rtpmap,
                fmtp,
            } => {
                let mut parts = rtpmap.split('/');
                let encoding = parts.next().unwrap_or_default();
                let channels = parts.nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
                let number = if *original < FIRST_DYNAMIC {
                    *original
                } else {
                    payload_type
                };
                format(number, encoding, channels, fmtp.clone())
            }
            _ => format(payload_type, track.codec.name(), 1, String::new()),
        }
    }

    /// Whether RTP has a payload format for a codec.
    pub fn carries(codec: &Codec) -> bool {
        !matches!(codec, Codec::Flac(_))
    }

    /// The formats in which tracks are served, one per track. Unknown formats keep the payload type they came with
    /// where it is free; the others get the first free ones from 96 on, so that no two are alike.
    pub fn of_all(tracks: &[Track]) -> Vec<Format> {
        let mut taken = [false; LAST as usize + 1];
        for track in tracks {
            if let Codec::Generic { payload_type, .. } = track.codec {
                taken[usize::from(payload_type & LAST)] = true;
            }
        }
        let mut free = (FIRST_DYNAMIC..=LAST)
            .filter(|number| !taken[usize::from(*number)])
            .collect::<Vec<_>>()
            .into_iter();
        let mut kept = [false; LAST as usize + 1];
        tracks
            .iter()
            .map(|track| {
                let own = match track.codec {
                    Codec::Generic { payload_type, .. } => Some(payload_type & LAST),
                    _ => None,
                };
                let own = own.filter(|number| !std::mem::replace(&mut kept[usize::from(*number)], true));
                let mut format = Format::of(track, LAST);
                if format.payload_type >= FIRST_DYNAMIC {
                    format.payload_type = own.or_else(|| free.next()).unwrap_or(LAST);
                }
                format
            })
            .collect()
    }

    /// The value of `a=rtpmap` behind the payload type; `None` for a static payload type without a name.
    pub fn rtpmap(&self) -> Option<String> {
        if self.encoding.is_empty() {
            return None;
        }
        Some(match self.channels {
            0 | 1 => format!("{}/{}", self.encoding, self.clock_rate),
            channels => format!("{}/{}/{channels}", self.encoding, self.clock_rate),
        })
    }

    /// The clock rate of a static payload type without `a=rtpmap` (RFC 3551 section 6); `None` for the others.
    pub fn static_clock_rate(payload_type: u8) -> Option<u32> {
        Some(match payload_type {
            0 | 3..=5 | 7..=9 | 12 | 13 | 15 | 18 => 8_000,
            6 => 16_000,
            10 | 11 => 44_100,
            14 | 25 | 26 | 28 | 31..=34 => 90_000,
            16 => 11_025,
            17 => 22_050,
            _ => return None,
        })
    }

    fn codec(&self) -> Option<Codec> {
        if self.encoding.is_empty() {
            return static_codec(self.payload_type);
        }
        let channels = self.channels.max(1);
        let lpcm = |bit_depth| Codec::Lpcm {
            bit_depth,
            sample_rate: self.clock_rate,
            channels,
        };
        let g711 = |mu_law| Codec::G711 {
            mu_law,
            sample_rate: self.clock_rate,
            channels,
        };
        Some(match self.encoding.to_ascii_lowercase().as_str() {
            "h264" => Codec::H264(h264_parameters(&self.fmtp)),
            "h265" | "hevc" => Codec::H265(h265_parameters(&self.fmtp)),
            "av1" => Codec::Av1(av1::Parameters::default()),
            "vp8" => Codec::Vp8,
            "vp9" => Codec::Vp9,
            "jpeg" if self.clock_rate == 90_000 => Codec::Mjpeg,
            "mpeg4-generic" => Codec::Aac(self.mpeg4_generic()?),
            "mp4a-latm" => Codec::Aac(self.latm()?),
            "opus" => {
                let stereo = fmtp::value(&self.fmtp, "sprop-stereo").or(fmtp::value(&self.fmtp, "stereo")) == Some("1");
                // The rtpmap always says 2 (RFC 7587 section 7); GStreamer and others say nothing in fmtp but `sprop-stereo`.
                Codec::Opus {
                    channels: if stereo { 2 } else { 1 },
                }
            }
            "multiopus" => Codec::Opus {
                channels: channels.min(8),
            },
            "mpa" if self.clock_rate == mp3::CLOCK_RATE => MPEG_AUDIO,
            // The rtpmap often leaves the channels out; the frames tell them.
            "ac3" => Codec::Ac3 {
                sample_rate: self.clock_rate,
                channels,
            },
            "pcmu" => g711(true),
            "pcma" => g711(false),
            "l8" => lpcm(8),
            "l16" => lpcm(16),
            "l24" => lpcm(24),
            _ => return None,
        })
    }

    /// RFC 3640: AAC in the modes that have access unit headers of fixed sizes.
    fn mpeg4_generic(&self) -> Option<aac::Config> {
        let mode = fmtp::value(&self.fmtp, "mode")?;
        if !mode.eq_ignore_ascii_case("AAC-hbr") && !mode.eq_ignore_ascii_case("AAC-lbr") {
            return None;
        }
        fmtp::number::<u8>(&self.fmtp, "sizelength").filter(|length| (1..=16).contains(length))?;
        aac::Config::parse(fmtp::from_hex(fmtp::value(&self.fmtp, "config")?)?).ok()
    }

    /// RFC 6416 with the configuration out of band.
    fn latm(&self) -> Option<aac::Config> {
        if fmtp::value(&self.fmtp, "cpresent") != Some("0") {
            return None;
        }
        aac::Config::parse_stream_mux(&fmtp::from_hex(fmtp::value(&self.fmtp, "config")?)?).ok()
    }

    fn generic(&self) -> Codec {
        Codec::Generic {
            payload_type: self.payload_type,
            rtpmap: self.rtpmap().unwrap_or_default(),
            fmtp: self.fmtp.clone(),
        }
    }
}

fn static_codec(payload_type: u8) -> Option<Codec> {
    let lpcm = |channels| Codec::Lpcm {
        bit_depth: 16,
        sample_rate: 44_100,
        channels,
    };
    Some(match payload_type {
        0 => Codec::G711 {
            mu_law: true,
            sample_rate: 8_000,
            channels: 1,
        },
        8 => Codec::G711 {
            mu_law: false,
            sample_rate: 8_000,
            channels: 1,
        },
        10 => lpcm(2),
        11 => lpcm(1),
        14 => MPEG_AUDIO,
        26 => Codec::Mjpeg,
        _ => return None,
    })
}

/// RFC 6184 section 8.1. Parameter sets that cannot be read are left to come in band.
fn h264_parameters(fmtp: &str) -> h264::Parameters {
    let mut parameters = h264::Parameters::default();
    for text in fmtp::value(fmtp, "sprop-parameter-sets")
        .unwrap_or_default()
        .split(',')
        .take(8)
    {
        let Some(nal) = fmtp::parameter_set(text) else { continue };
        match h264::NalType::of(&nal) {
            h264::NalType::SPS => parameters.sps = nal,
            h264::NalType::PPS if parameters.pps.is_empty() => parameters.pps = nal,
            _ => {}
        }
    }
    parameters
}

fn h264_fmtp(parameters: &h264::Parameters) -> String {
    let mut fmtp = String::from("packetization-mode=1");
    if let Some(profile) = parameters.sps.get(1..4) {
        fmtp += &format!("; profile-level-id={}", fmtp::to_hex(profile).to_uppercase());
    }
    if !parameters.sps.is_empty() && !parameters.pps.is_empty() {
        let (sps, pps) = (fmtp::to_base64(&parameters.sps), fmtp::to_base64(&parameters.pps));
        fmtp += &format!("; sprop-parameter-sets={sps},{pps}");
    }
    fmtp
}

/// RFC 7798 section 7.1.
fn h265_parameters(fmtp: &str) -> h265::Parameters {
    let set = |key| {
        // A list is allowed; the first entry is the one in force.
        let text = fmtp::value(fmtp, key)?.split(',').next()?;
        fmtp::parameter_set(text)
    };
    h265::Parameters {
        vps: set("sprop-vps").unwrap_or_default(),
        sps: set("sprop-sps").unwrap_or_default(),
        pps: set("sprop-pps").unwrap_or_default(),
    }
}

fn h265_fmtp(parameters: &h265::Parameters) -> String {
    let sets = [
        ("sprop-vps", &parameters.vps),
        ("sprop-sps", &parameters.sps),
        ("sprop-pps", &parameters.pps),
    ];
    let known = sets.iter().filter(|(_, set)| !set.is_empty());
    known
        .map(|(key, set)| format!("{key}={}", fmtp::to_base64(set)))
        .collect::<Vec<_>>()
        .join("; ")
}

/// RTP Payload Format For AV1, section 7.2.
fn av1_fmtp(parameters: &av1::Parameters) -> String {
    match parameters.sequence() {
        Some(sequence) => {
            format!(
                "profile={}; level-idx={}; tier={}",
                sequence.profile,
                sequence.level_index,
                u8::from(sequence.high_tier)
            )
        }
        None => String::new(),
    }
}

/// RFC 3640 section 4.1, mode AAC-hbr.
fn aac_fmtp(config: &aac::Config) -> String {
    format!(
        "streamtype=5; profile-level-id=1; mode=AAC-hbr; sizelength=13; indexlength=3; indexdeltalength=3; config={}",
        fmtp::to_hex(&config.bytes())
    )
}

fn multiopus_fmtp(channels: u8) -> String {
    let (streams, coupled, mapping) = opus::channel_mapping(channels);
    let mapping = mapping.iter().map(u8::to_string).collect::<Vec<_>>().join(",");
    format!("num_streams={streams}; coupled_streams={coupled}; channel_mapping={mapping}; sprop-maxcapturerate=48000")
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;

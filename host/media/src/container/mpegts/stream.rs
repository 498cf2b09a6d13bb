//! How a codec is told in a program map: stream types (ISO/IEC 13818-1 table 2-34) and the descriptors that say what a
//! private stream is.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use super::section::{Entry, descriptors};
use crate::{Codec, codec::adts};

const MPEG1_AUDIO: u8 = 0x03;
const MPEG2_AUDIO: u8 = 0x04;
const PRIVATE: u8 = 0x06;
const AAC: u8 = 0x0f;
const H264: u8 = 0x1b;
const H265: u8 = 0x24;
/// Of ATSC (A/52 annex A), which everything reads.
const AC3: u8 = 0x81;

const REGISTRATION: u8 = 0x05;
/// Of DVB (ETSI EN 300 468 annex D): AC-3 in a private stream.
const DVB_AC3: u8 = 0x6a;
/// Of DVB: the kind of descriptor stands in the first byte; 0x80 is what Opus has chosen.
const EXTENSION: u8 = 0x7f;
const OPUS_EXTENSION: u8 = 0x80;
/// The lowest rate of MPEG-1 audio; the lower ones are MPEG-2's.
const LOWEST_MPEG1_RATE: u32 = 32_000;

/// What an elementary stream carries, as far as the program map tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    H264,
    H265,
    Aac,
    Mp3,
    Ac3,
    Opus { channels: u8 },
}

impl Format {
    /// Of a stream in a program map; `None` when it is nothing that wasmtx carries.
    pub(super) fn of(entry: &Entry) -> Option<Format> {
        Some(match entry.stream_type {
            H264 => Format::H264,
            H265 => Format::H265,
            AAC => Format::Aac,
            MPEG1_AUDIO | MPEG2_AUDIO => Format::Mp3,
            AC3 => Format::Ac3,
            PRIVATE => return private(&entry.descriptors),
            _ => return None,
        })
    }
}

fn private(list: &[u8]) -> Option<Format> {
    let registered =
        |name: &[u8]| descriptors(list).any(|(tag, body)| tag == REGISTRATION && body.get(..4) == Some(name));
    if registered(b"Opus") {
        let channels = descriptors(list).find_map(|(tag, body)| match (tag, body) {
            (EXTENSION, [OPUS_EXTENSION, channels, ..]) => Some(*channels),
            _ => None,
        });
        return match channels {
            // 0 is two languages in one stream: two channels all the same.
            Some(0) => Some(Format::Opus { channels: 2 }),
            Some(channels @ 1..=8) => Some(Format::Opus { channels }),
            _ => None,
        };
    }
    let ac3 = registered(b"AC-3") || descriptors(list).any(|(tag, _)| tag == DVB_AC3);
    ac3.then_some(Format::Ac3)
}

/// The stream id of PES packets that carry a codec.
pub(super) fn stream_id(codec: &Codec) -> u8 {
    match codec {
        Codec::H264(_) | Codec::H265(_) => 0xe0,
        Codec::Aac(_) | Codec::Mp3 { .. } => 0xc0,
        _ => 0xbd,
    }
}

/// Stream type and descriptors of a codec; `None` when a transport stream has no way to carry it that others read.
pub(super) fn entry(codec: &Codec, pid: u16) -> Option<Entry> {
    let (stream_type, descriptors) = match codec {
        Codec::H264(_) => (H264, Vec::new()),
        Codec::H265(_) => (H265, registration(b"HEVC")),
        Codec::Aac(config) if adts::carries(config) => (AAC, Vec::new()),
        Codec::Mp3 { sample_rate, .. } if (1..LOWEST_MPEG1_RATE).contains(sample_rate) => (MPEG2_AUDIO, Vec::new()),
        Codec::Mp3 { .. } => (MPEG1_AUDIO, Vec::new()),
        Codec::Ac3 { .. } => (AC3, registration(b"AC-3")),
        Codec::Opus {
            channels: channels @ 1..=8,
        } => {
            let mut descriptors = registration(b"Opus");
            descriptors.extend([EXTENSION, 2, OPUS_EXTENSION, *channels]);
            (PRIVATE, descriptors)
        }
        _ => return None,
    };
    Some(Entry {
        stream_type,
        pid,
        descriptors,
    })
}

fn registration(name: &[u8; 4]) -> Vec<u8> {
    [&[REGISTRATION, 4], &name[..]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::aac;

    fn entry_of(stream_type: u8, descriptors: &[u8]) -> Entry {
        Entry {
            stream_type,
            pid: 0x100,
            descriptors: descriptors.to_vec(),
        }
    }

    #[test]
    fn what_is_written_is_understood() {
        let check = |codec: Codec, format: Format| {
            let entry = entry(&codec, 0x100).unwrap();
            assert_eq!(Format::of(&entry), Some(format), "{codec:?}");
        };
        check(Codec::H264(Default::default()), Format::H264);
        check(Codec::H265(Default::default()), Format::H265);
        check(Codec::Aac(aac::Config::new(2, 48_000, 2).unwrap()), Format::Aac);
        for sample_rate in [0, 22_050, 44_100] {
            let codec = Codec::Mp3 {
                sample_rate,
                channels: 2,
            };
            check(codec, Format::Mp3);
        }
        let ac3 = Codec::Ac3 {
            sample_rate: 48_000,
            channels: 6,
        };
        check(ac3, Format::Ac3);
        for channels in 1..=8 {
            check(Codec::Opus { channels }, Format::Opus { channels });
        }
    }

    #[test]
    fn what_has_no_place_in_a_transport_stream_is_refused() {
        let low_delay = aac::Config::new(23, 48_000, 2).unwrap();
        for codec in [
            Codec::Vp8,
            Codec::Vp9,
            Codec::Mjpeg,
            Codec::Opus { channels: 9 },
            Codec::Aac(low_delay),
        ] {
            assert_eq!(entry(&codec, 0x100), None, "{codec:?}");
        }
    }

    #[test]
    fn private_streams_are_told_apart_by_their_descriptors() {
        let check = |list: &[u8], format| assert_eq!(Format::of(&entry_of(PRIVATE, list)), format, "{list:?}");
        check(&[], None);
        check(b"\x05\x04AC-3", Some(Format::Ac3));
        check(b"\x0a\x04eng\x00\x6a\x01\x00", Some(Format::Ac3));
        check(b"\x05\x04Opus", None);
        check(b"\x05\x04Opus\x7f\x02\x80\x00", Some(Format::Opus { channels: 2 }));
        check(b"\x05\x04Opus\x7f\x02\x80\x82", None);
        check(b"\x05\x04KLVA", None);
        check(b"\x05\x09Opus", None);
        assert_eq!(Format::of(&entry_of(0x02, &[])), None);
    }
}

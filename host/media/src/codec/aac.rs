//! MPEG-4 Audio: AudioSpecificConfig (ISO/IEC 14496-3 section 1.6) and the part of LATM that carries it (section 1.7.3).
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
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use bytes::Bytes;

use crate::Error;
use crate::read::Bits;

/// AAC Low Complexity, the object type that everything plays.
pub const LOW_COMPLEXITY: u8 = 2;
const SPECTRAL_BAND_REPLICATION: u8 = 5;
const LOW_DELAY: u8 = 23;
const PARAMETRIC_STEREO: u8 = 29;
const ENHANCED_LOW_DELAY: u8 = 39;

/// The largest AudioSpecificConfig that is kept.
const MAX_CONFIG: usize = 256;
/// Table 1.18; 15 means that the rate follows in 24 bits.
pub(super) const SAMPLE_RATES: [u32; 13] = [
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350,
];
const EXPLICIT_RATE: u8 = 15;

/// An AudioSpecificConfig, parsed as far as a server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    bytes: Bytes,
    /// The audio object type of the core coder: 2 is AAC-LC.
    pub object_type: u8,
    /// Hz, of the core coder.
    pub sample_rate: u32,
    /// Output channels, 0 when only a program config element tells.
    pub channels: u8,
    /// Samples of the core coder in one access unit: 1024 or 960, 512 or 480 for the low-delay coders.
    pub frame_samples: u32,
}

impl Config {
    /// Parses a record. Its bytes are kept as they are, extensions included.
    pub fn parse(bytes: Bytes) -> Result<Config, Error> {
        if bytes.len() > MAX_CONFIG {
            return Err(Error::TooLarge("AudioSpecificConfig"));
        }
        let fields = Fields::read(&mut Bits::new(&bytes))?;
        Ok(fields.with_bytes(bytes))
    }

    /// A record without extensions. `None` when the values have no place in one.
    pub fn new(object_type: u8, sample_rate: u32, channels: u8) -> Option<Config> {
        let configuration = match channels {
            1..=6 => channels,
            8 => 7,
            _ => return None,
        };
        if !(1..=30).contains(&object_type) || sample_rate == 0 || sample_rate >= 1 << 24 {
            return None;
        }
        let mut bits = BitWriter::default();
        bits.put(object_type.into(), 5);
        match SAMPLE_RATES.iter().zip(0u32..).find(|(rate, _)| **rate == sample_rate) {
            Some((_, index)) => bits.put(index, 4),
            None => {
                bits.put(EXPLICIT_RATE.into(), 4);
                bits.put(sample_rate, 24);
            }
        }
        bits.put(configuration.into(), 4);
        // frameLengthFlag, dependsOnCoreCoder, extensionFlag.
        bits.put(0, 3);
        Config::parse(bits.finish()).ok()
    }

    /// Parses the StreamMuxConfig that the `config` of RFC 6416 (MP4A-LATM) holds: one program, one layer, one frame per
    /// element, the only kind that is in use.
    pub fn parse_stream_mux(bytes: &[u8]) -> Result<Config, Error> {
        if bytes.len() > MAX_CONFIG {
            return Err(Error::TooLarge("StreamMuxConfig"));
        }
        let mut bits = Bits::new(bytes);
        if bits.flag()? {
            return Err(Error::Unsupported("LATM audioMuxVersion"));
        }
        let _same_framing = bits.flag()?;
        let (sub_frames, programs, layers) = (bits.bits(6)?, bits.bits(4)?, bits.bits(3)?);
        if programs != 0 || layers != 0 || sub_frames != 0 {
            return Err(Error::Unsupported("LATM multiplex"));
        }
        // The AudioSpecificConfig has no length here and is not aligned: parse it, then copy what was read.
        let mut copy = bits;
        let fields = Fields::read(&mut bits)?;
        let mut record = BitWriter::default();
        for _ in 0..fields.length {
            record.put(copy.flag()?.into(), 1);
        }
        if bits.bits(3)? != 0 {
            return Err(Error::Unsupported("LATM frame length type"));
        }
        Ok(fields.with_bytes(record.finish()))
    }

    /// The record as it goes into SDP, FLV and MP4.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }
}

/// What is read of a record, and how many bits that took.
struct Fields {
    object_type: u8,
    sample_rate: u32,
    channels: u8,
    frame_samples: u32,
    length: u32,
}

impl Fields {
    fn read(bits: &mut Bits<'_>) -> Result<Fields, Error> {
        let mut length = 4u32;
        let (mut object_type, size) = read_object_type(bits)?;
        length = length.saturating_add(size);
        let (sample_rate, size) = read_sample_rate(bits)?;
        length = length.saturating_add(size);
        let mut channels = match bits.small(4)? {
            count @ 0..=6 => count,
            7 | 12 | 14 => 8,
            11 => 7,
            _ => return Err(Error::Invalid("channel configuration")),
        };
        if matches!(object_type, SPECTRAL_BAND_REPLICATION | PARAMETRIC_STEREO) {
            if object_type == PARAMETRIC_STEREO {
                channels = 2;
            }
            let (_extension_rate, size) = read_sample_rate(bits)?;
            length = length.saturating_add(size);
            let (core, size) = read_object_type(bits)?;
            object_type = core;
            length = length.saturating_add(size);
        }
        let short = bits.flag()?;
        length = length.saturating_add(1);
        let frame_samples = match (object_type, short) {
            (LOW_DELAY | ENHANCED_LOW_DELAY, false) => 512,
            (LOW_DELAY | ENHANCED_LOW_DELAY, true) => 480,
            (_, false) => 1024,
            (_, true) => 960,
        };
        // GASpecificConfig (section 4.4.1) without a program config element.
        if matches!(object_type, 1..=4 | 6 | 7 | 17 | 19..=23) && channels != 0 {
            if bits.flag()? {
                bits.skip(14)?;
                length = length.saturating_add(14);
            }
            if bits.flag()? {
                return Err(Error::Unsupported("AudioSpecificConfig extension"));
            }
            length = length.saturating_add(2);
        }
        Ok(Fields {
            object_type,
            sample_rate,
            channels,
            frame_samples,
            length,
        })
    }

    fn with_bytes(self, bytes: Bytes) -> Config {
        let Fields {
            object_type,
            sample_rate,
            channels,
            frame_samples,
            ..
        } = self;
        Config {
            bytes,
            object_type,
            sample_rate,
            channels,
            frame_samples,
        }
    }
}

fn read_object_type(bits: &mut Bits<'_>) -> Result<(u8, u32), Error> {
    match bits.small(5)? {
        0 => Err(Error::Invalid("audio object type")),
        31 => Ok((bits.small(6)?.saturating_add(32), 11)),
        object_type => Ok((object_type, 5)),
    }
}

fn read_sample_rate(bits: &mut Bits<'_>) -> Result<(u32, u32), Error> {
    let index = bits.small(4)?;
    let (rate, size) = if index == EXPLICIT_RATE {
        (bits.bits(24)?, 28)
    } else {
        (SAMPLE_RATES.get(usize::from(index)).copied().unwrap_or_default(), 4)
    };
    if rate == 0 {
        Err(Error::Invalid("sample rate"))
    } else {
        Ok((rate, size))
    }
}

/// Puts bits into bytes, the last byte filled up with zeros.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    used: u8,
}

impl BitWriter {
    fn put(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = u8::from((value >> at) & 1 == 1);
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << 7u8.saturating_sub(self.used);
            }
            self.used = self.used.wrapping_add(1) & 7;
        }
    }

    fn finish(self) -> Bytes {
        Bytes::from(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &'static [u8]) -> Result<Config, Error> {
        Config::parse(Bytes::from_static(bytes))
    }

    #[test]
    fn the_usual_records_are_understood() {
        let check = |bytes: &'static [u8], expected: (u8, u32, u8, u32)| {
            let config = parse(bytes).unwrap();
            assert_eq!(
                (
                    config.object_type,
                    config.sample_rate,
                    config.channels,
                    config.frame_samples
                ),
                expected
            );
            assert_eq!(config.bytes(), bytes);
        };
        check(&[0x11, 0x90], (2, 48_000, 2, 1024));
        check(&[0x12, 0x08], (2, 44_100, 1, 1024));
        // As FFmpeg writes it, with the sync extension that says "no SBR".
        check(&[0x11, 0x90, 0x56, 0xe5, 0x00], (2, 48_000, 2, 1024));
        // HE-AAC and HE-AAC v2 with explicit signalling.
        check(&[0x2b, 0x11, 0x88, 0x00], (2, 24_000, 2, 1024));
        check(&[0xeb, 0x09, 0x88, 0x00], (2, 24_000, 2, 1024));
    }

    #[test]
    fn a_built_record_parses_to_its_values() {
        for rate in [96_000, 44_100, 7_350, 12_345] {
            for channels in [1, 2, 6, 8] {
                let config = Config::new(LOW_COMPLEXITY, rate, channels).unwrap();
                assert_eq!(
                    (config.object_type, config.sample_rate, config.channels),
                    (2, rate, channels)
                );
            }
        }
        assert_eq!(Config::new(2, 48_000, 2).unwrap().bytes()[..], [0x11, 0x90]);
        assert_eq!(Config::new(2, 48_000, 7), None);
        assert_eq!(Config::new(2, 0, 2), None);
    }

    #[test]
    fn a_stream_mux_config_gives_the_record_inside() {
        // Of RFC 6416 section 7.1 and of GStreamer's rtpmp4apay.
        let config = Config::parse_stream_mux(&[0x40, 0x00, 0x24, 0x20, 0x3f, 0xc0]).unwrap();
        assert_eq!((config.sample_rate, config.channels), (44_100, 2));
        assert_eq!(config.bytes()[..], [0x12, 0x10]);
        assert_eq!(
            Config::parse_stream_mux(&[0xc0, 0, 0x24, 0x20]),
            Err(Error::Unsupported("LATM audioMuxVersion"))
        );
    }

    #[test]
    fn every_truncation_and_nonsense_is_an_error() {
        for length in 0..2 {
            assert!(Config::parse(Bytes::from_static(&[0x11, 0x90]).slice(..length)).is_err());
        }
        for length in 0..5 {
            assert!(
                Config::parse_stream_mux(&[0x40, 0x00, 0x24, 0x20, 0x3f][..length]).is_err(),
                "{length}"
            );
        }
        assert!(parse(&[0x00, 0x00]).is_err());
        assert!(parse(&[0x16, 0xff, 0xff]).is_err(), "reserved rate index");
        assert!(Config::parse(Bytes::from(vec![0x11; 1_000])).is_err());
    }
}

//! MPEG-1 and MPEG-2 audio, layers I to III: the header of a frame (ISO/IEC 11172-3 section 2.4.1.3, ISO/IEC 13818-3
//! section 2.4.2.3, and the lower rates that encoders call MPEG-2.5).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::Error;
use crate::read::Bits;

/// Ticks per second of every MPEG audio track: the clock that RFC 3551 section 4.5.13 prescribes.
pub const CLOCK_RATE: u32 = 90_000;

/// kbit/s by index, of MPEG-1.
const LAYER_1: [u32; 15] = [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448];
const LAYER_2: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384];
const LAYER_3: [u32; 15] = [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320];
/// Of MPEG-2 and 2.5.
const LOW_LAYER_1: [u32; 15] = [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256];
const LOW_LAYER_2_3: [u32; 15] = [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160];

/// What the four bytes before every frame say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 to 3.
    pub layer: u8,
    /// Hz; never 0.
    pub sample_rate: u32,
    /// 1 or 2.
    pub channels: u8,
    /// Samples per channel in a frame.
    pub samples: u32,
    /// Bytes of the frame, header included.
    pub length: usize,
}

impl Header {
    /// Reads the header that `frame` begins with. A frame of free format has no length of its own and is unsupported.
    pub fn parse(frame: &[u8]) -> Result<Header, Error> {
        let mut bits = Bits::new(frame);
        if bits.bits(11)? != 0x7ff {
            return Err(Error::Invalid("MPEG audio sync word"));
        }
        // How often the rates of MPEG-1 are halved.
        let halved = match bits.bits(2)? {
            0 => 2u32,
            2 => 1,
            3 => 0,
            _ => return Err(Error::Invalid("MPEG audio version")),
        };
        let layer = match bits.bits(2)? {
            1 => 3u8,
            2 => 2,
            3 => 1,
            _ => return Err(Error::Invalid("MPEG audio layer")),
        };
        let _protected = bits.flag()?;
        let rates = match (layer, halved) {
            (1, 0) => LAYER_1,
            (2, 0) => LAYER_2,
            (_, 0) => LAYER_3,
            (1, _) => LOW_LAYER_1,
            _ => LOW_LAYER_2_3,
        };
        let bit_rate = match rates.get(usize::from(bits.small(4)?)) {
            Some(0) => return Err(Error::Unsupported("MPEG audio free format")),
            Some(rate) => rate.saturating_mul(1_000),
            None => return Err(Error::Invalid("MPEG audio bit rate")),
        };
        let sample_rate = match bits.bits(2)? {
            0 => 44_100u32,
            1 => 48_000,
            2 => 32_000,
            _ => return Err(Error::Invalid("MPEG audio sample rate")),
        } >> halved;
        let padding = bits.bits(1)?;
        bits.skip(1)?;
        let channels = if bits.bits(2)? == 3 { 1 } else { 2 };
        let samples: u32 = match (layer, halved) {
            (1, _) => 384,
            (3, 1..) => 576,
            _ => 1_152,
        };
        // Layer I counts slots of four bytes, the others bytes.
        let (slot, bytes) = if layer == 1 {
            (4u32, samples / 32)
        } else {
            (1, samples / 8)
        };
        let slots = bytes
            .saturating_mul(bit_rate)
            .checked_div(sample_rate)
            .unwrap_or_default();
        let length = slots.saturating_add(padding).saturating_mul(slot);
        Ok(Header {
            layer,
            sample_rate,
            channels,
            samples,
            length: usize::try_from(length).map_err(|_| Error::TooLarge("MPEG audio frame"))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_headers_are_understood() {
        let check = |bytes: [u8; 4], expected: (u8, u32, u8, u32, usize)| {
            let header = Header::parse(&bytes).unwrap();
            let read = (
                header.layer,
                header.sample_rate,
                header.channels,
                header.samples,
                header.length,
            );
            assert_eq!(read, expected, "{bytes:02x?}");
        };
        // LAME: 44.1 kHz, joint stereo, 128 kbit/s, without and with padding.
        check([0xff, 0xfb, 0x90, 0x64], (3, 44_100, 2, 1_152, 417));
        check([0xff, 0xfb, 0x92, 0x64], (3, 44_100, 2, 1_152, 418));
        // MPEG-2, 22.05 kHz, mono, 64 kbit/s.
        check([0xff, 0xf3, 0x80, 0xc4], (3, 22_050, 1, 576, 208));
        // MPEG-2.5, 8 kHz, mono, 8 kbit/s.
        check([0xff, 0xe3, 0x18, 0xc4], (3, 8_000, 1, 576, 72));
        // Layer II of broadcasts: 48 kHz, stereo, 192 kbit/s.
        check([0xff, 0xfd, 0xa4, 0x00], (2, 48_000, 2, 1_152, 576));
        check([0xff, 0xff, 0x10, 0x00], (1, 44_100, 2, 384, 32));
    }

    #[test]
    fn truncations_and_forbidden_values_are_errors() {
        for length in 0..3 {
            assert_eq!(
                Header::parse(&[0xff, 0xfb, 0x90, 0x64][..length]),
                Err(Error::Truncated)
            );
        }
        let check = |bytes: [u8; 4], error| assert_eq!(Header::parse(&bytes), Err(error));
        check([0xff, 0x1b, 0x90, 0x64], Error::Invalid("MPEG audio sync word"));
        check([0xff, 0xeb, 0x90, 0x64], Error::Invalid("MPEG audio version"));
        check([0xff, 0xf9, 0x90, 0x64], Error::Invalid("MPEG audio layer"));
        check([0xff, 0xfb, 0xf0, 0x64], Error::Invalid("MPEG audio bit rate"));
        check([0xff, 0xfb, 0x00, 0x64], Error::Unsupported("MPEG audio free format"));
        check([0xff, 0xfb, 0x9c, 0x64], Error::Invalid("MPEG audio sample rate"));
    }
}

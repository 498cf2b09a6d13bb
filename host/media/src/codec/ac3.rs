//! AC-3 (ETSI TS 102 366): the header of a synchronisation frame (sections 4.3.1 and 4.3.2).
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

/// Samples per channel in every frame: six blocks of 256.
pub const SAMPLES: u32 = 1_536;
/// The last bit stream identification of AC-3; from 11 on it is E-AC-3 (annex E).
const LAST_BSID: u8 = 10;
/// The identification that says full sample rates; each one above halves them.
const FULL_RATE_BSID: u8 = 8;
/// kbit/s by the upper five bits of `frmsizecod` (table 4.13).
const BIT_RATES: [u32; 19] = [
    32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 576, 640,
];

/// What the beginning of every frame says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Hz; never 0.
    pub sample_rate: u32,
    /// 1 to 6, the low-frequency one included.
    pub channels: u8,
    /// Bytes of the frame, header included.
    pub length: usize,
    specific: [u8; 3],
}

impl Header {
    /// The body of an AC3SpecificBox, which describes the stream in MP4 (ETSI TS 102 366 section F.4).
    pub fn specific(&self) -> [u8; 3] {
        self.specific
    }

    /// Reads the header that `frame` begins with. E-AC-3 is unsupported.
    pub fn parse(frame: &[u8]) -> Result<Header, Error> {
        let mut bits = Bits::new(frame);
        if bits.bits(16)? != 0x0b77 {
            return Err(Error::Invalid("AC-3 sync word"));
        }
        bits.skip(16)?;
        let rate = bits.bits(2)?;
        let size = bits.small(6)?;
        let bsid = bits.small(5)?;
        if bsid > LAST_BSID {
            return Err(Error::Unsupported("E-AC-3"));
        }
        let bit_rate = *BIT_RATES
            .get(usize::from(size >> 1))
            .ok_or(Error::Invalid("AC-3 frame size"))?;
        // Bytes of 1,536 samples; at 44.1 kHz every other frame has a word more.
        let (sample_rate, length) = match rate {
            0 => (48_000u32, bit_rate.saturating_mul(4)),
            1 => {
                let words = bit_rate.saturating_mul(96_000) / 44_100;
                (44_100, words.saturating_add(u32::from(size & 1)).saturating_mul(2))
            }
            2 => (32_000, bit_rate.saturating_mul(6)),
            _ => return Err(Error::Invalid("AC-3 sample rate")),
        };
        let service = bits.small(3)?;
        let mode = bits.small(3)?;
        // Levels of the centre, of the surround channels, Dolby Surround (section 4.3.2).
        let centre = mode & 1 == 1 && mode != 1;
        let levels = [centre, mode & 4 != 0, mode == 2];
        bits.skip(levels.iter().map(|there| if *there { 2 } else { 0 }).sum())?;
        let low_frequency = u8::from(bits.flag()?);
        // fscod (2), bsid (5), bsmod (3), acmod (3), lfeon (1), bit_rate_code (5), reserved (5).
        let specific = rate << 22
            | u32::from(bsid) << 17
            | u32::from(service) << 14
            | u32::from(mode) << 11
            | u32::from(low_frequency) << 10
            | u32::from(size >> 1) << 5;
        let [_, specific @ ..] = specific.to_be_bytes();
        Ok(Header {
            sample_rate: sample_rate >> bsid.saturating_sub(FULL_RATE_BSID),
            channels: channels(mode).saturating_add(low_frequency),
            length: usize::try_from(length).map_err(|_| Error::TooLarge("AC-3 frame"))?,
            specific,
        })
    }
}

/// Sample rate in Hz and channels, as an AC3SpecificBox says them.
pub fn specific(body: &[u8]) -> Result<(u32, u8), Error> {
    let mut bits = Bits::new(body);
    let sample_rate = match bits.bits(2)? {
        0 => 48_000u32,
        1 => 44_100,
        2 => 32_000,
        _ => return Err(Error::Invalid("AC-3 sample rate")),
    };
    let bsid = bits.small(5)?;
    if bsid > LAST_BSID {
        return Err(Error::Unsupported("E-AC-3"));
    }
    bits.skip(3)?;
    let full = channels(bits.small(3)?);
    let low_frequency = u8::from(bits.flag()?);
    bits.skip(10)?;
    Ok((
        sample_rate >> bsid.saturating_sub(FULL_RATE_BSID),
        full.saturating_add(low_frequency),
    ))
}

/// Channels of an `acmod`, the low-frequency one apart.
fn channels(mode: u8) -> u8 {
    let channels = [2u8, 1, 2, 3, 3, 4, 4, 5];
    channels.get(usize::from(mode)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_headers_are_understood() {
        let check = |bytes: [u8; 8], sample_rate, channels, length| {
            let header = Header::parse(&bytes).unwrap();
            let read = (header.sample_rate, header.channels, header.length);
            assert_eq!(read, (sample_rate, channels, length), "{bytes:02x?}");
            assert_eq!(specific(&header.specific()), Ok((sample_rate, channels)));
        };
        // 48 kHz, stereo, 192 kbit/s, as FFmpeg makes it.
        check([0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1], 48_000, 2, 768);
        // 48 kHz, 5.1, 448 kbit/s.
        check([0x0b, 0x77, 0, 0, 0x1e, 0x40, 0xe1, 0xf8], 48_000, 6, 1_792);
        // 44.1 kHz, mono, 96 kbit/s, the shorter and the longer frame.
        check([0x0b, 0x77, 0, 0, 0x4c, 0x40, 0x2f, 0x80], 44_100, 1, 416);
        check([0x0b, 0x77, 0, 0, 0x4d, 0x40, 0x2f, 0x80], 44_100, 1, 418);
        check([0x0b, 0x77, 0, 0, 0x94, 0x40, 0x43, 0xe1], 32_000, 2, 1_152);
    }

    #[test]
    fn truncations_and_forbidden_values_are_errors() {
        let good = [0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43];
        for length in 0..good.len() {
            assert_eq!(Header::parse(&good[..length]), Err(Error::Truncated), "{length}");
        }
        let check = |rate_and_size: u8, bsid: u8, error| {
            let bytes = [0x0b, 0x77, 0, 0, rate_and_size, bsid << 3, 0x43, 0xe1];
            assert_eq!(Header::parse(&bytes), Err(error));
        };
        check(0xd4, 8, Error::Invalid("AC-3 sample rate"));
        check(0x26, 8, Error::Invalid("AC-3 frame size"));
        check(0x14, 16, Error::Unsupported("E-AC-3"));
        assert_eq!(
            Header::parse(&[0x0b, 0x78, 0, 0, 0x14, 0x40, 0x43]),
            Err(Error::Invalid("AC-3 sync word"))
        );
    }
}

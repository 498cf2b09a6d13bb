//! FLAC (RFC 9639): the STREAMINFO block, and how many samples a frame has.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::Bytes;

use crate::Error;
use crate::read::{Bits, Cursor};

/// Bytes of a STREAMINFO block without its header (section 8.2).
pub const STREAM_INFO: usize = 34;
/// What a FLAC file begins with.
const MARKER: &[u8; 4] = b"fLaC";
/// The type of the block that is always the first (table 1).
const STREAM_INFO_TYPE: u8 = 0;

/// A STREAMINFO block, parsed as far as a server needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    bytes: Bytes,
    /// Hz; never 0.
    pub sample_rate: u32,
    /// 1 to 8.
    pub channels: u8,
    /// Bits per sample, 4 to 32.
    pub bit_depth: u8,
}

impl Config {
    /// Parses the 34 bytes of a block, or the beginning of a file: the marker `fLaC`, a block header, the block. What
    /// comes behind is ignored.
    pub fn parse(bytes: &[u8]) -> Result<Config, Error> {
        let mut cursor = Cursor::new(bytes);
        if bytes.starts_with(MARKER) {
            cursor.skip(MARKER.len())?;
            if cursor.u8()? & 0x7f != STREAM_INFO_TYPE {
                return Err(Error::Invalid("first FLAC metadata block"));
            }
            cursor.skip(3)?;
        }
        let block = cursor.take(STREAM_INFO)?;
        let mut bits = Bits::new(block);
        // Sizes of blocks and frames.
        bits.skip(80)?;
        let sample_rate = bits.bits(20)?;
        let channels = bits.small(3)?.saturating_add(1);
        let bit_depth = bits.small(5)?.saturating_add(1);
        if sample_rate == 0 {
            return Err(Error::Invalid("FLAC sample rate"));
        }
        if bit_depth < 4 {
            return Err(Error::Invalid("FLAC bit depth"));
        }
        Ok(Config {
            bytes: Bytes::copy_from_slice(block),
            sample_rate,
            channels,
            bit_depth,
        })
    }

    /// The 34 bytes of the block.
    pub fn bytes(&self) -> Bytes {
        self.bytes.clone()
    }

    /// The block as a file begins with it: marker, header of the last metadata block, the 34 bytes.
    pub fn file_header(&self) -> Bytes {
        [&MARKER[..], &[0x80, 0, 0, 34], &self.bytes].concat().into()
    }
}

/// Samples per channel in a frame (section 9.1).
pub fn samples(frame: &[u8]) -> Result<u32, Error> {
    let mut cursor = Cursor::new(frame);
    if cursor.u16()? >> 1 != 0x7ffc {
        return Err(Error::Invalid("FLAC sync code"));
    }
    let code = cursor.u8()? >> 4;
    cursor.skip(1)?;
    // The frame or sample number is coded as UTF-8 is; its first byte says how long it is.
    let number = cursor.u8()?.leading_ones();
    if number == 1 || number > 7 {
        return Err(Error::Invalid("FLAC frame number"));
    }
    cursor.skip(usize::try_from(number.saturating_sub(1)).map_err(|_| Error::Truncated)?)?;
    Ok(match code {
        1 => 192,
        2..=5 => 144 << code,
        6 => u32::from(cursor.u8()?).saturating_add(1),
        7 => u32::from(cursor.u16()?).saturating_add(1),
        8.. => 1 << code,
        _ => return Err(Error::Invalid("FLAC block size")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 48 kHz, stereo, 16 bits, blocks of 4,608 samples, as FFmpeg's encoder says.
    const BLOCK: [u8; STREAM_INFO] = [
        0x12, 0x00, 0x12, 0x00, 0, 0, 0, 0, 0, 0, 0x0b, 0xb8, 0x02, 0xf0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_block_is_understood_with_and_without_the_head_of_a_file() {
        let config = Config::parse(&BLOCK).unwrap();
        assert_eq!((config.sample_rate, config.channels, config.bit_depth), (48_000, 2, 16));
        assert_eq!(config.bytes(), BLOCK[..]);
        assert_eq!(Config::parse(&config.file_header()), Ok(config));
    }

    #[test]
    fn truncations_and_forbidden_values_are_errors() {
        let file = Config::parse(&BLOCK).unwrap().file_header();
        for length in 0..file.len() {
            assert!(Config::parse(&file[..length]).is_err(), "{length}");
        }
        let changed = |at: usize, to: u8| {
            let mut block = BLOCK;
            block[at] = to;
            Config::parse(&block)
        };
        assert_eq!(changed(13, 0x20).unwrap_err(), Error::Invalid("FLAC bit depth"));
        let mut silent = BLOCK;
        silent[10..13].copy_from_slice(&[0, 0, 2]);
        assert_eq!(Config::parse(&silent), Err(Error::Invalid("FLAC sample rate")));
        let mut other = file.to_vec();
        other[4] = 4;
        assert_eq!(Config::parse(&other), Err(Error::Invalid("first FLAC metadata block")));
    }

    #[test]
    fn a_frame_tells_its_samples() {
        assert_eq!(samples(&[0xff, 0xf8, 0xca, 0x18, 0x00]), Ok(4_096));
        assert_eq!(samples(&[0xff, 0xf8, 0x5a, 0x18, 0x00]), Ok(4_608));
        assert_eq!(samples(&[0xff, 0xf8, 0x1a, 0x18, 0x00]), Ok(192));
        assert_eq!(samples(&[0xff, 0xf8, 0x6a, 0x18, 0xc2, 0x80, 0x63]), Ok(100));
        assert_eq!(samples(&[0xff, 0xf8, 0x7a, 0x18, 0x00, 0x03, 0xff]), Ok(1_024));
        assert_eq!(samples(&[0xff, 0xf8, 0x7a, 0x18, 0x00, 0x03]), Err(Error::Truncated));
        assert_eq!(
            samples(&[0xff, 0xf8, 0x0a, 0x18, 0x00]),
            Err(Error::Invalid("FLAC block size"))
        );
        assert_eq!(samples(&[0xff, 0xfb, 0x90]), Err(Error::Invalid("FLAC sync code")));
        assert_eq!(samples(&[]), Err(Error::Truncated));
    }
}

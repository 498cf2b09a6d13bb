//! ADTS: the header that stands before each access unit of AAC where nothing else tells its configuration and its
//! length (ISO/IEC 14496-3 section 1.A.2.2), in MPEG-TS for one.
//!
//! ```text
//! sync (12) id (1) layer (2) no crc (1) | profile (2) rate (4) private (1) channels (3) … (4) length (13) fullness (11) blocks (2)
//! ```
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

use super::aac::{Config, SAMPLE_RATES};
use crate::{Error, read::Bits};

/// Bytes of a header that [`header`] writes.
pub const HEADER: usize = 7;
/// The most that the length field can tell, header included.
pub const MAX_LENGTH: usize = (1 << 13) - 1;
/// The only number of samples in an access unit that ADTS can mean.
const SAMPLES: u32 = 1_024;
/// "Variable bit rate" in the buffer fullness.
const VARIABLE: u8 = 0xff;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 1 to 4: ADTS has no room for more.
    pub object_type: u8,
    /// Hz; never 0.
    pub sample_rate: u32,
    /// 1 to 6, or 8.
    pub channels: u8,
    /// Bytes before the access unit: 7, or 9 with a checksum.
    pub size: usize,
    /// Bytes of header and access unit together; not less than [`size`](Self::size).
    pub length: usize,
}

impl Header {
    /// Reads the header that `frame` begins with. Several access units behind one header cannot be told apart without
    /// decoding them, and channels that only a program config element tells are not told here: both are unsupported.
    pub fn parse(frame: &[u8]) -> Result<Header, Error> {
        let mut bits = Bits::new(frame);
        if bits.bits(12)? != 0xfff {
            return Err(Error::Invalid("ADTS sync word"));
        }
        let _version = bits.flag()?;
        if bits.bits(2)? != 0 {
            return Err(Error::Invalid("ADTS layer"));
        }
        let size = if bits.flag()? { HEADER } else { HEADER.saturating_add(2) };
        let object_type = bits.small(2)?.saturating_add(1);
        let rate = bits.small(4)?;
        let sample_rate = *SAMPLE_RATES
            .get(usize::from(rate))
            .ok_or(Error::Invalid("ADTS sample rate"))?;
        bits.skip(1)?;
        let channels = match bits.small(3)? {
            0 => return Err(Error::Unsupported("ADTS program config element")),
            7 => 8,
            channels => channels,
        };
        bits.skip(4)?;
        let length = usize::try_from(bits.bits(13)?).map_err(|_| Error::TooLarge("ADTS frame"))?;
        bits.skip(11)?;
        if length < size {
            return Err(Error::Invalid("ADTS length"));
        }
        if bits.bits(2)? != 0 {
            return Err(Error::Unsupported("several access units in an ADTS frame"));
        }
        Ok(Header {
            object_type,
            sample_rate,
            channels,
            size,
            length,
        })
    }

    /// The AudioSpecificConfig of the same values.
    pub fn config(&self) -> Result<Config, Error> {
        Config::new(self.object_type, self.sample_rate, self.channels).ok_or(Error::Unsupported("ADTS configuration"))
    }
}

/// The header for an access unit of `length` bytes.
///
/// # Errors
/// The configuration is one that ADTS cannot tell (low delay, 960 samples, an unusual rate, channels of a program config
/// element), or the access unit is too large.
pub fn header(config: &Config, length: usize) -> Result<[u8; HEADER], Error> {
    let (profile, rate, channels) = fields(config).ok_or(Error::Unsupported("AAC configuration in ADTS"))?;
    let length = length.saturating_add(HEADER);
    if length > MAX_LENGTH {
        return Err(Error::TooLarge("ADTS frame"));
    }
    let [.., high, low] = length.to_be_bytes();
    Ok([
        0xff,
        0xf1,
        profile << 6 | rate << 2 | channels >> 2,
        channels << 6 | high >> 3,
        high << 5 | low >> 3,
        low << 5 | VARIABLE >> 3,
        VARIABLE << 2,
    ])
}

/// Whether ADTS can tell a configuration.
pub fn carries(config: &Config) -> bool {
    fields(config).is_some()
}

fn fields(config: &Config) -> Option<(u8, u8, u8)> {
    let profile = config.object_type.checked_sub(1).filter(|profile| *profile < 4)?;
    let rate = SAMPLE_RATES
        .iter()
        .zip(0u8..)
        .find(|(rate, _)| **rate == config.sample_rate)?
        .1;
    let channels = match config.channels {
        channels @ 1..=6 => channels,
        8 => 7,
        _ => return None,
    };
    (config.frame_samples == SAMPLES).then_some((profile, rate, channels))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADTS: &[u8] = include_bytes!("../../testdata/aac.adts");

    #[test]
    fn a_stream_of_an_encoder_is_read_and_its_headers_are_written_as_they_were() {
        let mut rest = ADTS;
        let mut count = 0;
        while !rest.is_empty() {
            let parsed = Header::parse(rest).unwrap();
            assert_eq!(
                (parsed.object_type, parsed.sample_rate, parsed.channels),
                (2, 44_100, 2)
            );
            let written = header(&parsed.config().unwrap(), parsed.length - parsed.size).unwrap();
            assert_eq!(Header::parse(&written), Ok(parsed));
            rest = &rest[parsed.length..];
            count += 1;
        }
        assert!(count > 40, "{count}");
    }

    #[test]
    fn every_configuration_that_fits_reads_to_itself() {
        for object_type in 1..=4 {
            for sample_rate in SAMPLE_RATES {
                for channels in [1, 2, 3, 4, 5, 6, 8] {
                    let config = Config::new(object_type, sample_rate, channels).unwrap();
                    let parsed = Header::parse(&header(&config, 1_000).unwrap()).unwrap();
                    assert_eq!((parsed.config(), parsed.length), (Ok(config), 1_007));
                }
            }
        }
    }

    #[test]
    fn what_has_no_place_in_a_header_is_refused() {
        let config = Config::new(2, 48_000, 2).unwrap();
        assert!(header(&config, MAX_LENGTH - HEADER).is_ok());
        assert_eq!(header(&config, MAX_LENGTH), Err(Error::TooLarge("ADTS frame")));
        for (object_type, sample_rate) in [(23, 48_000), (2, 44_000)] {
            assert!(!carries(&Config::new(object_type, sample_rate, 2).unwrap()));
        }
    }

    #[test]
    fn truncations_and_forbidden_values_are_errors() {
        let good = header(&Config::new(2, 48_000, 2).unwrap(), 100).unwrap();
        for length in 0..good.len() {
            assert_eq!(Header::parse(&good[..length]), Err(Error::Truncated), "{length}");
        }
        let check = |at: usize, mask: u8, error| {
            let mut bytes = good;
            bytes[at] ^= mask;
            assert_eq!(Header::parse(&bytes), Err(error));
        };
        check(0, 1, Error::Invalid("ADTS sync word"));
        check(1, 2, Error::Invalid("ADTS layer"));
        check(2, 0b11_0000, Error::Invalid("ADTS sample rate"));
        check(3, 0x80, Error::Unsupported("ADTS program config element"));
        check(6, 1, Error::Unsupported("several access units in an ADTS frame"));
        let short = header(&Config::new(2, 48_000, 2).unwrap(), 0).unwrap();
        assert!(
            Header::parse(&short).is_ok(),
            "an empty access unit is none of the header's business"
        );
        let mut shorter = short;
        shorter[5] -= 0x20;
        assert_eq!(Header::parse(&shorter), Err(Error::Invalid("ADTS length")));
    }
}

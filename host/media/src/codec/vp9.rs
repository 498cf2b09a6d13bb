//! VP9: what the uncompressed header of a frame says (VP9 bitstream specification, section 6.2).
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::Error;
use crate::read::Bits;

/// What the header of a keyframe says about the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// 0 to 3.
    pub profile: u8,
    /// Pixels in a row.
    pub width: u32,
    /// Pixels in a column.
    pub height: u32,
}

impl Header {
    /// The VPCodecConfigurationRecord without version and flags (VP Codec ISO Media File Format Binding, section 2.2).
    /// Profile 0 and 1 have 8 bits; the depth of the others is not in what is known here, and 10 is what encoders make.
    pub fn configuration_record(&self) -> [u8; 8] {
        let depth: u8 = if self.profile < 2 { 8 } else { 10 };
        let subsampling: u8 = if self.profile & 1 == 0 { 1 } else { 3 };
        // Level unknown; colours unspecified; no codec initialisation data.
        [self.profile, 0, depth << 4 | subsampling << 1, 2, 2, 2, 0, 0]
    }
}

/// Whether decoding may start at a frame.
pub fn is_key(frame: &[u8]) -> bool {
    header(frame).is_ok_and(|header| header.is_some())
}

/// The header of a keyframe; `None` when the frame is none.
pub fn header(frame: &[u8]) -> Result<Option<Header>, Error> {
    let mut bits = Bits::new(frame);
    if bits.bits(2)? != 2 {
        return Err(Error::Invalid("VP9 frame marker"));
    }
    let profile = bits.small(1)? | bits.small(1)? << 1;
    if profile == 3 && bits.flag()? {
        return Err(Error::Invalid("VP9 profile"));
    }
    let existing = bits.flag()?;
    if existing || bits.flag()? {
        return Ok(None);
    }
    bits.skip(2)?;
    if bits.bits(24)? != 0x49_8342 {
        return Err(Error::Invalid("VP9 sync code"));
    }
    // color_config (section 6.2.2).
    if profile >= 2 {
        bits.flag()?;
    }
    let rgb = bits.bits(3)? == 7;
    let has_subsampling = profile & 1 == 1;
    bits.skip(match (rgb, has_subsampling) {
        (false, false) => 1,
        (false, true) => 4,
        (true, false) => 0,
        (true, true) => 1,
    })?;
    let (width, height) = (bits.bits(16)?.saturating_add(1), bits.bits(16)?.saturating_add(1));
    Ok(Some(Header { profile, width, height }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testdata::ivf;

    #[test]
    fn a_real_stream_has_its_keyframes_and_its_size() {
        let frames = ivf(include_bytes!("../../testdata/vp9.ivf"));
        let keys: Vec<usize> = frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| is_key(frame))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(keys, [0, 10, 20]);
        assert_eq!(
            header(frames[0]),
            Ok(Some(Header {
                profile: 0,
                width: 176,
                height: 144
            }))
        );
        assert_eq!(header(frames[1]), Ok(None));
        for length in 0..9 {
            assert!(header(&frames[0][..length]).is_err());
        }
    }
}

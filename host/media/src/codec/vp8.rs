//! VP8 (RFC 6386): what the first bytes of a frame say.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

/// Whether decoding may start at a frame: the lowest bit of the frame tag is 0 (section 9.1).
pub fn is_key(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// Width and height; `None` when the frame is no keyframe.
pub fn dimensions(frame: &[u8]) -> Option<(u32, u32)> {
    match frame {
        // Frame tag, start code, two bits of scaling above fourteen of size, low byte first.
        [tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] if tag & 1 == 0 => {
            let size = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high & 0x3f]));
            Some((size(*w0, *w1), size(*h0, *h1)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::testdata::ivf;

    #[test]
    fn a_real_stream_has_its_keyframes_and_its_size() {
        let frames = ivf(include_bytes!("../../testdata/vp8.ivf"));
        let keys: Vec<usize> = frames
            .iter()
            .enumerate()
            .filter(|(_, frame)| is_key(frame))
            .map(|(at, _)| at)
            .collect();
        assert_eq!(keys, [0, 10, 20]);
        assert_eq!(dimensions(frames[0]), Some((176, 144)));
        assert_eq!(dimensions(frames[1]), None);
        for length in 0..10 {
            assert_eq!(dimensions(&frames[0][..length]), None);
        }
        assert!(!is_key(&[]));
    }
}

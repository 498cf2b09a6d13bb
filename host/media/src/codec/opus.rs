//! Opus: how long a packet lasts (RFC 6716 section 3.1) and how multichannel streams are laid out (RFC 7845 section 5.1.1).
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

/// 120 ms at 48 kHz, the longest packet there is.
const MAX_SAMPLES: u32 = 5_760;

/// Samples at 48 kHz that a packet decodes to.
pub fn duration(packet: &[u8]) -> Result<u32, Error> {
    let toc = *packet.first().ok_or(Error::Truncated)?;
    // Table 2: SILK 10–60 ms, hybrid 10 or 20 ms, CELT 2.5–20 ms.
    let frame: u32 = match (toc >> 3, (toc >> 3) & 3) {
        (0..=11, size) => [480, 960, 1_920, 2_880]
            .get(usize::from(size))
            .copied()
            .unwrap_or_default(),
        (12..=15, size) => [480, 960].get(usize::from(size & 1)).copied().unwrap_or_default(),
        (_, size) => 120 << size,
    };
    let count = match toc & 3 {
        0 => 1,
        1 | 2 => 2,
        _ => u32::from(packet.get(1).ok_or(Error::Truncated)? & 0x3f),
    };
    match frame.saturating_mul(count) {
        samples @ 1..=MAX_SAMPLES => Ok(samples),
        _ => Err(Error::Invalid("Opus frame count")),
    }
}

/// The identification header of RFC 7845 section 5.1, without gain and samples to be dropped.
pub fn identification_header(channels: u8) -> Vec<u8> {
    let mut header = [
        &b"OpusHead\x01"[..],
        &[channels, 0, 0],
        &48_000u32.to_le_bytes(),
        &[0, 0],
    ]
    .concat();
    if channels <= 2 {
        header.push(0);
    } else {
        let (streams, coupled, mapping) = channel_mapping(channels);
        header.extend([1, streams, coupled]);
        header.extend(mapping);
    }
    header
}

/// Streams, coupled streams and the channel mapping of family 1 for a number of channels.
pub fn channel_mapping(channels: u8) -> (u8, u8, &'static [u8]) {
    match channels {
        0 | 1 => (1, 0, &[0]),
        2 => (1, 1, &[0, 1]),
        3 => (2, 1, &[0, 2, 1]),
        4 => (2, 2, &[0, 1, 2, 3]),
        5 => (3, 2, &[0, 4, 1, 2, 3]),
        6 => (4, 2, &[0, 4, 1, 2, 3, 5]),
        7 => (4, 3, &[0, 4, 1, 2, 3, 5, 6]),
        _ => (5, 3, &[0, 6, 1, 2, 3, 4, 5, 7]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_follow_the_table_of_contents() {
        let check = |packet: &[u8], expected| assert_eq!(duration(packet), expected, "{packet:02x?}");
        check(&[0xfc], Ok(960)); // CELT 20 ms, one frame: what FFmpeg and WebRTC send.
        check(&[0xe0], Ok(120)); // CELT 2.5 ms.
        check(&[0x18], Ok(2_880)); // SILK 60 ms.
        check(&[0x68], Ok(960)); // Hybrid 20 ms.
        check(&[0xfd], Ok(1_920));
        check(&[0xff, 0x83], Ok(2_880));
        check(&[0xff], Err(Error::Truncated));
        check(&[0xff, 0], Err(Error::Invalid("Opus frame count")));
        check(&[0xff, 7], Err(Error::Invalid("Opus frame count")));
        check(&[], Err(Error::Truncated));
    }

    #[test]
    fn a_channel_mapping_has_an_entry_per_channel() {
        for channels in 1..=8u8 {
            let (streams, coupled, mapping) = channel_mapping(channels);
            assert_eq!(mapping.len(), usize::from(channels));
            assert_eq!(streams + coupled, channels);
        }
    }
}

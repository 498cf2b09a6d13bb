//! PCM: the laws of ITU-T G.711, and the samples of RFC 3551 section 4.5.10, as linear samples of 16 bits. That is what a
//! file holds of them for which it has no form of its own.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::indexing_slicing))]

use bytes::{BufMut, Bytes, BytesMut};

use crate::Codec;

/// What µ-law adds before it takes the logarithm.
const BIAS: i16 = 0x84;

/// The linear codec of 16 bits that holds all of what this one does: of G.711, and of L8, whose samples are unsigned.
/// None for any other.
pub fn linear(codec: &Codec) -> Option<Codec> {
    match *codec {
        Codec::G711 {
            sample_rate, channels, ..
        }
        | Codec::Lpcm {
            bit_depth: 8,
            sample_rate,
            channels,
        } => Some(Codec::Lpcm {
            bit_depth: 16,
            sample_rate,
            channels,
        }),
        _ => None,
    }
}

/// A payload of a codec as one of what [`linear`] says for it. Payloads of other codecs stay as they are.
pub fn to_linear(codec: &Codec, payload: &[u8]) -> Bytes {
    let sample: fn(u8) -> i16 = match codec {
        Codec::G711 { mu_law: true, .. } => mu_law,
        Codec::G711 { mu_law: false, .. } => a_law,
        Codec::Lpcm { bit_depth: 8, .. } => |byte| i16::from_be_bytes([byte ^ 0x80, 0]),
        _ => return Bytes::copy_from_slice(payload),
    };
    let mut samples = BytesMut::with_capacity(payload.len().saturating_mul(2));
    payload.iter().for_each(|byte| samples.put_i16(sample(*byte)));
    samples.freeze()
}

/// One sample of µ-law (G.711 table 2a and 2b).
fn mu_law(byte: u8) -> i16 {
    let byte = !byte;
    let mantissa = i16::from(byte & 0x0f) << 3;
    let magnitude = (mantissa.saturating_add(BIAS) << (byte >> 4 & 7)).saturating_sub(BIAS);
    if byte & 0x80 == 0 {
        magnitude
    } else {
        magnitude.saturating_neg()
    }
}

/// One sample of A-law (G.711 table 1a and 1b).
fn a_law(byte: u8) -> i16 {
    let byte = byte ^ 0x55;
    // Half a step more: the middle of the interval.
    let mantissa = i16::from(byte & 0x0f) << 4 | 8;
    let magnitude = match byte >> 4 & 7 {
        0 => mantissa,
        segment => mantissa.saturating_add(0x100) << segment.saturating_sub(1),
    };
    if byte & 0x80 == 0 {
        magnitude.saturating_neg()
    } else {
        magnitude
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(codec: &Codec, payload: &[u8]) -> Vec<i16> {
        let linear = to_linear(codec, payload);
        let (samples, rest) = linear.as_chunks();
        assert!(rest.is_empty());
        samples.iter().map(|sample| i16::from_be_bytes(*sample)).collect()
    }

    #[test]
    fn both_laws_have_the_values_of_the_tables_and_are_symmetric() {
        let law = |mu_law| Codec::G711 {
            mu_law,
            sample_rate: 8_000,
            channels: 1,
        };
        let extremes = [0x00, 0x80, 0x7f, 0xff, 0x0f, 0x70];
        assert_eq!(samples(&law(true), &extremes), [-32_124, 32_124, 0, 0, -16_764, -120]);
        let extremes = [0x2a, 0xaa, 0x55, 0xd5, 0x80];
        assert_eq!(samples(&law(false), &extremes), [-32_256, 32_256, -8, 8, 5_504]);
        for law in [law(true), law(false)] {
            let all: Vec<u8> = (0..=255).collect();
            let all = samples(&law, &all);
            for byte in 0..128 {
                assert_eq!(all[byte], -all[byte + 128], "{byte}");
            }
        }
    }

    #[test]
    fn unsigned_samples_become_signed_and_others_stay() {
        let of = |bit_depth| Codec::Lpcm {
            bit_depth,
            sample_rate: 48_000,
            channels: 2,
        };
        assert_eq!(samples(&of(8), &[0, 0x80, 0xff]), [i16::MIN, 0, 0x7f00]);
        assert_eq!(linear(&of(8)), Some(of(16)));
        assert_eq!(linear(&of(16)), None);
        assert_eq!(to_linear(&of(16), &[1, 2, 3, 4]), Bytes::from_static(&[1, 2, 3, 4]));
    }
}

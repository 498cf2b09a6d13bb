//! The time stamp of MISB ST 0604, and what H264, H265 and AV1 put around it.
//!
//! ```text
//! 16 bytes  identifier: for H264 "MISPmicrosectime", for H265 a UUID
//!  1 byte   status (ST 0603): 0x1f, the clock is not known to be locked to a reference
//! 11 bytes  microseconds since 1970, big-endian, 0xff after each second byte but the last
//! ```
//!
//! Those 0xff, and identifiers without a zero, mean that three bytes that would need an emulation prevention byte (ITU-T H.264 section 7.4.1) never come about.

/// Length of the stamp.
pub(crate) const STAMP: usize = 28;
const H264: &[u8; 16] = b"MISPmicrosectime";
const H265: &[u8; 16] = &[
    0xa8, 0x68, 0x7d, 0xd4, 0xd7, 0x59, 0x37, 0x58, 0xa5, 0xce, 0xf0, 0x33, 0x8b, 0x65, 0x45, 0xf1,
];
const STATUS: u8 = 0x1f;
/// "User data unregistered" (ITU-T H.264 table D.1.1, H.265 table D.1).
const UNREGISTERED: u8 = 5;
/// The bit that ends a payload of bits.
const STOP: u8 = 0x80;
/// A metadata OBU with a length (AV1 section 5.3.2).
const METADATA_OBU: u8 = 5 << 3 | 1 << 1;
/// Metadata of users by ITU-T T.35 (AV1 section 6.7.2). Its private kinds would do as well, but FFmpeg before 6 takes them for errors.
const T35: u8 = 4;
/// A country that T.35 gives to nobody: what follows is known by its identifier.
const NO_COUNTRY: [u8; 2] = [0xff, 0];

/// An SEI message as a NAL unit of H264, its length in front.
pub(crate) fn h264(micros: u64) -> Vec<u8> {
    nal_unit(&[6], H264, micros)
}

/// An SEI message as a NAL unit of H265 before the pictures, of a temporal layer (`temporal` is its number and one).
pub(crate) fn h265(micros: u64, temporal: u8) -> Vec<u8> {
    nal_unit(&[39 << 1, temporal], H265, micros)
}

/// A metadata OBU of AV1.
pub(crate) fn av1(micros: u64) -> Vec<u8> {
    let size = 1 + NO_COUNTRY.len() + STAMP + 1;
    let mut obu = vec![METADATA_OBU, size as u8, T35];
    obu.extend_from_slice(&NO_COUNTRY);
    stamp(&mut obu, H264, micros);
    obu.push(STOP);
    obu
}

fn nal_unit(header: &[u8], identifier: &[u8; 16], micros: u64) -> Vec<u8> {
    let length = (header.len() + 2 + STAMP + 1) as u32;
    let mut unit = length.to_be_bytes().to_vec();
    unit.extend_from_slice(header);
    unit.extend_from_slice(&[UNREGISTERED, STAMP as u8]);
    stamp(&mut unit, identifier, micros);
    unit.push(STOP);
    unit
}

fn stamp(output: &mut Vec<u8>, identifier: &[u8; 16], micros: u64) {
    output.extend_from_slice(identifier);
    output.push(STATUS);
    let [a, b, c, d, e, f, g, h] = micros.to_be_bytes();
    output.extend_from_slice(&[a, b, 0xff, c, d, 0xff, e, f, 0xff, g, h]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_sei_message_of_h264_is_laid_out_as_the_standards_say() {
        let unit = h264(0x0006_4455_6677_8899);
        assert_eq!(unit[..7], [0, 0, 0, 32, 6, 5, 28]);
        assert_eq!(&unit[7..23], b"MISPmicrosectime");
        assert_eq!(
            unit[23..],
            [0x1f, 0, 6, 0xff, 0x44, 0x55, 0xff, 0x66, 0x77, 0xff, 0x88, 0x99, 0x80]
        );
    }

    #[test]
    fn one_of_h265_has_a_header_of_two_bytes() {
        let unit = h265(1, 2);
        assert_eq!(unit[..8], [0, 0, 0, 33, 0x4e, 2, 5, 28]);
        assert_eq!(unit.len(), 4 + 33);
    }

    #[test]
    fn metadata_of_av1_says_its_length() {
        let obu = av1(1);
        assert_eq!(obu[..5], [0x2a, 32, 4, 0xff, 0]);
        assert_eq!((obu.len(), obu[33]), (2 + 32, 0x80));
    }

    #[test]
    fn no_time_needs_an_emulation_prevention_byte() {
        let bytes = [0u8, 1, 2, 3, 0x80, 0xff];
        // Each byte in each place, the others zero or not.
        for place in 0..8 {
            for byte in bytes {
                for others in [0u64, u64::MAX] {
                    let time = others & !(0xff << (8 * place)) | u64::from(byte) << (8 * place);
                    for unit in [h264(time), h265(time, 1)] {
                        let emulated = unit[4..].windows(3).any(|three| three[..2] == [0, 0] && three[2] <= 3);
                        assert!(!emulated, "{time:x}");
                        assert_ne!(unit.last(), Some(&0));
                    }
                }
            }
        }
    }
}

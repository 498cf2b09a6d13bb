//! RTP packets (RFC 3550 section 5.1): a view that shares the received bytes, and the fixed header for sending.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+-+
//! |V=2|P|X|  CC   |M|     PT      |       sequence number         |
//! |                           timestamp                           |
//! |                              SSRC                             |
//! |                      CSRC × CC, extension                     |
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

use bytes::Bytes;
use wasmtx_media::Error;
use wasmtx_media::read::Cursor;

/// Bytes of the header without CSRCs and extension, the only one that is sent.
pub const HEADER_SIZE: usize = 12;

/// The fields of the fixed header that mean something to a receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The marker bit.
    pub marker: bool,
    /// 0 to 127.
    pub payload_type: u8,
    /// Counts packets, wraps.
    pub sequence: u16,
    /// In ticks of the payload format's clock, wraps.
    pub timestamp: u32,
    /// The synchronisation source.
    pub ssrc: u32,
}

impl Header {
    /// The header on the wire: version 2, no padding, no extension, no CSRC.
    pub fn to_bytes(self) -> [u8; HEADER_SIZE] {
        let [s0, s1] = self.sequence.to_be_bytes();
        let [t0, t1, t2, t3] = self.timestamp.to_be_bytes();
        let [r0, r1, r2, r3] = self.ssrc.to_be_bytes();
        let second = u8::from(self.marker) << 7 | self.payload_type & 0x7f;
        [0x80, second, s0, s1, t0, t1, t2, t3, r0, r1, r2, r3]
    }
}

/// A received packet. The payload is a share of the bytes it was parsed from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The fixed header.
    pub header: Header,
    /// What follows the header, CSRCs and extension, without padding.
    pub payload: Bytes,
}

impl Packet {
    /// Parses a whole packet. CSRCs and the header extension are checked and passed over.
    pub fn parse(bytes: &Bytes) -> Result<Packet, Error> {
        let mut cursor = Cursor::new(bytes);
        let [first, second] = cursor.array()?;
        if first >> 6 != 2 {
            return Err(Error::Invalid("RTP version"));
        }
        let header = Header {
            marker: second & 0x80 != 0,
            payload_type: second & 0x7f,
            sequence: cursor.u16()?,
            timestamp: cursor.u32()?,
            ssrc: cursor.u32()?,
        };
        cursor.skip(usize::from(first & 0x0f).saturating_mul(4))?;
        if first & 0x10 != 0 {
            let _profile = cursor.u16()?;
            let words = usize::from(cursor.u16()?);
            cursor.skip(words.saturating_mul(4))?;
        }
        let mut payload = cursor.rest();
        if first & 0x20 != 0 {
            // The last byte counts the padding, itself included.
            let padding = usize::from(payload.last().copied().ok_or(Error::Truncated)?);
            let kept = payload.len().checked_sub(padding).filter(|_| padding > 0);
            payload = payload
                .get(..kept.ok_or(Error::Invalid("RTP padding"))?)
                .unwrap_or_default();
        }
        Ok(Packet {
            header,
            payload: bytes.slice_ref(payload),
        })
    }

    /// The packet on the wire, for tests and for packets built one at a time.
    pub fn to_bytes(&self) -> Bytes {
        let mut bytes = Vec::with_capacity(HEADER_SIZE.saturating_add(self.payload.len()));
        bytes.extend_from_slice(&self.header.to_bytes());
        bytes.extend_from_slice(&self.payload);
        Bytes::from(bytes)
    }
}

/// Whether a datagram or interleaved frame on a shared port is RTCP: its packet type lies where RTP payload types with
/// the marker bit 72 to 79 would (RFC 5761 section 4).
pub fn is_rtcp(bytes: &[u8]) -> bool {
    matches!(bytes, [_, 192..=223, ..])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<u8> {
        // Padding, extension of one word, one CSRC.
        let mut bytes = vec![
            0xb1, 0xe0, 0x12, 0x34, 0, 0, 0, 5, 0, 0, 0, 9, 1, 1, 1, 1, 0xbe, 0xde, 0, 1, 7, 7, 7, 7,
        ];
        bytes.extend_from_slice(&[10, 11, 12, 0, 0, 3]);
        bytes
    }

    #[test]
    fn csrc_extension_and_padding_are_passed_over() {
        let packet = Packet::parse(&Bytes::from(sample())).unwrap();
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence: 0x1234,
            timestamp: 5,
            ssrc: 9,
        };
        assert_eq!(packet.header, header);
        assert_eq!(packet.payload[..], [10, 11, 12]);
    }

    #[test]
    fn a_written_packet_parses_to_itself() {
        let header = Header {
            marker: false,
            payload_type: 127,
            sequence: 65535,
            timestamp: u32::MAX,
            ssrc: 0xdead_beef,
        };
        let packet = Packet {
            header,
            payload: Bytes::from_static(b"payload"),
        };
        assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
    }

    #[test]
    fn every_truncation_of_the_header_is_an_error() {
        let bytes = Bytes::from(sample());
        for length in 0..24 {
            assert!(Packet::parse(&bytes.slice(..length)).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn a_wrong_version_or_padding_is_refused() {
        let mut bytes = sample();
        bytes[0] = 0x71;
        assert_eq!(Packet::parse(&Bytes::from(bytes)), Err(Error::Invalid("RTP version")));
        for padding in [0, 7] {
            let mut bytes = sample();
            *bytes.last_mut().unwrap() = padding;
            assert_eq!(Packet::parse(&Bytes::from(bytes)), Err(Error::Invalid("RTP padding")));
        }
    }
}

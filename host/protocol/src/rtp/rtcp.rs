//! RTCP (RFC 3550 section 6): compound packets in, sender and receiver reports out, and NTP timestamps. Of the feedback of
//! RFC 4585, picture loss indications.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss
)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::read::Cursor;
use wasmtx_media::{Error, WallClock};

const SENDER_REPORT: u8 = 200;
const RECEIVER_REPORT: u8 = 201;
const SOURCE_DESCRIPTION: u8 = 202;
const BYE: u8 = 203;
const PAYLOAD_FEEDBACK: u8 = 206;
/// The format of payload-specific feedback that asks for a keyframe (RFC 4585 section 6.3.1).
const PICTURE_LOSS: u8 = 1;

/// Seconds from 1900 (NTP) to 1970 (Unix).
const NTP_EPOCH: u64 = 2_208_988_800;
/// The most packets of one compound that are looked at.
const MAX_PACKETS: usize = 64;
/// CNAMEs are cut to this (an SDES item has a one-byte length).
const MAX_CNAME: usize = 255;

/// An NTP timestamp: seconds since 1900 in the upper 32 bits, the fraction in the lower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ntp(pub u64);

impl Ntp {
    /// The middle 32 bits, as in the LSR field of a report block.
    pub fn middle(self) -> u32 {
        let [_, _, a, b, c, d, _, _] = self.0.to_be_bytes();
        u32::from_be_bytes([a, b, c, d])
    }
}

impl From<WallClock> for Ntp {
    fn from(wall: WallClock) -> Ntp {
        let seconds = (wall.0 / 1_000_000).wrapping_add(NTP_EPOCH);
        // Rounded up, so that the way back gives the same microsecond.
        let fraction = ((wall.0 % 1_000_000) << 32).div_ceil(1_000_000);
        Ntp((seconds << 32) | fraction)
    }
}

impl Ntp {
    /// The same moment on the Unix clock; `None` before 1970: devices without a clock count from 0 at their boot.
    pub fn wall(self) -> Option<WallClock> {
        let micros = ((self.0 & 0xffff_ffff).wrapping_mul(1_000_000)) >> 32;
        let unix = (self.0 >> 32).checked_sub(NTP_EPOCH)?;
        Some(WallClock(unix.wrapping_mul(1_000_000).wrapping_add(micros)))
    }
}

/// What a sender says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SenderReport {
    /// Who sends.
    pub ssrc: u32,
    /// The moment of the report on the sender's wall clock. 0 when it has none.
    pub ntp: Ntp,
    /// The same moment in ticks of the media clock.
    pub rtp_timestamp: u32,
    /// Packets sent since the start.
    pub packets: u32,
    /// Payload bytes sent since the start.
    pub octets: u32,
}

/// What a receiver says about one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source.
    pub ssrc: u32,
    /// Lost since the last report, in 1/256.
    pub fraction_lost: u8,
    /// Lost since the start; negative when duplicates came. 24 bits on the wire.
    pub lost: i32,
    /// The highest sequence number seen, with the count of its wraps above.
    pub highest_sequence: u32,
    /// Variation of the transit time, in ticks.
    pub jitter: u32,
    /// [`Ntp::middle`] of the last sender report, 0 without one.
    pub last_report: u32,
    /// Time since that report, in 1/65536 s.
    pub delay: u32,
}

/// One packet of a compound.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packet {
    /// A sender report without its report blocks, and these.
    SenderReport(SenderReport, Vec<ReportBlock>),
    /// A receiver report: who reports, about whom.
    ReceiverReport(u32, Vec<ReportBlock>),
    /// These sources leave.
    Bye(Vec<u32>),
    /// A keyframe is needed: who needs it, of which source.
    PictureLoss(u32, u32),
    /// A packet type without use here, source descriptions included.
    Other(u8),
}

/// The packets of a compound. Ends after the first error, which says what is wrong.
pub fn parse(compound: &[u8]) -> impl Iterator<Item = Result<Packet, Error>> {
    let mut cursor = Cursor::new(compound);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || cursor.is_empty() {
            return None;
        }
        let packet = parse_one(&mut cursor);
        failed = packet.is_err();
        Some(packet)
    })
    .take(MAX_PACKETS)
}

fn parse_one(cursor: &mut Cursor<'_>) -> Result<Packet, Error> {
    let [first, packet_type] = cursor.array()?;
    if first >> 6 != 2 {
        return Err(Error::Invalid("RTCP version"));
    }
    let length = usize::from(cursor.u16()?).saturating_mul(4);
    let mut body = Cursor::new(cursor.take(length)?);
    let count = usize::from(first & 0x1f);
    Ok(match packet_type {
        SENDER_REPORT => {
            let report = SenderReport {
                ssrc: body.u32()?,
                ntp: Ntp(body.u64()?),
                rtp_timestamp: body.u32()?,
                packets: body.u32()?,
                octets: body.u32()?,
            };
            Packet::SenderReport(report, parse_blocks(&mut body, count)?)
        }
        RECEIVER_REPORT => Packet::ReceiverReport(body.u32()?, parse_blocks(&mut body, count)?),
        BYE => Packet::Bye((0..count).map(|_| body.u32()).collect::<Result<_, _>>()?),
        PAYLOAD_FEEDBACK if first & 0x1f == PICTURE_LOSS => Packet::PictureLoss(body.u32()?, body.u32()?),
        other => Packet::Other(other),
    })
}

fn parse_blocks(body: &mut Cursor<'_>, count: usize) -> Result<Vec<ReportBlock>, Error> {
    // `count` has five bits.
    (0..count)
        .map(|_| {
            let ssrc = body.u32()?;
            let fraction_lost = body.u8()?;
            let [a, b, c] = body.array()?;
            Ok(ReportBlock {
                ssrc,
                fraction_lost,
                // The upper byte and an arithmetic shift extend the sign of the 24 bits.
                lost: i32::from_be_bytes([a, b, c, 0]) >> 8,
                highest_sequence: body.u32()?,
                jitter: body.u32()?,
                last_report: body.u32()?,
                delay: body.u32()?,
            })
        })
        .collect()
}

/// A sender report with the sender's CNAME.
pub fn sender_report(report: &SenderReport, cname: &str) -> Bytes {
    let mut compound = BytesMut::with_capacity(64);
    compound.put_slice(&[0x80, SENDER_REPORT, 0, 6]);
    compound.put_u32(report.ssrc);
    compound.put_u64(report.ntp.0);
    compound.put_u32(report.rtp_timestamp);
    compound.put_u32(report.packets);
    compound.put_u32(report.octets);
    put_source_description(&mut compound, report.ssrc, cname);
    compound.freeze()
}

/// A receiver report about one source, or about none, with the reporter's CNAME.
pub fn receiver_report(ssrc: u32, block: Option<&ReportBlock>, cname: &str) -> Bytes {
    let mut compound = BytesMut::with_capacity(64);
    match block {
        None => {
            compound.put_slice(&[0x80, RECEIVER_REPORT, 0, 1]);
            compound.put_u32(ssrc);
        }
        Some(block) => {
            compound.put_slice(&[0x81, RECEIVER_REPORT, 0, 7]);
            compound.put_u32(ssrc);
            compound.put_u32(block.ssrc);
            compound.put_u8(block.fraction_lost);
            let [_, lost @ ..] = block.lost.clamp(-0x80_0000, 0x7f_ffff).to_be_bytes();
            compound.put_slice(&lost);
            compound.put_u32(block.highest_sequence);
            compound.put_u32(block.jitter);
            compound.put_u32(block.last_report);
            compound.put_u32(block.delay);
        }
    }
    put_source_description(&mut compound, ssrc, cname);
    compound.freeze()
}

/// A request for a keyframe of `source` (RFC 4585 section 6.3.1), behind a report of the one who asks.
pub fn picture_loss(ssrc: u32, block: Option<&ReportBlock>, source: u32, cname: &str) -> Bytes {
    let mut compound = BytesMut::from(receiver_report(ssrc, block, cname));
    compound.put_slice(&[0x80 | PICTURE_LOSS, PAYLOAD_FEEDBACK, 0, 2]);
    compound.put_u32(ssrc);
    compound.put_u32(source);
    compound.freeze()
}

/// A BYE behind the empty receiver report that a compound must start with.
pub fn bye(ssrc: u32, cname: &str) -> Bytes {
    let mut compound = BytesMut::from(receiver_report(ssrc, None, cname));
    compound.put_slice(&[0x81, BYE, 0, 1]);
    compound.put_u32(ssrc);
    compound.freeze()
}

/// One chunk with one CNAME item, ended by one to four zero bytes (section 6.5).
fn put_source_description(compound: &mut BytesMut, ssrc: u32, cname: &str) {
    let cname = cname.as_bytes().get(..MAX_CNAME).unwrap_or(cname.as_bytes());
    let item = cname.len().saturating_add(2);
    let padded = item.saturating_add(4) & !3;
    // SSRC and padded items, in words: the header's own word is the one that the length leaves out.
    let words = u16::try_from(padded / 4).unwrap_or(u16::MAX).saturating_add(1);
    compound.put_slice(&[0x81, SOURCE_DESCRIPTION]);
    compound.put_u16(words);
    compound.put_u32(ssrc);
    compound.put_u8(1);
    compound.put_u8(u8::try_from(cname.len()).unwrap_or(u8::MAX));
    compound.put_slice(cname);
    compound.put_bytes(0, padded.saturating_sub(item));
}

#[cfg(test)]
mod tests {
    use super::*;

    const REPORT: SenderReport = SenderReport {
        ssrc: 7,
        ntp: Ntp(0xe5a1_0000_8000_0000),
        rtp_timestamp: 90_000,
        packets: 3,
        octets: 4_000,
    };

    #[test]
    fn a_sender_report_parses_to_itself() {
        for cname in ["", "a", "ab", "abc", "abcd", &"x".repeat(300)] {
            let bytes = sender_report(&REPORT, cname);
            assert_eq!(bytes.len() % 4, 0);
            let packets: Vec<_> = parse(&bytes).collect();
            assert_eq!(
                packets,
                [Ok(Packet::SenderReport(REPORT, vec![])), Ok(Packet::Other(202))],
                "{cname}"
            );
        }
    }

    #[test]
    fn a_receiver_report_keeps_a_negative_loss() {
        let block = ReportBlock {
            ssrc: 1,
            fraction_lost: 9,
            lost: -5,
            highest_sequence: 70_000,
            jitter: 3,
            last_report: 4,
            delay: 5,
        };
        let bytes = receiver_report(8, Some(&block), "host");
        assert_eq!(parse(&bytes).next(), Some(Ok(Packet::ReceiverReport(8, vec![block]))));
    }

    #[test]
    fn a_bye_names_its_source() {
        assert_eq!(parse(&bye(5, "host")).last(), Some(Ok(Packet::Bye(vec![5]))));
    }

    #[test]
    fn a_picture_loss_names_who_asks_and_of_whom() {
        let bytes = picture_loss(5, None, 6, "host");
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(parse(&bytes).last(), Some(Ok(Packet::PictureLoss(5, 6))));
        for length in bytes.len() - 11..bytes.len() {
            assert!(parse(&bytes[..length]).last().unwrap().is_err(), "{length} bytes");
        }
        // Another format of the same type, as a full intra request, is none.
        let mut other = bytes.to_vec();
        let at = other.len() - 12;
        other[at] = 0x84;
        assert_eq!(parse(&other).last(), Some(Ok(Packet::Other(206))));
    }

    #[test]
    fn every_truncation_ends_the_iteration_with_an_error() {
        let bytes = sender_report(&REPORT, "host");
        for length in 1..bytes.len() {
            let packets: Vec<_> = parse(&bytes[..length]).collect();
            assert_eq!(packets.last().unwrap().is_err(), length != 28, "{length} bytes");
        }
    }

    #[test]
    fn a_count_beyond_the_length_is_an_error() {
        let mut bytes = receiver_report(8, None, "").to_vec();
        bytes[0] |= 0x1f;
        assert_eq!(parse(&bytes).next(), Some(Err(Error::Truncated)));
    }

    #[test]
    fn endless_empty_packets_are_bounded() {
        let bytes = [0x80, 210, 0, 0].repeat(10_000);
        assert_eq!(parse(&bytes).count(), MAX_PACKETS);
    }

    #[test]
    fn wall_clock_and_ntp_convert_both_ways() {
        for micros in [0, 1, 999_999, 1_763_823_600_123_457] {
            assert_eq!(Ntp::from(WallClock(micros)).wall(), Some(WallClock(micros)));
        }
        assert_eq!(Ntp::from(WallClock(0)).0 >> 32, NTP_EPOCH);
        assert_eq!(Ntp(3_600 << 32).wall(), None, "an hour after boot");
    }
}

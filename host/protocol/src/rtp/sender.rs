//! What a sender counts for its reports (RFC 3550 section 6.4.1), one per track and reader.

use bytes::Bytes;
use wasmtx_media::WallClock;

use super::packetize::Packetized;
use super::rtcp::{self, Ntp, SenderReport};

/// Counts what was sent of one track and writes its sender reports.
#[derive(Clone, Debug)]
pub struct Sender {
    ssrc: u32,
    clock_rate: u32,
    packets: u32,
    octets: u32,
    /// A media timestamp and the wall clock at that moment.
    anchor: Option<(u32, WallClock)>,
}

impl Sender {
    /// For packets with this synchronisation source and clock.
    pub fn new(ssrc: u32, clock_rate: u32) -> Sender {
        Sender {
            ssrc,
            clock_rate,
            packets: 0,
            octets: 0,
            anchor: None,
        }
    }

    /// Counts a frame that was sent. `wall` is when it was captured: the frame's own wall clock, or now.
    pub fn handle_sent(&mut self, packetized: &Packetized, wall: WallClock) {
        self.packets = self.packets.wrapping_add(packetized.count());
        self.octets = self.octets.wrapping_add(packetized.octets());
        self.anchor = Some((packetized.timestamp(), wall));
    }

    /// Packets sent so far, wrapping.
    pub fn packets(&self) -> u32 {
        self.packets
    }

    /// Payload bytes sent so far, wrapping.
    pub fn octets(&self) -> u32 {
        self.octets
    }

    /// The compound to send now; `None` before the first frame.
    pub fn report(&self, now: WallClock, cname: &str) -> Option<Bytes> {
        let (timestamp, wall) = self.anchor?;
        // Frames may carry an older or a newer wall clock than now: the report moves both clocks by the same.
        let micros = i128::from(now.0) - i128::from(wall.0);
        let ticks = micros * i128::from(self.clock_rate) / 1_000_000;
        let report = SenderReport {
            ssrc: self.ssrc,
            ntp: Ntp::from(now),
            rtp_timestamp: timestamp.wrapping_add(ticks as u32),
            packets: self.packets,
            octets: self.octets,
        };
        Some(rtcp::sender_report(&report, cname))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::rtcp::Packet;

    #[test]
    fn a_report_maps_the_wall_clock_to_the_media_clock() {
        let mut sender = Sender::new(5, 90_000);
        assert_eq!(sender.report(WallClock(0), ""), None);
        sender.anchor = Some((u32::MAX, WallClock(1_000_000)));
        sender.packets = 3;
        for (now, expected) in [(2_000_000, 89_999), (500_000, u32::MAX - 45_000)] {
            let bytes = sender.report(WallClock(now), "host").unwrap();
            let Some(Ok(Packet::SenderReport(report, _))) = rtcp::parse(&bytes).next() else {
                panic!()
            };
            assert_eq!((report.ssrc, report.packets, report.rtp_timestamp), (5, 3, expected));
            assert_eq!(report.ntp.wall(), Some(WallClock(now)));
        }
    }
}

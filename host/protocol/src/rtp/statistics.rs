//! What a receiver counts for its reports (RFC 3550 section 6.4 and appendices A.3 and A.8).

use std::time::{Duration, Instant};

use super::packet::Header;
use super::rtcp::{Ntp, ReportBlock};

/// Reception of one source.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    clock_rate: u32,
    source: Option<Source>,
    /// The last sender report: its NTP time and when it came.
    report: Option<(Ntp, Instant)>,
    /// In 1/16 ticks.
    jitter: u64,
}

#[derive(Clone, Debug)]
struct Source {
    ssrc: u32,
    start: Instant,
    first_sequence: u64,
    /// Extended by its wraps, from 2^16 on so that packets before the first do not go below 0.
    highest_sequence: u64,
    received: u64,
    transit: u32,
    expected_before: u64,
    received_before: u64,
}

impl Statistics {
    pub(super) fn new(clock_rate: u32) -> Statistics {
        Statistics {
            clock_rate,
            source: None,
            report: None,
            jitter: 0,
        }
    }

    pub(super) fn handle_packet(&mut self, now: Instant, header: &Header) {
        if self.source.as_ref().is_none_or(|source| source.ssrc != header.ssrc) {
            let sequence = u64::from(header.sequence) + 0x1_0000;
            self.jitter = 0;
            self.source = Some(Source {
                ssrc: header.ssrc,
                start: now,
                first_sequence: sequence,
                highest_sequence: sequence,
                received: 1,
                transit: 0u32.wrapping_sub(header.timestamp),
                expected_before: 0,
                received_before: 0,
            });
            return;
        }
        let Some(source) = &mut self.source else { return };
        source.received += 1;
        let step = header.sequence.wrapping_sub(source.highest_sequence as u16) as i16;
        if step > 0 {
            source.highest_sequence += step as u64;
        }
        // Transit is arrival minus timestamp, both in ticks and modulo 2^32.
        let arrival = now.saturating_duration_since(source.start).as_micros() * u128::from(self.clock_rate) / 1_000_000;
        let transit = (arrival as u32).wrapping_sub(header.timestamp);
        let difference = u64::from((transit.wrapping_sub(source.transit) as i32).unsigned_abs());
        source.transit = transit;
        self.jitter = self.jitter + difference - ((self.jitter + 8) >> 4);
    }

    pub(super) fn handle_sender_report(&mut self, now: Instant, ntp: Ntp) {
        self.report = Some((ntp, now));
    }

    /// Interarrival jitter in ticks.
    pub(super) fn jitter(&self) -> u32 {
        u32::try_from(self.jitter >> 4).unwrap_or(u32::MAX)
    }

    /// The block of the next report; `None` before the first packet. Starts a new interval.
    pub(super) fn report_block(&mut self, now: Instant) -> Option<ReportBlock> {
        let jitter = self.jitter();
        let source = self.source.as_mut()?;
        let expected = source.highest_sequence - source.first_sequence + 1;
        let lost = expected as i64 - source.received as i64;
        let expected_now = expected - source.expected_before;
        let lost_now = expected_now as i64 - (source.received - source.received_before) as i64;
        source.expected_before = expected;
        source.received_before = source.received;
        let fraction = if lost_now <= 0 || expected_now == 0 {
            0
        } else {
            (lost_now as u64 * 256 / expected_now).min(255)
        };
        let (last_report, delay) = self.report.map_or((0, Duration::ZERO), |(ntp, at)| {
            (ntp.middle(), now.saturating_duration_since(at))
        });
        Some(ReportBlock {
            ssrc: source.ssrc,
            fraction_lost: fraction as u8,
            lost: i32::try_from(lost).unwrap_or(i32::MAX).clamp(-0x80_0000, 0x7f_ffff),
            highest_sequence: (source.highest_sequence - 0x1_0000) as u32,
            jitter,
            last_report,
            delay: u32::try_from(delay.as_micros() * 65_536 / 1_000_000).unwrap_or(u32::MAX),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtp::testing;

    fn header(sequence: u16, timestamp: u32) -> Header {
        Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp,
            ssrc: 4,
        }
    }

    #[test]
    fn a_report_counts_loss_over_the_interval_and_over_all() {
        let start = testing::start();
        let mut statistics = Statistics::new(8_000);
        assert_eq!(statistics.report_block(start), None);
        for sequence in (65_530..=65_535).chain(4..=5) {
            statistics.handle_packet(start, &header(sequence, 0));
        }
        let block = statistics.report_block(start).unwrap();
        assert_eq!(
            (block.lost, block.fraction_lost, block.highest_sequence),
            (4, 85, 0x1_0005)
        );
        statistics.handle_packet(start, &header(6, 0));
        let block = statistics.report_block(start).unwrap();
        assert_eq!((block.lost, block.fraction_lost), (4, 0));
        for _ in 0..10 {
            statistics.handle_packet(start, &header(6, 0));
        }
        assert_eq!(statistics.report_block(start).unwrap().lost, -6, "duplicates");
    }

    #[test]
    fn jitter_is_zero_for_an_even_stream_and_grows_with_variation() {
        let start = testing::start();
        let mut statistics = Statistics::new(8_000);
        for index in 0..50u16 {
            statistics.handle_packet(
                start + Duration::from_millis(20) * index.into(),
                &header(index, u32::from(index) * 160),
            );
        }
        assert_eq!(statistics.jitter(), 0);
        for index in 50..100u16 {
            let late = Duration::from_millis(u64::from(index % 2) * 10);
            let now = start + Duration::from_millis(20) * index.into() + late;
            statistics.handle_packet(now, &header(index, u32::from(index) * 160));
        }
        assert!((60..=80).contains(&statistics.jitter()), "{}", statistics.jitter());
    }

    #[test]
    fn the_delay_since_the_sender_report_is_told() {
        let start = testing::start();
        let mut statistics = Statistics::new(8_000);
        statistics.handle_packet(start, &header(0, 0));
        statistics.handle_sender_report(start, Ntp(0x1234_5678_9abc_def0));
        let block = statistics.report_block(start + Duration::from_millis(500)).unwrap();
        assert_eq!((block.last_report, block.delay), (0x5678_9abc, 32_768));
    }
}

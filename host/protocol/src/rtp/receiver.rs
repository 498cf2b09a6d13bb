//! One incoming media: packets in any order in, frames with their times out, and the receiver reports about it.
//!
//! ```text
//! bytes → packet → statistics → reorder → depacketize → clocks → frame
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtx_media::codec::dts;
use wasmtx_media::{Codec, Flags, Frame, Track};

use super::Format;
use super::clock::{Extender, SenderClock, Timeline, micros, micros_to_ticks, ticks_to_micros};
use super::depacketize::{Depacketizer, Unit};
use super::packet::Packet;
use super::reorder::{Delivered, Delivery, Reorder};
use super::rtcp::{self, SenderReport};
use super::statistics::Statistics;

/// A timestamp further ahead of the one before is a jump of the clock, not a pause.
const MAX_FORWARD: i64 = 10_000_000;
/// A timestamp further behind the one before is a jump of the clock, not a B-frame.
const MAX_BACKWARD: i64 = 3_000_000;
/// A frame whose fragments take longer over datagrams will not be whole.
const MAX_FRAGMENT_AGE: Duration = Duration::from_secs(1);

/// A frame, and the codec of its track from this frame on when the stream brought new parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// The frame. Its number is 0: the hub counts.
    pub frame: Frame,
    /// New parameters, in force from this frame on.
    pub codec: Option<Codec>,
}

/// What came in, as API and metrics show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// RTP packets, whole and from the source in force.
    pub packets: u64,
    /// Bytes of those packets.
    pub bytes: u64,
    /// RTP packets that never came.
    pub packets_lost: u64,
    /// RTP packets that were malformed, foreign or late.
    pub packets_in_error: u64,
    /// Frames dropped because something was missing or wrong in them.
    pub frames_in_error: u64,
    /// RTCP packets, whole compounds.
    pub rtcp_packets: u64,
    /// RTCP packets that were malformed.
    pub rtcp_packets_in_error: u64,
    /// Interarrival jitter in ticks of the track's clock.
    pub jitter: u32,
}

/// Receives one media of a session.
#[derive(Debug)]
pub struct Receiver {
    payload_type: u8,
    track: Track,
    delivery: Delivery,
    ssrc: u32,
    reorder: Reorder,
    statistics: Statistics,
    depacketizer: Depacketizer,
    clock: Clock,
    counts: Counts,
    units: Vec<Unit>,
    /// When the first packet of the frame now being put together came.
    pending_since: Option<Instant>,
}

impl Receiver {
    /// For packets of `format` that become frames of `track` (see [`Format::track`]); `ssrc` names the receiver in its
    /// reports and is random.
    pub fn new(format: &Format, track: Track, delivery: Delivery, ssrc: u32) -> Receiver {
        Receiver {
            payload_type: format.payload_type,
            delivery,
            ssrc,
            reorder: Reorder::new(delivery),
            statistics: Statistics::new(track.clock_rate),
            depacketizer: Depacketizer::new(format, &track.codec),
            clock: Clock::new(&track),
            counts: Counts::default(),
            units: Vec::new(),
            pending_since: None,
            track,
        }
    }

    /// The track with the parameters now in force.
    pub fn track(&self) -> &Track {
        &self.track
    }

    /// Takes an RTP packet and appends the frames that it completes. `timeline` is the one of the session. Malformed
    /// packets are counted, nothing more.
    pub fn handle_rtp(&mut self, now: Instant, bytes: &Bytes, timeline: &mut Timeline, frames: &mut Vec<Received>) {
        let packet = match Packet::parse(bytes) {
            Ok(packet) if packet.header.payload_type == self.payload_type => packet,
            _ => {
                self.counts.packets_in_error += 1;
                return;
            }
        };
        let header = packet.header;
        if self.reorder.handle(now, packet) {
            self.counts.packets += 1;
            self.counts.bytes += bytes.len() as u64;
            self.statistics.handle_packet(now, &header);
        }
        self.drain(now, timeline, frames);
    }

    /// Takes an RTCP compound. Reports about other sources are passed over.
    pub fn handle_rtcp(&mut self, now: Instant, bytes: &[u8]) {
        let mut failed = false;
        for packet in rtcp::parse(bytes) {
            match packet {
                Ok(rtcp::Packet::SenderReport(report, _)) => {
                    if self.reorder.ssrc().is_none_or(|ssrc| ssrc == report.ssrc) {
                        self.statistics.handle_sender_report(now, report.ntp);
                        self.clock.handle_sender_report(&report);
                    }
                }
                Ok(_) => {}
                Err(_) => failed = true,
            }
        }
        if failed {
            self.counts.rtcp_packets_in_error += 1;
        } else {
            self.counts.rtcp_packets += 1;
        }
    }

    /// When [`Receiver::handle_timeout`] has something to do; `None` while nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.reorder.poll_timeout()
    }

    /// Gives up on packets for which others have waited long enough, and appends the frames that are whole without them.
    pub fn handle_timeout(&mut self, now: Instant, timeline: &mut Timeline, frames: &mut Vec<Received>) {
        self.reorder.handle_timeout(now);
        self.drain(now, timeline, frames);
    }

    /// The receiver report to send now, due every few seconds.
    pub fn report(&mut self, now: Instant, cname: &str) -> Bytes {
        let block = self.statistics.report_block(now);
        rtcp::receiver_report(self.ssrc, block.as_ref(), cname)
    }

    /// The request for a keyframe, with the report that goes before it; `None` while nothing has come from the source.
    pub fn keyframe_request(&mut self, now: Instant, cname: &str) -> Option<Bytes> {
        let source = self.reorder.ssrc()?;
        let block = self.statistics.report_block(now);
        Some(rtcp::picture_loss(self.ssrc, block.as_ref(), source, cname))
    }

    /// What came in so far.
    pub fn counts(&self) -> Counts {
        let reorder = self.reorder.counts();
        Counts {
            packets_lost: reorder.lost,
            packets_in_error: self.counts.packets_in_error + reorder.late + reorder.foreign + reorder.unconfirmed,
            frames_in_error: self.depacketizer.dropped(),
            jitter: self.statistics.jitter(),
            ..self.counts
        }
    }

    fn drain(&mut self, now: Instant, timeline: &mut Timeline, frames: &mut Vec<Received>) {
        while let Some(delivered) = self.reorder.poll() {
            self.handle_in_order(now, &delivered, timeline, frames);
        }
    }

    fn handle_in_order(
        &mut self,
        now: Instant,
        delivered: &Delivered,
        timeline: &mut Timeline,
        frames: &mut Vec<Received>,
    ) {
        let Delivered { packet, arrival, .. } = delivered;
        if delivered.restarted {
            self.clock.restart();
        }
        let mut lost = delivered.lost > 0;
        // Over a connection a slow uplink is no attack, and the size of a frame is bounded anyway.
        if self.delivery == Delivery::Datagrams
            && self
                .pending_since
                .is_some_and(|since| now.saturating_duration_since(since) > MAX_FRAGMENT_AGE)
        {
            lost = true;
        }
        if self.depacketizer.handle(packet, lost, &mut self.units).is_err() {
            self.counts.packets_in_error += 1;
        }
        self.pending_since = match self.depacketizer.is_pending() {
            true if self.units.is_empty() => self.pending_since.or(Some(*arrival)),
            true => Some(*arrival),
            false => None,
        };
        for unit in self.units.drain(..) {
            if let Some(codec) = &unit.codec {
                self.track.codec = codec.clone();
                self.clock.handle_codec(&self.track);
            }
            frames.push(self.clock.stamp(*arrival, &self.track, unit, timeline));
        }
    }
}

/// The times of one track.
#[derive(Debug)]
struct Clock {
    clock_rate: u32,
    extender: Extender,
    /// Added to an extended timestamp to give the presentation time; `None` before the first frame of a source.
    offset: Option<i64>,
    /// The last frame: when it came, and its presentation time.
    last: Option<(Instant, i64)>,
    /// A sender report that came before the first packet of its source.
    early_report: Option<SenderReport>,
    sender: Option<SenderClock>,
    dts: dts::Estimator,
}

impl Clock {
    fn new(track: &Track) -> Clock {
        Clock {
            clock_rate: track.clock_rate,
            extender: Extender::default(),
            offset: None,
            last: None,
            early_report: None,
            sender: None,
            dts: dts::Estimator::new(track),
        }
    }

    fn handle_codec(&mut self, track: &Track) {
        self.dts.handle_codec(track);
    }

    /// Another source: its timestamps have nothing to do with those before.
    fn restart(&mut self) {
        self.extender = Extender::default();
        self.offset = None;
        self.sender = None;
        self.early_report = None;
    }

    fn handle_sender_report(&mut self, report: &SenderReport) {
        match (self.extender.peek(report.rtp_timestamp), report.ntp.wall()) {
            (Some(timestamp), Some(wall)) => self.sender = Some(SenderClock { timestamp, wall }),
            (None, _) => self.early_report = Some(*report),
            (_, None) => {}
        }
    }

    fn stamp(&mut self, arrival: Instant, track: &Track, unit: Unit, timeline: &mut Timeline) -> Received {
        let extended = self.extender.extend(unit.timestamp);
        if let Some(report) = self.early_report.take() {
            self.handle_sender_report(&report);
        }
        let mut flags = unit.flags;
        if let (Some(offset), Some((_, last_pts))) = (self.offset, self.last) {
            let step = ticks_to_micros(
                extended.saturating_add(offset).saturating_sub(last_pts),
                self.clock_rate,
            );
            if !(-MAX_BACKWARD..=MAX_FORWARD).contains(&step) {
                self.offset = None;
                self.sender = None;
            }
        }
        let wall = self.sender.and_then(|sender| sender.wall_at(extended, self.clock_rate));
        let offset = match (self.offset, self.last) {
            (Some(offset), _) => offset,
            (None, None) => {
                let start = timeline.start_of_track(arrival, wall);
                micros_to_ticks(start, self.clock_rate).saturating_sub(extended)
            }
            // The clock jumped: go on where the arrival says.
            (None, Some((before, last_pts))) => {
                flags = flags.with(Flags::DISCONTINUITY);
                self.dts.restart();
                let pause = micros_to_ticks(micros(arrival.saturating_duration_since(before)), self.clock_rate);
                last_pts.saturating_add(pause.max(1)).saturating_sub(extended)
            }
        };
        self.offset = Some(offset);
        let pts = extended.saturating_add(offset);
        if let Some(wall) = wall {
            timeline.learn(wall, ticks_to_micros(pts, self.clock_rate));
        }
        self.last = Some((arrival, pts));
        let frame = Frame {
            track: track.id,
            number: 0,
            pts,
            dts: self.dts.estimate(pts),
            duration: unit.duration,
            wall,
            flags,
            payload: unit.payload.into(),
        };
        Received {
            frame,
            codec: unit.codec,
        }
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;

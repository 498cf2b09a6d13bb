//! The reading side of a session: frames out of the hub, packets out of the server.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use wasmtx_hub::{CloseReason, Drained, Entry, Lane, Reader};
use wasmtx_protocol::rtsp::server::PlayInfo;

use super::{
    ports::Delivery,
    registry::{Conn, Session, Traffic},
    wire::{RtpForm, Wire, default_channel},
};
use crate::{
    tcp::{Feed, Outgoing, Pace},
    wall_clock,
};

/// Taken from the ring at one wake, at most.
const FRAMES: usize = 256;
/// Taken from the ring at one wake, about.
const BYTES: usize = 1 << 20;
/// Sent to a UDP reader at one go, about: what a receive buffer of the usual size holds beside what is in it.
const BURST: usize = 64 << 10;
/// Pause between two bursts to a UDP reader that catches up (a GOP at its start): 170 Mbit/s.
const BURST_PAUSE: Duration = Duration::from_millis(3);
/// Time between two sender reports of a media.
const REPORT_EVERY: Duration = Duration::from_secs(10);
/// The same, while some media has not begun: readers cannot align it with the others before its first report.
const REPORT_EVERY_AT_FIRST: Duration = Duration::from_millis(500);

/// How one media travels to this reader.
pub(super) enum Way {
    Tcp { rtp: u8, rtcp: u8 },
    Udp(Delivery),
}

/// The ways of a session's medias, by the number of the media.
pub(super) type Ways = Vec<Option<Way>>;

/// What was taken from the ring and not handed on yet.
#[derive(Default)]
pub(super) struct Taken {
    entries: Vec<Arc<Entry>>,
    wires: Vec<Arc<Wire>>,
}

/// A reader that plays.
pub(super) struct Playing {
    reader: Reader,
    lane: Arc<Lane<RtpForm>>,
    taken: Taken,
    pace: Pace,
    next_report: Instant,
}

impl Playing {
    pub(super) fn new(now: Instant, reader: Reader, lane: Arc<Lane<RtpForm>>) -> Playing {
        Playing {
            pace: Pace::new(&reader),
            reader,
            lane,
            taken: Taken::default(),
            next_report: now,
        }
    }

    /// Stops reading for this reason.
    pub(super) fn close(self, reason: CloseReason) {
        self.reader.close(reason);
    }

    pub(super) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// Waits until something may be taken. Cancel safe.
    pub(super) async fn news(&mut self) {
        self.pace.news(&mut self.reader).await;
    }

    /// Whether there may be something to take now.
    pub(super) fn is_due(&self) -> bool {
        self.pace.is_due()
    }

    /// Takes what is there, and says where it begins, media by media.
    pub(super) fn begin(&mut self, ways: &Ways) -> Vec<PlayInfo> {
        // What else there is, the stream's end among it, is seen again by the first fill.
        self.draw(BURST, &mut 0);
        let medias = ways.iter().enumerate().filter(|(_, way)| way.is_some());
        let infos = medias.filter_map(|(media, _)| {
            let first = self
                .taken
                .wires
                .iter()
                .filter(|wire| wire.media == media)
                .find_map(|wire| wire.packets.as_ref());
            let info = match first {
                Some(packets) => PlayInfo {
                    media,
                    sequence: packets.first_sequence(),
                    timestamp: Some(packets.timestamp()),
                },
                None => {
                    let sequence = self.lane.with(|form| form.next_sequence(media))?;
                    PlayInfo {
                        media,
                        sequence,
                        timestamp: None,
                    }
                }
            };
            Some(info)
        });
        infos.collect()
    }

    /// Takes what is there and hands it on: into `outgoing` for TCP, to the network for UDP. Answers why the stream is
    /// over, once its last frame was taken.
    pub(super) async fn fill(
        &mut self,
        now: Instant,
        ways: &Ways,
        outgoing: &mut Outgoing,
        traffic: &Traffic,
    ) -> io::Result<Option<CloseReason>> {
        let over_udp = ways.iter().flatten().any(|way| matches!(way, Way::Udp(_)));
        let ended = self.take(if over_udp { BURST } else { BYTES }, traffic);
        if over_udp && self.pace.has_more() {
            self.pace.hold_until(now + BURST_PAUSE);
        } else {
            self.pace.hold_merge_window(now);
        }
        if over_udp {
            self.send_datagrams(ways, traffic).await?;
        }
        self.interleave(ways, outgoing, traffic);
        for (way, report) in self.reports(now, ways, traffic) {
            send_rtcp(way, report, outgoing).await?;
        }
        Ok(ended)
    }

    /// The same for a reader of whom every media travels inside its connection: nothing to wait for. `space` is empty
    /// before and after, and shared by all whom one task serves: its memory stays near.
    fn fill_interleaved(
        &mut self,
        now: Instant,
        ways: &Ways,
        outgoing: &mut Outgoing,
        traffic: &Traffic,
        space: &mut Taken,
    ) -> Option<CloseReason> {
        if self.taken.wires.is_empty() {
            self.taken = std::mem::take(space);
        }
        let ended = self.take(BYTES, traffic);
        self.interleave(ways, outgoing, traffic);
        *space = std::mem::take(&mut self.taken);
        for (way, report) in self.reports(now, ways, traffic) {
            if let Way::Tcp { rtcp, .. } = way {
                interleave_rtcp(*rtcp, report, outgoing);
            }
        }
        ended
    }

    /// Takes what is there, and counts what this reader was too slow for. Answers the stream's end.
    fn take(&mut self, most: usize, traffic: &Traffic) -> Option<CloseReason> {
        let mut lost = 0;
        let drained = self.draw(most, &mut lost);
        if lost > 0 {
            traffic.outbound_rtp_packets_discarded.add(lost);
        }
        self.pace.note(drained);
        match drained {
            Drained::Ended(reason) => Some(reason),
            Drained::More | Drained::Empty => None,
        }
    }

    /// Takes frames out of the ring, and has them packed.
    fn draw(&mut self, most: usize, lost: &mut u64) -> Drained {
        let Taken { entries, wires } = &mut self.taken;
        let drained = self.reader.drain(FRAMES, most, entries, lost);
        self.lane.wires(entries, wires);
        entries.clear();
        drained
    }

    /// Queues what travels inside the connection, and lets go of everything that was taken.
    fn interleave(&mut self, ways: &Ways, outgoing: &mut Outgoing, traffic: &Traffic) {
        let (mut bytes, mut packets) = (0, 0);
        for wire in self.taken.wires.drain(..) {
            let (Some(packed), Some(Some(Way::Tcp { rtp, .. }))) = (&wire.packets, ways.get(wire.media)) else {
                continue;
            };
            packets += u64::from(packed.count());
            if *rtp == default_channel(wire.media) {
                bytes += packed.interleaved().len();
                outgoing.push(packed.interleaved().clone());
                continue;
            }
            for packet in packed.packets() {
                bytes += packet.len();
                outgoing.push(interleaved_header(*rtp, packet.len()));
                outgoing.push(packet);
            }
        }
        self.count(bytes, packets, traffic);
    }

    async fn send_datagrams(&mut self, ways: &Ways, traffic: &Traffic) -> io::Result<()> {
        let (mut bytes, mut packets) = (0, 0);
        for wire in &self.taken.wires {
            let (Some(packed), Some(Some(Way::Udp(delivery)))) = (&wire.packets, ways.get(wire.media)) else {
                continue;
            };
            let all: Vec<Bytes> = packed.packets().collect();
            bytes += all.iter().map(Bytes::len).sum::<usize>();
            packets += u64::from(packed.count());
            delivery.send_rtp(&all).await?;
        }
        self.count(bytes, packets, traffic);
        Ok(())
    }

    fn count(&self, bytes: usize, packets: u64, traffic: &Traffic) {
        if packets > 0 {
            traffic.outbound_rtp_packets.add(packets);
            traffic.outbound_bytes.add(bytes as u64);
            self.reader
                .path()
                .counters
                .outbound_bytes
                .fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// The sender reports that are due, and their ways.
    fn reports<'a>(&mut self, now: Instant, ways: &'a Ways, traffic: &Traffic) -> Vec<(&'a Way, Bytes)> {
        let mut due = Vec::new();
        if now < self.next_report {
            return due;
        }
        let wall = wall_clock();
        let mut every = REPORT_EVERY;
        for (media, way) in ways.iter().enumerate() {
            let Some(way) = way else { continue };
            match self.lane.with(|form| form.report(media, wall)) {
                Some(report) => due.push((way, report)),
                None => every = REPORT_EVERY_AT_FIRST,
            }
        }
        if !due.is_empty() {
            self.next_report = now + every;
            traffic.outbound_rtcp_packets.add(due.len() as u64);
        }
        due
    }
}

/// A reader of whom every media travels inside its connection, unencrypted: a crew writes for it.
pub(super) struct Interleaved {
    pub(super) playing: Playing,
    pub(super) ways: Ways,
    pub(super) session: Arc<Session>,
    pub(super) conn: Arc<Conn>,
}

impl Feed for Interleaved {
    type Space = Taken;

    fn fill(&mut self, now: Instant, outgoing: &mut Outgoing, space: &mut Taken) -> Option<CloseReason> {
        self.playing
            .fill_interleaved(now, &self.ways, outgoing, &self.session.traffic, space)
    }

    fn has_more(&self) -> bool {
        self.playing.pace.has_more()
    }

    fn merge_window(&self) -> Duration {
        self.playing.pace.merge_window()
    }

    fn count_sent(&self, bytes: usize) {
        self.conn.outbound_bytes.add(bytes as u64);
    }

    fn close(self, reason: CloseReason) {
        self.playing.close(reason);
    }
}

/// Sends an RTCP compound the way its media travels.
pub(super) async fn send_rtcp(way: &Way, packet: Bytes, outgoing: &mut Outgoing) -> io::Result<()> {
    match way {
        Way::Tcp { rtcp, .. } => {
            interleave_rtcp(*rtcp, packet, outgoing);
            Ok(())
        }
        Way::Udp(delivery) => delivery.send_rtcp(&packet).await,
    }
}

fn interleave_rtcp(channel: u8, packet: Bytes, outgoing: &mut Outgoing) {
    outgoing.push(interleaved_header(channel, packet.len()));
    outgoing.push(packet);
}

/// RFC 2326 section 10.12.
fn interleaved_header(channel: u8, len: usize) -> Bytes {
    let len = u16::try_from(len).unwrap_or(u16::MAX).to_be_bytes();
    BytesMut::from(&[b'$', channel, len[0], len[1]][..]).freeze()
}

//! Bytes in, in any pieces; tracks and frames out. Whatever comes is taken: garbage is passed over until packets are
//! found again, what was lost is told by the counters of the packets and marked on the next frame, a sender that starts
//! anew goes on in time.
//!
//! What the tracks are is found in the stream itself, so frames wait until every track of the program has shown its
//! parameters, or [`HOLD_TIME`] is over.
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
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use std::collections::VecDeque;

use bytes::{Buf, BytesMut};

use super::{
    CLOCK_RATE, MAX_TRACKS,
    clock::{Place, Timeline},
    elementary::{Stream, picture},
    packet::{PACKET, Packet, SYNC},
    pes::{self, Unit},
    section::{self, PAT_PID},
    stream::Format,
};
use crate::{Flags, Frame, Payload, Track, TrackId, Tracks, container::sample::Canonical};

/// How long the first frames wait for tracks that have shown nothing yet, in ticks of 90 kHz.
const HOLD_TIME: i64 = 2 * CLOCK_RATE as i64;
/// Bytes of frames that wait for it, and how many.
const HOLD_BYTES: usize = 16 * 1024 * 1024;
const HOLD_FRAMES: usize = 4_096;
/// Bytes of all packets that are being put together.
const MAX_OPEN: usize = 16 * 1024 * 1024;
/// Packets in a row that must begin as packets do, before they are believed after garbage.
const PROOF: usize = 3;

/// What comes next in a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Step {
    /// From here on these are the tracks. Their ids are the PIDs. Comes before the first frame.
    Tracks(Tracks),
    /// A frame of one of them.
    Frame(Frame),
    /// The program has an elementary stream that is left out.
    Skipped {
        /// Where it is.
        pid: u16,
        /// What it is (ISO/IEC 13818-1 table 2-34).
        stream_type: u8,
    },
}

/// Takes a transport stream apart: the first program of it.
///
/// After each [`push`](Self::push), [`next`](Self::next) is called until it has nothing more.
#[derive(Debug)]
pub struct Demuxer {
    buffer: BytesMut,
    /// The buffer begins with a packet.
    locked: bool,
    pat: section::Assembler,
    program: Option<Program>,
    lanes: Vec<Lane>,
    timeline: Timeline,
    exit: Exit,
    lost: u64,
}

#[derive(Debug)]
struct Program {
    pid: u16,
    sections: section::Assembler,
    /// The map in force, as it came.
    map: Vec<u8>,
}

/// An elementary stream.
#[derive(Debug)]
struct Lane {
    pid: u16,
    format: Format,
    last: Option<[u8; PACKET]>,
    packets: pes::Assembler,
    stream: Stream,
    place: Place,
    /// The clock rate and the decoding time of the last frame.
    reached: Option<(u32, i64)>,
    /// Something was lost since then.
    gap: bool,
}

/// Where frames wait for their tracks, and then for being fetched.
#[derive(Debug, Default)]
struct Exit {
    steps: VecDeque<Step>,
    told: Option<Tracks>,
    held: Vec<Frame>,
    held_bytes: usize,
    /// The times of the first and the last frame that is held.
    span: Option<(i64, i64)>,
}

impl Default for Demuxer {
    fn default() -> Demuxer {
        Demuxer::new()
    }
}

impl Demuxer {
    /// For a stream that is live: when its times jump, it goes on where it was.
    pub fn new() -> Demuxer {
        Demuxer::of(Timeline::new(false))
    }

    /// For a recording: when its times jump ahead, that is a gap.
    pub fn recorded() -> Demuxer {
        Demuxer::of(Timeline::new(true))
    }

    /// For a piece of a recording, all of whose times are near this one, in ticks of 90 kHz.
    pub(super) fn near(time: i64) -> Demuxer {
        Demuxer::of(Timeline::near(time))
    }

    fn of(timeline: Timeline) -> Demuxer {
        Demuxer {
            buffer: BytesMut::new(),
            locked: false,
            pat: section::Assembler::default(),
            program: None,
            lanes: Vec::new(),
            timeline,
            exit: Exit::default(),
            lost: 0,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        self.drain(PROOF);
    }

    /// What comes next; `None` until there are more bytes.
    #[allow(clippy::should_implement_trait, reason = "there may be more after there was nothing")]
    pub fn next(&mut self) -> Option<Step> {
        self.exit.steps.pop_front()
    }

    /// The stream is over: what waits for what comes next comes out.
    pub fn finish(&mut self) {
        self.drain(1);
        self.buffer.clear();
        let units: Vec<_> = self.lanes.iter_mut().map(|lane| lane.packets.finish()).collect();
        for (place, unit) in units.into_iter().enumerate() {
            if let Some(unit) = unit {
                self.handle_unit(place, unit);
            }
        }
        self.exit.tell(&self.lanes);
    }

    /// Packets that were lost or damaged so far, as far as their counters tell.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    fn drain(&mut self, proof: usize) {
        loop {
            if self.locked {
                let Some(packet) = self.buffer.first_chunk::<PACKET>() else {
                    return;
                };
                let packet = *packet;
                self.locked = packet.first() == Some(&SYNC);
                if self.locked {
                    self.buffer.advance(PACKET);
                    self.handle_packet(&packet);
                }
            } else if !self.lock(proof) {
                return;
            }
        }
    }

    /// Passes over everything up to `proof` packets in a row.
    fn lock(&mut self, proof: usize) -> bool {
        let is_sync = |at: usize| self.buffer.get(at) == Some(&SYNC);
        let span = proof.saturating_sub(1).saturating_mul(PACKET);
        let end = self.buffer.len().saturating_sub(span);
        let found = (0..end).find(|at| (0..proof).all(|n| is_sync(at.saturating_add(n.saturating_mul(PACKET)))));
        self.buffer.advance(found.unwrap_or(end));
        self.locked = found.is_some();
        self.locked
    }

    fn handle_packet(&mut self, bytes: &[u8; PACKET]) {
        let Ok(packet) = Packet::parse(bytes) else {
            // Whose it is cannot be trusted: the counter of the next one tells.
            return self.lost = self.lost.saturating_add(1);
        };
        if packet.pid == PAT_PID {
            self.handle_pat(&packet);
        } else if self.program.as_ref().is_some_and(|program| program.pid == packet.pid) {
            self.handle_map(&packet);
        } else if let Some(place) = self.lanes.iter().position(|lane| lane.pid == packet.pid) {
            self.handle_media(place, bytes, &packet);
        }
    }

    fn handle_pat(&mut self, packet: &Packet<'_>) {
        let mut first = None;
        let payload = packet.payload.unwrap_or_default();
        self.pat.push(packet.starts, payload, |section| {
            first = section::first_program(section).or(first)
        });
        let Some(pid) = first else { return };
        if self.program.as_ref().is_none_or(|program| program.pid != pid) {
            self.program = Some(Program {
                pid,
                sections: section::Assembler::default(),
                map: Vec::new(),
            });
        }
    }

    fn handle_map(&mut self, packet: &Packet<'_>) {
        let Some(program) = &mut self.program else { return };
        let mut streams = None;
        let payload = packet.payload.unwrap_or_default();
        program.sections.push(packet.starts, payload, |section| {
            if program.map != section
                && let Ok(found) = section::streams(section)
            {
                program.map = section.to_vec();
                streams = Some(found);
            }
        });
        let Some(streams) = streams else { return };
        let mut before = std::mem::take(&mut self.lanes);
        for entry in streams {
            let format = Format::of(&entry).filter(|_| self.lanes.len() < MAX_TRACKS);
            let Some(format) = format else {
                self.exit.steps.push_back(Step::Skipped {
                    pid: entry.pid,
                    stream_type: entry.stream_type,
                });
                continue;
            };
            let known = before
                .iter()
                .position(|lane| lane.pid == entry.pid && lane.format == format);
            self.lanes.push(match known {
                Some(place) => before.swap_remove(place),
                None => Lane::new(entry.pid, format),
            });
        }
        self.exit.advance(&self.lanes);
    }

    fn handle_media(&mut self, place: usize, bytes: &[u8; PACKET], packet: &Packet<'_>) {
        let open = self
            .lanes
            .iter()
            .fold(0usize, |sum, lane| sum.saturating_add(lane.packets.held()));
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let Some(payload) = packet.payload else { return };
        let mut units = Vec::new();
        match lane.counted(bytes, packet) {
            Counted::Next => {}
            Counted::Again => return,
            Counted::Gap(missing) => {
                self.lost = self.lost.saturating_add(missing.into());
                units.extend(lane.lose());
            }
        }
        if open > MAX_OPEN {
            units.extend(lane.lose());
        }
        lane.packets.push(packet.starts, payload, |unit| units.push(unit));
        for unit in units {
            self.handle_unit(place, unit);
        }
    }

    fn handle_unit(&mut self, place: usize, unit: Unit) {
        let Some(lane) = self.lanes.get_mut(place) else { return };
        let whole = unit.whole;
        let frames = lane.frames(unit, &mut self.timeline);
        if !whole {
            lane.forget();
        }
        for frame in frames {
            self.exit.push(frame, &self.lanes);
        }
    }
}

/// What the counter of a packet says.
enum Counted {
    Next,
    /// The packet before, sent twice.
    Again,
    /// So many are missing, or a multiple of 16 more.
    Gap(u8),
}

impl Lane {
    fn new(pid: u16, format: Format) -> Lane {
        Lane {
            pid,
            format,
            last: None,
            packets: pes::Assembler::default(),
            stream: Stream::new(format),
            place: Place::default(),
            reached: None,
            gap: false,
        }
    }

    fn counted(&mut self, bytes: &[u8; PACKET], packet: &Packet<'_>) -> Counted {
        let Some(last) = self.last.replace(*bytes) else {
            return Counted::Next;
        };
        let Ok(before) = Packet::parse(&last) else {
            return Counted::Next;
        };
        match packet.counter.wrapping_sub(before.counter) & 0x0f {
            1 => Counted::Next,
            0 if before.payload == packet.payload => Counted::Again,
            // Announced: the counter starts anew.
            _ if packet.discontinuity => Counted::Gap(0),
            step => Counted::Gap(step.wrapping_sub(1) & 0x0f),
        }
    }

    /// Something was lost. Whole frames of sound in front of it are worth having.
    fn lose(&mut self) -> Option<Unit> {
        let unit = self.packets.lose();
        if unit.is_none() {
            self.forget();
        }
        unit
    }

    /// What comes does not belong to what was there.
    fn forget(&mut self) {
        self.gap = true;
        if let Stream::Sound(sound) = &mut self.stream {
            sound.lose();
        }
    }

    fn frames(&mut self, unit: Unit, timeline: &mut Timeline) -> Vec<Frame> {
        let placed = unit.times.map(|times| timeline.place(&mut self.place, times));
        self.gap |= placed.is_some_and(|placed| placed.jumped);
        let mut frames = Vec::new();
        match &mut self.stream {
            Stream::Pictures(description) => {
                let canonical = if unit.whole {
                    picture(description, &unit.payload).ok()
                } else {
                    None
                };
                // Without a time a picture has no place, and without parameters nobody can decode it.
                let (Some(canonical), Some(placed)) = (canonical, placed) else {
                    self.gap = true;
                    return frames;
                };
                let Canonical { payload, flags, .. } = canonical;
                if !payload.is_empty() && self.stream.codec().is_some() {
                    frames.push(self.frame(placed.pts, placed.dts, 0, flags, payload.into()));
                }
            }
            Stream::Sound(sound) => {
                let mut heard = Vec::new();
                sound.push(placed.map(|placed| placed.pts), unit.payload, |frame| heard.push(frame));
                for one in heard {
                    frames.push(self.frame(one.time, one.time, one.duration, one.flags(), one.payload.into()));
                }
            }
        }
        frames
    }

    fn frame(&mut self, pts: i64, dts: i64, duration: u32, flags: Flags, payload: Payload) -> Frame {
        let rate = self.stream.clock_rate();
        let reached = self.reached.filter(|(before, _)| *before == rate);
        let dts = reached.map_or(dts, |(_, reached)| dts.max(reached));
        self.reached = Some((rate, dts));
        let gap = std::mem::take(&mut self.gap);
        Frame {
            track: TrackId(self.pid.into()),
            number: 0,
            pts,
            dts,
            duration,
            wall: None,
            flags: flags.set(Flags::DISCONTINUITY, gap || flags.contains(Flags::DISCONTINUITY)),
            payload,
        }
    }

    fn track(&self) -> Option<Track> {
        let codec = self.stream.codec()?.clone();
        Some(Track {
            id: TrackId(self.pid.into()),
            kind: codec.kind(),
            codec,
            clock_rate: self.stream.clock_rate(),
            extra: Vec::new(),
            derived: None,
        })
    }
}

impl Exit {
    fn push(&mut self, frame: Frame, lanes: &[Lane]) {
        if self.told.is_some() {
            self.tell_changes(&frame, lanes);
            return self.steps.push_back(Step::Frame(frame));
        }
        let rate = lanes
            .iter()
            .find(|lane| u32::from(lane.pid) == frame.track.0)
            .map_or(CLOCK_RATE, |lane| lane.stream.clock_rate());
        let time = i128::from(frame.dts).saturating_mul(CLOCK_RATE.into());
        let time = time.checked_div(rate.into()).unwrap_or_default();
        let time = i64::try_from(time).unwrap_or_default();
        self.span = Some(
            self.span
                .map_or((time, time), |(from, to)| (from.min(time), to.max(time))),
        );
        self.held_bytes = self.held_bytes.saturating_add(frame.payload.len());
        self.held.push(frame);
        self.advance(lanes);
    }

    /// Tells the tracks when they are all known, or nobody wants to wait longer.
    fn advance(&mut self, lanes: &[Lane]) {
        let known = lanes.iter().all(|lane| lane.stream.codec().is_some());
        let waited = self.span.is_some_and(|(from, to)| to.saturating_sub(from) > HOLD_TIME);
        if known || waited || self.held_bytes > HOLD_BYTES || self.held.len() >= HOLD_FRAMES {
            self.tell(lanes);
        }
    }

    /// Tells the tracks that are known, and lets go what waits for them.
    fn tell(&mut self, lanes: &[Lane]) {
        if self.told.is_some() || self.held.is_empty() {
            return;
        }
        self.tell_now(lanes);
        self.held_bytes = 0;
        self.steps.extend(self.held.drain(..).map(Step::Frame));
    }

    /// Tells the tracks again when that of a frame is another, or new.
    fn tell_changes(&mut self, frame: &Frame, lanes: &[Lane]) {
        let lane = lanes.iter().find(|lane| u32::from(lane.pid) == frame.track.0);
        let told = self.told.iter().flat_map(|tracks| tracks.iter());
        let mut told = told.filter(|track| track.id == frame.track);
        let told = told.next().map(|track| &track.codec);
        if told != lane.and_then(|lane| lane.stream.codec()) {
            self.tell_now(lanes);
        }
    }

    fn tell_now(&mut self, lanes: &[Lane]) {
        let tracks: Tracks = lanes.iter().filter_map(Lane::track).collect();
        self.told = Some(tracks.clone());
        self.steps.push_back(Step::Tracks(tracks));
    }
}

#[cfg(test)]
#[path = "demux_tests.rs"]
mod tests;

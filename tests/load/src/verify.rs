//! Checks one track of one reader: every packet's number, every frame's stamp, and when asked every frame's bytes.

use bytes::Bytes;
use wasmtx_media::{Track, codec::h264::NalType, nal};
use wasmtx_protocol::rtp::{
    Format,
    depacketize::{Depacketizer, Unit},
    packet::Packet,
};

use crate::{
    sequence::{Counts, Sequence},
    stamp::{Digest, Stamp},
};

/// How deep a reader looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Depth {
    /// Packet numbers and the frames' stamps.
    #[default]
    Headers,
    /// The bytes of each frame, too.
    All,
}

/// What became of the frames of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    /// By RTP sequence number.
    pub(crate) packets: Counts,
    /// By frame stamp.
    pub(crate) frames: Counts,
    /// Frames of which packets were missing.
    pub(crate) damaged: u64,
    /// Frames without a stamp: somebody else publishes.
    pub(crate) unstamped: u64,
    /// Frames whose bytes are not those that were sent.
    pub(crate) corrupted: u64,
    /// Packets that are no RTP.
    pub(crate) malformed: u64,
}

impl Summary {
    /// Both together.
    pub(crate) fn add(&mut self, other: &Summary) {
        self.packets.add(other.packets);
        self.frames.add(other.frames);
        self.damaged += other.damaged;
        self.unstamped += other.unstamped;
        self.corrupted += other.corrupted;
        self.malformed += other.malformed;
    }

    /// Whether every frame came once, in order and as it was sent.
    pub(crate) fn is_clean(&self) -> bool {
        let counts = |counts: &Counts| counts.lost + counts.duplicated + counts.out_of_order;
        counts(&self.packets) + counts(&self.frames) + self.damaged + self.corrupted + self.malformed == 0
    }
}

/// A frame of which every packet came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// One of ours.
    Stamped(Stamp),
    /// Somebody else's.
    Unstamped,
}

/// The checks of one track.
#[derive(Debug)]
pub(crate) struct Verifier {
    packets: Sequence,
    frames: Sequence,
    summary: Summary,
    /// The frame whose packets are arriving.
    open: Option<Open>,
    deep: Option<Deep>,
}

#[derive(Clone, Copy, Debug)]
struct Open {
    timestamp: u32,
    stamp: Option<Stamp>,
    damaged: bool,
}

#[derive(Debug)]
struct Deep {
    depacketizer: Depacketizer,
    units: Vec<Unit>,
}

/// The fixed header's fields that are looked at for every packet. Parsed in place: `rtp::Packet` wants shared bytes,
/// which a reader of thousands of packets a second would have to copy first.
struct Header {
    marker: bool,
    sequence: u16,
    timestamp: u32,
    payload: usize,
}

impl Header {
    fn parse(packet: &[u8]) -> Option<Header> {
        let &[first, second, s0, s1, t0, t1, t2, t3, _, _, _, _, ..] = packet else {
            return None;
        };
        if first >> 6 != 2 {
            return None;
        }
        let mut payload = 12 + usize::from(first & 0x0f) * 4;
        if first & 0x10 != 0 {
            let words = packet.get(payload + 2..payload + 4)?;
            payload += 4 + usize::from(u16::from_be_bytes([words[0], words[1]])) * 4;
        }
        (payload <= packet.len()).then_some(Header {
            marker: second & 0x80 != 0,
            sequence: u16::from_be_bytes([s0, s1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            payload,
        })
    }
}

impl Verifier {
    /// For a track received in `format`.
    pub(crate) fn new(depth: Depth, format: &Format, track: &Track) -> Verifier {
        Verifier {
            packets: Sequence::new(),
            frames: Sequence::new(),
            summary: Summary::default(),
            open: None,
            deep: (depth == Depth::All).then(|| Deep {
                depacketizer: Depacketizer::new(format, &track.codec),
                units: Vec::new(),
            }),
        }
    }

    /// An RTP packet arrived. Answers the frame that is whole with it.
    pub(crate) fn handle(&mut self, packet: &[u8]) -> Option<Whole> {
        let Some(header) = Header::parse(packet) else {
            self.summary.malformed += 1;
            return None;
        };
        let before = self.packets.next();
        let missing = self.packets.note_wrapping(header.sequence);
        if before.is_some() && before == self.packets.next() {
            // Behind the highest number: counted; its frame was given up when the gap showed.
            return None;
        }
        let whole = self.check_bytes(packet, missing > 0);
        if self.open.is_some_and(|open| open.timestamp != header.timestamp) {
            // Its last packet did not come.
            self.open = None;
            self.summary.damaged += 1;
        }
        let stamp = || packet.get(header.payload..).and_then(find_stamp);
        match &mut self.open {
            Some(open) => {
                open.damaged |= missing > 0;
                open.stamp = open.stamp.or_else(stamp);
            }
            None => {
                let stamp = stamp();
                // The stamp goes first: whatever is missing before it was of another frame.
                let damaged = missing > 0 && stamp.is_none();
                self.open = Some(Open {
                    timestamp: header.timestamp,
                    stamp,
                    damaged,
                });
            }
        }
        if !header.marker {
            return None;
        }
        let done = self.open.take()?;
        if done.damaged {
            self.summary.damaged += 1;
            return None;
        }
        let Some(stamp) = done.stamp else {
            self.summary.unstamped += 1;
            return Some(Whole::Unstamped);
        };
        self.frames.note(u64::from(stamp.number));
        self.summary.corrupted += u64::from(whole.is_some_and(|digest| digest != stamp.digest));
        Some(Whole::Stamped(stamp))
    }

    /// Puts frames together when asked to; answers the digest of the one that became whole.
    fn check_bytes(&mut self, packet: &[u8], lost: bool) -> Option<u64> {
        let deep = self.deep.as_mut()?;
        let packet = Packet::parse(&Bytes::copy_from_slice(packet)).ok()?;
        // What cannot be put together has the wrong digest, or none and is damaged.
        let _ = deep.depacketizer.handle(&packet, lost, &mut deep.units);
        let whole = deep.units.drain(..).next_back().map(|unit| digest(&unit.payload));
        if packet.header.marker {
            Some(whole.unwrap_or_default())
        } else {
            None
        }
    }

    /// One above the highest frame number that came.
    pub(crate) fn next_frame(&self) -> Option<u64> {
        self.frames.next()
    }

    /// What became of the frames, when the publisher's last one was just below `end`.
    pub(crate) fn summary(&self, end: Option<u64>) -> Summary {
        Summary {
            packets: self.packets.counts(None),
            frames: self.frames.counts(end),
            ..self.summary
        }
    }
}

/// The digest of the slices of a canonical H264 payload.
pub(crate) fn digest(payload: &[u8]) -> u64 {
    let mut digest = Digest::default();
    nal::iter(payload)
        .filter(|nal| NalType::of(nal).is_slice())
        .for_each(|nal| digest.add(nal));
    digest.value()
}

/// Looks for a stamp in the payload of one RTP packet: alone or in a STAP-A (RFC 6184 sections 5.6 and 5.7.1). It is too
/// small to be fragmented.
fn find_stamp(payload: &[u8]) -> Option<Stamp> {
    const STAP_A: u8 = 24;
    match payload.first()? & 0x1f {
        6 => Stamp::of_nal(payload),
        STAP_A => {
            let mut rest = payload.get(1..)?;
            while let [high, low, units @ ..] = rest {
                let (unit, behind) = units.split_at_checked(usize::from(u16::from_be_bytes([*high, *low])))?;
                if let Some(stamp) = Stamp::of_nal(unit) {
                    return Some(stamp);
                }
                rest = behind;
            }
            None
        }
        _ => None,
    }
}

#[cfg(test)]
#[path = "verify_tests.rs"]
mod tests;

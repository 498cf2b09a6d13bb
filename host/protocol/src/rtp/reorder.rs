//! The order of received packets: one source, no duplicates, gaps told (RFC 3550 section 6.2 and appendix A.1).
//!
//! Over a datagram transport packets wait for earlier ones in a window of 64 packets or 200 ms. Over an ordered transport
//! nothing waits: what is missing there was lost before it came to us.
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
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::packet::Packet;

/// Packets that wait for an earlier one.
pub const WINDOW: u16 = 64;
/// How long a packet waits for an earlier one.
pub const MAX_WAIT: Duration = Duration::from_millis(200);
/// A sequence number this far ahead is a restart of the source, once a second packet confirms it.
const MAX_DROPOUT: u16 = 3_000;
/// A sequence number less than this behind is late; further behind it is a restart, once confirmed.
const MAX_MISORDER: u16 = 100;
/// A new synchronisation source takes over after this silence of the old one.
const SOURCE_SILENCE: Duration = Duration::from_secs(2);

/// What the transport promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// In order, from the peer and no one else: interleaved in a connection.
    Ordered,
    /// As datagrams come.
    Datagrams,
}

/// A packet in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The packet.
    pub packet: Packet,
    /// When it was received.
    pub arrival: Instant,
    /// Packets missing before this one. 1 or more also when the source restarted and nobody knows how many.
    pub lost: u16,
    /// The source restarted or another one took over: sequence numbers and timestamps start anew.
    pub restarted: bool,
}

/// What was thrown away, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that never came.
    pub lost: u64,
    /// Packets that came twice, or after the wait for them was over.
    pub late: u64,
    /// Packets of a source that is not the one in force.
    pub foreign: u64,
    /// Packets far off the sequence, dropped until a second one confirmed them.
    pub unconfirmed: u64,
}

/// Puts packets into order.
#[derive(Debug)]
pub struct Reorder {
    delivery: Delivery,
    source: Option<Source>,
    /// Slot `i` holds the packet `next + i`. The last slot is never empty, nor is the first: what is in order leaves.
    waiting: VecDeque<Option<(Packet, Instant)>>,
    ready: VecDeque<Delivered>,
    counts: Counts,
}

#[derive(Debug)]
struct Source {
    ssrc: u32,
    /// The sequence number that comes next.
    next: u16,
    /// After a packet far off the sequence: the number that would confirm a restart.
    confirming: Option<u16>,
    last_arrival: Instant,
    /// Packets missing before the next one that is delivered.
    lost: u16,
    restarted: bool,
}

impl Reorder {
    /// Empty; the first packet decides about source and sequence.
    pub fn new(delivery: Delivery) -> Reorder {
        Reorder {
            delivery,
            source: None,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a packet. Returns whether it counts as received: neither foreign nor off the sequence.
    pub fn handle(&mut self, now: Instant, packet: Packet) -> bool {
        let sequence = packet.header.sequence;
        let Some(source) = &mut self.source else {
            self.source = Some(Source::new(&packet, now, false));
            self.insert(now, 0, packet);
            return true;
        };
        if packet.header.ssrc != source.ssrc {
            let silent = now.saturating_duration_since(source.last_arrival) >= SOURCE_SILENCE;
            // Nobody can inject into a connection; a datagram may come from anyone who guesses the ports.
            if self.delivery == Delivery::Datagrams && !silent {
                self.counts.foreign = self.counts.foreign.saturating_add(1);
                return false;
            }
            self.restart(now, packet);
            return true;
        }
        let ahead = sequence.wrapping_sub(source.next);
        let behind = source.next.wrapping_sub(sequence);
        if ahead < MAX_DROPOUT {
            source.last_arrival = now;
            source.confirming = None;
            self.insert(now, ahead, packet);
        } else if behind <= MAX_MISORDER {
            source.last_arrival = now;
            self.counts.late = self.counts.late.saturating_add(1);
        } else if source.confirming == Some(sequence) {
            self.restart(now, packet);
        } else {
            source.confirming = Some(sequence.wrapping_add(1));
            self.counts.unconfirmed = self.counts.unconfirmed.saturating_add(1);
            return false;
        }
        true
    }

    /// The next packet in order.
    pub fn poll(&mut self) -> Option<Delivered> {
        self.ready.pop_front()
    }

    /// When [`Reorder::handle_timeout`] has something to do; `None` while nothing waits.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.waiting
            .iter()
            .flatten()
            .map(|(_, arrival)| *arrival)
            .min()
            .and_then(|oldest| oldest.checked_add(MAX_WAIT))
    }

    /// Gives up on packets for which others have waited long enough.
    pub fn handle_timeout(&mut self, now: Instant) {
        while self.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.skip_gap();
        }
    }

    /// What was thrown away so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The source in force.
    pub fn ssrc(&self) -> Option<u32> {
        self.source.as_ref().map(|source| source.ssrc)
    }

    fn restart(&mut self, now: Instant, packet: Packet) {
        while !self.waiting.is_empty() {
            self.skip_gap();
        }
        self.source = Some(Source::new(&packet, now, true));
        self.counts.lost = self.counts.lost.saturating_add(1);
        self.insert(now, 0, packet);
    }

    fn insert(&mut self, now: Instant, ahead: u16, packet: Packet) {
        let mut ahead = ahead;
        let window = if self.delivery == Delivery::Ordered { 1 } else { WINDOW };
        while ahead >= window {
            // Make room at the front: one number at a time while others wait, in one step when none does.
            if self.waiting.is_empty() {
                let step = ahead.saturating_sub(window).saturating_add(1);
                self.lose(step);
                ahead = ahead.saturating_sub(step);
            } else {
                let before = self.waiting.len();
                self.skip_one();
                self.release();
                let passed = before.saturating_sub(self.waiting.len());
                ahead = ahead.saturating_sub(u16::try_from(passed).unwrap_or(u16::MAX));
            }
        }
        let index = usize::from(ahead);
        while self.waiting.len() <= index {
            self.waiting.push_back(None);
        }
        if let Some(slot) = self.waiting.get_mut(index) {
            if slot.is_some() {
                self.counts.late = self.counts.late.saturating_add(1);
            } else {
                *slot = Some((packet, now));
            }
        }
        self.release();
    }

    /// Delivers what is in order now.
    fn release(&mut self) {
        while let Some(Some(_)) = self.waiting.front() {
            self.skip_one();
        }
    }

    /// Goes on to the first packet that is there.
    fn skip_gap(&mut self) {
        while let Some(None) = self.waiting.front() {
            self.skip_one();
        }
        self.release();
    }

    /// Moves the window by one number, delivering or losing its packet.
    fn skip_one(&mut self) {
        let Some(slot) = self.waiting.pop_front() else { return };
        let Some((packet, arrival)) = slot else {
            return self.lose(1);
        };
        let Some(source) = &mut self.source else { return };
        source.next = source.next.wrapping_add(1);
        let (lost, restarted) = (std::mem::take(&mut source.lost), std::mem::take(&mut source.restarted));
        self.ready.push_back(Delivered {
            packet,
            arrival,
            lost,
            restarted,
        });
    }

    fn lose(&mut self, count: u16) {
        let Some(source) = &mut self.source else { return };
        source.next = source.next.wrapping_add(count);
        source.lost = source.lost.saturating_add(count);
        self.counts.lost = self.counts.lost.saturating_add(count.into());
    }
}

impl Source {
    fn new(packet: &Packet, now: Instant, restarted: bool) -> Source {
        let (ssrc, next) = (packet.header.ssrc, packet.header.sequence);
        Source {
            ssrc,
            next,
            confirming: None,
            last_arrival: now,
            lost: restarted.into(),
            restarted,
        }
    }
}

#[cfg(test)]
#[path = "reorder_tests.rs"]
mod tests;

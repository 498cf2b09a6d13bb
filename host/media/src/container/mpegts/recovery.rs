//! What can be said of a file from its two ends: how much of it is whole when its writer was cut off, and from when to
//! when it lasts. Files are read in ranges and never held.
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

use bytes::Bytes;

use super::{
    clock::distance,
    packet::{PACKET, Packet},
    pes,
};
use crate::Error;

/// Bytes of a packet, as files count.
const SIZE: u64 = PACKET as u64;
/// Read at first at an end of a file: a second or more of most recordings.
const FIRST: u64 = SIZE * 5_600;
/// Read at most: more than the largest PES packet with what comes in between.
const MOST: u64 = SIZE * 96_000;
/// Elementary streams that are looked at.
const MAX_PIDS: usize = 32;

/// From when to when a file lasts, in ticks of 90 kHz.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When the first frame is shown.
    pub start: i64,
    /// When the last frame is over.
    pub end: i64,
}

/// Bytes of the longest beginning of a file of `size` bytes that holds whole packets, the last of which end whole access
/// units. `size` when the file is no transport stream: that is nothing to cut. `read` answers a range of the file, an
/// offset and a length; fewer bytes than that only where the file ends.
///
/// # Errors
/// Those of `read`.
pub fn whole<E>(size: u64, mut read: impl FnMut(u64, usize) -> Result<Bytes, E>) -> Result<u64, E> {
    let first = read(0, 2 * PACKET)?;
    let mut packets = first.chunks(PACKET);
    let (first, second) = (packets.next().unwrap_or_default(), packets.next().unwrap_or_default());
    let is_nothing = |bytes: &[u8]| bytes.len() < PACKET || is_blank(bytes);
    match (parse(first), parse(second)) {
        (Some(_), Some(_)) => {}
        (Some(_), None) if is_nothing(second) => {}
        (None, _) if is_nothing(first) => return Ok(0),
        _ => return Ok(size),
    }
    let (mut end, mut length) = (size, FIRST);
    loop {
        let tail = Tail::read(end, length, &mut read)?;
        let good = tail.good();
        if good == 0 && tail.start > 0 {
            // What was never written may be longer than what is read at once.
            end = tail.start;
        } else if length < MOST && tail.start > 0 && tail.is_cut_off_in_front(good) {
            length = length.saturating_mul(4).min(MOST);
        } else {
            // A file grows at its end: where a stretch is good, everything in front of it is.
            return Ok(tail.whole(good, size));
        }
    }
}

/// From when to when a file of `size` bytes lasts; `None` when it has no times. `read` as for [`whole`].
///
/// # Errors
/// Those of `read`.
pub fn span<E>(size: u64, mut read: impl FnMut(u64, usize) -> Result<Bytes, E>) -> Result<Option<Span>, E> {
    let first = read(0, usize::try_from(FIRST.min(size)).unwrap_or_default())?;
    let mut shown = Vec::new();
    each_start(&first, |pid, times| {
        if shown.iter().all(|(known, _)| *known != pid) && shown.len() < MAX_PIDS {
            shown.push((pid, times.pts));
        }
    });
    // What comes first is the reference: the times of one moment are close together, wrap or no wrap.
    let Some(&(_, reference)) = shown.first() else {
        return Ok(None);
    };
    let earliest = shown.iter().map(|(_, pts)| distance(reference, *pts)).min();
    let start = reference.cast_signed().saturating_add(earliest.unwrap_or_default());
    let mut length = FIRST;
    loop {
        let tail = Tail::read(size, length, &mut read)?;
        if let Some(end) = tail.end(reference) {
            return Ok(Some(Span {
                start,
                end: end.max(start),
            }));
        }
        if tail.start == 0 || length >= MOST {
            return Ok(Some(Span { start, end: start }));
        }
        length = length.saturating_mul(4).min(MOST);
    }
}

/// The packets at the end of a file.
struct Tail {
    /// Where in the file they begin.
    start: u64,
    bytes: Bytes,
}

/// The last PES packet of an elementary stream.
struct Last {
    pid: u16,
    /// Where its first packet begins in the tail; none when that is further in front.
    starts: Option<usize>,
    /// Of which there are so many bytes, with the header.
    held: usize,
    header: Result<pes::Header, Error>,
    /// Its last packet is filled up: nothing more comes.
    padded: bool,
    /// Whether the stream's next packet begins something; `None` when there is no next one.
    next_starts: Option<bool>,
}

impl Tail {
    /// The packets in front of `end`, in at most `length` bytes.
    fn read<E>(end: u64, length: u64, read: &mut impl FnMut(u64, usize) -> Result<Bytes, E>) -> Result<Tail, E> {
        let whole = end.saturating_sub(end.checked_rem(SIZE).unwrap_or_default());
        let start = whole.saturating_sub(length);
        let bytes = read(start, usize::try_from(whole.saturating_sub(start)).unwrap_or_default())?;
        Ok(Tail { start, bytes })
    }

    /// The packets up to `end`, each with where it begins.
    fn packets(&self, end: usize) -> impl Iterator<Item = (usize, Option<Packet<'_>>)> {
        let packets = self.bytes.get(..end).unwrap_or_default().chunks_exact(PACKET);
        (0..).step_by(PACKET).zip(packets.map(parse))
    }

    /// Bytes in front of the first packet that is none.
    fn good(&self) -> usize {
        let Some((bad, _)) = self.packets(self.bytes.len()).find(|(_, packet)| packet.is_none()) else {
            let rest = self.bytes.len().checked_rem(PACKET).unwrap_or_default();
            return self.bytes.len().saturating_sub(rest);
        };
        // What was never written may begin within the packet before: no NAL unit ends in a zero.
        let (before, behind) = self.bytes.split_at_checked(bad).unwrap_or_default();
        if before.last() == Some(&0) && behind.iter().take(PACKET).all(|byte| *byte == 0) {
            return bad.saturating_sub(PACKET);
        }
        bad
    }

    /// Whether the last PES packet of a stream begins in front of what was read.
    fn is_cut_off_in_front(&self, end: usize) -> bool {
        self.lasts(end, end).iter().any(|last| last.starts.is_none())
    }

    /// Where to cut a file of `size` bytes, at most where the good packets end.
    fn whole(&self, good: usize, size: u64) -> u64 {
        let is_torn = self.start.saturating_add(good as u64) < size;
        let mut end = good;
        // Each cut may leave a packet of another stream unfinished that goes on behind it.
        for _ in 0..MAX_PIDS {
            let lasts = self.lasts(end, good);
            let writing = self.last_media(good);
            let unfinished = lasts
                .iter()
                .filter(|last| !last.is_whole(is_torn && Some(last.pid) == writing));
            match unfinished.filter_map(|last| last.starts).min() {
                Some(starts) if starts < end => end = starts,
                _ => break,
            }
        }
        self.start.saturating_add(end as u64)
    }

    /// The stream whose packet was written last.
    fn last_media(&self, good: usize) -> Option<u16> {
        let mut last = None;
        let lasts = self.lasts(good, good);
        for (_, packet) in self.packets(good) {
            let media = packet.filter(|packet| lasts.iter().any(|last| last.pid == packet.pid));
            last = media.map(|packet| packet.pid).or(last);
        }
        last
    }

    /// The last PES packet of each stream in front of `end`; `good` is where the packets that can be read end.
    fn lasts(&self, end: usize, good: usize) -> Vec<Last> {
        let mut lasts: Vec<Last> = Vec::new();
        for (at, packet) in self.packets(good) {
            let Some(packet) = packet else { continue };
            let (pid, Some(payload)) = (packet.pid, packet.payload) else {
                continue;
            };
            let known = lasts.iter().position(|last| last.pid == pid);
            let known = known.and_then(|place| lasts.get_mut(place));
            if at >= end {
                if let Some(last) = known {
                    last.next_starts.get_or_insert(packet.starts);
                }
                continue;
            }
            let fresh = Last {
                pid,
                starts: packet.starts.then_some(at),
                held: payload.len(),
                header: if packet.starts {
                    pes::Header::parse(payload)
                } else {
                    Err(Error::Truncated)
                },
                padded: packet.padded,
                next_starts: None,
            };
            match known {
                Some(last) if packet.starts => *last = fresh,
                Some(last) => {
                    last.held = last.held.saturating_add(payload.len());
                    last.padded = packet.padded;
                }
                None => lasts.push(fresh),
            }
            lasts.truncate(MAX_PIDS);
        }
        // Tables and what else is no PES.
        lasts.retain(|last| !matches!(last.header, Err(Error::Invalid(_) | Error::Unsupported(_))));
        lasts
    }

    /// When the last frame is over. Needs two times of a stream, to know how long its frames last.
    fn end(&self, reference: u64) -> Option<i64> {
        let mut streams: Vec<(u16, Vec<i64>)> = Vec::new();
        each_start(&self.bytes, |pid, times| {
            let time = reference.cast_signed().saturating_add(distance(reference, times.pts));
            match streams
                .iter()
                .position(|(known, _)| *known == pid)
                .and_then(|place| streams.get_mut(place))
            {
                Some((_, times)) => times.push(time),
                None => streams.push((pid, vec![time])),
            }
            streams.truncate(MAX_PIDS);
        });
        let end = |(_, mut times): (u16, Vec<i64>)| {
            // Of pictures that are shown in another order than they come in, the last two in time.
            times.sort_unstable();
            let (last, before) = (times.pop()?, times.pop());
            match before {
                Some(before) => Some(last.saturating_add(last.saturating_sub(before))),
                None => (self.start == 0).then_some(last),
            }
        };
        streams.into_iter().filter_map(end).max()
    }
}

impl Last {
    /// Whether all of it is there. Of one without length, `was_written` says that it was at work when the writer was cut
    /// off.
    fn is_whole(&self, was_written: bool) -> bool {
        match &self.header {
            Ok(header) => match header.length {
                Some(length) => self.held >= header.size.saturating_add(length),
                None => self.next_starts.unwrap_or(self.padded || !was_written),
            },
            // Without its beginning nobody knows, and its header may itself be cut off.
            Err(_) => self.starts.is_none(),
        }
    }
}

/// Bytes that were never written read as zeros.
fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

fn parse(bytes: &[u8]) -> Option<Packet<'_>> {
    Packet::parse(bytes.first_chunk()?).ok()
}

/// Calls back with each PES packet that begins in `bytes` and tells a time.
fn each_start(bytes: &[u8], mut each: impl FnMut(u16, pes::Times)) {
    for packet in bytes
        .chunks_exact(PACKET)
        .filter_map(parse)
        .filter(|packet| packet.starts)
    {
        let header = packet.payload.and_then(|payload| pes::Header::parse(payload).ok());
        if let Some(times) = header.and_then(|header| header.times) {
            each(packet.pid, times);
        }
    }
}

#[cfg(test)]
#[path = "recovery_tests.rs"]
mod tests;

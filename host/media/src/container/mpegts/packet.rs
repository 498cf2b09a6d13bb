//! The 188-byte packet: header, adaptation field, stuffing (ISO/IEC 13818-1 section 2.4.3).
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

use bytes::{BufMut, BytesMut};

use crate::{Error, read::Cursor};

/// Bytes of a packet.
pub const PACKET: usize = 188;
/// The first byte of each.
pub(super) const SYNC: u8 = 0x47;
/// Bytes behind the header.
const ROOM: usize = 184;
/// Times have 33 bits.
pub(super) const TIME_MASK: u64 = (1 << 33) - 1;

const DISCONTINUITY: u8 = 0x80;
const RANDOM_ACCESS: u8 = 0x40;
const HAS_PCR: u8 = 0x10;

/// A packet taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Packet<'a> {
    pub(super) pid: u16,
    /// A section or a PES packet begins in the payload.
    pub(super) starts: bool,
    pub(super) counter: u8,
    /// The counter, or the clock, does not go on from what came before.
    pub(super) discontinuity: bool,
    pub(super) random_access: bool,
    /// The adaptation field says nothing, or is longer than what it says: something that did not fill the packet ends.
    pub(super) padded: bool,
    /// None in a packet that has an adaptation field only, or an encrypted payload.
    pub(super) payload: Option<&'a [u8]>,
}

impl<'a> Packet<'a> {
    /// Takes one packet apart.
    ///
    /// # Errors
    /// It does not begin as a packet, its adaptation field does not fit, or the receiver of the transmission marked it
    /// as damaged.
    pub(super) fn parse(packet: &'a [u8; PACKET]) -> Result<Packet<'a>, Error> {
        let mut cursor = Cursor::new(packet);
        if cursor.u8()? != SYNC {
            return Err(Error::Invalid("packet sync byte"));
        }
        let word = cursor.u16()?;
        let flags = cursor.u8()?;
        if word & 0x8000 != 0 {
            return Err(Error::Invalid("damaged packet"));
        }
        let mut parsed = Packet {
            pid: word & 0x1fff,
            starts: word & 0x4000 != 0,
            counter: flags & 0x0f,
            discontinuity: false,
            random_access: false,
            padded: false,
            payload: None,
        };
        if flags & 0x20 != 0 {
            let length = cursor.u8()?;
            parsed.adaptation(
                cursor
                    .take(length.into())
                    .map_err(|_| Error::Invalid("adaptation field"))?,
            )?;
        }
        if flags & 0x10 != 0 && flags & 0xc0 == 0 {
            parsed.payload = Some(cursor.rest());
        }
        Ok(parsed)
    }

    fn adaptation(&mut self, field: &[u8]) -> Result<(), Error> {
        let mut cursor = Cursor::new(field);
        let Ok(flags) = cursor.u8() else {
            self.padded = true;
            return Ok(());
        };
        self.discontinuity = flags & DISCONTINUITY != 0;
        self.random_access = flags & RANDOM_ACCESS != 0;
        // PCR, OPCR, splicing point.
        for (flag, size) in [(HAS_PCR, 6), (0x08, 6), (0x04, 1)] {
            if flags & flag != 0 {
                cursor.skip(size).map_err(|_| Error::Invalid("adaptation field"))?;
            }
        }
        // Private data and an extension have lengths of their own.
        self.padded = flags == 0 || flags & 0x03 == 0 && !cursor.is_empty();
        Ok(())
    }
}

/// What the first packet of a PES packet says in its adaptation field.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Opening {
    pub(super) random_access: bool,
    /// The clock, in ticks of 90 kHz.
    pub(super) pcr: Option<u64>,
}

impl Opening {
    fn size(self) -> usize {
        match self {
            Opening { pcr: Some(_), .. } => 8,
            Opening {
                random_access: true, ..
            } => 2,
            Opening { .. } => 0,
        }
    }
}

/// Cuts something of known length into packets of one PID, each byte copied once.
#[derive(Debug)]
pub(super) struct Packets<'a> {
    out: &'a mut BytesMut,
    pid: u16,
    counter: &'a mut u8,
    opening: Option<Opening>,
    /// Bytes that are still to come, and of those what fits into the packet at hand.
    left: usize,
    room: usize,
}

impl<'a> Packets<'a> {
    /// For `length` bytes, which then come by [`put`](Self::put). The counter is that of the next packet.
    pub(super) fn new(
        out: &'a mut BytesMut,
        pid: u16,
        counter: &'a mut u8,
        opening: Opening,
        length: usize,
    ) -> Packets<'a> {
        out.reserve(length.div_ceil(ROOM).saturating_add(1).saturating_mul(PACKET));
        Packets {
            out,
            pid,
            counter,
            opening: Some(opening),
            left: length,
            room: 0,
        }
    }

    /// The next bytes. What is more than was announced is left out.
    pub(super) fn put(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.left > 0 {
            if self.room == 0 {
                self.begin();
            }
            let (now, later) = bytes.split_at(bytes.len().min(self.room));
            self.out.put_slice(now);
            self.room = self.room.saturating_sub(now.len());
            self.left = self.left.saturating_sub(now.len());
            bytes = later;
        }
    }

    fn begin(&mut self) {
        let start = if self.opening.is_some() { 0x4000 } else { 0 };
        let opening = self.opening.take().unwrap_or_default();
        let fields = opening.size();
        let stuffing = ROOM.saturating_sub(fields).saturating_sub(self.left);
        let adaptation = fields.saturating_add(stuffing);
        put_header(self.out, self.pid | start, adaptation > 0, *self.counter | 0x10);
        *self.counter = self.counter.wrapping_add(1) & 0x0f;
        put_adaptation(self.out, opening, adaptation);
        self.room = ROOM.saturating_sub(adaptation);
    }
}

/// A packet that tells the clock and nothing else.
pub(super) fn put_clock(out: &mut BytesMut, pid: u16, counter: u8, pcr: u64) {
    // Without a payload the counter stays what it was in the last packet that had one.
    put_header(out, pid, true, counter.wrapping_sub(1) & 0x0f);
    let opening = Opening {
        random_access: false,
        pcr: Some(pcr),
    };
    put_adaptation(out, opening, ROOM);
}

fn put_header(out: &mut BytesMut, pid_and_start: u16, adaptation: bool, flags: u8) {
    out.put_u8(SYNC);
    out.put_u16(pid_and_start);
    out.put_u8(flags | if adaptation { 0x20 } else { 0 });
}

/// An adaptation field of `size` bytes, its length byte included.
fn put_adaptation(out: &mut BytesMut, opening: Opening, size: usize) {
    let end = out.len().saturating_add(size);
    if size > 0 {
        out.put_u8(u8::try_from(size.saturating_sub(1)).unwrap_or_default());
    }
    if size > 1 {
        let pcr = if opening.pcr.is_some() { HAS_PCR } else { 0 };
        out.put_u8(pcr | if opening.random_access { RANDOM_ACCESS } else { 0 });
    }
    if let Some(pcr) = opening.pcr {
        // 33 bits of the base, six reserved ones, nine of the extension.
        out.put_uint((pcr & TIME_MASK) << 15 | 0x7e00, 6);
    }
    out.put_bytes(0xff, end.saturating_sub(out.len()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packets(bytes: &[u8], opening: Opening) -> Vec<[u8; PACKET]> {
        let (mut out, mut counter) = (BytesMut::new(), 14);
        let mut packets = Packets::new(&mut out, 0x123, &mut counter, opening, bytes.len());
        bytes.chunks(50).for_each(|piece| packets.put(piece));
        assert_eq!(out.len() % PACKET, 0);
        out.chunks(PACKET).map(|packet| packet.try_into().unwrap()).collect()
    }

    #[test]
    fn bytes_of_any_number_come_out_of_the_packets_that_they_went_into() {
        let bytes: Vec<u8> = (0..=255).cycle().take(600).collect();
        let openings = [(false, None), (true, None), (false, Some(5)), (true, Some(TIME_MASK))];
        for (random_access, pcr) in openings {
            for length in 1..bytes.len() {
                let packets = packets(&bytes[..length], Opening { random_access, pcr });
                let parsed: Vec<_> = packets.iter().map(|packet| Packet::parse(packet).unwrap()).collect();
                let whole: Vec<u8> = parsed
                    .iter()
                    .flat_map(|packet| packet.payload.unwrap())
                    .copied()
                    .collect();
                assert_eq!(whole, bytes[..length]);
                assert_eq!((parsed[0].starts, parsed[0].random_access), (true, random_access));
                assert!(parsed[1..].iter().all(|packet| !packet.starts && !packet.random_access));
                for (counter, packet) in [14, 15, 0, 1].into_iter().zip(&parsed) {
                    assert_eq!((packet.pid, packet.counter), (0x123, counter));
                }
                let (last, whole) = parsed.split_last().unwrap();
                assert!(whole.iter().all(|packet| !packet.padded));
                let fields = if whole.is_empty() {
                    Opening { random_access, pcr }.size()
                } else {
                    0
                };
                assert_eq!(last.padded, last.payload.unwrap().len() + fields < ROOM, "{length}");
            }
        }
    }

    #[test]
    fn a_clock_stands_where_the_standard_says() {
        let mut out = BytesMut::new();
        put_clock(&mut out, 0x100, 3, 0x1_2345_6789);
        assert_eq!(
            out[..12],
            [0x47, 0x01, 0, 0x22, 183, 0x10, 0x91, 0xa2, 0xb3, 0xc4, 0xfe, 0]
        );
        assert_eq!(out.len(), PACKET);
        let packet: &[u8; PACKET] = out[..].try_into().unwrap();
        assert_eq!(Packet::parse(packet).unwrap().payload, None);
    }

    #[test]
    fn damaged_packets_are_errors_and_encrypted_ones_have_no_payload() {
        let good = packets(&[7; 100], Opening::default())[0];
        let changed = |at: usize, value: u8| {
            let mut packet = good;
            packet[at] = value;
            packet
        };
        assert_eq!(
            Packet::parse(&changed(0, 0x46)),
            Err(Error::Invalid("packet sync byte"))
        );
        assert_eq!(Packet::parse(&changed(1, 0xc1)), Err(Error::Invalid("damaged packet")));
        assert_eq!(Packet::parse(&changed(4, 184)), Err(Error::Invalid("adaptation field")));
        assert_eq!(Packet::parse(&changed(3, 0xb0)).unwrap().payload, None);
        let mut short = good;
        (short[4], short[5]) = (1, HAS_PCR);
        assert_eq!(Packet::parse(&short), Err(Error::Invalid("adaptation field")));
    }
}

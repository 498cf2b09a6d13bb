//! Program specific information: the sections of PAT and PMT (ISO/IEC 13818-1 section 2.4.4), put together from
//! packets, checked, read and written.
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

use super::packet::{Opening, Packets};
use crate::{Error, read::Cursor};

/// Where PAT is.
pub(super) const PAT_PID: u16 = 0;
const PAT_TABLE: u8 = 0;
const PMT_TABLE: u8 = 2;
/// Bytes of a section of PAT or PMT: its length may not be more than 1,021 (sections 2.4.4.4 and 2.4.4.9).
const MAX_SECTION: usize = 1_024;
/// Table and length.
const HEAD: usize = 3;
/// Elementary streams of a program that are looked at.
const MAX_STREAMS: usize = 32;
/// The number of the only program that is written, and of the stream.
const PROGRAM: u16 = 1;

/// An elementary stream of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) stream_type: u8,
    pub(super) pid: u16,
    /// As they stand, one after the other: tag, length, bytes.
    pub(super) descriptors: Vec<u8>,
}

/// The descriptors of a list: tag and bytes. Ends at the first one that does not fit.
pub(super) fn descriptors(list: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    let mut cursor = Cursor::new(list);
    std::iter::from_fn(move || {
        let [tag, length] = cursor.array().ok()?;
        Some((tag, cursor.take(length.into()).ok()?))
    })
}

/// The PID of the PMT of the first program of a PAT; `None` when it is no PAT, or one that is not in force yet.
pub(super) fn first_program(section: &[u8]) -> Option<u16> {
    let mut cursor = body(section, PAT_TABLE).ok()?;
    loop {
        let [program, pid] = [cursor.u16().ok()?, cursor.u16().ok()?];
        // Program 0 is the network's.
        if program != 0 {
            return Some(pid & 0x1fff);
        }
    }
}

/// The elementary streams of a PMT.
///
/// # Errors
/// It is none, or not in force yet, or its lengths do not add up.
pub(super) fn streams(section: &[u8]) -> Result<Vec<Entry>, Error> {
    let mut cursor = body(section, PMT_TABLE)?;
    let _clock = cursor.u16()?;
    let length = cursor.u16()? & 0x0fff;
    cursor.skip(length.into())?;
    let mut entries: Vec<Entry> = Vec::new();
    while !cursor.is_empty() {
        let stream_type = cursor.u8()?;
        let pid = cursor.u16()? & 0x1fff;
        let length = cursor.u16()? & 0x0fff;
        let descriptors = cursor.take(length.into())?;
        if entries.len() < MAX_STREAMS && entries.iter().all(|entry| entry.pid != pid) {
            entries.push(Entry {
                stream_type,
                pid,
                descriptors: descriptors.to_vec(),
            });
        }
    }
    Ok(entries)
}

/// What stands between the header and the checksum of a section that has been checked.
fn body(section: &[u8], table: u8) -> Result<Cursor<'_>, Error> {
    if section.first() != Some(&table) {
        return Err(Error::Invalid("table"));
    }
    let end = section.len().checked_sub(4).ok_or(Error::Truncated)?;
    let mut cursor = Cursor::new(section.get(..end).unwrap_or_default());
    cursor.skip(HEAD.saturating_add(2))?;
    // "Current" is set when the table is in force already.
    if cursor.u8()? & 1 == 0 {
        return Err(Error::Invalid("table that is not in force"));
    }
    // Whatever comes in further sections is not looked at: one program, and at most 32 streams, fit into the first.
    if cursor.u8()? != 0 {
        return Err(Error::Invalid("table section"));
    }
    cursor.skip(1)?;
    Ok(cursor)
}

/// Puts the sections of one PID together.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    section: Vec<u8>,
    /// Whether `section` begins with a section, so that what follows belongs to it.
    open: bool,
}

impl Assembler {
    /// Forgets what is not whole: packets were lost.
    pub(super) fn reset(&mut self) {
        self.section.clear();
        self.open = false;
    }

    /// Takes the payload of a packet, calls back with each whole section whose checksum is right.
    pub(super) fn push(&mut self, starts: bool, payload: &[u8], mut each: impl FnMut(&[u8])) {
        let mut payload = payload;
        if starts {
            let Some((&pointer, rest)) = payload.split_first() else {
                return;
            };
            let Some((before, behind)) = rest.split_at_checked(pointer.into()) else {
                return self.reset();
            };
            self.extend(before, &mut each);
            self.reset();
            self.open = true;
            payload = behind;
        }
        self.extend(payload, &mut each);
    }

    fn extend(&mut self, mut bytes: &[u8], each: &mut impl FnMut(&[u8])) {
        while self.open && !bytes.is_empty() {
            let missing = self.missing();
            let (now, later) = bytes.split_at(bytes.len().min(missing));
            self.section.extend_from_slice(now);
            bytes = later;
            // Where a table would begin, 0xff says that nothing more comes in this packet.
            if self.section.first() == Some(&0xff) || self.length() > MAX_SECTION {
                return self.reset();
            }
            if self.section.len() >= HEAD && self.missing() == 0 {
                if crc(&self.section) == 0 {
                    each(&self.section);
                }
                self.section.clear();
            }
        }
    }

    /// Bytes of the section, as far as they are known: at least its head.
    fn length(&self) -> usize {
        match self.section.get(..HEAD) {
            Some(&[_, high, low]) => usize::from(u16::from_be_bytes([high & 0x0f, low])).saturating_add(HEAD),
            _ => HEAD,
        }
    }

    fn missing(&self) -> usize {
        self.length().saturating_sub(self.section.len())
    }
}

/// Appends the packets of a PAT with one program.
pub(super) fn put_pat(out: &mut BytesMut, counter: &mut u8, pmt_pid: u16) {
    let mut section = begin(PAT_TABLE);
    section.put_u16(PROGRAM);
    section.put_u16(0xe000 | pmt_pid);
    finish(section, PAT_PID, counter, out);
}

/// Appends the packets of the PMT of that program.
pub(super) fn put_pmt(out: &mut BytesMut, counter: &mut u8, pid: u16, clock_pid: u16, entries: &[Entry]) {
    let mut section = begin(PMT_TABLE);
    section.put_u16(0xe000 | clock_pid);
    section.put_u16(0xf000);
    for entry in entries {
        section.put_u8(entry.stream_type);
        section.put_u16(0xe000 | entry.pid);
        section.put_u16(0xf000 | u16::try_from(entry.descriptors.len()).unwrap_or_default());
        section.put_slice(&entry.descriptors);
    }
    finish(section, pid, counter, out);
}

/// Everything up to the first field of a table's own, its length still open.
fn begin(table: u8) -> BytesMut {
    let mut section = BytesMut::with_capacity(64);
    section.put_slice(&[table, 0, 0]);
    section.put_u16(PROGRAM);
    // Version 0, in force; section 0 of 0.
    section.put_slice(&[0xc1, 0, 0]);
    section
}

fn finish(mut section: BytesMut, pid: u16, counter: &mut u8, out: &mut BytesMut) {
    let length = section.len().saturating_add(4).saturating_sub(HEAD);
    if let Some(field) = section.get_mut(1..HEAD) {
        field.copy_from_slice(&(0xb000 | u16::try_from(length).unwrap_or_default()).to_be_bytes());
    }
    let checksum = crc(&section);
    section.put_u32(checksum);
    // Sections are filled up with 0xff behind them, not with an adaptation field: some receivers want it so.
    let room = section.len().saturating_add(1).next_multiple_of(184);
    let mut packets = Packets::new(out, pid, counter, Opening::default(), room);
    packets.put(&[0]);
    packets.put(&section);
    for _ in section.len().saturating_add(1)..room {
        packets.put(&[0xff]);
    }
}

/// The CRC of annex A: over a section with its checksum it is 0.
fn crc(bytes: &[u8]) -> u32 {
    bytes.iter().fold(u32::MAX, |crc, byte| {
        let [high, ..] = crc.to_be_bytes();
        let entry = CRC_TABLE.get(usize::from(high ^ byte)).copied().unwrap_or_default();
        crc << 8 ^ entry
    })
}

static CRC_TABLE: [u32; 256] = crc_table();

#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "computed by the compiler"
)]
const fn crc_table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0u8;
    loop {
        let mut value = u32::from_be_bytes([byte, 0, 0, 0]);
        let mut bit = 0;
        while bit < 8 {
            value = value << 1 ^ if value & 0x8000_0000 != 0 { 0x04c1_1db7 } else { 0 };
            bit += 1;
        }
        table[byte as usize] = value;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::super::packet::{PACKET, Packet};
    use super::*;

    /// As FFmpeg writes it: program 1 at PID 0x1000.
    const PAT: [u8; 16] = [
        0x00, 0xb0, 0x0d, 0x00, 0x01, 0xc1, 0x00, 0x00, 0x00, 0x01, 0xf0, 0x00, 0x2a, 0xb1, 0x04, 0xb2,
    ];

    fn entries(count: u16) -> Vec<Entry> {
        let entry = |n: u16| Entry {
            stream_type: 0x06,
            pid: 0x100 + n,
            descriptors: vec![5, 4, b'O', b'p', b'u', b's', 0x7f, 2, 0x80, 2],
        };
        (0..count).map(entry).collect()
    }

    fn read(packets: &[u8]) -> Vec<Vec<u8>> {
        let (mut assembler, mut sections) = (Assembler::default(), Vec::new());
        for packet in packets.chunks(PACKET) {
            let packet = Packet::parse(packet.try_into().unwrap()).unwrap();
            assembler.push(packet.starts, packet.payload.unwrap(), |section| {
                sections.push(section.to_vec())
            });
        }
        sections
    }

    #[test]
    fn a_program_association_is_written_as_others_write_it() {
        let mut out = BytesMut::new();
        put_pat(&mut out, &mut 0, 0x1000);
        assert_eq!(read(&out), [PAT]);
        assert_eq!(first_program(&PAT), Some(0x1000));
        assert_eq!(out.len(), PACKET);
        assert!(out[21..].iter().all(|byte| *byte == 0xff));
    }

    #[test]
    fn a_program_map_of_several_packets_reads_as_it_was_written() {
        for count in [1, 10, 16] {
            let mut out = BytesMut::new();
            put_pmt(&mut out, &mut 15, 0x1000, 0x100, &entries(count));
            assert_eq!(out.len(), PACKET * if count > 10 { 2 } else { 1 });
            let [section] = &read(&out)[..] else {
                panic!("one section")
            };
            assert_eq!(streams(section), Ok(entries(count)));
        }
    }

    #[test]
    fn several_sections_share_a_packet_and_one_goes_over_into_the_next() {
        let mut assembler = Assembler::default();
        let mut sections = 0;
        let mut push = |assembler: &mut Assembler, starts, payload: &[u8]| {
            assembler.push(starts, payload, |section| {
                assert_eq!(section, PAT);
                sections += 1;
            });
        };
        push(&mut assembler, false, &PAT);
        push(&mut assembler, true, &[&[0][..], &PAT, &PAT, &PAT[..2]].concat());
        push(&mut assembler, false, &PAT[2..9]);
        push(&mut assembler, true, &[&[7][..], &PAT[9..], &PAT, &[0xff; 9]].concat());
        push(&mut assembler, false, &PAT);
        assert_eq!(sections, 4);
    }

    #[test]
    fn wrong_checksums_lengths_and_pointers_give_nothing() {
        let give = |payload: &[u8]| {
            let mut count = 0;
            Assembler::default().push(true, payload, |_| count += 1);
            count
        };
        let good = [&[0][..], &PAT].concat();
        assert_eq!(give(&good), 1);
        for bit in 8..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(give(&bad), 0, "bit {bit}");
        }
        for end in 0..good.len() {
            assert_eq!(give(&good[..end]), 0);
        }
        assert_eq!(give(&[200, 1, 2]), 0);
    }

    #[test]
    fn tables_that_lie_about_their_insides_are_errors() {
        let mut out = BytesMut::new();
        put_pmt(&mut out, &mut 0, 0x1000, 0x100, &entries(2));
        let section = &read(&out)[0];
        for end in 0..section.len() - 4 {
            let cut = [&section[..end], &[0; 4]].concat();
            assert!(streams(&cut).map_or(true, |streams| streams.len() < 2), "{end}");
        }
        let mut later = section.clone();
        later[5] &= 0xfe;
        assert_eq!(streams(&later), Err(Error::Invalid("table that is not in force")));
        assert_eq!(first_program(section), None);
        assert_eq!(descriptors(&[5, 200, 1]).count(), 0);
    }
}

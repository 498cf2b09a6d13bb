//! AOMedia AV1: OBUs, the sequence header, the av1C record. Section numbers are those of the AV1 bitstream specification.
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
    allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

use bytes::{BufMut, Bytes, BytesMut};

use crate::Error;
use crate::nal::{MAX_ACCESS_UNIT, MAX_PARAMETER_SET};
use crate::read::{Bits, Cursor};

/// OBUs of one temporal unit.
pub const MAX_OBUS: usize = 256;
/// Bytes of a size field for any OBU within the bounds.
const MAX_LEB128: usize = 8;
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;

/// The type of an OBU (section 6.2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObuType(pub u8);

impl ObuType {
    /// Sequence header.
    pub const SEQUENCE_HEADER: ObuType = ObuType(1);
    /// Temporal delimiter.
    pub const TEMPORAL_DELIMITER: ObuType = ObuType(2);
    /// Frame header.
    pub const FRAME_HEADER: ObuType = ObuType(3);
    /// Frame header and tiles in one.
    pub const FRAME: ObuType = ObuType(6);
    /// Tile list.
    pub const TILE_LIST: ObuType = ObuType(8);
    /// Padding.
    pub const PADDING: ObuType = ObuType(15);
}

/// One OBU.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Obu<'a> {
    /// Its type.
    pub kind: ObuType,
    /// The header without the bit for the size field: one byte, or two with the extension.
    header: [u8; 2],
    header_size: usize,
    /// What follows header and size.
    pub payload: &'a [u8],
}

impl<'a> Obu<'a> {
    /// Parses an OBU that has a size field, or without one ends with `bytes`. Returns the bytes it takes, too.
    pub fn parse(bytes: &'a [u8]) -> Result<(Obu<'a>, usize), Error> {
        let mut cursor = Cursor::new(bytes);
        let first = cursor.u8()?;
        if first & 0x80 != 0 {
            return Err(Error::Invalid("OBU header"));
        }
        let (second, header_size) = if first & HAS_EXTENSION != 0 {
            (cursor.u8()?, 2)
        } else {
            (0, 1)
        };
        let payload = if first & HAS_SIZE != 0 {
            let size = leb128(&mut cursor)?;
            cursor.take(size)?
        } else {
            cursor.take(cursor.remaining())?
        };
        let obu = Obu {
            kind: ObuType(first >> 3 & 0x0f),
            header: [first & !HAS_SIZE, second],
            header_size,
            payload,
        };
        Ok((obu, bytes.len().saturating_sub(cursor.remaining())))
    }

    /// The header without a size field: one byte, or two with the extension.
    pub fn header(&self) -> &[u8] {
        self.header.get(..self.header_size).unwrap_or_default()
    }

    /// Appends the OBU with a size field.
    pub fn put_sized(&self, buffer: &mut BytesMut) {
        let [first, second] = self.header;
        buffer.put_u8(first | HAS_SIZE);
        if self.header_size == 2 {
            buffer.put_u8(second);
        }
        put_leb128(buffer, self.payload.len());
        buffer.put_slice(self.payload);
    }
}

/// The OBUs of a canonical payload, in order. Ends at the first one that cannot be read.
pub fn iter(payload: &[u8]) -> impl Iterator<Item = Obu<'_>> + Clone {
    let mut rest = payload;
    std::iter::from_fn(move || {
        let (obu, size) = Obu::parse(rest).ok()?;
        rest = rest.get(size..)?;
        Some(obu)
    })
}

/// Checks that a payload is canonical: OBUs with sizes that add up, no temporal delimiter, within the bounds.
pub fn check(payload: &[u8]) -> Result<(), Error> {
    if payload.len() > MAX_ACCESS_UNIT {
        return Err(Error::TooLarge("temporal unit"));
    }
    let mut rest = payload;
    for _ in 0..MAX_OBUS {
        let Some(first) = rest.first() else { return Ok(()) };
        if first & HAS_SIZE == 0 {
            return Err(Error::Invalid("OBU without size"));
        }
        let (obu, size) = Obu::parse(rest)?;
        if obu.kind == ObuType::TEMPORAL_DELIMITER {
            return Err(Error::Invalid("temporal delimiter"));
        }
        rest = rest.get(size..).unwrap_or_default();
    }
    if rest.is_empty() {
        Ok(())
    } else {
        Err(Error::TooLarge("OBUs of a temporal unit"))
    }
}

/// Whether decoding may start at a temporal unit: its first frame is a key frame.
pub fn is_key(payload: &[u8]) -> bool {
    let mut reduced = false;
    for obu in iter(payload) {
        match obu.kind {
            ObuType::SEQUENCE_HEADER => reduced = obu.payload.first().is_some_and(|byte| byte & 0x08 != 0),
            // show_existing_frame is 0 and frame_type is KEY_FRAME (section 5.9.2).
            ObuType::FRAME | ObuType::FRAME_HEADER => {
                return reduced || obu.payload.first().is_some_and(|byte| byte & 0xe0 == 0);
            }
            _ => {}
        }
    }
    false
}

/// Reads a number in groups of seven bits, the lowest first (section 4.10.5).
pub fn leb128(cursor: &mut Cursor<'_>) -> Result<usize, Error> {
    let mut value = 0u64;
    for group in 0..MAX_LEB128 {
        let byte = cursor.u8()?;
        let shift = u32::try_from(group).unwrap_or(0).saturating_mul(7);
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return usize::try_from(value)
                .ok()
                .filter(|size| *size <= MAX_ACCESS_UNIT)
                .ok_or(Error::TooLarge("OBU"));
        }
    }
    Err(Error::Invalid("LEB128 number"))
}

/// Appends a number in groups of seven bits.
pub fn put_leb128(buffer: &mut impl BufMut, mut value: usize) {
    loop {
        let [.., low] = (value & 0x7f).to_be_bytes();
        value >>= 7;
        if value == 0 {
            return buffer.put_u8(low);
        }
        buffer.put_u8(low | 0x80);
    }
}

/// What a decoder must know before the first frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// The sequence header OBU with its size field; empty until known.
    pub sequence_header: Bytes,
}

impl Parameters {
    /// Takes over a sequence header that came in band. Returns whether it changed.
    pub fn handle(&mut self, obu: &Obu<'_>) -> bool {
        if obu.kind != ObuType::SEQUENCE_HEADER || obu.payload.len() > MAX_PARAMETER_SET {
            return false;
        }
        let mut header = BytesMut::with_capacity(obu.payload.len().saturating_add(MAX_LEB128));
        obu.put_sized(&mut header);
        if self.sequence_header == header {
            return false;
        }
        self.sequence_header = header.freeze();
        true
    }

    /// The sequence header, parsed; `None` while it is unknown or cannot be read.
    pub fn sequence(&self) -> Option<Sequence> {
        let (obu, _) = Obu::parse(&self.sequence_header).ok()?;
        Sequence::parse(obu.payload).ok()
    }

    /// The av1C record (AV1 codec ISO media file format binding, section 2.3.3); empty while the header is missing.
    pub fn configuration_record(&self) -> Bytes {
        let Some(sequence) = self.sequence() else {
            return Bytes::new();
        };
        let flag = |on: bool, shift: u32| u8::from(on) << shift;
        let mut record = BytesMut::with_capacity(self.sequence_header.len().saturating_add(4));
        record.put_u8(0x81);
        record.put_u8(sequence.profile << 5 | sequence.level_index);
        record.put_u8(
            flag(sequence.high_tier, 7)
                | flag(sequence.bit_depth > 8, 6)
                | flag(sequence.bit_depth == 12, 5)
                | flag(sequence.monochrome, 4)
                | flag(sequence.subsampling_x, 3)
                | flag(sequence.subsampling_y, 2)
                | sequence.chroma_sample_position,
        );
        record.put_u8(0);
        record.put_slice(&self.sequence_header);
        record.freeze()
    }

    /// The sequence header of an av1C record.
    pub fn from_configuration_record(record: &[u8]) -> Result<Parameters, Error> {
        let mut cursor = Cursor::new(record);
        if cursor.u8()? != 0x81 {
            return Err(Error::Invalid("av1C version"));
        }
        cursor.skip(3)?;
        let mut parameters = Parameters::default();
        for obu in iter(cursor.rest()).take(MAX_OBUS) {
            parameters.handle(&obu);
        }
        Ok(parameters)
    }

    /// Pixels in a row of the largest frame; `None` while unknown.
    pub fn width(&self) -> Option<u32> {
        self.sequence().map(|sequence| sequence.width)
    }

    /// Pixels in a column of the largest frame; `None` while unknown.
    pub fn height(&self) -> Option<u32> {
        self.sequence().map(|sequence| sequence.height)
    }
}

/// What a server needs of a sequence header (section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sequence {
    /// `seq_profile`.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point.
    pub level_index: u8,
    /// `seq_tier` of the first operating point.
    pub high_tier: bool,
    /// Pixels in a row of the largest frame.
    pub width: u32,
    /// Pixels in a column of the largest frame.
    pub height: u32,
    /// 8, 10 or 12.
    pub bit_depth: u8,
    /// No colour planes.
    pub monochrome: bool,
    /// Colour planes have half the columns.
    pub subsampling_x: bool,
    /// Colour planes have half the rows.
    pub subsampling_y: bool,
    /// `chroma_sample_position`.
    pub chroma_sample_position: u8,
}

impl Sequence {
    /// Parses the payload of a sequence header OBU.
    pub fn parse(payload: &[u8]) -> Result<Sequence, Error> {
        let mut bits = Bits::new(payload);
        let profile = bits.small(3)?;
        if profile > 2 {
            return Err(Error::Invalid("AV1 profile"));
        }
        let _still = bits.flag()?;
        let reduced = bits.flag()?;
        let (level_index, high_tier) = if reduced {
            (bits.small(5)?, false)
        } else {
            operating_points(&mut bits)?
        };
        let (width_bits, height_bits) = (bits.bits(4)?.saturating_add(1), bits.bits(4)?.saturating_add(1));
        let (width, height) = (
            bits.bits(width_bits)?.saturating_add(1),
            bits.bits(height_bits)?.saturating_add(1),
        );
        if !reduced && bits.flag()? {
            bits.skip(7)?;
        }
        bits.skip(3)?;
        if !reduced {
            bits.skip(4)?;
            let order_hint = bits.flag()?;
            bits.skip(if order_hint { 2 } else { 0 })?;
            let screen_content = bits.flag()? || bits.flag()?;
            if screen_content && !bits.flag()? {
                bits.flag()?;
            }
            bits.skip(if order_hint { 3 } else { 0 })?;
        }
        bits.skip(3)?;
        let mut sequence = Sequence {
            profile,
            level_index,
            high_tier,
            width,
            height,
            bit_depth: 8,
            monochrome: false,
            subsampling_x: true,
            subsampling_y: true,
            chroma_sample_position: 0,
        };
        sequence.read_color(&mut bits)?;
        Ok(sequence)
    }

    /// `color_config()` (section 5.5.2).
    fn read_color(&mut self, bits: &mut Bits<'_>) -> Result<(), Error> {
        let high = bits.flag()?;
        self.bit_depth = match (self.profile, high) {
            (2, true) if bits.flag()? => 12,
            (_, true) => 10,
            (_, false) => 8,
        };
        self.monochrome = self.profile != 1 && bits.flag()?;
        let color = if bits.flag()? { bits.bits(24)? } else { 0x02_0202 };
        if self.monochrome {
            return Ok(());
        }
        // BT.709 primaries, sRGB transfer, identity matrix.
        if color == 0x01_0d00 {
            (self.subsampling_x, self.subsampling_y) = (false, false);
            return Ok(());
        }
        let _range = bits.flag()?;
        (self.subsampling_x, self.subsampling_y) = match (self.profile, self.bit_depth) {
            (0, _) => (true, true),
            (1, _) => (false, false),
            (_, 12) => {
                let x = bits.flag()?;
                (x, x && bits.flag()?)
            }
            _ => (true, false),
        };
        if self.subsampling_x && self.subsampling_y {
            self.chroma_sample_position = bits.small(2)?;
        }
        Ok(())
    }
}

/// From the timing information to the operating points: level and tier of the first one.
fn operating_points(bits: &mut Bits<'_>) -> Result<(u8, bool), Error> {
    let mut delay_bits = None;
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            skip_uvlc(bits)?;
        }
        if bits.flag()? {
            delay_bits = Some(bits.bits(5)?.saturating_add(1));
            bits.skip(42)?;
        }
    }
    let display_delay = bits.flag()?;
    let mut first = None;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?;
        let level = bits.small(5)?;
        let tier = level > 7 && bits.flag()?;
        if let Some(delay_bits) = delay_bits
            && bits.flag()?
        {
            bits.skip(delay_bits.saturating_mul(2).saturating_add(1))?;
        }
        if display_delay && bits.flag()? {
            bits.skip(4)?;
        }
        first.get_or_insert((level, tier));
    }
    first.ok_or(Error::Truncated)
}

/// A number behind as many zeros as it has bits (section 4.10.3).
fn skip_uvlc(bits: &mut Bits<'_>) -> Result<(), Error> {
    let mut zeros = 0u32;
    while !bits.flag()? {
        zeros = zeros.saturating_add(1);
    }
    if zeros < 32 { bits.skip(zeros) } else { Ok(()) }
}

#[cfg(test)]
#[path = "av1_tests.rs"]
mod tests;

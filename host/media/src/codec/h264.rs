//! ITU-T H.264: NAL units, parameter sets, the avcC record.
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
use crate::nal::{self, MAX_PARAMETER_SET};
use crate::read::{Bits, Cursor};

/// The widest and highest picture that is believed.
pub const MAX_DIMENSION: u32 = 16_384;
/// Reference frames in a picture order count cycle (section 7.4.2.1.1 allows 255).
const MAX_CYCLE: u32 = 255;
/// SEI messages of one NAL unit that are looked at.
const MAX_SEI_MESSAGES: usize = 64;
const SEI_RECOVERY_POINT: u32 = 6;

/// The type of a NAL unit (table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NalType(pub u8);

impl NalType {
    /// A slice of a picture that is not IDR.
    pub const SLICE: NalType = NalType(1);
    /// A slice of an IDR picture.
    pub const IDR: NalType = NalType(5);
    /// Supplemental enhancement information.
    pub const SEI: NalType = NalType(6);
    /// Sequence parameter set.
    pub const SPS: NalType = NalType(7);
    /// Picture parameter set.
    pub const PPS: NalType = NalType(8);
    /// Access unit delimiter.
    pub const AUD: NalType = NalType(9);

    /// Of a NAL unit; 0 when it is empty.
    pub fn of(nal: &[u8]) -> NalType {
        NalType(nal.first().copied().unwrap_or_default() & 0x1f)
    }

    /// Whether it is one of the types that carry picture data.
    pub fn is_slice(self) -> bool {
        (1..=5).contains(&self.0)
    }
}

/// Whether decoding may start at an access unit: it holds an IDR picture, or a recovery point for encoders that refresh
/// the picture bit by bit and never send one.
pub fn is_key(payload: &[u8]) -> bool {
    nal::iter(payload).any(|nal| match NalType::of(nal) {
        NalType::IDR => true,
        NalType::SEI => has_recovery_point(nal),
        _ => false,
    })
}

/// Whether no other picture refers to any slice of an access unit.
pub fn is_disposable(payload: &[u8]) -> bool {
    let mut slices = nal::iter(payload).filter(|nal| NalType::of(nal).is_slice()).peekable();
    slices.peek().is_some() && slices.all(|nal| nal.first().is_some_and(|header| header & 0x60 == 0))
}

/// Whether a slice NAL unit is the first of its picture: `first_mb_in_slice` is 0.
pub fn starts_picture(nal: &[u8]) -> bool {
    nal.get(1).is_some_and(|byte| byte & 0x80 != 0)
}

/// Whether an SEI NAL unit holds a recovery point message (section D.1.8).
pub fn has_recovery_point(nal: &[u8]) -> bool {
    let mut cursor = Cursor::new(nal.get(1..).unwrap_or_default());
    for _ in 0..MAX_SEI_MESSAGES {
        if cursor.remaining() < 2 {
            return false;
        }
        let (Ok(kind), Ok(size)) = (sei_number(&mut cursor), sei_number(&mut cursor)) else {
            return false;
        };
        if kind == SEI_RECOVERY_POINT {
            return true;
        }
        // Emulation prevention bytes are not in `size`; a message that has some ends the search in noise at worst.
        let Ok(size) = usize::try_from(size) else { return false };
        if cursor.skip(size).is_err() {
            return false;
        }
    }
    false
}

/// Bytes of 255 add up, the first other one ends the number (section 7.3.2.3.1).
fn sei_number(cursor: &mut Cursor<'_>) -> Result<u32, Error> {
    let mut number = 0u32;
    loop {
        let byte = cursor.u8()?;
        number = number.saturating_add(byte.into());
        if byte != 0xff {
            return Ok(number);
        }
    }
}

/// The parameter sets in force. Both are NAL units without start code or length; empty until known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Sequence parameter set.
    pub sps: Bytes,
    /// Picture parameter set.
    pub pps: Bytes,
}

impl Parameters {
    /// Whether both are known.
    pub fn is_complete(&self) -> bool {
        !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// Takes over a parameter set that came in band. `None` when it is none, or one with another id than the set in
    /// force: that one belongs into the payload. Otherwise whether something changed.
    pub fn handle(&mut self, nal: &Bytes) -> Option<bool> {
        let slot = match NalType::of(nal) {
            NalType::SPS => &mut self.sps,
            NalType::PPS => {
                if !self.pps.is_empty() && pps_id(&self.pps) != pps_id(nal) {
                    return None;
                }
                &mut self.pps
            }
            _ => return None,
        };
        if nal.len() > MAX_PARAMETER_SET || slot == nal {
            return Some(false);
        }
        // A share would keep the whole packet alive for as long as the stream lives.
        *slot = Bytes::copy_from_slice(nal);
        Some(true)
    }

    /// The avcC record (ISO/IEC 14496-15 section 5.3.3.1); empty while a parameter set is missing.
    pub fn configuration_record(&self) -> Bytes {
        let Some(&[profile, compatibility, level]) = self.sps.get(1..4) else {
            return Bytes::new();
        };
        let (Ok(sps_size), Ok(pps_size)) = (u16::try_from(self.sps.len()), u16::try_from(self.pps.len())) else {
            return Bytes::new();
        };
        if pps_size == 0 {
            return Bytes::new();
        }
        let mut record = BytesMut::with_capacity(16usize.saturating_add(self.sps.len()).saturating_add(self.pps.len()));
        record.put_slice(&[1, profile, compatibility, level, 0xff, 0xe1]);
        record.put_u16(sps_size);
        record.put_slice(&self.sps);
        record.put_u8(1);
        record.put_u16(pps_size);
        record.put_slice(&self.pps);
        if has_chroma_format(profile) {
            let sps = self.sps().ok();
            let (chroma, luma_depth, chroma_depth) = sps.map_or((1, 0, 0), |sps| {
                (sps.chroma_format, sps.luma_depth_minus8, sps.chroma_depth_minus8)
            });
            record.put_slice(&[0xfc | chroma, 0xf8 | luma_depth, 0xf8 | chroma_depth, 0]);
        }
        record.freeze()
    }

    /// The first parameter set of each kind in an avcC record, and the size of its NAL unit lengths.
    pub fn from_configuration_record(record: &[u8]) -> Result<(Parameters, u8), Error> {
        let mut cursor = Cursor::new(record);
        if cursor.u8()? != 1 {
            return Err(Error::Invalid("avcC version"));
        }
        cursor.skip(3)?;
        let length_size = (cursor.u8()? & 3).saturating_add(1);
        let mut parameters = Parameters::default();
        for (mask, slot) in [(0x1f, &mut parameters.sps), (0xff, &mut parameters.pps)] {
            let count = cursor.u8()? & mask;
            for _ in 0..count {
                let size = cursor.u16()?.into();
                let set = cursor.take(size)?;
                if set.len() > MAX_PARAMETER_SET {
                    return Err(Error::TooLarge("parameter set"));
                }
                if slot.is_empty() {
                    *slot = Bytes::copy_from_slice(set);
                }
            }
        }
        Ok((parameters, length_size))
    }

    /// The sequence parameter set, parsed.
    pub fn sps(&self) -> Result<Sps, Error> {
        Sps::parse(&self.sps)
    }

    /// Pixels shown in a row; `None` while unknown.
    pub fn width(&self) -> Option<u32> {
        self.sps().ok().map(|sps| sps.width)
    }

    /// Pixels shown in a column; `None` while unknown.
    pub fn height(&self) -> Option<u32> {
        self.sps().ok().map(|sps| sps.height)
    }

    /// The profile as the API names it ("High", whatever the constraint flags say); `None` while unknown.
    pub fn profile(&self) -> Option<String> {
        Some(match self.sps.get(1)? {
            66 => "Baseline".to_owned(),
            77 => "Main".to_owned(),
            88 => "Extended".to_owned(),
            100 => "High".to_owned(),
            110 => "High 10".to_owned(),
            122 => "High 4:2:2".to_owned(),
            244 => "High 4:4:4 Predictive".to_owned(),
            other => other.to_string(),
        })
    }

    /// The level as the API names it ("4.1"); `None` while unknown.
    pub fn level(&self) -> Option<String> {
        let &[profile, constraints, level] = self.sps.get(1..4)? else {
            return None;
        };
        // Level 1b is told by level 1.1 and constraint_set3_flag in the older profiles (section A.3.1).
        if level == 9 || level == 11 && constraints & 0x10 != 0 && matches!(profile, 66 | 77 | 88) {
            return Some("1b".to_owned());
        }
        Some(if level % 10 == 0 {
            (level / 10).to_string()
        } else {
            format!("{}.{}", level / 10, level % 10)
        })
    }

    /// How many pictures may precede another in decoding order and follow it in output order, when the stream says so;
    /// and its frame rate, when it says so.
    pub fn reordering(&self) -> (Option<u8>, Option<f64>) {
        self.sps()
            .map_or((None, None), |sps| (sps.reorder_depth, sps.frame_rate))
    }
}

/// What a server needs of a sequence parameter set (section 7.3.2.1.1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// `profile_idc`.
    pub profile: u8,
    /// `level_idc`.
    pub level: u8,
    /// Pixels shown in a row, cropping applied.
    pub width: u32,
    /// Pixels shown in a column, cropping applied.
    pub height: u32,
    /// Pictures per second, when the stream says so and the rate is fixed or not.
    pub frame_rate: Option<f64>,
    /// How many pictures may precede another in decoding order and follow it in output order; `None` when the stream
    /// does not say.
    pub reorder_depth: Option<u8>,
    /// `chroma_format_idc`.
    pub chroma_format: u8,
    /// `bit_depth_luma_minus8`.
    pub luma_depth_minus8: u8,
    /// `bit_depth_chroma_minus8`.
    pub chroma_depth_minus8: u8,
}

impl Sps {
    /// Parses a NAL unit, header included.
    pub fn parse(nal: &[u8]) -> Result<Sps, Error> {
        if nal.len() > MAX_PARAMETER_SET {
            return Err(Error::TooLarge("parameter set"));
        }
        let (header, rest) = nal.split_first().ok_or(Error::Truncated)?;
        if NalType(header & 0x1f) != NalType::SPS {
            return Err(Error::Invalid("NAL unit type"));
        }
        let mut bits = Bits::of_nal(rest);
        let profile = bits.small(8)?;
        let constraints = bits.small(8)?;
        let level = bits.small(8)?;
        let _id = bits.ue()?;
        let (mut chroma_format, mut luma_depth_minus8, mut chroma_depth_minus8) = (1, 0, 0);
        let mut separate_planes = false;
        if has_chroma_format(profile) {
            chroma_format = at_most(bits.ue()?, 3)?;
            separate_planes = chroma_format == 3 && bits.flag()?;
            luma_depth_minus8 = at_most(bits.ue()?, 6)?;
            chroma_depth_minus8 = at_most(bits.ue()?, 6)?;
            let _bypass = bits.flag()?;
            if bits.flag()? {
                let lists = if chroma_format == 3 { 12 } else { 8 };
                for list in 0..lists {
                    if bits.flag()? {
                        skip_scaling_list(&mut bits, if list < 6 { 16 } else { 64 })?;
                    }
                }
            }
        }
        let _frame_num_bits = bits.ue()?;
        let order_count_type = bits.ue()?;
        match order_count_type {
            0 => {
                bits.ue()?;
            }
            1 => {
                bits.flag()?;
                bits.se()?;
                bits.se()?;
                let cycle = bits.ue()?;
                if cycle > MAX_CYCLE {
                    return Err(Error::Invalid("picture order count cycle"));
                }
                for _ in 0..cycle {
                    bits.se()?;
                }
            }
            2 => {}
            _ => return Err(Error::Invalid("picture order count type")),
        }
        let _reference_frames = bits.ue()?;
        let _gaps = bits.flag()?;
        let columns = macroblocks(bits.ue()?)?;
        let rows = macroblocks(bits.ue()?)?;
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.flag()?;
        }
        let _direct_8x8 = bits.flag()?;
        let field_factor = if frames_only { 1u32 } else { 2 };
        let (mut width, mut height) = (columns, rows.saturating_mul(field_factor));
        if bits.flag()? {
            // Table 6-1: the chroma formats have their own steps (section 7.4.2.1.1, CropUnitX and CropUnitY).
            let (step_x, step_y) = match chroma_format {
                _ if separate_planes => (1u32, 1u32),
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
            width = crop(width, left, right, step_x)?;
            height = crop(height, top, bottom, step_y.saturating_mul(field_factor))?;
        }
        if width == 0 || height == 0 || width > MAX_DIMENSION || height > MAX_DIMENSION {
            return Err(Error::Invalid("picture size"));
        }
        // Order count type 2 excludes reordering (section 7.4.2.1.1), and so do Baseline and the intra profiles.
        let intra_only = constraints & 0x10 != 0 && matches!(profile, 44 | 100 | 110 | 122 | 244);
        let never = order_count_type == 2 || profile == 66 || intra_only;
        // A VUI that ends early (some cameras cut it) costs what it would have said, nothing more.
        let vui = if bits.flag()? {
            Vui::read(&mut bits).unwrap_or_default()
        } else {
            Vui::default()
        };
        let reorder_depth = if never { Some(0) } else { vui.reorder_depth };
        Ok(Sps {
            profile,
            level,
            width,
            height,
            frame_rate: vui.frame_rate,
            reorder_depth,
            chroma_format,
            luma_depth_minus8,
            chroma_depth_minus8,
        })
    }
}

/// What is read of the video usability information (section E.1.1).
#[derive(Clone, Copy, Default)]
struct Vui {
    frame_rate: Option<f64>,
    reorder_depth: Option<u8>,
}

impl Vui {
    fn read(bits: &mut Bits<'_>) -> Result<Vui, Error> {
        let mut vui = Vui::default();
        if bits.flag()? && bits.small(8)? == 255 {
            bits.skip(32)?;
        }
        if bits.flag()? {
            bits.flag()?;
        }
        if bits.flag()? {
            bits.skip(4)?;
            if bits.flag()? {
                bits.skip(24)?;
            }
        }
        if bits.flag()? {
            bits.ue()?;
            bits.ue()?;
        }
        if bits.flag()? {
            let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
            let _fixed = bits.flag()?;
            // A tick is a field: two for a picture.
            if units > 0 && scale > 0 {
                vui.frame_rate = Some(f64::from(scale) / (2.0 * f64::from(units)));
            }
        }
        let nal_hrd = bits.flag()?;
        if nal_hrd {
            skip_hrd(bits)?;
        }
        let vcl_hrd = bits.flag()?;
        if vcl_hrd {
            skip_hrd(bits)?;
        }
        if nal_hrd || vcl_hrd {
            bits.flag()?;
        }
        let _pic_struct = bits.flag()?;
        if bits.flag()? {
            bits.flag()?;
            for _ in 0..4 {
                bits.ue()?;
            }
            vui.reorder_depth = Some(at_most(bits.ue()?, 16)?);
        }
        Ok(vui)
    }
}

fn skip_hrd(bits: &mut Bits<'_>) -> Result<(), Error> {
    let count: u8 = at_most(bits.ue()?, 31)?;
    bits.skip(8)?;
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    bits.skip(20)
}

fn skip_scaling_list(bits: &mut Bits<'_>, size: u32) -> Result<(), Error> {
    let (mut last, mut next) = (8i32, 8i32);
    for _ in 0..size {
        if next != 0 {
            next = last.wrapping_add(bits.se()?) & 0xff;
        }
        last = if next == 0 { last } else { next };
    }
    Ok(())
}

/// The profiles whose parameter sets tell the chroma format.
fn has_chroma_format(profile: u8) -> bool {
    matches!(
        profile,
        100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135
    )
}

fn macroblocks(minus1: u32) -> Result<u32, Error> {
    if minus1 >= MAX_DIMENSION / 16 {
        Err(Error::Invalid("picture size"))
    } else {
        Ok(minus1.saturating_add(1).saturating_mul(16))
    }
}

fn crop(size: u32, before: u32, after: u32, step: u32) -> Result<u32, Error> {
    let cut = before.checked_add(after).and_then(|sum| sum.checked_mul(step));
    cut.and_then(|cut| size.checked_sub(cut))
        .ok_or(Error::Invalid("cropping"))
}

fn at_most(value: u32, bound: u8) -> Result<u8, Error> {
    u8::try_from(value)
        .ok()
        .filter(|value| *value <= bound)
        .ok_or(Error::Invalid("parameter set"))
}

fn pps_id(nal: &[u8]) -> Option<u32> {
    Bits::of_nal(nal.get(1..)?).ue().ok()
}

#[cfg(test)]
#[path = "h264_tests.rs"]
mod tests;

//! ITU-T H.265: NAL units, parameter sets, the hvcC record.
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

use super::h264::MAX_DIMENSION;
use crate::Error;
use crate::nal::{self, MAX_PARAMETER_SET};
use crate::read::{Bits, Cursor};

/// Bytes of a NAL unit header.
pub const NAL_HEADER: usize = 2;
/// `num_short_term_ref_pic_sets` (section 7.4.3.2.1).
const MAX_REFERENCE_SETS: u32 = 64;
/// Pictures of a short-term reference picture set.
const MAX_REFERENCES: u32 = 16;
/// `num_long_term_ref_pics_sps`.
const MAX_LONG_TERM: u32 = 32;
const MAX_SUB_LAYERS: u8 = 7;

/// The type of a NAL unit (table 7-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NalType(pub u8);

impl NalType {
    /// Video parameter set.
    pub const VPS: NalType = NalType(32);
    /// Sequence parameter set.
    pub const SPS: NalType = NalType(33);
    /// Picture parameter set.
    pub const PPS: NalType = NalType(34);
    /// Access unit delimiter.
    pub const AUD: NalType = NalType(35);
    /// Supplemental enhancement information before the picture.
    pub const PREFIX_SEI: NalType = NalType(39);

    /// Of a NAL unit; 0 when it is empty.
    pub fn of(nal: &[u8]) -> NalType {
        NalType(nal.first().copied().unwrap_or_default() >> 1 & 0x3f)
    }

    /// Whether it is one of the types that carry picture data.
    pub fn is_slice(self) -> bool {
        self.0 < 32
    }

    /// Whether decoding may start here: IDR, CRA and BLA pictures.
    pub fn is_random_access(self) -> bool {
        (16..=23).contains(&self.0)
    }

    /// Whether pictures of the same temporal layer may refer to it.
    pub fn is_referenced(self) -> bool {
        self.0 >= 16 || self.0 % 2 == 1
    }
}

/// Whether decoding may start at an access unit.
pub fn is_key(payload: &[u8]) -> bool {
    nal::iter(payload).any(|nal| NalType::of(nal).is_random_access())
}

/// Whether a slice NAL unit is the first of its picture: `first_slice_segment_in_pic_flag`.
pub fn starts_picture(nal: &[u8]) -> bool {
    nal.get(NAL_HEADER).is_some_and(|byte| byte & 0x80 != 0)
}

/// The parameter sets in force, NAL units without start code or length; empty until known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parameters {
    /// Video parameter set.
    pub vps: Bytes,
    /// Sequence parameter set.
    pub sps: Bytes,
    /// Picture parameter set.
    pub pps: Bytes,
}

impl Parameters {
    /// Whether all three are known.
    pub fn is_complete(&self) -> bool {
        !self.vps.is_empty() && !self.sps.is_empty() && !self.pps.is_empty()
    }

    /// Takes over a parameter set that came in band. `None` when it is none, or one with another id than the set in
    /// force: that one belongs into the payload. Otherwise whether something changed.
    pub fn handle(&mut self, nal: &Bytes) -> Option<bool> {
        let slot = match NalType::of(nal) {
            NalType::VPS => &mut self.vps,
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

    /// The hvcC record (ISO/IEC 14496-15 section 8.3.3.1); empty while a parameter set is missing or cannot be read.
    pub fn configuration_record(&self) -> Bytes {
        let Ok(sps) = self.sps() else { return Bytes::new() };
        if !self.is_complete() {
            return Bytes::new();
        }
        let sets = [(32u8, &self.vps), (33, &self.sps), (34, &self.pps)];
        let mut record = BytesMut::with_capacity(
            sets.iter()
                .fold(40, |size: usize, (_, set)| size.saturating_add(set.len())),
        );
        record.put_u8(1);
        record.put_slice(&sps.profile_tier_level);
        // No minimal segmentation and no known parallelism, as nearly every writer says.
        record.put_slice(&[0xf0, 0, 0xfc, 0xfc | sps.chroma_format]);
        record.put_slice(&[0xf8 | sps.luma_depth_minus8, 0xf8 | sps.chroma_depth_minus8]);
        record.put_u16(0);
        let layers = sps.sub_layers.saturating_add(1);
        record.put_u8(layers << 3 | u8::from(sps.nested) << 2 | 3);
        record.put_u8(3);
        for (kind, set) in sets {
            let Ok(size) = u16::try_from(set.len()) else {
                return Bytes::new();
            };
            record.put_slice(&[0x80 | kind, 0, 1]);
            record.put_u16(size);
            record.put_slice(set);
        }
        record.freeze()
    }

    /// The first parameter set of each kind in an hvcC record, and the size of its NAL unit lengths.
    pub fn from_configuration_record(record: &[u8]) -> Result<(Parameters, u8), Error> {
        let mut cursor = Cursor::new(record);
        if cursor.u8()? != 1 {
            return Err(Error::Invalid("hvcC version"));
        }
        cursor.skip(20)?;
        let length_size = (cursor.u8()? & 3).saturating_add(1);
        let mut parameters = Parameters::default();
        for _ in 0..cursor.u8()? {
            let kind = NalType(cursor.u8()? & 0x3f);
            for _ in 0..cursor.u16()? {
                let size = cursor.u16()?.into();
                let set = cursor.take(size)?;
                let slot = match kind {
                    NalType::VPS => &mut parameters.vps,
                    NalType::SPS => &mut parameters.sps,
                    NalType::PPS => &mut parameters.pps,
                    _ => continue,
                };
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

    /// The profile as the API names it ("Main 10"); `None` while unknown.
    pub fn profile(&self) -> Option<String> {
        let [first, ..] = self.sps().ok()?.profile_tier_level;
        Some(match first & 0x1f {
            1 => "Main".to_owned(),
            2 => "Main 10".to_owned(),
            3 => "Main Still Picture".to_owned(),
            4 => "Range Extensions".to_owned(),
            5 => "High Throughput".to_owned(),
            9 => "Screen Content Coding Extensions".to_owned(),
            other => other.to_string(),
        })
    }

    /// The level as the API names it ("4.1"); `None` while unknown.
    pub fn level(&self) -> Option<String> {
        let [.., level] = self.sps().ok()?.profile_tier_level;
        // `general_level_idc` is thirty times the level.
        let (whole, tenth) = (level / 30, level % 30 / 3);
        Some(if tenth == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{tenth}")
        })
    }

    /// Whether the stream has more than one temporal layer; `true` while unknown.
    pub fn has_sub_layers(&self) -> bool {
        self.sps.get(NAL_HEADER).is_none_or(|byte| byte & 0x0e != 0)
    }

    /// How many pictures may precede another in decoding order and follow it in output order, when the stream says so;
    /// and its frame rate, when it says so.
    pub fn reordering(&self) -> (Option<u8>, Option<f64>) {
        self.sps()
            .map_or((None, None), |sps| (Some(sps.reorder_depth), sps.frame_rate))
    }
}

/// What a server needs of a sequence parameter set (section 7.3.2.2).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sps {
    /// The general part of `profile_tier_level()`: profile space, tier, profile, compatibility, constraints, level.
    pub profile_tier_level: [u8; 12],
    /// Pixels shown in a row, conformance window applied.
    pub width: u32,
    /// Pixels shown in a column, conformance window applied.
    pub height: u32,
    /// Pictures per second, when the stream says so.
    pub frame_rate: Option<f64>,
    /// `sps_max_num_reorder_pics` of the highest temporal layer.
    pub reorder_depth: u8,
    /// `sps_max_sub_layers_minus1`.
    pub sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`.
    pub nested: bool,
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
        if NalType::of(nal) != NalType::SPS {
            return Err(if nal.is_empty() {
                Error::Truncated
            } else {
                Error::Invalid("NAL unit type")
            });
        }
        let mut bits = Bits::of_nal(nal.get(NAL_HEADER..).ok_or(Error::Truncated)?);
        let _vps = bits.small(4)?;
        let sub_layers = at_most(bits.bits(3)?, MAX_SUB_LAYERS - 1)?;
        let nested = bits.flag()?;
        let mut profile_tier_level = [0; 12];
        for byte in &mut profile_tier_level {
            *byte = bits.small(8)?;
        }
        skip_sub_layer_levels(&mut bits, sub_layers)?;
        let _id = bits.ue()?;
        let chroma_format = at_most(bits.ue()?, 3)?;
        let separate_planes = chroma_format == 3 && bits.flag()?;
        let (mut width, mut height) = (bits.ue()?, bits.ue()?);
        if bits.flag()? {
            let (step_x, step_y) = match chroma_format {
                _ if separate_planes => (1, 1),
                1 => (2, 2),
                2 => (2, 1),
                _ => (1, 1),
            };
            let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
            width = crop(width, left, right, step_x)?;
            height = crop(height, top, bottom, step_y)?;
        }
        if width == 0 || height == 0 || width > MAX_DIMENSION || height > MAX_DIMENSION {
            return Err(Error::Invalid("picture size"));
        }
        let luma_depth_minus8 = at_most(bits.ue()?, 7)?;
        let chroma_depth_minus8 = at_most(bits.ue()?, 7)?;
        let order_count_bits = u32::from(at_most(bits.ue()?, 12)?).saturating_add(4);
        let all_layers = bits.flag()?;
        let mut reorder_depth = 0;
        for _ in if all_layers { 0 } else { sub_layers }..=sub_layers {
            bits.ue()?;
            reorder_depth = at_most(bits.ue()?, 16)?;
            bits.ue()?;
        }
        // What follows only leads to the frame rate: a stream without it is as good.
        let frame_rate = read_frame_rate(&mut bits, order_count_bits).unwrap_or_default();
        Ok(Sps {
            profile_tier_level,
            width,
            height,
            frame_rate,
            reorder_depth,
            sub_layers,
            nested,
            chroma_format,
            luma_depth_minus8,
            chroma_depth_minus8,
        })
    }
}

/// The sub-layer part of `profile_tier_level()` (section 7.3.3).
fn skip_sub_layer_levels(bits: &mut Bits<'_>, sub_layers: u8) -> Result<(), Error> {
    let mut present = [(false, false); MAX_SUB_LAYERS as usize];
    for slot in present.iter_mut().take(sub_layers.into()) {
        *slot = (bits.flag()?, bits.flag()?);
    }
    if sub_layers > 0 {
        bits.skip(u32::from(8u8.saturating_sub(sub_layers)).saturating_mul(2))?;
    }
    for (profile, level) in present.iter().take(sub_layers.into()) {
        bits.skip(if *profile { 88 } else { 0 })?;
        bits.skip(if *level { 8 } else { 0 })?;
    }
    Ok(())
}

/// From the coding block sizes to `vui_timing_info`.
fn read_frame_rate(bits: &mut Bits<'_>, order_count_bits: u32) -> Result<Option<f64>, Error> {
    for _ in 0..6 {
        bits.ue()?;
    }
    if bits.flag()? && bits.flag()? {
        skip_scaling_lists(bits)?;
    }
    bits.skip(2)?;
    if bits.flag()? {
        bits.skip(8)?;
        bits.ue()?;
        bits.ue()?;
        bits.flag()?;
    }
    skip_reference_sets(bits)?;
    if bits.flag()? {
        let count = bits.ue()?;
        if count > MAX_LONG_TERM {
            return Err(Error::Invalid("long-term reference pictures"));
        }
        bits.skip(count.saturating_mul(order_count_bits.saturating_add(1)))?;
    }
    bits.skip(2)?;
    if !bits.flag()? {
        return Ok(None);
    }
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
    bits.skip(3)?;
    if bits.flag()? {
        for _ in 0..4 {
            bits.ue()?;
        }
    }
    if !bits.flag()? {
        return Ok(None);
    }
    let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
    Ok((units > 0 && scale > 0).then(|| f64::from(scale) / f64::from(units)))
}

/// `scaling_list_data()` (section 7.3.4).
fn skip_scaling_lists(bits: &mut Bits<'_>) -> Result<(), Error> {
    for size in 0..4u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?;
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..if size == 0 { 16 } else { 64 } {
                bits.se()?;
            }
        }
    }
    Ok(())
}

/// All `st_ref_pic_set()` of the parameter set (section 7.3.7).
fn skip_reference_sets(bits: &mut Bits<'_>) -> Result<(), Error> {
    let sets = bits.ue()?;
    if sets > MAX_REFERENCE_SETS {
        return Err(Error::Invalid("reference picture sets"));
    }
    let mut previous = 0u32;
    for set in 0..sets {
        if set > 0 && bits.flag()? {
            bits.flag()?;
            bits.ue()?;
            let mut kept = 0u32;
            for _ in 0..=previous {
                let used = bits.flag()?;
                if used || bits.flag()? {
                    kept = kept.saturating_add(1);
                }
            }
            previous = kept;
        } else {
            let (negative, positive) = (bits.ue()?, bits.ue()?);
            previous = negative.saturating_add(positive);
            if previous > MAX_REFERENCES {
                return Err(Error::Invalid("reference picture set"));
            }
            for _ in 0..previous {
                bits.ue()?;
                bits.flag()?;
            }
        }
    }
    Ok(())
}

fn crop(size: u32, before: u32, after: u32, step: u32) -> Result<u32, Error> {
    let cut = before.checked_add(after).and_then(|sum| sum.checked_mul(step));
    cut.and_then(|cut| size.checked_sub(cut))
        .ok_or(Error::Invalid("conformance window"))
}

fn at_most(value: u32, bound: u8) -> Result<u8, Error> {
    u8::try_from(value)
        .ok()
        .filter(|value| *value <= bound)
        .ok_or(Error::Invalid("parameter set"))
}

fn pps_id(nal: &[u8]) -> Option<u32> {
    Bits::of_nal(nal.get(NAL_HEADER..)?).ue().ok()
}

#[cfg(test)]
#[path = "h265_tests.rs"]
mod tests;

//! What a header needs to know and only the first frame of a track tells: the size of VP9 and M-JPEG pictures, how AC-3
//! is coded, the rate of MPEG audio.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use super::Body;
use crate::{
    Codec,
    codec::{ac3, jpeg, mp3, vp9},
};

/// A JPEG may have a marker segment of the largest size, a thumbnail, in front of what tells its size.
const JPEG_LEAD: usize = 80 << 10;
/// Headers of the others.
const LEAD: usize = 16;

/// What a frame told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum First {
    Vp9(vp9::Header),
    Mjpeg(u32, u32),
    Ac3(ac3::Header),
    Mp3(mp3::Header),
}

impl First {
    /// Whether the header of a file cannot be written without it.
    pub(super) fn is_needed(codec: &Codec) -> bool {
        matches!(
            codec,
            Codec::Vp9 | Codec::Mjpeg | Codec::Ac3 { .. } | Codec::Mp3 { sample_rate: 0, .. }
        )
    }

    /// Looks at a frame; none when this one does not tell it.
    pub(super) fn of(codec: &Codec, frame: &impl Body) -> Option<First> {
        let mut lead = vec![0; frame.size().min(if *codec == Codec::Mjpeg { JPEG_LEAD } else { LEAD })];
        frame.lead(&mut lead);
        match codec {
            Codec::Vp9 => vp9::header(&lead).ok().flatten().map(First::Vp9),
            Codec::Mjpeg => jpeg::dimensions(&lead).map(|(width, height)| First::Mjpeg(width, height)),
            Codec::Ac3 { .. } => ac3::Header::parse(&lead).ok().map(First::Ac3),
            Codec::Mp3 { .. } => mp3::Header::parse(&lead).ok().map(First::Mp3),
            _ => None,
        }
    }

    /// Pixels in a row and in a column.
    pub(super) fn dimensions(&self) -> Option<(u32, u32)> {
        match self {
            First::Vp9(header) => Some((header.width, header.height)),
            First::Mjpeg(width, height) => Some((*width, *height)),
            First::Ac3(_) | First::Mp3(_) => None,
        }
    }

    /// Sample rate and channels.
    pub(super) fn audio(&self) -> Option<(u32, u8)> {
        match self {
            First::Ac3(header) => Some((header.sample_rate, header.channels)),
            First::Mp3(header) => Some((header.sample_rate, header.channels)),
            First::Vp9(_) | First::Mjpeg(..) => None,
        }
    }
}

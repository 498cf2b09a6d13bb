//! Sound becomes packets: AAC-LC by FFmpeg's own encoder, Opus by libopus.

use bytes::Bytes;
use ffmpeg_next::{
    self as ff, ChannelLayout, Packet, Rational, codec, encoder,
    format::{Sample, sample::Type},
};
use wasmtx_codec::wire::{Encode, Target};

use super::{frame_of, raw, words};
use crate::worker::Sound;

/// Every encoder that is used.
pub(super) const NAMES: [&str; 2] = ["aac", "libopus"];
/// Bytes of an AudioSpecificConfig of AAC-LC. What FFmpeg writes behind says that there is no band replication, and some
/// players choke on it.
const LOW_COMPLEXITY_LEN: usize = 2;
/// Bits per second and channel where nothing is asked for, at rates that have room for them.
const AAC_BITRATE: u32 = 64_000;
const OPUS_BITRATE: u32 = 48_000;
/// Bits per sample where nothing is asked for; the encoder takes 6 at most.
const AAC_BITS: u32 = 4;
/// Bits per second and channel: less than the least that is of use, and the most that the encoders take.
const BITRATES: std::ops::RangeInclusive<u32> = 6_000..=256_000;

pub(crate) struct Encoder {
    encoder: encoder::audio::Encoder,
    layout: ChannelLayout,
    parameters: Bytes,
}

impl Encoder {
    /// # Errors
    /// There is no such encoder here, or it refuses the form.
    pub(crate) fn open(target: Target) -> Result<Encoder, String> {
        let channels = u32::from(target.channels);
        if !(1..=8).contains(&channels) {
            return Err(format!("{channels} channels"));
        }
        let (name, form, usual) = match target.codec {
            Encode::Aac => (
                "aac",
                Type::Planar,
                AAC_BITRATE.min(target.sample_rate.saturating_mul(AAC_BITS)),
            ),
            Encode::Opus => ("libopus", Type::Packed, OPUS_BITRATE),
        };
        let (least, most) = (BITRATES.start() * channels, BITRATES.end() * channels);
        let bitrate = match target.bitrate {
            0 => usual * channels,
            asked => asked.clamp(least, most),
        };
        let missing = || format!("FFmpeg here has no encoder {name}");
        let codec = encoder::find_by_name(name).ok_or_else(missing)?;
        let layout = layout(target);
        let rate = i32::try_from(target.sample_rate).map_err(|error| error.to_string())?;
        let mut encoder = codec::Context::new_with_codec(codec).encoder().audio().map_err(words)?;
        encoder.set_rate(rate);
        encoder.set_channel_layout(layout);
        encoder.set_format(Sample::F32(form));
        encoder.set_bit_rate(bitrate as usize);
        encoder.set_time_base(Rational(1, rate));
        let encoder = encoder.open_as(codec).map_err(words)?;
        let mut parameters = raw::parameters(&encoder);
        if target.codec == Encode::Aac {
            parameters.truncate(LOW_COMPLEXITY_LEN);
        }
        Ok(Encoder {
            encoder,
            layout,
            parameters: parameters.into(),
        })
    }

    /// The AudioSpecificConfig, or the OpusHead.
    pub(crate) fn parameters(&self) -> &Bytes {
        &self.parameters
    }

    /// Samples in each packet.
    pub(crate) fn frame(&self) -> u32 {
        self.encoder.frame_size().max(1)
    }

    /// Samples that the first packet begins before the first sample.
    pub(crate) fn priming(&self) -> u32 {
        raw::priming(&self.encoder)
    }

    /// Takes exactly [`frame`](Encoder::frame) samples, of which the first is number `number`.
    pub(crate) fn push(&mut self, sound: &Sound, number: i64) -> Result<(), String> {
        let mut frame = frame_of(sound, self.encoder.format(), self.layout, self.encoder.rate());
        frame.set_pts(Some(number));
        self.encoder.send_frame(&frame).map_err(words)
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) {
        // It only says that this was said already.
        let _ = self.encoder.send_eof();
    }

    /// The next packet that is ready.
    pub(crate) fn pull(&mut self) -> Result<Option<Bytes>, String> {
        let mut packet = Packet::empty();
        match self.encoder.receive_packet(&mut packet) {
            Ok(()) => Ok(packet.data().map(Bytes::copy_from_slice)),
            Err(ff::Error::Eof) => Ok(None),
            Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => Ok(None),
            Err(error) => Err(words(error)),
        }
    }
}

/// Which loudspeakers a number of channels is for, as the target's codec has it.
pub(super) fn layout(target: Target) -> ChannelLayout {
    match (target.channels, target.codec) {
        (0 | 1, _) => ChannelLayout::MONO,
        (2, _) => ChannelLayout::STEREO,
        (3, _) => ChannelLayout::SURROUND,
        (4, Encode::Aac) => ChannelLayout::_4POINT0,
        (4, Encode::Opus) => ChannelLayout::QUAD,
        (5, _) => ChannelLayout::_5POINT0_BACK,
        (6, _) => ChannelLayout::_5POINT1_BACK,
        (7, _) => ChannelLayout::_6POINT1,
        _ => ChannelLayout::_7POINT1,
    }
}

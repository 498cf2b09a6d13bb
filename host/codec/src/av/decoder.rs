//! Packets become sound: of any codec that a source may have, in the channels of the target.

use ffmpeg_next::{
    self as ff, ChannelLayout, Dictionary, Packet, codec, decoder, format::Sample, frame, software::resampling::Context,
};
use wasmtx_codec::wire::{Decode, Source, Target};

use super::{FORM, encoder, raw, sound_of, words};
use crate::worker::Sound;

/// Every decoder that is used.
pub(super) const NAMES: [&str; 11] = [
    "libopus",
    "opus",
    "pcm_mulaw",
    "pcm_alaw",
    "pcm_u8",
    "pcm_s16be",
    "pcm_s24be",
    "mp3float",
    "ac3",
    "flac",
    "aac",
];
/// Channels that a source may have.
const CHANNELS: u8 = 8;
/// Samples per second that a source may have.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=192_000;

/// A piece of sound as a decoder gives it, in the target's channels.
pub(crate) struct Decoded {
    /// Ticks of the source's clock; `None` when the decoder does not know.
    pub(crate) pts: Option<i64>,
    pub(crate) sample_rate: u32,
    pub(crate) sound: Sound,
}

pub(crate) struct Decoder {
    decoder: decoder::Audio,
    frame: frame::Audio,
    mixer: Option<Mixer>,
    channels: u8,
    layout: ChannelLayout,
}

impl Decoder {
    /// # Errors
    /// There is no such decoder here, or it refuses the parameters.
    pub(crate) fn open(source: &Source, target: Target) -> Result<Decoder, String> {
        if source.channels > CHANNELS {
            return Err(format!("{} channels, at most {CHANNELS} are decoded", source.channels));
        }
        if !RATES.contains(&source.sample_rate) {
            return Err(format!("{} Hz", source.sample_rate));
        }
        let names = names(source.codec);
        let codec = names.iter().find_map(|name| decoder::find_by_name(name));
        let codec = codec.ok_or_else(|| format!("FFmpeg here has no decoder {}", names.join(" or ")))?;
        let mut context = codec::Context::new_with_codec(codec);
        raw::prepare(
            &mut context,
            source.sample_rate,
            source.channels.max(1),
            &source.parameters,
        )?;
        let decoder = context.decoder().open_as(codec).and_then(|opened| opened.audio());
        Ok(Decoder {
            decoder: decoder.map_err(words)?,
            frame: frame::Audio::empty(),
            mixer: None,
            channels: target.channels,
            layout: encoder::layout(target),
        })
    }

    /// # Errors
    /// The decoder's words about the packet.
    pub(crate) fn push(&mut self, pts: i64, payload: &[u8]) -> Result<(), String> {
        // An empty one would mean the end.
        if payload.is_empty() {
            return Err("empty packet".to_owned());
        }
        let mut packet = Packet::copy(payload);
        packet.set_pts(Some(pts));
        self.decoder.send_packet(&packet).map_err(words)
    }

    /// The next piece that is ready.
    ///
    /// # Errors
    /// The decoder's words about the packet before.
    pub(crate) fn pull(&mut self) -> Result<Option<Decoded>, String> {
        match self.decoder.receive_frame(&mut self.frame) {
            Ok(()) => {}
            Err(ff::Error::Eof) => return Ok(None),
            Err(ff::Error::Other { errno }) if errno == ff::error::EAGAIN => return Ok(None),
            Err(error) => return Err(words(error)),
        }
        let frame = &mut self.frame;
        // Raw samples have a number of channels and no layout.
        if frame.channel_layout().is_empty() {
            frame.set_channel_layout(ChannelLayout::default(frame.channels().into()));
        }
        if !RATES.contains(&frame.rate()) {
            return Err(format!("{} Hz", frame.rate()));
        }
        if self.mixer.as_ref().is_none_or(|mixer| !mixer.takes(frame)) {
            self.mixer = Some(Mixer::new(frame, self.layout)?);
        }
        let Some(mixer) = &mut self.mixer else { return Ok(None) };
        Ok(Some(Decoded {
            pts: frame.pts(),
            sample_rate: frame.rate(),
            sound: mixer.mix(frame)?.spread(self.channels.into()),
        }))
    }

    /// Nothing more comes.
    pub(crate) fn finish(&mut self) {
        // It only says that this was said already.
        let _ = self.decoder.send_eof();
    }
}

/// Whatever form a decoder gives becomes ours, and its channels those of the target.
struct Mixer {
    context: Context,
    form: (Sample, ChannelLayout, u32),
    layout: ChannelLayout,
}

impl Mixer {
    fn new(frame: &frame::Audio, target: ChannelLayout) -> Result<Mixer, String> {
        let form = (frame.format(), frame.channel_layout(), frame.rate());
        // One channel is spread by us: FFmpeg makes it quieter then.
        let layout = if form.1.channels() == 1 {
            ChannelLayout::MONO
        } else {
            target
        };
        let mut options = Dictionary::new();
        // Several loud channels mixed into two stay within bounds.
        options.set("rematrix_maxval", "1.0");
        let (format, from, rate) = form;
        let context = Context::get_with(format, from, rate, FORM, layout, rate, options).map_err(words)?;
        Ok(Mixer { context, form, layout })
    }

    fn takes(&self, frame: &frame::Audio) -> bool {
        self.form == (frame.format(), frame.channel_layout(), frame.rate())
    }

    fn mix(&mut self, frame: &frame::Audio) -> Result<Sound, String> {
        let mut mixed = frame::Audio::new(FORM, frame.samples(), self.layout);
        self.context.run(frame, &mut mixed).map_err(words)?;
        Ok(sound_of(&mixed, usize::try_from(self.layout.channels()).unwrap_or(0)))
    }
}

/// What can decode it, the best first. libopus gives as many samples as a packet says, FFmpeg's own keeps some back.
fn names(codec: Decode) -> &'static [&'static str] {
    match codec {
        Decode::Opus => &["libopus", "opus"],
        Decode::MuLaw => &["pcm_mulaw"],
        Decode::ALaw => &["pcm_alaw"],
        Decode::Pcm8 => &["pcm_u8"],
        Decode::Pcm16 => &["pcm_s16be"],
        Decode::Pcm24 => &["pcm_s24be"],
        Decode::Mp3 => &["mp3float"],
        Decode::Ac3 => &["ac3"],
        Decode::Flac => &["flac"],
        Decode::Aac => &["aac"],
    }
}

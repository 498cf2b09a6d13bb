//! Sound of one rate becomes sound of another.

use ffmpeg_next::{ChannelLayout, frame, software::resampling::Context};
use wasmtx_codec::wire::Target;

use super::{FORM, encoder, frame_of, sound_of, words};
use crate::worker::Sound;

/// Samples beyond what went in, by the rates: what the filter held back.
const ROOM: usize = 64;
/// Samples that are resampled at once.
const CHUNK: usize = 8_192;

pub(crate) struct Resampler {
    context: Context,
    layout: ChannelLayout,
    from: u32,
    to: u32,
    channels: u8,
}

impl Resampler {
    pub(crate) fn open(from: u32, target: Target) -> Result<Resampler, String> {
        let (layout, to) = (encoder::layout(target), target.sample_rate);
        Ok(Resampler {
            context: Context::get(FORM, layout, from, FORM, layout, to).map_err(words)?,
            layout,
            from,
            to,
            channels: target.channels,
        })
    }

    pub(crate) fn push(&mut self, sound: &Sound) -> Result<Sound, String> {
        let mut sound = sound.clone();
        let mut resampled = Sound::new(self.channels.into());
        while sound.len() > 0 {
            let piece = frame_of(&sound.take(CHUNK), FORM, self.layout, self.from);
            let mut out = self.room(piece.samples());
            self.context.run(&piece, &mut out).map_err(words)?;
            resampled.append(&sound_of(&out, self.channels.into()));
        }
        Ok(resampled)
    }

    /// What the filter still holds back.
    pub(crate) fn finish(mut self) -> Result<Sound, String> {
        let mut out = self.room(ROOM);
        self.context.flush(&mut out).map_err(words)?;
        Ok(sound_of(&out, self.channels.into()))
    }

    /// Room for what becomes of so many samples. Into an empty frame as many come out as went in, and the rest piles up.
    fn room(&self, samples: usize) -> frame::Audio {
        let most = (samples as u64 * u64::from(self.to)).div_ceil(u64::from(self.from));
        let most = usize::try_from(most).unwrap_or(usize::MAX).saturating_add(ROOM);
        frame::Audio::new(FORM, most, self.layout)
    }
}

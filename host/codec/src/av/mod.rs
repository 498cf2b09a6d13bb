//! FFmpeg, as far as it is used: packets become sound, sound becomes packets, a keyframe
//! becomes a picture. Nothing else in this program knows it.

mod decoder;
mod encoder;
mod picture;
mod raw;
mod resampler;

use ffmpeg_next::{
    self as ff, ChannelLayout,
    format::{Sample, sample::Type},
    frame,
};

pub(crate) use self::{
    decoder::{Decoded, Decoder},
    encoder::Encoder,
    picture::{Failure, jpeg},
    resampler::Resampler,
};
use crate::worker::Sound;

/// The one form of samples between two pieces of FFmpeg.
const FORM: Sample = Sample::F32(Type::Planar);

/// Gets the libraries ready. What they say goes to the standard error, which the server reads.
pub(crate) fn start() -> Result<(), String> {
    ff::init().map_err(|error| format!("FFmpeg's libraries do not start: {error}"))?;
    ff::log::set_level(ff::log::Level::Error);
    Ok(())
}

/// What is linked, in a few lines.
pub(crate) fn about() -> String {
    let version = ff::codec::version();
    let (major, minor, micro) = (version >> 16, version >> 8 & 0xff, version & 0xff);
    let names = |codecs: &[&str], there: fn(&str) -> bool| {
        let word = |name: &&str| format!("{name}{}", if there(name) { "" } else { " (missing)" });
        codecs.iter().map(word).collect::<Vec<_>>().join(", ")
    };
    let decoders = [&decoder::NAMES[..], &picture::NAMES].concat();
    let encoders = [&encoder::NAMES[..], &[picture::ENCODER]].concat();
    format!(
        "libavcodec {major}.{minor}.{micro}, {}\ndecodes {}\nencodes {}",
        ff::codec::license(),
        names(&decoders, |name| ff::decoder::find_by_name(name).is_some()),
        names(&encoders, |name| ff::encoder::find_by_name(name).is_some()),
    )
}

/// A frame that holds a copy of `sound`, in a form that FFmpeg takes.
fn frame_of(sound: &Sound, form: Sample, layout: ChannelLayout, rate: u32) -> frame::Audio {
    let mut frame = frame::Audio::new(form, sound.len(), layout);
    frame.set_rate(rate);
    let channels = sound.channels();
    if form.is_planar() {
        for (channel, row) in channels.iter().enumerate() {
            frame.plane_mut::<f32>(channel)[..row.len()].copy_from_slice(row);
        }
    } else {
        let interleaved = frame.plane_mut::<f32>(0);
        for (channel, row) in channels.iter().enumerate() {
            let places = interleaved.iter_mut().skip(channel).step_by(channels.len());
            for (place, sample) in places.zip(row) {
                *place = *sample;
            }
        }
    }
    frame
}

/// The samples of a frame of the form that we use ourselves.
fn sound_of(frame: &frame::Audio, channels: usize) -> Sound {
    let row = |channel| frame.plane::<f32>(channel)[..frame.samples()].to_vec();
    // A frame without samples may have no room for them either.
    if frame.samples() == 0 {
        return Sound::new(channels);
    }
    Sound::decoded((0..channels).map(row).collect())
}

fn words(error: ff::Error) -> String {
    error.to_string()
}

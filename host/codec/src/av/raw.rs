//! The fields of FFmpeg's contexts for which ffmpeg-next has no methods. The only `unsafe` of this program.
#![allow(unsafe_code, reason = "fields of C structures")]

use ffmpeg_next::{codec, encoder, ffi, software::scaling};

/// Tells a decoder what no container told it: rate, channels and the codec's configuration. To be called before it is opened.
pub(super) fn prepare(context: &mut codec::Context, rate: u32, channels: u8, extradata: &[u8]) -> Result<(), String> {
    let rate = i32::try_from(rate).map_err(|error| error.to_string())?;
    // SAFETY: the context is ours alone while it is borrowed, and null only when it could not be had.
    let Some(context) = (unsafe { context.as_mut_ptr().as_mut() }) else {
        return Err("no memory".to_owned());
    };
    context.sample_rate = rate;
    // SAFETY: the layout is a field of a living context; one of so few channels has nothing of its own to free.
    unsafe { ffi::av_channel_layout_default(&mut context.ch_layout, channels.into()) };
    set_extradata(context, extradata)
}

/// The same for a decoder of pictures, which refuses those of more than `pixels` before it takes memory for them.
pub(super) fn prepare_video(context: &mut codec::Context, pixels: u32, extradata: &[u8]) -> Result<(), String> {
    // SAFETY: the context is ours alone while it is borrowed, and null only when it could not be had.
    let Some(context) = (unsafe { context.as_mut_ptr().as_mut() }) else {
        return Err("no memory".to_owned());
    };
    context.max_pixels = pixels.into();
    // The process has no threads to give.
    context.thread_count = 1;
    set_extradata(context, extradata)
}

/// A copy of a codec's configuration, which the context frees.
fn set_extradata(context: &mut ffi::AVCodecContext, extradata: &[u8]) -> Result<(), String> {
    let len = i32::try_from(extradata.len()).map_err(|error| error.to_string())?;
    if extradata.is_empty() {
        return Ok(());
    }
    // SAFETY: so many bytes and the padding are allocated where FFmpeg will free them, and so many are copied there.
    unsafe {
        let memory: *mut u8 = ffi::av_mallocz(extradata.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize).cast();
        if memory.is_null() {
            return Err("no memory".to_owned());
        }
        memory.copy_from_nonoverlapping(extradata.as_ptr(), extradata.len());
        context.extradata = memory;
    }
    context.extradata_size = len;
    Ok(())
}

/// The configuration that an open encoder wrote.
pub(super) fn parameters(encoder: &encoder::audio::Encoder) -> Vec<u8> {
    // SAFETY: an open encoder's context lives as long as the encoder.
    let context = unsafe { &*encoder.as_ptr() };
    match usize::try_from(context.extradata_size) {
        // SAFETY: that many bytes are there, and belong to the context.
        Ok(len) if !context.extradata.is_null() => {
            unsafe { std::slice::from_raw_parts(context.extradata, len) }.to_vec()
        }
        _ => Vec::new(),
    }
}

/// Samples that an open encoder puts before the first.
pub(super) fn priming(encoder: &encoder::audio::Encoder) -> u32 {
    // SAFETY: an open encoder's context lives as long as the encoder.
    let context = unsafe { &*encoder.as_ptr() };
    u32::try_from(context.initial_padding).unwrap_or(0)
}

/// How the colours of a picture were mixed.
#[derive(Clone, Copy)]
pub(super) enum Matrix {
    Bt601,
    Bt709,
    Bt2020,
}

/// Tells a scaler that makes pictures for JPEG which colours it is given: their matrix, and whether all values are used.
pub(super) fn set_colours(scaler: &mut scaling::Context, from: Matrix, full: bool) {
    // swscale.h: 1.0 in 16.16 fixed point.
    const AS_IT_IS: i32 = 1 << 16;
    let constant = match from {
        Matrix::Bt601 => ffi::SWS_CS_ITU601,
        Matrix::Bt709 => ffi::SWS_CS_ITU709,
        Matrix::Bt2020 => ffi::SWS_CS_BT2020,
    };
    // SAFETY: the tables are constants of the library, the scaler is alive and ours alone. What it cannot do it refuses, and
    // scales as before.
    unsafe {
        let (from, to) = (
            ffi::sws_getCoefficients(constant),
            ffi::sws_getCoefficients(ffi::SWS_CS_ITU601),
        );
        ffi::sws_setColorspaceDetails(scaler.as_mut_ptr(), from, full.into(), to, 1, 0, AS_IT_IS, AS_IT_IS);
    }
}

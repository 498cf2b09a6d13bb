//! The fields of FFmpeg's contexts for which ffmpeg-next has no methods. The only `unsafe` of this program.
#![allow(unsafe_code, reason = "fields of C structures")]

use ffmpeg_next::{codec, encoder, ffi};

/// Tells a decoder what no container told it: rate, channels and the codec's configuration. To be called before it is opened.
pub(super) fn prepare(context: &mut codec::Context, rate: u32, channels: u8, extradata: &[u8]) -> Result<(), String> {
    let rate = i32::try_from(rate).map_err(|error| error.to_string())?;
    let len = i32::try_from(extradata.len()).map_err(|error| error.to_string())?;
    // SAFETY: the context is ours alone while it is borrowed, and null only when it could not be had.
    let Some(context) = (unsafe { context.as_mut_ptr().as_mut() }) else {
        return Err("no memory".to_owned());
    };
    context.sample_rate = rate;
    // SAFETY: the layout is a field of a living context; one of so few channels has nothing of its own to free.
    unsafe { ffi::av_channel_layout_default(&mut context.ch_layout, channels.into()) };
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

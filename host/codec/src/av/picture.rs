//! One coded keyframe becomes one JPEG. Nothing is kept between two: a keyframe needs no other picture, and what a hostile
//! one did to a decoder is gone with it.

use bytes::Bytes;
use ffmpeg_next::{
    Packet, Rational, codec, color, decoder, encoder,
    format::Pixel,
    frame,
    software::scaling::{self, Flags},
};
use wasmtx_codec::wire::{PICTURE_LEN, Video};

use super::{raw, words};

/// Every decoder that is used.
pub(super) const NAMES: [&str; 6] = ["h264", "hevc", "libdav1d", "vp8", "vp9", "mjpeg"];
/// What makes JPEG.
pub(super) const ENCODER: &str = "mjpeg";
/// Pixels of a picture, more than 8K has. What is larger is refused before memory is taken for it.
const PIXELS: u32 = 8_192 * 4_608;
/// Pixels in a row or a column of what comes out, at least and at most. FFmpeg's scaler wants a few, and JPEG has no more.
const SIDE: std::ops::RangeInclusive<u32> = 16..=16_384;
/// How coarse JPEG is, from 1 (hardly) to 31: what a page shows without anybody seeing it.
const COARSENESS: i32 = 4;
/// A pixel that is wider or higher than so many times its other side is a mistake.
const WIDEST_PIXEL: f64 = 4.0;

/// Why there is no picture.
pub(crate) enum Failure {
    /// There is no such decoder here, or it refuses the parameters.
    Codec(String),
    /// What the decoder says of it.
    Picture(String),
    /// It is decoded and cannot become JPEG.
    Encoder(String),
}

/// Decodes a keyframe, scales it to `width` pixels in a row if it has more, and makes a JPEG of it. Pixels become square.
pub(crate) fn jpeg(codec: Video, parameters: &[u8], payload: &[u8], width: u32) -> Result<Bytes, Failure> {
    let picture = decode(codec, parameters, payload)?;
    let side = |side: u32| SIDE.contains(&side).then_some(side);
    let (wide, high) = shape(&picture, width);
    let (Some(wide), Some(high)) = (side(wide), side(high)) else {
        return Err(Failure::Picture(format!("a picture of {wide}x{high} pixels")));
    };
    let scaled = scale(&picture, wide, high).map_err(Failure::Encoder)?;
    // The two are never needed together with what the encoder takes.
    drop(picture);
    encode(&scaled).map_err(Failure::Encoder)
}

fn decode(codec: Video, parameters: &[u8], payload: &[u8]) -> Result<frame::Video, Failure> {
    let name = match codec {
        Video::H264 => NAMES[0],
        Video::H265 => NAMES[1],
        Video::Av1 => NAMES[2],
        Video::Vp8 => NAMES[3],
        Video::Vp9 => NAMES[4],
        Video::Jpeg => NAMES[5],
    };
    let codec = decoder::find_by_name(name);
    let codec = codec.ok_or_else(|| Failure::Codec(format!("FFmpeg here has no decoder {name}")))?;
    let mut context = codec::Context::new_with_codec(codec);
    raw::prepare_video(&mut context, PIXELS, parameters).map_err(Failure::Codec)?;
    let opened = context.decoder().open_as(codec).and_then(|opened| opened.video());
    let mut decoder = opened.map_err(|error| Failure::Codec(words(error)))?;
    // An empty packet would mean the end.
    if payload.is_empty() {
        return Err(Failure::Picture("empty".to_owned()));
    }
    let of_picture = |error| Failure::Picture(words(error));
    decoder.send_packet(&Packet::copy(payload)).map_err(of_picture)?;
    // It is the last one, too: the decoder waits for no other to put in front of it.
    decoder.send_eof().map_err(of_picture)?;
    let mut picture = frame::Video::empty();
    decoder.receive_frame(&mut picture).map_err(of_picture)?;
    if u64::from(picture.width()) * u64::from(picture.height()) > u64::from(PIXELS) {
        return Err(Failure::Picture("too many pixels".to_owned()));
    }
    Ok(picture)
}

/// The width and height in square pixels, no wider than asked.
fn shape(picture: &frame::Video, asked: u32) -> (u32, u32) {
    let Rational(wide, high) = picture.aspect_ratio();
    let stretch = if wide > 0 && high > 0 {
        f64::from(wide) / f64::from(high)
    } else {
        1.0
    };
    let is_sane = (1.0 / WIDEST_PIXEL..=WIDEST_PIXEL).contains(&stretch);
    let width = f64::from(picture.width()) * if is_sane { stretch } else { 1.0 };
    let asked = if asked == 0 { width } else { f64::from(asked).min(width) };
    let height = f64::from(picture.height()) * asked / width.max(1.0);
    (asked.round() as u32, height.round() as u32)
}

/// In the form and the colours that JFIF has: BT.601, all values used.
fn scale(picture: &frame::Video, wide: u32, high: u32) -> Result<frame::Video, String> {
    let flags = if wide < picture.width() {
        Flags::AREA
    } else {
        Flags::BICUBIC
    };
    let (format, from) = (picture.format(), (picture.width(), picture.height()));
    let scaler = scaling::Context::get(format, from.0, from.1, Pixel::YUVJ420P, wide, high, flags);
    let mut scaler = scaler.map_err(words)?;
    raw::set_colours(
        &mut scaler,
        matrix(picture),
        picture.color_range() == color::Range::JPEG || is_full(format),
    );
    let mut scaled = frame::Video::empty();
    scaler.run(picture, &mut scaled).map_err(words)?;
    scaled.set_color_range(color::Range::JPEG);
    Ok(scaled)
}

/// How colours were mixed. Streams that do not say it mean what everybody takes them for.
fn matrix(picture: &frame::Video) -> raw::Matrix {
    const HIGH_DEFINITION: u32 = 720;
    match picture.color_space() {
        color::Space::BT709 => raw::Matrix::Bt709,
        color::Space::BT2020NCL | color::Space::BT2020CL => raw::Matrix::Bt2020,
        color::Space::Unspecified if picture.height() >= HIGH_DEFINITION => raw::Matrix::Bt709,
        _ => raw::Matrix::Bt601,
    }
}

fn is_full(format: Pixel) -> bool {
    use Pixel::{YUVJ411P, YUVJ420P, YUVJ422P, YUVJ440P, YUVJ444P};
    matches!(format, YUVJ411P | YUVJ420P | YUVJ422P | YUVJ440P | YUVJ444P)
}

fn encode(picture: &frame::Video) -> Result<Bytes, String> {
    let codec = encoder::find_by_name(ENCODER);
    let codec = codec.ok_or_else(|| format!("FFmpeg here has no encoder {ENCODER}"))?;
    let mut encoder = codec::Context::new_with_codec(codec).encoder().video().map_err(words)?;
    encoder.set_width(picture.width());
    encoder.set_height(picture.height());
    encoder.set_format(picture.format());
    encoder.set_color_range(color::Range::JPEG);
    encoder.set_time_base(Rational(1, 1));
    encoder.set_qmin(COARSENESS);
    encoder.set_qmax(COARSENESS);
    let mut encoder = encoder.open_as(codec).map_err(words)?;
    encoder.send_frame(picture).map_err(words)?;
    encoder.send_eof().map_err(words)?;
    let mut packet = Packet::empty();
    encoder.receive_packet(&mut packet).map_err(words)?;
    match packet.data() {
        Some(jpeg) if jpeg.len() <= PICTURE_LEN => Ok(Bytes::copy_from_slice(jpeg)),
        _ => Err("the picture is too large as JPEG".to_owned()),
    }
}

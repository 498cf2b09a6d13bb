//! VP8 (RFC 7741) and VP9 (RFC 9628, non-flexible mode with one layer): the frame cut into pieces, each behind a payload
//! descriptor without the optional fields but a picture id for VP9, which receivers want.

use wasmtx_media::Error;
use wasmtx_media::codec::vp9;

use super::Writer;

/// Start of the first partition.
const VP8_START: u8 = 0x10;
const VP9_PICTURE_ID: u8 = 0x80;
const VP9_PREDICTED: u8 = 0x40;
const VP9_START: u8 = 0x08;
const VP9_END: u8 = 0x04;

pub(super) fn vp8(writer: &mut Writer, payload: &[u8]) -> Result<(), Error> {
    for (index, part) in payload.chunks(writer.room - 1).enumerate() {
        writer.packet(&[&[if index == 0 { VP8_START } else { 0 }], part])?;
    }
    writer.mark_last();
    Ok(())
}

/// `picture` counts the frames of the track; fifteen bits of it are sent.
pub(super) fn vp9(writer: &mut Writer, payload: &[u8], picture: u16) -> Result<(), Error> {
    let predicted = if vp9::is_key(payload) { 0 } else { VP9_PREDICTED };
    let [high, low] = (picture | 0x8000).to_be_bytes();
    let parts = payload.chunks(writer.room - 3);
    let last = parts.len().saturating_sub(1);
    for (index, part) in parts.enumerate() {
        let start = if index == 0 { VP9_START } else { 0 };
        let end = if index == last { VP9_END } else { 0 };
        writer.packet(&[&[VP9_PICTURE_ID | predicted | start | end, high, low], part])?;
    }
    writer.mark_last();
    Ok(())
}

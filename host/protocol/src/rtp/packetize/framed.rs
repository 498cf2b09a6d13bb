//! MPEG audio (RFC 2250 section 3.5) and AC-3 (RFC 4184 section 4): one frame in a packet, or in fragments.

use wasmtx_media::Error;

use super::Writer;

const WHOLE: u8 = 0;
/// The first fragment holds the first 5/8 of the frame, which can be decoded alone.
const FIRST_DECODABLE: u8 = 1;
const FIRST: u8 = 2;
const FURTHER: u8 = 3;

/// A frame of MPEG audio, each fragment behind its offset.
pub(super) fn mpeg(writer: &mut Writer, payload: &[u8]) -> Result<(), Error> {
    let room = writer.room - 4;
    for (index, part) in payload.chunks(room).enumerate() {
        let offset = u16::try_from(index * room).map_err(|_| Error::TooLarge("MPEG audio frame"))?;
        let [high, low] = offset.to_be_bytes();
        writer.packet(&[&[0, 0, high, low], part])?;
    }
    Ok(())
}

/// A frame of AC-3, each fragment behind its kind and their number.
pub(super) fn ac3(writer: &mut Writer, payload: &[u8]) -> Result<(), Error> {
    let room = writer.room - 2;
    let count = u8::try_from(payload.len().div_ceil(room)).map_err(|_| Error::TooLarge("AC-3 frame"))?;
    for (index, part) in payload.chunks(room).enumerate() {
        let kind = match index {
            _ if count == 1 => WHOLE,
            0 if part.len() * 8 >= payload.len() * 5 => FIRST_DECODABLE,
            0 => FIRST,
            _ => FURTHER,
        };
        writer.packet(&[&[kind, count], part])?;
    }
    writer.mark_last();
    Ok(())
}

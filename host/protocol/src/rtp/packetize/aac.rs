//! AAC (RFC 3640, mode AAC-hbr): one access unit per packet, in fragments when it does not fit.

use wasmtx_media::Error;

use super::Writer;

/// AU-headers-length and one AU header: 13 bits of size, 3 of index.
const HEADERS: usize = 4;
/// What 13 bits can say.
const MAX_SIZE: usize = 0x1fff;

pub(super) fn frame(writer: &mut Writer, payload: &[u8]) -> Result<(), Error> {
    if payload.is_empty() || payload.len() > MAX_SIZE {
        return Err(Error::TooLarge("AAC frame"));
    }
    let [high, low] = ((payload.len() as u16) << 3).to_be_bytes();
    for part in payload.chunks(writer.room - HEADERS) {
        // Every fragment carries the size of the whole (section 3.2.3.2).
        writer.packet(&[&[0, 16, high, low], part])?;
    }
    writer.mark_last();
    Ok(())
}

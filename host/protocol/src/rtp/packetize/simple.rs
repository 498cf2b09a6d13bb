//! Formats in which a packet is a frame: Opus, G711, and everything unknown. LPCM may be cut between samples.

use wasmtx_media::{Error, Frame};

use super::Writer;

/// One packet with the payload as it is, even when it is larger than the MTU: it came in one packet.
pub(super) fn whole(writer: &mut Writer, payload: &[u8], marker: bool) -> Result<(), Error> {
    writer.packet(&[payload])?;
    if marker {
        writer.mark_last();
    }
    Ok(())
}

/// Samples of a fixed size, cut between them where they do not fit. Each packet has the time of its first sample.
pub(super) fn samples(writer: &mut Writer, frame: &Frame, bytes: u8, channels: u8) -> Result<(), Error> {
    let size = usize::from(bytes.max(1)) * usize::from(channels.max(1));
    let start = writer.header.timestamp;
    let room = (writer.room / size).max(1) * size;
    for (index, part) in frame.payload.chunks(room).enumerate() {
        writer.header.timestamp = start.wrapping_add((index * (room / size)) as u32);
        writer.packet(&[part])?;
    }
    Ok(())
}

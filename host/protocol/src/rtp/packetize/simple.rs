//! Formats in which a packet is a frame: Opus, G711, and everything unknown. LPCM may be cut between samples.

use wasmtx_media::Error;

use super::Writer;

/// One packet with the payload as it is, even when it is larger than the MTU: it came in one packet.
pub(super) fn whole(writer: &mut Writer, payload: &[u8], marker: bool) -> Result<(), Error> {
    writer.packet(&[payload])?;
    if marker {
        writer.mark_last();
    }
    Ok(())
}

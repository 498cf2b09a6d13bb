//! AV1 ("RTP Payload Format For AV1", version 1.0): every element has a length (W is 0), OBUs have none, and are cut where
//! the packet ends.

use wasmtx_media::Error;
use wasmtx_media::codec::av1::{self, Obu, ObuType, Parameters};

use super::Writer;

const CONTINUES: u8 = 0x80;
const GOES_ON: u8 = 0x40;
const NEW_SEQUENCE: u8 = 0x08;
/// Bytes of a length in a packet at most: three groups of seven bits are beyond 65,535.
const MAX_LENGTH: usize = 3;

/// A temporal unit; before a keyframe that lacks it, the sequence header.
pub(super) fn unit(writer: &mut Writer, payload: &[u8], parameters: Option<&Parameters>) -> Result<(), Error> {
    av1::check(payload)?;
    let mut obus: Vec<Obu<'_>> = av1::iter(payload).collect();
    let has_header = obus.iter().any(|obu| obu.kind == ObuType::SEQUENCE_HEADER);
    if let Some(parameters) = parameters.filter(|_| !has_header)
        && let Ok((header, _)) = Obu::parse(&parameters.sequence_header)
    {
        obus.insert(0, header);
    }
    if obus.is_empty() {
        return Err(Error::Truncated);
    }
    let mut packet = Vec::with_capacity(writer.room);
    let first = if parameters.is_some() { NEW_SEQUENCE } else { 0 };
    packet.push(first);
    for obu in &obus {
        let mut parts = [obu.header(), obu.payload];
        loop {
            let left = parts[0].len() + parts[1].len();
            let room = writer.room.saturating_sub(packet.len() + MAX_LENGTH);
            if room == 0 {
                writer.packet(&[&packet])?;
                packet.clear();
                packet.push(0);
                continue;
            }
            let size = left.min(room);
            av1::put_leb128(&mut packet, size);
            let mut missing = size;
            for part in &mut parts {
                let (now, later) = part.split_at(part.len().min(missing));
                packet.extend_from_slice(now);
                missing -= now.len();
                *part = later;
            }
            if size == left {
                break;
            }
            packet[0] |= GOES_ON;
            writer.packet(&[&packet])?;
            packet.clear();
            packet.push(CONTINUES);
        }
    }
    writer.packet(&[&packet])?;
    writer.mark_last();
    Ok(())
}

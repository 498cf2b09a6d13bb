//! Formats in which a packet is a frame: Opus (RFC 7587), G711 and LPCM (RFC 3551, RFC 3190), and everything unknown.

use wasmtx_media::codec::opus;
use wasmtx_media::{Codec, Error, Flags};

use super::{Output, Unit};
use crate::rtp::packet::Packet;

/// Needs no memory of packets before.
#[derive(Debug)]
pub(super) struct Depacketizer {
    shape: Shape,
}

#[derive(Debug)]
enum Shape {
    Opus,
    /// Bytes of one sample of all channels.
    Samples(u32),
    Opaque,
}

impl Depacketizer {
    pub(super) fn new(codec: &Codec) -> Depacketizer {
        let shape = match codec {
            Codec::Opus { .. } => Shape::Opus,
            Codec::G711 { channels, .. } => Shape::Samples(u32::from(*channels).max(1)),
            Codec::Lpcm {
                bit_depth, channels, ..
            } => Shape::Samples(u32::from(*bit_depth / 8).saturating_mul((*channels).into()).max(1)),
            _ => Shape::Opaque,
        };
        Depacketizer { shape }
    }

    pub(super) fn handle(&mut self, packet: &Packet, out: &mut Output<'_>) -> Result<(), Error> {
        let mut flags = Flags::NONE;
        let payload = &packet.payload;
        let length = u32::try_from(payload.len()).map_err(|_| Error::TooLarge("packet"))?;
        let duration = match self.shape {
            Shape::Opus => opus::duration(payload)?,
            Shape::Samples(size) if length.is_multiple_of(size) => length.checked_div(size).unwrap_or_default(),
            Shape::Samples(_) => return Err(Error::Invalid("length of samples")),
            Shape::Opaque => 0,
        };
        match self.shape {
            Shape::Opaque => flags = flags.set(Flags::MARKER, packet.header.marker),
            // Every packet of these codecs can be decoded on its own.
            _ => flags = flags.with(Flags::KEY),
        }
        let timestamp = packet.header.timestamp;
        out.push(Unit {
            payload: payload.clone(),
            timestamp,
            duration,
            flags,
            codec: None,
        });
        Ok(())
    }
}

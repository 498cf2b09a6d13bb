//! AV1 ("RTP Payload Format For AV1", version 1.0, section 4): an aggregation header, then OBUs or pieces of them.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |Z|Y| W |N|-|-|-|
//! ```
//!
//! Z: the first element continues an OBU. Y: the last element goes on in the next packet. W: how many elements there are,
//! of which the last has no length; 0 when all have one. N: a coded video sequence starts.

use bytes::{Bytes, BytesMut};
use wasmtx_media::codec::av1::{self, MAX_OBUS, Obu, ObuType, Parameters};
use wasmtx_media::nal::MAX_ACCESS_UNIT;
use wasmtx_media::read::Cursor;
use wasmtx_media::{Codec, Error, Flags};

use super::{Output, Unit};
use crate::rtp::packet::Packet;

#[derive(Debug)]
pub(super) struct Depacketizer {
    parameters: Parameters,
    /// The OBUs that are whole, with their sizes.
    unit: BytesMut,
    count: usize,
    /// The OBU that goes on in the next packet; not empty when one does.
    fragment: BytesMut,
    timestamp: Option<u32>,
    damaged: bool,
    changed: bool,
}

impl Depacketizer {
    pub(super) fn new(parameters: Parameters) -> Depacketizer {
        Depacketizer {
            parameters,
            unit: BytesMut::new(),
            count: 0,
            fragment: BytesMut::new(),
            timestamp: None,
            damaged: false,
            changed: false,
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.timestamp.is_some()
    }

    pub(super) fn handle(&mut self, packet: &Packet, lost: bool, out: &mut Output<'_>) -> Result<(), Error> {
        let timestamp = Some(packet.header.timestamp);
        if self.timestamp != timestamp {
            // The end of the one before came without a marker, or got lost.
            self.damaged |= lost && self.timestamp.is_some();
            self.finish(out);
            self.timestamp = timestamp;
            // Only the start of a sequence is certainly the start of a temporal unit.
            self.damaged = lost && packet.payload.first().is_none_or(|header| header & 0x08 == 0);
        } else {
            self.damaged |= lost;
        }
        let result = if self.damaged {
            Ok(())
        } else {
            self.handle_elements(&packet.payload)
        };
        if result.is_err() {
            self.damaged = true;
        }
        if packet.header.marker {
            self.finish(out);
        }
        result
    }

    fn handle_elements(&mut self, payload: &Bytes) -> Result<(), Error> {
        let mut cursor = Cursor::new(payload);
        let header = cursor.u8()?;
        let (mut continues, open) = (header & 0x80 != 0, header & 0x40 != 0);
        let count = usize::from(header >> 4 & 0x03);
        if continues == self.fragment.is_empty() {
            return Err(Error::Invalid("AV1 fragment"));
        }
        let mut number = 0usize;
        while !cursor.is_empty() {
            number = number.saturating_add(1);
            let length = match count {
                0 => av1::leb128(&mut cursor)?,
                _ if number < count => av1::leb128(&mut cursor)?,
                _ => cursor.remaining(),
            };
            let element = cursor.take(length)?;
            let goes_on = open && cursor.is_empty();
            if std::mem::take(&mut continues) || goes_on {
                if self
                    .unit
                    .len()
                    .saturating_add(self.fragment.len())
                    .saturating_add(element.len())
                    > MAX_ACCESS_UNIT
                {
                    return Err(Error::TooLarge("temporal unit"));
                }
                self.fragment.extend_from_slice(element);
                if !goes_on {
                    let obu = self.fragment.split().freeze();
                    self.handle_obu(&obu)?;
                }
            } else if !element.is_empty() {
                self.handle_obu(element)?;
            }
            if number > MAX_OBUS {
                return Err(Error::TooLarge("OBUs of a temporal unit"));
            }
        }
        Ok(())
    }

    fn handle_obu(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let (obu, _) = Obu::parse(bytes)?;
        match obu.kind {
            // Section 5 of the payload format has them removed; a receiver ignores them.
            ObuType::TEMPORAL_DELIMITER | ObuType::TILE_LIST => return Ok(()),
            ObuType::SEQUENCE_HEADER => self.changed |= self.parameters.handle(&obu),
            _ => {}
        }
        self.count = self.count.saturating_add(1);
        if self.count > MAX_OBUS || self.unit.len().saturating_add(bytes.len()) > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge("temporal unit"));
        }
        obu.put_sized(&mut self.unit);
        Ok(())
    }

    fn finish(&mut self, out: &mut Output<'_>) {
        let Some(timestamp) = self.timestamp.take() else { return };
        let unfinished = !self.fragment.is_empty();
        self.fragment.clear();
        self.count = 0;
        let payload = self.unit.split().freeze();
        if std::mem::take(&mut self.damaged) || unfinished {
            return out.drop_frame();
        }
        if payload.is_empty() {
            return;
        }
        let flags = Flags::NONE.set(Flags::KEY, av1::is_key(&payload));
        let codec = std::mem::take(&mut self.changed).then(|| Codec::Av1(self.parameters.clone()));
        out.push(Unit {
            payload,
            timestamp,
            duration: 0,
            flags,
            codec,
        });
    }
}

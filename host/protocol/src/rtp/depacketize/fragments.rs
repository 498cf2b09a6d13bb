//! What VP8, VP9 and JPEG share: the payloads of consecutive packets with one timestamp make a frame, which ends with
//! the marker bit and counts only when nothing of it can be missing.

use bytes::{Bytes, BytesMut};
use wasmtx_media::Error;
use wasmtx_media::nal::MAX_ACCESS_UNIT;

use super::Output;
use crate::rtp::packet::Packet;

/// The frame now being put together.
#[derive(Debug, Default)]
pub(super) struct Fragments {
    buffer: BytesMut,
    timestamp: Option<u32>,
    damaged: bool,
}

impl Fragments {
    /// Comes before the payload of each packet. `first` says that this packet is certainly the first of its frame.
    pub(super) fn handle_packet(&mut self, packet: &Packet, lost: bool, first: bool, out: &mut Output<'_>) {
        let timestamp = Some(packet.header.timestamp);
        if self.timestamp != timestamp {
            if self.timestamp.is_some() {
                // The end of the frame before is missing.
                self.clear();
                out.drop_frame();
            }
            self.timestamp = timestamp;
            self.damaged = !first;
        } else if lost || first && !self.buffer.is_empty() {
            self.damaged = true;
        }
    }

    /// Appends to the frame.
    pub(super) fn extend(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.damaged {
            return Ok(());
        }
        if self.buffer.len().saturating_add(bytes.len()) > MAX_ACCESS_UNIT {
            return Err(Error::TooLarge("frame"));
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The frame lacks something.
    pub(super) fn damage(&mut self) {
        self.damaged = true;
        self.buffer.clear();
    }

    /// Ends the frame: its bytes and its timestamp; `None`, and counted, when something is missing.
    pub(super) fn finish(&mut self, out: &mut Output<'_>) -> Option<(Bytes, u32)> {
        self.finish_with(out, |_| {})
    }

    /// As [`Fragments::finish`], with a last change to a frame that is whole.
    pub(super) fn finish_with(
        &mut self,
        out: &mut Output<'_>,
        last: impl FnOnce(&mut BytesMut),
    ) -> Option<(Bytes, u32)> {
        let timestamp = self.timestamp?;
        if self.damaged || self.buffer.is_empty() {
            self.clear();
            out.drop_frame();
            return None;
        }
        last(&mut self.buffer);
        let payload = self.buffer.split().freeze();
        self.clear();
        Some((payload, timestamp))
    }

    /// Whether the frame lacks something.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }

    pub(super) fn is_pending(&self) -> bool {
        self.timestamp.is_some()
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.timestamp = None;
        self.damaged = false;
    }
}

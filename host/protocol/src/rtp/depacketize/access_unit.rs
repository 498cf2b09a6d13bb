//! What H264 and H265 share: NAL units gather into an access unit, which ends with the marker bit or with the next
//! timestamp and counts only when nothing of it can be missing.

use wasmtx_media::nal::Builder;
use wasmtx_media::{Codec, Error, Flags};

use super::{Output, Unit};
use crate::rtp::packet::Packet;

/// The access unit now being put together.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    builder: Builder,
    timestamp: Option<u32>,
    /// Something of it is missing or wrong.
    damaged: bool,
    /// It holds picture data.
    has_slice: bool,
    key: bool,
    /// Another picture refers to it.
    referenced: bool,
    /// Parameters that came with it, to be told with it.
    codec: Option<Codec>,
}

/// What a NAL unit means for its access unit.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Role {
    pub(super) slice: bool,
    pub(super) key: bool,
    pub(super) referenced: bool,
}

impl Assembly {
    /// Comes before the NAL units of each packet. `clean` says that this packet is certainly the first of its access
    /// unit, whatever was lost before it.
    pub(super) fn handle_packet(&mut self, packet: &Packet, lost: bool, clean: bool, out: &mut Output<'_>) {
        let timestamp = Some(packet.header.timestamp);
        if self.timestamp != timestamp {
            // The end of the one before came without a marker, or got lost.
            self.damaged |= lost && self.timestamp.is_some();
            self.finish(out);
            self.timestamp = timestamp;
            self.damaged = lost && !clean;
        } else {
            self.damaged |= lost;
        }
    }

    /// Appends a whole NAL unit.
    pub(super) fn push(&mut self, nal: &[u8], role: Role) -> Result<(), Error> {
        self.abandon_fragment();
        self.note(role);
        if self.damaged {
            return Ok(());
        }
        self.builder.push(nal)
    }

    /// Starts a NAL unit that comes in fragments, with its header.
    pub(super) fn begin(&mut self, header: &[u8]) -> Result<(), Error> {
        self.abandon_fragment();
        if self.damaged {
            return Ok(());
        }
        self.builder.begin()?;
        self.builder.extend(header)
    }

    /// Appends a fragment to the NAL unit begun last.
    pub(super) fn extend(&mut self, fragment: &[u8]) -> Result<(), Error> {
        if self.damaged {
            return Ok(());
        }
        if !self.builder.is_open() {
            return Err(Error::Invalid("fragment without a start"));
        }
        self.builder.extend(fragment)
    }

    /// Ends the NAL unit begun last and gives it to look at; empty when it was damaged.
    pub(super) fn end(&mut self) -> &[u8] {
        self.builder.finish()
    }

    /// Takes the NAL unit ended last back out; its size is `length`.
    pub(super) fn remove_last(&mut self, length: usize) {
        if length > 0 {
            self.builder.remove_last(length);
        }
    }

    pub(super) fn note(&mut self, role: Role) {
        self.has_slice |= role.slice;
        self.key |= role.key;
        self.referenced |= role.referenced;
    }

    /// Parameters changed with this access unit.
    pub(super) fn change(&mut self, codec: Codec) {
        self.codec = Some(codec);
    }

    /// The access unit lacks something.
    pub(super) fn damage(&mut self) {
        self.damaged = true;
        self.builder.clear();
    }

    /// Comes after the NAL units of a packet with the marker bit.
    pub(super) fn handle_marker(&mut self, out: &mut Output<'_>) {
        // Some cameras mark the packets of parameter sets, too: go on until there is a picture.
        if self.has_slice || self.damaged {
            self.finish(out);
        }
    }

    pub(super) fn is_pending(&self) -> bool {
        self.timestamp.is_some()
    }

    fn finish(&mut self, out: &mut Output<'_>) {
        let Some(timestamp) = self.timestamp.take() else { return };
        self.abandon_fragment();
        let payload = self.builder.take();
        let (damaged, has_slice) = (std::mem::take(&mut self.damaged), std::mem::take(&mut self.has_slice));
        let (key, referenced) = (std::mem::take(&mut self.key), std::mem::take(&mut self.referenced));
        if damaged {
            return out.drop_frame();
        }
        if !has_slice || payload.is_empty() {
            return;
        }
        let flags = Flags::NONE.set(Flags::KEY, key).set(Flags::DISPOSABLE, !referenced);
        out.push(Unit {
            payload,
            timestamp,
            duration: 0,
            flags,
            codec: self.codec.take(),
        });
    }

    /// A fragmented NAL unit that never ended damages its access unit.
    fn abandon_fragment(&mut self) {
        if self.builder.is_open() {
            self.damage();
        }
    }
}

//! The writing half: messages that need nothing of what was sent before them.

use bytes::Bytes;
use rml_rtmp::chunk_io::ChunkSerializer;
use rml_rtmp::messages::MessagePayload;
use rml_rtmp::time::RtmpTimestamp;

use super::DEFAULT_CHUNK_SIZE;
use crate::rtmp::Error;
use crate::rtmp::message::{Kind, UserControl};

/// Cuts messages into chunks.
///
/// Every message begins with a header of format 0, with its absolute time: whoever reads may begin at any message, and
/// what one writer wrote may be mixed with what another wrote, as long as both use one chunk size. So the bytes of a
/// frame are made once and sent to everyone who plays it.
pub struct Writer {
    inner: ChunkSerializer,
    chunk_size: u32,
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new(DEFAULT_CHUNK_SIZE)
    }
}

impl Writer {
    /// A writer for peers that know about this chunk size already; [`DEFAULT_CHUNK_SIZE`] needs no telling. Sizes are
    /// kept within what any reader takes.
    pub fn new(chunk_size: u32) -> Writer {
        let mut writer = Writer {
            inner: ChunkSerializer::new(),
            chunk_size: DEFAULT_CHUNK_SIZE,
        };
        if chunk_size != DEFAULT_CHUNK_SIZE {
            writer.resize(chunk_size);
        }
        writer
    }

    /// Cuts at this size from now on, and gives the message that tells the peer so.
    pub fn resize(&mut self, chunk_size: u32) -> Bytes {
        let chunk_size = chunk_size.clamp(1, super::MAX_CHUNK_SIZE);
        // The size is within what the serialiser takes, the one thing it could refuse here.
        let packet = self.inner.set_max_chunk_size(chunk_size, RtmpTimestamp::new(0));
        self.chunk_size = chunk_size;
        packet.map(|packet| packet.bytes.into()).unwrap_or_default()
    }

    /// The chunks of one message. A message without a payload has none. Fails above 16 MiB.
    pub fn write(&mut self, kind: Kind, timestamp: u32, stream: u32, payload: Bytes) -> Result<Bytes, Error> {
        let message = MessagePayload {
            timestamp: RtmpTimestamp::new(timestamp),
            type_id: kind.id(),
            message_stream_id: stream,
            data: payload,
        };
        // "May be dropped" keeps the next message from referring to this one. The messages about chunk sizes are not
        // written so, hence the force; in a message of several chunks it would repeat the header in each.
        let single = u32::try_from(message.data.len()).is_ok_and(|length| length <= self.chunk_size);
        match self.inner.serialize(&message, single, true) {
            Ok(packet) => Ok(packet.bytes.into()),
            Err(_) => Err(Error::MessageTooLarge),
        }
    }

    /// A protocol control message that is one number.
    pub(crate) fn control(&mut self, kind: Kind, number: u32) -> Bytes {
        let payload = Bytes::copy_from_slice(&number.to_be_bytes());
        self.write(kind, 0, 0, payload).unwrap_or_default()
    }

    /// A user control message.
    pub(crate) fn user_control(&mut self, control: UserControl) -> Bytes {
        self.write(Kind::UserControl, 0, 0, control.to_bytes())
            .unwrap_or_default()
    }
}

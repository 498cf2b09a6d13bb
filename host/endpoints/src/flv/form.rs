//! A publication as FLV tags, made once for all its players of a kind.

use bytes::{Bytes, BytesMut};
use wasmtx_hub::{Entry, Form};
use wasmtx_protocol::{
    flv::{self, Tag, file},
    websocket,
};

use crate::tcp::{Broadcast, Crews, Follower};

/// Spells frames as FLV tags, for players that chose the same tracks.
pub(super) struct FlvForm {
    muxer: flv::Muxer,
    /// Whether what belongs to a frame is a message of a WebSocket.
    web_socket: bool,
    tags: Vec<Tag>,
    crews: Crews<Follower<FlvForm>>,
}

impl FlvForm {
    pub(super) fn new(choice: &flv::Choice, web_socket: bool) -> FlvForm {
        FlvForm {
            muxer: flv::Muxer::new(&choice.tracks),
            web_socket,
            tags: Vec::new(),
            crews: Crews::default(),
        }
    }

    /// Names the lane of this form among those of a publication.
    pub(super) fn variant(choice: &flv::Choice, web_socket: bool) -> u64 {
        choice.variant().rotate_left(1) ^ u64::from(web_socket)
    }
}

/// The bytes of tags, one after the other; none for none.
fn spell(tags: &[Tag], web_socket: bool) -> Bytes {
    let mut bytes = BytesMut::new();
    tags.iter().for_each(|tag| file::put(tag, &mut bytes));
    if web_socket && !bytes.is_empty() {
        message(&bytes)
    } else {
        bytes.freeze()
    }
}

/// A binary message of a WebSocket.
pub(super) fn message(payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(websocket::MAX_HEADER + payload.len());
    websocket::begin_binary(payload.len(), &mut message);
    message.extend_from_slice(payload);
    message.freeze()
}

impl Form for FlvForm {
    type Wire = Bytes;

    fn make(&mut self, entry: &Entry) -> Bytes {
        self.tags.clear();
        self.muxer.tags(&entry.frame, &entry.tracks[entry.slot], &mut self.tags);
        spell(&self.tags, self.web_socket)
    }
}

impl Broadcast for FlvForm {
    fn opening(&mut self, entry: &Entry) -> Bytes {
        let timestamp = flv::timestamp(entry.frame.dts, entry.tracks[entry.slot].clock_rate);
        spell(&self.muxer.opening(&entry.tracks, timestamp), self.web_socket)
    }

    fn crews(&mut self) -> &mut Crews<Follower<FlvForm>> {
        &mut self.crews
    }
}

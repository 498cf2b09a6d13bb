//! A publication as RTMP, made once for all its players of one kind.

use bytes::{Bytes, BytesMut};
use wasmtx_hub::{Entry, Form};
use wasmtx_media::Track;
use wasmtx_protocol::{
    flv::{self, Muxer, Tag},
    rtmp::{
        Kind,
        chunk::{CHUNK_SIZE, MEDIA_STREAM, Writer},
    },
};

use crate::tcp::{Broadcast, Crews, Follower};

/// Spells frames as the chunks of RTMP messages. No header leans on the one before, so a player may join at any frame.
pub(super) struct RtmpForm {
    muxer: Muxer,
    writer: Writer,
    /// Memory for the tags of one frame.
    tags: Vec<Tag>,
    /// Who writes these chunks to players over TCP.
    crews: Crews<Follower<RtmpForm>>,
}

impl RtmpForm {
    /// For players that are given these tracks.
    pub(super) fn new(tracks: &[Track]) -> RtmpForm {
        RtmpForm {
            muxer: Muxer::new(tracks),
            writer: Writer::new(CHUNK_SIZE),
            tags: Vec::new(),
            crews: Crews::default(),
        }
    }

    fn chunks(&mut self, tags: impl IntoIterator<Item = Tag>) -> Bytes {
        let write = |tag: Tag| {
            let kind = match tag.kind {
                flv::Kind::Audio => Kind::Audio,
                flv::Kind::Video => Kind::Video,
                flv::Kind::Script => Kind::Data,
            };
            // Fails above 16 MiB only: such a frame is left out.
            self.writer.write(kind, tag.timestamp, MEDIA_STREAM, tag.payload).ok()
        };
        let mut messages: Vec<Bytes> = tags.into_iter().filter_map(write).collect();
        match messages.len() {
            0 | 1 => messages.pop().unwrap_or_default(),
            _ => messages
                .iter()
                .fold(BytesMut::new(), |mut all, message| {
                    all.extend_from_slice(message);
                    all
                })
                .freeze(),
        }
    }
}

impl Form for RtmpForm {
    type Wire = Bytes;

    fn make(&mut self, entry: &Entry) -> Bytes {
        let mut tags = std::mem::take(&mut self.tags);
        self.muxer.tags(&entry.frame, &entry.tracks[entry.slot], &mut tags);
        let chunks = self.chunks(tags.drain(..));
        self.tags = tags;
        chunks
    }
}

impl Broadcast for RtmpForm {
    fn opening(&mut self, entry: &Entry) -> Bytes {
        let clock_rate = entry.tracks[entry.slot].clock_rate;
        let timestamp = flv::timestamp(entry.frame.dts, clock_rate);
        let tags = self.muxer.opening(&entry.tracks, timestamp);
        self.chunks(tags)
    }

    fn crews(&mut self) -> &mut Crews<Follower<RtmpForm>> {
        &mut self.crews
    }
}

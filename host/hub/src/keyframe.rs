//! The newest picture of a publication that needs no other.

use std::sync::Arc;

use wasmtx_media::Kind;

use crate::{Entry, Publication};

impl Publication {
    /// The newest keyframe of its first video track that can be begun with; `None` where there is no such track, or none of
    /// its keyframes has come or is there any more. Costs no reader.
    pub fn newest_keyframe(&self) -> Option<Arc<Entry>> {
        let ring = self.ring().read();
        let entry = ring.get(ring.newest_start()?)?;
        (entry.tracks.get(entry.slot)?.kind == Kind::Video).then(|| entry.clone())
    }
}

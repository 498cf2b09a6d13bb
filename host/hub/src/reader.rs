//! A reader: a cursor on the ring, a place in the path's list.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wasmtx_media::TrackId;

use crate::{
    CloseReason, Entry, Publication, Wanted,
    path::{Path, ReaderId, ReaderStart},
    ring::Cursor,
};

/// A reader of one publication. Dropping it leaves the path.
#[derive(Debug)]
pub struct Reader {
    path: Arc<Path>,
    /// None for one that is not among the path's readers.
    id: Option<ReaderId>,
    publication: Arc<Publication>,
    cursor: Cursor,
    position: Arc<AtomicU64>,
    news: watch::Receiver<u64>,
    wanted: Option<Wanted>,
    end: Option<CloseReason>,
}

/// Where a reader begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Start {
    /// There.
    At(ReaderStart),
    /// So far back, see [`Ring::join_back`](crate::ring::Ring::join_back).
    Back(Duration),
}

/// Where a reader stands. Readers of one publication that stand at the same place get the same frames next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing(Cursor);

/// What a drain brought beside the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// Everything that was there; wait for more.
    Empty,
    /// The bounds of the call were reached; there is more.
    More,
    /// The publication is over and its last frame was taken.
    Ended(CloseReason),
}

impl Reader {
    pub(crate) fn new(
        path: Arc<Path>,
        id: Option<ReaderId>,
        publication: Arc<Publication>,
        now: Instant,
        start: Start,
    ) -> Reader {
        let news = publication.news();
        let (cursor, position) = publication.join(now, start);
        Reader {
            path,
            id,
            publication,
            cursor,
            position,
            news,
            wanted: None,
            end: None,
        }
    }

    /// Leaves the path for this reason. A reader that is only dropped left because the publication ended, or of its own
    /// accord.
    pub fn close(mut self, reason: CloseReason) {
        self.end = Some(reason);
    }

    /// Says which tracks this reader makes use of, in place of what it said before. Every reader is given the frames of all
    /// tracks; a track that is only offered has frames while some reader takes it.
    pub fn take(&mut self, tracks: &[TrackId]) {
        self.wanted = Some(self.publication.want(tracks));
    }

    /// What is being read.
    pub fn publication(&self) -> &Arc<Publication> {
        &self.publication
    }

    /// Where it is being read.
    pub fn path(&self) -> &Arc<Path> {
        &self.path
    }

    /// Waits until something was published, or the publication ended, since the last [`Reader::drain`] began.
    /// Cancel safe.
    pub async fn wait(&mut self) {
        // The publication outlives this reader, so the channel stays open.
        let _ = self.news.changed().await;
    }

    /// Takes what was published since the last call, up to `max_frames` frames and about `max_bytes` bytes. Frames
    /// missed because this reader was too slow are counted in `lost` and, if it is one of the path's readers, there. What one call took stays in the
    /// ring until the next, so that a [`Lane`](crate::Lane) can still make its wire form.
    pub fn drain(&mut self, max_frames: usize, max_bytes: usize, out: &mut Vec<Arc<Entry>>, lost: &mut u64) -> Drained {
        self.news.mark_unchanged();
        // The frames of the call before are done with, those of this one are not.
        self.position.store(self.cursor.next, Ordering::Relaxed);
        let (taken, ended) = {
            let ring = self.publication.ring().read();
            (ring.take(&mut self.cursor, max_frames, max_bytes, out), ring.ended())
        };
        *lost += taken.lost;
        self.count_lost(taken.lost);
        match (taken.at_head, ended) {
            (false, _) => Drained::More,
            (true, None) => Drained::Empty,
            (true, Some(reason)) => Drained::Ended(reason),
        }
    }

    /// Where this reader stands.
    pub fn standing(&self) -> Standing {
        Standing(self.cursor)
    }

    /// Goes where a [`Reader::drain`] brought another reader of the same publication that had stood where this one stands,
    /// without looking at the ring: what the other one got is this one's too, `lost` frames among it that it did not get.
    pub fn follow(&mut self, to: Standing, lost: u64) {
        self.news.mark_unchanged();
        self.position.store(self.cursor.next, Ordering::Relaxed);
        self.cursor = to.0;
        self.count_lost(lost);
    }

    fn count_lost(&self, frames: u64) {
        if frames > 0 && self.id.is_some() {
            self.path.counters.frames_discarded.fetch_add(frames, Ordering::Relaxed);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let Some(id) = self.id else { return };
        let reason = self.end.or_else(|| self.publication.ended());
        self.path.forget_reader(id, reason.unwrap_or(CloseReason::Ended));
    }
}

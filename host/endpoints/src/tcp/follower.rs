//! A reader that gets the same bytes as every other.
//!
//! Where a protocol spells a frame alike for all its readers (RTMP, FLV), those of a crew that stand at the same place
//! share one look at the ring and one run of bytes: what is left for each is to be written to, as by a relay.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use tokio::net::tcp::OwnedWriteHalf;
use wasmtx_hub::{CloseReason, Drained, Entry, Form, Lane, Reader, Standing};

use super::{Crews, Feed, Hand, Membership, Outgoing, Pace};

/// Taken from the ring at one wake, at most.
const FRAMES: usize = 256;
/// Taken from the ring at one wake, about.
const BYTES: usize = 1 << 20;
/// Frames are joined to one run of bytes for those who share them up to this size: beyond, copying costs more than a list.
const JOINED: usize = 64 << 10;

/// A form whose bytes are the same for each of its readers.
pub(crate) trait Broadcast: Form<Wire = Bytes> {
    /// What a reader must be told before `entry` when it did not get the one before.
    fn opening(&mut self, entry: &Entry) -> Bytes;

    /// Who writes this form to readers over TCP.
    fn crews(&mut self) -> &mut Crews<Follower<Self>>
    where
        Self: Sized;
}

/// Where what a reader gets is counted.
pub(crate) trait Tally: Send + Sync {
    /// So many bytes went out.
    fn count_sent(&self, bytes: u64);

    /// So many frames came too fast for this reader.
    fn count_discarded(&self, frames: u64);
}

/// A reader that plays.
pub(crate) struct Follower<F: Broadcast> {
    reader: Reader,
    lane: Arc<Lane<F>>,
    tally: Arc<dyn Tally>,
    pace: Pace,
    /// Whether it was told what comes before the next frame.
    opened: bool,
}

/// What the readers of a crew share.
#[derive(Default)]
pub(crate) struct Common {
    last: Option<Batch>,
    entries: Vec<Arc<Entry>>,
    wires: Vec<Arc<Bytes>>,
}

/// What one reader took. Whoever stands where it stood gets the same.
struct Batch {
    from: (Standing, bool),
    to: (Standing, bool),
    lost: u64,
    drained: Drained,
    bytes: usize,
    parts: Vec<Bytes>,
}

impl<F: Broadcast> Follower<F> {
    /// Reads on with `reader`, whose publication's lane `lane` is.
    pub(crate) fn new(reader: Reader, lane: Arc<Lane<F>>, tally: Arc<dyn Tally>) -> Follower<F> {
        Follower {
            pace: Pace::new(&reader),
            reader,
            lane,
            tally,
            opened: false,
        }
    }

    /// Lends the writing half of its socket to a crew, which writes `outgoing` first.
    pub(crate) fn join_crew(
        self,
        writer: OwnedWriteHalf,
        outgoing: Outgoing,
        write_timeout: Duration,
    ) -> Membership<Follower<F>> {
        let (lane, publication) = (self.lane.clone(), self.reader.publication().clone());
        let hand = Hand {
            writer,
            feed: self,
            outgoing,
            write_timeout,
        };
        lane.with(|form| form.crews().join(&publication, hand))
    }

    /// Waits until something may be taken, for a reader that no crew writes for. Cancel safe.
    pub(crate) async fn news(&mut self) {
        self.pace.news(&mut self.reader).await;
    }

    /// Whether there may be something to take now.
    pub(crate) fn is_due(&self) -> bool {
        self.pace.is_due()
    }

    /// [`Feed::fill`] for a reader that no crew writes for.
    pub(crate) fn fill_alone(&mut self, now: Instant, outgoing: &mut Outgoing) -> Option<CloseReason> {
        let ended = self.fill(now, outgoing, &mut Common::default());
        self.pace.hold_merge_window(now);
        ended
    }

    /// Looks at the ring.
    fn draw(&mut self, common: &mut Common) -> Batch {
        let Common { entries, wires, .. } = common;
        let from = (self.reader.standing(), self.opened);
        let mut lost = 0;
        let drained = self.reader.drain(FRAMES, BYTES, entries, &mut lost);
        let mut parts = Vec::new();
        self.opened &= lost == 0;
        if let (Some(entry), false) = (entries.first(), self.opened) {
            parts.push(self.lane.with(|form| form.opening(entry)));
            self.opened = true;
        }
        self.lane.wires(entries, wires);
        parts.extend(wires.drain(..).map(|wire| Bytes::clone(&wire)));
        parts.retain(|part| !part.is_empty());
        entries.clear();
        Batch {
            from,
            to: (self.reader.standing(), self.opened),
            lost,
            drained,
            bytes: parts.iter().map(Bytes::len).sum(),
            parts,
        }
    }
}

impl Batch {
    /// Makes one run of bytes of it, now that it has a second reader.
    fn join(&mut self) {
        if self.parts.len() > 1 && self.bytes <= JOINED {
            let mut joined = BytesMut::with_capacity(self.bytes);
            self.parts.iter().for_each(|part| joined.extend_from_slice(part));
            self.parts = vec![joined.freeze()];
        }
    }
}

impl<F: Broadcast> Feed for Follower<F> {
    type Space = Common;

    fn fill(&mut self, _now: Instant, outgoing: &mut Outgoing, common: &mut Common) -> Option<CloseReason> {
        let here = (self.reader.standing(), self.opened);
        let batch = match common.last.take().filter(|batch| batch.from == here) {
            Some(mut batch) => {
                self.reader.follow(batch.to.0, batch.lost);
                self.opened = batch.to.1;
                batch.join();
                batch
            }
            None => self.draw(common),
        };
        self.pace.note(batch.drained);
        if batch.lost > 0 {
            self.tally.count_discarded(batch.lost);
        }
        if batch.bytes > 0 {
            let counters = &self.reader.path().counters;
            counters.outbound_bytes.fetch_add(batch.bytes as u64, Ordering::Relaxed);
            batch.parts.iter().for_each(|part| outgoing.push(part.clone()));
        }
        let ended = match batch.drained {
            Drained::Ended(reason) => Some(reason),
            Drained::More | Drained::Empty => None,
        };
        common.last = Some(batch);
        ended
    }

    fn has_more(&self) -> bool {
        self.pace.has_more()
    }

    fn merge_window(&self) -> Duration {
        self.pace.merge_window()
    }

    fn count_sent(&self, bytes: usize) {
        self.tally.count_sent(bytes as u64);
    }

    fn close(self, reason: CloseReason) {
        self.reader.close(reason);
    }
}

#[cfg(test)]
mod tests;

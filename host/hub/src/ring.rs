//! The one ring of a publication, and the cursors that readers are.
//!
//! ```text
//!   first            newest GOP start          head
//!     |                    |                    |
//!     v                    v                    v
//!   [ f f f K f f f f f f  K f f f f f f f f f ]
//!           ^                       ^
//!        a slow reader           a fast one
//! ```
//!
//! The tail is the GOP cache. It reaches back to the newest GOP start, or to one that is old enough for whoever may want to see
//! the recent past ([`Limits::keep_back`]), further only while a reader is still there, and never past [`Limits`]; a reader that
//! the tail overtakes jumps to the newest GOP start.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks};

use crate::CloseReason;

/// One frame of the ring, with what was in force when it was published.
#[derive(Debug)]
pub struct Entry {
    /// Position in the ring; consecutive, never reused within a publication.
    pub index: u64,
    /// When the frame was published.
    pub at: Instant,
    /// The frame.
    pub frame: Frame,
    /// All tracks of the publication, with the parameters that this frame needs.
    pub tracks: Tracks,
    /// Place of the frame's track in `tracks`.
    pub slot: usize,
    /// Whether a reader may start here.
    pub starts_gop: bool,
}

/// How much the ring keeps, and how far a reader may fall behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// A reader starts at the newest GOP start only if that is not older than this.
    pub start_age: Duration,
    /// … and not further back than this many payload bytes.
    pub start_bytes: usize,
    /// The ring keeps so much of the past in whole GOPs, although nobody is there yet who reads it; zero: the newest GOP.
    pub keep_back: Duration,
    /// Frames older than this are dropped, whoever still wants them; with [`keep_back`](Self::keep_back), frames older than that and
    /// [`start_age`](Self::start_age) together, if that is more.
    pub keep_age: Duration,
    /// When the ring holds more payload bytes than this the oldest frames are dropped, whoever still wants them. The
    /// newest frame always stays, whatever its size.
    pub keep_bytes: usize,
    /// `writeQueueSize`: how many frames a reader may lag behind where it started or the live edge; `None` for the
    /// bounds above alone.
    pub max_lag: Option<u64>,
}

impl Limits {
    /// The oldest that a frame may become. A GOP that begins before what is to be kept has time to end.
    fn oldest(&self) -> Duration {
        match self.keep_back {
            Duration::ZERO => self.keep_age,
            back => self.keep_age.max(back.saturating_add(self.start_age)),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            start_age: Duration::from_secs(10),
            start_bytes: 32 << 20,
            keep_back: Duration::ZERO,
            keep_age: Duration::from_secs(20),
            keep_bytes: 40 << 20,
            max_lag: None,
        }
    }
}

/// The position of one reader.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cursor {
    /// The next index to take.
    pub(crate) next: u64,
    /// Bit per slot: video tracks of which a keyframe must come first.
    waiting: u64,
    /// Backlog granted at the start, spent once the live edge was reached.
    grace: u64,
}

/// What one look at the ring brought, beside the entries.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Frames that the reader missed because it was too slow.
    pub(crate) lost: u64,
    /// Whether everything that was there has been taken.
    pub(crate) at_head: bool,
}

#[derive(Debug)]
struct Slot {
    id: TrackId,
    video: bool,
    number: u64,
    last_dts: Option<i64>,
}

#[derive(Debug)]
pub(crate) struct Ring {
    limits: Limits,
    entries: VecDeque<Arc<Entry>>,
    /// Index of `entries[0]`, or of the next entry when there is none.
    first: u64,
    bytes: usize,
    newest_start: Option<u64>,
    tracks: Tracks,
    slots: Vec<Slot>,
    ended: Option<CloseReason>,
    /// When the tail was last cut back to what somebody needs.
    trimmed: Option<Instant>,
}

/// Tracks of a publication are at most this many, those that a stage adds among them; the cursor's mask relies on it.
pub const MAX_TRACKS: usize = 16;

/// Whether keyframes of a track can be told from other frames, so that its readers wait for one.
pub(crate) fn has_keyframes(track: &Track) -> bool {
    track.kind == Kind::Video && !matches!(track.codec, Codec::Generic { .. })
}

/// Frames in the ring, whatever [`Limits`] say: small ones cost memory, too.
const MAX_ENTRIES: usize = 1 << 16;

/// The tail is cut back to what somebody needs this often, at most.
const TRIM_EVERY: Duration = Duration::from_millis(100);

impl Ring {
    pub(crate) fn new(limits: Limits, tracks: Tracks) -> Ring {
        let mut ring = Ring {
            limits,
            entries: VecDeque::new(),
            first: 0,
            bytes: 0,
            newest_start: None,
            tracks: Arc::from([]),
            slots: Vec::new(),
            ended: None,
            trimmed: None,
        };
        ring.set_tracks(tracks);
        ring
    }

    /// New parameters for the same tracks; what was counted per track goes on.
    pub(crate) fn set_tracks(&mut self, tracks: Tracks) {
        let old = std::mem::take(&mut self.slots);
        self.slots = tracks
            .iter()
            .map(|track| {
                let known = old.iter().find(|slot| slot.id == track.id);
                Slot {
                    id: track.id,
                    video: has_keyframes(track),
                    number: known.map_or(0, |slot| slot.number),
                    last_dts: known.and_then(|slot| slot.last_dts),
                }
            })
            .collect();
        self.tracks = tracks;
    }

    pub(crate) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(crate) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// Index of the next entry to come.
    pub(crate) fn head(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    pub(crate) fn first(&self) -> u64 {
        self.first
    }

    pub(crate) fn newest_start(&self) -> Option<u64> {
        self.newest_start
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn ended(&self) -> Option<CloseReason> {
        self.ended
    }

    pub(crate) fn end(&mut self, reason: CloseReason) {
        self.ended.get_or_insert(reason);
    }

    pub(crate) fn get(&self, index: u64) -> Option<&Arc<Entry>> {
        self.entries.get(usize::try_from(index.checked_sub(self.first)?).ok()?)
    }

    /// Whether a reader may start at `frame`: a keyframe of the first video track; any audio frame when there is no
    /// video at all. Generic tracks never start anything unless they are all there is.
    fn starts_gop(&self, slot: usize, frame: &Frame) -> bool {
        match self.slots.iter().position(|slot| slot.video) {
            Some(primary) => primary == slot && frame.is_key(),
            None => !self.tracks.iter().any(|track| track.kind == Kind::Audio) || self.tracks[slot].kind == Kind::Audio,
        }
    }

    /// Whether no frame has come of the track whose keyframes readers begin with.
    pub(crate) fn is_dark(&self) -> bool {
        let primary = self.slots.iter().find(|slot| slot.video);
        primary.is_some_and(|slot| slot.number == 0)
    }

    /// Appends a frame; answers whether it starts a GOP, `None` when its track is unknown.
    pub(crate) fn push(&mut self, at: Instant, mut frame: Frame) -> Option<bool> {
        let slot = self.slots.iter().position(|slot| slot.id == frame.track)?;
        let starts_gop = self.starts_gop(slot, &frame);
        let track = &mut self.slots[slot];
        frame.number = track.number;
        track.number += 1;
        if let Some(last) = track.last_dts {
            frame.dts = frame.dts.max(last);
        }
        track.last_dts = Some(frame.dts);

        let index = self.head();
        self.bytes += frame.payload.len();
        self.entries.push_back(Arc::new(Entry {
            index,
            at,
            frame,
            tracks: self.tracks.clone(),
            slot,
            starts_gop,
        }));
        if starts_gop {
            self.newest_start = Some(index);
        }
        self.trim_to_limits(at);
        Some(starts_gop)
    }

    fn trim_to_limits(&mut self, now: Instant) {
        let most = self.limits.oldest();
        while self.entries.len() > 1 {
            let oldest = &self.entries[0];
            let too_old = now.saturating_duration_since(oldest.at) > most;
            let too_many = self.bytes > self.limits.keep_bytes || self.entries.len() > MAX_ENTRIES;
            if !too_old && !too_many {
                break;
            }
            self.drop_oldest();
        }
    }

    /// Whether the tail should be looked at. Where every frame starts a GOP (sound alone, M-JPEG) that is not with each.
    pub(crate) fn is_trim_due(&mut self, now: Instant) -> bool {
        let due = self
            .trimmed
            .is_none_or(|last| now.saturating_duration_since(last) >= TRIM_EVERY);
        if due {
            self.trimmed = Some(now);
        }
        due
    }

    /// Drops what neither a reader at or behind `floor` nor one to come can want.
    pub(crate) fn trim_before(&mut self, now: Instant, floor: u64) {
        let Some(newest) = self.newest_start else { return };
        let start = match self.limits.keep_back {
            Duration::ZERO => newest,
            back => self.start_back(now, back).unwrap_or(newest),
        };
        while self.first < floor.min(start) && self.entries.len() > 1 {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.bytes -= entry.frame.payload.len();
            self.first += 1;
            if self.newest_start == Some(entry.index) {
                self.newest_start = None;
            }
        }
    }

    fn all_video(&self) -> u64 {
        self.slots
            .iter()
            .take(MAX_TRACKS)
            .enumerate()
            .fold(0, |mask, (place, slot)| mask | (u64::from(slot.video) << place))
    }

    /// A cursor for a reader that joins now: at the newest GOP start when it is near enough, else at the live edge.
    pub(crate) fn join(&self, now: Instant, at_keyframe: bool) -> Cursor {
        let start = self
            .newest_start
            .filter(|&index| at_keyframe && self.is_near(now, index));
        let next = start.unwrap_or(self.head());
        Cursor {
            next,
            waiting: self.all_video(),
            grace: self.head() - next,
        }
    }

    /// A cursor for a reader that wants to begin in the past: at the newest GOP start that is at least `back` old, else at the oldest
    /// that is left; at the live edge when there is none, or the stream stands still since.
    pub(crate) fn join_back(&self, now: Instant, back: Duration) -> Cursor {
        let age = |index| self.get(index).map(|entry| now.saturating_duration_since(entry.at));
        let start = self.start_back(now, back);
        let next = start.filter(|&index| age(index).is_some_and(|age| age <= self.limits.oldest()));
        let next = next.unwrap_or(self.head());
        Cursor {
            next,
            waiting: self.all_video(),
            grace: self.head() - next,
        }
    }

    /// The newest GOP start that is at least `back` old, else the oldest one.
    fn start_back(&self, now: Instant, back: Duration) -> Option<u64> {
        let old = |entry: &Arc<Entry>| now.saturating_duration_since(entry.at) >= back;
        // Frames are in the order in which they came.
        let old = self.entries.partition_point(old);
        let before = self.entries.range(..old).rev().find(|entry| entry.starts_gop);
        let start = before.or_else(|| self.entries.range(old..).find(|entry| entry.starts_gop));
        start.map(|entry| entry.index)
    }

    fn is_near(&self, now: Instant, index: u64) -> bool {
        let Some(entry) = self.get(index) else { return false };
        if now.saturating_duration_since(entry.at) > self.limits.start_age {
            return false;
        }
        let before = usize::try_from(index - self.first).unwrap_or(usize::MAX);
        let bytes: usize = self
            .entries
            .iter()
            .skip(before)
            .map(|entry| entry.frame.payload.len())
            .sum();
        bytes <= self.limits.start_bytes
    }

    /// Gives the reader what it has not had, up to `max_frames` frames and about `max_bytes` bytes.
    pub(crate) fn take(
        &self,
        cursor: &mut Cursor,
        max_frames: usize,
        max_bytes: usize,
        out: &mut Vec<Arc<Entry>>,
    ) -> Taken {
        let mut taken = Taken {
            lost: self.catch_up(cursor),
            at_head: false,
        };
        let mut bytes = 0;
        while out.len() < max_frames && bytes < max_bytes {
            let Some(entry) = self.get(cursor.next) else {
                taken.at_head = true;
                cursor.grace = 0;
                break;
            };
            cursor.next += 1;
            let bit = 1 << entry.slot.min(MAX_TRACKS);
            if cursor.waiting & bit != 0 {
                if !entry.frame.is_key() {
                    continue;
                }
                cursor.waiting &= !bit;
            }
            bytes += entry.frame.payload.len();
            out.push(entry.clone());
        }
        taken
    }

    /// Moves a cursor that fell behind to the newest GOP start, never into the middle of a GOP. Answers how many
    /// frames it will not see.
    fn catch_up(&self, cursor: &mut Cursor) -> u64 {
        let overtaken = cursor.next < self.first;
        let too_late = self
            .limits
            .max_lag
            .is_some_and(|max| self.head() - cursor.next > max.saturating_add(cursor.grace));
        if !overtaken && !too_late {
            return 0;
        }
        let target = match self.newest_start {
            Some(start) if start > cursor.next => start,
            // Still within the newest GOP: better late than without a picture.
            _ if !overtaken => return 0,
            // No GOP starts in what is left: wait at the live edge for the next one.
            _ => self.head(),
        };
        let lost = target - cursor.next;
        cursor.next = target;
        cursor.waiting = self.all_video();
        cursor.grace = self.head() - target;
        lost
    }

    /// Marks frames that follow a gap in the source.
    pub(crate) fn mark_discontinuity(frame: &mut Frame) {
        frame.flags = frame.flags.with(Flags::DISCONTINUITY);
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        let bytes: usize = self.entries.iter().map(|entry| entry.frame.payload.len()).sum();
        assert_eq!(bytes, self.bytes, "the byte count is the sum of the payloads");
        for (offset, entry) in self.entries.iter().enumerate() {
            assert_eq!(entry.index, self.first + offset as u64, "indices are consecutive");
        }
        let newest = self
            .entries
            .iter()
            .rev()
            .find(|entry| entry.starts_gop)
            .map(|entry| entry.index);
        assert_eq!(
            newest, self.newest_start,
            "the newest GOP start is the newest in the ring"
        );
        assert!(
            self.bytes <= self.limits.keep_bytes || self.entries.len() == 1,
            "the ring is bounded by bytes"
        );
    }
}

#[cfg(test)]
#[path = "ring_tests.rs"]
mod tests;

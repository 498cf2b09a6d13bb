//! One converter, as the server sees it: between the publisher's task, which gives and fetches, and the threads that speak to
//! the worker.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use parking_lot::Mutex;
use wasmtx_codec::wire::{Decode, Encode, PACKET_LEN, Packet, Source, Target, WINDOW};
use wasmtx_media::{Flags, Frame, TrackId};

/// Frames that were made and that nobody fetched: some seconds. Beyond, the oldest are lost.
const READY: usize = 512;
/// Bytes of packets that may be under way.
const UNDERWAY_LEN: usize = 2 << 20;
/// Bytes of a packet that was made: more than both codecs can put there.
const MADE_LEN: usize = 16 << 10;
/// After a failure it is tried again, after each one more later.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));
/// Times that a worker may end with packets of this converter in it, half of them forgotten each time that it goes well for
/// [`READY`] packets. Sound that ends every worker is given to the
/// next seldom.
const ENDS: u32 = 6;

/// What went wrong with a conversion since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Frames of the source that were taken and came to nothing.
    pub lost: u64,
    /// Times that it went on in another worker.
    pub restarts: u64,
}

/// A converter.
pub(super) struct Link {
    pub(super) id: u32,
    path: String,
    pub(super) source: Source,
    pub(super) target: Target,
    /// What its packets were announced to be.
    parameters: Bytes,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The worker that has it, counted from 1; 0 when none has.
    worker: u64,
    /// The lengths of the packets that were taken and not answered, in order, and their sum.
    underway: VecDeque<usize>,
    underway_len: usize,
    /// So many of them, the first, are in the worker.
    inside: usize,
    /// When the worker began to owe an answer, or answered last.
    owes: Option<Instant>,
    ready: VecDeque<Frame>,
    /// Where the last frame ended.
    ended: Option<i64>,
    /// The next frame does not follow from the last.
    gap: bool,
    /// It makes nothing, until then at least.
    failed: Option<Instant>,
    /// Times that it failed since it last made something.
    failures: u32,
    /// A worker was told of it before.
    known: bool,
    finishing: bool,
    finished: bool,
    closed: bool,
    report: Report,
    /// Workers that ended with it, and packets since.
    ends: u32,
    calm: usize,
}

/// What an answer was worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// As it should be; so many frames were made.
    Good(u64),
    /// No worker in its senses says that.
    Absurd,
}

impl Link {
    pub(super) fn new(id: u32, path: &str, source: Source, target: Target, parameters: Bytes) -> Link {
        Link {
            id,
            path: path.to_owned(),
            source,
            target,
            parameters,
            state: Mutex::default(),
        }
    }

    /// One that no worker ever has.
    pub(super) fn nothing(path: &str) -> Link {
        let source = Source {
            codec: Decode::Opus,
            sample_rate: 1,
            channels: 1,
            clock_rate: 1,
            parameters: Bytes::new(),
        };
        let target = Target {
            codec: Encode::Opus,
            sample_rate: 1,
            channels: 1,
            bitrate: 0,
        };
        let link = Link::new(0, path, source, target, Bytes::new());
        link.state.lock().finished = true;
        link
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    // The publisher's side.

    /// Whether one more packet of so many bytes may be under way; if so, it is.
    pub(super) fn begin(&self, len: usize, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.failed.is_some_and(|again| now >= again) {
            state.failed = None;
            // Whoever has it forgets it, and is told anew.
            state.worker = 0;
        }
        let room = state.underway.len() < WINDOW as usize && state.underway_len + len <= UNDERWAY_LEN;
        let may = room && len <= PACKET_LEN && state.failed.is_none() && !state.finishing && !state.finished;
        if may {
            state.underway.push_back(len);
            state.underway_len += len;
        }
        may
    }

    /// The last that was begun did not go out.
    pub(super) fn take_back(&self) {
        let mut state = self.state.lock();
        let len = state.underway.pop_back().unwrap_or_default();
        state.underway_len -= len;
    }

    /// A packet was not taken.
    pub(super) fn skip(&self) {
        self.state.lock().gap = true;
    }

    pub(super) fn pull(&self) -> Option<Frame> {
        self.state.lock().ready.pop_front()
    }

    pub(super) fn report(&self) -> Report {
        self.state.lock().report
    }

    /// Whether it begins to finish.
    pub(super) fn finish(&self) -> bool {
        !std::mem::replace(&mut self.state.lock().finishing, true)
    }

    pub(super) fn is_finished(&self) -> bool {
        let state = self.state.lock();
        state.ready.is_empty() && (state.finished || state.failed.is_some())
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    // The side of the worker.

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    pub(super) fn has_failed(&self) -> bool {
        self.state.lock().failed.is_some()
    }

    /// Whether a worker has it.
    pub(super) fn is_in(&self, worker: u64) -> bool {
        self.state.lock().worker == worker
    }

    /// A worker is told of it. Answers whether one was before, this one perhaps.
    pub(super) fn enter(&self, worker: u64) -> bool {
        let mut state = self.state.lock();
        state.worker = worker;
        std::mem::replace(&mut state.known, true)
    }

    /// The worker gets one of its packets, unless the converter failed meanwhile: then nobody would answer.
    pub(super) fn send(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        if state.failed.is_some() {
            return false;
        }
        state.inside += 1;
        state.owes.get_or_insert(now);
        true
    }

    /// A packet that was taken is not sent.
    pub(super) fn drop_one(&self) {
        let mut state = self.state.lock();
        state.answered();
        state.report.lost += 1;
        state.gap = true;
    }

    /// Whether the worker should have answered before `since`.
    pub(super) fn owes_since(&self, since: Instant) -> bool {
        self.state.lock().owes.is_some_and(|owes| owes < since)
    }

    /// The worker says what it makes.
    pub(super) fn opened(&self, parameters: &Bytes) -> Judged {
        // OpusHead is not what goes into a track; AAC's configuration is.
        let aac = self.target.codec == Encode::Aac;
        if aac && *parameters != self.parameters {
            Judged::Absurd
        } else {
            Judged::Good(0)
        }
    }

    /// The worker took a packet in, and made some.
    pub(super) fn converted(&self, packets: Vec<Packet>, now: Instant) -> Judged {
        let mut state = self.state.lock();
        let Some(inside) = state.inside.checked_sub(1) else {
            return Judged::Absurd;
        };
        state.inside = inside;
        state.answered();
        state.owes = (inside > 0).then_some(now);
        state.calm += 1;
        if state.calm >= READY {
            (state.calm, state.ends) = (0, state.ends / 2);
        }
        state.take(packets)
    }

    /// The worker made what was left.
    pub(super) fn flushed(&self, packets: Vec<Packet>) -> Judged {
        let mut state = self.state.lock();
        if !state.finishing || state.inside > 0 {
            return Judged::Absurd;
        }
        state.finished = true;
        state.owes = None;
        state.take(packets)
    }

    /// It does not go on as it is. What was in the worker is lost; answers how many packets that were.
    pub(super) fn fail(&self, now: Instant) -> u64 {
        let mut state = self.state.lock();
        state.failed = Some(now + state.pause());
        state.failures = state.failures.saturating_add(1);
        state.owes = None;
        state.gap = true;
        state.leave()
    }

    /// Nothing that is inside comes out any more.
    pub(super) fn give_up(&self) {
        self.state.lock().finished = true;
    }

    /// The worker has ended, `by_sound` perhaps. Answers how many packets were lost in it, and whether this one may go on in
    /// the next.
    pub(super) fn orphaned(&self, by_sound: bool, now: Instant) -> (u64, bool) {
        let mut state = self.state.lock();
        let lost = state.leave();
        state.worker = 0;
        state.owes = None;
        state.report.restarts += 1;
        state.gap = true;
        if lost > 0 && by_sound {
            state.ends += 1;
            state.calm = 0;
        }
        // What it should have finished went with it.
        state.finished = state.finished || state.finishing;
        if state.ends >= ENDS {
            state.ends -= 1;
            state.failed = Some(now + AGAIN.1);
        }
        (lost, state.failed.is_none())
    }
}

impl State {
    /// Until it is tried again.
    fn pause(&self) -> Duration {
        AGAIN.0.saturating_mul(1 << self.failures.min(6)).min(AGAIN.1)
    }

    /// Forgets what the worker has.
    fn leave(&mut self) -> u64 {
        let inside = std::mem::take(&mut self.inside);
        for _ in 0..inside {
            self.answered();
        }
        self.report.lost += inside as u64;
        inside as u64
    }

    /// The first that is under way is not any more.
    fn answered(&mut self) {
        let len = self.underway.pop_front().unwrap_or_default();
        self.underway_len -= len;
    }

    /// Takes what was made. Another worker begins at the first packet that it gets, so it may begin before the last frame's
    /// end: then its first is left out.
    fn take(&mut self, packets: Vec<Packet>) -> Judged {
        let mut made = 0;
        if !packets.is_empty() {
            self.failures = 0;
        }
        for packet in packets {
            let Some(end) = packet.pts.checked_add(packet.duration.into()) else {
                return Judged::Absurd;
            };
            if !(1..=MADE_LEN).contains(&packet.payload.len()) || packet.duration == 0 {
                return Judged::Absurd;
            }
            if self.ended.is_some_and(|ended| packet.pts < ended) {
                continue;
            }
            let holds = self.ended.is_none_or(|ended| packet.pts == ended);
            let discontinuity = packet.discontinuity || (std::mem::take(&mut self.gap) && !holds);
            self.ended = Some(end);
            if self.ready.len() >= READY {
                self.ready.pop_front();
                // The one behind what was lost is there already.
                if let Some(next) = self.ready.front_mut() {
                    next.flags = next.flags.with(Flags::DISCONTINUITY);
                }
            }
            self.ready.push_back(Frame {
                track: TrackId(0),
                number: 0,
                pts: packet.pts,
                dts: packet.pts,
                duration: packet.duration,
                wall: None,
                flags: Flags::KEY.set(Flags::DISCONTINUITY, discontinuity),
                payload: packet.payload.into(),
            });
            made += 1;
        }
        Judged::Good(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link() -> Link {
        let (source, target) = (Link::nothing("").source, Link::nothing("").target);
        Link::new(1, "live", source, target, Bytes::new())
    }

    fn packet(pts: i64) -> Packet {
        Packet {
            pts,
            duration: 960,
            discontinuity: false,
            payload: Bytes::from_static(b"sound"),
        }
    }

    /// A packet on its way into the worker.
    fn give(link: &Link) {
        assert!(link.begin(10, Instant::now()));
        assert!(link.send(Instant::now()));
    }

    fn answer(link: &Link, pts: &[i64]) -> Judged {
        link.converted(pts.iter().map(|pts| packet(*pts)).collect(), Instant::now())
    }

    #[test]
    fn no_more_is_under_way_than_may_be() {
        let link = link();
        for _ in 0..WINDOW {
            assert!(link.begin(10, Instant::now()));
        }
        assert!(!link.begin(10, Instant::now()));
        link.take_back();
        assert!(link.begin(10, Instant::now()));
        link.drop_one();
        assert!(link.begin(10, Instant::now()));
        assert!(!link.begin(10, Instant::now()));
        let large = self::link();
        assert!(!large.begin(PACKET_LEN + 1, Instant::now()));
        let taken = (0..WINDOW).filter(|_| large.begin(PACKET_LEN, Instant::now())).count();
        assert_eq!(taken, UNDERWAY_LEN / PACKET_LEN);
    }

    #[test]
    fn answers_that_nobody_asked_for_are_absurd() {
        assert_eq!(answer(&link(), &[0]), Judged::Absurd);
        assert_eq!(link().flushed(Vec::new()), Judged::Absurd);
        let link = link();
        give(&link);
        assert_eq!(answer(&link, &[i64::MAX]), Judged::Absurd);
        give(&link);
        let mut long = packet(0);
        long.payload = vec![0; MADE_LEN + 1].into();
        assert_eq!(link.converted(vec![long], Instant::now()), Judged::Absurd);
    }

    #[test]
    fn the_next_worker_goes_on_behind_a_gap_and_without_an_overlap() {
        let link = link();
        give(&link);
        assert_eq!(answer(&link, &[0, 960]), Judged::Good(2));
        give(&link);
        give(&link);
        assert_eq!(link.orphaned(true, Instant::now()), (2, true));
        assert_eq!(link.report(), Report { lost: 2, restarts: 1 });
        give(&link);
        assert_eq!(answer(&link, &[1_000, 1_960, 2_920]), Judged::Good(2));
        let frames: Vec<_> = std::iter::from_fn(|| link.pull()).collect();
        let marked: Vec<_> = frames
            .iter()
            .map(|frame| (frame.pts, frame.flags.contains(Flags::DISCONTINUITY)))
            .collect();
        assert_eq!(marked, [(0, false), (960, false), (1_960, true), (2_920, false)]);
    }

    #[test]
    fn sound_that_ends_every_worker_is_given_to_the_next_seldom() {
        let (link, now) = (link(), Instant::now());
        for end in 1..=ENDS {
            give(&link);
            assert_eq!(link.orphaned(true, now), (1, end < ENDS));
        }
        assert!(!link.begin(10, now + AGAIN.1 / 2));
        assert!(link.begin(10, now + AGAIN.1));
        assert!(link.send(now));
        assert_eq!(link.orphaned(true, now), (1, false));
    }

    #[test]
    fn a_converter_that_failed_is_opened_again_after_a_pause_that_grows() {
        let (link, now) = (link(), Instant::now());
        for pause in [1, 2, 4, 8, 16, 32, 60, 60] {
            link.enter(1);
            give(&link);
            assert!(link.begin(10, now));
            assert_eq!(link.fail(now), 1);
            // One that was on its way is not sent.
            assert!(!link.send(now));
            link.drop_one();
            assert!(link.has_failed() && link.is_in(1));
            let pause = Duration::from_secs(pause);
            assert!(!link.begin(10, now + pause - Duration::from_millis(1)));
            assert!(link.begin(10, now + pause));
            assert!(!link.has_failed() && !link.is_in(1));
            link.take_back();
        }
        assert!(link.enter(1), "the worker is to forget it first");
        give(&link);
        assert_eq!(answer(&link, &[0]), Judged::Good(1));
        link.fail(now);
        assert!(link.begin(10, now + AGAIN.0));
    }

    #[test]
    fn a_worker_that_is_killed_or_has_none_of_its_packets_is_not_the_fault_of_a_converter() {
        let link = link();
        for _ in 0..3 * ENDS {
            assert_eq!(link.orphaned(true, Instant::now()), (0, true));
            give(&link);
            assert_eq!(link.orphaned(false, Instant::now()), (1, true));
        }
    }

    #[test]
    fn what_nobody_fetches_is_lost_from_the_front() {
        let link = link();
        for number in 0..READY as i64 + 2 {
            give(&link);
            answer(&link, &[number * 960]);
        }
        let first = link.pull().unwrap();
        assert_eq!(
            (first.pts, first.flags),
            (2 * 960, Flags::KEY.with(Flags::DISCONTINUITY))
        );
        assert_eq!(std::iter::from_fn(|| link.pull()).count(), READY - 1);
    }
}

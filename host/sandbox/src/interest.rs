//! Which frames a filter wants to see, and which of its frames may go on. A frame that is not shown costs a look at this table.

use wasmtx_media::{Codec, Frame, TrackId, Tracks};

use crate::{
    bindings::{filter::filter::Interest, plugin::types as wit},
    convert::well_formed,
};

/// Interests that are looked at; a stream has at most 16 tracks.
const INTERESTS: usize = 64;
/// Seconds between `pts` and `dts` of a frame, at most.
const REORDER: u64 = 10;

/// What to do with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Show it to the guest.
    Yes,
    /// Pass it on unseen.
    Pass,
    /// Drop it unseen.
    Drop,
}

/// One row per track of the stream.
#[derive(Debug, Default)]
pub(crate) struct Table(Vec<Row>);

#[derive(Debug)]
struct Row {
    track: TrackId,
    codec: Codec,
    which: wit::Which,
    every: u32,
    others: wit::Unshown,
    /// Frames chosen by `which` until the next one is shown.
    skip: u32,
    /// Whether the track goes on behind this filter.
    goes_on: bool,
    /// Of the last frame that went on; time does not run backwards.
    last_dts: i64,
    /// Of the newest frame that came in; nothing that the guest makes may be newer.
    newest_dts: i64,
    /// What `pts` and `dts` of one frame may differ by.
    reorder: u64,
}

impl Table {
    /// What the guest said to `open`. Of several interests in a track the first counts; a track without one passes unseen.
    pub(crate) fn new(input: &Tracks, output: &Tracks, interests: &[Interest]) -> Table {
        let rows = input.iter().map(|track| {
            let goes_on = output.iter().find(|out| out.id == track.id);
            let said = interests
                .iter()
                .take(INTERESTS)
                .find(|interest| interest.track == track.id.0);
            Row {
                track: track.id,
                codec: goes_on.unwrap_or(track).codec.clone(),
                which: said.map_or(wit::Which::None, |said| said.which),
                every: said.map_or(1, |said| said.every.max(1)),
                others: said.map_or(wit::Unshown::Pass, |said| said.others),
                skip: 0,
                goes_on: goes_on.is_some(),
                last_dts: i64::MIN,
                newest_dts: i64::MIN,
                reorder: REORDER * u64::from(track.clock_rate),
            }
        });
        Table(rows.collect())
    }

    /// Goes on where `old` was: counting every n-th frame must not begin anew at a hot swap, nor time.
    pub(crate) fn continues(&mut self, old: &Table) {
        for row in &mut self.0 {
            let Some(old) = old.0.iter().find(|old| old.track == row.track) else {
                continue;
            };
            row.last_dts = old.last_dts;
            row.newest_dts = old.newest_dts;
            if (row.which, row.every) == (old.which, old.every) {
                row.skip = old.skip;
            }
        }
    }

    /// The tracks of which the guest sees something.
    pub(crate) fn wanted(&self) -> Vec<TrackId> {
        let wanted = self.0.iter().filter(|row| row.which != wit::Which::None);
        wanted.map(|row| row.track).collect()
    }

    /// Whether the guest sees the frame.
    pub(crate) fn show(&mut self, frame: &Frame) -> Shown {
        let Some(row) = self.0.iter_mut().find(|row| row.track == frame.track) else {
            return Shown::Drop;
        };
        row.newest_dts = row.newest_dts.max(frame.dts);
        let chosen = match row.which {
            wit::Which::None => false,
            wit::Which::Key => frame.is_key(),
            wit::Which::All => true,
        };
        if chosen {
            if row.skip == 0 {
                row.skip = row.every - 1;
                return Shown::Yes;
            }
            row.skip -= 1;
        }
        match row.others {
            wit::Unshown::Pass if row.goes_on => Shown::Pass,
            _ => Shown::Drop,
        }
    }

    /// Whether a frame may go on: its track does, and its time does not run backwards.
    pub(crate) fn admit(&mut self, frame: &Frame) -> bool {
        let Some(row) = self.0.iter_mut().find(|row| row.track == frame.track) else {
            return false;
        };
        if !row.goes_on || frame.dts < row.last_dts {
            return false;
        }
        row.last_dts = frame.dts;
        true
    }

    /// Whether a payload that the guest made can be one of its track.
    pub(crate) fn well_formed(&self, frame: &Frame) -> bool {
        self.0
            .iter()
            .find(|row| row.track == frame.track)
            .is_some_and(|row| well_formed(&row.codec, &frame.payload))
    }

    /// Whether a frame that the guest made may go on: one from the future would shut out all that come after it.
    pub(crate) fn admit_emitted(&mut self, frame: &Frame) -> bool {
        let Some(row) = self.0.iter().find(|row| row.track == frame.track) else {
            return false;
        };
        frame.dts <= row.newest_dts
            && frame.pts.abs_diff(frame.dts) <= row.reorder
            && well_formed(&row.codec, &frame.payload)
            && self.admit(frame)
    }

    /// Whether the track goes on, whatever the guest says: the rule while it is down.
    pub(crate) fn goes_on(&self, track: TrackId) -> bool {
        self.0.iter().any(|row| row.track == track && row.goes_on)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wasmtx_media::{Flags, Kind, Track};

    use super::*;

    fn tracks(ids: &[u32]) -> Tracks {
        let track = |id: &u32| Track {
            id: TrackId(*id),
            kind: Kind::Video,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        };
        ids.iter().map(track).collect()
    }

    fn frame(track: u32, dts: i64, key: bool) -> Frame {
        Frame {
            track: TrackId(track),
            number: 0,
            pts: dts,
            dts,
            duration: 0,
            wall: None,
            flags: Flags::NONE.set(Flags::KEY, key),
            payload: Bytes::from_static(b"x").into(),
        }
    }

    fn interest(track: u32, which: wit::Which, every: u32, others: wit::Unshown) -> Interest {
        Interest {
            track,
            which,
            every,
            others,
        }
    }

    #[test]
    fn every_nth_chosen_frame_is_shown_beginning_with_the_first() {
        let all = tracks(&[1]);
        let mut table = Table::new(&all, &all, &[interest(1, wit::Which::Key, 2, wit::Unshown::Drop)]);
        let shown: Vec<_> = (0..8).map(|n| table.show(&frame(1, n, n % 2 == 0))).collect();
        use Shown::{Drop, Yes};
        assert_eq!(shown, [Yes, Drop, Drop, Drop, Yes, Drop, Drop, Drop]);
    }

    #[test]
    fn a_track_without_an_interest_passes_and_one_left_out_does_not() {
        let mut table = Table::new(&tracks(&[1, 2]), &tracks(&[1]), &[]);
        assert_eq!(table.show(&frame(1, 0, true)), Shown::Pass);
        assert_eq!(table.show(&frame(2, 0, true)), Shown::Drop);
        assert_eq!(table.show(&frame(3, 0, true)), Shown::Drop);
        assert!(table.admit(&frame(1, 0, true)));
        assert!(!table.admit(&frame(2, 0, true)));
        assert!(!table.admit(&frame(3, 0, true)));
    }

    #[test]
    fn numbers_of_a_guest_are_clamped() {
        let all = tracks(&[1]);
        let nonsense: Vec<_> = (0..10_000)
            .map(|track| interest(track, wit::Which::All, 0, wit::Unshown::Drop))
            .collect();
        let mut table = Table::new(&all, &all, &nonsense);
        assert_eq!(table.show(&frame(1, 0, false)), Shown::Yes);
        assert_eq!(table.show(&frame(1, 1, false)), Shown::Yes);
        let mut rare = Table::new(
            &all,
            &all,
            &[interest(1, wit::Which::All, u32::MAX, wit::Unshown::Pass)],
        );
        assert_eq!(rare.show(&frame(1, 0, false)), Shown::Yes);
        assert_eq!(rare.show(&frame(1, 1, false)), Shown::Pass);
    }

    #[test]
    fn time_does_not_run_backwards() {
        let all = tracks(&[1, 2]);
        let mut table = Table::new(&all, &all, &[]);
        assert!(table.admit(&frame(1, 5, true)));
        assert!(table.admit(&frame(1, 5, true)));
        assert!(!table.admit(&frame(1, 4, true)));
        assert!(table.admit(&frame(2, 4, true)), "each track has its own time");
    }

    #[test]
    fn what_a_guest_makes_is_never_newer_than_what_came_in() {
        let all = tracks(&[1]);
        let mut table = Table::new(&all, &all, &[]);
        assert!(!table.admit_emitted(&frame(1, 0, true)), "nothing came in yet");
        table.show(&frame(1, 100, true));
        assert!(table.admit_emitted(&frame(1, 99, true)));
        assert!(!table.admit_emitted(&frame(1, 101, true)));
        assert!(!table.admit_emitted(&Frame {
            pts: i64::MIN,
            ..frame(1, 100, true)
        }));
        assert!(!table.admit_emitted(&Frame {
            payload: Bytes::new().into(),
            ..frame(1, 100, true)
        }));
        assert!(table.admit(&frame(1, 100, true)));
    }

    #[test]
    fn a_swap_goes_on_counting() {
        let all = tracks(&[1]);
        let wanted = [interest(1, wit::Which::All, 3, wit::Unshown::Drop)];
        let mut old = Table::new(&all, &all, &wanted);
        let frame = frame(1, 7, true);
        assert_eq!(old.show(&frame), Shown::Yes);
        old.admit(&frame);
        let mut new = Table::new(&all, &all, &wanted);
        new.continues(&old);
        let shown: Vec<_> = (0..3).map(|_| new.show(&frame)).collect();
        assert_eq!(shown, [Shown::Drop, Shown::Drop, Shown::Yes]);
        assert_eq!(new.0[0].last_dts, 7);
    }
}

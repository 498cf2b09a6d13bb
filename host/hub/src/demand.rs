//! Which tracks somebody wants: what decides whether a track that is only offered is made.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use wasmtx_media::{Track, TrackId};

use crate::ring::MAX_TRACKS;

/// How many want each track of a publication. Cheap to clone: all clones are one. Asking takes no lock, so the publisher's
/// task may do it with every frame.
#[derive(Clone, Debug, Default)]
pub struct Demand(Arc<[(TrackId, AtomicU32)]>);

impl Demand {
    /// Nobody wants any of these yet.
    pub fn new(tracks: &[Track]) -> Demand {
        let tracks = tracks.iter().take(MAX_TRACKS);
        Demand(tracks.map(|track| (track.id, AtomicU32::new(0))).collect())
    }

    /// Wants these tracks for as long as what is answered lives. Ids that the publication does not have mean nothing.
    pub fn want(&self, tracks: &[TrackId]) -> Wanted {
        let mut places = 0;
        for (place, (id, count)) in self.0.iter().enumerate() {
            if tracks.contains(id) {
                places |= 1 << place;
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        Wanted {
            demand: self.clone(),
            places,
        }
    }

    /// Whether somebody wants the track now.
    pub fn has(&self, track: TrackId) -> bool {
        let known = self.0.iter().find(|(id, _)| *id == track);
        known.is_some_and(|(_, count)| count.load(Ordering::Relaxed) > 0)
    }
}

/// The word of somebody who wants some tracks; dropping it takes it back.
#[derive(Debug)]
pub struct Wanted {
    demand: Demand,
    /// Bit per place in the demand.
    places: u32,
}

impl Drop for Wanted {
    fn drop(&mut self) {
        for (place, (_, count)) in self.demand.0.iter().enumerate() {
            if self.places & (1 << place) != 0 {
                count.fetch_sub(1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wasmtx_media::{Codec, Kind};

    use super::*;

    fn tracks(ids: std::ops::Range<u32>) -> Vec<Track> {
        let track = |id| Track {
            id: TrackId(id),
            kind: Kind::Audio,
            codec: Codec::Opus { channels: 2 },
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: None,
        };
        ids.map(track).collect()
    }

    #[test]
    fn a_track_is_wanted_until_the_last_who_wanted_it_is_gone() {
        let demand = Demand::new(&tracks(1..3));
        let first = demand.want(&[TrackId(2)]);
        let second = demand.clone().want(&[TrackId(2), TrackId(2), TrackId(1)]);
        drop(first);
        assert!(demand.has(TrackId(1)) && demand.has(TrackId(2)));
        drop(second);
        assert!(!demand.has(TrackId(1)) && !demand.has(TrackId(2)));
    }

    #[test]
    fn who_wants_a_track_that_is_not_there_gets_nothing_and_harms_nobody() {
        let demand = Demand::new(&tracks(1..100));
        let wanted = demand.want(&[TrackId(0), TrackId(99)]);
        assert!(!demand.has(TrackId(0)) && !demand.has(TrackId(99)));
        drop(wanted);
        assert!(!Demand::default().has(TrackId(1)));
        drop(Demand::default().want(&[TrackId(1)]));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_track_is_wanted_exactly_while_somebody_wants_it(
            steps in prop::collection::vec((any::<bool>(), 0usize..8, prop::collection::vec(0u32..6, 0..4)), 1..100),
        ) {
            let demand = Demand::new(&tracks(0..5));
            let mut present: Vec<(Vec<TrackId>, Wanted)> = Vec::new();
            for (comes, who, ids) in steps {
                if comes {
                    let ids: Vec<_> = ids.into_iter().map(TrackId).collect();
                    let wanted = demand.want(&ids);
                    present.push((ids, wanted));
                } else if who < present.len() {
                    present.remove(who);
                }
                for id in (0..5).map(TrackId) {
                    prop_assert_eq!(demand.has(id), present.iter().any(|(ids, _)| ids.contains(&id)));
                }
            }
        }
    }
}

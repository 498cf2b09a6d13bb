//! A wire form, made once per path.

use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;

use crate::{Entry, Publication};

/// Spells frames the way one protocol writes them. Sees every frame of the publication in order, so it may count
/// (sequence numbers, continuity counters) and collect (parts).
pub trait Form: Send + 'static {
    /// One frame, ready to be written; shared by all readers.
    type Wire: Send + Sync + 'static;

    /// Makes the wire form of the next frame.
    fn make(&mut self, entry: &Entry) -> Self::Wire;
}

/// The wire forms of a publication's ring, made when the first reader asks for them.
///
/// Alive as long as somebody holds it; when its last reader goes, nothing is made any more.
pub struct Lane<F: Form> {
    publication: Arc<Publication>,
    made: Mutex<Made<F>>,
}

struct Made<F: Form> {
    form: F,
    /// Index of `wires[0]`.
    first: u64,
    /// What was made, aligned with the ring: `wires[i]` belongs to index `first + i`.
    wires: VecDeque<Arc<F::Wire>>,
}

impl<F: Form> Lane<F> {
    pub(crate) fn new(publication: Arc<Publication>, form: F) -> Lane<F> {
        // From the newest GOP start on: that is where the next readers begin, too.
        let first = {
            let ring = publication.ring().read();
            ring.newest_start().unwrap_or(ring.head())
        };
        Lane {
            publication,
            made: Mutex::new(Made {
                form,
                first,
                wires: VecDeque::new(),
            }),
        }
    }

    /// The wire forms of `entries` (consecutive or not, rising), appended to `out`. An entry that is older than the
    /// lane has none and is left out.
    pub fn wires(&self, entries: &[Arc<Entry>], out: &mut Vec<Arc<F::Wire>>) {
        let (Some(last), mut made) = (entries.last(), self.made.lock()) else {
            return;
        };
        made.extend(&self.publication, last.index);
        for entry in entries {
            let place = entry
                .index
                .checked_sub(made.first)
                .and_then(|place| usize::try_from(place).ok());
            out.extend(place.and_then(|place| made.wires.get(place)).cloned());
        }
    }

    /// Looks at the form's state, between two frames.
    pub fn with<T>(&self, look: impl FnOnce(&mut F) -> T) -> T {
        look(&mut self.made.lock().form)
    }
}

impl<F: Form> Made<F> {
    /// Makes everything up to and including `last`, and forgets what the ring has forgotten.
    fn extend(&mut self, publication: &Publication, last: u64) {
        let next = self.first + self.wires.len() as u64;
        if last < next {
            return;
        }
        let missing: Vec<Arc<Entry>> = {
            let ring = publication.ring().read();
            while self.first < ring.first() && self.wires.pop_front().is_some() {
                self.first += 1;
            }
            if self.wires.is_empty() {
                self.first = self.first.max(next).max(ring.first());
            }
            let next = self.first + self.wires.len() as u64;
            (next..=last).filter_map(|index| ring.get(index).cloned()).collect()
        };
        for entry in missing {
            let wire = self.form.make(&entry);
            self.wires.push_back(Arc::new(wire));
        }
    }
}

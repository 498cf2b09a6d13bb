//! The indexes that are held in memory: those of the paths that were asked for last.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::Mutex;
use wasmtx_hub::PathName;

use super::{index::Index, rules::Rule};

/// Segments of all indexes together; each takes about 300 bytes. Beyond them the paths that nobody asked for the
/// longest are let go.
const MAX_SEGMENTS: usize = 400_000;
/// Indexes, however little is in them.
const MAX_PATHS: usize = 16_384;

/// What is held.
#[derive(Default)]
pub(super) struct Shelf {
    slots: Mutex<HashMap<PathName, Arc<Slot>>>,
    /// Counts uses.
    clock: AtomicU64,
}

/// The place of one index.
pub(super) struct Slot {
    rule: Arc<Rule>,
    /// Held while files are looked for, so that whoever asks for the same path waits for the same answer. No task that
    /// carries media takes it.
    pub(super) index: Mutex<Option<Index>>,
    used: AtomicU64,
    segments: AtomicUsize,
    active: AtomicBool,
}

impl Slot {
    /// Notes how much is in it.
    pub(super) fn note(&self, index: &Index) {
        self.segments.store(index.entries().len(), Relaxed);
        self.active.store(index.is_active(), Relaxed);
    }
}

impl Shelf {
    /// The place for the index of a path, a new one if its files are elsewhere now.
    pub(super) fn slot(&self, path: &PathName, rule: &Arc<Rule>) -> Arc<Slot> {
        let used = self.clock.fetch_add(1, Relaxed);
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(path)
            && slot.rule.same_files(rule)
        {
            slot.used.store(used, Relaxed);
            return slot.clone();
        }
        let slot = Arc::new(Slot {
            rule: rule.clone(),
            index: Mutex::default(),
            used: AtomicU64::new(used),
            segments: AtomicUsize::new(0),
            active: AtomicBool::new(false),
        });
        slots.insert(path.clone(), slot.clone());
        slot
    }

    /// Lets go of everything; whoever is using something goes on with it.
    pub(super) fn clear(&self) {
        self.slots.lock().clear();
    }

    /// Whose indexes are held.
    pub(super) fn held(&self) -> Vec<(PathName, Arc<Rule>)> {
        let slots = self.slots.lock();
        slots
            .iter()
            .map(|(path, slot)| (path.clone(), slot.rule.clone()))
            .collect()
    }

    /// Somebody is done with the place of a path: lets go of it if it is empty, and of what is too much; never of what is
    /// being written, or of what somebody is using.
    pub(super) fn bound(&self, path: &PathName, done: Arc<Slot>) {
        let mut slots = self.slots.lock();
        let empty = done.segments.load(Relaxed) == 0;
        let own = slots.get(path).is_some_and(|slot| Arc::ptr_eq(slot, &done));
        drop(done);
        if own && empty && slots.get(path).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(path);
        }
        let mut held: usize = slots.values().map(|slot| slot.segments.load(Relaxed)).sum();
        while held > MAX_SEGMENTS || slots.len() > MAX_PATHS {
            let idle = slots
                .iter()
                .filter(|(name, slot)| *name != path && Arc::strong_count(slot) == 1 && !slot.active.load(Relaxed));
            let Some(oldest) = idle.min_by_key(|(_, slot)| slot.used.load(Relaxed)) else {
                return;
            };
            let name = oldest.0.clone();
            let gone = slots.remove(&name);
            held -= gone.map_or(0, |slot| slot.segments.load(Relaxed));
        }
    }
}

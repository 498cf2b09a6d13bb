//! Files that were planned a moment ago: a player that seeks asks for the same one again and again.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use parking_lot::Mutex;

use super::{
    document::{Document, Form},
    plan::MAX_SHARED,
    range::Range,
};
use crate::recording::Segment;

/// Files remembered.
const KEPT: usize = 32;

/// What a file is made of: two with the same key have the same bytes. Only this process compares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key(u64, u64);

impl Key {
    /// As an entity tag.
    pub(super) fn tag(&self) -> String {
        format!("\"{:016x}{:016x}\"", self.0, self.1)
    }
}

/// The least recently used goes first.
#[derive(Default)]
pub(super) struct Cache(Mutex<Vec<(Key, Arc<Document>)>>);

impl Cache {
    /// Of a range of these files of a path.
    pub(super) fn key(path: &str, segments: &[Segment], zero: Option<i64>, range: &Range, form: Form) -> Key {
        let hash = |salt: u8| {
            let mut hash = std::hash::DefaultHasher::new();
            (salt, path, zero, range, form).hash(&mut hash);
            for segment in segments {
                (segment.start, segment.duration, segment.size, &segment.file).hash(&mut hash);
            }
            hash.finish()
        };
        Key(hash(0), hash(1))
    }

    pub(super) fn get(&self, key: &Key) -> Option<Arc<Document>> {
        let mut kept = self.0.lock();
        let place = kept.iter().position(|(kept, _)| kept == key)?;
        let found = kept.remove(place);
        let document = found.1.clone();
        kept.push(found);
        Some(document)
    }

    pub(super) fn put(&self, key: Key, document: &Arc<Document>) {
        // What is larger is planned anew.
        if document.plan.files.len() > MAX_SHARED {
            return;
        }
        let mut kept = self.0.lock();
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((key, document.clone()));
    }
}

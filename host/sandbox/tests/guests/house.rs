//! A hub with one path and its sinks, whose files are in memory.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use wasmtx_hub::{Feed, Hub, Limits, PathConfig, PathName, Peer, Publisher, Rule, Rules};
use wasmtx_media::WallClock;
use wasmtx_sandbox::{
    Attendance, PluginSpec, Registry, Services, Usage, Use,
    services::{Append, Directory, Place, Recordings, SegmentTold, Storage, StorageError, StorageGrant, Stored},
};

use crate::support::{PATIENCE, VIDEO, frame, plugin, tracks, used};

/// The guest that the path uses.
pub(crate) const GUEST: &str = "sink-modes";
/// The directory that it was granted itself.
const OWN: &str = "data";

/// Files in memory, in place of all directories, by their full names.
#[derive(Clone, Default)]
pub(crate) struct Memory(
    pub(crate) Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    Arc<(Mutex<bool>, Condvar)>,
);

impl Memory {
    /// No commit ends while the disk stands still.
    pub(crate) fn stand_still(&self, still: bool) {
        *self.1.0.lock().unwrap() = still;
        self.1.1.notify_all();
    }

    /// A file of the plugin's own directory.
    pub(crate) fn file(&self, name: &str) -> Option<Vec<u8>> {
        self.at(&format!("{OWN}/{name}"))
    }

    /// A file of any.
    pub(crate) fn at(&self, name: &str) -> Option<Vec<u8>> {
        self.0.lock().unwrap().get(name).cloned()
    }
}

impl Storage for Memory {
    fn directory(&self, grant: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        match &grant.place {
            Place::Directory(_) => Ok(Arc::new(Below(self.clone(), grant.place.clone()))),
            Place::Objects(url) => Err(format!("{url} is too far away")),
        }
    }
}

/// One directory.
struct Below(Memory, Place);

impl Directory for Below {
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError> {
        let name = self.1.file(name);
        self.0.0.lock().unwrap().insert(name.clone(), Vec::new());
        Ok(Box::new(Appending(self.0.clone(), name)))
    }

    fn read(&self, name: &str, offset: u64, len: u32) -> Result<Bytes, StorageError> {
        let file = Bytes::from(self.0.at(&self.1.file(name)).ok_or(StorageError::NotFound)?);
        let from = usize::try_from(offset).unwrap().min(file.len());
        Ok(file.slice(from..file.len().min(from + len as usize)))
    }

    fn list(&self, prefix: &str) -> Result<Vec<Stored>, StorageError> {
        let (files, prefix, root) = (self.0.0.lock().unwrap(), self.1.file(prefix), self.1.file("").len());
        let files = files.iter().filter(|(name, _)| name.starts_with(&prefix));
        let stored = files.map(|(name, data)| Stored {
            name: name[root..].to_owned(),
            size: data.len() as u64,
            modified: 0,
        });
        Ok(stored.collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        let mut files = self.0.0.lock().unwrap();
        let data = files.remove(&self.1.file(from)).ok_or(StorageError::NotFound)?;
        files.insert(self.1.file(to), data);
        Ok(())
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let removed = self.0.0.lock().unwrap().remove(&self.1.file(name));
        removed.map(drop).ok_or(StorageError::NotFound)
    }
}

struct Appending(Memory, String);

impl Append for Appending {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        let mut files = self.0.0.lock().unwrap();
        let file = files.get_mut(&self.1).ok_or(StorageError::NotFound)?;
        parts.iter().for_each(|part| file.extend_from_slice(part));
        Ok(file.len() as u64)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        let (still, moves) = &*self.0.1;
        drop(
            moves
                .wait_timeout_while(still.lock().unwrap(), 2 * PATIENCE, |still| *still)
                .unwrap(),
        );
        self.append(&[])
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        self.append(&[])
    }
}

/// Everything that was said of recordings, in order.
#[derive(Default)]
pub(crate) struct Notebook(Mutex<Vec<(&'static str, SegmentTold)>>);

impl Notebook {
    pub(crate) fn read(&self) -> Vec<(&'static str, SegmentTold)> {
        self.0.lock().unwrap().clone()
    }

    fn note(&self, word: &'static str, told: &SegmentTold) {
        self.0.lock().unwrap().push((word, told.clone()));
    }
}

impl Recordings for Notebook {
    fn started(&self, told: &SegmentTold) {
        self.note("started", told);
    }

    fn done(&self, told: &SegmentTold) {
        self.note("done", told);
    }

    fn left(&self, told: &SegmentTold) {
        self.note("left", told);
    }
}

/// A server's worth of paths, with sinks.
pub(crate) struct House {
    pub(crate) hub: Hub,
    pub(crate) registry: Registry,
    pub(crate) attendance: Attendance,
    pub(crate) files: Memory,
    pub(crate) notes: Arc<Notebook>,
    pub(crate) events: Feed,
    pub(crate) now: Instant,
}

pub(crate) fn sink(config: serde_json::Value) -> PluginSpec {
    let mut spec = plugin(GUEST, config);
    spec.grants.storage = Some(StorageGrant::private(Place::Directory(OWN.into()), u64::MAX));
    spec
}

impl House {
    /// One path, `cam1`, with one sink.
    pub(crate) fn new(spec: PluginSpec) -> House {
        // The streams' clock runs faster than the sinks.
        let limits = Limits {
            keep_age: Duration::MAX,
            ..Limits::default()
        };
        House::with(spec, used(GUEST), limits)
    }

    pub(crate) fn with(spec: PluginSpec, used: Use, limits: Limits) -> House {
        let files = Memory::default();
        let mut services = Services::default();
        services.storage = Arc::new(files.clone());
        let notes = Arc::new(Notebook::default());
        services.recordings = notes.clone();
        let events = services.events.listen(|| WallClock(1)).unwrap();
        let state = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let registry = Registry::new(Some(state), services, vec![spec]).unwrap();
        let sinks = registry.chains(&[used]).unwrap().sinks;
        assert!(sinks.is_some());
        let (hub, _) = Hub::new();
        let attendance = Attendance::spawn(hub.births(), move |_| sinks.clone());
        let mut config = PathConfig::default();
        config.limits = limits;
        let now = Instant::now();
        hub.configure(now, Rules::new(vec![Rule::new("cam1", Arc::new(config)).unwrap()]));
        House {
            hub,
            registry,
            attendance,
            files,
            notes,
            events,
            now,
        }
    }

    /// A publisher, once the sink attends it.
    pub(crate) async fn publish(&self) -> Stream {
        let path = PathName::new("cam1").unwrap();
        let peer = Peer {
            kind: "rtspSession",
            id: uuid::Uuid::nil(),
        };
        let publisher = self
            .hub
            .publish(self.now, WallClock(1), &path, peer, None, None, tracks())
            .unwrap();
        self.until("the sink is there", |usage| usage.path == "cam1").await;
        Stream {
            publisher,
            now: self.now,
            next: 0,
        }
    }

    pub(crate) fn usage(&self) -> Usage {
        self.uses().pop().unwrap_or_default()
    }

    /// Of the path's list first, then apart from it.
    pub(crate) fn uses(&self) -> Vec<Usage> {
        let status = self.registry.status();
        status.into_iter().flat_map(|status| status.uses).collect()
    }

    pub(crate) async fn until(&self, what: &str, is_so: impl Fn(&Usage) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.usage()) {
            let usage = self.usage();
            assert!(begun.elapsed() < PATIENCE, "never: {what}: {usage:?}");
            tokio::task::yield_now().await;
        }
    }

    pub(crate) async fn end(self) -> (Registry, Memory) {
        self.attendance.close(PATIENCE).await;
        (self.registry, self.files)
    }
}

/// A publication, and what was sent.
pub(crate) struct Stream {
    pub(crate) publisher: Publisher,
    pub(crate) now: Instant,
    pub(crate) next: u64,
}

impl Stream {
    /// Sends frames of the video track, each tenth a keyframe; answers their payloads.
    pub(crate) fn send(&mut self, frames: u64) -> Vec<u8> {
        let mut sent = Vec::new();
        for _ in 0..frames {
            let frame = frame(VIDEO, self.next);
            sent.extend_from_slice(&frame.payload);
            self.next += 1;
            self.now += Duration::from_millis(33);
            self.publisher.push(self.now, WallClock(1), frame).unwrap();
        }
        sent
    }
}

pub(crate) fn series(usage: &Usage, name: &str) -> u64 {
    let found = usage.series.iter().find(|(other, _)| other == name);
    match found {
        Some((_, wasmtx_sandbox::Sample::Counter(count))) => *count,
        _ => 0,
    }
}

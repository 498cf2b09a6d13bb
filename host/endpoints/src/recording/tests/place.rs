//! A server's recordings in a folder of their own, with clocks that the test sets.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use wasmtx_hub::{Events, PathName};
use wasmtx_media::recording::Template;

use super::super::*;
use crate::storage::{Directories, MinFree, Place, Writer};

/// A whole recording of a second, H264 and AAC, in several parts.
pub(super) const FMP4: &[u8] = include_bytes!("../../../../media/testdata/mp4/h264-aac-fragments.mp4");
pub(super) const HOUR: u64 = 3_600_000_000;
pub(super) const DAY: u64 = 24 * HOUR;
/// 2024-06-01 12:00 UTC.
pub(super) const NOON: u64 = 1_717_243_200_000_000;

/// Clocks that stand still unless they are told.
#[derive(Default)]
pub(super) struct Clocks {
    pub(super) wall: AtomicU64,
    pub(super) running: AtomicU64,
    pub(super) boot: Mutex<String>,
}

impl Clocks {
    /// Time passes on both.
    pub(super) fn pass(&self, micros: u64) {
        self.wall.fetch_add(micros, Relaxed);
        self.running.fetch_add(micros, Relaxed);
    }

    /// Somebody sets the wall clock.
    pub(super) fn set(&self, by: i64) {
        let _ = self
            .wall
            .fetch_update(Relaxed, Relaxed, |wall| wall.checked_add_signed(by));
    }
}

impl Clock for Clocks {
    fn wall(&self) -> u64 {
        self.wall.load(Relaxed)
    }

    fn running(&self) -> Duration {
        Duration::from_micros(self.running.load(Relaxed))
    }

    fn boot(&self) -> Option<String> {
        Some(self.boot.lock().clone())
    }
}

/// A folder, removed at the end, and what is kept in it.
pub(super) struct Home {
    pub(super) folder: PathBuf,
    pub(super) clocks: Arc<Clocks>,
    pub(super) rule: Rule,
}

impl Home {
    pub(super) fn new() -> Home {
        Home::named("%path/%s-%f")
    }

    pub(super) fn named(template: &str) -> Home {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-archive-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(folder.join("rec")).unwrap();
        let clocks = Clocks::default();
        clocks.wall.store(NOON, Relaxed);
        clocks.running.store(10 * HOUR, Relaxed);
        "first".clone_into(&mut clocks.boot.lock());
        let rule = Rule {
            place: Place::Directory(folder.join("rec")),
            template: Template::parse(template).unwrap(),
            delete_after: Duration::ZERO,
            max_size: 0,
            min_free: MinFree::Bytes(0),
        };
        Home {
            folder,
            clocks: Arc::new(clocks),
            rule,
        }
    }

    /// A server starts.
    pub(super) fn start(&self) -> Server {
        let directories = Arc::new(Directories::new(self.folder.join("state")));
        let archive = Archive::new(Parts {
            directories: directories.clone(),
            state: self.folder.join("state"),
            clock: self.clocks.clone(),
            events: Events::default(),
        });
        let server = Server {
            archive,
            directories,
            rule: self.rule.clone(),
        };
        server.configure(self.rule.clone());
        server
    }

    pub(super) fn rec(&self, file: &str) -> PathBuf {
        self.folder.join("rec").join(file)
    }

    /// Somebody puts a file there.
    pub(super) fn put(&self, file: &str, bytes: &[u8]) {
        let file = self.rec(file);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }

    pub(super) fn there(&self, file: &str) -> bool {
        self.rec(file).exists()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub(super) struct Server {
    pub(super) archive: Arc<Archive>,
    directories: Arc<Directories>,
    rule: Rule,
}

impl Server {
    pub(super) fn configure(&self, rule: Rule) {
        let rule = Arc::new(rule);
        let entry = rule.clone();
        self.archive.configure(Rules::new([rule], move |path| {
            (path.as_str() != "unknown").then(|| entry.clone())
        }));
    }

    /// A recorder begins a file, and has written so much.
    pub(super) fn record(&self, path: &str, start: u64, bytes: &'static [u8]) -> Recording<'_> {
        let file = format!("{}.mp4", self.rule.template.expand(path, start, 0));
        let directory = self.directories.open(&self.rule.place, self.rule.options()).unwrap();
        let mut writer = directory.create(&file).unwrap();
        let told = Told {
            path: name(path),
            place: self.rule.place.clone(),
            file,
            start,
            duration: 0,
        };
        self.archive.started(told.clone());
        self.archive.settle();
        writer.append(&[bytes.into()]).unwrap();
        writer.commit().unwrap();
        Recording {
            server: self,
            writer,
            told,
        }
    }

    /// A recorder has written a file of ten minutes that ends now.
    pub(super) fn recorded(&self, path: &str, start: u64, bytes: &'static [u8]) {
        self.record(path, start, bytes).finish();
    }

    pub(super) fn starts(&self, path: &str) -> Vec<u64> {
        let segments = self.archive.segments(&name(path)).unwrap();
        segments.iter().map(|segment| segment.start).collect()
    }

    pub(super) fn only(&self, path: &str) -> Segment {
        let segments = self.archive.segments(&name(path)).unwrap();
        assert_eq!(segments.len(), 1);
        segments[0].clone()
    }
}

/// A file that is being written.
pub(super) struct Recording<'a> {
    server: &'a Server,
    writer: Writer,
    told: Told,
}

impl Recording<'_> {
    pub(super) fn finish(mut self) {
        self.writer.finish().unwrap();
        self.told.duration = HOUR / 6;
        self.server.archive.done(self.told);
    }

    /// Its recorder fails.
    pub(super) fn leave(self) {
        drop(self.writer);
        self.server.archive.left(self.told);
    }

    pub(super) fn file(&self) -> String {
        self.told.file.clone()
    }
}

pub(super) fn name(path: &str) -> PathName {
    PathName::new(path).unwrap()
}

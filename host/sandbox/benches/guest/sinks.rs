//! A sink that writes like a recorder, behind a ring: what a frame costs from the publisher to the storage.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use wasmtx_hub::{Hub, PathConfig, PathName, Peer, Rule, Rules};
use wasmtx_media::{Flags, Frame, WallClock};
use wasmtx_sandbox::{
    Attendance, Registry, Services, Use,
    services::{Append, Directory, Place, Storage, StorageError, StorageGrant, Stored},
};

use super::{Row, SMALL, frame, plugin, state, tracks};

/// Frames of one run, how many of them one wake of the sink brings, and of a group of pictures.
const FRAMES: u64 = 50_000;
const BURST: u64 = 50;
const GROUP: u64 = 100;

pub(super) fn recorder(rows: &mut Vec<Row>) {
    let with = run(true);
    let without = run(false);
    let each = with - without;
    println!(
        "\na sink that writes a header and each frame: {each:.0} ns a frame, host and guest together (publishing alone {without:.0})"
    );
    rows.push(Row::new(
        "recorder plugin per frame, host and guest",
        format!("{each:.0} ns"),
        format!("{without:.0} ns (publishing alone)"),
        "600 ns of guest time",
        "300 ns",
    ));
}

/// Processor time of the process per frame, in nanoseconds.
fn run(attended: bool) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let written = Arc::new(AtomicU64::new(0));
        let mut services = Services::default();
        services.storage = Arc::new(Nowhere(written.clone()));
        let mut spec = plugin("costs", json!({}));
        spec.grants.storage = Some(StorageGrant::private(Place::Directory("data".into()), u64::MAX));
        let registry = Registry::new(Some(state()), services, vec![spec]).expect("the guest loads");
        let used = Use {
            plugin: "costs".into(),
            ..Use::default()
        };
        let sinks = registry.chains(&[used]).expect("a sink").sinks.filter(|_| attended);
        let (hub, _births) = Hub::new();
        let attendance = Attendance::spawn(hub.births(), move |_| sinks.clone());
        let rule = Rule::new("bench", Arc::new(PathConfig::default())).expect("a rule");
        let (mut now, path) = (Instant::now(), PathName::new("bench").expect("a name"));
        hub.configure(now, Rules::new(vec![rule]));
        let peer = Peer {
            kind: "rtspSession",
            id: uuid::Uuid::nil(),
        };
        let mut publisher = hub
            .publish(now, WallClock(1), &path, peer, None, None, tracks())
            .expect("a publisher");
        let model = frame(SMALL);
        let calls = || {
            registry
                .status()
                .iter()
                .flat_map(|status| &status.uses)
                .map(|usage| usage.calls)
                .sum::<u64>()
        };
        let mut taken = 0;
        let begun = processor_time();
        for n in 0..FRAMES {
            now += Duration::from_millis(1);
            let frame = Frame {
                pts: n as i64 * 90,
                dts: n as i64 * 90,
                flags: Flags::NONE.set(Flags::KEY, n.is_multiple_of(GROUP)),
                ..model.clone()
            };
            publisher.push(now, WallClock(1), frame).expect("the path is ours");
            if n % BURST == BURST - 1 && attended {
                // The sink takes a burst before the next one comes, as it would with time between them.
                while calls() == taken {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                taken = calls();
            }
        }
        let used = processor_time() - begun;
        drop(publisher);
        attendance.close(Duration::from_secs(5)).await;
        let expected = if attended { FRAMES * (SMALL as u64 + 24) } else { 0 };
        let written = written.load(Relaxed);
        if written != expected {
            println!("  (of {expected} bytes {written} were written: the sink lost some)");
        }
        used.as_nanos() as f64 / FRAMES as f64
    })
}

/// A directory that counts and forgets.
#[derive(Clone)]
struct Nowhere(Arc<AtomicU64>);

impl Storage for Nowhere {
    fn directory(&self, _: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl Directory for Nowhere {
    fn create(&self, _: &str) -> Result<Box<dyn Append>, StorageError> {
        Ok(Box::new(self.clone()))
    }

    fn read(&self, _: &str, _: u64, _: u32) -> Result<Bytes, StorageError> {
        Err(StorageError::NotFound)
    }

    fn list(&self, _: &str) -> Result<Vec<Stored>, StorageError> {
        Ok(Vec::new())
    }

    fn rename(&self, _: &str, _: &str) -> Result<(), StorageError> {
        Err(StorageError::NotFound)
    }

    fn remove(&self, _: &str) -> Result<(), StorageError> {
        Err(StorageError::NotFound)
    }
}

impl Append for Nowhere {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        let len: usize = parts.iter().map(Bytes::len).sum();
        Ok(self.0.fetch_add(len as u64, Relaxed) + len as u64)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        Ok(self.0.load(Relaxed))
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        Ok(self.0.load(Relaxed))
    }
}

pub(super) fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).unwrap_or(0),
        u32::try_from(time.tv_nsec).unwrap_or(0),
    )
}

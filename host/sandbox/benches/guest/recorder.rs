//! The bundled recorder on one stream of 4 Mb/s, beside the same code compiled natively: same muxer, same decisions, same
//! writes to the same disk. What differs is the wall between them.

use std::{
    fs,
    io::{IoSlice, Write},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use serde_json::json;
use tokio::{task::block_in_place, time::sleep_until};
use wasmtx_hub::{CloseReason, Drained, Hub, PathConfig, PathName, Peer, Publisher, Rule, Rules};
use wasmtx_media::{Flags, Frame, Kind, Payload, Track, TrackId, Tracks, WallClock, container::mp4, recording};
use wasmtx_sandbox::{
    Attendance, Registry, Services, Use,
    services::{Append, Directory, Place, Storage, StorageError, StorageGrant, Stored},
};

use super::{Row, plugin, sinks::processor_time, state};

#[path = "../../../../plugins/recorder/src/record/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "what only a component needs, and the tests of it"
)]
mod record;

use record::{Recorder, Server, Settings, Told, Trouble};

const CLIP: &[u8] = include_bytes!("../../../media/testdata/mp4/h264-aac.mp4");
/// Pictures a second and bytes of each, pieces of sound a second and bytes of each: 4 Mb/s and 128 kb/s.
const PICTURES: u64 = 25;
const PICTURE: usize = 20_000;
const SOUNDS: u64 = 47;
const SOUND: usize = 340;
/// A keyframe each two seconds.
const GROUP: u64 = 2 * PICTURES;
/// Paths that are recorded at once, at the pace of life, and seconds of one run.
const PATHS: usize = 24;
const SECONDS: u64 = 6;
const RUNS: usize = 3;
/// As the server: what waits before it is written, and what is copied rather than handed over.
const PENDING: usize = 256 << 10;
const SMALL: usize = 2 << 10;
/// And how long frames are gathered.
const GATHER: Duration = Duration::from_millis(50);

#[derive(Clone, Copy, PartialEq)]
enum Run {
    Alone,
    Guest,
    Native,
}

pub(super) fn recorder(rows: &mut Vec<Row>) {
    let mut figures = [Run::Alone, Run::Guest, Run::Native].map(|kind| (kind, Vec::new()));
    for _ in 0..RUNS {
        // In turn, so that what else the machine does falls on all of them.
        figures.iter_mut().for_each(|(kind, runs)| runs.push(run(*kind)));
    }
    let [alone, guest, native] = figures.map(|(_, mut runs)| {
        runs.sort_by(f64::total_cmp);
        runs[RUNS / 2]
    });
    let (guest, native) = (guest - alone, native - alone);
    println!(
        "\nrecording 4 Mb/s to fragmented MP4, a part a second: {guest:.0} µs of processor a second of stream, natively {native:.0} (publishing alone {alone:.0})"
    );
    rows.push(Row::new(
        "recording one path of 4 Mb/s, processor time",
        format!("{:.2} % of a core", guest / 1e4),
        format!(
            "{:.2} % (the same code natively): ratio {:.2}",
            native / 1e4,
            guest / native
        ),
        "1.3 × native",
        "1.1 ×",
    ));
}

/// Microseconds of processor time of the process for a second of stream.
fn run(kind: Run) -> f64 {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let directory = state().join("recorder-bench");
    let _ = fs::remove_dir_all(&directory);
    let disk = Disk(directory.clone());
    let used = runtime.block_on(async {
        let mut services = Services::default();
        services.storage = Arc::new(disk.clone());
        let registry = Registry::new(Some(state()), services, vec![plugin("recorder", json!({}))]).expect("it loads");
        let used = Use {
            plugin: "recorder".into(),
            storage: Some(StorageGrant::recordings(Place::Directory(directory.clone()))),
            ..Use::default()
        };
        let sinks = registry.chains(&[used]).expect("a sink").sinks;
        let sinks = sinks.filter(|_| kind == Run::Guest);
        let (hub, _births) = Hub::new();
        let attendance = Attendance::spawn(hub.births(), move |_| sinks.clone());
        let rules = (0..PATHS).map(|n| Rule::new(&name(n), Arc::new(PathConfig::default())).expect("a rule"));
        hub.configure(Instant::now(), Rules::new(rules.collect()));
        let peer = Peer {
            kind: "rtspSession",
            id: uuid::Uuid::nil(),
        };
        let publish_one = |n| {
            let path = PathName::new(&name(n)).expect("a name");
            hub.publish(Instant::now(), WallClock(1), &path, peer, None, None, tracks())
                .expect("a publisher")
        };
        let publishers: Vec<_> = (0..PATHS).map(publish_one).collect();
        let natively = |publisher: &Publisher| tokio::spawn(record_natively(publisher.path().clone(), disk.clone()));
        let native: Vec<_> = match kind {
            Run::Native => publishers.iter().map(natively).collect(),
            Run::Alone | Run::Guest => Vec::new(),
        };
        let begun = processor_time();
        let publishers = tokio::task::spawn_blocking(move || publish(publishers)).await;
        for publisher in publishers.expect("a thread") {
            publisher.close(Instant::now(), CloseReason::Ended);
        }
        for native in native {
            native.await.expect("the native recorder lives");
        }
        attendance.close(Duration::from_secs(5)).await;
        processor_time() - begun
    });
    let written: u64 = files(&directory);
    let expected = PATHS as u64 * SECONDS * (PICTURES * PICTURE as u64 + SOUNDS * SOUND as u64);
    if kind != Run::Alone && written < expected {
        println!("  (of {expected} bytes {written} were written: the recorder lost some)");
    }
    let _ = fs::remove_dir_all(&directory);
    used.as_secs_f64() * 1e6 / (PATHS as u64 * SECONDS) as f64
}

fn name(n: usize) -> String {
    format!("bench{n}")
}

fn files(directory: &Path) -> u64 {
    let of = |n| fs::read_dir(directory.join(name(n))).into_iter().flatten().flatten();
    let files = (0..PATHS).flat_map(of).filter_map(|entry| entry.metadata().ok());
    files.map(|file| file.len()).sum()
}

fn tracks() -> Tracks {
    let clip = mp4::read(&Bytes::from_static(CLIP)).expect("the clip is whole");
    let track = |id, kind, clock_rate| {
        let of = clip
            .tracks
            .iter()
            .find(|track| track.kind == kind)
            .expect("it has both");
        Track {
            id: TrackId(id),
            clock_rate,
            ..of.clone()
        }
    };
    Tracks::from([track(1, Kind::Video, 90_000), track(2, Kind::Audio, 48_000)])
}

/// Feeds the streams, frame by frame, at their pace.
fn publish(mut publishers: Vec<Publisher>) -> Vec<Publisher> {
    let picture = |key: bool| {
        let mut payload = vec![if key { 0x65 } else { 0x41 }; PICTURE];
        payload[..4].copy_from_slice(&(PICTURE as u32 - 4).to_be_bytes());
        Payload::from(payload)
    };
    let (key, delta, sound) = (picture(true), picture(false), Payload::from(vec![0x21; SOUND]));
    let begun = Instant::now();
    // Time, path, number, whether it is a picture. Paths are apart in time, as in life.
    let mut frames = Vec::new();
    for path in 0..PATHS {
        let later = path as u64 * 1_000_000 / PICTURES / PATHS as u64;
        frames.extend((0..SECONDS * PICTURES).map(|n| (later + n * 1_000_000 / PICTURES, path, n, true)));
        frames.extend((0..SECONDS * SOUNDS).map(|n| (later + n * 1_000_000 / SOUNDS, path, n, false)));
    }
    frames.sort_unstable();
    for (micros, path, n, is_picture) in frames {
        let due = Duration::from_micros(micros);
        std::thread::sleep(due.saturating_sub(begun.elapsed()));
        let (track, step, is_key) = match is_picture {
            true => (TrackId(1), 90_000 / PICTURES, n.is_multiple_of(GROUP)),
            false => (TrackId(2), 48_000 / SOUNDS, true),
        };
        let frame = Frame {
            track,
            number: 0,
            pts: (n * step) as i64,
            dts: (n * step) as i64,
            duration: 0,
            wall: None,
            flags: Flags::NONE.set(Flags::KEY, is_key),
            payload: match (is_picture, is_key) {
                (false, _) => sound.clone(),
                (true, true) => key.clone(),
                (true, false) => delta.clone(),
            },
        };
        let now = begun + Duration::from_micros(micros);
        publishers[path]
            .push(now, WallClock(1_767_225_600_000_000 + micros), frame)
            .expect("the path is ours");
    }
    publishers
}

/// A reader of the path, as a sink is, that records with the same code.
async fn record_natively(path: Arc<wasmtx_hub::Path>, disk: Disk) {
    let (opening, mut reader) = path.attend(Instant::now(), Duration::ZERO).expect("somebody publishes");
    let settings = Settings {
        template: recording::Template::parse("%path/%Y-%m-%d_%H-%M-%S-%f").expect("a template"),
        format: recording::Format::Fmp4,
        part: 1_000_000,
        part_bytes: 50 << 20,
        segment: 3_600_000_000,
    };
    let mut recorder = Recorder::new(Native(disk, Instant::now()), settings, opening.path.as_str());
    recorder.open(&tracks());
    let (mut entries, mut lost) = (Vec::new(), 0);
    let mut called = Instant::now();
    loop {
        let drained = reader.drain(128, 8 << 20, &mut entries, &mut lost);
        if !entries.is_empty() {
            recorder.batch();
        }
        for entry in entries.drain(..) {
            let frame = &entry.frame;
            recorder.push(record::Frame {
                track: frame.track,
                pts: frame.pts,
                dts: frame.dts,
                duration: frame.duration,
                wall: frame.wall.map_or(0, |wall| wall.0),
                flags: frame.flags,
                payload: frame.payload.clone(),
            });
        }
        match drained {
            Drained::More => {}
            Drained::Empty => {
                reader.wait().await;
                sleep_until((called + GATHER).into()).await;
                called = Instant::now();
            }
            Drained::Ended(_) => return recorder.close(),
        }
    }
}

/// What a component asks of its host, without one.
struct Native(Disk, Instant);

/// Pieces are collected as the host does it.
struct Open {
    file: Box<dyn Append>,
    pieces: Vec<Bytes>,
    bytes: usize,
}

impl Open {
    fn add(&mut self, piece: Bytes) -> Result<(), Trouble> {
        self.bytes += piece.len();
        self.pieces.push(piece);
        if self.bytes < PENDING { Ok(()) } else { self.flush() }
    }

    fn flush(&mut self) -> Result<(), Trouble> {
        self.bytes = 0;
        let pieces = std::mem::take(&mut self.pieces);
        let written = block_in_place(|| self.file.append(&pieces));
        written.map(drop).map_err(|_| Trouble::Io)
    }
}

impl Server for Native {
    type Payload = Payload;
    type File = Open;

    fn now(&self) -> u64 {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        now.unwrap_or_default().as_micros() as u64
    }

    fn monotonic(&self) -> u64 {
        self.1.elapsed().as_micros() as u64
    }

    fn offset(&self, _: u64) -> i32 {
        0
    }

    fn identity(&self) -> [u8; 16] {
        [7; 16]
    }

    fn here<'a>(&self, payload: &'a Payload) -> Option<&'a [u8]> {
        (payload.len() <= SMALL).then(|| &payload[..])
    }

    fn bytes(&self, payload: &Payload) -> Bytes {
        payload.clone().into()
    }

    fn is_free(&self, name: &str) -> Result<bool, Trouble> {
        Ok(self.0.read(name, 0, 0).is_err())
    }

    fn create(&self, name: &str) -> Result<Open, Trouble> {
        let file = self.0.create(name).map_err(|_| Trouble::Io)?;
        Ok(Open {
            file,
            pieces: Vec::new(),
            bytes: 0,
        })
    }

    fn append(&self, file: &mut Open, bytes: &[u8]) -> Result<(), Trouble> {
        file.add(Bytes::copy_from_slice(bytes))
    }

    fn append_payload(&self, file: &mut Open, payload: &Payload) -> Result<(), Trouble> {
        file.add(payload.clone().into())
    }

    fn commit(&self, file: &mut Open) -> Result<(), Trouble> {
        file.flush()?;
        block_in_place(|| file.file.commit()).map(drop).map_err(|_| Trouble::Io)
    }

    fn finish(&self, mut file: Open) -> Result<(), Trouble> {
        self.commit(&mut file)
    }

    fn remove(&self, _: &str) {}

    fn tell(&self, _: Told<'_>) {}
}

/// A directory of this machine, written as recordings are.
#[derive(Clone)]
struct Disk(PathBuf);

impl Storage for Disk {
    fn directory(&self, _: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        Ok(Arc::new(self.clone()))
    }
}

impl Directory for Disk {
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError> {
        let file = self.0.join(name);
        let created = file.parent().map_or(Ok(()), fs::create_dir_all);
        let file = created.and_then(|()| fs::File::create(file));
        Ok(Box::new(Growing(file.map_err(|_| StorageError::Io)?)))
    }

    fn read(&self, name: &str, _: u64, _: u32) -> Result<Bytes, StorageError> {
        let found = fs::metadata(self.0.join(name));
        found.map(|_| Bytes::new()).map_err(|_| StorageError::NotFound)
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

struct Growing(fs::File);

impl Append for Growing {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        let mut slices: Vec<_> = parts.iter().map(|part| IoSlice::new(part)).collect();
        let mut rest = &mut slices[..];
        while !rest.is_empty() {
            let written = self.0.write_vectored(rest).map_err(|_| StorageError::Io)?;
            IoSlice::advance_slices(&mut rest, written);
        }
        Ok(0)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        self.0.sync_data().map_err(|_| StorageError::Io)?;
        Ok(0)
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        self.commit()
    }
}

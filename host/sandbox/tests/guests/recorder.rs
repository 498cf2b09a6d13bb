//! The bundled recorder: real files, as other programs read them, from a stream with pictures that are shown in another order
//! than they are decoded.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use serde_json::json;
use wasmtx_hub::{CloseReason, Hub, PathConfig, PathName, Peer, Publisher, Rule, Rules};
use wasmtx_media::{
    Codec, Frame, Kind, Payload, Tracks, WallClock,
    container::{
        mp4::{self, Movie, Step},
        mpegts,
    },
};
use wasmtx_sandbox::{
    Attendance, PluginSpec, Registry, Sample, Services, Source, Usage, Use,
    services::{
        Append, Directory as Files, Place, Recordings, SegmentTold, Storage, StorageError, StorageGrant, Stored,
    },
};

use crate::support::{Directory, PATIENCE};

const CLIP: &[u8] = include_bytes!("../../../media/testdata/mp4/h264-aac.mp4");
/// What the clip lasts, and a group of pictures in it, in microseconds.
const CLIP_TIME: i64 = 480_000;
const GROUP_TIME: i64 = CLIP_TIME / 2;
/// 2026-01-01 00:00 UTC.
const BEGIN: u64 = 1_767_225_600_000_000;

/// A directory of this machine.
#[derive(Clone)]
struct Disk(PathBuf);

impl Storage for Disk {
    fn directory(&self, _: &StorageGrant) -> Result<Arc<dyn Files>, String> {
        Ok(Arc::new(self.clone()))
    }
}

fn failed(error: std::io::Error) -> StorageError {
    match error.kind() {
        std::io::ErrorKind::NotFound => StorageError::NotFound,
        _ => StorageError::Io,
    }
}

impl Files for Disk {
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError> {
        let file = self.0.join(name);
        file.parent().map_or(Ok(()), fs::create_dir_all).map_err(failed)?;
        Ok(Box::new(Growing(fs::File::create_new(file).map_err(failed)?)))
    }

    fn read(&self, name: &str, offset: u64, len: u32) -> Result<Bytes, StorageError> {
        let mut file = fs::File::open(self.0.join(name)).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(len.into()).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes.into())
    }

    fn list(&self, _: &str) -> Result<Vec<Stored>, StorageError> {
        Err(StorageError::Io)
    }

    fn rename(&self, _: &str, _: &str) -> Result<(), StorageError> {
        Err(StorageError::Io)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        fs::remove_file(self.0.join(name)).map_err(failed)
    }
}

struct Growing(fs::File);

impl Append for Growing {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        for part in parts {
            self.0.write_all(part).map_err(failed)?;
        }
        self.0.stream_position().map_err(failed)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        self.append(&[])
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        self.append(&[])
    }
}

/// What was told of recordings.
#[derive(Default)]
struct Heard {
    started: Mutex<Vec<SegmentTold>>,
    done: Mutex<Vec<SegmentTold>>,
}

impl Recordings for Heard {
    fn started(&self, told: &SegmentTold) {
        self.started.lock().unwrap().push(told.clone());
    }

    fn done(&self, told: &SegmentTold) {
        self.done.lock().unwrap().push(told.clone());
    }

    fn left(&self, told: &SegmentTold) {
        panic!("{told:?} was left");
    }
}

/// A server that records one path.
struct House {
    hub: Hub,
    registry: Registry,
    attendance: Attendance,
    directory: Directory,
    heard: Arc<Heard>,
}

impl House {
    fn new(config: serde_json::Value) -> House {
        let directory = Directory::new();
        let heard = Arc::new(Heard::default());
        let mut services = Services::default();
        services.storage = Arc::new(Disk(directory.path().to_owned()));
        services.recordings = heard.clone();
        let mut spec = PluginSpec::new("recorder", Source::File(crate::support::guest("recorder")));
        // Hosts without optimisation on busy machines.
        spec.limits.sink_running = PATIENCE;
        spec.limits.tick = PATIENCE;
        spec.limits.share = u32::MAX;
        let state = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let registry = Registry::new(Some(state), services, vec![spec]).unwrap();
        let used = Use {
            plugin: "recorder".into(),
            config: Some(config),
            storage: Some(StorageGrant::recordings(Place::Directory("recordings".into()))),
            ..Use::default()
        };
        let sinks = registry.chains(&[used]).unwrap().sinks.unwrap();
        let (hub, _births) = Hub::new();
        let attendance = Attendance::spawn(hub.births(), move |_| Some(sinks.clone()));
        let mut config = PathConfig::default();
        // The stream's clock runs faster than the sinks.
        config.limits.keep_age = Duration::MAX;
        hub.configure(
            Instant::now(),
            Rules::new(vec![Rule::new("cam1", Arc::new(config)).unwrap()]),
        );
        House {
            hub,
            registry,
            attendance,
            directory,
            heard,
        }
    }

    async fn publish(&self, tracks: Tracks) -> Stream {
        let path = PathName::new("cam1").unwrap();
        let peer = Peer {
            kind: "rtspSession",
            id: uuid::Uuid::nil(),
        };
        let now = Instant::now();
        let publisher = self
            .hub
            .publish(now, WallClock(BEGIN), &path, peer, None, None, tracks.clone())
            .unwrap();
        self.until("the recorder is there", |usage| usage.path == "cam1").await;
        Stream { publisher, tracks, now }
    }

    fn usage(&self) -> Usage {
        let status = self.registry.status();
        let uses = status.into_iter().flat_map(|status| status.uses);
        uses.last().unwrap_or_default()
    }

    async fn until(&self, what: &str, is_so: impl Fn(&Usage) -> bool) {
        let begun = Instant::now();
        while !is_so(&self.usage()) {
            assert!(begun.elapsed() < PATIENCE, "never: {what}: {:?}", self.usage());
            tokio::task::yield_now().await;
        }
    }

    /// Ends the stream and everything else; answers the files by name.
    async fn end(self, stream: Stream) -> (Directory, Vec<PathBuf>, Arc<Heard>) {
        stream.publisher.close(stream.now, CloseReason::Ended);
        self.attendance.close(PATIENCE).await;
        let mut files: Vec<_> = fs::read_dir(self.directory.path().join("cam1"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        (self.directory, files, self.heard)
    }
}

/// A publication that shows the clip again and again.
struct Stream {
    publisher: Publisher,
    tracks: Tracks,
    now: Instant,
}

impl Stream {
    /// Sends the clip for the `turn`-th time; answers what was sent.
    fn show(&mut self, movie: &Movie, turn: i64) -> Vec<Frame> {
        let mut sent = Vec::new();
        for step in &movie.steps {
            let Step::Frame(frame) = step else {
                panic!("the clip's parameters change")
            };
            let track = self.tracks.iter().find(|track| track.id == frame.track).unwrap();
            let rate = i64::from(track.clock_rate);
            let later = turn * CLIP_TIME * rate / 1_000_000;
            let frame = Frame {
                pts: frame.pts + later,
                dts: frame.dts + later,
                ..frame.clone()
            };
            let micros = u64::try_from(1_000_000 + frame.dts * 1_000_000 / rate).unwrap();
            let wall = WallClock(BEGIN + micros);
            self.publisher.push(self.now, wall, frame.clone()).unwrap();
            sent.push(frame);
        }
        self.now += Duration::from_micros(CLIP_TIME as u64);
        sent
    }
}

fn clip() -> Movie {
    mp4::read(&Bytes::from_static(CLIP)).unwrap()
}

fn payloads<'a>(frames: impl IntoIterator<Item = &'a Frame>, tracks: &Tracks, kind: Kind) -> Vec<Payload> {
    let track = tracks.iter().find(|track| track.kind == kind).unwrap().id;
    let of = frames.into_iter().filter(|frame| frame.track == track);
    of.map(|frame| frame.payload.clone()).collect()
}

fn frames(movie: &Movie) -> Vec<Frame> {
    let frame = |step: &Step| match step {
        Step::Frame(frame) => Some(frame.clone()),
        Step::Tracks(_) => None,
    };
    movie.steps.iter().filter_map(frame).collect()
}

/// Packets that ffprobe finds, and what it has to complain about.
fn probed(file: &Path, stream: &str) -> (usize, String) {
    let output = Command::new("ffprobe")
        .args(["-v", "warning", "-count_packets", "-select_streams", stream])
        .args(["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"])
        .arg(file)
        .output()
        .expect("ffprobe is needed: apt-get install ffmpeg");
    let count = String::from_utf8_lossy(&output.stdout);
    // Of a transport stream it says so for its program, too.
    let count = count
        .lines()
        .next()
        .and_then(|line| line.trim_end_matches(',').parse().ok());
    (
        count.unwrap_or_default(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_holds_every_frame_across_its_files_and_others_read_it() {
    let house = House::new(json!({ "segmentDuration": "2s", "partDuration": "200ms" }));
    let clip = clip();
    let mut stream = house.publish(clip.tracks.clone()).await;
    let mut sent = Vec::new();
    for turn in 0..20 {
        sent.extend(stream.show(&clip, turn));
        let count = sent.len() as u64;
        house.until("it is taken", |usage| usage.passed == count).await;
    }
    let (_directory, files, heard) = house.end(stream).await;
    assert_eq!(files.len(), 5, "{files:?}");
    let mut recorded = Vec::new();
    let mut last = None::<mp4::Segment>;
    let mut packets = [0, 0];
    for file in &files {
        let movie = mp4::read(&fs::read(file).unwrap().into()).unwrap();
        assert_eq!(movie.missing, 0);
        let segment = movie.segment.unwrap();
        assert!(last.is_none_or(|last| last.is_before(&segment)), "{last:?} {segment:?}");
        last = Some(segment);
        assert!(frames(&movie)[0].is_key());
        recorded.push(movie);
        for (sum, stream) in packets.iter_mut().zip(["v", "a"]) {
            let (count, complaints) = probed(file, stream);
            assert_eq!(complaints, "", "{file:?}");
            *sum += count;
        }
    }
    for kind in [Kind::Video, Kind::Audio] {
        let of = |movie: &Movie| payloads(&frames(movie), &movie.tracks, kind);
        let recorded: Vec<_> = recorded.iter().flat_map(of).collect();
        assert!(
            recorded == payloads(&sent, &clip.tracks, kind),
            "{kind:?} is as it was sent"
        );
        assert_eq!(packets[usize::from(kind == Kind::Audio)], recorded.len());
    }
    let done = heard.done.lock().unwrap();
    let told: Vec<_> = done.iter().map(|told| _directory.path().join(&told.file)).collect();
    assert_eq!(told, files);
    assert_eq!(done[0].duration, 9 * GROUP_TIME as u64);
    assert_eq!(heard.started.lock().unwrap().len(), files.len());
    for (told, file) in done.iter().zip(&files) {
        assert_eq!(told.size, fs::metadata(file).unwrap().len());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transport_stream_is_recorded_as_well() {
    let house = House::new(json!({ "format": "mpegts", "segmentDuration": "2s" }));
    let clip = clip();
    let mut stream = house.publish(clip.tracks.clone()).await;
    let mut sent = Vec::new();
    for turn in 0..10 {
        sent.extend(stream.show(&clip, turn));
        let count = sent.len() as u64;
        house.until("it is taken", |usage| usage.passed == count).await;
    }
    let (_directory, files, _) = house.end(stream).await;
    assert_eq!(files.len(), 3, "{files:?}");
    let count = |stream| -> usize { files.iter().map(|file| probed(file, stream).0).sum() };
    for (kind, stream) in [(Kind::Video, "v"), (Kind::Audio, "a")] {
        let sent = payloads(&sent, &clip.tracks, kind);
        assert_eq!(count(stream), sent.len());
        let recorded: Vec<_> = files.iter().flat_map(|file| demultiplexed(file, kind)).collect();
        assert!(recorded == sent, "{kind:?} is as it was sent");
    }
}

/// Payloads of a track of a transport stream.
fn demultiplexed(file: &Path, kind: Kind) -> Vec<Payload> {
    let mut demuxer = mpegts::Demuxer::recorded();
    let mut tracks = Tracks::from([]);
    let mut frames = Vec::new();
    let mut take = |demuxer: &mut mpegts::Demuxer| {
        while let Some(step) = demuxer.next() {
            match step {
                mpegts::Step::Tracks(now) => tracks = now,
                mpegts::Step::Frame(frame) => frames.push(frame),
                other => panic!("{other:?} in {file:?}"),
            }
        }
    };
    for piece in fs::read(file).unwrap().chunks(64 << 10) {
        demuxer.push(piece);
        take(&mut demuxer);
    }
    demuxer.finish();
    take(&mut demuxer);
    payloads(&frames, &tracks, kind)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_parameters_begin_another_recording_in_the_same_stream() {
    let house = House::new(json!({}));
    let clip = clip();
    let mut stream = house.publish(clip.tracks.clone()).await;
    let mut sent = stream.show(&clip, 0);
    sent.extend(stream.show(&clip, 1));
    let others: Vec<_> = clip
        .tracks
        .iter()
        .map(|track| {
            let mut track = track.clone();
            if let Codec::H264(parameters) = &mut track.codec {
                let mut sps = parameters.sps.to_vec();
                // The level.
                sps[3] += 1;
                parameters.sps = sps.into();
            }
            track
        })
        .collect();
    stream.publisher.set_tracks(stream.now, others.into()).unwrap();
    sent.extend(stream.show(&clip, 2));
    let count = sent.len() as u64;
    house.until("it is taken", |usage| usage.passed == count).await;
    let segments = |usage: &Usage| {
        let of = |(name, sample): &(String, Sample)| name == "segments" && matches!(sample, Sample::Counter(_));
        usage.series.iter().any(of)
    };
    house.until("a file is begun", segments).await;
    let (_directory, files, _) = house.end(stream).await;
    let movies: Vec<_> = files
        .iter()
        .map(|file| mp4::read(&fs::read(file).unwrap().into()).unwrap())
        .collect();
    assert_eq!(movies.len(), 2);
    assert_ne!(movies[0].segment.unwrap().stream, movies[1].segment.unwrap().stream);
    let recorded: Vec<_> = movies
        .iter()
        .flat_map(|movie| payloads(&frames(movie), &movie.tracks, Kind::Video))
        .collect();
    assert!(recorded == payloads(&sent, &clip.tracks, Kind::Video));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recorder_that_is_swapped_goes_on_with_its_recording() {
    let house = House::new(json!({}));
    let clip = clip();
    let mut stream = house.publish(clip.tracks.clone()).await;
    let mut sent = stream.show(&clip, 0);
    let registry = house.registry.clone();
    tokio::task::spawn_blocking(move || registry.reload("recorder"))
        .await
        .unwrap()
        .unwrap();
    let mut turn = 0;
    // The new one is made beside the old one, and takes its place at a keyframe.
    while house.usage().swaps == 0 || turn < 4 {
        turn += 1;
        sent.extend(stream.show(&clip, turn));
        let count = sent.len() as u64;
        house.until("it is taken", |usage| usage.passed == count).await;
    }
    let (_directory, files, heard) = house.end(stream).await;
    let movies: Vec<_> = files
        .iter()
        .map(|file| mp4::read(&fs::read(file).unwrap().into()).unwrap())
        .collect();
    let [before, after] = movies.as_slice() else {
        panic!("{files:?}")
    };
    assert!(before.segment.unwrap().is_before(&after.segment.unwrap()));
    for kind in [Kind::Video, Kind::Audio] {
        let of = |movie: &Movie| payloads(&frames(movie), &movie.tracks, kind);
        let recorded: Vec<_> = movies.iter().flat_map(of).collect();
        assert!(
            recorded == payloads(&sent, &clip.tracks, kind),
            "{kind:?} is as it was sent"
        );
    }
    assert_eq!(heard.done.lock().unwrap().len(), 2);
}

//! Recordings when things go wrong: what was acknowledged is never lost, and nobody else notices anything.

mod clock;
mod disk;
mod kill;
mod power;
mod races;
mod store;

use std::{
    fs,
    path::{Path, PathBuf},
    thread::sleep,
    time::Duration,
};

use bytes::Bytes;
use wasmtx_media::{Codec as Form, Kind, container::mp4};

use crate::harness::{Codec, Publisher, Server, hash, run, until};

/// Every path records, in parts of 200 ms.
const RECORD: &str = "pathDefaults:\n  record: yes\n  recordPartDuration: 200ms\npaths:\n  all_others:\n";

/// As [`RECORD`], with further keys, and with recordings and state in directories that outlive the server.
fn record_to(disk: &Path, state: &Path, keys: &[&str]) -> String {
    let (disk, state) = (disk.display(), state.display());
    let keys: String = keys.iter().map(|key| format!("  {key}\n")).collect();
    let record = RECORD.replace(
        "record: yes\n",
        &format!("record: yes\n  recordPath: {disk}/recordings/%path/%Y-%m-%d_%H-%M-%S-%f\n{keys}"),
    );
    format!("stateDirectory: {state}/state\n{record}")
}

/// Pictures in such a part: those of the clip come 25 times a second.
const PER_PART: usize = 5;

/// From one of them to the next.
const INTERVAL: Duration = Duration::from_millis(40);

/// Publishes the pictures of a clip when the test says so, 25 to the second of their own time, a keyframe each second.
struct Camera {
    publisher: Publisher,
    pictures: Vec<Bytes>,
    sent: usize,
}

impl Camera {
    /// Begins to publish.
    #[track_caller]
    fn new(server: &Server, path: &str) -> Camera {
        let clip = fs::read(&Codec::Both.clip().file).expect("a clip");
        let movie = mp4::read(&clip.into()).expect("a clip that can be read");
        let track = movie.tracks.iter().find(|track| track.kind == Kind::Video);
        let track = track.expect("a clip with pictures");
        assert!(matches!(track.codec, Form::H264(_)));
        let frames = movie.steps.iter().filter_map(|step| match step {
            mp4::Step::Frame(frame) if frame.track == track.id => Some(frame.payload.to_vec().into()),
            _ => None,
        });
        Camera {
            publisher: Publisher::new(server, path, Kind::Video, track.codec.clone()),
            pictures: frames.collect(),
            sent: 0,
        }
    }

    /// Sends the next pictures. At the end of the clip it begins again.
    #[track_caller]
    fn send(&mut self, count: usize) {
        for _ in 0..count {
            self.publisher.send(&self.pictures[self.sent % self.pictures.len()]);
            self.sent += 1;
        }
    }

    /// Sends the next pictures at the pace of life.
    #[track_caller]
    fn live(&mut self, count: usize) {
        for _ in 0..count {
            self.send(1);
            sleep(INTERVAL);
        }
    }

    /// The hashes of everything that was sent so far.
    fn hashes(&self) -> Vec<String> {
        let once: Vec<_> = self.pictures.iter().map(|picture| hash(picture)).collect();
        once.iter().cycle().take(self.sent).cloned().collect()
    }
}

/// The files of a path's recording, from the oldest on.
fn files(server: &Server, path: &str) -> Vec<PathBuf> {
    files_below(&server.folder().file("recordings").join(path))
}

/// The recorded files in a directory, from the oldest on.
fn files_below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).collect();
    files.retain(|file| file.extension().is_some_and(|ending| ending == "mp4" || ending == "ts"));
    files.sort();
    files
}

/// How many of a file's first bytes are whole: its header and the parts behind it that have all their bytes.
fn whole(file: &[u8]) -> usize {
    let (mut at, mut whole) = (0, 0);
    let mut header = false;
    while let Some(head) = file.get(at..at + 8) {
        let length = u32::from_be_bytes(head[..4].try_into().expect("four bytes")) as usize;
        assert!(length >= 8, "a box of {length} bytes at {at}");
        if file.len() < at + length {
            break;
        }
        at += length;
        header |= &head[4..] == b"moov";
        if header && matches!(&head[4..], b"moov" | b"mdat") {
            whole = at;
        }
    }
    whole
}

/// How many pictures are in the whole parts of a file that was cut off, but for its last `without` parts.
fn pictures(file: &[u8], without: usize) -> usize {
    let mut kept = &file[..whole(file)];
    for _ in 0..without {
        kept = &kept[..whole(&kept[..kept.len().saturating_sub(1)])];
    }
    if parts(kept) == 0 {
        return 0;
    }
    let movie = mp4::read(&Bytes::copy_from_slice(kept)).expect("a recording");
    let frames = movie.steps.iter().filter(|step| matches!(step, mp4::Step::Frame(_)));
    frames.count()
}

/// The parts of a file that are whole.
fn parts(file: &[u8]) -> usize {
    let (mut at, mut parts) = (0, 0);
    let whole = whole(file);
    while at < whole {
        let length = u32::from_be_bytes(file[at..at + 4].try_into().expect("four bytes")) as usize;
        parts += usize::from(&file[at + 4..at + 8] == b"mdat");
        at += length;
    }
    parts
}

/// Waits until the newest file of a path has so many whole parts, and answers it.
#[track_caller]
fn until_parts(server: &Server, path: &str, count: usize) -> PathBuf {
    until(&format!("{path} has {count} parts"), || {
        let newest = files(server, path).pop()?;
        let bytes = fs::read(&newest).ok()?;
        (parts(&bytes) >= count).then_some(newest)
    })
}

/// The hashes of the pictures in a file, in the form in which they were sent. FFmpeg reads it, and has nothing to complain of.
#[track_caller]
fn hashes_in(file: &Path) -> Vec<String> {
    let probe = ["-v", "error", "-show_entries", "format=nb_streams", "-of", "csv=p=0"];
    let line = probe.iter().map(AsRef::<Path>::as_ref).chain([file]);
    run("ffprobe", line);
    let movie = mp4::read(&fs::read(file).expect("a file").into()).expect("a recording");
    let frames = movie.steps.iter().filter_map(|step| match step {
        mp4::Step::Frame(frame) => Some(hash(frame.payload.as_ref())),
        mp4::Step::Tracks(_) => None,
    });
    let hashes: Vec<_> = frames.collect();
    let packets = ["-v", "error", "-count_packets", "-select_streams", "v:0"];
    let packets = packets
        .iter()
        .chain(&["-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"]);
    let line = packets.map(AsRef::<Path>::as_ref).chain([file]);
    let counted = String::from_utf8_lossy(&run("ffprobe", line)).trim().parse::<usize>();
    assert_eq!(counted, Ok(hashes.len()), "{}: as FFmpeg counts them", file.display());
    hashes
}

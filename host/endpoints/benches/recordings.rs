//! Listing 100,000 recordings of one path: when nobody knows them yet, after a restart, when they were listed before,
//! and when one more was recorded since; beside walking over the same files.
//!
//! Prints rows `| figure | measured | reference | hold | aim |`.

use std::{
    fs,
    hint::black_box,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use wasmtx_endpoints::{
    recording::{Archive, MachineClock, Parts, Rule, Rules, Told},
    storage::{Directories, MinFree, Options, Place},
};
use wasmtx_hub::{Events, PathName};
use wasmtx_media::recording::Template;

const FILES: u64 = 100_000;
/// 2024-06-01 12:00 UTC, in microseconds.
const NOON: u64 = 1_717_243_200_000_000;
/// Measured this often; the middle one counts.
const ROUNDS: usize = 9;
/// A directory's time is believed when it is older than the clock of its file system is coarse.
const TICKS: Duration = Duration::from_millis(250);

fn main() {
    let folder = std::env::temp_dir().join(format!("wasmtx-bench-recordings-{}", std::process::id()));
    let rec = folder.join("rec/cam");
    fs::create_dir_all(&rec).expect("a folder");
    let template = Template::parse("%path/%Y-%m-%d_%H-%M-%S-%f").expect("a template");
    for number in 0..FILES {
        let name = template.expand("cam", NOON + number * 1_000_000, 0);
        fs::write(folder.join("rec").join(format!("{name}.mp4")), b"").expect("a file");
    }
    std::thread::sleep(TICKS);
    let path = PathName::new("cam").expect("a name");
    let walk = once(|| walked(&rec));
    let before = memory();
    let (archive, _) = start(&folder, &template);
    let cold = once(|| archive.segments(&path).map_or(0, |segments| segments.len()));
    let held = memory().saturating_sub(before);
    let warm = middle(|| archive.segments(&path).map_or(0, |segments| segments.len()));
    drop(archive);
    let (archive, directories) = start(&folder, &template);
    let again = once(|| archive.segments(&path).map_or(0, |segments| segments.len()));
    let place = Place::Directory(folder.join("rec"));
    let directory = directories.open(&place, options()).expect("the folder");
    let mut number = FILES;
    let recorded = middle(|| {
        number += 1;
        let start = NOON + number * 1_000_000;
        let file = format!("{}.mp4", template.expand("cam", start, 0));
        let told = Told {
            path: path.clone(),
            place: place.clone(),
            file: file.clone(),
            start,
            duration: 1_000_000,
        };
        let writer = directory.create(&file).expect("a file");
        archive.started(told.clone());
        writer.finish().expect("a file");
        archive.done(told);
        archive.segments(&path).map_or(0, |segments| segments.len())
    });
    let paths = middle(|| archive.paths().map_or(0, |paths| paths.len()));
    let reference = format!("{} (walking over the files)", millis(walk));
    row("listing 100,000 recordings, listed before", warm, &reference, "50 ms");
    row("the same, after a recording in between", recorded, &reference, "50 ms");
    row("the same, the first time after a restart", again, &reference, "");
    row("the same, the first time", cold, &reference, "");
    row("listing the paths that have recordings", paths, &reference, "");
    println!("| memory of 100,000 listed recordings | {} MiB | | | |", held >> 20);
    let _ = fs::remove_dir_all(folder);
}

fn options() -> Options {
    let mut options = Options::recordings();
    options.min_free = MinFree::Bytes(0);
    options
}

fn start(folder: &Path, template: &Template) -> (Arc<Archive>, Arc<Directories>) {
    let state: PathBuf = folder.join("state");
    let directories = Arc::new(Directories::new(state.clone()));
    let archive = Archive::new(Parts {
        directories: directories.clone(),
        state,
        clock: Arc::new(MachineClock),
        events: Events::default(),
    });
    let rule = Arc::new(Rule {
        place: Place::Directory(folder.join("rec")),
        template: template.clone(),
        delete_after: Duration::ZERO,
        max_size: 0,
        min_free: MinFree::Bytes(0),
    });
    let entry = rule.clone();
    archive.configure(Rules::new([rule], move |_| Some(entry.clone())));
    (archive, directories)
}

/// What every listing would cost without an index, and less: nothing is sorted or understood.
fn walked(folder: &Path) -> usize {
    let entries = fs::read_dir(folder).expect("the folder");
    entries.flatten().filter(|entry| entry.metadata().is_ok()).count()
}

fn once(mut act: impl FnMut() -> usize) -> Duration {
    let begin = Instant::now();
    assert!(black_box(act()) > 0);
    begin.elapsed()
}

fn middle(mut act: impl FnMut() -> usize) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| once(&mut act)).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

/// Resident bytes.
fn memory() -> u64 {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok());
    pages.unwrap_or(0) * 4096
}

fn millis(time: Duration) -> String {
    format!("{:.2} ms", time.as_secs_f64() * 1_000.0)
}

fn row(figure: &str, measured: Duration, reference: &str, hold: &str) {
    println!("| {figure} | {} | {reference} | {hold} | |", millis(measured));
}

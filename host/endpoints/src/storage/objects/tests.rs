//! Against a real server that speaks S3, behind a door that can be shut.

mod door;
mod moto;

use std::{
    path::PathBuf,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::{Duration, Instant},
};

use super::*;
use crate::storage::{Directories, Directory, Options, Place, READ_BYTES, Waiting};
use door::Door;
use moto::Moto;

/// Something that must come comes long before.
const PATIENCE: Duration = Duration::from_secs(120);
const MIB: usize = 1 << 20;

/// A bucket of its own behind a door, and the state directory of a server.
struct Scene {
    moto: Moto,
    door: Door,
    state: PathBuf,
}

impl Scene {
    fn new() -> Scene {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("wasmtx-objects-{}-{}", std::process::id(), COUNT.fetch_add(1, Relaxed));
        let moto = Moto::start();
        moto.ask("PUT", "/bucket");
        Scene {
            door: Door::open_to(moto.address),
            state: std::env::temp_dir().join(name),
            moto,
        }
    }

    /// What a server has of it; dropped, the server is gone.
    fn server(&self) -> Server {
        self.server_with(&[])
    }

    fn server_with(&self, more: &[(&str, &str)]) -> Server {
        let endpoint = format!("http://{}", self.door.address);
        let usual = [
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_ACCESS_KEY_ID", "key"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_REGION", "us-east-1"),
        ];
        let all = usual
            .iter()
            .chain(more)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let directories = Directories::with_environment(self.state.clone(), all);
        let place = Place::parse("s3://bucket/cameras").unwrap();
        let directory = directories.open(&place, Options::recordings()).unwrap();
        Server { directories, directory }
    }

    /// What the store has under a key, if anything.
    fn stored(&self, key: &str) -> Option<Vec<u8>> {
        let (status, body) = self.moto.ask("GET", &format!("/bucket/cameras/{key}"));
        (status == 200).then_some(body)
    }

    /// Uploads in parts that nobody ended.
    fn begun(&self) -> usize {
        let (_, body) = self.moto.ask("GET", "/bucket?uploads");
        String::from_utf8_lossy(&body).matches("<UploadId>").count()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.state);
    }
}

struct Server {
    directories: Directories,
    directory: Directory,
}

impl Server {
    fn waiting(&self) -> Waiting {
        self.directories.waiting().remove(0)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let mut file = self.directory.create(name).unwrap();
        for part in bytes.chunks(MIB) {
            file.append(&[Bytes::copy_from_slice(part)]).unwrap();
        }
        file.finish().unwrap();
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        let entries = self.directory.list(prefix).unwrap();
        entries.into_iter().map(|entry| entry.name).collect()
    }

    fn uploaded(&self) {
        until("the spool is empty", || (self.waiting().files == 0).then_some(()));
    }
}

#[track_caller]
fn until<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(there) = there() {
            return there;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Bytes that are the same nowhere.
fn content(length: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..length).map(|_| next()).collect()
}

#[track_caller]
fn not_found<T: std::fmt::Debug>(result: Result<T, Error>) {
    assert!(matches!(result, Err(Error::NotFound)), "{result:?}");
}

#[test]
fn what_is_done_is_in_the_store_and_reads_as_before() {
    let scene = Scene::new();
    let server = scene.server();
    let directory = &server.directory;
    let small = "caméra 1/2026-11-22_10:00:00+01:00.mp4";
    server.write(small, b"hello world");
    server.write("cam2/empty", b"");
    server.uploaded();
    let key = "cam%C3%A9ra%201/2026-11-22_10%3A00%3A00%2B01%3A00.mp4";
    assert_eq!(scene.stored(key).unwrap(), b"hello world");
    assert_eq!(server.names(""), ["cam2/empty", small]);
    assert_eq!(server.names("cam2/e"), ["cam2/empty"]);
    assert!(server.names("cam3").is_empty());
    let entry = directory.entry(small).unwrap();
    assert!(entry.size == 11 && entry.modified > 1_600_000_000_000_000, "{entry:?}");
    let reader = directory.open(small).unwrap();
    assert_eq!(
        (reader.len().unwrap(), reader.read_at(6, 100).unwrap()),
        (11, "world".into())
    );
    assert_eq!(reader.read_at(11, 5).unwrap(), "");
    assert_eq!(reader.read_at(u64::MAX, 5).unwrap(), "");
    assert_eq!(directory.read("cam2/empty", 0, 5).unwrap(), "");
    assert_eq!((directory.stamp("").unwrap(), directory.free()), (None, None));
    for missing in ["cam", "cam2", "cam2/x"] {
        not_found(directory.entry(missing));
        not_found(directory.open(missing));
        not_found(directory.remove(missing));
    }
    not_found(directory.truncate(small, 0));
    let waiting = server.waiting();
    assert_eq!(
        (waiting.uploaded_files, waiting.uploaded_bytes, waiting.away),
        (2, 11, false)
    );
    assert!(std::fs::read_dir(&scene.state).unwrap().count() == 1);
}

#[test]
fn a_large_file_goes_in_parts() {
    let scene = Scene::new();
    let server = scene.server();
    let bytes = content(17 * MIB + 5);
    server.write("large", &bytes);
    server.uploaded();
    assert!(scene.stored("large").unwrap() == bytes);
    assert_eq!(scene.begun(), 0);
    let reader = server.directory.open("large").unwrap();
    assert_eq!(reader.len().unwrap(), bytes.len() as u64);
    let part = reader.read_at(8 << 20, u32::MAX).unwrap();
    assert!(part == bytes[8 * MIB..9 * MIB] && part.len() == READ_BYTES as usize);
}

#[test]
fn spool_and_store_are_seen_as_one() {
    let scene = Scene::new();
    let server = scene.server();
    let directory = &server.directory;
    server.write("a/stored", b"12");
    server.write("b/stored", b"1");
    server.uploaded();
    // What is being written is nowhere else.
    let mut file = directory.create("a/written").unwrap();
    file.append(&["123".into()]).unwrap();
    assert!(directory.is_open("a/written") && !directory.is_open("a/stored"));
    assert_eq!(server.names("a/"), ["a/stored", "a/written"]);
    assert_eq!(directory.read("a/written", 1, 9).unwrap(), "23");
    let level = |name| {
        let items = directory.level(name).unwrap().into_iter();
        items
            .map(|item| (item.name, item.kind == Kind::Directory))
            .collect::<Vec<_>>()
    };
    assert_eq!(level(""), [("a".to_owned(), true), ("b".to_owned(), true)]);
    assert_eq!(
        level("a"),
        [("stored".to_owned(), false), ("written".to_owned(), false)]
    );
    assert_eq!(level("b"), [("stored".to_owned(), false)]);
    not_found(directory.level("c"));
    // A reader that has a spooled file keeps it when the store gets it.
    let reader = directory.open("a/written").unwrap();
    file.finish().unwrap();
    server.uploaded();
    assert_eq!(reader.read_at(0, 9).unwrap(), "123");
    assert_eq!(server.names(""), ["a/stored", "a/written", "b/stored"]);
}

#[test]
fn removing_and_renaming_reach_both() {
    let scene = Scene::new();
    let server = scene.server();
    let directory = &server.directory;
    server.write("stored", b"stored");
    server.uploaded();
    directory.rename("stored", "moved/stored").unwrap();
    assert_eq!(server.names(""), ["moved/stored"]);
    assert_eq!(scene.stored("moved/stored").unwrap(), b"stored");
    directory.rename("moved/stored", "moved/stored").unwrap();
    not_found(directory.rename("missing", "x"));
    // One that is being written goes where its name is when it is done.
    let mut file = directory.create("written").unwrap();
    file.append(&["written".into()]).unwrap();
    directory.rename("written", "done").unwrap();
    file.finish().unwrap();
    server.uploaded();
    assert_eq!(server.names(""), ["done", "moved/stored"]);
    directory.remove("done").unwrap();
    directory.remove("moved/stored").unwrap();
    assert!(server.names("").is_empty());
    assert_eq!((scene.stored("done"), scene.stored("moved/stored")), (None, None));
    not_found(directory.remove("done"));
    // One that is removed while it is written never gets there.
    let file = directory.create("gone").unwrap();
    directory.remove("gone").unwrap();
    file.finish().unwrap();
    server.write("last", b"x");
    server.uploaded();
    assert_eq!(server.names(""), ["last"]);
}

#[test]
fn while_the_store_is_away_everything_waits_in_the_spool() {
    let scene = Scene::new();
    let server = scene.server();
    server.write("before", b"before");
    server.uploaded();
    scene.door.shut();
    for n in 0..20 {
        server.write(&format!("during/{n}"), b"during");
    }
    let waiting = until("the outage is noticed", || {
        Some(server.waiting()).filter(|waiting| waiting.away && waiting.failures > 0)
    });
    assert_eq!((waiting.files, waiting.bytes), (20, 120));
    // What is here can be had, what is there cannot, and half a list is none.
    assert_eq!(server.directory.read("during/7", 0, 9).unwrap(), "during");
    assert!(matches!(server.directory.read("before", 0, 9), Err(Error::Io(_))));
    assert!(matches!(server.directory.list(""), Err(Error::Io(_))));
    server.directory.remove("during/19").unwrap();
    scene.door.open();
    server.uploaded();
    assert_eq!(scene.stored("during/7").unwrap(), b"during");
    assert!(scene.stored("during/19").is_none() && !server.waiting().away);
    assert_eq!(server.names("").len(), 20);
}

#[test]
fn an_upload_goes_on_where_the_server_was_stopped() {
    let scene = Scene::new();
    let bytes = content(24 * MIB + 7);
    {
        let server = scene.server();
        // Enough for the first part, and for half of the second.
        scene.door.shut_after(12 * MIB as u64);
        server.write("large", &bytes);
        until("the store is away", || (server.waiting().failures > 0).then_some(()));
    }
    assert_eq!(scene.begun(), 1);
    scene.door.open();
    let server = scene.server();
    // Nobody said yet that what was left behind is whole.
    assert_eq!(
        (server.waiting().files, server.names("")),
        (1, vec!["large".to_owned()])
    );
    let before = scene.door.passed();
    server.directory.leftovers_recovered();
    server.uploaded();
    let passed = scene.door.passed() - before;
    assert!(
        passed < 18 * MIB as u64,
        "{passed} bytes were sent: what was there already, too"
    );
    assert!(scene.stored("large").unwrap() == bytes);
    assert_eq!(scene.begun(), 0);
}

#[test]
fn a_torn_tail_in_the_spool_is_cut_before_it_is_uploaded() {
    let scene = Scene::new();
    {
        let server = scene.server();
        // As if the process had been killed: dropped with the runtime already gone.
        let mut file = server.directory.create("torn").unwrap();
        file.append(&["whole part, half a".into()]).unwrap();
        file.commit().unwrap();
        drop(server);
        drop(file);
    }
    let server = scene.server();
    assert_eq!(server.directory.leftovers(), ["torn"]);
    server.directory.truncate("torn", 10).unwrap();
    server.directory.leftovers_recovered();
    server.uploaded();
    assert_eq!(scene.stored("torn").unwrap(), b"whole part");
    assert!(server.directory.leftovers().is_empty());
}

#[test]
fn a_recording_that_nobody_finished_waits_until_its_end_was_looked_at() {
    let scene = Scene::new();
    let server = scene.server();
    let mut file = server.directory.create("torn").unwrap();
    file.append(&["whole part, half a".into()]).unwrap();
    drop(file);
    server.write("whole", b"x");
    until("the other is uploaded", || (server.waiting().files == 1).then_some(()));
    assert_eq!(server.directory.leftovers(), ["torn"]);
    server.directory.truncate("torn", 10).unwrap();
    server.directory.leftovers_recovered();
    server.uploaded();
    assert_eq!(scene.stored("torn").unwrap(), b"whole part");
}

#[test]
fn a_spool_that_somebody_empties_takes_nothing_from_the_store() {
    let scene = Scene::new();
    let server = scene.server();
    let bytes = content(17 * MIB);
    scene.door.shut_after(12 * MIB as u64);
    server.write("large", &bytes);
    until("the store is away", || (server.waiting().failures > 0).then_some(()));
    scene.door.open();
    // Its name goes while it is on its way again.
    until("a part more is there", || {
        (scene.door.passed() > 13 * MIB as u64).then_some(())
    });
    std::fs::remove_dir_all(scene.state.join("spool")).unwrap();
    until("it is uploaded", || {
        scene.stored("large").filter(|stored| *stored == bytes)
    });
    server.write("next", b"next");
    until("the next one, too", || scene.stored("next"));
    assert_eq!(server.names(""), ["large", "next"]);
}

#[test]
fn what_the_store_forgot_is_sent_anew_and_what_nobody_wants_is_given_up() {
    let scene = Scene::new();
    let bytes = content(17 * MIB);
    {
        let server = scene.server();
        scene.door.shut_after(12 * MIB as u64);
        server.write("large", &bytes);
        until("the store is away", || (server.waiting().failures > 0).then_some(()));
    }
    // The store loses what it had of the first file; the operator removes the second one from the spool.
    let (_, uploads) = scene.moto.ask("GET", "/bucket?uploads");
    let uploads = String::from_utf8(uploads).unwrap();
    let (_, id) = uploads.split_once("<UploadId>").unwrap();
    let id = id.split('<').next().unwrap();
    scene
        .moto
        .ask("DELETE", &format!("/bucket/cameras/large?uploadId={id}"));
    scene.door.forget(id);
    assert_eq!(scene.begun(), 0);
    scene.door.open();
    {
        let server = scene.server();
        server.directory.leftovers_recovered();
        server.uploaded();
        assert!(scene.stored("large").unwrap() == bytes);
        scene.door.shut_after(12 * MIB as u64);
        server.write("unwanted", &bytes);
        until("the store is away", || (server.waiting().failures > 1).then_some(()));
        server.directory.remove("unwanted").unwrap();
    }
    scene.door.open();
    let server = scene.server();
    until("it is given up", || (scene.begun() == 0).then_some(()));
    assert_eq!(server.names(""), ["large"]);
}

#[test]
fn a_bucket_that_is_not_there_stops_no_recording() {
    let scene = Scene::new();
    let server = scene.server();
    let place = Place::parse("s3://other-bucket").unwrap();
    let other = server.directories.open(&place, Options::recordings()).unwrap();
    let mut file = other.create("x").unwrap();
    file.append(&["x".into()]).unwrap();
    file.finish().unwrap();
    let state = || server.directories.waiting().remove(1);
    until("it is noticed", || (state().away && state().failures > 0).then_some(()));
    assert_eq!((state().files, other.read("x", 0, 9).unwrap()), (1, "x".into()));
    scene.moto.ask("PUT", "/other-bucket");
    until("it is uploaded", || (state().files == 0).then_some(()));
    assert_eq!(scene.moto.ask("GET", "/other-bucket/x"), (200, b"x".to_vec()));
}

#[test]
fn settings_that_cannot_work_are_said_at_once() {
    let state = std::env::temp_dir().join(format!("wasmtx-objects-settings-{}", std::process::id()));
    let refused = |variables: &[(&str, &str)]| {
        let variables = variables
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let directories = Directories::with_environment(state.clone(), variables);
        let opened = directories.open(&Place::Objects("s3://bucket".to_owned()), Options::recordings());
        opened.unwrap_err().to_string()
    };
    let plain = refused(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]);
    assert_eq!(
        plain,
        "AWS_ENDPOINT_URL is not encrypted; set AWS_ALLOW_HTTP=true if that is meant"
    );
    assert!(refused(&[("AWS_ACCESS_KEY_ID", "key")]).contains("SecretAccessKey"));
    assert!(!state.exists(), "nothing is made for what cannot work");
}

#[test]
fn names_that_no_store_takes_are_not_granted() {
    let scene = Scene::new();
    let server = scene.server();
    let longest = vec!["x".repeat(200); 5].join("/");
    assert_eq!(longest.len(), 1_004);
    server.write(&longest, b"x");
    let longer = format!("{longest}/{}", "x".repeat(15));
    assert!(matches!(server.directory.create(&longer), Err(Error::NotGranted)));
    server.uploaded();
    assert_eq!(server.names(""), [longest]);
}

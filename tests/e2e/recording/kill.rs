//! A server that is killed: what it had written stays, and the next one makes it readable.

use std::{
    fs,
    path::{Path, PathBuf},
};

use rustix::process::Signal;

use super::{Camera, PER_PART, RECORD, files, files_below, hashes_in, parts, pictures, record_to, until_parts, whole};
use crate::harness::{Folder, Server, assert_run, run, until};

const PATHS: [&str; 4] = ["cam1", "cam2", "yard/cam3", "yard/cam4"];

/// Steps of Marsaglia's xorshift: the same moments in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

/// A file at the moment of the kill.
struct Seen {
    file: PathBuf,
    bytes: Vec<u8>,
}

/// What stands on the disk of each path.
fn look(recordings: &Path) -> Vec<Seen> {
    let files = PATHS.iter().flat_map(|path| files_below(&recordings.join(path)));
    let seen = files.map(|file| Seen {
        bytes: fs::read(&file).expect("a file"),
        file,
    });
    seen.collect()
}

#[test]
fn what_was_written_when_the_server_was_killed_is_still_there() {
    for seed in 1..=5 {
        let mut random = Random(seed * 0x9e37_79b9);
        let folder = Folder::new();
        let recordings = folder.file("recordings");
        let server = Server::start_in(Folder::new(), &record_to(folder.path(), folder.path(), &[]), &[]);
        let mut cameras = PATHS.map(|path| Camera::new(&server, path));
        // Some are ahead of others, and none is at the border of a part.
        for camera in &mut cameras {
            camera.send(3 * PER_PART + random.below(40));
        }
        for (camera, path) in cameras.iter().zip(PATHS) {
            let acknowledged = camera.sent / PER_PART - 1;
            until(&format!("{path} has {acknowledged} parts"), || {
                let newest = files_below(&recordings.join(path)).pop()?;
                (parts(&fs::read(newest).ok()?) >= acknowledged).then_some(())
            });
        }
        // The disk is at work when it happens.
        let more = random.below(60);
        cameras.iter_mut().for_each(|camera| camera.send(more));
        let seen = look(&recordings);
        let hashes: Vec<_> = cameras.iter().map(Camera::hashes).collect();
        server.stop(Signal::KILL);

        let after = look(&recordings);
        let server = Server::start_in(Folder::new(), &record_to(folder.path(), folder.path(), &[]), &[]);
        let torn = after.iter().filter(|seen| whole(&seen.bytes) < seen.bytes.len());
        for torn in torn {
            until("the torn file is cut back", || {
                let length = fs::metadata(&torn.file).ok()?.len();
                (length == whole(&torn.bytes) as u64).then_some(())
            });
        }
        for seen in &seen {
            let now = fs::read(&seen.file).expect("no file is lost");
            let kept = whole(&seen.bytes);
            assert!(now.starts_with(&seen.bytes[..kept]), "{}", seen.file.display());
            assert_eq!(whole(&now), now.len(), "{} is whole", seen.file.display());
        }
        for (path, sent) in PATHS.iter().zip(&hashes) {
            let recorded: Vec<_> = files_below(&recordings.join(path))
                .iter()
                .flat_map(|file| hashes_in(file))
                .collect();
            let acknowledged: usize = seen
                .iter()
                .filter(|seen| seen.file.starts_with(recordings.join(path)))
                .map(|seen| pictures(&seen.bytes, 0))
                .sum();
            assert_eq!(assert_run(sent, &recorded, acknowledged), 0);
        }
        drop(server);
    }
}

#[test]
fn a_torn_tail_is_cut_back_to_the_last_whole_part_at_the_next_start() {
    let server = Server::start(RECORD);
    let mut camera = Camera::new(&server, "cam1");
    camera.send(6 * PER_PART + 1);
    let file = until_parts(&server, "cam1", 6);
    server.signal(Signal::KILL);
    let killed = Folder::new();
    run("cp", ["-a".as_ref(), server.folder().path(), killed.path()]);
    let killed = killed
        .file("")
        .join(server.folder().path().file_name().expect("a name"));
    let name = file.strip_prefix(server.folder().path()).expect("a file of the server");
    let recorded = fs::read(killed.join(name)).expect("a recording");
    let border = (0..recorded.len())
        .rev()
        .find(|length| whole(&recorded[..*length]) == *length && parts(&recorded[..*length]) == 5)
        .expect("five parts");

    // In the head of a part, in its list of samples, in a frame, at its last byte.
    let lengths = [
        border + 7,
        border + 60,
        (border + recorded.len()) / 2,
        recorded.len() - 1,
    ];
    for length in lengths {
        let folder = Folder::new();
        run("cp", ["-a".as_ref(), killed.join(".").as_path(), folder.path()]);
        let torn = folder.file(&name.to_string_lossy());
        fs::write(&torn, &recorded[..length]).expect("a torn file");
        let server = Server::start_in(folder, RECORD, &[]);
        server.logged(&["cam1", "cut back"]);
        assert_eq!(fs::metadata(&torn).expect("the file").len(), border as u64);
        assert_eq!(hashes_in(&torn).len(), pictures(&recorded[..border], 0));
    }
}

#[test]
fn a_server_that_stops_loses_no_frame_of_its_recordings() {
    let server = Server::start(RECORD);
    let mut camera = Camera::new(&server, "cam1");
    camera.send(33);
    until_parts(&server, "cam1", 5);
    let sent = camera.hashes();
    let recordings = files(&server, "cam1");
    let folder = Folder::new();
    let kept = folder.file("kept.mp4");
    let outcome = {
        // The folder of the server goes with it; the file does not, by another name.
        fs::hard_link(&recordings[0], &kept).expect("a link");
        server.stop(Signal::TERM)
    };
    assert!(outcome.status.success(), "{}", outcome.log);
    assert_eq!(hashes_in(&kept), sent);
}

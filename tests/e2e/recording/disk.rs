//! Disks that are full, slow or tampered with: the recorder waits, the stream does not.

use std::{
    fs,
    os::unix::fs::symlink,
    path::Path,
    thread::{self, sleep},
    time::Duration,
};

use super::{Camera, PER_PART, RECORD, files, files_below, hashes_in, parts, record_to, until_parts, whole};
use crate::harness::{Folder, Mount, Reader, Server, assert_run, run, until};

/// How often a word stands in the log of a server.
fn times(server: &Server, word: &str) -> usize {
    server.log().lines().filter(|line| line.contains(word)).count()
}

#[test]
fn a_full_disk_suspends_the_recording_and_free_space_resumes_it_in_a_new_file() {
    let folder = Folder::new();
    let disk = Mount::memory(folder.file("disk"), 1 << 20);
    let filler = folder.file("disk/filler");
    fs::write(&filler, vec![1; 640 << 10]).expect("a file that fills the disk");
    let recordings = folder.file("disk/recordings");
    let server = Server::start_in(
        Folder::new(),
        &record_to(&folder.file("disk"), folder.path(), &["recordMinFree: 64K"]),
        &[],
    );
    let mut camera = Camera::new(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    let directory = recordings.join("cam1");
    until("the disk is full", || {
        camera.live(PER_PART);
        (times(&server, "recording-suspended") > 0).then_some(())
    });
    // It stays so, and says it once.
    camera.live(75);
    assert_eq!(times(&server, "recording-suspended"), 1);
    let full = files_below(&directory);
    let kept: Vec<_> = full.iter().flat_map(|file| hashes_in(file)).collect();
    for file in &full {
        let bytes = fs::read(file).expect("a file");
        assert_eq!(whole(&bytes), bytes.len(), "{}", file.display());
    }
    assert!(!kept.is_empty());
    assert_eq!(assert_run(&camera.hashes(), &kept, PER_PART), 0);

    fs::remove_file(&filler).expect("space");
    let fresh = until("the recording goes on in a new file", || {
        camera.live(PER_PART);
        let newest = files_below(&directory).pop()?;
        let more = parts(&fs::read(&newest).ok()?) >= 2;
        (!full.contains(&newest) && more).then_some(newest)
    });
    assert_eq!(times(&server, "recording-resumed"), 1);
    let begun = whole(&fs::read(&fresh).expect("a file"));
    assert!(begun > 0);
    // The live stream noticed nothing of all this.
    let sent = camera.sent;
    reader.until(0, sent);
    assert_eq!(reader.hashes(0), camera.hashes());
    drop((server, disk));
}

#[test]
fn a_disk_that_stands_still_for_a_while_costs_the_recording_nothing() {
    let folder = Folder::new();
    let image = folder.file("image");
    Mount::make_image(&image, 64);
    let disk = Mount::image(folder.file("disk"), &image);
    let recordings = folder.file("disk/recordings");
    let server = Server::start_in(Folder::new(), &record_to(&folder.file("disk"), folder.path(), &[]), &[]);
    let mut camera = Camera::new(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    camera.send(2 * PER_PART + 1);
    until("two parts", || {
        let newest = files_below(&recordings.join("cam1")).pop()?;
        (parts(&fs::read(newest).ok()?) == 2).then_some(())
    });
    let freeze = |how: &str| run("fsfreeze", [how.as_ref(), folder.file("disk").as_path()]);
    freeze("--freeze");
    let frozen = thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..25 {
                camera.send(2);
                sleep(Duration::from_millis(100));
            }
        });
        // Live goes on while the disk does not.
        reader.until(0, 50);
        reader.count(0)
    });
    freeze("--unfreeze");
    assert!(frozen >= 50);
    camera.send(PER_PART);
    let sent = camera.hashes();
    reader.until(0, sent.len());
    until("everything is written", || {
        let newest = files_below(&recordings.join("cam1")).pop()?;
        (parts(&fs::read(newest).ok()?) >= sent.len() / PER_PART - 1).then_some(())
    });
    let recorded: Vec<_> = files_below(&recordings.join("cam1"))
        .iter()
        .flat_map(|file| hashes_in(file))
        .collect();
    assert_eq!(assert_run(&sent, &recorded, sent.len() - 2 * PER_PART), 0);
    drop((server, disk));
}

#[test]
fn files_that_are_deleted_under_the_recorder_come_back_with_the_next_segment() {
    let keys = RECORD.replace("record: yes\n", "record: yes\n  recordSegmentDuration: 2s\n");
    let server = Server::start(&keys);
    let mut camera = Camera::new(&server, "cam1");
    camera.send(2 * PER_PART + 1);
    let first = until_parts(&server, "cam1", 2);
    fs::remove_dir_all(server.folder().file("recordings")).expect("the recordings");
    let next = until("the next segment", || {
        camera.send(PER_PART);
        sleep(Duration::from_millis(20));
        files(&server, "cam1").into_iter().find(|file| *file != first)
    });
    camera.send(60);
    until("the next segment is whole", || {
        let bytes = fs::read(&next).ok()?;
        (parts(&bytes) >= 2).then_some(())
    });
    assert_eq!(times(&server, "recording-suspended"), 0);
}

#[test]
fn a_link_that_was_planted_leads_no_recording_out_of_its_directory() {
    let folder = Folder::new();
    let (recordings, elsewhere) = (folder.file("recordings"), folder.file("elsewhere"));
    for directory in [&recordings, &elsewhere] {
        fs::create_dir(directory).expect("a folder");
    }
    symlink(&elsewhere, recordings.join("cam1")).expect("a link");
    let server = Server::start_in(Folder::new(), &record_to(folder.path(), folder.path(), &[]), &[]);
    let mut camera = Camera::new(&server, "cam1");
    let mut other = Camera::new(&server, "cam2");
    let reader = Reader::new(&server, "cam1");
    camera.send(40);
    other.send(40);
    until("the other path records", || {
        let newest = files_below(&recordings.join("cam2")).pop()?;
        (parts(&fs::read(newest).ok()?) >= 3).then_some(())
    });
    server.logged(&["recording-suspended", "cam1"]);
    reader.until(0, 40);
    assert_eq!(entries(&elsewhere), 0);
}

fn entries(directory: &Path) -> usize {
    fs::read_dir(directory).expect("a folder").count()
}

//! A power cut: what is on the disk's surface at any moment, and nothing that was only in memory.

use std::{fs, path::Path};

use rustix::process::Signal;

use super::{Camera, PER_PART, files_below, hashes_in, pictures, record_to, whole};
use crate::harness::{Folder, Mount, Server, assert_run, until};

const PATHS: [&str; 2] = ["cam1", "yard/cam2"];

/// The pictures of a path that were acknowledged. A part that can be seen has all before it on the disk's surface.
fn acknowledged(recordings: &Path, path: &str) -> usize {
    let files = files_below(&recordings.join(path));
    let newest = files.len().saturating_sub(1);
    let counts = files.iter().enumerate().map(|(place, file)| {
        let bytes = fs::read(file).expect("a file");
        pictures(&bytes, usize::from(place == newest))
    });
    counts.sum()
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let folder = Folder::new();
    let image = folder.file("image");
    Mount::make_image(&image, 64);
    let disk = Mount::image(folder.file("disk"), &image);
    let recordings = folder.file("disk/recordings");
    // Files are begun and finished all the time.
    let keys = ["recordSegmentDuration: 2s"];
    let server = Server::start_in(
        Folder::new(),
        &record_to(&folder.file("disk"), &folder.file("disk"), &keys),
        &[],
    );
    let mut cameras = PATHS.map(|path| Camera::new(&server, path));
    for cut in 1..=4 {
        for (camera, path) in cameras.iter_mut().zip(PATHS) {
            camera.send(37);
            // The newest part, and what waits for the next one.
            let enough = camera.sent - 3 * PER_PART;
            until(&format!("{path} has {enough} pictures"), || {
                (acknowledged(&recordings, path) >= enough).then_some(())
            });
        }
        // What the device has now is what a machine finds that lost its power here.
        cameras.iter_mut().for_each(|camera| camera.send(3));
        server.signal(Signal::STOP);
        let sure = PATHS.map(|path| acknowledged(&recordings, path));
        let copy = folder.file(&format!("image-{cut}"));
        fs::copy(&image, &copy).expect("a copy of the device");
        server.signal(Signal::CONT);
        let sent = cameras.each_ref().map(Camera::hashes);

        let after_disk = folder.file(&format!("after-{cut}"));
        let after = Mount::image(after_disk.clone(), &copy);
        let found = after_disk.join("recordings");
        let next = Server::start_in(Folder::new(), &record_to(&after_disk, &after_disk, &keys), &[]);
        for ((path, sent), sure) in PATHS.iter().zip(&sent).zip(sure) {
            let files = files_below(&found.join(path));
            assert!(!files.is_empty(), "{path} has files after cut {cut}");
            let recorded: Vec<_> = files
                .iter()
                .flat_map(|file| {
                    until(&format!("{} is whole", file.display()), || {
                        match fs::read(file) {
                            Ok(bytes) => (whole(&bytes) == bytes.len()).then_some(()),
                            // Nothing of it had reached the disk.
                            Err(_) => Some(()),
                        }
                    });
                    if file.exists() { hashes_in(file) } else { Vec::new() }
                })
                .collect();
            assert_eq!(assert_run(sent, &recorded, sure), 0, "{path} after cut {cut}");
        }
        drop((next, after));
        fs::remove_file(copy).expect("a file of ours");
    }
    drop((server, disk));
}

//! What is there, and what is known of it.

use std::{fs, os::unix::fs::symlink};

use wasmtx_media::recording::Format;

use super::{
    super::Error,
    place::{FMP4, HOUR, Home, NOON, name},
};

#[test]
fn segments_are_the_files_that_the_template_names_in_order() {
    let home = Home::new();
    home.put("cam/1717243200-000002.mp4", FMP4);
    home.put("cam/1717243200-000001.ts", b"x");
    home.put("cam/1717240000-000000.mp4", FMP4);
    for other in [
        "cam/notes.txt",
        "cam/1717243200-000003.mp4.part",
        "cam/1717243200.mp4",
        "cam/inner/1717243200-000004.mp4",
        "1717243200-000005.mp4",
    ] {
        home.put(other, b"x");
    }
    symlink(home.rec("cam/notes.txt"), home.rec("cam/1717243200-000006.mp4")).unwrap();
    let server = home.start();
    let segments = server.archive.segments(&name("cam")).unwrap();
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[0].start, 1_717_240_000_000_000);
    assert_eq!(
        (&*segments[1].file, segments[1].format),
        ("cam/1717243200-000001.ts", Format::MpegTs)
    );
    assert_eq!(
        (&*segments[2].file, segments[2].format),
        ("cam/1717243200-000002.mp4", Format::Fmp4)
    );
    assert_eq!(segments[0].size, FMP4.len() as u64);
    let paths = server.archive.paths().unwrap();
    assert_eq!(paths, [name("cam"), name("cam/inner")]);
}

#[test]
fn files_that_come_and_go_under_us_are_noticed() {
    let home = Home::new();
    let server = home.start();
    assert!(server.starts("cam").is_empty() && server.archive.paths().unwrap().is_empty());
    home.put("cam/1717240000-000000.mp4", FMP4);
    assert_eq!(server.starts("cam").len(), 1);
    assert_eq!(server.archive.paths().unwrap(), [name("cam")]);
    home.put("cam/1717240001-000000.mp4", FMP4);
    assert_eq!(server.starts("cam").len(), 2);
    fs::remove_dir_all(home.rec("cam")).unwrap();
    assert!(server.starts("cam").is_empty() && server.archive.paths().unwrap().is_empty());
    fs::remove_dir_all(home.rec("")).unwrap();
    assert!(server.starts("cam").is_empty() && server.archive.paths().unwrap().is_empty());
}

#[test]
fn nothing_is_made_where_nothing_is_recorded() {
    let home = Home::new();
    fs::remove_dir_all(home.rec("")).unwrap();
    let server = home.start();
    assert!(server.starts("cam").is_empty());
    assert!(server.archive.paths().unwrap().is_empty());
    assert!(!home.there(""));
}

#[test]
fn what_is_being_recorded_is_listed_and_cannot_be_deleted() {
    let home = Home::new();
    let server = home.start();
    let recording = server.record("a/b", NOON, FMP4);
    let segment = server.only("a/b");
    assert!(segment.active && !segment.known && segment.start == NOON);
    assert_eq!(segment.size, FMP4.len() as u64);
    assert_eq!(server.archive.paths().unwrap(), [name("a/b")]);
    assert!(matches!(server.archive.delete(&name("a/b"), NOON), Err(Error::Active)));
    recording.finish();
    let segment = server.only("a/b");
    assert!(!segment.active && segment.known && segment.tracks != 0);
    assert_eq!(segment.duration, HOUR / 6);
    let reader = server.archive.open(&name("a/b"), &segment).unwrap();
    server.archive.delete(&name("a/b"), NOON).unwrap();
    assert!(matches!(
        server.archive.delete(&name("a/b"), NOON),
        Err(Error::NotFound)
    ));
    assert!(server.starts("a/b").is_empty() && !home.there("a"));
    // Whoever plays it plays on.
    assert_eq!(reader.read_at(0, 1 << 20).unwrap(), FMP4);
    assert!(matches!(
        server.archive.open(&name("a/b"), &segment),
        Err(Error::NotFound)
    ));
    assert!(matches!(
        server.archive.segments(&name("unknown")),
        Err(Error::UnknownPath)
    ));
}

#[test]
fn a_recorder_that_writes_elsewhere_is_its_own_business() {
    let home = Home::new();
    let server = home.start();
    let mut other = home.rule.clone();
    other.place = crate::storage::Place::Directory(home.folder.join("other"));
    let started = super::super::Told {
        path: name("cam"),
        place: other.place,
        file: "cam/1717240000-000000.mp4".to_owned(),
        start: NOON,
        duration: 0,
    };
    server.archive.started(started.clone());
    server.archive.done(started);
    assert!(server.starts("cam").is_empty() && server.archive.paths().unwrap().is_empty());
}

#[test]
fn what_files_say_is_asked_once_and_remembered() {
    let home = Home::new();
    home.put("cam/1717240000-000000.mp4", FMP4);
    home.put("cam/1717240001-000000.mp4", b"no recording at all");
    for second in 2..12 {
        home.put(&format!("cam/17172400{second:02}-000000.mp4"), FMP4);
    }
    let server = home.start();
    let first = server.archive.segments(&name("cam")).unwrap();
    assert!(!first[0].known && !first[1].known);
    let probed = server.archive.probed(&name("cam"), 0, u64::MAX).unwrap();
    assert!(probed.iter().all(|segment| segment.known));
    let (first, broken) = (&probed[0], &probed[1]);
    assert!((400_000..600_000).contains(&first.duration), "{}", first.duration);
    assert_eq!((broken.duration, broken.tracks), (0, 0));
    assert!(first.tracks != 0 && probed[2..].iter().all(|other| other.tracks == first.tracks));
    drop(server);
    let again = home.start();
    assert_eq!(again.archive.segments(&name("cam")).unwrap(), probed);
    // Somebody writes to one: it has to be asked again.
    home.put("cam/1717240001-000000.mp4", FMP4);
    home.put("cam/1717250000-000000.mp4", FMP4);
    let changed = again.archive.segments(&name("cam")).unwrap();
    assert!(changed[0].known && !changed[1].known);
}

#[test]
fn only_the_segments_of_a_range_are_looked_into() {
    let home = Home::new();
    for second in 0..5 {
        home.put(&format!("cam/171724000{second}-000000.mp4"), FMP4);
    }
    // Not the last ones, which every start looks at.
    for second in 0..5 {
        home.put(&format!("cam/171725000{second}-000000.mp4"), FMP4);
    }
    let server = home.start();
    let from = 1_717_240_001_500_000;
    let probed = server.archive.probed(&name("cam"), from, from + 2_000_000).unwrap();
    let known: Vec<bool> = probed.iter().take(5).map(|segment| segment.known).collect();
    assert_eq!(known, [false, true, true, true, false]);
}

#[test]
fn an_index_that_is_damaged_or_of_another_path_is_made_anew() {
    let home = Home::new();
    home.put("cam/1717240000-000000.mp4", FMP4);
    home.put("cam/1717240001-000000.mp4", FMP4);
    let probed = {
        let server = home.start();
        server.archive.probed(&name("cam"), 0, u64::MAX).unwrap()
    };
    let indexes = || {
        let listed = fs::read_dir(home.folder.join("state/recordings")).unwrap();
        let files = listed.map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|e| e == "index"))
            .collect::<Vec<_>>()
    };
    let [index] = &indexes()[..] else {
        panic!("{:?}", indexes())
    };
    let whole = fs::read(index).unwrap();
    for cut in (0..whole.len()).step_by(7) {
        fs::write(index, &whole[..cut]).unwrap();
        assert_eq!(home.start().starts("cam").len(), 2, "{cut}");
        let mut changed = whole.clone();
        changed[cut] ^= 1;
        fs::write(index, &changed).unwrap();
        let server = home.start();
        assert_eq!(server.starts("cam").len(), 2, "{cut}");
        assert_eq!(server.archive.probed(&name("cam"), 0, u64::MAX).unwrap(), probed);
    }
    fs::write(index, &whole).unwrap();
    fs::remove_file(home.rec("cam/1717240000-000000.mp4")).unwrap();
    assert_eq!(home.start().starts("cam").len(), 1);
}

#[test]
fn folders_by_date_and_flat_ones_are_found() {
    for (template, file, other) in [
        (
            "%Y/%m/%d/%path/%s",
            "2024/06/01/a/b/1717243200.mp4",
            "2024/06/02/a/b/1717329600.mp4",
        ),
        ("%path_%s", "a/b_1717243200.mp4", "a/c_1717243200.mp4"),
        (
            "x-%path/%Y%m/%s",
            "x-a/b/202406/1717243200.mp4",
            "x-a/b/202407/1719800000.mp4",
        ),
    ] {
        let home = Home::named(template);
        home.put(file, FMP4);
        let server = home.start();
        assert_eq!(server.starts("a/b"), [1_717_243_200_000_000], "{template}");
        home.put(other, FMP4);
        let more = if other.contains("a/b") { 2 } else { 1 };
        assert_eq!(server.starts("a/b").len(), more, "{template}");
        assert!(server.archive.paths().unwrap().contains(&name("a/b")), "{template}");
        server.archive.delete(&name("a/b"), 1_717_243_200_000_000).unwrap();
        assert_eq!(server.starts("a/b").len(), more - 1, "{template}");
    }
}

#[test]
fn a_recorders_files_are_known_without_looking_and_after_a_restart() {
    let home = Home::new();
    let server = home.start();
    for hour in 0..50 {
        server.recorded("cam", NOON + hour * HOUR, FMP4);
    }
    let segments = server.archive.segments(&name("cam")).unwrap();
    assert_eq!(segments.len(), 50);
    assert!(
        segments
            .iter()
            .all(|segment| segment.known && segment.duration == HOUR / 6)
    );
    drop(server);
    assert_eq!(home.start().archive.segments(&name("cam")).unwrap(), segments);
}

#[test]
fn what_is_remembered_of_a_path_goes_with_its_last_recording() {
    let home = Home::new();
    let server = home.start();
    for path in ["a", "b"] {
        server.recorded(path, NOON, FMP4);
    }
    server.archive.round().unwrap();
    let indexes = || {
        let listed = fs::read_dir(home.folder.join("state/recordings")).unwrap();
        let files = listed.map(|entry| entry.unwrap().path());
        files
            .filter(|file| file.extension().is_some_and(|e| e == "index"))
            .count()
    };
    assert_eq!(indexes(), 2);
    server.archive.delete(&name("a"), NOON).unwrap();
    drop(server);
    home.start().archive.round().unwrap();
    assert_eq!(indexes(), 1);
}

#[test]
fn asking_for_paths_that_record_nothing_leaves_nothing_behind() {
    for template in ["%path/%s", "%Y/%m/%path/%s"] {
        let home = Home::named(template);
        home.put("2024/06/cam/1717243200.mp4", FMP4);
        let server = home.start();
        for number in 0..20 {
            assert!(server.starts(&format!("nobody/{number}")).is_empty());
        }
        server.archive.round().unwrap();
        let state = fs::read_dir(home.folder.join("state/recordings")).unwrap();
        let names = state.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let indexes = names.filter(|name| name.ends_with(".index")).count();
        assert_eq!(indexes, server.archive.paths().unwrap().len(), "{template}");
        assert_eq!(server.archive.shelf.held().len(), indexes, "{template}");
    }
}

#[test]
fn a_file_that_another_entry_records_is_not_ours() {
    let home = Home::new();
    let server = home.start();
    let mut kept = home.rule.clone();
    kept.place = crate::storage::Place::Directory(home.rec("kept"));
    let mut apart = home.rule.clone();
    apart.template = wasmtx_media::recording::Template::parse("%path/apart/%s-%f").unwrap();
    let entries = [home.rule.clone(), kept, apart].map(std::sync::Arc::new);
    let [all, kept, apart] = entries.clone();
    server.archive.configure(super::super::Rules::new(entries, move |path| {
        Some(match path.as_str() {
            "cam" => kept.clone(),
            "other" => apart.clone(),
            _ => all.clone(),
        })
    }));
    home.put("kept/cam/1717240000-000000.mp4", FMP4);
    home.put("kept/x/1717240001-000000.mp4", FMP4);
    home.put("other/apart/1717240002-000000.mp4", FMP4);
    home.put("third/apart/1717240003-000000.mp4", FMP4);
    let paths = server.archive.paths().unwrap();
    assert_eq!(paths, ["cam", "kept/x", "other", "third/apart"].map(name));
    assert!(server.starts("kept/cam").is_empty() && server.starts("other/apart").is_empty());
    assert_eq!(server.starts("cam").len() + server.starts("other").len(), 2);
}

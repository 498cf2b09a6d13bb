use std::{env, process};

use super::*;
use crate::{config, wiring};

fn parse(text: &str) -> Config {
    config::parse(text, &[]).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// The use that an entry's keys make.
fn used_by(keys: &str) -> Use {
    used(
        &parse(&format!("paths: {{cam: {{{keys}}}}}"))
            .paths
            .get("cam")
            .unwrap()
            .conf,
    )
}

fn place_of(used: &Use) -> Place {
    used.storage.as_ref().unwrap().place.clone()
}

#[test]
fn the_keys_of_a_path_become_what_the_plugin_is_told() {
    let usual = used_by("record: yes");
    let expected = json!({
        "path": "%path/%Y-%m-%d_%H-%M-%S-%f",
        "format": "fmp4",
        "partDuration": "1s",
        "maxPartSize": 52_428_800,
        "segmentDuration": "1h0m0s",
    });
    assert_eq!((&*usual.plugin, usual.config.as_ref()), (RECORDER, Some(&expected)));
    let storage = usual.storage.unwrap();
    assert_eq!(storage.place, Place::Directory("./recordings".into()));
    assert_eq!(
        (storage.quota, storage.min_free, storage.public),
        (None, MinFree::Usual, true)
    );
    let other = used_by(
        "recordPath: /srv/a b/%path_%s, recordFormat: mpegts, recordPartDuration: 200ms, recordMaxPartSize: 1M, \
         recordSegmentDuration: 1m30s, recordMinFree: 0",
    );
    let expected = json!({
        "path": "%path_%s",
        "format": "mpegts",
        "partDuration": "200ms",
        "maxPartSize": 1 << 20,
        "segmentDuration": "1m30s",
    });
    assert_eq!(other.config, Some(expected));
    assert_eq!(place_of(&other), Place::Directory("/srv/a b".into()));
    assert_eq!(other.storage.unwrap().min_free, MinFree::Bytes(0));
}

#[test]
fn a_path_without_a_directory_is_below_the_working_directory_and_a_store_is_a_store() {
    assert_eq!(
        place_of(&used_by("recordPath: '%path/%s'")),
        Place::Directory(".".into())
    );
    assert_eq!(
        place_of(&used_by("recordPath: 's3://bucket/a/%path/%s'")),
        Place::Objects("s3://bucket/a".to_owned())
    );
}

#[test]
fn times_that_would_keep_a_disk_busy_with_nothing_else_are_made_longer() {
    let used = used_by("recordPartDuration: 0s, recordMaxPartSize: 0, recordSegmentDuration: 0s");
    let config = used.config.unwrap();
    assert_eq!(config["partDuration"], "20ms");
    assert_eq!(
        (&config["maxPartSize"], &config["segmentDuration"]),
        (&json!(1), &json!("1ms"))
    );
}

/// A directory for recordings, removed at the end.
struct Room(PathBuf);

impl Room {
    fn new(name: &str) -> Room {
        Room(env::temp_dir().join(format!("wasmtx-recording-{}-{name}", process::id())))
    }

    fn config(&self, more: &str) -> Config {
        let place = self.0.display();
        parse(&format!(
            "paths:\n  cam: {{recordPath: '{place}/%path/%s', {more}}}\n  other: {{record: no}}\n"
        ))
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn registry() -> Registry {
    Registry::new(None, wiring::services(), Vec::new()).unwrap()
}

#[test]
fn nothing_is_loaded_where_nothing_is_recorded() {
    let (room, registry) = (Room::new("nothing"), registry());
    let made = recorders(&room.config("record: no"), &registry, None).unwrap();
    assert!(made.len() == 2 && made.values().all(|recorder| recorder.sinks().is_none()));
    assert!(registry.status().is_empty());
    // A request loads it, and it stays.
    let sinks = made["cam"].make(&registry).unwrap();
    assert_eq!(registry.status().len(), 1);
    let again = recorders(&room.config("record: no, maxReaders: 3"), &registry, Some(&made)).unwrap();
    assert!(Arc::ptr_eq(&again["cam"].sinks().unwrap(), &sinks));
}

#[test]
fn what_stays_the_same_goes_on_and_what_changes_begins_anew() {
    let (room, registry) = (Room::new("changes"), registry());
    let first = recorders(&room.config("record: yes"), &registry, None).unwrap();
    let sinks = first["cam"].sinks().unwrap();
    let kept = room.config("record: yes, recordDeleteAfter: 9d, recordPreRoll: 3s");
    let kept = recorders(&kept, &registry, Some(&first)).unwrap();
    assert!(Arc::ptr_eq(&kept["cam"].sinks().unwrap(), &sinks));
    assert_eq!(kept["cam"].pre_roll, Duration::from_secs(3));
    let changed = recorders(
        &room.config("record: yes, recordFormat: mpegts"),
        &registry,
        Some(&kept),
    )
    .unwrap();
    assert!(!Arc::ptr_eq(&changed["cam"].sinks().unwrap(), &sinks));
}

#[test]
fn a_directory_that_cannot_be_had_stops_nothing_and_is_had_later() {
    let (room, registry) = (Room::new("later"), registry());
    std::fs::write(&room.0, "a file").unwrap();
    let made = recorders(&room.config("record: yes"), &registry, None).unwrap();
    assert!(made["cam"].sinks().is_none());
    assert!(made["cam"].make(&registry).is_err());
    std::fs::remove_file(&room.0).unwrap();
    assert!(made["cam"].make(&registry).is_ok());
}

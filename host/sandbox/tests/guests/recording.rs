//! One plugin as a sink apart from the lists of paths, as recordings are: begun and ended alone, with a place of its own and a part
//! of what was before; and what it says of its files.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use serde_json::json;
use wasmtx_hub::{CloseReason, Event, Limits, Segment};
use wasmtx_media::WallClock;
use wasmtx_sandbox::{
    Attendance, Attended, Error, Sinks, Usage, Use,
    services::{Place, StorageGrant},
};

use crate::{
    house::{GUEST, House, sink},
    support::{PATIENCE, used},
};

/// The use that records, in a mode of the guest.
fn recorder(mode: &str) -> Use {
    Use {
        config: Some(json!({ "mode": mode, "to": "$PATH.mp4", "first": 0, "every": 1 })),
        storage: Some(StorageGrant::recordings(Place::Directory("recordings".into()))),
        ..used(GUEST)
    }
}

/// A path whose list has one sink, and whose ring keeps a second of the past.
fn house(mode: &str) -> House {
    let limits = Limits {
        keep_back: Duration::from_secs(1),
        keep_age: Duration::MAX,
        ..Limits::default()
    };
    House::with(sink(json!({ "mode": mode, "to": "list.bin" })), used(GUEST), limits)
}

/// What attends beside the list, switched by the test.
struct Switch {
    attendance: Attendance,
    position: Arc<Mutex<Option<Attended>>>,
    /// How often it was asked for.
    asked: Arc<AtomicUsize>,
}

impl Switch {
    fn new(house: &House) -> Switch {
        let position = Arc::<Mutex<Option<Attended>>>::default();
        let asked = Arc::<AtomicUsize>::default();
        let listed = {
            let (position, asked) = (position.clone(), asked.clone());
            move |_: &wasmtx_hub::Path| {
                let sinks = position.lock().unwrap().clone();
                asked.fetch_add(1, Relaxed);
                sinks
            }
        };
        Switch {
            attendance: Attendance::spawn(house.hub.births(), listed),
            position,
            asked,
        }
    }

    async fn set(&self, sinks: Option<Arc<Sinks>>) {
        self.set_back(sinks, Duration::ZERO).await;
    }

    async fn set_back(&self, sinks: Option<Arc<Sinks>>, back: Duration) {
        until("the path is attended", || self.asked.load(Relaxed) > 0).await;
        *self.position.lock().unwrap() = sinks.map(|sinks| Attended { sinks, back });
        self.attendance.reload();
    }
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        tokio::task::yield_now().await;
    }
}

impl House {
    /// What the sinks of the list did, and the one beside them.
    fn both(&self) -> [Usage; 2] {
        let mut uses = self.uses().into_iter();
        [uses.next().unwrap_or_default(), uses.next().unwrap_or_default()]
    }

    async fn listed(&self, frames: u64) {
        until("the list has its frames", || self.both()[0].passed == frames).await;
    }

    async fn recorded(&self, frames: u64) {
        until("the recording has its frames", || self.both()[1].passed == frames).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_begins_and_ends_beside_the_sinks_of_the_list_and_leaves_them_alone() {
    let mut house = house("store");
    let switch = Switch::new(&house);
    let mut stream = house.publish().await;
    let mut sent = stream.send(15);
    let recorded = house.registry.sink(&recorder("record")).unwrap();
    switch.set(Some(recorded)).await;
    // From the newest keyframe on.
    house.recorded(5).await;
    let later = stream.send(20);
    sent.extend_from_slice(&later);
    house.recorded(25).await;

    switch.set(None).await;
    until("it says that it is done", || house.notes.read().len() == 2).await;
    let file = house.files.at("recordings/cam1.mp4").unwrap();
    assert!(file.ends_with(&later), "its last bytes are written");
    sent.extend(stream.send(30));
    stream.publisher.close(house.now, CloseReason::Ended);
    house.listed(65).await;
    let [list, _] = house.both();
    assert_eq!((list.lost, list.bypassed, list.restarts), (0, 0, 0));

    let notes = house.notes.read();
    let [(started, begun), (done, ended)] = notes.as_slice() else {
        panic!("{notes:?}");
    };
    assert_eq!((*started, *done), ("started", "done"));
    assert_eq!(
        (begun.path.as_str(), &*begun.plugin, begun.file.as_str()),
        ("cam1", GUEST, "cam1.mp4")
    );
    assert_eq!(begun.place, Place::Directory("recordings".into()));
    assert_eq!((begun.start, begun.duration, begun.size), (WallClock(1_000_000), 0, 0));
    assert_eq!((ended.start, ended.size), (begun.start, file.len() as u64));
    assert!(ended.duration > 0);
    let mut segments = Vec::new();
    while let Some(happened) = house.events.try_next() {
        match happened.event {
            Event::SegmentStarted(segment) | Event::SegmentDone(segment) => segments.push(segment),
            _ => {}
        }
    }
    let segment = Segment {
        path: begun.path.clone(),
        file: "recordings/cam1.mp4".to_owned(),
        start: begun.start,
        duration: 0,
        size: 0,
    };
    let whole = Segment {
        duration: ended.duration,
        size: ended.size,
        ..segment.clone()
    };
    assert_eq!(segments, [segment, whole]);
    switch.attendance.close(PATIENCE).await;
    let (_registry, files) = house.end().await;
    assert_eq!(files.file("list.bin").unwrap(), sent, "not a frame more or less");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_is_switched_on_has_what_was_before_once() {
    let house = house("take");
    let switch = Switch::new(&house);
    let mut stream = house.publish().await;
    // Not at once: the ring keeps what somebody is still reading.
    for (frames, all) in [(60, 60), (25, 85), (15, 100)] {
        stream.send(frames);
        house.listed(all).await;
    }
    // The ring was tidied at frame 90, and frame 60 was not yet a second old.
    let back = || house.registry.sink(&recorder("record")).unwrap();
    switch.set_back(Some(back()), Duration::from_secs(1)).await;
    house.recorded(50).await;
    // Another configuration takes over where this one is.
    switch.set_back(Some(back()), Duration::from_secs(1)).await;
    house.recorded(60).await;
    assert_eq!(house.both()[1].restarts, 0);
    switch.attendance.close(PATIENCE).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recording_that_failed_goes_on_at_the_next_keyframe_and_its_file_is_left() {
    let house = house("take");
    let switch = Switch::new(&house);
    let mut stream = house.publish().await;
    let sent = stream.send(95);
    house.listed(95).await;
    let trapping = house.registry.sink(&recorder("record-trap")).unwrap();
    switch.set_back(Some(trapping), Duration::from_secs(1)).await;
    // It writes its first batch and is no more; another one stands ready, and gets nothing until a keyframe comes.
    house
        .until("it failed", |usage| usage.traps == 1 && usage.restarts == 1)
        .await;
    until("the file is left", || {
        house.notes.read().iter().any(|(word, _)| *word == "left")
    })
    .await;
    let notes = house.notes.read();
    let left = &notes.iter().find(|(word, _)| *word == "left").unwrap().1;
    assert_eq!((left.file.as_str(), left.duration, left.size), ("cam1.mp4", 0, 0));
    assert!(!sent.is_empty());
    let bypassed = house.usage().bypassed;
    stream.send(4);
    house
        .until("nothing for it", |usage| usage.bypassed == bypassed + 4)
        .await;
    assert_eq!((house.usage().passed, house.usage().traps), (0, 1));
    stream.send(2);
    house.until("the next keyframe", |usage| usage.traps > 1).await;
    switch.attendance.close(PATIENCE).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_plugin_says_of_files_that_are_not_its_own_is_not_heard() {
    let house = house("take");
    let switch = Switch::new(&house);
    let mut stream = house.publish().await;
    stream.send(1);
    let liar = house.registry.sink(&recorder("record-falsely")).unwrap();
    switch.set(Some(liar)).await;
    house.recorded(1).await;
    switch.attendance.close(PATIENCE).await;
    let notes = house.notes.read();
    let words: Vec<_> = notes
        .iter()
        .map(|(word, told)| (*word, told.duration / 1_000_000))
        .collect();
    assert_eq!(words, [("started", 0), ("done", 3)]);
    assert!(
        notes
            .iter()
            .all(|(_, told)| told.file == "cam1.mp4" && told.start == WallClock(1_000_000))
    );
    house.end().await;
}

#[tokio::test]
async fn a_place_that_cannot_be_had_and_a_plugin_that_is_no_sink_are_errors_of_the_use() {
    let house = house("take");
    let far = Use {
        storage: Some(StorageGrant::recordings(Place::Objects("s3://moon/base".into()))),
        ..recorder("record")
    };
    for error in [
        house.registry.sink(&far).err().unwrap(),
        house
            .registry
            .chains(std::slice::from_ref(&far))
            .err()
            .unwrap()
            .remove(0),
    ] {
        assert!(
            matches!(&error, Error::Use { reason, .. } if reason == "s3://moon/base is too far away"),
            "{error}"
        );
    }
    let filter = Use {
        plugin: "drop-audio".to_owned(),
        ..Use::default()
    };
    let error = house.registry.sink(&filter).err().unwrap();
    assert!(
        matches!(&error, Error::Use { reason, .. } if reason.contains("sink")),
        "{error}"
    );
    house.end().await;
}

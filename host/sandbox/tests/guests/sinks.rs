//! Sinks: what they get, what they may keep, what their failures cost whom.

use std::{sync::Arc, time::Duration};

use serde_json::json;
use wasmtx_hub::{CloseReason, Limits, PathName, Peer};
use wasmtx_media::WallClock;
use wasmtx_sandbox::{SinkFailure, Usage};

use crate::{
    house::{GUEST, House, Stream, series, sink},
    support::{AUDIO, VIDEO, frame, plugin, tracks, used},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_writes_every_frame_to_its_file_and_is_no_reader() {
    for mode in ["store", "store-copied"] {
        let house = House::new(sink(json!({ "mode": mode, "to": "$PATH.bin" })));
        let mut stream = house.publish().await;
        let mut sent = stream.send(100);
        house.until("half of it", |usage| usage.passed == 100).await;
        sent.extend(stream.send(100));
        assert!(stream.publisher.path().readers().is_empty());
        stream.publisher.close(house.now, CloseReason::Ended);
        house.until("all of it", |usage| usage.passed == 200).await;
        let (_registry, files) = house.end().await;
        assert_eq!(files.file("cam1.bin").unwrap(), sent, "{mode}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_takes_what_it_wants_the_bytes_of_and_has_nothing_made_to_count_it() {
    for (mode, takes) in [("tell", true), ("tell-infos", false)] {
        let house = House::new(sink(json!({ "mode": mode })));
        let mut stream = house.publish().await;
        stream.send(20);
        house.until("some frames", |usage| usage.passed == 20).await;
        let demand = stream.publisher.publication().demand().clone();
        assert_eq!((demand.has(VIDEO), demand.has(AUDIO)), (takes, takes), "{mode}");
        stream.publisher.close(house.now, CloseReason::Ended);
        house.end().await;
        assert!(!demand.has(VIDEO), "{mode}: it is gone");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_begins_at_a_keyframe() {
    let house = House::new(sink(json!({ "mode": "store", "to": "file" })));
    let mut stream = house.publish().await;
    for n in 0..5 {
        stream.publisher.push(house.now, WallClock(1), frame(AUDIO, n)).unwrap();
    }
    let sent = stream.send(3);
    house.until("three frames", |usage| usage.passed == 3).await;
    stream.publisher.close(house.now, CloseReason::Ended);
    let (registry, files) = house.end().await;
    assert_eq!(files.file("file").unwrap(), sent);
    assert_eq!(registry.status()[0].uses[0].bypassed, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_disk_stands_still_waits_for_it_and_nobody_waits_for_the_sink() {
    let mut spec = sink(json!({ "mode": "store", "to": "file" }));
    let wall = Duration::from_secs(2);
    spec.limits.sink_wall = wall;
    let house = House::new(spec);
    let mut stream = house.publish().await;
    let mut sent = stream.send(5);
    house.until("the first frames", |usage| usage.passed == 5).await;
    let files = house.files.clone();
    files.stand_still(true);
    // The keyframe among them is committed, which takes far longer than a batch may.
    sent.extend(stream.send(20));
    tokio::time::sleep(3 * wall).await;
    let waiting = house.usage();
    assert!(waiting.passed < 15 && waiting.deadlines == 0, "{waiting:?}");
    files.stand_still(false);
    house.until("the rest", |usage| usage.passed == 25).await;
    assert_eq!((house.usage().restarts, house.usage().lost), (0, 0));
    house.end().await;
    assert_eq!(files.file("file").unwrap(), sent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_without_a_picture_goes_to_its_sinks_after_a_while() {
    let house = House::new(sink(json!({ "mode": "take" })));
    let mut stream = house.publish().await;
    let sound = |stream: &mut Stream, tenths: u64| {
        for n in 0..tenths {
            stream.now += Duration::from_millis(100);
            stream
                .publisher
                .push(stream.now, WallClock(1), frame(AUDIO, n))
                .unwrap();
        }
    };
    sound(&mut stream, 20);
    house.until("nothing before", |usage| usage.bypassed == 20).await;
    sound(&mut stream, 10);
    house
        .until("the sound of the third second", |usage| usage.passed == 10)
        .await;
    stream.send(1);
    house.until("the first picture", |usage| usage.passed == 11).await;
    assert_eq!(house.usage().bypassed, 20);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_sink_loses_whole_gops_and_nobody_else_loses_anything() {
    let limits = Limits {
        max_lag: Some(20),
        ..Limits::default()
    };
    let mut spec = sink(json!({ "mode": "slow" }));
    spec.limits.sink_running = crate::support::PATIENCE;
    let house = House::with(spec, used(GUEST), limits);
    let mut stream = house.publish().await;
    let peer = Peer {
        kind: "rtspSession",
        id: uuid::Uuid::nil(),
    };
    let client = Arc::new(crate::support::client(""));
    let path = PathName::new("cam1").unwrap();
    let mut reader = house.hub.read(house.now, &path, peer, client).await.unwrap();
    let (mut sent, mut read, mut missed) = (0, Vec::new(), 0);
    while house.usage().lost == 0 {
        stream.send(10);
        sent += 10;
        reader.drain(usize::MAX, usize::MAX, &mut read, &mut missed);
        tokio::task::yield_now().await;
    }
    assert_eq!(
        (read.len() as u64, missed),
        (sent, 0),
        "the reader beside it has everything"
    );
    let whole = |usage: &Usage| usage.passed + usage.lost == stream.next;
    house.until("everything was taken or lost", whole).await;
    // It goes on where a GOP begins, and is told that something is missing before it.
    stream.send(10);
    house
        .until("a GOP behind the gap", |usage| series(usage, "sink_gaps") > 0)
        .await;
    assert_eq!(series(&house.usage(), "sink_headless"), 0, "{:?}", house.usage());
    let counters = &stream.publisher.path().counters;
    assert_eq!(wasmtx_hub::Counters::load(&counters.frames_discarded), 0);
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_fails_begins_again_at_the_next_keyframe() {
    for mode in ["trap", "refuse", "spin", "grow"] {
        let mut spec = sink(json!({ "mode": mode, "first": 1, "every": 1000 }));
        spec.limits.sink_running = Duration::from_millis(200);
        let house = House::new(spec);
        let mut stream = house.publish().await;
        stream.send(1);
        house.until("the first batch", |usage| usage.passed == 1).await;
        // The second batch kills it, in the middle of a GOP.
        stream.send(1);
        house.until("a failure", |usage| usage.restarts == 1).await;
        stream.send(8);
        house
            .until("nothing until the keyframe", |usage| usage.bypassed == 9)
            .await;
        stream.send(1);
        house.until("the keyframe", |usage| usage.passed == 2).await;
        let usage = house.usage();
        assert_eq!(
            usage.traps + usage.deadlines + usage.memory + usage.other,
            1,
            "{mode}: {usage:?}"
        );
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_whose_policy_is_to_stop_stays_off_until_it_changes() {
    let mut spec = sink(json!({ "mode": "trap" }));
    spec.on_error.sink = SinkFailure::Stop;
    let house = House::new(spec);
    let mut stream = house.publish().await;
    stream.send(1);
    house.until("a failure", |usage| usage.traps == 1).await;
    stream.send(29);
    house.until("the rest goes by", |usage| usage.bypassed == 30).await;
    assert!(house.registry.status()[0].error.as_ref().unwrap().contains("stays off"));
    let registry = house.registry.clone();
    tokio::task::spawn_blocking(move || registry.reload(GUEST))
        .await
        .unwrap()
        .unwrap();
    stream.send(11);
    house.until("it is tried again", |usage| usage.traps == 2).await;
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_version_takes_over_at_a_keyframe_and_no_frame_is_lost_or_given_twice() {
    let house = House::new(sink(json!({ "mode": "take" })));
    let mut stream = house.publish().await;
    stream.send(15);
    for swaps in 1..=5 {
        let registry = house.registry.clone();
        tokio::task::spawn_blocking(move || registry.reload(GUEST))
            .await
            .unwrap()
            .unwrap();
        while house.usage().swaps < swaps {
            stream.send(1);
            tokio::task::yield_now().await;
        }
    }
    let sent = stream.next;
    house.until("all frames", |usage| usage.passed == sent).await;
    let usage = house.usage();
    assert_eq!(series(&usage, "sink_frames"), sent);
    assert_eq!((usage.lost, usage.bypassed, usage.restarts), (0, 0, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_sink_keeps_is_bounded() {
    let mut spec = sink(json!({ "mode": "hoard" }));
    spec.limits.sink_held_frames = 256;
    let house = House::new(spec);
    let mut stream = house.publish().await;
    while house.usage().other == 0 {
        stream.send(1);
        tokio::task::yield_now().await;
    }
    house.until("another one", |usage| usage.restarts > 0).await;
    assert!(house.usage().hits.iter().any(|(limit, _)| *limit == "sinkHeldFrames"));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_can_do_without_bytes_and_with_keyframes_only() {
    for (mode, frames) in [("tell-infos", 30), ("tell-keys", 3), ("bad-interests", 30)] {
        let house = House::new(sink(json!({ "mode": mode })));
        let mut stream = house.publish().await;
        stream.send(30);
        house.until("the frames", |usage| usage.passed == frames).await;
        house.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_grant_there_are_no_files() {
    let house = House::new(plugin(GUEST, json!({ "mode": "store", "to": "file" })));
    let mut stream = house.publish().await;
    stream.send(10);
    house.until("it fails to open", |usage| usage.other > 0).await;
    let (_, files) = house.end().await;
    assert!(files.0.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_set_of_tracks_is_the_same_stream_to_a_sink() {
    let house = House::new(sink(json!({ "mode": "take" })));
    let mut stream = house.publish().await;
    stream.send(10);
    house.until("the first", |usage| usage.passed == 10).await;
    let video: wasmtx_media::Tracks = tracks()[..1].into();
    stream.publisher.set_tracks(house.now, video).unwrap();
    stream.send(10);
    house.until("the others", |usage| usage.passed == 20).await;
    let usage = house.usage();
    assert_eq!((usage.restarts, usage.other), (0, 0));
    house.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sink_that_is_switched_off_sleeps_until_it_is_switched_on() {
    use wasmtx_sandbox::Condition;
    let house = House::new(sink(json!({ "mode": "take" })));
    let mut stream = house.publish().await;
    stream.send(5);
    house.until("five frames", |usage| usage.passed == 5).await;
    house.registry.enable(GUEST, false).unwrap();
    stream.send(5);
    house
        .until("it sleeps", |usage| usage.condition == Condition::Disabled)
        .await;
    house.registry.enable(GUEST, true).unwrap();
    stream.send(1);
    house
        .until("the next keyframe", |usage| {
            usage.passed == 6 && usage.condition == Condition::Running
        })
        .await;
    house.end().await;
}

//! Events plugins: what they are told, in which order, and what happens when they do not keep up or fail.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::json;
use wasmtx_hub::{CloseReason, Event, Happened, PathName, Segment};
use wasmtx_media::WallClock;
use wasmtx_sandbox::{PluginSpec, Registry};

use crate::{outside::*, support::*};

fn modes(config: serde_json::Value) -> PluginSpec {
    plugin("events-modes", config)
}

fn happened(event: Event) -> Happened {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    let number = NUMBERS.fetch_add(1, Relaxed);
    Happened {
        time: WallClock(7),
        number,
        lost: 0,
        event,
    }
}

fn offline(path: &str) -> Happened {
    happened(Event::Offline(PathName::new(path).unwrap(), CloseReason::Ended))
}

fn raised(plugin: &str) -> Happened {
    happened(Event::Other {
        path: None,
        plugin: Some(plugin.to_owned()),
        kind: "raised".to_owned(),
        json: "{}".to_owned(),
    })
}

fn calls(registry: &Registry, name: &str) -> u64 {
    usage(registry, name).calls
}

#[tokio::test]
async fn events_come_in_order_and_each_once() {
    let (services, backend, _feed) = surroundings();
    let spec = asking(modes(json!({ "mode": "post", "to": "http://hook/" })));
    let registry = registry_in(services, vec![spec]);
    let observers = chains(&registry, &["events-modes"]).events.unwrap();
    for path in ["a", "b", "c"] {
        registry.tell(&Arc::new(offline(path)), Some(&observers));
    }
    let segment = Segment {
        path: PathName::new("c").unwrap(),
        file: "recordings/c/1.mp4".to_owned(),
        start: WallClock(1),
        duration: 2,
        size: 3,
    };
    for event in [Event::SegmentStarted(segment.clone()), Event::SegmentDone(segment)] {
        registry.tell(&Arc::new(happened(event)), Some(&observers));
    }
    registry.tell_all(&Arc::new(happened(Event::Connected(Arc::new(client(""))))));
    for (kind, path) in [
        ("offline", json!("a")),
        ("offline", json!("b")),
        ("offline", json!("c")),
        ("segment-started", json!("c")),
        ("segment-done", json!("c")),
        ("connected", json!(null)),
    ] {
        let asked = backend.next().await;
        let body = asked.body();
        assert_eq!(
            (&body["kind"], &body["path"], &body["lost"]),
            (&json!(kind), &path, &json!(0))
        );
        assert!(backend.take().is_empty(), "one after the other");
        asked.answer(200, "");
    }
    registry.told().await;
    assert_eq!(calls(&registry, "events-modes"), 6);
}

#[tokio::test]
async fn a_plugin_that_does_not_keep_up_misses_events_and_is_told_how_many() {
    let (services, backend, _feed) = surroundings();
    let spec = asking(modes(json!({ "mode": "post", "to": "http://hook/" })));
    let registry = registry_in(services, vec![spec]);
    let observers = chains(&registry, &["events-modes"]).events.unwrap();
    registry.tell(&Arc::new(offline("first")), Some(&observers));
    let first = backend.next().await;
    // While it waits for the answer, its queue fills.
    for _ in 0..1_024 + 5 {
        registry.tell(&Arc::new(offline("more")), Some(&observers));
    }
    assert_eq!(usage(&registry, "events-modes").bypassed, 5);
    first.answer(200, "");
    for _ in 0..1_024 {
        let asked = backend.next().await;
        assert_eq!(asked.body()["lost"], 0);
        asked.answer(200, "");
    }
    registry.told().await;
    registry.tell(&Arc::new(offline("last")), Some(&observers));
    let last = backend.next().await;
    assert_eq!(
        (&last.body()["path"], &last.body()["lost"]),
        (&json!("last"), &json!(5))
    );
    last.answer(200, "");
}

#[tokio::test]
async fn events_lost_on_the_way_count_for_every_plugin() {
    let (services, backend, _feed) = surroundings();
    let spec = asking(modes(json!({ "mode": "post", "to": "http://hook/" })));
    let registry = registry_in(services, vec![spec]);
    let observers = chains(&registry, &["events-modes"]).events.unwrap();
    let lossy = Happened {
        lost: 3,
        ..offline("cam1")
    };
    registry.tell(&Arc::new(lossy), Some(&observers));
    let asked = backend.next().await;
    assert_eq!(asked.body()["lost"], 3);
    asked.answer(200, "");
}

#[tokio::test]
async fn an_event_of_a_path_reaches_the_plugins_of_that_path_only() {
    let entry = |name: &str| PluginSpec {
        name: name.into(),
        ..plugin("tally", json!({}))
    };
    let registry = registry(vec![entry("here"), entry("there")]);
    let [here, there] = ["here", "there"].map(|name| chains(&registry, &[name]).events.unwrap());
    registry.tell(&Arc::new(offline("here")), Some(&here));
    registry.tell_all(&Arc::new(happened(Event::Connected(Arc::new(client(""))))));
    registry.told().await;
    assert_eq!((calls(&registry, "here"), calls(&registry, "there")), (2, 1));
    drop(there);
}

#[tokio::test]
async fn a_plugin_that_raises_events_is_not_told_them() {
    let (services, _backend, mut feed) = surroundings();
    let registry = registry_in(
        services,
        vec![modes(json!({ "mode": "echo" })), plugin("tally", json!({}))],
    );
    let _observers = chains(&registry, &["events-modes", "tally"]).events.unwrap();
    registry.tell_all(&Arc::new(raised("events-modes")));
    registry.told().await;
    assert_eq!(calls(&registry, "tally"), 1);
    let (kind, _) = noted(&mut feed).await;
    assert_eq!(kind, "counted", "the other one has seen it");
    registry.tell_all(&Arc::new(offline("cam1")));
    registry.told().await;
    assert_eq!(calls(&registry, "events-modes"), 1, "of two events, one was its own");
}

#[tokio::test]
async fn a_plugin_that_fails_goes_on_with_the_next_event_and_others_learn_of_it() {
    let (services, _backend, mut feed) = surroundings();
    let broken = modes(json!({ "mode": "trap", "every": 2 }));
    let registry = registry_in(services, vec![broken]);
    let observers = chains(&registry, &["events-modes"]).events.unwrap();
    for path in ["a", "b", "c"] {
        registry.tell(&Arc::new(offline(path)), Some(&observers));
    }
    registry.told().await;
    let usage = usage(&registry, "events-modes");
    assert_eq!(
        (usage.calls, usage.traps),
        (3, 3),
        "each instance meets its first event"
    );
    assert_eq!(usage.restarts, 2);
    for _ in 0..3 {
        assert_eq!(noted(&mut feed).await, ("plugin-failed".into(), "events-modes".into()));
    }
}

#[tokio::test]
async fn a_plugin_that_spins_or_grows_is_ended_and_counted() {
    for (mode, expected) in [("spin", (1, 0)), ("grow", (0, 1))] {
        let registry = registry(vec![modes(json!({ "mode": mode }))]);
        let observers = chains(&registry, &["events-modes"]).events.unwrap();
        registry.tell(&Arc::new(offline("cam1")), Some(&observers));
        registry.told().await;
        let usage = usage(&registry, "events-modes");
        assert_eq!((usage.deadlines, usage.memory), expected, "{mode}");
    }
}

#[tokio::test]
async fn floods_of_a_plugin_stay_bounded() {
    for mode in ["log-flood", "notify-flood", "metrics-flood", "kv-flood"] {
        let (services, _backend, mut feed) = surroundings();
        let registry = registry_in(services, vec![modes(json!({ "mode": mode }))]);
        let observers = chains(&registry, &["events-modes"]).events.unwrap();
        registry.tell(&Arc::new(offline("cam1")), Some(&observers));
        registry.told().await;
        let mut raised = 0;
        while let Some(happened) = feed.try_next() {
            let Event::Other { kind, json, .. } = happened.event else {
                panic!("{mode}: {happened:?}")
            };
            assert!(
                kind.len() <= 64 && json.len() <= 4_096 && !kind.contains('\n'),
                "{kind}"
            );
            raised += 1;
        }
        assert!(raised <= 50, "{mode} raised {raised}");
        assert!(usage(&registry, "events-modes").series.len() <= 64);
    }
}

#[tokio::test]
async fn a_new_version_takes_the_count_over() {
    let (services, _backend, mut feed) = surroundings();
    let tally = |mark: u32| plugin("tally", json!({ "mark": mark }));
    let registry = registry_in(services, vec![tally(1)]);
    let observers = chains(&registry, &["tally"]).events.unwrap();
    registry.tell(&Arc::new(offline("cam1")), Some(&observers));
    assert_eq!(noted(&mut feed).await.1, r#"{"count":1,"mark":1}"#);
    registry.apply(vec![tally(2)]).unwrap();
    assert_eq!(noted(&mut feed).await.0, "plugin-changed");
    let swapped = async {
        while usage(&registry, "tally").swaps == 0 {
            tokio::task::yield_now().await;
        }
    };
    swapped.await;
    registry.tell(&Arc::new(offline("cam1")), Some(&observers));
    assert_eq!(noted(&mut feed).await.1, r#"{"count":2,"mark":2}"#);
}

#[tokio::test]
async fn a_plugin_ticks_without_any_event() {
    let (services, _backend, mut feed) = surroundings();
    let registry = registry_in(services, vec![plugin("tally", json!({ "tick": 1 }))]);
    let observers = chains(&registry, &["tally"]).events.unwrap();
    observers.start();
    for ticks in 1..=3 {
        let said = format!(r#"{{"mark":0,"ticks":{ticks}}}"#);
        assert_eq!(noted(&mut feed).await, ("ticked".to_owned(), said));
    }
}

#[tokio::test]
async fn what_is_in_the_queue_is_told_even_when_no_path_uses_the_plugin_any_more() {
    let (services, _backend, mut feed) = surroundings();
    let registry = registry_in(services, vec![plugin("tally", json!({}))]);
    let observers = chains(&registry, &["tally"]).events.unwrap();
    for _ in 0..10 {
        registry.tell(&Arc::new(offline("cam1")), Some(&observers));
    }
    drop(observers);
    for count in 1..=10 {
        assert_eq!(noted(&mut feed).await.1, format!(r#"{{"count":{count},"mark":0}}"#));
    }
}

#[tokio::test]
async fn a_plugin_that_is_switched_off_misses_what_happens_until_it_is_on_again() {
    let (services, _backend, mut feed) = surroundings();
    let registry = registry_in(services, vec![plugin("tally", json!({ "mark": 1 }))]);
    let observers = chains(&registry, &["tally"]).events.unwrap();
    registry.enable("tally", false).unwrap();
    registry.tell(&Arc::new(offline("cam1")), Some(&observers));
    registry.told().await;
    assert_eq!((calls(&registry, "tally"), usage(&registry, "tally").bypassed), (0, 1));
    registry.enable("tally", true).unwrap();
    registry.tell(&Arc::new(offline("cam1")), Some(&observers));
    assert_eq!(noted(&mut feed).await.1, r#"{"count":1,"mark":1}"#);
}

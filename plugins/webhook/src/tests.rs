use std::cell::Cell;
use std::rc::Rc;

use serde_json::Value;
use wasmtx_plugin::http::{Request, Response};
use wasmtx_plugin::json;
use wasmtx_plugin::testing::{
    advance_clock, announce, answer_http, client, configure, h264, metrics, opus, publication, segment, set_clock,
    take_log, take_requests, tick,
};

use super::*;

fn hook(more: Value) -> Webhook {
    let mut config = json!({ "url": "https://hooks.example.com/wasmtx" });
    config
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    configure(&config.to_string()).unwrap()
}

fn offline(number: usize) -> Event {
    Event::Offline((format!("cam{number}"), CloseReason::Ended))
}

/// Answers with the status that the cell holds; 0 is no answer.
fn answering(status: u16) -> Rc<Cell<u16>> {
    let status = Rc::new(Cell::new(status));
    let now = status.clone();
    answer_http(move |_| match now.get() {
        0 => Err(http::Error::Timeout),
        status => Ok(Response::new(status)),
    });
    status
}

/// The paths that each request since the last call told of.
fn told() -> Vec<Vec<String>> {
    let paths = |request: Request| {
        let events: Vec<Value> = serde_json::from_slice(&request.body).unwrap();
        events
            .into_iter()
            .map(|event| event["path"].as_str().unwrap_or("-").to_owned())
            .collect()
    };
    take_requests().into_iter().map(paths).collect()
}

fn header<'a>(request: &'a Request, name: &str) -> &'a str {
    let found = request.headers.iter().find(|(key, _)| key == name);
    found.map_or("", |(_, value)| value)
}

#[test]
fn events_wait_for_a_batch_or_for_the_tick() {
    answering(200);
    let mut hook = hook(json!({ "batch": 3, "wait": 2.0 }));
    assert_eq!(hook.tick_every(), Some(Duration::from_secs(2)));
    for number in 0..7 {
        announce(&mut hook, offline(number));
    }
    assert_eq!(told(), [["cam0", "cam1", "cam2"], ["cam3", "cam4", "cam5"]]);
    tick(&mut hook);
    assert_eq!(told(), [["cam6"]]);
    tick(&mut hook);
    assert_eq!(told(), [[""; 0]; 0], "nothing is not sent");
    assert_eq!(metrics().counters["sent"], 7);
    assert_eq!(metrics().gauges["waiting"], 0.0);
}

#[test]
fn nothing_waits_when_that_is_said_or_when_the_server_stops() {
    answering(204);
    let mut at_once = hook(json!({ "wait": 0 }));
    announce(&mut at_once, offline(1));
    assert_eq!(told(), [["cam1"]]);
    let mut patient = hook(json!({ "wait": 3600 }));
    announce(&mut patient, offline(1));
    announce(&mut patient, Event::Offline(("cam2".into(), CloseReason::Shutdown)));
    assert_eq!(told(), [["cam1", "cam2"]]);
}

#[test]
fn what_is_sent_is_json_and_signed() {
    answering(200);
    set_clock(Duration::from_secs(1_764_000_000));
    let secret = "a secret that only this test knows";
    let mut hook = hook(json!({ "secret": secret, "headers": { "x-key": "7" } }));
    announce(&mut hook, offline(1));
    tick(&mut hook);
    let request = take_requests().remove(0);
    assert_eq!(
        (request.method.as_str(), request.url.as_str()),
        ("POST", "https://hooks.example.com/wasmtx")
    );
    assert_eq!(
        (header(&request, "content-type"), header(&request, "x-key")),
        ("application/json", "7")
    );
    assert_eq!(header(&request, "x-wasmtx-delivery").len(), 32);
    // The SDK's tests say what a signature is.
    let expected = Request::post("").body(request.body.clone()).signed(secret.as_bytes());
    assert_eq!(
        header(&request, "x-wasmtx-signature"),
        header(&expected, "x-wasmtx-signature")
    );
    assert_eq!(header(&request, "x-wasmtx-timestamp"), "1764000000");
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let expected = json!([{ "time": "2025-11-24T16:00:00.000000Z", "number": 1, "kind": "offline", "path": "cam1", "reason": "ended" }]);
    assert_eq!(body, expected);
}

#[test]
fn each_kind_of_event_says_what_there_is_to_say() {
    answering(200);
    let mut hook = hook(json!({ "wait": 0 }));
    let mut named = client();
    named.identity = Some("ada".into());
    named.tags = vec![("room".into(), "7".into())];
    let mut check = |event: Event, path: &str, key: &str, expected: Value| {
        announce(&mut hook, event.clone());
        let body: Value = serde_json::from_slice(&take_requests()[0].body).unwrap();
        assert_eq!(body[0]["kind"], event.kind());
        assert_eq!(body[0]["path"].as_str().unwrap_or("-"), path);
        assert_eq!(body[0].pointer(key), Some(&expected), "{body}");
    };
    check(Event::Connected(client()), "-", "/client/address", json!("192.0.2.7"));
    check(
        Event::Disconnected((client(), CloseReason::Kicked)),
        "-",
        "/reason",
        json!("kicked"),
    );
    check(
        Event::Refused(("cam1".into(), client())),
        "cam1",
        "/client/protocol",
        json!("rtsp"),
    );
    check(
        Event::Reading(("cam1".into(), named)),
        "cam1",
        "/client/tags",
        json!({ "room": "7" }),
    );
    check(
        Event::ReadEnded(("cam1".into(), client(), CloseReason::TooSlow)),
        "cam1",
        "/reason",
        json!("too-slow"),
    );
    check(
        Event::Online(publication("cam1", [h264(1), opus(2)])),
        "cam1",
        "/publication/tracks",
        json!(["H264", "Opus"]),
    );
    check(
        Event::SegmentDone(segment("cam1")),
        "cam1",
        "/segment/start",
        json!("2026-01-01T00:00:00.000000Z"),
    );
    check(
        Event::SegmentStarted(segment("cam1")),
        "cam1",
        "/segment/duration",
        json!(60.0),
    );
    check(
        Event::PluginFailed(("cam1".into(), "it trapped".into())),
        "cam1",
        "/error",
        json!("it trapped"),
    );
    check(
        Event::Other(("motion".into(), r#"{"score":1}"#.into())),
        "-",
        "/data/score",
        json!(1),
    );
    check(Event::Other(("motion".into(), "{".into())), "-", "/data", json!("{"));
}

#[test]
fn only_the_kinds_that_were_asked_for_are_sent() {
    answering(200);
    let mut hook = hook(json!({ "events": ["offline", "motion"], "wait": 0 }));
    announce(&mut hook, Event::Connected(client()));
    announce(&mut hook, offline(1));
    announce(&mut hook, Event::Other(("motion".into(), "{}".into())));
    assert_eq!(told(), [["cam1"], ["-"]]);
}

#[test]
fn what_does_not_get_through_is_tried_again_later_and_later_under_the_same_name() {
    let status = answering(0);
    let mut hook = hook(json!({ "wait": 0 }));
    announce(&mut hook, offline(1));
    let mut names = vec![header(&take_requests()[0], "x-wasmtx-delivery").to_owned()];
    // Between 0.8 and 1.2 of 1, 2, 4, …, 60 seconds.
    for (number, failure) in [500, 503, 429, 408, 0, 502, 500, 500].into_iter().enumerate() {
        let pause = Duration::from_secs(60.min(1 << number));
        status.set(failure);
        advance_clock(pause.mul_f64(0.79));
        tick(&mut hook);
        assert!(take_requests().is_empty(), "attempt {number} comes too early");
        advance_clock(pause.mul_f64(0.42));
        tick(&mut hook);
        let requests = take_requests();
        assert_eq!(requests.len(), 1, "attempt {number}");
        names.push(header(&requests[0], "x-wasmtx-delivery").to_owned());
    }
    names.dedup();
    assert_eq!(names.len(), 1);
    announce(&mut hook, offline(2));
    assert!(take_requests().is_empty(), "what is new waits, too");
    status.set(200);
    advance_clock(Duration::from_secs(73));
    tick(&mut hook);
    tick(&mut hook);
    assert_eq!(told(), [["cam1"], ["cam2"]], "the batch stays what it was");
    assert_eq!(metrics().counters["retries"], 9);
    assert!(take_log().len() >= 9);
}

#[test]
fn what_is_refused_for_good_is_not_tried_again() {
    let status = answering(400);
    let mut hook = hook(json!({ "wait": 0 }));
    announce(&mut hook, offline(1));
    status.set(200);
    announce(&mut hook, offline(2));
    assert_eq!(told(), [["cam1"], ["cam2"]]);
    assert_eq!((metrics().counters["refused"], metrics().counters["sent"]), (1, 1));
}

#[test]
fn the_queue_is_bounded_and_forgets_the_oldest() {
    let status = answering(500);
    let mut hook = hook(json!({ "batch": 2, "queue": 4, "wait": 60 }));
    for number in 0..10 {
        announce(&mut hook, offline(number));
    }
    assert_eq!(told(), [["cam0", "cam1"]]);
    assert_eq!((metrics().counters["lost"], metrics().gauges["waiting"]), (6, 4.0));
    status.set(200);
    advance_clock(Duration::from_secs(2));
    tick(&mut hook);
    tick(&mut hook);
    assert_eq!(told(), [["cam6", "cam7"], ["cam8", "cam9"]]);
}

#[test]
fn large_events_are_bounded_by_their_bytes() {
    let status = answering(500);
    let mut hook = hook(json!({ "batch": 1000, "wait": 60 }));
    let large = |size| Event::Other(("large".into(), json!("x".repeat(size)).to_string()));
    for _ in 0..100 {
        announce(&mut hook, large(60 << 10));
    }
    assert!(hook.save().unwrap().data.len() < 800 << 10);
    status.set(200);
    tick(&mut hook);
    assert!(take_requests()[0].body.len() <= 257 << 10);
    announce(&mut hook, large(900 << 10));
    tick(&mut hook);
    assert!(
        take_requests().is_empty(),
        "one that does not fit at all drives out the others and itself"
    );
}

#[test]
fn what_waits_goes_along_to_the_next_version() {
    answering(200);
    let mut old = hook(json!({ "wait": 60 }));
    for number in 0..3 {
        announce(&mut old, offline(number));
    }
    let mut new = hook(json!({ "wait": 60 }));
    new.restore(old.save().unwrap()).unwrap();
    tick(&mut new);
    assert_eq!(told(), [["cam0", "cam1", "cam2"]]);
    let unknown = Snapshot {
        schema: 2,
        data: Vec::new(),
    };
    assert!(matches!(new.restore(unknown), Err(Error::Unsupported)));
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
    let url = "https://a.example";
    for (config, pointer) in [
        (json!({}), "/url"),
        (json!({ "url": "ftp://a.example" }), "/url"),
        (json!({ "url": url, "secret": "short" }), "/secret"),
        (json!({ "url": url, "batch": 0 }), "/batch"),
        (json!({ "url": url, "batch": 50, "queue": 49 }), "/queue"),
        (json!({ "url": url, "queue": 10_001 }), "/queue"),
        (json!({ "url": url, "wait": -1 }), "/wait"),
        (json!({ "url": url, "timeout": 26 }), "/timeout"),
        (json!({ "url": url, "headers": { "a": 1 } }), "/headers/a"),
        (json!({ "url": url, "kinds": [] }), "/kinds"),
    ] {
        match configure::<Webhook>(&config.to_string()) {
            Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}: {}", error.message),
            other => panic!("{config} was judged {:?}", other.err()),
        }
    }
}

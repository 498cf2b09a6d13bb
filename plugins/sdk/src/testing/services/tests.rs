use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::storage::{self, File};
use crate::testing::{advance_clock, set_offset, take_log};
use crate::{Held, clock, control, host, json, kv, notify, recording};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_value_lives_until_it_ends() {
    kv::set("a", "1", None).unwrap();
    kv::set("b", [2], Some(2 * SECOND)).unwrap();
    kv::set("c", b"3", Some(Duration::from_millis(1))).unwrap();
    advance_clock(SECOND - Duration::from_micros(1));
    assert_eq!(
        kv::get("c").as_deref(),
        Some(b"3".as_slice()),
        "a part of a second counts as one"
    );
    advance_clock(SECOND);
    assert_eq!((kv::get("b").is_some(), kv::get("c").is_some()), (true, false));
    kv::set("b", "", None).unwrap();
    advance_clock(1_000 * SECOND);
    assert_eq!(
        kv::get("b").as_deref(),
        Some(b"".as_slice()),
        "set again, it has no end"
    );
    kv::delete("b");
    kv::delete("b");
    assert_eq!((kv::get("b"), kv::get("a").is_some()), (None, true));
}

#[test]
fn a_count_covers_one_stretch_of_time() {
    let count = || kv::add("tries", 1, Some(60 * SECOND)).unwrap();
    assert_eq!((count(), count()), (1, 2));
    advance_clock(59 * SECOND);
    assert_eq!(count(), 3);
    advance_clock(SECOND);
    assert_eq!(count(), 1, "the first minute is over");
    assert_eq!(kv::get("tries").as_deref(), Some(b"1".as_slice()));
}

#[test]
fn what_is_no_number_is_not_added_to() {
    kv::set("name", "Ada", None).unwrap();
    assert_eq!(kv::add("name", 1, None), Err(kv::Error::Conflict));
    kv::set("most", i64::MAX.to_string(), None).unwrap();
    assert_eq!(kv::add("most", 1, None), Err(kv::Error::Conflict));
    assert_eq!(kv::add("most", -1, None), Ok(i64::MAX - 1));
}

#[test]
fn only_the_first_of_two_swaps() {
    assert_eq!(kv::swap("door", Some(b"shut"), "open", None), Err(kv::Error::Conflict));
    kv::swap("door", None, "shut", None).unwrap();
    assert_eq!(kv::swap("door", None, "shut", None), Err(kv::Error::Conflict));
    kv::swap("door", Some(b"shut"), "open", None).unwrap();
    assert_eq!(kv::get("door").as_deref(), Some(b"open".as_slice()));
}

#[test]
fn the_store_has_the_bounds_of_the_server() {
    let most = vec![7; 64 << 10];
    assert_eq!(
        kv::set("a", [most.as_slice(), b"!"].concat(), None),
        Err(kv::Error::TooLarge)
    );
    assert_eq!(kv::set(&"k".repeat(257), "", None), Err(kv::Error::TooLarge));
    let refused = (0..99).find(|turn| kv::set(&format!("big/{turn}"), &most, None).is_err());
    assert_eq!(refused, Some(15), "fifteen and their names, the sixteenth does not fit");
    kv::set("big/0", "small", None).unwrap();
    (0..1_008).for_each(|turn| kv::set(&format!("small/{turn}"), "", None).unwrap());
    kv::set("one more", "", None).unwrap();
    assert_eq!(kv::set("and another", "", None), Err(kv::Error::Quota));
}

#[test]
fn what_is_not_granted_says_so() {
    kv::set("a", "1", None).unwrap();
    for grant in [Grant::Kv, Grant::Http, Grant::Storage, Grant::Control] {
        withdraw(grant);
    }
    answer_http(|_| Ok(Response::new(200)));
    assert_eq!(kv::get("a"), None);
    assert_eq!(kv::set("a", "2", None), Err(kv::Error::NotGranted));
    assert_eq!(Request::get("https://a.example").send(), Err(Error::NotGranted));
    assert_eq!(take_requests(), []);
    assert_eq!(File::create("a").unwrap_err(), storage::Error::NotGranted);
    assert_eq!(storage::list("").unwrap_err(), storage::Error::NotGranted);
    control::kick("6f9619ff", "no");
    control::request_keyframe("cam");
    assert_eq!((take_kicks(), take_keyframe_requests()), (vec![], vec![]));
}

#[test]
fn a_request_is_answered_and_kept() {
    answer_http(|request| match request.url.as_str() {
        "https://users.example.com/ada" => Ok(Response {
            headers: vec![("Content-Type".into(), "application/json".into())],
            body: br#"{"friends":3}"#.to_vec(),
            ..Response::new(200)
        }),
        _ => Err(Error::Timeout),
    });
    let ask = |user: &str| Request::get(format!("https://users.example.com/{user}")).header("x-key", "k");
    let answer = ask("ada").timeout(SECOND).send().unwrap();
    assert!(answer.is_success());
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("x-key"), None);
    assert_eq!(answer.text(), Some(r#"{"friends":3}"#));
    assert_eq!(answer.json::<HashMap<String, u8>>().unwrap()["friends"], 3);
    assert!(answer.json::<String>().is_err());
    assert_eq!(ask("bob").send(), Err(Error::Timeout));
    assert_eq!(take_requests(), [ask("ada").timeout(SECOND), ask("bob")]);
    assert_eq!(take_requests(), []);
}

#[test]
fn nobody_listens_until_the_test_says_so() {
    assert_eq!(Request::get("http://a.example").send(), Err(Error::Refused));
    assert_eq!(take_requests().len(), 1);
}

#[test]
fn an_answer_may_use_the_server_itself() {
    answer_http(|_| {
        kv::add("asked", 1, None).map_err(|_| Error::Other)?;
        answer_http(|_| Err(Error::Tls));
        Ok(Response::new(204))
    });
    let get = Request::get("http://a.example");
    assert_eq!(get.send().map(|answer| answer.status), Ok(204));
    assert_eq!(get.send(), Err(Error::Tls), "the newer answer holds");
    assert_eq!(kv::get("asked").as_deref(), Some(b"1".as_slice()));
}

#[test]
fn bodies_are_bounded() {
    answer_http(|request| {
        Ok(Response {
            body: vec![
                7;
                if request.url.ends_with("huge") {
                    (1 << 20) + 1
                } else {
                    1 << 20
                }
            ],
            ..Response::new(200)
        })
    });
    let post = |len: usize| Request::post("http://a.example").body(vec![7; len]).send();
    assert!(post(1 << 20).is_ok());
    assert_eq!(post((1 << 20) + 1), Err(Error::TooLarge));
    assert_eq!(Request::get("http://a.example/huge").send(), Err(Error::TooLarge));
}

#[test]
fn what_is_no_json_is_not_sent_and_said_so() {
    answer_http(|_| Ok(Response::new(200)));
    let odd = HashMap::from([((1, 2), 3)]);
    let request = Request::post("http://a.example").json(&odd);
    assert_eq!(request.send(), Err(Error::Other));
    assert!(request.body("instead").send().is_ok());
    notify::raise("odd", &odd);
    let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("POST http://a.example not sent"), "{lines:?}");
    assert!(lines[1].starts_with("event 'odd' not raised"), "{lines:?}");
    assert_eq!((take_requests().len(), take_raised()), (1, vec![]));
}

#[test]
fn json_says_what_it_is() {
    let request = Request::put("http://a.example").json(&json!({ "a": [1, null] }));
    assert_eq!(request.body, br#"{"a":[1,null]}"#);
    assert_eq!(
        request.headers,
        [("content-type".to_owned(), "application/json".to_owned())]
    );
    assert_eq!((request.method.as_str(), request.timeout), ("PUT", None));
    assert_eq!(Request::delete("http://a.example").method, "DELETE");
}

#[test]
fn a_file_grows_and_keeps_what_was_appended() {
    advance_clock(SECOND);
    let held = Held(host::Held::new(b"0123456789"));
    let mut file = File::create("a/b.bin").unwrap();
    assert_eq!(file.append("ab"), Ok(2));
    assert_eq!(file.append_held(&held), Ok(12));
    assert_eq!(file.append_held_range(&held, 8..99), Ok(14));
    assert_eq!(file.append_held_range(&held, 99..u32::MAX), Ok(14));
    #[allow(clippy::reversed_empty_ranges, reason = "what a plugin may get wrong")]
    let backwards = file.append_held_range(&held, 5..2);
    assert_eq!(backwards, Ok(14));
    assert_eq!(file.commit(), Ok(14));
    assert_eq!(storage::read("a/b.bin", 0, u32::MAX).unwrap(), b"ab012345678989");
    assert_eq!(storage::read("a/b.bin", 12, 1).unwrap(), b"8");
    assert_eq!(storage::read("a/b.bin", u64::MAX, 1).unwrap(), b"");
    assert_eq!(file.finish(), Ok(14));

    let entry = storage::list("a/").unwrap().remove(0);
    assert_eq!(
        (entry.name.as_str(), entry.size, entry.modified),
        ("a/b.bin", 14, 1_000_000)
    );
    File::create("a/b.bin").unwrap();
    assert_eq!(
        storage::read("a/b.bin", 0, 9).unwrap(),
        b"",
        "a new file replaces the old"
    );
}

#[test]
fn files_are_renamed_and_removed() {
    File::create("new").unwrap().append("1").unwrap();
    File::create("old").unwrap().append("2").unwrap();
    storage::rename("new", "old").unwrap();
    assert_eq!(storage::read("old", 0, 9).unwrap(), b"1");
    assert_eq!(storage::rename("new", "x"), Err(storage::Error::NotFound));
    storage::remove("old").unwrap();
    assert_eq!(storage::remove("old"), Err(storage::Error::NotFound));
    assert_eq!(storage::read("old", 0, 9), Err(storage::Error::NotFound));
    assert_eq!(storage::list("").unwrap(), []);
}

#[test]
fn a_name_that_leaves_the_directory_is_none() {
    for name in [
        "",
        "/etc/passwd",
        "../a",
        "a/../b",
        "a//b",
        "a/",
        ".",
        "a/.",
        &vec!["a"; 17].join("/"),
        &"a".repeat(256),
        &vec!["a".repeat(255); 5].join("/"),
        "a\0",
        "a\n",
    ] {
        assert_eq!(File::create(name).unwrap_err(), storage::Error::NotGranted, "{name:?}");
        assert_eq!(storage::read(name, 0, 1), Err(storage::Error::NotGranted), "{name:?}");
        assert_eq!(storage::rename("a", name), Err(storage::Error::NotGranted), "{name:?}");
        assert_eq!(storage::remove(name), Err(storage::Error::NotGranted), "{name:?}");
    }
    for name in [
        "a/a/a/a/a/a/a/.A_1-2",
        "cam 1/2026-11-22_12:00:00+0100.mp4",
        "-x",
        "ä/…",
        "a\\b",
    ] {
        assert!(File::create(name).is_ok(), "{name}");
    }
}

#[test]
fn a_full_disk_takes_nothing_more_until_there_is_room() {
    set_storage_room(3);
    let mut file = File::create("a").unwrap();
    file.append("12").unwrap();
    assert_eq!(File::create("b").unwrap().append("34"), Err(storage::Error::Full));
    assert_eq!(file.append("3"), Ok(3));
    set_storage_room(4);
    assert_eq!(file.append("4"), Ok(4));
}

#[test]
fn figures_are_summed_and_odd_ones_left_out() {
    crate::metrics::counter("frames", 2);
    crate::metrics::counter("frames", u64::MAX);
    crate::metrics::gauge("depth", 1.5);
    crate::metrics::gauge("depth", -1.0);
    crate::metrics::observe("wait_seconds", 0.25);
    crate::metrics::observe("wait_seconds", f64::NAN);
    for name in ["", "Frames", "_frames", "9frames", "a b", "ä", &"x".repeat(65)] {
        crate::metrics::counter(name, 1);
    }
    let expected = Metrics {
        counters: [("frames".to_owned(), u64::MAX)].into(),
        gauges: [("depth".to_owned(), -1.0)].into(),
        observations: [("wait_seconds".to_owned(), vec![0.25])].into(),
    };
    assert_eq!(metrics(), expected);
}

#[test]
fn events_and_wishes_are_kept_until_looked_at() {
    notify::raise("motion", &json!({ "score": 0.5 }));
    notify::raise("novel", &"x".repeat(4 << 10));
    control::request_keyframe("cam");
    control::kick("6f9619ff", "enough");
    assert_eq!(take_raised(), [("motion".to_owned(), json!({ "score": 0.5 }))]);
    assert_eq!(take_keyframe_requests(), ["cam"]);
    assert_eq!(take_kicks(), [("6f9619ff".to_owned(), "enough".to_owned())]);
    assert_eq!((take_raised(), take_kicks()), (vec![], vec![]));
}

#[test]
fn an_error_of_a_service_says_whose_it_is() {
    let said = |error: crate::Error| match error {
        crate::Error::Other(text) => text,
        other => panic!("{other:?}"),
    };
    assert_eq!(said(kv::Error::TooLarge.into()), "kv: too-large");
    assert_eq!(said(Error::NotGranted.into()), "http: not-granted");
    assert_eq!(said(storage::Error::Io.into()), "storage: io");
    assert_eq!(said(crate::FrameError::NoFrame.into()), "frame: no-frame");
}

#[test]
fn what_is_said_of_recordings_is_kept_in_order() {
    set_offset(-3_600);
    assert_eq!(clock::offset(Duration::ZERO), -3_600);
    recording::started("cam1/a.mp4", Duration::from_secs(1));
    recording::done("cam1/a.mp4", Duration::from_secs(1), Duration::from_millis(60_001));
    let said = |duration| Recording {
        file: "cam1/a.mp4".to_owned(),
        start: 1_000_000,
        duration,
    };
    assert_eq!(take_recordings(), [said(None), said(Some(60_001_000))]);
    assert!(take_recordings().is_empty());
}

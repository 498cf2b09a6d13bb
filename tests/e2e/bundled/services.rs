//! Those that speak with services: `http-auth` and `webhook`, with a real one.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use hmac::{Hmac, Mac};
use rustix::process::Signal;
use serde_json::{Value as Json, json};
use sha2::Sha256;
use wasmtx_media::{Codec as MediaCodec, Kind};

use crate::harness::{Asked, Backend, Codec, Player, Publisher, Reader, Reply, Server, Transport, made_up, until};

const SECRET: &str = "a secret that only this test knows";

/// Was it signed with the secret?
#[track_caller]
fn assert_signed(asked: &Asked) {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).expect("any length of key");
    mac.update(asked.headers["x-wasmtx-timestamp"].as_bytes());
    mac.update(b".");
    mac.update(&asked.body);
    let expected: String = mac
        .finalize()
        .into_bytes()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(asked.headers["x-wasmtx-signature"], format!("sha256={expected}"));
}

fn asking(backend: &Backend) -> Server {
    Server::start(&format!(
        "plugins:\n  users:\n    file: builtin:http-auth\n    config: {{ url: '{}', secret: '{SECRET}' }}\n    \
         grant: {{ credentials: yes, http: ['{}'] }}\npathDefaults:\n  plugins: [users]\npaths:\n  all_others:\n",
        backend.url("/check"),
        backend.host(),
    ))
}

#[test]
fn http_auth_asks_in_the_words_of_mediamtx_and_the_service_decides() {
    let backend = Backend::start(|_, asked| {
        let status = match (
            asked["action"].as_str(),
            asked["user"].as_str(),
            asked["password"].as_str(),
        ) {
            (Some("publish"), ..) => 200,
            (_, Some("ada"), Some("engine")) => 204,
            (_, Some("ada"), _) => 403,
            (_, Some(""), _) => 401,
            _ => 404,
        };
        Reply::Now(status, String::new())
    });
    let server = asking(&backend);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let url = server
        .url(Transport::Tcp, "cam1?view=2")
        .replace("rtsp://", "rtsp://ada:engine@");
    let read = Player::FFmpeg.read_from(&url, Transport::Tcp, 10).hashes();
    assert_eq!(read.len(), 10);
    let asked = backend.requests();
    asked.iter().for_each(assert_signed);
    let question = asked.last().expect("a question").json();
    let expected = json!({ "ip": "127.0.0.1", "user": "ada", "password": "engine", "token": "", "action": "read", "path": "cam1", "protocol": "rtsp" });
    for (name, value) in expected.as_object().expect("a map") {
        assert_eq!(&question[name], value, "{name} in {question}");
    }
    assert!(
        question["userAgent"]
            .as_str()
            .is_some_and(|agent| agent.starts_with("Lavf")),
        "{question}"
    );
    assert!(
        question["query"].as_str().is_some_and(|query| query.contains("view=2")),
        "{question}"
    );

    let address = server.address("rtspAddress");
    for (login, status) in [
        (None, "401"),
        (Some(("ada", "compiler")), "403"),
        (Some(("alan", "")), "404"),
    ] {
        let refused = Reader::open(address, "cam1", login)
            .err()
            .expect("a stranger stays out");
        assert!(refused.contains(status), "{login:?}: {refused}");
    }
}

#[test]
fn http_auth_lets_the_service_say_how_long_and_nobody_in_while_it_is_ill() {
    let backend = Backend::start(|_, asked| match asked["path"].as_str() {
        Some("brief") if asked["action"] == "read" => Reply::Now(200, r#"{"identity":"ada","lasts":1}"#.to_owned()),
        Some("ill") => Reply::Now(503, String::new()),
        Some("odd") => Reply::Now(200, r#"{"lasts":"a while"}"#.to_owned()),
        _ => Reply::Now(200, "OK".to_owned()),
    });
    let server = asking(&backend);
    let mut publisher = Publisher::vp8(&server, "brief");
    publisher.send_all(&made_up(1, 1, 100));
    Reader::new(&server, "brief").until_end();
    for path in ["ill", "odd"] {
        let refused = Publisher::try_new(&server, path, None, Kind::Video, MediaCodec::Vp8);
        assert!(refused.is_err(), "{path} is open");
    }
    assert_eq!(
        server.metric("wasmtx_plugin_series", &["plugin=\"users\"", "name=\"unanswered\""]),
        1.0
    );
}

fn hooked(backend: &Backend, config: &str) -> Server {
    Server::start(&format!(
        "plugins:\n  hook:\n    file: builtin:webhook\n    config: {{ url: '{}', secret: '{SECRET}'{config} }}\n    \
         grant: {{ http: ['{}'] }}\npathDefaults:\n  plugins: [hook]\npaths:\n  all_others:\n",
        backend.url("/hook"),
        backend.host(),
    ))
}

/// Every event that came, in order, the same batch counted once.
fn events(backend: &Backend) -> Vec<Json> {
    let mut names = Vec::new();
    let mut events = Vec::new();
    for asked in backend.requests() {
        let name = asked.headers["x-wasmtx-delivery"].clone();
        if !names.contains(&name) {
            names.push(name);
            events.extend(asked.json().as_array().expect("a list").clone());
        }
    }
    events
}

fn kinds(backend: &Backend, path: &str) -> Vec<String> {
    let about = events(backend).into_iter().filter(|event| event["path"] == path);
    about
        .map(|event| event["kind"].as_str().expect("a word").to_owned())
        .collect()
}

#[test]
fn webhook_tells_in_order_who_publishes_and_reads_and_signs_it() {
    let backend = Backend::agreeing();
    let server = hooked(&backend, ", wait: 0.2");
    let clip = Codec::H264.clip();
    let publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    assert!(
        !Player::FFmpeg
            .read(&server, Transport::Tcp, "cam1", 10)
            .hashes()
            .is_empty()
    );
    server.readers("cam1", 0);
    drop(publishing);
    let expected = ["online", "reading", "read-ended", "offline"];
    until("everything is told", || {
        (kinds(&backend, "cam1") == expected).then_some(())
    });
    backend.requests().iter().for_each(assert_signed);
    let events = events(&backend);
    assert!(events.is_sorted_by_key(|event| event["number"].as_u64()), "{events:?}");
    let online = events
        .iter()
        .find(|event| event["kind"] == "online")
        .expect("it was told");
    assert_eq!(
        (
            &online["publication"]["tracks"],
            &online["publication"]["publisher"]["address"]
        ),
        (&json!(["H264"]), &json!("127.0.0.1"))
    );
}

#[test]
fn webhook_sends_again_what_did_not_get_through() {
    let count = AtomicUsize::new(0);
    let backend =
        Backend::start(move |_, _| Reply::Now(if count.fetch_add(1, SeqCst) < 2 { 503 } else { 200 }, String::new()));
    let server = hooked(&backend, ", wait: 0, events: [online, offline]");
    for path in ["cam1", "cam2"] {
        let mut publisher = Publisher::vp8(&server, path);
        publisher.send_all(&made_up(1, 1, 100));
        server.online(path);
    }
    let told = || {
        let told = [kinds(&backend, "cam1"), kinds(&backend, "cam2")];
        told.iter().all(|kinds| kinds == &["online", "offline"]).then_some(())
    };
    until("everything is told at last", told);
    let requests = backend.requests();
    let name = |number: usize| &requests[number].headers["x-wasmtx-delivery"];
    assert!(name(0) == name(1) && name(1) == name(2), "the same batch three times");
    assert_eq!(requests[0].body, requests[2].body);
    assert_eq!(
        server.metric("wasmtx_plugin_series", &["plugin=\"hook\"", "name=\"retries\""]),
        2.0
    );
}

#[test]
fn webhook_tells_the_last_things_before_the_server_stops() {
    let backend = Backend::agreeing();
    let server = hooked(&backend, ", wait: 3600");
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    server.online("cam1");
    assert!(server.stop(Signal::TERM).status.success());
    assert_eq!(kinds(&backend, "cam1"), ["online", "offline"]);
}

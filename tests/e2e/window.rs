//! Who may look into a running server, and what the others are told.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value as Json;

use crate::harness::{OPEN, PATIENCE, Publisher, Server, made_up};

/// One who may look, one who may only watch.
const USERS: &str = "\
authInternalUsers:
- user: ada
  pass: engine
  permissions:
  - action: api
  - action: metrics
- user: grace
  pass: compiler
  permissions:
  - action: read
paths:
  all_others:
";

/// `ada:engine`, `grace:compiler` and `ada:difference` for RFC 7617.
const ADA: &str = "Basic YWRhOmVuZ2luZQ==";
const GRACE: &str = "Basic Z3JhY2U6Y29tcGlsZXI=";
const WRONG: &str = "Basic YWRhOmRpZmZlcmVuY2U=";

struct Answer {
    status: u16,
    /// In small letters.
    head: String,
    body: String,
}

/// Asks with these credentials.
fn ask(address: SocketAddr, route: &str, credentials: Option<&str>) -> Answer {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
    let credentials = credentials.map_or(String::new(), |credentials| format!("Authorization: {credentials}\r\n"));
    let request = format!("GET {route} HTTP/1.1\r\nHost: {address}\r\n{credentials}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).expect("the server takes requests");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    Answer {
        status: status.expect("a status"),
        head: head.to_lowercase(),
        body: body.to_owned(),
    }
}

fn check(key: &str, route: &str) {
    let server = Server::start(USERS);
    let address = server.address(key);
    let stranger = ask(address, route, None);
    assert_eq!(stranger.status, 401, "{}", stranger.body);
    assert!(stranger.head.contains("www-authenticate: basic"), "{}", stranger.head);
    assert_eq!(ask(address, route, Some(WRONG)).status, 401);
    assert_eq!(ask(address, route, Some(GRACE)).status, 403);
    assert_eq!(ask(address, route, Some(ADA)).status, 200);
    let bearer = ask(address, route, Some("Bearer ada:engine"));
    assert_eq!(bearer.status, 200, "{}", bearer.body);
}

#[test]
fn the_api_is_for_those_who_may() {
    check("apiAddress", "/v3/info");
}

#[test]
fn the_metrics_are_for_those_who_may() {
    check("metricsAddress", "/metrics");
}

#[test]
fn strangers_do_not_learn_what_is_there() {
    let server = Server::start(USERS);
    let address = server.address("apiAddress");
    for route in ["/v3/paths/get/cam1", "/v3/nothing", "/", "/v3/rtspsessions/kick/x"] {
        let answer = ask(address, route, None);
        assert!([401, 404].contains(&answer.status), "{route}: {}", answer.status);
        assert!(!answer.body.contains("cam1"), "{route}: {}", answer.body);
    }
}

#[test]
fn long_lists_come_in_pages() {
    let server = Server::start(OPEN);
    let names = ["cam1", "cam2", "cam3"];
    let _publishers = names.map(|name| {
        let mut publisher = Publisher::vp8(&server, name);
        publisher.send_all(&made_up(1, 1, 100));
        publisher
    });
    let page = |number: usize| {
        let page = server.api(&format!("paths/list?itemsPerPage=2&page={number}"));
        assert_eq!(
            (&page["itemCount"], &page["pageCount"]),
            (&Json::from(3), &Json::from(2))
        );
        let items = page["items"].as_array().expect("a list").clone();
        items.into_iter().map(|path| path["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(page(0), names[..2]);
    assert_eq!(page(1), names[2..]);
    assert!(page(2).is_empty());
    for wrong in ["itemsPerPage=0", "itemsPerPage=x", "page=-1"] {
        let (status, body) = server.ask("GET", &format!("paths/list?{wrong}"));
        assert_eq!(status, 400, "{wrong}: {body}");
        let body: Json = serde_json::from_str(&body).expect("JSON");
        assert_eq!(body["status"], "error", "{wrong}");
    }
}

#[test]
fn what_is_not_there_is_told_as_such() {
    let server = Server::start(OPEN);
    for (method, route, expected) in [
        ("GET", "paths/get/cam1", 404),
        ("GET", "rtspsessions/get/00000000-0000-0000-0000-000000000000", 404),
        ("POST", "rtspsessions/kick/00000000-0000-0000-0000-000000000000", 404),
        ("GET", "srtconns/list", 404),
        ("POST", "paths/list", 405),
    ] {
        let (status, body) = server.ask(method, route);
        assert_eq!(status, expected, "{method} {route}: {body}");
    }
}

#[test]
fn a_page_of_metrics_can_be_about_one_thing() {
    let server = Server::start(OPEN);
    let _publishers = ["cam1", "cam2"].map(|name| {
        let mut publisher = Publisher::vp8(&server, name);
        publisher.send_all(&made_up(1, 1, 100));
        server.online(name);
        publisher
    });
    let address = server.address("metricsAddress");
    let page = ask(address, "/metrics?path=cam2", None).body;
    assert!(
        page.contains("name=\"cam2\"") && !page.contains("name=\"cam1\""),
        "{page}"
    );
    let page = ask(address, "/metrics?type=rtsp_conns", None).body;
    assert!(page.contains("rtsp_conns{id=") && !page.contains("paths{"), "{page}");
}

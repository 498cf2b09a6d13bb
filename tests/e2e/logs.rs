//! What the server writes about its work, and where.

use std::net::TcpListener;

use serde_json::Value as Json;

use crate::harness::{Folder, OPEN, Publisher, Reader, Server, command, made_up, until};

/// The lines of a log of JSON, each of which has to be whole.
#[track_caller]
fn objects(log: &str) -> Vec<Json> {
    let whole = log.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines = whole.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

#[test]
fn a_structured_log_has_a_field_for_each_thing() {
    let server = Server::start("logStructured: yes\npaths:\n  cam1:\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    Reader::open(server.address("rtspAddress"), "elsewhere", None)
        .err()
        .expect("that path is not there");
    let find = |what: &str| {
        until(what, || {
            let objects = objects(&server.log());
            objects
                .into_iter()
                .find(|line| line["message"].as_str().is_some_and(|message| message.contains(what)))
        })
    };
    let line = find("session is publishing");
    assert_eq!((&line["level"], &line["path"]), (&"INF".into(), &"cam1".into()));
    let session = line["session"].as_str().expect("an id");
    assert_eq!(server.api(&format!("rtspsessions/get/{session}"))["path"], "cam1");
    assert!(line["conn"].is_string() && line["timestamp"].is_string(), "{line}");
    assert!(find("connection closed")["code"].is_string());
}

#[test]
fn the_log_goes_where_it_is_sent() {
    let server = Server::start("logDestinations: [stdout, file]\nlogFile: kept.log\npaths:\n  cam1:\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    server.logged(&["session is publishing", "path=cam1"]);
    until("the file has the line, too", || {
        server
            .folder()
            .read("kept.log")
            .contains("session is publishing")
            .then_some(())
    });
}

#[test]
fn passwords_and_tokens_stay_out_of_the_log() {
    let users =
        "authInternalUsers:\n- user: ada\n  pass: engine\n  permissions:\n  - action: publish\npaths:\n  all_others:\n";
    let server = Server::start(users);
    let address = server.address("rtspAddress");
    for login in [("ada", "difference"), ("difference", "engine")] {
        Reader::open(address, "cam1?token=analytical", Some(login))
            .err()
            .expect("nobody may read");
    }
    server.logged(&["connection closed"]);
    for secret in ["engine", "difference", "analytical"] {
        assert!(
            !server.log().contains(secret),
            "the log has {secret}:\n{}",
            server.log()
        );
    }
}

#[test]
fn only_what_matters_enough_is_logged() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = taken.local_addr().expect("an address").to_string();
    let folder = Folder::new();
    let mut command = command(&folder, OPEN);
    command.env("MTX_LOGLEVEL", "error").env("MTX_RTSPADDRESS", address);
    let output = command.output().expect("the server starts");
    let log = String::from_utf8(output.stdout).expect("text");
    assert_eq!(log.lines().count(), 1, "{log}");
    assert!(log.contains(" ERR "), "{log}");
}

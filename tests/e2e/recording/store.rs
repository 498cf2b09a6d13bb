//! Recordings in an object store: a real server of S3 beside ours.

use std::net::SocketAddr;

use super::{Camera, RECORD, hashes_in};
use crate::harness::{Folder, Server, Tool, assert_run, get_bytes, root, run, send, until};

/// A store with a bucket `films`.
struct Store {
    _program: Tool,
    address: SocketAddr,
}

impl Store {
    #[track_caller]
    fn start() -> Store {
        let program = root().join("target/services/bin/moto_server");
        assert!(program.exists(), "moto_server is missing; run: scripts/setup test");
        let program = Tool::start(
            program.to_str().expect("a path of ours"),
            ["-H", "127.0.0.1", "-p", "0"],
        );
        let address = until("the store listens", || {
            let said = program.said();
            let (_, rest) = said.split_once("Running on http://")?;
            rest.lines().next()?.trim().parse().ok()
        });
        let (status, body) = send("PUT", address, "/films", "text/plain", &[]).expect("an answer");
        assert_eq!(status, 200, "{body}");
        Store {
            _program: program,
            address,
        }
    }

    /// The names of the objects in the bucket.
    fn names(&self) -> Vec<String> {
        let (status, body) = get_bytes(self.address, "/films?list-type=2").expect("an answer");
        assert_eq!(status, 200);
        let body = String::from_utf8(body).expect("XML");
        let names = body.split("<Key>").skip(1);
        let names = names.filter_map(|rest| rest.split_once("</Key>"));
        names.map(|(name, _)| name.to_owned()).collect()
    }
}

#[test]
fn recordings_in_an_object_store_are_listed_played_and_deleted_like_others() {
    let store = Store::start();
    let keys = "record: yes\n  recordSegmentDuration: 1s\n  recordPath: s3://films/wall/%path/%Y-%m-%d_%H-%M-%S-%f\n";
    let yaml = format!(
        "playback: yes\nplaybackAddress: 127.0.0.1:0\n{}",
        RECORD.replace("record: yes\n", keys)
    );
    let endpoint = format!("http://{}", store.address);
    let environment = [
        ("AWS_ACCESS_KEY_ID", "key"),
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("AWS_ENDPOINT_URL", &endpoint),
        ("AWS_ALLOW_HTTP", "true"),
    ];
    let server = Server::start_in(Folder::new(), &yaml, &environment);
    let recordings = || server.api("recordings/list");
    assert_eq!(recordings()["itemCount"], 0);
    let mut camera = Camera::new(&server, "cam1");
    camera.live(60);
    let sent = camera.hashes();
    drop(camera);
    server.offline("cam1");
    until("three files are in the store", || {
        let names = store.names();
        assert!(names.iter().all(|name| name.starts_with("wall/cam1/")), "{names:?}");
        (names.len() == 3).then_some(())
    });
    let known = until("all are listed", || {
        let known = recordings();
        (known["items"][0]["segments"].as_array()?.len() == 3).then_some(known)
    });
    assert_eq!(known["items"][0]["name"], "cam1");

    let playback = server.address("playbackAddress");
    let (status, list) = get_bytes(playback, "/list?path=cam1").expect("a list");
    assert_eq!(status, 200);
    let list: serde_json::Value = serde_json::from_slice(&list).expect("JSON");
    let url = list[0]["url"].as_str().expect("a URL");
    let (_, route) = url.split_once("/get").expect("what /get is asked");
    let (status, film) = get_bytes(playback, &format!("/get{route}")).expect("a film");
    assert_eq!(status, 200);
    let file = server.folder().write("film.mp4", film);
    assert_eq!(assert_run(&sent, &hashes_in(&file), sent.len()), 0);

    let first = known["items"][0]["segments"][0]["start"].as_str().expect("a time");
    let first = first.replace('+', "%2B").replace(':', "%3A");
    let (status, body) = server.ask("DELETE", &format!("recordings/deletesegment?path=cam1&start={first}"));
    assert_eq!(status, 200, "{body}");
    assert_eq!(store.names().len(), 2);
    let spooled = run(
        "find",
        [
            server.folder().file(".wasmtx/spool").as_os_str(),
            "-name".as_ref(),
            "*.mp4".as_ref(),
        ],
    );
    assert_eq!(
        String::from_utf8_lossy(&spooled),
        "",
        "nothing of it is left on the local disk"
    );
}

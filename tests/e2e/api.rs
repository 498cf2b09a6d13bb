//! The window into a running server: API and metrics while streams run.

use std::collections::BTreeSet;

use crate::harness::{Codec, OPEN, Player, Publisher, Reader, Server, Transport, made_up, until};

#[test]
fn the_api_shows_a_path_with_its_source_and_its_readers() {
    let server = Server::start(OPEN);
    let clip = Codec::Both.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Udp, "cam1", &clip);
    server.online("cam1");
    let plain = Reader::new(&server, "cam1");
    let _encrypted = Player::GStreamer.read(&server, Transport::Tls, "cam1", 10_000);
    server.readers("cam1", 2);
    plain.until(0, 10);

    let path = server.api("paths/get/cam1");
    assert_eq!(path["confName"], "all_others");
    assert_eq!(path["tracks"], serde_json::json!(["H264", "MPEG-4 Audio"]));
    assert_eq!(path["tracks2"][0]["codecProps"]["width"], 320);
    assert_eq!(path["source"]["type"], "rtspSession");
    let kinds: BTreeSet<_> = path["readers"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|reader| reader["type"].as_str())
        .collect();
    assert_eq!(kinds, BTreeSet::from([Some("rtspSession"), Some("rtspsSession")]));
    assert!(path["inboundBytes"].as_u64() > Some(1_000), "{path}");
    assert_eq!(server.api("paths/list")["itemCount"], 1);

    let sessions = server.api("rtspsessions/list");
    let sessions = sessions["items"].as_array().expect("a list");
    let publishing = sessions
        .iter()
        .find(|session| session["state"] == "publish")
        .expect("a publisher");
    assert_eq!(
        (&publishing["path"], &publishing["transport"]),
        (&"cam1".into(), &"UDP".into())
    );
    assert_eq!(publishing["id"], path["source"]["id"]);
    assert!(publishing["inboundRTPPackets"].as_u64() > Some(10), "{publishing}");
    let reading = sessions
        .iter()
        .find(|session| session["state"] == "read")
        .expect("a reader");
    assert_eq!(reading["userAgent"], "wasmtx-e2e");
    let conn = reading["conns"][0].as_str().expect("an id");
    assert_eq!(server.api(&format!("rtspconns/get/{conn}"))["session"], reading["id"]);
    assert_eq!(server.api("rtspssessions/list")["itemCount"], 1);
}

#[test]
fn the_api_tells_the_bound_addresses() {
    let server = Server::start(OPEN);
    let listeners = &server.api("info")["listeners"];
    for key in [
        "rtspAddress",
        "rtspsAddress",
        "rtpAddress",
        "rtcpAddress",
        "apiAddress",
        "metricsAddress",
    ] {
        assert_eq!(listeners[key], server.address(key).to_string(), "{key}");
    }
}

#[test]
fn a_reader_that_is_kicked_is_closed_and_no_other() {
    let server = Server::start(OPEN);
    let frames = made_up(2, 1, 100);
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send(&frames[0]);
    let kicked = Reader::new(&server, "cam1");
    kicked.until(0, 1);
    let id = server.api("paths/get/cam1")["readers"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let stays = Reader::new(&server, "cam1");
    let (status, answer) = server.ask("POST", &format!("rtspsessions/kick/{id}"));
    assert_eq!(status, 200, "{answer}");
    kicked.until_end();
    publisher.send(&frames[1]);
    stays.until(0, 2);
    let (status, _) = server.ask("POST", &format!("rtspsessions/kick/{id}"));
    assert_eq!(status, 404);
}

#[test]
fn a_publisher_that_is_kicked_takes_its_path_offline() {
    let server = Server::start(OPEN);
    let mut publisher = Publisher::vp8(&server, "cam1");
    publisher.send_all(&made_up(1, 1, 100));
    let id = server.online("cam1")["source"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let (status, answer) = server.ask("POST", &format!("rtspsessions/kick/{id}"));
    assert_eq!(status, 200, "{answer}");
    publisher.until_end();
    server.offline("cam1");
}

#[test]
fn the_metrics_count_what_runs() {
    let server = Server::start(OPEN);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(20, 10, 1_000));
    reader.until(0, 20);
    let labels = ["name=\"cam1\"", "state=\"ready\""];
    assert_eq!(server.metric("paths", &labels), 1.0);
    assert_eq!(server.metric("paths_readers", &labels), 1.0);
    assert_eq!(server.metric("rtsp_sessions", &["state=\"publish\""]), 1.0);
    assert_eq!(server.metric("rtsp_sessions", &["state=\"read\""]), 1.0);
    assert_eq!(server.metric("rtsp_sessions_inbound_rtp_packets_lost", &[]), 0.0);
    until("the bytes are counted", || {
        let (inbound, outbound) = (
            server.metric("paths_inbound_bytes", &labels),
            server.metric("paths_outbound_bytes", &labels),
        );
        (inbound >= 20_000.0 && outbound >= 20_000.0).then_some(())
    });
    drop((publisher, reader));
    until("nobody is left", || {
        (server.metric("rtsp_conns", &["id="]) == 0.0).then_some(())
    });
}

#[test]
fn passwords_do_not_leave_through_the_api() {
    let server = Server::start(
        "authInternalUsers:\n- user: ada\n  pass: engine\n  permissions:\n  - action: read\n- user: any\n  permissions:\n  - action: api\n  - action: metrics\n\
         paths:\n  copy:\n    source: rtsp://ada:difference@127.0.0.1:9/cam1\n    sourceOnDemand: yes\n",
    );
    for route in ["config/global/get", "config/paths/list", "config/paths/get/copy"] {
        let (status, body) = server.ask("GET", route);
        assert_eq!(status, 200, "{route}");
        assert!(
            !body.contains("engine") && !body.contains("difference"),
            "{route}: {body}"
        );
    }
    assert!(!server.log().contains("difference"), "the log has a password");
}

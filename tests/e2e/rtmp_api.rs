//! What the server shows of RTMP connections, does with them, and tells commands about them.

use serde_json::Value as Json;

use crate::harness::{Codec, Folder, OPEN, Player, Reader, Server, Tool, Transport, assert_run, until};

/// Publishes a clip by FFmpeg, to this URL.
fn publish(url: &str) -> Tool {
    let clip = Codec::Both.clip();
    let file = clip.file.to_str().expect("a path of ours").to_owned();
    let line = [
        "-nostdin",
        "-v",
        "error",
        "-re",
        "-stream_loop",
        "-1",
        "-i",
        &file,
        "-c",
        "copy",
        "-f",
        "flv",
        url,
    ];
    Tool::start("ffmpeg", line)
}

/// Plays a URL by FFmpeg for as long as the stream lasts.
fn play(url: &str) -> Tool {
    Tool::start(
        "ffmpeg",
        ["-nostdin", "-v", "error", "-i", url, "-c", "copy", "-f", "null", "-"],
    )
}

fn url(server: &Server, key: &str, path: &str) -> String {
    let scheme = if key == "rtmpsAddress" { "rtmps" } else { "rtmp" };
    format!("{scheme}://{}/{path}", server.address(key))
}

/// The one connection of a list that does this.
#[track_caller]
fn conn(server: &Server, list: &str, state: &str) -> Json {
    until(&format!("somebody of {list} is in the state {state}"), || {
        let conns = server.api(&format!("{list}/list"));
        let conns = conns["items"].as_array().expect("a list").clone();
        conns.into_iter().find(|conn| conn["state"] == state)
    })
}

#[track_caller]
fn id(conn: &Json) -> &str {
    conn["id"].as_str().expect("an id")
}

/// Publishes and plays, looks at both in API and metrics, and sends both away.
fn check(key: &str, list: &str, kind: &str, series: &str) {
    let server = Server::start(OPEN);
    let mut publisher = publish(&url(&server, key, "live/cam?pass=engine&view=1"));
    let path = server.online("live/cam");
    let publishing = conn(&server, list, "publish");
    assert_eq!(
        path["source"],
        serde_json::json!({ "type": kind, "id": id(&publishing) })
    );
    assert_eq!(
        (&publishing["path"], &publishing["query"]),
        (&Json::from("live/cam"), &Json::from("pass=<redacted>&view=1"))
    );
    let agent = publishing["userAgent"].as_str().expect("a text");
    assert!(agent.contains("Lavf"), "{agent}");
    assert!(publishing["inboundBytes"].as_u64() > Some(0), "{publishing}");

    let mut player = play(&url(&server, key, "live/cam"));
    let reading = conn(&server, list, "read");
    server.readers("live/cam", 1);
    let path = server.path("live/cam").expect("it is there");
    assert_eq!(
        path["readers"],
        serde_json::json!([{ "type": kind, "id": id(&reading) }])
    );
    let label = format!("id=\"{}\"", id(&reading));
    until("the metrics count what the player got", || {
        (server.metric(&format!("{series}_outbound_bytes"), &[&label, "state=\"read\""]) > 10_000.0).then_some(())
    });
    assert_eq!(server.metric(series, &[]), 2.0);
    assert_eq!(
        server.metric("paths_readers", &[&format!("readerType=\"{kind}\"")]),
        1.0
    );

    let one = server.api(&format!("{list}/get/{}", id(&reading)));
    assert_eq!(one["created"], reading["created"]);
    let other = if list == "rtmpconns" { "rtmpsconns" } else { "rtmpconns" };
    assert_eq!(server.ask("GET", &format!("{other}/get/{}", id(&reading))).0, 404);
    for conn in [&reading, &publishing] {
        let (status, body) = server.ask("POST", &format!("{list}/kick/{}", id(conn)));
        assert_eq!(status, 200, "{body}");
    }
    player.wait();
    publisher.wait();
    server.offline("live/cam");
    server.logged(&[id(&publishing), "through the API"]);
    until("the connections are off the list", || {
        (server.api(&format!("{list}/list"))["itemCount"] == 0).then_some(())
    });
}

#[test]
fn rtmp_connections_are_shown_counted_and_sent_away() {
    check("rtmpAddress", "rtmpconns", "rtmpConn", "rtmp_conns");
}

#[test]
fn rtmps_connections_are_shown_counted_and_sent_away() {
    check("rtmpsAddress", "rtmpsconns", "rtmpsConn", "rtmps_conns");
}

/// A command that adds what it is told to a file.
fn note(file: &str) -> String {
    format!("sh -c 'echo $MTX_CONN_TYPE $MTX_CONN_ID $RTSP_PORT >> {file}'")
}

#[test]
fn commands_are_told_of_rtmp_connections() {
    let server = Server::start(&format!(
        "runOnConnect: {}\nrunOnDisconnect: {}\n{OPEN}",
        note("came"),
        note("went")
    ));
    let publisher = publish(&url(&server, "rtmpAddress", "cam"));
    let conn = conn(&server, "rtmpconns", "publish");
    let port = server.address("rtspAddress").port();
    let said = format!("rtmpConn {} {port}\n", id(&conn));
    until("the command ran", || {
        (server.folder().read("came") == said).then_some(())
    });
    assert_eq!(server.folder().read("went"), "");
    drop(publisher);
    until("the other command ran", || {
        (server.folder().read("went") == said).then_some(())
    });
}

const USERS: &str = "\
authInternalUsers:
- user: ada
  pass: engine
  permissions:
  - action: publish
  - action: read
- user: any
  ips: ['127.0.0.1']
  permissions:
  - action: api
paths:
  all_others:
";

#[test]
fn a_wrong_password_neither_publishes_nor_plays() {
    let server = Server::start(USERS);
    for query in ["", "?user=ada&pass=difference"] {
        let mut refused = publish(&url(&server, "rtmpAddress", &format!("cam{query}")));
        assert!(!refused.wait().success(), "{query} publishes");
    }
    assert!(server.path("cam").is_none_or(|path| path["available"] == false));
    let _publisher = publish(&url(&server, "rtmpAddress", "cam?user=ada&pass=engine"));
    server.online("cam");
    assert_eq!(conn(&server, "rtmpconns", "publish")["user"], "ada");
    let mut refused = play(&url(&server, "rtmpAddress", "cam?user=ada&pass=difference"));
    assert!(!refused.wait().success(), "a wrong password plays");
    server.logged(&["authentication failed", "cam"]);
    assert!(!server.log().contains("difference"), "the log holds no password");
}

#[test]
fn users_who_are_gone_from_the_file_are_sent_away_and_the_others_stay() {
    let more = USERS.replace(
        "- user: any\n",
        "- user: grace\n  pass: compiler\n  permissions:\n  - action: publish\n- user: any\n",
    );
    let server = Server::start(&more);
    let _ada = publish(&url(&server, "rtmpAddress", "ada?user=ada&pass=engine"));
    let mut grace = publish(&url(&server, "rtmpAddress", "grace?user=grace&pass=compiler"));
    let stays = server.online("ada")["source"].clone();
    server.online("grace");
    server.folder().write("mediamtx.yml", USERS);
    grace.wait();
    server.offline("grace");
    assert_eq!(server.path("ada").expect("it is there")["source"], stays);
}

#[test]
fn a_reload_disconnects_nobody() {
    let server = Server::start(OPEN);
    let _publisher = publish(&url(&server, "rtmpAddress", "cam"));
    server.online("cam");
    let _player = play(&url(&server, "rtmpAddress", "cam"));
    let before = [
        conn(&server, "rtmpconns", "publish"),
        conn(&server, "rtmpconns", "read"),
    ];
    server.folder().write(
        "mediamtx.yml",
        "rtmpAddress: 127.0.0.1:1\nrunOnConnect: sh -c 'exit 0'\npaths:\n  all_others:\n    maxReaders: 5\n",
    );
    until("the new file is in force", || {
        (server.api("config/pathdefaults/get")["maxReaders"] == 0
            && server.api("config/paths/get/all_others")["maxReaders"] == 5)
            .then_some(())
    });
    let after = [
        conn(&server, "rtmpconns", "publish"),
        conn(&server, "rtmpconns", "read"),
    ];
    assert_eq!(before.each_ref().map(id), after.each_ref().map(id));
}

#[test]
fn who_switches_rtmp_off_has_no_port_and_no_routes() {
    let server = Server::start_in(Folder::new(), OPEN, &[("MTX_RTMP", "no")]);
    let page = server.metrics();
    assert!(!page.contains("rtmp_conns") && !page.contains("rtmps_conns"), "{page}");
    assert_eq!(server.ask("GET", "rtmpconns/list").0, 404);
    assert!(!server.log().contains("rtmpAddress"));
    let listeners = server.api("info")["listeners"].clone();
    assert!(
        listeners.get("rtmpAddress").is_none() && listeners.get("rtspAddress").is_some(),
        "{listeners}"
    );
}

#[test]
fn what_comes_by_rtmp_is_read_by_rtsp() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let file = clip.file.to_str().expect("a path of ours").to_owned();
    let to = url(&server, "rtmpAddress", "live/cam");
    let line = [
        "-nostdin", "-v", "error", "-re", "-i", &file, "-c", "copy", "-f", "flv", &to,
    ];
    let _publisher = Tool::start("ffmpeg", line);
    server.online("live/cam");
    let reader = Reader::new(&server, "live/cam");
    reader.until(0, 30);
    assert_run(&clip.packet_hashes(), &reader.hashes(0), 30);
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "live/cam", 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
}

#[test]
fn a_trusted_proxy_says_who_an_rtmp_client_is() {
    use std::{io::Write, net::TcpStream};
    let server = Server::start(&format!("rtmpTrustedProxies: [127.0.0.1]\n{OPEN}"));
    let mut client = TcpStream::connect(server.address("rtmpAddress")).expect("a connection");
    // The first byte of a handshake follows the header.
    client
        .write_all(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 1935\r\n\x03")
        .expect("the server takes bytes");
    assert_eq!(conn(&server, "rtmpconns", "idle")["remoteAddr"], "192.0.2.7:5000");
}

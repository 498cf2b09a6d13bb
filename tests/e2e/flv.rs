//! HTTP-FLV and WebSocket-FLV: players of many kinds, and a reader of our own that speaks both.

use std::{
    io::{Cursor, Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value as Json;
use tungstenite::protocol::frame::{
    FrameHeader,
    coding::{Data, OpCode},
};

use crate::harness::{
    Codec, Folder, OPEN, PATIENCE, Player, Server, Tool, Transport, assert_run, hashes_of, run, until,
};

/// Pictures that each reader reads.
const PICTURES: usize = 60;
/// What FFmpeg writes.
const OUTPUT: &str = "output.h264";
/// What our own reader stops after: more than [`PICTURES`] of the clip.
const BYTES: usize = 400 << 10;

const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// FFmpeg, reading so many pictures of a URL.
#[track_caller]
fn ffmpeg(url: &str) -> Tool {
    let pictures = PICTURES.to_string();
    let line = ["-nostdin", "-v", "warning", "-fpsprobesize", "0", "-i", url];
    let rest = [
        "-map",
        "0:v:0",
        "-c",
        "copy",
        "-frames:v",
        &pictures,
        "-f",
        "h264",
        OUTPUT,
    ];
    Tool::start("ffmpeg", line.into_iter().chain(rest))
}

/// Waits for FFmpeg's end, and answers the hashes of what it read.
#[track_caller]
fn pictures(mut ffmpeg: Tool) -> Vec<String> {
    assert!(ffmpeg.wait().success());
    hashes_of(&ffmpeg.file(OUTPUT), Codec::H264)
}

/// A request, and the answer's head.
#[track_caller]
fn ask(address: SocketAddr, target: &str, headers: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(address).expect("a listener");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let request = format!("GET {target} HTTP/1.1\r\nHost: {address}\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).expect("a request");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).expect("a head");
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).expect("a head of letters"))
}

/// What comes out of binary messages.
fn unframe(mut bytes: &[u8]) -> Vec<u8> {
    let mut payload = Vec::new();
    loop {
        let mut cursor = Cursor::new(bytes);
        let Some((header, len)) = FrameHeader::parse(&mut cursor).expect("a frame") else {
            return payload;
        };
        assert_eq!(header.opcode, OpCode::Data(Data::Binary));
        let start = usize::try_from(cursor.position()).expect("few bytes");
        let Some(message) = bytes.get(start..start + usize::try_from(len).expect("few bytes")) else {
            return payload;
        };
        payload.extend_from_slice(message);
        bytes = &bytes[start + message.len()..];
    }
}

#[test]
fn players_get_the_pictures_that_were_published() {
    let server = Server::start(OPEN);
    let clip = Codec::Both.clip();
    let sent = clip.hashes();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "a/cam1", &clip);
    server.online("a/cam1");
    let address = server.address("flvAddress");
    let url = format!("http://{address}/a/cam1.flv");

    let reading = ffmpeg(&url);
    let sink = format!(
        "-q souphttpsrc location={url} is-live=true ! flvdemux ! h264parse ! \
         video/x-h264,stream-format=byte-stream,alignment=au ! identity eos-after={} ! filesink location={OUTPUT}",
        PICTURES + 1
    );
    let mut gstreamer = Tool::start("gst-launch-1.0", sink.split_whitespace());
    let read_own = |headers: &str| {
        let (stream, head) = ask(address, "/a/cam1.flv", headers);
        let mut bytes = Vec::new();
        stream.take(BYTES as u64).read_to_end(&mut bytes).expect("a stream");
        (head, bytes)
    };
    let (head, plain) = read_own("Origin: https://elsewhere.example\r\n");
    assert!(
        head.to_ascii_lowercase().contains("access-control-allow-origin: *\r\n"),
        "{head}"
    );
    let (head, framed) = read_own(UPGRADE);
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");

    let folder = Folder::new();
    for (name, bytes) in [("plain.flv", plain), ("framed.flv", unframe(&framed))] {
        let mut got = hashes_of(&folder.write(name, bytes), Codec::H264);
        // FFmpeg takes what is there of the last one, too.
        got.pop();
        assert_run(&sent, &got, PICTURES / 2);
    }
    assert_run(&sent, &pictures(reading), PICTURES);
    gstreamer.wait();
    assert_run(&sent, &hashes_of(&gstreamer.file(OUTPUT), Codec::H264), PICTURES);
}

#[test]
fn with_tls_players_are_let_in_by_their_passwords_listed_and_sent_away() {
    let users = "hlsEncryption: yes\nauthInternalUsers:\n- user: ada\n  pass: engine\n  permissions:\n  - action: read\n\
                 - user: any\n  ips: ['127.0.0.1']\n  permissions:\n  - action: publish\n  - action: api\n\
                 paths:\n  all_others:\n";
    let server = Server::start(users);
    let clip = Codec::H264.clip();
    let sent = clip.hashes();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let address = server.address("flvAddress");
    let readings = [
        ffmpeg(&format!("https://ada:engine@{address}/cam1.flv")),
        ffmpeg(&format!("https://{address}/cam1.flv?user=ada&pass=engine")),
    ];
    for reading in readings {
        assert_run(&sent, &pictures(reading), PICTURES);
    }
    let status = |path: &str| {
        let url = format!("https://{address}/{path}.flv");
        let line = ["-sk", "-o", "/dev/null", "-w", "%{http_code}", &url];
        String::from_utf8(run("curl", line)).expect("a number")
    };
    assert_eq!([status("cam1"), status("nobody")], ["401", "401"]);

    let url = format!("https://{address}/cam1.flv?user=ada&pass=engine");
    let mut player = Tool::start("curl", ["-sk", "-o", "file.flv", &url]);
    let listed = until("the player", || {
        let list = server.api("flvconns/list");
        list["items"].as_array()?.first().cloned()
    });
    assert_eq!(
        (&listed["path"], &listed["user"]),
        (&Json::from("cam1"), &Json::from("ada"))
    );
    assert_eq!(
        (&listed["encrypted"], &listed["state"]),
        (&Json::from(true), &Json::from("read"))
    );
    assert!(!listed["query"].to_string().contains("engine"), "{listed}");
    let id = listed["id"].as_str().expect("an id");
    let path = server.path("cam1").expect("the path");
    assert_eq!(path["readers"][0]["type"], "flvConn");
    assert_eq!(path["readers"][0]["id"], id);
    assert_eq!(server.ask("POST", &format!("flvconns/kick/{id}")).0, 200);
    player.wait();
    server.readers("cam1", 0);
    server.logged(&["[FLV] connection closed", "through the API"]);
}

#[test]
fn web_pages_change_without_a_restart_and_players_go_with_their_permission() {
    let users = |action: &str| {
        format!(
            "hlsAllowOrigins: ['https://page.example']\nauthInternalUsers:\n- user: any\n  permissions:\n  - action: publish\n  \
             - action: api\n{action}paths:\n  all_others:\n"
        )
    };
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let address = server.address("flvAddress");
    let may = |origin: &str| {
        let (stream, head) = ask(address, "/cam1.flv", &format!("Origin: {origin}\r\n"));
        (
            stream,
            head.to_ascii_lowercase().contains("access-control-allow-origin:"),
        )
    };
    assert!(may("https://other.example").1);
    server.folder().write("mediamtx.yml", users("  - action: read\n"));
    server.logged(&["configuration reloaded"]);
    assert!(!may("https://other.example").1);
    let (mut playing, allowed) = may("https://page.example");
    assert!(allowed);
    server.folder().write("mediamtx.yml", users(""));
    // It ends: the user may read no more.
    let mut rest = Vec::new();
    playing.read_to_end(&mut rest).expect("an end");
    server.logged(&["[FLV] connection closed", "the permission ran out"]);
}

//! Publishers that go without a word, and clients that talk nonsense.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::harness::{OPEN, PATIENCE, Publisher, Reader, Server, made_up, until};

#[test]
fn a_publisher_that_is_reset_takes_its_path_offline_and_its_readers_are_told() {
    // What would end it by time alone takes longer than a test waits.
    let server = Server::start("readTimeout: 10m\npaths:\n  all_others:\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(2, 2, 100));
    reader.until(0, 2);
    publisher.reset();
    reader.until_end();
    server.offline("cam1");
    assert_eq!(reader.count(0), 2);
}

#[test]
fn a_publisher_that_falls_silent_is_given_up_after_the_read_timeout() {
    let server = Server::start("readTimeout: 1s\npaths:\n  all_others:\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(2, 2, 100));
    reader.until(0, 2);
    // The connection stays open.
    reader.until_end();
    server.offline("cam1");
    publisher.until_end();
}

#[test]
fn a_path_takes_a_new_publisher_after_the_old_one_vanished() {
    let server = Server::start("readTimeout: 10m\npaths:\n  cam1:\n    overridePublisher: no\n");
    let frames = made_up(2, 1, 100);
    let mut first = Publisher::vp8(&server, "cam1");
    first.send(&frames[0]);
    server.online("cam1");
    first.reset();
    server.offline("cam1");
    let mut second = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    second.send(&frames[1]);
    reader.until(0, 1);
    assert_eq!(reader.frames(0)[0].payload, frames[1]);
}

/// Sends bytes on a connection of its own and answers what came back until the server closed it.
fn say(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address("rtspAddress")).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
    // The server may have had enough before everything is written.
    let _ = stream.write_all(bytes);
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(size) => answer.extend_from_slice(&buffer[..size]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break,
            Err(error) => panic!("the server does not close the connection: {error}"),
        }
    }
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn nonsense_closes_its_own_connection_and_no_other() {
    let server = Server::start(OPEN);
    let frames = made_up(20, 10, 1_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..10]);
    reader.until(0, 10);

    let long = format!("DESCRIBE rtsp://127.0.0.1/{} RTSP/1.0\r\n", "a".repeat(1 << 20));
    let many = format!(
        "DESCRIBE rtsp://127.0.0.1/cam1 RTSP/1.0\r\n{}",
        "X: y\r\n".repeat(100_000)
    );
    let nonsense: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"DESCRIBE rtsp://127.0.0.1/cam1 RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in nonsense {
        let answer = say(&server, bytes);
        assert!(
            answer.is_empty()
                || ["RTSP/1.0 4", "RTSP/1.0 5"]
                    .iter()
                    .any(|refusal| answer.starts_with(refusal)),
            "{answer}"
        );
    }
    // Each is counted, and logged once with its reason.
    until("all are counted", || {
        let counted = server.metric("wasmtx_connections_refused_total", &["reason="]);
        (counted == nonsense.len() as f64).then_some(())
    });
    let log = until("all are logged", || {
        let log = server.log();
        (log.matches("connection closed").count() >= nonsense.len()).then_some(log)
    });
    assert_eq!(log.matches("code=malformed").count(), nonsense.len(), "{log}");

    publisher.send_all(&frames[10..]);
    reader.until(0, 20);
    assert_eq!(reader.faults(), 0);
}

#[test]
fn malformed_packets_are_counted_and_cost_nothing_but_themselves() {
    let server = Server::start(OPEN);
    let frames = made_up(20, 10, 1_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..10]);
    // Interleaved (RFC 2326 section 10.12), and no RTP: too short, wrong version, a foreign payload type.
    publisher.send_raw(&[b'$', 0, 0, 4, 1, 2, 3, 4]);
    publisher.send_raw(&[b'$', 0, 0, 12, 0x40, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1]);
    publisher.send_raw(&[b'$', 0, 0, 13, 0x80, 3, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0]);
    publisher.send_all(&frames[10..]);
    reader.until(0, 20);
    let got: Vec<_> = reader.frames(0).into_iter().map(|frame| frame.payload).collect();
    assert_eq!(got, &frames[..]);
    let wrong = server.metric("rtsp_sessions_inbound_rtp_packets_in_error", &["state=\"publish\""]);
    assert!((wrong - 3.0).abs() < f64::EPSILON, "{wrong} packets in error");
}

#[test]
fn a_publisher_that_breaks_the_grammar_is_closed_and_its_readers_are_told() {
    let server = Server::start(OPEN);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    publisher.send_all(&made_up(2, 2, 100));
    reader.until(0, 2);
    publisher.send_raw(b"\0\0\0\0 this is no RTSP\r\n\r\n");
    publisher.until_end();
    reader.until_end();
    server.offline("cam1");
}

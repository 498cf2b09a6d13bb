//! RTMP connections that send nonsense: each ends by itself and costs nobody else anything.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::TcpStream,
};

use crate::harness::{Codec, OPEN, PATIENCE, Reader, Rtmp, Server, Tag, assert_run, root};

/// A message head of type 0 (Adobe's RTMP 1.0, section 5.3.1.2.1).
fn head(chunks: u8, length: u32, kind: u8) -> Vec<u8> {
    let mut head = vec![chunks, 0, 0, 0];
    head.extend_from_slice(&length.to_be_bytes()[1..]);
    head.extend_from_slice(&[kind, 0, 0, 0, 0]);
    head
}

/// Set Chunk Size to the largest there is, so that a message is one chunk.
fn one_chunk() -> Vec<u8> {
    [&head(2, 4, 1)[..], &0x7fff_ffff_u32.to_be_bytes()].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&one_chunk()[..], &head(3, body.len() as u32, kind), body].concat()
}

/// What follows a handshake, each of which ends the connection.
fn nonsense() -> Vec<(&'static str, Vec<u8>)> {
    let nested = |mark: &[u8]| {
        let connect = b"\x02\x00\x07connect\x00\x3f\xf0\x00\x00\x00\x00\x00\x00";
        message(20, &[&connect[..], &mark.repeat(20_000 / mark.len())].concat())
    };
    let many = (3..64).flat_map(|chunks| [&head(chunks, 16 << 20, 9)[..], &[0; 128]].concat());
    vec![
        (
            "a second head with a shorter length",
            [&head(4, 200, 9)[..], &[0; 128], &head(4, 10, 9), &[0; 10]].concat(),
        ),
        ("objects in objects", nested(b"\x03\x00\x01a")),
        ("arrays in arrays", nested(b"\x0a\x00\x00\x00\x01")),
        (
            "a message longer than what a stranger may send",
            message(20, &[0; 200_000]),
        ),
        ("many messages that never end", many.collect()),
        ("chunks of nothing", [&head(2, 4, 1)[..], &[0; 4]].concat()),
        ("a chunk without a message", vec![0xc4; 200]),
        (
            "a text that is longer than its message",
            message(20, b"\x02\xff\xffconnect"),
        ),
        (
            "publishing without connecting",
            message(
                20,
                b"\x02\x00\x07publish\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x02\x00\x04cam1",
            ),
        ),
        ("pictures without publishing", message(9, &[0x17; 1_000])),
    ]
}

/// A stream that flows while others misbehave.
struct Stream {
    tags: Vec<Tag>,
    sent: usize,
    publisher: Rtmp,
    player: Rtmp,
    reader: Reader,
}

/// The configuration and the first group of pictures, before which nobody comes.
const BEGINNING: usize = 26;

impl Stream {
    fn begin(server: &Server) -> Stream {
        let address = server.address("rtmpAddress");
        let tags = Codec::H264.clip().tags();
        let mut publisher = Rtmp::publish(address, "live/cam1").expect("a publisher");
        publisher.tags(&tags[..BEGINNING]);
        server.online("live/cam1");
        Stream {
            tags,
            sent: BEGINNING,
            publisher,
            player: Rtmp::play(address, "live/cam1", &[]).expect("a player"),
            reader: Reader::new(server, "live/cam1"),
        }
    }

    /// Sends some pictures more, if there are.
    fn flow(&mut self) {
        let end = (self.sent + 10).min(self.tags.len());
        self.publisher.tags(&self.tags[self.sent..end]);
        self.sent = end;
    }

    /// Asserts that everybody got everything.
    fn end(mut self) {
        self.publisher.tags(&self.tags[self.sent..]);
        let sent: Vec<String> = self.tags.iter().filter(|tag| tag.is_frame()).map(Tag::hash).collect();
        let least = sent.len() - BEGINNING;
        let got: Vec<String> = self.player.frames(least).iter().map(Tag::hash).collect();
        assert_run(&sent, &got, least);
        self.reader.until(0, least);
        assert_run(&sent, &self.reader.hashes(0), least);
    }
}

#[test]
fn nonsense_ends_its_own_connection_and_no_other() {
    let server = Server::start(OPEN);
    let address = server.address("rtmpAddress");
    let mut stream = Stream::begin(&server);
    let mut connections = Vec::new();
    for (name, bytes) in nonsense() {
        let mut hostile = Rtmp::open(address);
        hostile.send_raw(&bytes);
        connections.push((name, hostile));
        stream.flow();
    }
    let hellos = [
        &b"GET / HTTP/1.1\r\nHost: here\r\n\r\n"[..],
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        &[0xff; 4_000],
    ];
    for hello in hellos {
        let mut connection = TcpStream::connect(address).expect("a connection");
        connection.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
        // The server may have enough before it has all, and what it says is not looked at.
        let _ = connection.write_all(hello);
        let end = connection.read_to_end(&mut Vec::new());
        let late = end.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        assert!(!late, "{hello:?} does not end the connection");
        stream.flow();
    }
    for (name, hostile) in &mut connections {
        let end = hostile.until_end();
        // What the system says of a read that took PATIENCE.
        assert!(
            !end.contains("temporarily unavailable"),
            "{name} does not end the connection"
        );
    }
    stream.end();
}

/// What the fuzz targets begin with, sent to the real thing.
#[test]
fn whatever_strangers_send_the_stream_of_others_goes_on() {
    let server = Server::start(OPEN);
    let address = server.address("rtmpAddress");
    let mut stream = Stream::begin(&server);
    let mut count = 0;
    for target in ["rtmp_handshake", "rtmp_chunks", "rtmp_messages", "rtmp_session", "flv"] {
        let seeds = fs::read_dir(root().join("tests/fuzz/corpus").join(target)).expect("a corpus");
        for seed in seeds {
            let seed = fs::read(seed.expect("a seed").path()).expect("a seed");
            let mut connection = TcpStream::connect(address).expect("a connection");
            // The server may have enough before it has all.
            let _ = connection.write_all(&seed);
            Rtmp::open(address).send_raw(&seed);
            count += 1;
            stream.flow();
        }
    }
    assert!(count > 20, "{count} seeds");
    stream.end();
}

#[test]
fn a_track_with_a_broken_configuration_is_refused_by_name_and_the_rest_plays() {
    let server = Server::start(OPEN);
    let address = server.address("rtmpAddress");
    let mut tags = Codec::Both.clip().tags();
    let config = tags.iter_mut().find(|tag| !tag.is_video() && !tag.is_frame());
    // Object type 0, which there is not.
    config.expect("a configuration of AAC").body = [0xaf, 0, 0, 0].to_vec().into();
    let mut publisher = Rtmp::publish(address, "live/cam1").expect("a publisher");
    let (first, rest) = tags.split_at(tags.len() / 2);
    publisher.tags(first);
    server.online("live/cam1");
    server.logged(&["live/cam1", "audio track 0 (MPEG-4 Audio)"]);
    let reader = Reader::new(&server, "live/cam1");
    publisher.tags(rest);
    assert_eq!(reader.tracks.len(), 1);
    let sent: Vec<String> = tags
        .iter()
        .filter(|tag| tag.is_video() && tag.is_frame())
        .map(Tag::hash)
        .collect();
    reader.until(0, 50);
    assert_run(&sent, &reader.hashes(0), 50);
}

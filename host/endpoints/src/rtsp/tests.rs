//! The server over real sockets on the loopback address, asked by hand.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use uuid::Uuid;
use wasmtx_hub::{Access, Decision, Gate, Hub, PathConfig, PathName, Peer, Permit, Publisher, Rule, Rules};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock};

use super::*;
use crate::hooks::OnConnect;

mod offered;
mod permits;

/// Lets everybody in, to the path `short` for a moment, to any other for as long as one can say.
struct Door;

/// Ends while a test waits for it.
const MOMENT: Duration = Duration::from_millis(300);

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        let is_short = access.path.as_ref().is_some_and(|path| path.as_str() == "short");
        let lasts = if is_short { MOMENT } else { Duration::MAX };
        let permit = Permit {
            lasts: Some(lasts),
            ..Permit::default()
        };
        Box::pin(std::future::ready(Decision::Allow(permit)))
    }
}

struct House {
    hub: Hub,
    server: Server,
    sessions: Registry,
}

impl House {
    fn new() -> House {
        House::behind(Arc::new(Door))
    }

    fn behind(gate: Arc<dyn Gate>) -> House {
        House::with(gate, PathConfig::default())
    }

    fn with(gate: Arc<dyn Gate>, config: PathConfig) -> House {
        let hub = Hub::new().0;
        let rule = Rule::new("all_others", Arc::new(config)).unwrap();
        hub.configure(Instant::now(), Rules::new(vec![rule]));
        let config = Config {
            address: Some("127.0.0.1:0".to_owned()),
            encrypted: None,
            transports: Transports { tcp: true, udp: false },
            rtp_address: String::new(),
            rtcp_address: String::new(),
            auth: vec![Scheme::Basic],
            read_timeout: Duration::from_secs(10),
            write_timeout: Duration::from_secs(10),
            udp_max_payload: 1_472,
            udp_read_buffer: 0,
            connections: 100,
            connections_per_address: 100,
            connections_before_login: 100,
            tls_handshakes: 100,
            tls_deadline: Duration::from_secs(5),
            trusted_proxies: Vec::new(),
            on_connect: OnConnect::default(),
        };
        let sessions = Registry::default();
        let server = Server::start(config, hub.clone(), gate, sessions.clone()).unwrap();
        House { hub, server, sessions }
    }

    fn publish(&self, path: &str) -> Publisher {
        let track = Track {
            id: TrackId(0),
            kind: Kind::Video,
            codec: Codec::Vp8,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        };
        let peer = Peer {
            kind: "test",
            id: Uuid::from_u128(1),
        };
        let name = PathName::new(path).unwrap();
        let (now, tracks) = (Instant::now(), Arc::from([track]));
        self.hub
            .publish(now, WallClock(1), &name, peer, None, None, tracks)
            .unwrap()
    }

    /// A client that sends these requests at once.
    async fn ask(&self, requests: &[(&str, &str, &str)]) -> TcpStream {
        let address = self.server.address.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        let mut text = String::new();
        for (number, (method, resource, headers)) in requests.iter().enumerate() {
            text += &format!("{method} rtsp://{address}/{resource} RTSP/1.0\r\nCSeq: {number}\r\n{headers}\r\n");
        }
        client.write_all(text.as_bytes()).await.unwrap();
        client
    }
}

const INTERLEAVED: &str = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n";

fn frame(payload: &'static [u8]) -> Frame {
    Frame {
        track: TrackId(0),
        number: 0,
        pts: 0,
        dts: 0,
        duration: 0,
        wall: None,
        flags: Flags::KEY,
        payload: payload.into(),
    }
}

fn count(haystack: &[u8], needle: &[u8]) -> usize {
    haystack
        .windows(needle.len())
        .filter(|window| *window == needle)
        .count()
}

#[tokio::test]
async fn another_paths_permission_does_not_make_a_session_last() {
    let house = House::new();
    let _streams = [house.publish("short"), house.publish("long")];
    let requests = [
        ("SETUP", "short/trackID=0", INTERLEAVED),
        ("PLAY", "short", ""),
        ("DESCRIBE", "long", ""),
    ];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(
        count(&heard, b"RTSP/1.0 200 OK"),
        3,
        "{}",
        String::from_utf8_lossy(&heard)
    );
}

#[tokio::test]
async fn readers_get_the_last_frame_before_the_server_stops() {
    let house = House::new();
    let mut publisher = house.publish("long");
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    while count(&heard, b"RTP-Info") == 0 {
        assert_ne!(client.read_buf(&mut heard).await.unwrap(), 0);
    }
    publisher
        .push(Instant::now(), WallClock(1), frame(b"last words"))
        .unwrap();
    house.hub.shut_down();
    house.server.stop().await;
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(count(&heard, b"last words"), 1);
}

/// Reads until `needle` came so many times.
async fn hear(client: &mut TcpStream, heard: &mut Vec<u8>, needle: &str, times: usize) {
    while count(heard, needle.as_bytes()) < times {
        assert_ne!(client.read_buf(heard).await.unwrap(), 0, "closed before {needle}");
    }
}

async fn request(client: &mut TcpStream, number: u32, method: &str, session: &str) {
    let text = format!("{method} rtsp://host/long RTSP/1.0\r\nCSeq: {number}\r\nSession: {session}\r\n\r\n");
    client.write_all(text.as_bytes()).await.unwrap();
}

fn session_of(heard: &[u8]) -> String {
    let text = String::from_utf8_lossy(heard);
    let value = text.split("Session: ").nth(1).unwrap();
    value.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[tokio::test]
async fn a_reader_that_pauses_hears_nothing_until_it_plays_again() {
    let house = House::new();
    let mut publisher = house.publish("long");
    let mut push = |payload| publisher.push(Instant::now(), WallClock(1), frame(payload)).unwrap();
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    let session = session_of(&heard);
    push(b"the first");
    hear(&mut client, &mut heard, "the first", 1).await;

    request(&mut client, 2, "PAUSE", &session).await;
    hear(&mut client, &mut heard, "CSeq: 2", 1).await;
    push(b"the second");
    request(&mut client, 3, "OPTIONS", &session).await;
    hear(&mut client, &mut heard, "CSeq: 3", 1).await;
    assert_eq!(count(&heard, b"the second"), 0);

    request(&mut client, 4, "PLAY", &session).await;
    hear(&mut client, &mut heard, "the second", 1).await;
    push(b"the third");
    hear(&mut client, &mut heard, "the third", 1).await;
    assert_eq!(count(&heard, b"RTSP/1.0 200 OK"), 5);
}

#[tokio::test]
async fn requests_are_answered_between_two_packets() {
    let house = House::new();
    let mut publisher = house.publish("long");
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    let session = session_of(&heard);
    static PICTURE: [u8; 100_000] = [7; 100_000];
    for number in 0..20 {
        request(&mut client, 100 + number, "OPTIONS", &session).await;
        publisher.push(Instant::now(), WallClock(1), frame(&PICTURE)).unwrap();
    }
    request(&mut client, 200, "TEARDOWN", &session).await;
    hear(&mut client, &mut heard, "CSeq: 200", 1).await;

    let (mut rest, mut answers, mut packets) = (&heard[..], 0, 0);
    while !rest.is_empty() {
        if rest[0] == b'$' {
            let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
            rest = &rest[4 + len..];
            packets += 1;
        } else {
            assert!(
                rest.starts_with(b"RTSP/1.0 200 OK"),
                "{:?}",
                &rest[..rest.len().min(40)]
            );
            let end = rest.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
            rest = &rest[end + 4..];
            answers += 1;
        }
    }
    assert_eq!(answers, 23);
    assert!(packets > 0);
}

#[tokio::test]
async fn a_reader_that_hangs_up_leaves_the_path() {
    let house = House::new();
    let mut publisher = house.publish("long");
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    let mut status = publisher.path().watch();
    assert_eq!(status.borrow_and_update().readers, 1);
    drop(client);
    status.wait_for(|status| status.readers == 0).await.unwrap();
    publisher
        .push(Instant::now(), WallClock(1), frame(b"to nobody"))
        .unwrap();
}

#[tokio::test]
async fn who_hangs_up_while_a_path_is_brought_online_waits_no_longer() {
    let mut config = PathConfig::default();
    config.on_demand = true;
    let house = House::with(Arc::new(Door), config);
    let mut births = house.hub.births();
    let client = house.ask(&[("DESCRIBE", "long", ""), ("OPTIONS", "long", "")]).await;
    let path = births.recv().await.unwrap();
    let mut status = path.watch();
    status.wait_for(|status| status.waiting == 1).await.unwrap();
    drop(client);
    status.wait_for(|status| status.waiting == 0).await.unwrap();
}

#[tokio::test]
async fn what_is_asked_while_a_path_is_brought_online_is_answered_afterwards() {
    let mut config = PathConfig::default();
    config.on_demand = true;
    let house = House::with(Arc::new(Door), config);
    let mut births = house.hub.births();
    let mut client = house.ask(&[("DESCRIBE", "long", "")]).await;
    let path = births.recv().await.unwrap();
    let mut status = path.watch();
    status.wait_for(|status| status.waiting == 1).await.unwrap();
    let options = "OPTIONS rtsp://host/long RTSP/1.0\r\nCSeq: 1\r\n\r\n";
    client.write_all(options.as_bytes()).await.unwrap();
    let _stream = house.publish("long");
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "200 OK", 2).await;
    assert!(heard.starts_with(b"RTSP/1.0 200 OK\r\nCSeq: 0"));
}

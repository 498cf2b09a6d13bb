//! What the gate's permits do to sessions, and what is told of them.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use wasmtx_hub::{CloseReason, Denial, Event, Feed};

use super::*;

/// Long enough to come to what a test is about, and yet waited for.
const WHILE: Duration = Duration::from_secs(2);

type Answer = Box<dyn FnMut(&Access) -> Decision + Send>;

/// A gate that answers as the test says.
struct Scripted(Mutex<Answer>);

impl Gate for Scripted {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready((self.0.lock())(access)))
    }
}

fn house(answer: impl FnMut(&Access) -> Decision + Send + 'static) -> House {
    House::behind(Arc::new(Scripted(Mutex::new(Box::new(answer)))))
}

fn as_ada() -> Permit {
    Permit {
        identity: Some("ada".to_owned()),
        tags: vec![("room".to_owned(), "kitchen".to_owned())],
        ..Permit::default()
    }
}

const PLAY: [(&str, &str, &str); 2] = [("SETUP", "cam1/trackID=0", INTERLEAVED), ("PLAY", "cam1", "")];

/// Publishes VP8 on a path inside the connection, and comes back when the server has agreed.
async fn record(house: &House, path: &str) -> TcpStream {
    let address = house.server.address.unwrap();
    let url = format!("rtsp://{address}/{path}");
    let sdp = "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:trackID=0\r\n";
    let mut client = TcpStream::connect(address).await.unwrap();
    let mut heard = Vec::new();
    let announce = format!(
        "ANNOUNCE {url} RTSP/1.0\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{sdp}",
        sdp.len()
    );
    client.write_all(announce.as_bytes()).await.unwrap();
    hear(&mut client, &mut heard, "200 OK", 1).await;
    let setup = format!(
        "SETUP {url}/trackID=0 RTSP/1.0\r\nCSeq: 2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=0-1;mode=record\r\n\r\n"
    );
    client.write_all(setup.as_bytes()).await.unwrap();
    hear(&mut client, &mut heard, "200 OK", 2).await;
    let session = session_of(&heard);
    let record = format!("RECORD {url} RTSP/1.0\r\nCSeq: 3\r\nSession: {session}\r\n\r\n");
    client.write_all(record.as_bytes()).await.unwrap();
    hear(&mut client, &mut heard, "200 OK", 3).await;
    client
}

/// Plays a path, and comes back when the server has agreed.
async fn play(house: &House, path: &str) -> TcpStream {
    let setup = format!("{path}/trackID=0");
    let mut client = house.ask(&[("SETUP", &setup, INTERLEAVED), ("PLAY", path, "")]).await;
    hear(&mut client, &mut Vec::new(), "RTP-Info", 1).await;
    client
}

/// Waits until the server closes.
async fn closed(client: &mut TcpStream) {
    // A reset is an end, too.
    let _ = client.read_to_end(&mut Vec::new()).await;
}

/// An RTP packet of a VP8 keyframe, inside the connection.
fn packet(sequence: u16, len: usize) -> Vec<u8> {
    let mut packet = vec![b'$', 0];
    packet.extend(u16::try_from(len + 13).unwrap().to_be_bytes());
    packet.extend([0x80, 0x80 | 96]);
    packet.extend(sequence.to_be_bytes());
    packet.extend((u32::from(sequence) * 3_000).to_be_bytes());
    packet.extend([0, 0, 0, 9, 0x10]);
    packet.resize(packet.len() + len, 0);
    packet
}

/// The next events, in a few words each.
async fn told(feed: &mut Feed, count: usize) -> Vec<String> {
    let mut words = Vec::new();
    while words.len() < count {
        words.push(match feed.next().await.event {
            Event::Connected(client) => format!("connected {:?} {:?}", client.identity, client.tags),
            Event::Disconnected(client, reason) => format!("disconnected {:?} {reason:?}", client.identity),
            Event::Refused { path, .. } => format!("refused {path:?}"),
            Event::Reading(path, client) => format!("reading {path} {:?}", client.identity),
            Event::ReadEnded(path, _, reason) => format!("read-ended {path} {reason:?}"),
            Event::Online(_) | Event::Offline(..) => continue,
            other => format!("{other:?}"),
        });
    }
    words
}

#[tokio::test]
async fn who_comes_and_goes_is_told_with_what_the_gate_said() {
    let house = house(|_| Decision::Allow(as_ada()));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let _stream = house.publish("cam1");
    let mut client = house.ask(&PLAY).await;
    hear(&mut client, &mut Vec::new(), "RTP-Info", 1).await;
    let came = told(&mut feed, 2).await;
    assert_eq!(
        came,
        [
            r#"connected Some("ada") [("room", "kitchen")]"#,
            r#"reading cam1 Some("ada")"#
        ]
    );
    drop(client);
    let mut went = told(&mut feed, 2).await;
    // They concern different things, and may come in any order.
    went.sort();
    assert_eq!(went, [r#"disconnected Some("ada") Ended"#, "read-ended cam1 Ended"]);
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let house = house(|_| Decision::Deny(Denial::NotAllowed));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let mut client = house.ask(&[("DESCRIBE", "cam1", "")]).await;
    hear(&mut client, &mut Vec::new(), "403", 1).await;
    assert_eq!(told(&mut feed, 1).await, [r#"refused Some("cam1")"#]);
}

#[tokio::test]
async fn a_second_session_of_a_connection_is_a_client_of_its_own() {
    let house = house(|_| Decision::Allow(as_ada()));
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let _stream = house.publish("long");
    let requests = [("SETUP", "long/trackID=0", INTERLEAVED), ("PLAY", "long", "")];
    let mut client = house.ask(&requests).await;
    let mut heard = Vec::new();
    hear(&mut client, &mut heard, "RTP-Info", 1).await;
    let first = house.sessions.sessions(false)[0].id;
    request(&mut client, 2, "TEARDOWN", &session_of(&heard)).await;
    hear(&mut client, &mut heard, "CSeq: 2", 1).await;
    let setup = format!("SETUP rtsp://host/long/trackID=0 RTSP/1.0\r\nCSeq: 3\r\n{INTERLEAVED}\r\n");
    client.write_all(setup.as_bytes()).await.unwrap();
    hear(&mut client, &mut heard, "CSeq: 3", 1).await;
    assert_ne!(house.sessions.sessions(false)[0].id, first);
    let words = told(&mut feed, 5).await;
    let connected = words.iter().filter(|words| words.starts_with("connected")).count();
    assert_eq!(connected, 2, "{words:?}");
}

/// Why the first client goes.
async fn parted(feed: &mut Feed) -> CloseReason {
    loop {
        if let Event::Disconnected(_, reason) = feed.next().await.event {
            return reason;
        }
    }
}

/// Lets everybody in with this permit.
fn with(permit: Permit) -> (House, Feed) {
    let house = house(move |_| Decision::Allow(permit.clone()));
    let feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    (house, feed)
}

/// How often the gates here want to be asked.
const OFTEN: Duration = Duration::from_millis(50);

/// Whether the permits that a gate gives from now on are over at once.
type Fading = Arc<AtomicBool>;

/// Lets everybody in as ada, until the test says that time is up.
fn fading() -> (House, Feed, Fading) {
    let over = Fading::default();
    let fading = over.clone();
    let house = house(move |_| {
        Decision::Allow(Permit {
            recheck: Some(OFTEN),
            lasts: fading.load(Ordering::Relaxed).then_some(Duration::ZERO),
            ..as_ada()
        })
    });
    let feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    (house, feed, over)
}

#[tokio::test]
async fn publishers_and_readers_end_with_their_permits() {
    for publishes in [true, false] {
        let (house, mut feed, over) = fading();
        let _stream = house.publish("cam2");
        let mut client = if publishes {
            record(&house, "cam1").await
        } else {
            play(&house, "cam2").await
        };
        over.store(true, Ordering::Relaxed);
        closed(&mut client).await;
        assert_eq!(parted(&mut feed).await, CloseReason::Expired);
    }
}

#[tokio::test]
async fn a_reader_ends_with_its_permit_whoever_writes_for_it() {
    let permit = Permit {
        lasts: Some(WHILE),
        ..Permit::default()
    };
    let (house, mut feed) = with(permit);
    let _stream = house.publish("cam1");
    let mut client = play(&house, "cam1").await;
    closed(&mut client).await;
    assert_eq!(parted(&mut feed).await, CloseReason::Expired);
}

#[tokio::test]
async fn a_publisher_that_always_has_something_to_say_ends_with_its_permit() {
    let (house, mut feed, over) = fading();
    let client = record(&house, "cam1").await;
    let (mut reading, mut writing) = client.into_split();
    let flood: Vec<u8> = (0..100).flat_map(|sequence| packet(sequence, 1_000)).collect();
    let flooding = tokio::spawn(async move { while writing.write_all(&flood).await.is_ok() {} });
    over.store(true, Ordering::Relaxed);
    assert_eq!(parted(&mut feed).await, CloseReason::Expired);
    let _ = reading.read_to_end(&mut Vec::new()).await;
    flooding.await.unwrap();
}

#[tokio::test]
async fn who_is_denied_when_the_gate_is_asked_again_is_sent_away() {
    let denies = Arc::new(AtomicBool::new(false));
    let denied = denies.clone();
    let house = house(move |access| {
        if denied.load(Ordering::Relaxed) {
            assert_eq!(access.client.identity.as_deref(), Some("ada"));
            return Decision::Deny(Denial::NotAllowed);
        }
        Decision::Allow(Permit {
            recheck: Some(OFTEN),
            ..as_ada()
        })
    });
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let mut client = record(&house, "cam1").await;
    denies.store(true, Ordering::Relaxed);
    closed(&mut client).await;
    assert_eq!(parted(&mut feed).await, CloseReason::Expired);
}

/// Lets everybody in, and does not answer when it is asked again.
struct Sleepy(Mutex<u32>, tokio::sync::Notify);

impl Gate for Sleepy {
    fn check<'a>(&'a self, _access: &'a Access) -> BoxFuture<'a, Decision> {
        *self.0.lock() += 1;
        if *self.0.lock() > 1 {
            self.1.notify_one();
            return Box::pin(std::future::pending());
        }
        let permit = Permit {
            recheck: Some(OFTEN),
            ..Permit::default()
        };
        Box::pin(std::future::ready(Decision::Allow(permit)))
    }
}

#[tokio::test]
async fn media_flow_while_the_gate_thinks() {
    let gate = Arc::new(Sleepy(Mutex::default(), tokio::sync::Notify::new()));
    let house = House::behind(gate.clone());
    let mut client = record(&house, "cam1").await;
    gate.1.notified().await;
    let name = PathName::new("cam1").unwrap();
    client.write_all(&packet(1, 100)).await.unwrap();
    let peer = Peer {
        kind: "test",
        id: Uuid::from_u128(2),
    };
    let client_of_ours = wasmtx_hub::Client {
        id: peer.id,
        protocol: wasmtx_hub::Protocol::Other,
        address: [127, 0, 0, 1].into(),
        agent: None,
        query: String::new(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    };
    let mut reader = house
        .hub
        .read(Instant::now(), &name, peer, Arc::new(client_of_ours))
        .await
        .unwrap();
    let mut frames = Vec::new();
    while frames.is_empty() {
        reader.wait().await;
        reader.drain(10, 1 << 20, &mut frames, &mut 0);
    }
}

#[tokio::test]
async fn a_publisher_above_its_bit_rate_is_closed_and_counted() {
    let permit = Permit {
        max_bitrate: Some(100_000),
        ..Permit::default()
    };
    let (house, mut feed) = with(permit);
    let mut client = record(&house, "cam1").await;
    for sequence in 0..1_000 {
        if client.write_all(&packet(sequence, 1_000)).await.is_err() {
            break;
        }
    }
    assert_eq!(parted(&mut feed).await, CloseReason::Kicked);
    assert_eq!(house.sessions.refused(), [("bitrate", 1)]);
}

#[tokio::test]
async fn whoever_is_kicked_goes_whether_it_reads_or_publishes() {
    let (house, mut feed) = with(Permit::default());
    let mut publisher = record(&house, "cam1").await;
    let mut reader = play(&house, "cam1").await;
    let id_of = |state| {
        let sessions = house.sessions.sessions(false);
        let session = sessions.iter().find(|session| session.details.lock().state == state);
        session.unwrap().id
    };
    assert!(house.sessions.kick(id_of(State::Read), "by\r\nthe test"));
    closed(&mut reader).await;
    assert_eq!(parted(&mut feed).await, CloseReason::Kicked);
    assert!(house.sessions.kick(id_of(State::Publish), ""));
    closed(&mut publisher).await;
    assert_eq!(parted(&mut feed).await, CloseReason::Kicked);
    assert!(!house.sessions.kick(Uuid::from_u128(7), "nobody"));
}

#[tokio::test]
async fn whoever_is_kicked_hears_its_last_answer() {
    let (house, mut feed) = with(Permit::default());
    let _stream = house.publish("cam1");
    let sessions = house.sessions.clone();
    let kicking = tokio::spawn(async move {
        loop {
            match feed.next().await.event {
                Event::Reading(_, client) => assert!(sessions.kick(client.id, "at once")),
                Event::ReadEnded(_, _, reason) => return reason,
                _ => {}
            }
        }
    });
    let mut client = house.ask(&PLAY).await;
    let mut heard = Vec::new();
    client.read_to_end(&mut heard).await.unwrap();
    assert_eq!(count(&heard, b"RTP-Info"), 1, "{}", String::from_utf8_lossy(&heard));
    assert_eq!(kicking.await.unwrap(), CloseReason::Kicked);
}

#[tokio::test]
async fn whom_the_changed_users_do_not_let_in_goes_and_others_stay() {
    let answers = Arc::new(Mutex::new(true));
    let open = answers.clone();
    let house = house(move |access| {
        let path = access.path.as_ref().unwrap().as_str();
        if !*open.lock() && path != "cam1" {
            return Decision::Deny(Denial::Credentials);
        }
        Decision::Allow(Permit {
            configured: path != "cam3",
            identity: Some(path.to_owned()),
            ..Permit::default()
        })
    });
    let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
    let [mut stays, mut goes, mut not_asked] = [
        record(&house, "cam1").await,
        record(&house, "cam2").await,
        record(&house, "cam3").await,
    ];
    *answers.lock() = false;
    house.sessions.rules_changed();
    closed(&mut goes).await;
    assert_eq!(parted(&mut feed).await, CloseReason::Expired);
    // Still there: the server answers.
    for client in [&mut stays, &mut not_asked] {
        client
            .write_all(b"OPTIONS * RTSP/1.0\r\nCSeq: 9\r\n\r\n")
            .await
            .unwrap();
        hear(client, &mut Vec::new(), "CSeq: 9", 1).await;
    }
}

#[tokio::test]
async fn a_publisher_is_asked_for_a_keyframe_once_it_sends() {
    let (house, _feed) = with(Permit::default());
    let mut client = record(&house, "cam1").await;
    let name = PathName::new("cam1").unwrap();
    let publication = house.hub.path(&name).unwrap().publication().unwrap();
    let mut news = publication.follow();
    client.write_all(&packet(1, 100)).await.unwrap();
    news.wait().await;
    assert!(house.hub.request_keyframe(&name));
    // The picture loss indication for the source with the number 9.
    let mut heard = Vec::new();
    while count(&heard, &[0x81, 206, 0, 2]) == 0 || !heard.ends_with(&[0, 0, 0, 9]) {
        assert_ne!(client.read_buf(&mut heard).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn who_waits_for_an_answer_can_be_kicked_and_its_permit_ends() {
    for kicked in [true, false] {
        let mut config = PathConfig::default();
        config.on_demand = true;
        let permit = Permit {
            lasts: Some(if kicked { Duration::MAX } else { WHILE }),
            ..Permit::default()
        };
        let gate = Scripted(Mutex::new(Box::new(move |_| Decision::Allow(permit.clone()))));
        let house = House::with(Arc::new(gate), config);
        let _stream = house.publish("long");
        let mut feed = house.hub.events().listen(|| WallClock(1)).unwrap();
        let mut births = house.hub.births();
        births.recv().await.unwrap();
        let mut client = play(&house, "long").await;
        let describe = "DESCRIBE rtsp://host/awaited RTSP/1.0\r\nCSeq: 5\r\n\r\n";
        client.write_all(describe.as_bytes()).await.unwrap();
        let mut status = births.recv().await.unwrap().watch();
        status.wait_for(|status| status.waiting == 1).await.unwrap();
        if kicked {
            let id = house.sessions.sessions(false)[0].id;
            assert!(house.sessions.kick(id, "enough"));
        }
        closed(&mut client).await;
        let expected = if kicked {
            CloseReason::Kicked
        } else {
            CloseReason::Expired
        };
        assert_eq!(parted(&mut feed).await, expected);
    }
}

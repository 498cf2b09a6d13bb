//! Streams sent to an RTMP server of our own.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::{net::TcpListener, time::sleep};
use uuid::Uuid;
use wasmtx_hub::{
    Access, CloseReason, Decision, Denial, Gate, Hub, PathConfig, PathName, Peer, Permit, Publisher, Reader, Rule,
    Rules,
};
use wasmtx_media::{Codec, Flags, Frame, Track, TrackId};

use super::super::{Destination, Forwarder, Registry, State};
use crate::{hooks::OnConnect, rtmp, wall_clock};

/// For something that should happen soon, on a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets in everybody but to `closed`.
struct Door;

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        let decision = match access.path.as_ref().map(PathName::as_str) {
            Some("closed") => Decision::Deny(Denial::NotAllowed),
            _ => Decision::Allow(Permit::default()),
        };
        Box::pin(std::future::ready(decision))
    }
}

fn hub() -> Hub {
    let hub = Hub::new().0;
    let rule = Rule::new("all_others", Arc::new(PathConfig::default())).unwrap();
    hub.configure(Instant::now(), Rules::new(vec![rule]));
    hub
}

fn server(hub: &Hub) -> (rtmp::Server, SocketAddr) {
    let config = rtmp::Config {
        address: Some("127.0.0.1:0".to_owned()),
        encrypted: None,
        trusted_proxies: Vec::new(),
        on_connect: OnConnect::default(),
        read_timeout: PATIENCE,
        write_timeout: PATIENCE,
        connections: 100,
        connections_per_address: 100,
        connections_before_login: 100,
        tls_handshakes: 100,
        tls_deadline: PATIENCE,
    };
    let server = rtmp::Server::start(config, hub.clone(), Arc::new(Door), rtmp::Registry::default()).unwrap();
    let address = server.address.unwrap();
    (server, address)
}

fn name(name: &str) -> PathName {
    PathName::new(name).unwrap()
}

fn publish(hub: &Hub, codec: Codec) -> Publisher {
    let track = Track {
        id: TrackId(0),
        kind: codec.kind(),
        codec,
        clock_rate: 48_000,
        extra: Vec::new(),
        derived: None,
    };
    let peer = Peer {
        kind: "test",
        id: Uuid::nil(),
    };
    let now = Instant::now();
    hub.publish(now, wall_clock(), &name("cam"), peer, None, None, Arc::new([track]))
        .unwrap()
}

fn push(publisher: &mut Publisher, number: i64) {
    let frame = Frame {
        track: TrackId(0),
        number: 0,
        // Hours after its start.
        pts: (1_000_000 + number) * 960,
        dts: (1_000_000 + number) * 960,
        duration: 960,
        wall: None,
        flags: Flags::KEY,
        payload: Bytes::copy_from_slice(&[&[0x78][..], &number.to_be_bytes()].concat()).into(),
    };
    publisher.push(Instant::now(), wall_clock(), frame).unwrap();
}

fn forwarder(hub: &Hub, urls: &[String]) -> (Forwarder, Registry) {
    let list: Vec<Destination> = urls.iter().map(|url| Destination::new(url, None).unwrap()).collect();
    let registry = Registry::default();
    let forwarder = Forwarder::new(hub.births(), move |_| list.clone().into(), registry.clone());
    (forwarder, registry)
}

async fn eventually(mut is_so: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_so() {
        assert!(started.elapsed() < PATIENCE, "it did not happen");
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_stream_arrives_as_it_was_sent_and_begins_at_zero() {
    let (from, to) = (hub(), hub());
    let (_server, address) = server(&to);
    let (forwarder, registry) = forwarder(&from, &[format!("rtmp://{address}/live/#$MTX_PATH/copy")]);
    let mut publisher = publish(&from, Codec::Opus { channels: 2 });
    let copy = name("live/cam/copy");
    let mut number = 0;
    let online = || to.path(&copy).and_then(|path| path.publication()).is_some();
    eventually(|| {
        push(&mut publisher, number);
        number += 1;
        online()
    })
    .await;
    let path = to.path(&copy).unwrap();
    let (_, mut reader) = path.attend(Instant::now(), Duration::ZERO).unwrap();
    let mut entries = Vec::new();
    eventually(|| {
        push(&mut publisher, number);
        number += 1;
        let _ = reader.drain(100, usize::MAX, &mut entries, &mut 0);
        entries.len() > 20
    })
    .await;
    let sent = |at: usize| i64::from_be_bytes(entries[at].frame.payload[1..].try_into().unwrap());
    for at in 0..entries.len() {
        assert_eq!(sent(at), sent(0) + at as i64);
        assert_eq!(entries[at].frame.pts, entries[0].frame.pts + at as i64 * 960);
    }
    assert!(entries[0].frame.pts < 960 * 1_000_000);
    check_after_a_month(&mut publisher, &mut reader, number).await;
    let forward = registry.all().pop().unwrap();
    assert_eq!(forward.state(), (State::Forwarding, String::new()));
    assert!(forward.outbound_bytes.load() > 0);
    publisher.close(Instant::now(), CloseReason::Ended);
    eventually(|| forward.state().0 == State::Idle && path.publication().is_none()).await;
    forwarder.close(PATIENCE).await;
}

/// Numbers of milliseconds with a sign of their own in 32 bits are no reason to stand still.
async fn check_after_a_month(publisher: &mut Publisher, reader: &mut Reader, number: i64) {
    const MONTH: i64 = 31 * 24 * 3_600 * 50;
    let mut entries = Vec::new();
    let mut number = number + MONTH;
    eventually(|| {
        push(publisher, number);
        number += 1;
        let _ = reader.drain(100, usize::MAX, &mut entries, &mut 0);
        entries.len() > 20
    })
    .await;
    let pts: Vec<i64> = entries.iter().rev().take(10).map(|entry| entry.frame.pts).collect();
    assert!(pts.windows(2).all(|pair| pair[0] - pair[1] == 960), "{pts:?}");
}

#[tokio::test]
async fn a_server_that_says_no_or_nothing_is_an_error_that_can_be_read() {
    let (from, to) = (hub(), hub());
    let (_server, address) = server(&to);
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let urls = [
        format!("rtmp://{address}/closed"),
        format!("rtmp://{gone}/live/key"),
        "rtmp://127.0.0.1:0/live/key".to_owned(),
        format!("rtmps://{address}/live/key"),
    ];
    let (forwarder, registry) = forwarder(&from, &urls);
    let publisher = publish(&from, Codec::Opus { channels: 2 });
    eventually(|| {
        let all = registry.all();
        all.len() == urls.len() && all.iter().all(|forward| forward.state().0 == State::Error)
    })
    .await;
    let errors: Vec<String> = registry.all().iter().map(|forward| forward.state().1).collect();
    assert!(errors[0].starts_with("refused: "), "{errors:?}");
    assert!(errors[1].starts_with("cannot connect to 127.0.0.1"), "{errors:?}");
    assert_eq!(errors[2], "the URL is not valid");
    assert!(
        errors[3].starts_with("cannot connect to 127.0.0.1") || errors[3].contains("authorities"),
        "{errors:?}"
    );
    drop(publisher);
    forwarder.close(PATIENCE).await;
}

#[tokio::test]
async fn a_stream_that_rtmp_cannot_carry_is_an_error_by_name() {
    let (from, to) = (hub(), hub());
    let (_server, address) = server(&to);
    let (forwarder, registry) = forwarder(&from, &[format!("rtmp://{address}/live/key")]);
    let publisher = publish(&from, Codec::Mjpeg);
    eventually(|| registry.all().iter().any(|forward| forward.state().0 == State::Error)).await;
    let error = registry.all()[0].state().1;
    assert_eq!(
        error,
        "nothing of the stream can be sent to this server: track 0 (M-JPEG)"
    );
    drop(publisher);
    forwarder.close(PATIENCE).await;
}

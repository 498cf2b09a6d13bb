//! Sources against a server of our own, over real sockets on the loopback address.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Instant as StdInstant,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use sha2::{Digest, Sha256};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::sleep,
};
use tokio_rustls::TlsAcceptor;
use wasmtx_hub::{
    Access, Client, Decision, Denial, Drained, Gate, PathConfig, PathName, Peer, Permit, Protocol, Role, Rule, Rules,
};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock};

use super::*;
use crate::{
    hooks::OnConnect,
    rtsp::{Algorithm, Config, Registry, Scheme, Server, Transports},
    wall_clock,
};

mod tags;

/// Ticks of one frame: 20 ms of Opus.
const STEP: i64 = 960;

/// Lets in whoever knows the password, if there is one.
struct Door(Option<&'static str>);

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        let allowed = self.0.is_none_or(|password| access.proof.matches("us@er", password));
        let decision = if allowed {
            Decision::Allow(Permit::default())
        } else {
            Decision::Deny(Denial::Credentials)
        };
        Box::pin(std::future::ready(decision))
    }
}

/// A server with the stream `cam`: numbered frames, one every few milliseconds.
pub(crate) struct Origin {
    server: Server,
    hub: Hub,
    fingerprint: [u8; 32],
    publisher: JoinHandle<()>,
}

pub(crate) struct Setup {
    udp: bool,
    password: Option<&'static str>,
    auth: Vec<Scheme>,
    encrypted: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        let auth = vec![Scheme::Digest(Algorithm::Sha256), Scheme::Digest(Algorithm::Md5)];
        Setup {
            udp: true,
            password: None,
            auth,
            encrypted: false,
        }
    }
}

impl Origin {
    pub(crate) fn start(setup: Setup) -> Origin {
        let hub = hub("cam", Role::Publisher);
        let (acceptor, fingerprint) = acceptor();
        let config = Config {
            address: (!setup.encrypted).then(|| "127.0.0.1:0".to_owned()),
            encrypted: setup.encrypted.then(|| ("127.0.0.1:0".to_owned(), acceptor)),
            transports: Transports {
                tcp: true,
                udp: setup.udp,
            },
            rtp_address: "127.0.0.1:0".to_owned(),
            rtcp_address: "127.0.0.1:0".to_owned(),
            auth: setup.auth,
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
        let gate = Arc::new(Door(setup.password));
        let server = Server::start(config, hub.clone(), gate, Registry::default()).unwrap();
        let publisher = tokio::spawn(publish(hub.clone()));
        Origin {
            server,
            hub,
            fingerprint,
            publisher,
        }
    }

    pub(crate) fn url(&self, credentials: &str) -> String {
        match self.server.encrypted_address {
            Some(address) => format!("rtsps://{credentials}{address}/cam"),
            None => format!("rtsp://{credentials}{}/cam", self.server.address.unwrap()),
        }
    }

    pub(crate) fn plan(&self, transport: Transport, credentials: &str) -> Plan {
        Plan {
            fingerprint: Some(self.fingerprint),
            ..plan(&self.url(credentials), transport)
        }
    }
}

fn plan(url: &str, transport: Transport) -> Plan {
    Plan {
        url: Url::new(url).unwrap(),
        transport,
        fingerprint: None,
        read_timeout: Duration::from_secs(10),
        named: None,
    }
}

/// A hub with one path, whose readers wait until it is online.
fn hub(rule: &str, role: Role) -> Hub {
    let (hub, _births) = Hub::new();
    let mut config = PathConfig::default();
    config.role = role;
    config.on_demand = true;
    hub.configure(
        StdInstant::now(),
        Rules::new(vec![Rule::new(rule, Arc::new(config)).unwrap()]),
    );
    hub
}

fn acceptor() -> (TlsAcceptor, [u8; 32]) {
    let pair = rcgen::generate_simple_self_signed(["camera.local".to_owned()]).unwrap();
    let folder = std::env::temp_dir().join(format!("wasmtx-source-{}", Uuid::new_v4()));
    std::fs::create_dir(&folder).unwrap();
    let (key, certificate): (PathBuf, PathBuf) = (folder.join("key"), folder.join("crt"));
    std::fs::write(&key, pair.signing_key.serialize_pem()).unwrap();
    std::fs::write(&certificate, pair.cert.pem()).unwrap();
    let identity = crate::tls::Identity::load(&key, &certificate).unwrap();
    std::fs::remove_dir_all(folder).unwrap();
    (
        TlsAcceptor::from(identity.server_config(&[]).unwrap()),
        Sha256::digest(pair.cert.der()).into(),
    )
}

async fn publish(hub: Hub) {
    let codec = Codec::Opus { channels: 2 };
    let track = Track {
        id: TrackId(0),
        kind: Kind::Audio,
        codec,
        clock_rate: 48_000,
        extra: Vec::new(),
        derived: None,
    };
    let peer = Peer {
        kind: "test",
        id: Uuid::nil(),
    };
    let now = StdInstant::now();
    let mut publisher = hub
        .publish(now, wall_clock(), &name("cam"), peer, None, None, Arc::new([track]))
        .unwrap();
    for number in 0.. {
        let frame = Frame {
            track: TrackId(0),
            number: 0,
            pts: number * STEP,
            dts: number * STEP,
            duration: 960,
            wall: None,
            flags: Flags::KEY,
            payload: Bytes::copy_from_slice(&[&[0x78][..], &number.to_be_bytes()].concat()).into(),
        };
        if publisher.push(StdInstant::now(), wall_clock(), frame).is_err() {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}

fn name(name: &str) -> PathName {
    PathName::new(name).unwrap()
}

/// Pulls `plan` onto the path `copy` and checks that its frames come as they were sent, one after the other.
async fn check_frames(plan: Plan) -> (Hub, Pull) {
    check_frames_of(plan, "rtspSource").await
}

async fn check_frames_of(plan: Plan, kind: &str) -> (Hub, Pull) {
    let hub = hub("copy", Role::Source);
    let path = hub.path(&name("copy")).unwrap();
    let pull = Puller::new(hub.clone(), STARTING).start(plan, path, "");
    let mut reader = hub
        .read(StdInstant::now(), &name("copy"), peer(), client())
        .await
        .unwrap();
    let (mut entries, mut lost) = (Vec::new(), 0);
    while entries.len() < 50 {
        reader.wait().await;
        let drained = reader.drain(100, usize::MAX, &mut entries, &mut lost);
        assert!(!matches!(drained, Drained::Ended(_)), "{drained:?}");
    }
    let number = |at: usize| i64::from_be_bytes(entries[at].frame.payload[1..].try_into().unwrap());
    for at in 0..entries.len() {
        assert_eq!(number(at), number(0) + at as i64);
        assert_eq!(entries[at].frame.pts, entries[0].frame.pts + at as i64 * STEP);
        assert!(entries[at].frame.wall.is_some_and(|wall| wall > WallClock(0)));
    }
    assert_eq!(lost, 0);
    assert_eq!(reader.path().source().unwrap().kind, kind);
    (hub, pull)
}

/// One attempt that is expected to fail.
async fn attempt(plan: Plan, rule: &str, path: &str, query: &str) -> Failure {
    let hub = hub(rule, Role::Source);
    let waiting = hub.clone();
    let path = name(path);
    let wanted = path.clone();
    // A dynamic path exists for as long as somebody waits for it.
    let _waiting = tokio::spawn(async move { waiting.describe(StdInstant::now(), &wanted, "", None).await.map(drop) });
    let path = loop {
        match hub.path(&path) {
            Some(path) => break path,
            None => tokio::task::yield_now().await,
        }
    };
    let mut source = Source {
        puller: Puller::new(hub, STARTING),
        plan,
        path,
        query: query.to_owned(),
        id: Uuid::nil(),
        publisher: None,
        tcp_only: false,
    };
    source.attempt().await
}

fn peer() -> Peer {
    Peer {
        kind: "test",
        id: Uuid::nil(),
    }
}

fn client() -> Arc<Client> {
    let (protocol, address) = (Protocol::Rtsp, Ipv4Addr::LOCALHOST.into());
    Arc::new(Client {
        id: Uuid::nil(),
        protocol,
        address,
        agent: None,
        query: String::new(),
        identity: None,
        tags: Vec::new(),
        extra: Vec::new(),
    })
}

#[tokio::test]
async fn a_stream_is_pulled_over_tcp() {
    let origin = Origin::start(Setup::default());
    check_frames(origin.plan(Transport::Tcp, "")).await;
}

#[tokio::test]
async fn a_stream_is_pulled_over_udp() {
    let origin = Origin::start(Setup::default());
    check_frames(origin.plan(Transport::Udp, "")).await;
    check_frames(origin.plan(Transport::Automatic, "")).await;
}

#[tokio::test]
async fn without_udp_the_automatic_transport_is_tcp() {
    let origin = Origin::start(Setup {
        udp: false,
        ..Setup::default()
    });
    check_frames(origin.plan(Transport::Automatic, "")).await;
    let failure = attempt(origin.plan(Transport::Udp, ""), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Refused(461, _)), "{failure}");
}

#[tokio::test]
async fn credentials_of_the_url_are_shown_as_the_server_asks() {
    for scheme in [
        Scheme::Basic,
        Scheme::Digest(Algorithm::Sha256),
        Scheme::Digest(Algorithm::Md5),
    ] {
        for encrypted in [false, true] {
            let setup = Setup {
                password: Some("pa:ss"),
                auth: vec![scheme],
                encrypted,
                ..Setup::default()
            };
            let origin = Origin::start(setup);
            check_frames(origin.plan(Transport::Tcp, "us%40er:pa%3Ass@")).await;
            for wrong in ["", "us%40er:wrong@", "us%40er@"] {
                let failure = attempt(origin.plan(Transport::Tcp, wrong), "copy", "copy", "").await;
                assert!(
                    matches!(failure, Failure::Refused(401, _)),
                    "{scheme:?} {encrypted} {wrong:?}: {failure}"
                );
            }
        }
    }
}

#[tokio::test]
async fn a_stream_is_pulled_through_tls_from_the_pinned_server_only() {
    let origin = Origin::start(Setup {
        encrypted: true,
        ..Setup::default()
    });
    check_frames(origin.plan(Transport::Automatic, "")).await;
    let other = Plan {
        fingerprint: Some([7; 32]),
        ..origin.plan(Transport::Tcp, "")
    };
    let failure = attempt(other, "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Dial(dial::Error::Connect(..))), "{failure}");
    let failure = attempt(origin.plan(Transport::Udp, ""), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::EncryptedUdp), "{failure}");
}

#[tokio::test]
async fn the_end_of_a_pull_takes_the_path_offline() {
    let origin = Origin::start(Setup::default());
    let (hub, pull) = check_frames(origin.plan(Transport::Tcp, "")).await;
    let publication = hub.path(&name("copy")).unwrap().publication().unwrap();
    pull.close().await;
    assert_eq!(publication.ended(), Some(CloseReason::Ended));
}

#[tokio::test]
async fn a_source_that_goes_takes_the_path_offline_and_comes_back_as_another_publication() {
    let origin = Origin::start(Setup::default());
    let (hub, _pull) = check_frames(origin.plan(Transport::Tcp, "")).await;
    let path = hub.path(&name("copy")).unwrap();
    let first = path.publication().unwrap();
    let mut status = path.watch();
    origin.publisher.abort();
    status.wait_for(|status| status.publication.is_none()).await.unwrap();
    assert_eq!(first.ended(), Some(CloseReason::Failed));
    let _again = tokio::spawn(publish(origin.hub.clone()));
    status
        .wait_for(|status| status.publication.as_ref().is_some_and(|p| p.generation == 2))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_host_that_a_client_chose_must_be_public() {
    for (template, path, query) in [
        ("rtsp://$G1/x", "cam/127.0.0.1", ""),
        ("rtsps://$G1:8322/x", "cam/10.0.0.1", ""),
        ("rtmp://$G1/live/x", "cam/127.0.0.1", ""),
        ("rtmps://$G1/live/x", "cam/10.0.0.1", ""),
        ("http://$G1/x.flv", "cam/127.0.0.1", ""),
        ("https://$MTX_QUERY/x.flv", "cam/a", "169.254.169.254"),
        ("rtsp://$MTX_QUERY/x", "cam/a", "169.254.169.254"),
        ("rtsp://$MTX_QUERY/x", "cam/a", "[::1]"),
        ("rtsp://$MTX_QUERY/x", "cam/a", "localhost"),
    ] {
        let failure = attempt(plan(template, Transport::Automatic), "~^cam/(.*)$", path, query).await;
        assert!(
            matches!(failure, Failure::Dial(dial::Error::NotPublic(_))),
            "{template} {path} {query}: {failure}"
        );
    }
}

#[tokio::test]
async fn a_missing_stream_and_a_missing_server_are_failures() {
    let origin = Origin::start(Setup::default());
    let missing = origin.url("").replace("/cam", "/other");
    let failure = attempt(plan(&missing, Transport::Automatic), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Refused(404, _)), "{failure}");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = format!("rtsp://{}/cam", listener.local_addr().unwrap());
    drop(listener);
    let failure = attempt(plan(&gone, Transport::Tcp), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Rtsp(_)), "{failure}");
}

/// A server that answers everything with `answer`, or with nothing.
async fn liar(answer: &'static [u8]) -> String {
    format!("rtsp://{}/cam", liar_at(answer).await)
}

async fn liar_at(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4_096];
                while socket.read(&mut request).await.is_ok_and(|len| len > 0) {
                    if socket.write_all(answer).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    address
}

#[tokio::test]
async fn garbage_is_a_failure() {
    for answer in [
        &b"HTTP/1.1 200 OK\r\n\r\n"[..],
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Type: application/sdp\r\nContent-Length: 3\r\n\r\nm=x",
        b"RTSP/1.0 302 Moved\r\nCSeq: 1\r\nLocation: rtsp://127.0.0.1/\r\n\r\n",
    ] {
        let failure = attempt(plan(&liar(answer).await, Transport::Tcp), "copy", "copy", "").await;
        assert!(matches!(failure, Failure::Rtsp(_) | Failure::Refused(..)), "{failure}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_is_given_up() {
    for answer in [&b""[..], b"$\x00\x00\x04abcd", b"RTSP/1.0 200 "] {
        let failure = attempt(plan(&liar(answer).await, Transport::Tcp), "copy", "copy", "").await;
        assert!(matches!(failure, Failure::NoAnswer), "{failure}");
    }
}

#[test]
fn a_url_is_checked_and_not_shown() {
    assert!(Url::new("rtsp://user:geheim@host/$G1").is_ok());
    assert!(Url::new("http://host/$G1.flv?token=$MTX_QUERY").is_ok());
    for template in ["", "host", "http://host", "http://host/a?b.flv", "rtsp://", "publisher"] {
        assert_eq!(Url::new(template), Err(InvalidTarget::Scheme), "{template}");
    }
    let plan = plan("rtsp://user:geheim@host/", Transport::Tcp);
    assert!(!format!("{plan:?}").contains("geheim"));
}

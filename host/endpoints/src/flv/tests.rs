use std::net::Ipv4Addr;

use bytes::BytesMut;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    sync::watch,
};
use uuid::Uuid;
use wasmtx_hub::{
    Access, CloseReason, Decision, Denial, Limits, PathConfig, PathName, Peer, Permit, Publisher, Role, Rule, Rules,
};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock, codec::aac};
use wasmtx_protocol::flv::{Tag, file};

use super::*;
use crate::{
    http,
    tcp::Duplex,
    tls::{self, tests::Folder},
};

mod web_socket;

type Answer = Box<dyn FnMut(&Access) -> Decision + Send>;

/// A gate that answers as the test says.
struct Scripted(Mutex<Answer>);

impl Gate for Scripted {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        Box::pin(std::future::ready((self.0.lock())(access)))
    }
}

/// A hub and the service that plays it.
struct House {
    hub: Hub,
    registry: Registry,
    service: Service,
    address: String,
    stop: watch::Sender<bool>,
}

const SOMEBODY: Peer = Peer {
    kind: "test",
    id: Uuid::nil(),
};

impl House {
    fn new() -> House {
        House::behind(|_| Decision::Allow(Permit::default()))
    }

    fn behind(gate: impl FnMut(&Access) -> Decision + Send + 'static) -> House {
        House::at("127.0.0.1:0", None, gate)
    }

    fn at(
        address: &str,
        tls: Option<Arc<rustls::ServerConfig>>,
        gate: impl FnMut(&Access) -> Decision + Send + 'static,
    ) -> House {
        let hub = Hub::new().0;
        let rule = |name: &str, change: fn(&mut PathConfig)| {
            let mut config = PathConfig::default();
            config.limits = Limits::default();
            change(&mut config);
            Rule::new(name, Arc::new(config)).unwrap()
        };
        let rules = vec![
            rule("later", |config| config.on_demand = true),
            rule("moved", |config| config.role = Role::Redirect("/cam".to_owned())),
            rule("abroad", |config| {
                config.role = Role::Redirect("rtsp://192.0.2.1/cam".to_owned());
            }),
            rule("full", |config| config.max_readers = 1),
            rule("all_others", |_| {}),
        ];
        hub.configure(std::time::Instant::now(), Rules::new(rules));
        let registry = Registry::default();
        let settings = Settings {
            allow_origins: vec!["*".to_owned()],
            ..Settings::default()
        };
        let gate = Arc::new(Scripted(Mutex::new(Box::new(gate))));
        let service = Service::new(settings, hub.clone(), gate, registry.clone());
        let server = http::Server::bind("flvAddress", address, http::Limits::default(), tls).unwrap();
        let address = server.local_address();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server.serve(service.router(), stopped));
        House {
            hub,
            registry,
            service,
            address,
            stop,
        }
    }

    /// Publishes sound, of which every frame can be begun with.
    fn publish(&self, path: &str) -> Stream {
        self.publish_codec(path, Codec::Aac(aac::Config::new(2, 48_000, 2).unwrap()))
    }

    fn publish_codec(&self, path: &str, codec: Codec) -> Stream {
        let track = Track {
            id: TrackId(0),
            kind: Kind::Audio,
            codec,
            clock_rate: 48_000,
            extra: Vec::new(),
            derived: None,
        };
        let (now, name) = (std::time::Instant::now(), PathName::new(path).unwrap());
        let publisher = self
            .hub
            .publish(now, WallClock(1), &name, SOMEBODY, None, None, Arc::from([track]));
        Stream {
            publisher: publisher.unwrap(),
            dts: 0,
        }
    }

    /// Sends a request with these headers.
    async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Client {
        let stream = TcpStream::connect(&self.address).await.unwrap();
        Client::ask(stream, method, target, headers).await
    }

    /// Asks for a path and reads the head of the answer.
    async fn play(&self, target: &str) -> Client {
        let mut client = self.ask("GET", target, &[]).await;
        let head = client.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        client
    }

    /// The whole answer to a request.
    async fn answer(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> String {
        let headers = [headers, &[("Connection", "close")]].concat();
        self.ask(method, target, &headers).await.rest().await
    }
}

/// A publisher of sound.
struct Stream {
    publisher: Publisher,
    dts: i64,
}

impl Stream {
    fn push(&mut self, payload: &[u8]) {
        let frame = Frame {
            track: TrackId(0),
            number: 0,
            pts: self.dts,
            dts: self.dts,
            duration: 1_024,
            wall: None,
            flags: Flags::KEY,
            payload: bytes::Bytes::copy_from_slice(payload).into(),
        };
        self.dts += 1_024;
        let pushed = self.publisher.push(std::time::Instant::now(), WallClock(1), frame);
        pushed.unwrap();
    }

    fn end(self, reason: CloseReason) {
        self.publisher.close(std::time::Instant::now(), reason);
    }
}

struct Client {
    stream: Box<dyn Duplex>,
    input: BytesMut,
    reader: file::Reader,
}

impl Client {
    async fn ask(stream: impl Duplex + 'static, method: &str, target: &str, headers: &[(&str, &str)]) -> Client {
        let lines = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: here\r\n{}\r\n",
            lines.collect::<String>()
        );
        Client::say(stream, request.as_bytes()).await
    }

    async fn say(stream: impl Duplex + 'static, request: &[u8]) -> Client {
        let mut client = Client {
            stream: Box::new(stream),
            input: BytesMut::new(),
            reader: file::Reader::default(),
        };
        client.stream.write_all(request).await.unwrap();
        client
    }

    /// Reads more; `false` at the end. A reset is an end, too.
    async fn read(&mut self) -> bool {
        self.stream.read_buf(&mut self.input).await.is_ok_and(|read| read > 0)
    }

    async fn head(&mut self) -> String {
        loop {
            let end = self.input.windows(4).position(|bytes| bytes == b"\r\n\r\n");
            if let Some(end) = end {
                return String::from_utf8(self.input.split_to(end + 4).to_vec()).unwrap();
            }
            assert!(self.read().await, "{:?}", self.input);
        }
    }

    async fn tag(&mut self) -> Tag {
        loop {
            if let Some(tag) = self.reader.next(&mut self.input).unwrap() {
                return tag;
            }
            assert!(self.read().await, "the stream is over");
        }
    }

    /// Reads tags until one ends with these bytes.
    async fn hear(&mut self, payload: &[u8]) {
        while !self.tag().await.payload.ends_with(payload) {}
    }

    async fn rest(mut self) -> String {
        while self.read().await {}
        String::from_utf8_lossy(&self.input).into_owned()
    }
}

fn value<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value))
}

#[tokio::test]
async fn all_players_of_a_path_get_the_same_tags_until_its_end() {
    let house = House::new();
    let mut stream = house.publish("a/cam");
    stream.push(b"first");
    let mut players = [house.play("/a/cam.flv").await, house.play("/a/cam.flv?x=y").await];
    for player in &mut players {
        player.hear(b"first").await;
    }
    stream.push(b"second");
    for player in &mut players {
        let tag = player.tag().await;
        assert_eq!((tag.kind.number(), tag.timestamp), (8, 21));
        assert!(tag.payload.ends_with(b"second"));
    }
    assert_eq!(house.registry.all().len(), 2);
    stream.end(CloseReason::Ended);
    for player in players {
        assert_eq!(player.rest().await, "");
    }
}

#[tokio::test]
async fn the_head_says_that_it_is_a_live_flv_and_who_may_have_it() {
    let house = House::new();
    let _stream = house.publish("cam");
    for version in ["1.1", "1.0"] {
        let request =
            format!("GET /cam.flv HTTP/{version}\r\nHost: here\r\nOrigin: https://a.example\r\n\r\npipelined");
        let stream = TcpStream::connect(&house.address).await.unwrap();
        let head = Client::say(stream, request.as_bytes()).await.head().await;
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        assert_eq!(value(&head, "Server"), Some("wasmtx"));
        assert_eq!(value(&head, "Content-Type"), Some("video/x-flv"));
        assert_eq!(value(&head, "Connection"), Some("close"));
        assert_eq!(value(&head, "Cache-Control"), Some("no-store"));
        assert_eq!(value(&head, "Access-Control-Allow-Origin"), Some("*"));
        assert_eq!(value(&head, "Transfer-Encoding"), None);
    }
    let head = house.answer("HEAD", "/cam.flv", &[]).await;
    assert!(
        head.starts_with("HTTP/1.1 200 OK\r\n") && head.ends_with("\r\n\r\n"),
        "{head}"
    );
    assert_eq!(value(&head, "Content-Type"), Some("video/x-flv"));
}

#[tokio::test]
async fn requests_that_play_nothing_have_their_own_answers() {
    let house = House::new();
    let mut streams = vec![house.publish("cam"), house.publish("full")];
    let strange = Codec::Generic {
        payload_type: 99,
        rtpmap: "x/90000".to_owned(),
        fmtp: String::new(),
    };
    streams.push(house.publish_codec("strange", strange));
    let _first = house.play("/full.flv").await;
    let check = async |method: &str, target: &str, headers: &[(&str, &str)], expected: &str| {
        let answer = house.answer(method, target, headers).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {expected}")),
            "{target}: {answer}"
        );
        answer
    };
    check("GET", "/", &[], "404").await;
    check("GET", "/cam", &[], "404").await;
    check("GET", "/nobody.flv", &[], "404").await;
    check("GET", "/../cam.flv", &[], "404").await;
    check("GET", "/a%2f..%2fcam.flv", &[], "404").await;
    check("GET", "/.flv", &[], "404").await;
    check("GET", "/full.flv", &[], "503").await;
    check("GET", "/strange.flv", &[], "406").await;
    check("GET", "/abroad.flv", &[], "404").await;
    check("GET", "/cam.flv", &[("Content-Length", "5")], "400").await;
    let answer = check("POST", "/cam.flv", &[], "405").await;
    assert_eq!(value(&answer, "Allow"), Some("OPTIONS, GET, HEAD"));
    let answer = check("GET", "/moved.flv?a=b", &[], "302").await;
    assert_eq!(value(&answer, "Location"), Some("/cam.flv?a=b"));
}

#[tokio::test]
async fn a_path_published_under_exactly_the_name_wins_over_the_suffix() {
    let house = House::new();
    let (mut plain, mut exact) = (house.publish("cam"), house.publish("cam.flv"));
    plain.push(b"plain");
    exact.push(b"exact");
    house.play("/cam.flv").await.hear(b"exact").await;
    exact.end(CloseReason::Ended);
    house.play("/cam.flv").await.hear(b"plain").await;
}

#[tokio::test]
async fn a_path_that_comes_on_demand_is_waited_for() {
    let house = House::new();
    let mut client = house.ask("GET", "/later.flv", &[]).await;
    let path = house.hub.path(&PathName::new("later").unwrap()).unwrap();
    path.watch().wait_for(|status| status.waiting == 1).await.unwrap();
    let mut stream = house.publish("later");
    stream.push(b"at last");
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    client.hear(b"at last").await;
    stream.end(CloseReason::Ended);
    // Who does not wait for it any more is not waited with.
    let client = house.ask("GET", "/later.flv", &[]).await;
    path.watch().wait_for(|status| status.waiting == 1).await.unwrap();
    drop(client);
    path.watch().wait_for(|status| status.waiting == 0).await.unwrap();
}

#[tokio::test]
async fn web_pages_are_told_whether_they_may_play() {
    let house = House::new();
    let _stream = house.publish("cam");
    let preflight = [
        ("Origin", "https://a.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let answer = house.answer("OPTIONS", "/cam.flv", &preflight).await;
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
    assert_eq!(
        value(&answer, "Access-Control-Allow-Headers"),
        Some("Authorization, Range")
    );
    assert_eq!(
        value(&answer, "Access-Control-Allow-Methods"),
        Some("OPTIONS, GET, HEAD")
    );
    assert_eq!(value(&answer, "Access-Control-Allow-Origin"), Some("*"));

    house.service.configure(Settings {
        allow_origins: vec!["https://a.example".to_owned()],
        ..Settings::default()
    });
    let allowed = async |origin: &str| {
        let mut client = house.ask("GET", "/cam.flv", &[("Origin", origin)]).await;
        let head = client.head().await;
        let credentials = value(&head, "Access-Control-Allow-Credentials").map(str::to_owned);
        (
            value(&head, "Access-Control-Allow-Origin").map(str::to_owned),
            credentials,
        )
    };
    let listed = (Some("https://a.example".to_owned()), Some("true".to_owned()));
    assert_eq!(allowed("https://a.example").await, listed);
    assert_eq!(allowed("https://b.example").await, (None, None));
}

#[tokio::test]
async fn who_shows_nothing_is_challenged_and_what_is_denied_looks_like_what_is_not_there() {
    let house = House::behind(|access| match access.proof.user() {
        Some("ada") if access.proof.matches("ada", "secret") => Decision::Allow(Permit::default()),
        Some("eve") => Decision::Deny(Denial::NotAllowed),
        _ if access.proof.token() == Some("t0ken") => Decision::Allow(Permit::default()),
        _ => Decision::Deny(Denial::Credentials),
    });
    let mut stream = house.publish("cam");
    stream.push(b"sound");
    let without_date = |answer: String| {
        let lines = answer.lines().filter(|line| !line.starts_with("date:"));
        lines.map(|line| format!("{line}\n")).collect::<String>()
    };
    for query in ["", "?user=ada&pass=wrong", "?user=eve&pass=x", "?token=wrong"] {
        let there = house.answer("GET", &format!("/cam.flv{query}"), &[]).await;
        let nowhere = house.answer("GET", &format!("/nowhere.flv{query}"), &[]).await;
        if query.contains("eve") {
            assert!(there.starts_with("HTTP/1.1 403"), "{there}");
        } else {
            assert!(there.starts_with("HTTP/1.1 401"), "{there}");
            assert_eq!(value(&there, "WWW-Authenticate"), Some("Basic realm=\"wasmtx\""));
        }
        assert_eq!(without_date(there), without_date(nowhere));
    }
    let headers = ["Basic YWRhOnNlY3JldA==", "Bearer ada:secret", "Bearer t0ken"];
    for header in headers {
        let mut client = house.ask("GET", "/cam.flv", &[("Authorization", header)]).await;
        assert!(client.head().await.starts_with("HTTP/1.1 200"));
        client.hear(b"sound").await;
    }
    for query in ["user=ada&pass=secret", "jwt=t0ken", "token=t0ken"] {
        house.play(&format!("/cam.flv?{query}")).await.hear(b"sound").await;
    }
    for (denial, code) in [
        (Denial::NotFound, "404"),
        (Denial::TooMany, "429"),
        (Denial::Later, "503"),
    ] {
        let house = House::behind(move |_| Decision::Deny(denial));
        let answer = house.answer("GET", "/cam.flv", &[]).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{answer}");
    }
}

#[tokio::test]
async fn a_player_is_listed_as_what_it_is_and_can_be_sent_away() {
    let house = House::behind(|access| {
        assert_eq!(access.client.address, Ipv4Addr::new(192, 0, 2, 7));
        Decision::Allow(Permit {
            identity: Some("ada".to_owned()),
            ..Permit::default()
        })
    });
    house.service.configure(Settings {
        trusted_proxies: vec!["127.0.0.0/8".parse().unwrap()],
        ..Settings::default()
    });
    let mut stream = house.publish("cam");
    stream.push(b"sound");
    let headers = [("X-Forwarded-For", "192.0.2.7"), ("User-Agent", "test")];
    let mut client = house.ask("GET", "/cam.flv?a=b", &headers).await;
    client.head().await;
    client.hear(b"sound").await;
    let conn = house.registry.all()[0].clone();
    assert_eq!(conn.remote.ip(), Ipv4Addr::new(192, 0, 2, 7));
    assert!(conn.remote.port() > 0 && !conn.encrypted && !conn.web_socket);
    let shown = [&conn.path, &conn.query, &conn.user, &conn.user_agent];
    assert_eq!(shown, ["cam", "a=b", "ada", "test"]);
    assert!(conn.outbound_bytes.load() > 0);
    let path = house.hub.path(&PathName::new("cam").unwrap()).unwrap();
    let reader = path.readers()[0];
    assert_eq!((reader.kind, reader.id), ("flvConn", conn.id));
    assert!(house.registry.kick(conn.id, "enough"));
    client.rest().await;
    path.watch().wait_for(|status| status.readers == 0).await.unwrap();
    while !house.registry.all().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!house.registry.kick(conn.id, "again"));
}

#[tokio::test]
async fn a_permission_ends_with_its_time_and_when_the_users_change() {
    let house = House::behind(|_| {
        Decision::Allow(Permit {
            lasts: Some(Duration::from_millis(50)),
            ..Permit::default()
        })
    });
    let _stream = house.publish("cam");
    house.play("/cam.flv").await.rest().await;

    let mut asked = 0;
    let house = House::behind(move |_| {
        asked += 1;
        match asked {
            1 => Decision::Allow(Permit {
                configured: true,
                ..Permit::default()
            }),
            _ => Decision::Deny(Denial::Credentials),
        }
    });
    let _stream = house.publish("cam");
    let client = house.play("/cam.flv").await;
    house.registry.rules_changed();
    client.rest().await;
}

#[tokio::test]
async fn a_player_that_reads_nothing_or_says_too_much_is_closed_and_counted() {
    let house = House::new();
    house.service.configure(Settings {
        write_timeout: Duration::from_millis(50),
        ..Settings::default()
    });
    let mut stream = house.publish("cam");
    let mut client = house.play("/cam.flv").await;
    // More than two sockets hold, and little enough at a time for the ring.
    let much = vec![0; 1 << 20];
    while !house.registry.all().is_empty() {
        stream.push(&much);
        tokio::task::yield_now().await;
    }
    assert_eq!(house.registry.refused(), [("too-slow", 1)]);
    while client.read().await {
        client.input.clear();
    }

    let mut client = house.play("/cam.flv").await;
    let _ = client.stream.write_all(&[b'x'; 256 << 10]).await;
    while client.read().await {
        client.input.clear();
    }
    while house.registry.refused().len() < 2 {
        tokio::task::yield_now().await;
    }
    assert_eq!(house.registry.refused(), [("chatter", 1), ("too-slow", 1)]);
}

#[tokio::test]
async fn over_tls_and_a_unix_socket_the_same_is_played() {
    let folder = Folder::new();
    let fingerprint = folder.renew("localhost");
    let config = folder.load().unwrap().server_config(http::PROTOCOLS).unwrap();
    let allow = |_: &Access| Decision::Allow(Permit::default());
    let encrypted = House::at("127.0.0.1:0", Some(config), allow);
    let connector = tokio_rustls::TlsConnector::from(tls::client_config(Some(fingerprint)).unwrap());
    let socket = TcpStream::connect(&encrypted.address).await.unwrap();
    let socket = connector
        .connect("localhost".try_into().unwrap(), socket)
        .await
        .unwrap();
    through(&encrypted, socket).await;
    assert!(encrypted.registry.all().is_empty());

    let file = std::env::temp_dir().join(format!("wasmtx-flv-{}.sock", std::process::id()));
    let local = House::at(&format!("unix://{}", file.display()), None, allow);
    through(&local, UnixStream::connect(&file).await.unwrap()).await;
}

/// Plays through a socket from beginning to end.
async fn through(house: &House, socket: impl Duplex + 'static) {
    let mut stream = house.publish("cam");
    stream.push(b"first");
    let mut client = Client::ask(socket, "GET", "/cam.flv", &[]).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200"));
    client.hear(b"first").await;
    stream.push(b"second");
    client.hear(b"second").await;
    assert!(house.registry.all()[0].outbound_bytes.load() > 0);
    stream.end(CloseReason::Ended);
    assert_eq!(client.rest().await, "");
    while !house.registry.all().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_server_that_stops_closes_its_players() {
    let house = House::new();
    let _stream = house.publish("cam");
    let client = house.play("/cam.flv").await;
    house.stop.send(true).unwrap();
    client.rest().await;
}

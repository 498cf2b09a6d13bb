use std::{
    path::Path as FilePath,
    time::{Duration, Instant},
};

use futures_util::future::{BoxFuture, join_all};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::watch,
};
use uuid::Uuid;
use wasmtx_hub::{Access, CloseReason, Decision, Denial, PathConfig, Peer, Permit, Publisher, Rule, Rules};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, WallClock};

use super::*;
use crate::codec::{Options, PROGRAM, Pictures};

const PICTURE: &[u8] = include_bytes!("../../../media/testdata/jpeg-420.jpg");
const SOMEBODY: Peer = Peer {
    kind: "test",
    id: Uuid::nil(),
};

/// Lets everybody read but who asks for `secret`.
struct Door;

impl Gate for Door {
    fn check<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Decision> {
        let is_secret = access.path.as_ref().is_some_and(|path| path.as_str() == "secret");
        assert_eq!((access.action, access.client.protocol), (Action::Read, Protocol::Hls));
        let decision = if is_secret {
            Decision::Deny(Denial::Credentials)
        } else {
            Decision::Allow(Permit::default())
        };
        Box::pin(std::future::ready(decision))
    }
}

struct House {
    hub: Hub,
    address: String,
    _stop: watch::Sender<bool>,
}

fn decoders() -> Options {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().and_then(FilePath::parent).unwrap().join(PROGRAM);
    assert!(
        program.exists(),
        "{} is missing; run: cargo build --workspace --bins",
        program.display()
    );
    // A slow machine takes its time, and every test below ends before.
    Options {
        program,
        patience: Duration::from_secs(120),
        ..Options::default()
    }
}

impl House {
    fn with(pictures: Option<Options>) -> House {
        let hub = Hub::new().0;
        let rule = Rule::new("all_others", Arc::new(PathConfig::default())).unwrap();
        hub.configure(Instant::now(), Rules::new(vec![rule]));
        let gallery = Gallery::new(pictures.map(Pictures::new));
        let service = Service::new(Settings::default(), Protocol::Hls, hub.clone(), Arc::new(Door), gallery);
        let others = Router::new().route("/{*name}", any(|| async { "something else" }));
        let server = http::Server::bind("hlsAddress", "127.0.0.1:0", http::Limits::default(), None).unwrap();
        let address = server.local_address();
        let (stop, stopped) = watch::channel(false);
        tokio::spawn(server.serve(service.in_front_of(others), stopped));
        House {
            hub,
            address,
            _stop: stop,
        }
    }

    fn publish(&self, path: &str, kind: Kind, codec: Codec, frames: &[&[u8]]) -> Publisher {
        let track = Track {
            id: TrackId(0),
            kind,
            codec,
            clock_rate: 90_000,
            extra: Vec::new(),
            derived: None,
        };
        let (now, name) = (Instant::now(), PathName::new(path).unwrap());
        let tracks = Arc::from([track]);
        let mut publisher = self
            .hub
            .publish(now, WallClock(1), &name, SOMEBODY, None, None, tracks)
            .unwrap();
        for payload in frames {
            push(&mut publisher, payload);
        }
        publisher
    }

    /// The status, the head and the body.
    async fn get(&self, target: &str) -> (u16, String, Vec<u8>) {
        self.ask("GET", target).await
    }

    async fn ask(&self, method: &str, target: &str) -> (u16, String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).await.unwrap();
        let request = format!("{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap();
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        (head[9..12].parse().unwrap(), head, answer[end + 4..].to_vec())
    }

    async fn refused(&self, target: &str, status: u16, words: &str) {
        let (got, head, body) = self.get(target).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(got == status && body.contains(words), "{target}: {head} {body}");
    }
}

fn push(publisher: &mut Publisher, payload: &[u8]) {
    let frame = Frame {
        track: TrackId(0),
        number: 0,
        pts: 0,
        dts: 0,
        duration: 3_000,
        wall: None,
        flags: Flags::KEY,
        payload: Bytes::copy_from_slice(payload).into(),
    };
    publisher.push(Instant::now(), WallClock(2), frame).unwrap();
}

#[tokio::test]
async fn a_jpeg_is_shown_as_it_was_sent_and_made_smaller_on_demand() {
    let house = House::with(Some(decoders()));
    let _publisher = house.publish("yard/cam", Kind::Video, Codec::Mjpeg, &[PICTURE]);
    let (status, head, body) = house.get("/snapshot/yard/cam.jpg").await;
    assert_eq!((status, &body[..]), (200, PICTURE));
    let head = head.to_ascii_lowercase();
    assert!(
        head.contains("content-type: image/jpeg") && head.contains("cache-control: no-store"),
        "{head}"
    );
    let all = join_all((0..20).map(|_| house.get("/snapshot/yard/cam.jpg?width=32"))).await;
    for (status, _, smaller) in &all {
        assert_eq!((*status, &smaller[..2]), (200, &[0xff, 0xd8][..]));
        assert!(smaller.len() < PICTURE.len() && *smaller == all[0].2);
    }
    let (status, _, body) = house.ask("HEAD", "/snapshot/yard/cam.jpg").await;
    assert_eq!((status, body.len()), (200, 0));
}

#[tokio::test]
async fn what_has_no_picture_says_why() {
    let house = House::with(Some(decoders()));
    let opus = house.publish("sound", Kind::Audio, Codec::Opus { channels: 2 }, &[b"x"]);
    house.refused("/snapshot/nobody.jpg", 404, "nothing is published").await;
    house
        .refused("/snapshot/sound.jpg", 404, "no video: its tracks are Opus")
        .await;
    house
        .refused("/snapshot/sound.jpg?width=9000", 400, "from 16 to 8192")
        .await;
    house
        .refused("/snapshot/sound.jpg?a=b&width=x", 400, "from 16 to 8192")
        .await;
    house
        .refused("/snapshot/secret.jpg?width=x", 401, "authentication")
        .await;
    house.refused("/snapshot/../x.jpg", 404, "not found").await;
    assert_eq!(house.ask("POST", "/snapshot/sound.jpg").await.0, 405);
    drop(opus);
}

#[tokio::test]
async fn other_requests_are_left_to_the_others() {
    let house = House::with(None);
    for target in [
        "/cam.flv",
        "/snapshot/cam.flv",
        "/snapshots/cam.jpg",
        "/cam/snapshot.jpg",
    ] {
        house.refused(target, 200, "something else").await;
    }
}

#[tokio::test]
async fn without_decoders_only_jpeg_is_shown() {
    let missing = Options {
        program: "/nowhere/wasmtx-codec".into(),
        ..decoders()
    };
    for (pictures, words) in [(None, "built without FFmpeg"), (Some(missing), "/nowhere/wasmtx-codec")] {
        let house = House::with(pictures);
        let _jpeg = house.publish("jpeg", Kind::Video, Codec::Mjpeg, &[PICTURE]);
        let _vp8 = house.publish("vp8", Kind::Video, Codec::Vp8, &[b"\x10\x02\x00\x9d\x01\x2a"]);
        assert_eq!(house.get("/snapshot/jpeg.jpg").await.0, 200);
        house.refused("/snapshot/jpeg.jpg?width=32", 501, words).await;
        house.refused("/snapshot/vp8.jpg", 501, words).await;
    }
}

#[tokio::test]
async fn a_keyframe_that_nothing_decodes_costs_its_own_request_and_the_next_picture_is_shown() {
    let house = House::with(Some(decoders()));
    let mut publisher = house.publish("cam", Kind::Video, Codec::Mjpeg, &[b"no picture"]);
    house
        .refused("/snapshot/cam.jpg?width=32", 503, "cannot be decoded")
        .await;
    push(&mut publisher, PICTURE);
    assert_eq!(house.get("/snapshot/cam.jpg?width=32").await.0, 200);
}

#[tokio::test]
async fn a_worker_that_ends_or_hangs_is_a_refusal_and_nothing_else() {
    // One hangs up, one repeats what it hears, one never answers.
    for program in ["/bin/true", "/bin/cat", "/usr/bin/tail"] {
        let house = House::with(Some(Options {
            program: program.into(),
            patience: Duration::from_millis(200),
            ..decoders()
        }));
        let mut publisher = house.publish("cam", Kind::Video, Codec::Vp8, &[b"one"]);
        house.refused("/snapshot/cam.jpg", 503, "was not decoded").await;
        push(&mut publisher, b"two");
        house.refused("/snapshot/cam.jpg", 503, "was not decoded").await;
    }
}

#[tokio::test]
async fn the_first_keyframe_of_a_stream_is_waited_for_and_its_end_is_not() {
    let house = House::with(None);
    let mut publisher = house.publish("cam", Kind::Video, Codec::Mjpeg, &[]);
    let first = async {
        tokio::task::yield_now().await;
        push(&mut publisher, PICTURE);
    };
    let ((status, ..), ()) = tokio::join!(house.get("/snapshot/cam.jpg"), first);
    assert_eq!(status, 200);
    let ended = house.publish("other", Kind::Video, Codec::Mjpeg, &[]);
    let end = async {
        tokio::task::yield_now().await;
        ended.close(Instant::now(), CloseReason::Ended);
    };
    let ((status, ..), ()) = tokio::join!(house.get("/snapshot/other.jpg"), end);
    assert_eq!(status, 404);
}

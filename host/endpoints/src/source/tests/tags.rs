//! Sources that bring FLV tags: RTMP from a server of our own, HTTP-FLV from one that the test plays.

use bytes::BytesMut;
use wasmtx_protocol::{
    flv::{Muxer, file},
    rtmp::{
        self as rtmp_wire, Command, Handshake,
        amf0::{self, Value},
        chunk::{Reader, Writer},
        client::Reason,
    },
};

use super::*;
use crate::{hooks::OnConnect, rtmp};

/// An RTMP server with the stream `cam`.
struct Studio {
    hub: Hub,
    server: rtmp::Server,
    fingerprint: [u8; 32],
    publisher: JoinHandle<()>,
}

impl Studio {
    fn start(encrypted: bool, password: Option<&'static str>) -> Studio {
        let hub = hub("cam", Role::Publisher);
        let (acceptor, fingerprint) = acceptor();
        let config = rtmp::Config {
            address: (!encrypted).then(|| "127.0.0.1:0".to_owned()),
            encrypted: encrypted.then(|| ("127.0.0.1:0".to_owned(), acceptor)),
            trusted_proxies: Vec::new(),
            on_connect: OnConnect::default(),
            read_timeout: Duration::from_secs(60),
            write_timeout: Duration::from_secs(60),
            connections: 100,
            connections_per_address: 100,
            connections_before_login: 100,
            tls_handshakes: 100,
            tls_deadline: Duration::from_secs(60),
        };
        let server =
            rtmp::Server::start(config, hub.clone(), Arc::new(Door(password)), rtmp::Registry::default()).unwrap();
        Studio {
            publisher: tokio::spawn(publish(hub.clone())),
            hub,
            server,
            fingerprint,
        }
    }

    fn plan(&self, resource: &str) -> Plan {
        let url = match self.server.encrypted_address {
            Some(address) => format!("rtmps://{address}/{resource}"),
            None => format!("rtmp://{}/{resource}", self.server.address.unwrap()),
        };
        Plan {
            fingerprint: Some(self.fingerprint),
            ..plan(&url, Transport::Automatic)
        }
    }
}

#[tokio::test]
async fn frames_come_by_rtmp_as_they_were_sent() {
    let studio = Studio::start(false, None);
    let (hub, pull) = check_frames_of(studio.plan("cam"), "rtmpSource").await;
    let publication = hub.path(&name("copy")).unwrap().publication().unwrap();
    pull.close().await;
    assert_eq!(publication.ended(), Some(CloseReason::Ended));
}

#[tokio::test]
async fn rtmps_is_spoken_with_the_pinned_certificate_only() {
    let studio = Studio::start(true, Some("geheim"));
    check_frames_of(studio.plan("cam?user=us%40er&pass=geheim"), "rtmpSource").await;
    let other = Plan {
        fingerprint: Some([7; 32]),
        ..studio.plan("cam")
    };
    let failure = attempt(other, "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Dial(dial::Error::Connect(..))), "{failure}");
    let failure = attempt(studio.plan("cam?user=a&pass=b"), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Rtmp(_)), "{failure}");
}

#[tokio::test]
async fn an_rtmp_source_comes_back_as_another_publication() {
    let studio = Studio::start(false, None);
    let (hub, _pull) = check_frames_of(studio.plan("cam"), "rtmpSource").await;
    let path = hub.path(&name("copy")).unwrap();
    let first = path.publication().unwrap();
    let mut status = path.watch();
    studio.publisher.abort();
    status.wait_for(|status| status.publication.is_none()).await.unwrap();
    assert_eq!(first.ended(), Some(CloseReason::Failed));
    let _again = tokio::spawn(publish(studio.hub.clone()));
    let is_second = |status: &wasmtx_hub::PathStatus| status.publication.as_ref().is_some_and(|p| p.generation == 2);
    status.wait_for(is_second).await.unwrap();
}

/// Takes a client's `connect`, refuses it with these words, and answers the app that it asked for.
async fn refuse_connect(listener: &TcpListener, words: &str) -> String {
    let (mut socket, _) = listener.accept().await.unwrap();
    let (mut handshake, mut reader, mut input) = (Handshake::server(), Reader::new(), BytesMut::new());
    loop {
        assert_ne!(
            socket.read_buf(&mut input).await.unwrap(),
            0,
            "the client goes without a word"
        );
        while !handshake.is_done()
            && let Some(answer) = handshake.handle(&mut input).unwrap()
        {
            socket.write_all(&answer).await.unwrap();
        }
        while handshake.is_done()
            && let Some(message) = reader.read(&mut input).unwrap()
        {
            let Ok(connect) = Command::read(&message) else { continue };
            let error = amf0::object([("level", "error".into()), ("description", words.into())]);
            let payload = amf0::write(&["_error".into(), 1.0.into(), Value::Null, error]);
            let answer = Writer::default().write(rtmp_wire::Kind::Command, 0, 0, payload.into());
            socket.write_all(&answer.unwrap()).await.unwrap();
            let app = connect.arguments.first().and_then(|object| object.property("app"));
            return app.and_then(Value::as_str).unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_server_with_the_login_of_adobe_is_answered_step_by_step() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("rtmp://user:geheim@{}/live/cam", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let need = "[ AccessManager.Reject ] : [ code=403 need auth; authmod=adobe ] : ";
        let ask = "[ authmod=adobe ] : ?reason=needauth&user=user&salt=s&challenge=c&opaque=o";
        let failed = "[ authmod=adobe ] : ?reason=authfailed&opaque=o";
        let mut apps = Vec::new();
        for words in [need, ask, failed] {
            apps.push(refuse_connect(&listener, words).await);
        }
        apps
    });
    let failure = attempt(plan(&url, Transport::Automatic), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Rtmp(Reason::Refused(_))), "{failure}");
    let apps = server.await.unwrap();
    assert_eq!(apps[..2], ["live", "live?authmod=adobe&user=user"]);
    assert!(
        apps[2].contains("&response=") && !apps[2].contains("geheim"),
        "{apps:?}"
    );
}

/// An FLV file of the frames that [`publish`] sends.
fn file() -> Vec<u8> {
    let track = Track {
        id: TrackId(0),
        kind: Kind::Audio,
        codec: Codec::Opus { channels: 2 },
        clock_rate: 48_000,
        extra: Vec::new(),
        derived: None,
    };
    let tracks = [track];
    let mut muxer = Muxer::new(&tracks);
    let mut tags = muxer.opening(&tracks, 0);
    for number in 0..5_000 {
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
        muxer.tags(&frame, &tracks[0], &mut tags);
    }
    let mut file = BytesMut::from(&*file::header(true, false));
    tags.iter().for_each(|tag| file::put(tag, &mut file));
    file.to_vec()
}

/// A web server that gives each request, by its head, what `answer` says.
async fn web(answer: impl Fn(&str) -> Vec<u8> + Clone + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if socket.read_buf(&mut head).await.is_ok_and(|length| length == 0) {
                        return;
                    }
                }
                let answer = answer(str::from_utf8(&head).unwrap());
                // As a live stream comes: about two frames at once.
                for piece in answer.chunks(64) {
                    if socket.write_all(piece).await.is_err() {
                        return;
                    }
                    sleep(Duration::from_millis(2)).await;
                }
                // Until the client has gone: a stream has no end.
                let _ = socket.read(&mut [0]).await;
            });
        }
    });
    address
}

fn stream() -> Vec<u8> {
    [&b"HTTP/1.1 200 OK\r\nContent-Type: video/x-flv\r\n\r\n"[..], &file()].concat()
}

fn chunked() -> Vec<u8> {
    let mut answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    for chunk in file().chunks(100) {
        answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        answer.extend_from_slice(&[chunk, b"\r\n"].concat());
    }
    answer
}

#[tokio::test]
async fn frames_come_by_http_as_they_were_sent() {
    for answer in [stream, chunked] {
        let address = web(move |_| answer()).await;
        let url = format!("http://{address}/live/cam.flv?token=1");
        check_frames_of(plan(&url, Transport::Automatic), "flvSource").await;
    }
}

#[tokio::test]
async fn credentials_and_query_of_an_http_url_are_sent() {
    let answer = |head: &str| {
        assert!(head.starts_with("GET /live/cam.flv?a=b HTTP/1.1\r\n"), "{head}");
        let head = head.to_ascii_lowercase();
        assert!(
            head.contains("\r\nauthorization: basic ") && head.contains("\r\nhost: 127.0.0.1:"),
            "{head}"
        );
        stream()
    };
    let address = web(answer).await;
    let url = format!("http://us%40er:geheim@{address}/live/cam.flv?a=b");
    check_frames_of(plan(&url, Transport::Automatic), "flvSource").await;
}

#[tokio::test]
async fn redirects_are_followed_as_far_as_they_may_lead() {
    let to = |location: String| {
        format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n").into_bytes()
    };
    let elsewhere = web(|head| {
        let secret = head.to_ascii_lowercase().contains("authorization");
        assert!(!secret, "credentials are for the server that they were given for");
        stream()
    })
    .await;
    let address = web(move |_| to(format!("http://{elsewhere}/b.flv"))).await;
    let url = format!("http://user:geheim@{address}/a.flv");
    check_frames_of(plan(&url, Transport::Automatic), "flvSource").await;

    // A plugin named a server that may be reached; it names another one that may not.
    let named = |address: SocketAddr| {
        let manner = Manner {
            read_timeout: Duration::from_secs(60),
        };
        Plan::named(&format!("http://{address}/a.flv"), &[address.to_string()], manner).unwrap()
    };
    let failure = attempt(named(address), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Dial(dial::Error::NotPublic(_))), "{failure}");

    for location in ["", "rtmp://127.0.0.1/a/b", "http://u:p@127.0.0.1/a.flv", "http://:0"] {
        let address = web(move |_| to(location.to_owned())).await;
        let failure = attempt(
            plan(&format!("http://{address}/a.flv"), Transport::Automatic),
            "copy",
            "copy",
            "",
        )
        .await;
        assert!(matches!(failure, Failure::Http(_)), "{location}: {failure}");
    }
    let address = web(move |_| to("/again.flv".into())).await;
    let failure = attempt(
        plan(&format!("http://{address}/a.flv"), Transport::Automatic),
        "copy",
        "copy",
        "",
    )
    .await;
    assert_eq!(failure.to_string(), "the server redirects again and again");
}

#[tokio::test]
async fn what_is_no_stream_of_tags_is_a_failure() {
    let long = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; 70_000][..], b"\r\n\r\n"].concat();
    let long: &'static [u8] = long.leak();
    for answer in [
        &b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n<html",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nFL",
        b"RTSP/1.0 200 OK\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\r\n\r\n",
        long,
    ] {
        let address = web(move |_| answer.to_vec()).await;
        let url = format!("http://{address}/a.flv");
        let failure = attempt(plan(&url, Transport::Automatic), "copy", "copy", "").await;
        let expected = matches!(
            failure,
            Failure::Refused(404, _) | Failure::Flv(_) | Failure::Closed | Failure::Http(_)
        );
        assert!(expected, "{failure}");
    }
    // An RTMP server would have sent as much by now, and not this.
    let garbage: &'static [u8] = vec![9; 4_096].leak();
    let url = format!("rtmp://{}/live/cam", liar_at(garbage).await);
    let failure = attempt(plan(&url, Transport::Automatic), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::Rtmp(_)), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_tags_without_media_is_given_up() {
    // Metadata, and then nothing but more of it.
    let script = wasmtx_protocol::flv::Tag {
        kind: wasmtx_protocol::flv::Kind::Script,
        timestamp: 0,
        payload: Bytes::from_static(&[2, 0, 1, b'x']),
    };
    let answer = move |_: &str| {
        let mut answer = BytesMut::from(&b"HTTP/1.1 200 OK\r\n\r\n"[..]);
        answer.extend_from_slice(&file::header(true, true));
        (0..40_000).for_each(|_| file::put(&script, &mut answer));
        answer.to_vec()
    };
    let url = format!("http://{}/a.flv", web(answer).await);
    let failure = attempt(plan(&url, Transport::Automatic), "copy", "copy", "").await;
    assert!(matches!(failure, Failure::NoTracks), "{failure}");
}

#[tokio::test(start_paused = true)]
async fn a_server_of_tags_that_says_nothing_is_given_up() {
    for scheme in ["http", "rtmp"] {
        let url = format!("{scheme}://{}/live/cam.flv", liar_at(b"").await);
        let failure = attempt(plan(&url, Transport::Automatic), "copy", "copy", "").await;
        assert!(matches!(failure, Failure::NoAnswer | Failure::Rtmp(_)), "{failure}");
    }
}

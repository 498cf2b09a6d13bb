use axum::{Extension, routing::get};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
};

use super::*;
use crate::tls::{self, tests::Folder};

struct Running {
    address: String,
    refused: Refused,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

fn start(limits: Limits) -> Running {
    start_with(limits, None)
}

fn start_with(limits: Limits, tls: Option<Arc<rustls::ServerConfig>>) -> Running {
    let router = Router::new()
        .route(
            "/",
            get(|Extension(peer): Extension<Peer>| async move { format!("{} {}", peer.address, peer.encrypted) }),
        )
        .route("/long", get(|| async { "x".repeat(LONG) }))
        .route("/echo", get(take_over));
    let server = Server::bind("apiAddress", "127.0.0.1:0", limits, tls).unwrap();
    let (address, refused) = (server.local_address(), server.refused());
    let (stop, stopped) = watch::channel(false);
    Running {
        address,
        refused,
        stop,
        task: tokio::spawn(server.serve(router, stopped)),
    }
}

/// More than the buffers of a socket hold.
const LONG: usize = 32 << 20;

/// Takes the connection and sends back whatever comes, until the client is done or the server stops.
async fn take_over(Extension(takeover): Extension<Takeover>) -> String {
    let never = takeover.take(|taken| async move {
        let Taken {
            mut stream,
            early,
            slot: _slot,
            mut stop,
        } = taken;
        stream.write_all(b"taken:").await.unwrap();
        stream.write_all(&early).await.unwrap();
        let (mut reader, mut writer) = tokio::io::split(stream);
        tokio::select! {
            _ = tokio::io::copy(&mut reader, &mut writer) => {}
            () = stopped(&mut stop) => writer.write_all(b"stopped").await.unwrap(),
        }
        writer.shutdown().await.unwrap();
    });
    match never.await {}
}

trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin> Duplex for T {}

/// Connects, with TLS when a certificate is to be trusted.
async fn connect(address: &str, fingerprint: Option<[u8; 32]>) -> Box<dyn Duplex> {
    let stream = TcpStream::connect(address).await.unwrap();
    let Some(fingerprint) = fingerprint else {
        return Box::new(stream);
    };
    let connector = tokio_rustls::TlsConnector::from(tls::client_config(Some(fingerprint)).unwrap());
    let name = "localhost".try_into().unwrap();
    Box::new(connector.connect(name, stream).await.unwrap())
}

/// Sends bytes and reads until the server closes.
async fn exchange(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A server that has refused may close while we still write.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_request_is_answered_with_the_peer_it_came_from() {
    let server = start(Limits::default());
    let answer = exchange(
        &server.address,
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    )
    .await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nserver: wasmtx\r\n"), "{answer}");
    assert!(answer.ends_with("127.0.0.1 false"), "{answer}");
}

#[tokio::test]
async fn behind_tls_a_request_is_known_to_be_encrypted_and_what_is_no_tls_is_counted() {
    let folder = Folder::new();
    let fingerprint = folder.renew("localhost");
    let config = folder.load().unwrap().server_config(PROTOCOLS).unwrap();
    let server = start_with(Limits::default(), Some(config));

    let mut stream = connect(&server.address, Some(fingerprint)).await;
    stream
        .write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("127.0.0.1 true"), "{answer}");

    exchange(&server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    assert_eq!(server.refused.counts(), [("tls", 1)]);
}

#[tokio::test]
async fn a_head_beyond_its_bounds_is_refused_with_its_own_code() {
    let server = start(Limits::default());
    let long = format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000));
    assert!(exchange(&server.address, &long).await.starts_with("HTTP/1.1 431 "));
    let many = format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(70));
    assert!(exchange(&server.address, &many).await.starts_with("HTTP/1.1 431 "));
    assert!(
        exchange(&server.address, "nonsense\r\n\r\n")
            .await
            .starts_with("HTTP/1.1 400 ")
    );
}

#[tokio::test]
async fn a_body_beyond_its_bound_is_refused_before_it_is_read() {
    let server = start(Limits {
        body: 10,
        ..Limits::default()
    });
    let request = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n";
    assert!(exchange(&server.address, request).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_client_that_says_nothing_is_closed_and_counted() {
    let server = start(Limits {
        head_time: Duration::from_millis(20),
        ..Limits::default()
    });
    exchange(&server.address, "GET / HT").await;
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    assert_eq!(server.refused.counts(), [("timeout", 1)]);
}

#[tokio::test]
async fn stopping_closes_idle_connections_and_frees_the_port() {
    let server = start(Limits::default());
    let mut idle = TcpStream::connect(&server.address).await.unwrap();
    idle.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = [0; 12];
    idle.read_exact(&mut answer).await.unwrap();
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    Server::bind("apiAddress", &server.address, Limits::default(), None).unwrap();
}

#[tokio::test]
async fn a_unix_socket_left_behind_is_replaced_and_one_in_use_is_not() {
    let path = std::env::temp_dir().join(format!("wasmtx-http-{}.sock", std::process::id()));
    let address = format!("unix://{}", path.display());
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let first = Server::bind("apiAddress", &address, Limits::default(), None).unwrap();
    assert_eq!(first.local_address(), address);
    let error = Server::bind("apiAddress", &address, Limits::default(), None).unwrap_err();
    assert!(error.to_string().starts_with("apiAddress: address unix://"), "{error}");
    drop(first);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_handler_may_take_the_connection_with_all_that_was_said_on_it() {
    let folder = Folder::new();
    let fingerprint = folder.renew("localhost");
    let config = folder.load().unwrap().server_config(PROTOCOLS).unwrap();
    for tls in [None, Some(config)] {
        let encrypted = tls.is_some();
        let server = start_with(Limits::default(), tls);
        let mut stream = connect(&server.address, encrypted.then_some(fingerprint)).await;
        // The answer before it arrives whole.
        stream
            .write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\nearly")
            .await
            .unwrap();
        let mut answer = String::new();
        while !answer.ends_with("taken:early") {
            let mut byte = [0];
            stream.read_exact(&mut byte).await.unwrap();
            answer.push(byte[0].into());
        }
        assert!(
            answer.ends_with(&format!("127.0.0.1 {encrypted}taken:early")),
            "{answer}"
        );
        stream.write_all(b"and late").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = String::new();
        stream.read_to_string(&mut rest).await.unwrap();
        assert_eq!(rest, "and late");
    }
}

#[tokio::test]
async fn a_connection_that_was_taken_is_told_of_the_stop_and_waited_for() {
    let server = start(Limits::default());
    let mut stream = connect(&server.address, None).await;
    stream
        .write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    server.stop.send(true).unwrap();
    server.task.await.unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "stopped");
}

#[tokio::test]
async fn a_connection_that_was_taken_keeps_its_place() {
    let server = start(Limits {
        connections: 1,
        ..Limits::default()
    });
    let mut stream = connect(&server.address, None).await;
    stream
        .write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(exchange(&server.address, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").await, "");
    assert_eq!(server.refused.counts(), [("connections", 1)]);
}

#[tokio::test]
async fn nothing_is_taken_from_a_client_that_has_not_read_the_answer_before() {
    let server = start(Limits {
        write_stall: Duration::from_millis(50),
        ..Limits::default()
    });
    let mut stream = connect(&server.address, None).await;
    stream
        .write_all(b"GET /long HTTP/1.1\r\nHost: a\r\n\r\nGET /echo HTTP/1.1\r\nHost: a\r\n\r\n")
        .await
        .unwrap();
    while server.refused.counts().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.refused.counts(), [("broken", 1)]);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(answer.len() < LONG, "{}", answer.len());
}

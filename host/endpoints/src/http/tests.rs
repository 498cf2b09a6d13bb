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
    let router = Router::new().route(
        "/",
        get(|Extension(peer): Extension<Peer>| async move { format!("{} {}", peer.address, peer.encrypted) }),
    );
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

    let connector = tokio_rustls::TlsConnector::from(tls::client_config(Some(fingerprint)).unwrap());
    let stream = TcpStream::connect(&server.address).await.unwrap();
    let mut stream = connector
        .connect("localhost".try_into().unwrap(), stream)
        .await
        .unwrap();
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

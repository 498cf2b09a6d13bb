use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::atomic::AtomicUsize,
};

use http::{HeaderName, HeaderValue};
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;
use crate::{
    guard::tests::PRIVATE,
    tls::{self, tests::Folder},
};

/// What a request may take.
const TIME: Duration = Duration::from_secs(3);
const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A world in which every name leads to the same addresses, and one certificate is believed.
#[derive(Default)]
struct Fake {
    addresses: Mutex<Vec<IpAddr>>,
    lookups: AtomicUsize,
    fingerprint: Option<[u8; 32]>,
}

impl Fake {
    fn leading_to(addresses: &[IpAddr]) -> Arc<Fake> {
        Arc::new(Fake {
            addresses: Mutex::new(addresses.to_vec()),
            ..Fake::default()
        })
    }
}

impl World for Fake {
    fn look_up(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        self.lookups.fetch_add(1, Relaxed);
        Ok(self
            .addresses
            .lock()
            .iter()
            .map(|ip| SocketAddr::new(*ip, port))
            .collect())
    }

    fn authorities(&self) -> Result<Arc<ClientConfig>, tls::Error> {
        match self.fingerprint {
            Some(fingerprint) => tls::client_config(Some(fingerprint)),
            None => Err(tls::Error::NoAuthorities),
        }
    }
}

/// A server that answers each request with what `answer` makes of its head, and counts connections.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
        let server = Server {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            heads: Arc::default(),
        };
        let (connections, heads, answer) = (server.connections.clone(), server.heads.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, Relaxed);
                tokio::spawn(serve(stream, heads.clone(), answer.clone()));
            }
        });
        server
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn client(&self) -> Client {
        client(&[&self.address.to_string()], Fake::leading_to(&[]))
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().clone()
    }
}

async fn serve(mut stream: TcpStream, heads: Arc<Mutex<Vec<String>>>, answer: Arc<impl Fn(&str) -> String>) {
    let mut read = Vec::new();
    loop {
        while !read.windows(4).any(|window| window == b"\r\n\r\n") {
            if !matches!(stream.read_buf(&mut read).await, Ok(length) if length > 0) {
                return;
            }
        }
        // Tests send bodies of one piece, which is here with its head.
        let request = String::from_utf8_lossy(&read).into_owned();
        read.clear();
        let answer = answer(&request);
        heads.lock().push(request);
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn moved(status: u16, location: &str) -> String {
    format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n")
}

fn client(entries: &[&str], world: Arc<Fake>) -> Client {
    Client::with(Allow::parse(entries).unwrap(), Limits::default(), world)
}

fn get(url: impl AsRef<str>) -> Request<Bytes> {
    Request::get(url.as_ref()).body(Bytes::new()).unwrap()
}

fn post(url: impl AsRef<str>, body: &'static str) -> Request<Bytes> {
    Request::post(url.as_ref()).body(body.into()).unwrap()
}

fn with(mut request: Request<Bytes>, headers: &[&'static str]) -> Request<Bytes> {
    let headers = headers
        .iter()
        .map(|name| (name.parse::<HeaderName>().unwrap(), HeaderValue::from_static("value")));
    request.headers_mut().extend(headers);
    request
}

async fn send(client: &Client, request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
    client.send(request, TIME).await
}

#[track_caller]
fn refused(result: Result<Response<Bytes>, Error>) {
    assert!(matches!(result, Err(Error::Refused(_))), "{result:?}");
}

#[tokio::test]
async fn a_request_goes_out_as_written_and_comes_back_whole() {
    let server = Server::start(|_| "HTTP/1.1 404 No\r\nX-One: a\r\ncontent-length: 5\r\n\r\nhello".into()).await;
    let request = with(post(server.url("/users?id=7#part"), "{}"), &["X-Token"]);
    let answer = send(&server.client(), request).await.unwrap();
    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (404, &b"hello"[..]));
    assert_eq!(answer.headers()["x-one"], "a");
    let head = server.heads().remove(0);
    assert!(head.starts_with("POST /users?id=7 HTTP/1.1\r\n"), "{head}");
    for line in ["x-token: value", "content-length: 2", "user-agent: wasmtx/"] {
        assert!(head.contains(line), "{line} is missing in {head}");
    }
    assert!(head.contains(&format!("host: {}", server.address)), "{head}");
}

#[tokio::test]
async fn connections_are_used_again() {
    let server = Server::start(|_| ok("x")).await;
    let client = server.client();
    for _ in 0..5 {
        send(&client, get(server.url("/"))).await.unwrap();
    }
    assert_eq!(server.connections.load(Relaxed), 1);
}

#[tokio::test]
async fn what_is_not_listed_is_not_granted_and_nobody_is_asked() {
    let world = Fake::leading_to(&[LOOPBACK]);
    let client = client(&["a.example"], world.clone());
    for url in [
        "http://b.example/",
        "http://a.example:8080/",
        "http://127.0.0.1/",
        "http://[::1]/",
    ] {
        let result = send(&client, get(url)).await;
        assert!(matches!(result, Err(Error::NotGranted)), "{url}: {result:?}");
    }
    assert_eq!(world.lookups.load(Relaxed), 0);
}

#[tokio::test]
async fn a_listed_name_that_leads_to_a_private_address_is_refused() {
    for address in PRIVATE {
        let ip = address.parse().unwrap();
        let named = client(&["a.example"], Fake::leading_to(&[ip]));
        refused(send(&named, get("http://a.example/")).await);
        // By itself it is not on the list at all.
        let url = match ip {
            IpAddr::V4(ip) => format!("http://{ip}/"),
            IpAddr::V6(ip) => format!("http://[{ip}]/"),
        };
        let result = send(&named, get(url)).await;
        assert!(matches!(result, Err(Error::NotGranted)), "{address}: {result:?}");
    }
}

#[tokio::test]
async fn a_name_may_lead_to_a_private_address_that_is_listed_too() {
    let server = Server::start(|_| ok("inside")).await;
    let port = server.address.port();
    let (name, url) = (format!("a.example:{port}"), format!("http://a.example:{port}/"));
    let world = Fake::leading_to(&[LOOPBACK]);
    refused(send(&client(&[&name], world.clone()), get(&url)).await);
    let answer = send(&client(&[&name, "127.0.0.0/8"], world), get(&url)).await.unwrap();
    assert_eq!(answer.body(), "inside");
}

#[tokio::test]
async fn a_name_that_changes_its_address_gains_nothing() {
    let server = Server::start(|_| "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".into()).await;
    let name = format!("a.example:{}", server.address.port());
    let world = Fake::leading_to(&[LOOPBACK]);
    let client = client(&[&name, "127.0.0.1"], world.clone());
    send(&client, get(format!("http://{name}/"))).await.unwrap();
    *world.addresses.lock() = vec!["127.0.0.2".parse().unwrap()];
    refused(send(&client, get(format!("http://{name}/"))).await);
}

#[tokio::test]
async fn a_redirect_is_followed_where_the_list_leads() {
    let server = Server::start(|head| match head {
        head if head.starts_with("GET /a ") => moved(302, "/b"),
        head if head.starts_with("GET /b ") => moved(307, "c?x=1"),
        _ => ok("end"),
    })
    .await;
    let answer = send(&server.client(), get(server.url("/a"))).await.unwrap();
    assert_eq!(answer.body(), "end");
    assert!(server.heads()[2].starts_with("GET /c?x=1 "));
}

#[tokio::test]
async fn a_redirect_is_judged_like_the_first_url() {
    for target in [
        "http://other.example/",
        "http://169.254.169.254/latest/",
        "ftp://a.example/",
        "http://u:p@127.0.0.1/",
    ] {
        let server = Server::start(move |_| moved(302, target)).await;
        refused(send(&server.client(), get(server.url("/"))).await);
    }
    // Listed by name, leading into the network.
    let server = Server::start(|_| moved(302, "http://inside.example/")).await;
    let entries = [&server.address.to_string(), "inside.example"];
    let client = client(&entries, Fake::leading_to(&["10.0.0.1".parse().unwrap()]));
    refused(send(&client, get(server.url("/"))).await);
    assert_eq!(server.heads().len(), 1);
}

#[tokio::test]
async fn the_fourth_redirect_is_not_followed() {
    let server = Server::start(|_| moved(302, "/again")).await;
    refused(send(&server.client(), get(server.url("/"))).await);
    assert_eq!(server.heads().len(), 1 + REDIRECTS);
}

#[tokio::test]
async fn a_redirect_to_another_origin_takes_no_secrets_along() {
    let second = Server::start(|_| ok("")).await;
    let target = second.url("/");
    let first = Server::start(move |_| moved(307, &target)).await;
    let entries = [first.address.to_string(), second.address.to_string()];
    let client = client(&[&entries[0], &entries[1]], Fake::leading_to(&[]));
    let request = with(get(first.url("/")), &["authorization", "cookie", "x-api-key", "accept"]);
    send(&client, request).await.unwrap();
    let (before, after) = (first.heads().remove(0), second.heads().remove(0));
    for secret in ["authorization", "cookie", "x-api-key"] {
        assert!(before.contains(secret) && !after.contains(secret), "{after}");
    }
    assert!(after.contains("accept: value"), "{after}");
}

#[tokio::test]
async fn a_post_that_is_moved_becomes_a_get_unless_the_server_insists() {
    for (status, expected) in [(301, "GET"), (302, "GET"), (303, "GET"), (307, "POST"), (308, "POST")] {
        let server = Server::start(move |head| match head {
            head if head.contains(" /end ") => ok(""),
            _ => moved(status, "/end"),
        })
        .await;
        send(&server.client(), post(server.url("/"), "secret")).await.unwrap();
        let head = server.heads().remove(1);
        assert!(head.starts_with(expected), "{status}: {head}");
        assert_eq!(head.ends_with("secret"), expected == "POST", "{status}: {head}");
    }
}

#[tokio::test]
async fn what_belongs_to_the_host_is_not_for_the_plugin_to_set() {
    let server = Server::start(|_| ok("")).await;
    for name in [
        "host",
        "content-length",
        "connection",
        "transfer-encoding",
        "upgrade",
        "te",
        "trailer",
        "keep-alive",
        "expect",
        "proxy-authorization",
    ] {
        refused(send(&server.client(), with(get(server.url("/")), &[name])).await);
    }
    for method in ["CONNECT", "TRACE", "get", "BREW"] {
        let mut request = get(server.url("/"));
        *request.method_mut() = method.parse().unwrap();
        refused(send(&server.client(), request).await);
    }
    for url in ["/relative", "ftp://127.0.0.1/", "http://user:secret@127.0.0.1/"] {
        refused(send(&server.client(), get(url)).await);
    }
    assert_eq!(server.connections.load(Relaxed), 0);
}

#[tokio::test]
async fn nothing_larger_than_allowed_goes_out() {
    let server = Server::start(|_| ok("")).await;
    let mut headers = get(server.url("/"));
    let value = HeaderValue::from_static("value");
    for _ in 0..=64 {
        headers.headers_mut().append("x", value.clone());
    }
    let body = Request::post(server.url("/"))
        .body(vec![0; (1 << 20) + 1].into())
        .unwrap();
    let requests = [get(server.url(&format!("/{}", "x".repeat(8 << 10)))), headers, body];
    for request in requests {
        let result = send(&server.client(), request).await;
        assert!(matches!(result, Err(Error::TooLarge)), "{result:?}");
    }
    assert_eq!(server.connections.load(Relaxed), 0);
}

#[tokio::test]
async fn an_answer_is_read_no_further_than_allowed() {
    let declared = "HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_owned();
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat((1 << 20) + 1));
    let chunked = format!(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{0}{0}{0}",
        format_args!("80000\r\n{}\r\n", "x".repeat(0x80000))
    );
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(2 * HEAD_BYTES));
    for (what, answer) in [
        ("length", declared),
        ("close", endless),
        ("chunks", chunked),
        ("head", head),
    ] {
        let server = Server::start(move |_| answer.clone()).await;
        let result = send(&server.client(), get(server.url("/"))).await;
        assert!(matches!(result, Err(Error::TooLarge)), "{what}: {result:?}");
    }
    let server = Server::start(|_| ok(&"x".repeat(1 << 20))).await;
    assert_eq!(
        send(&server.client(), get(server.url("/"))).await.unwrap().body().len(),
        1 << 20
    );
}

#[tokio::test(start_paused = true)]
async fn time_covers_the_whole_answer() {
    // Headers at once, then nothing: the clock of the test moves when everybody waits.
    let server = Server::start(|_| "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe".into()).await;
    let started = tokio::time::Instant::now();
    let result = send(&server.client(), get(server.url("/"))).await;
    assert!(matches!(result, Err(Error::Timeout)), "{result:?}");
    assert!(started.elapsed() >= TIME);
}

#[tokio::test]
async fn no_more_than_eight_requests_are_under_way() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let client = client(&[&address.to_string()], Fake::leading_to(&[]));
    let (open, go) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let most = Arc::new(AtomicUsize::new(0));
    let counted = (open.clone(), go.clone(), most.clone());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (open, go, most) = counted.clone();
            tokio::spawn(async move {
                let mut buf = [0; 4096];
                while stream.read(&mut buf).await.is_ok_and(|length| length > 0) {
                    let now = open.fetch_add(1, Relaxed) + 1;
                    most.fetch_max(now, Relaxed);
                    if now == 8 {
                        go.notify_waiters();
                    } else if most.load(Relaxed) < 8 {
                        go.notified().await;
                    }
                    open.fetch_sub(1, Relaxed);
                    stream.write_all(ok("").as_bytes()).await.unwrap();
                }
            });
        }
    });
    let requests = (0..24).map(|_| send(&client, get(format!("http://{address}/"))));
    for result in futures_util::future::join_all(requests).await {
        assert_eq!(result.unwrap().status(), 200);
    }
    assert_eq!(most.load(Relaxed), 8);
}

#[tokio::test]
async fn a_queue_that_is_full_is_said_at_once() {
    let count = AtomicUsize::new(0);
    let first = Waiting::enter(&count, 1).unwrap();
    assert!(Waiting::enter(&count, 1).is_none());
    drop(first);
    assert!(Waiting::enter(&count, 1).is_some());
}

#[tokio::test]
async fn a_host_that_does_not_answer_is_told_from_one_that_speaks_something_else() {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let result = send(
        &client(&[&address.to_string()], Fake::leading_to(&[])),
        get(format!("http://{address}/")),
    )
    .await;
    refused(result);
    let server = Server::start(|_| "SSH-2.0-nope\r\n\r\n".into()).await;
    let result = send(&server.client(), get(server.url("/"))).await;
    assert!(matches!(result, Err(Error::Other(_))), "{result:?}");
}

#[tokio::test]
async fn the_other_side_has_to_prove_who_it_is() {
    let folder = Folder::new();
    let fingerprint = folder.renew("a.example");
    let identity = folder.load().unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(identity.server_config(&[]).unwrap());
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut buf = [0; 4096];
            let _ = stream.read(&mut buf).await;
            let _ = stream.write_all(moved(302, "http://a.example/").as_bytes()).await;
        }
    });
    let url = format!("https://a.example:{}/", address.port());
    let entries = [&format!("a.example:{}", address.port()), "127.0.0.1", "a.example"];
    let ask = |fingerprint| {
        let world = Fake {
            addresses: Mutex::new(vec![LOOPBACK]),
            fingerprint,
            ..Fake::default()
        };
        let client = client(&entries, Arc::new(world));
        let url = url.clone();
        async move { send(&client, get(url)).await }
    };
    for nobody in [None, Some([0; 32])] {
        let result = ask(nobody).await;
        assert!(matches!(result, Err(Error::Tls(_))), "{result:?}");
    }
    // Believed, so the answer is read: it leads from https to http.
    let result = ask(Some(fingerprint)).await;
    assert!(
        matches!(result, Err(Error::Refused(what)) if what.contains("https")),
        "{result:?}"
    );
}

//! What a load balancer in front of the server says about its clients, by the PROXY protocol.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

use serde_json::Value as Json;

use crate::harness::{OPEN, PATIENCE, Server, until};

/// Says this to a server, and leaves the connection open.
fn say(address: SocketAddr, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket of ours");
    stream.write_all(text.as_bytes()).expect("the server takes requests");
    stream
}

/// Where a server sees a client that a proxy announces like this.
fn seen(server: &Server, key: &str, list: &str, hello: &str) -> Json {
    let _client = say(
        server.address(key),
        &format!("PROXY TCP4 192.0.2.7 192.0.2.1 5000 8554\r\n{hello}"),
    );
    until("the connection is listed", || {
        let conns = server.api(list);
        conns["items"].get(0).map(|conn| conn["remoteAddr"].clone())
    })
}

const OPTIONS: &str = "OPTIONS rtsp://localhost/ RTSP/1.0\r\nCSeq: 1\r\n\r\n";

#[test]
fn a_trusted_proxy_says_who_an_rtsp_client_is() {
    let server = Server::start(&format!("rtspTrustedProxies: [127.0.0.0/8]\n{OPEN}"));
    assert_eq!(
        seen(&server, "rtspAddress", "rtspconns/list", OPTIONS),
        "192.0.2.7:5000"
    );
    // Whoever announces nobody is itself.
    let client = say(server.address("rtspAddress"), OPTIONS);
    let own = client.local_addr().expect("an address").to_string();
    until("the other connection is listed", || {
        let conns = server.api("rtspconns/list");
        let conns = conns["items"].as_array().expect("a list").clone();
        conns
            .iter()
            .any(|conn| conn["remoteAddr"] == own.as_str())
            .then_some(())
    });
}

#[test]
fn nobody_else_may_say_so() {
    let server = Server::start(OPEN);
    let text = format!("PROXY TCP4 192.0.2.7 192.0.2.1 5000 8554\r\n{OPTIONS}");
    let mut client = say(server.address("rtspAddress"), &text);
    let mut answer = String::new();
    // It is no RTSP: the server may say so, and closes.
    let _ = client.read_to_string(&mut answer);
    assert!(!answer.contains("200 OK"), "{answer}");
    assert!(!server.log().contains("192.0.2.7"));
}

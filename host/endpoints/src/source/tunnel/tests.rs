//! The relay's translation, without sockets.

use wasmtx_protocol::rtsp::{Method, Response, auth::Secret};

use super::*;

const PREFIX: &str = "rtsp://127.0.0.1:4711/token";

fn relay(password: Option<&str>) -> Relay {
    let login = password.map(|password| Login::new("user", Secret::new(password)));
    Relay::new(PREFIX.to_owned(), "rtsps://camera:322".to_owned(), login)
}

fn request(method: Method, url: &str) -> Item {
    let mut request = Request::new(method, url);
    request.headers.push("CSeq", "1");
    Item::Request(request)
}

/// What the server hears when the client says this.
fn heard(relay: &mut Relay, item: Item) -> io::Result<Request> {
    let mut out = BytesMut::new();
    relay.handle_client(item, &mut out)?;
    parse(&mut out)
}

fn parse(bytes: &mut BytesMut) -> io::Result<Request> {
    match Decoder::new().decode(bytes) {
        Ok(Some(Item::Request(request))) => Ok(request),
        other => Err(io::Error::other(format!("{other:?}"))),
    }
}

/// A server's response: what the client hears, and what the server is sent again.
fn answer(relay: &mut Relay, response: Response) -> (BytesMut, BytesMut) {
    let (mut out, mut again) = (BytesMut::new(), BytesMut::new());
    relay
        .handle_server(Item::Response(response), &mut out, &mut again)
        .unwrap();
    (out, again)
}

fn challenge() -> Response {
    let mut response = Response::new(Status::UNAUTHORIZED);
    response.headers.push("CSeq", "1");
    response
        .headers
        .push("WWW-Authenticate", r#"Digest realm="r", nonce="n""#);
    response
}

#[test]
fn requests_name_the_real_server() {
    let mut relay = relay(None);
    let seen = heard(&mut relay, request(Method::Describe, &format!("{PREFIX}/cam?a=b"))).unwrap();
    assert_eq!(seen.url, "rtsps://camera:322/cam?a=b");
    assert_eq!(seen.headers.get("CSeq"), Some("1"));
    let seen = heard(&mut relay, request(Method::Setup, "rtsps://camera/cam/trackID=0")).unwrap();
    assert_eq!(
        seen.url, "rtsps://camera/cam/trackID=0",
        "a URL that the server itself has given"
    );
}

#[test]
fn who_does_not_know_the_token_is_cut_off() {
    let data = bytes::Bytes::from_static(b"x");
    for item in [
        request(Method::Describe, "rtsp://127.0.0.1:4711/cam"),
        request(Method::Options, "*"),
        Item::Frame { channel: 0, data },
    ] {
        assert!(heard(&mut relay(None), item).is_err());
    }
}

#[test]
fn a_challenge_is_answered_for_the_real_url_and_only_once() {
    let mut relay = relay(Some("secret"));
    let first = heard(&mut relay, request(Method::Describe, &format!("{PREFIX}/cam"))).unwrap();
    assert_eq!(first.headers.get("Authorization"), None);
    let (to_client, mut again) = answer(&mut relay, challenge());
    assert!(to_client.is_empty(), "the client never sees it");
    let second = parse(&mut again).unwrap();
    assert_eq!(
        (second.method, second.url.as_str()),
        (Method::Describe, "rtsps://camera:322/cam")
    );
    assert!(
        second
            .headers
            .get("Authorization")
            .unwrap()
            .contains(r#"uri="rtsps://camera:322/cam""#)
    );
    let (to_client, again) = answer(&mut relay, challenge());
    assert!(again.is_empty());
    assert!(to_client.starts_with(b"RTSP/1.0 401"));
}

#[test]
fn later_requests_are_signed_at_once() {
    let mut relay = relay(Some("secret"));
    heard(&mut relay, request(Method::Describe, &format!("{PREFIX}/cam"))).unwrap();
    answer(&mut relay, challenge());
    answer(&mut relay, Response::new(Status::OK));
    let setup = heard(&mut relay, request(Method::Setup, &format!("{PREFIX}/cam/trackID=0"))).unwrap();
    assert!(setup.headers.get("Authorization").unwrap().contains("trackID=0"));
}

#[test]
fn without_credentials_a_challenge_goes_to_the_client() {
    let mut relay = relay(None);
    heard(&mut relay, request(Method::Describe, &format!("{PREFIX}/cam"))).unwrap();
    assert!(answer(&mut relay, challenge()).0.starts_with(b"RTSP/1.0 401"));
}

#[test]
fn frames_pass_as_they_are() {
    let (mut out, mut again) = (BytesMut::new(), BytesMut::new());
    let frame = Item::Frame {
        channel: 3,
        data: bytes::Bytes::from_static(b"abc"),
    };
    relay(None).handle_server(frame, &mut out, &mut again).unwrap();
    assert_eq!(&out[..], b"$\x03\0\x03abc");
}

//! RTSP's grammars: messages, interleaved frames, headers, credentials, URLs, SDP.

use std::fmt::{Debug, Display};

use bytes::BytesMut;
use wasmtx_protocol::rtsp::auth::{Authorization, Challenge, Credentials, Digest};
use wasmtx_protocol::rtsp::headers::{Range, RtpInfo, Session};
use wasmtx_protocol::rtsp::transport::{MAX_ALTERNATIVES, Transport};
use wasmtx_protocol::rtsp::{Decoder, Error, Item, Method, Url, message, sdp};

/// Everything that comes out of a byte stream, and how it ended.
fn decode(pieces: &[&[u8]]) -> (Vec<Item>, Result<(), Error>) {
    let (mut decoder, mut input, mut items) = (Decoder::new(), BytesMut::new(), Vec::new());
    for piece in pieces {
        input.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut input) {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Err(error)),
            }
        }
    }
    (items, Ok(()))
}

/// F01, F02: what is printed parses to the same.
pub(crate) fn message(data: &[u8]) {
    let whole = decode(&[data]);
    for item in &whole.0 {
        let bytes = match item {
            Item::Request(request) => {
                assert!(request.headers.len() <= message::MAX_HEADERS && request.body.len() <= message::MAX_BODY);
                request.to_bytes()
            }
            Item::Response(response) => {
                assert!(response.headers.len() <= message::MAX_HEADERS && response.body.len() <= message::MAX_BODY);
                response.to_bytes()
            }
            Item::Frame { .. } => continue,
        };
        assert_eq!(decode(&[&bytes]), (vec![item.clone()], Ok(())));
    }
    split(data, &whole);
}

/// F06: the first byte chooses how the rest is split; the same comes out.
pub(crate) fn framer(data: &[u8]) {
    let Some((step, data)) = data.split_first() else { return };
    let whole = decode(&[data]);
    let pieces: Vec<&[u8]> = data.chunks(usize::from(*step).max(1)).collect();
    assert_eq!(decode(&pieces), whole);
    let total: usize = whole
        .0
        .iter()
        .map(|item| {
            if let Item::Frame { data, .. } = item {
                data.len()
            } else {
                0
            }
        })
        .sum();
    assert!(total <= data.len());
}

fn split(data: &[u8], whole: &(Vec<Item>, Result<(), Error>)) {
    let single: Vec<&[u8]> = data.chunks(1).collect();
    assert_eq!(decode(&single), *whole);
    let (front, back) = data.split_at(data.len() / 2);
    assert_eq!(decode(&[front, back]), *whole);
}

fn round_trip<T: Display + Debug + PartialEq>(value: &T, parse: impl Fn(&str) -> Result<T, Error>) {
    let printed = value.to_string();
    assert_eq!(parse(&printed).as_ref(), Ok(value), "{printed}");
}

/// F03
pub(crate) fn transport(data: &[u8]) {
    let Ok(list) = Transport::parse_list(&String::from_utf8_lossy(data)) else {
        return;
    };
    assert!(list.len() <= MAX_ALTERNATIVES);
    if !list.is_empty() {
        assert_eq!(Transport::parse_list(&Transport::write_list(&list)), Ok(list));
    }
}

/// F04
pub(crate) fn auth(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(authorization) = Authorization::parse(&text) {
        round_trip(&authorization, Authorization::parse);
    }
    for challenge in Challenge::parse_list(&text).unwrap_or_default() {
        let printed = challenge.to_string();
        assert_eq!(Challenge::parse_list(&printed), Ok(vec![challenge]), "{printed}");
    }
}

/// F05
pub(crate) fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    if let Ok(session) = Session::parse(&text) {
        round_trip(&session, Session::parse);
    }
    if let Ok(range) = Range::parse(&text) {
        round_trip(&range, Range::parse);
    }
    if let Ok(list) = RtpInfo::parse_list(&text) {
        assert_eq!(RtpInfo::parse_list(&RtpInfo::write_list(&list)), Ok(list));
    }
}

/// Nothing but a decoded path comes out: what is cut off is cut off for good.
pub(crate) fn url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(mut url) = Url::parse(&text) else { return };
    assert!(!url.path.contains('?') && !url.authority.contains('@'));
    let _ = url.decoded_path();
    let base = url.path.trim_matches('/').to_owned();
    assert!(url.control_below(&base).is_some());
    let before = url.path.len() + url.query.len();
    if url.take_track().is_some() {
        assert!(url.path.len() + url.query.len() < before);
    }
}

/// F45: a digest that proves a password proves it only as it is.
pub(crate) fn digest(data: &[u8]) {
    const VALID: &str = "Digest username=\"joe\", realm=\"wasmtx\", nonce=\"0123456789abcdef\", \
        uri=\"rtsp://h/live/cam\", response=\"0f8e580f177af7e265acf0b33c7d8bd1\"";
    let Ok(Authorization::Digest(digest)) = Authorization::parse(&String::from_utf8_lossy(data)) else {
        return;
    };
    let signed = Digest {
        method: Method::Describe.name().to_owned(),
        ..digest.clone()
    };
    if Credentials::with_digest(signed).matches("joe", "secret") {
        let Ok(Authorization::Digest(valid)) = Authorization::parse(VALID) else {
            panic!("the seed is valid")
        };
        // The text may be written in other ways; what was hashed may not be another.
        assert_eq!(
            (digest.user, digest.realm, digest.nonce, digest.uri),
            (valid.user, valid.realm, valid.nonce, valid.uri)
        );
    }
}

/// F07
pub(crate) fn sdp(data: &[u8]) {
    let Ok(session) = sdp::Session::parse(data) else { return };
    assert!(session.medias.len() <= sdp::MAX_MEDIAS);
    for format in session.medias.iter().flat_map(|media| &media.formats) {
        assert!(format.clock_rate != 0 && format.payload_type <= 127 && format.channels != 0);
    }
    let printed = session.to_string();
    if printed.len() <= sdp::MAX_SDP {
        assert_eq!(
            sdp::Session::parse(printed.as_bytes()).as_ref(),
            Ok(&session),
            "{printed}"
        );
    }
}

//! The decoder on whole streams, split ones and broken ones.

use super::*;

/// Decodes everything that is there; what is left over stays in `input`.
fn decode_all(input: &mut BytesMut) -> Result<Vec<Item>, Error> {
    let mut decoder = Decoder::new();
    let mut items = Vec::new();
    while let Some(item) = decoder.decode(input)? {
        items.push(item);
    }
    Ok(items)
}

fn check(bytes: &[u8]) -> Result<Vec<Item>, Error> {
    let mut input = BytesMut::from(bytes);
    let items = decode_all(&mut input)?;
    assert!(input.is_empty(), "left over: {}", input.escape_ascii());
    Ok(items)
}

fn request(bytes: &[u8]) -> Request {
    match check(bytes).expect("well-formed").pop() {
        Some(Item::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

const STREAM: &[u8] =
    b"\r\nANNOUNCE rtsp://h/a?b c RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 5\r\nX:  two words \t\r\n\r\nhello\
    $\x00\x00\x03abc$\x01\x00\x00RTSP/1.0 200 OK\nCSeq: 1\n\nOPTIONS * RTSP/1.0\r\n\r\n";

#[test]
fn requests_responses_and_frames_come_out_in_their_order() {
    let items = check(STREAM).unwrap();
    let [
        Item::Request(announce),
        Item::Frame { channel: 0, data },
        Item::Frame {
            channel: 1,
            data: empty,
        },
        rest @ ..,
    ] = &items[..]
    else {
        panic!("{items:?}")
    };
    assert_eq!(
        (announce.method.clone(), announce.url.as_str()),
        (Method::Announce, "rtsp://h/a?b c")
    );
    assert_eq!(
        (announce.headers.get("x"), &announce.body[..]),
        (Some("two words"), &b"hello"[..])
    );
    assert_eq!(
        announce.headers.get("content-length"),
        None,
        "the framing's header is not passed on"
    );
    assert_eq!((&data[..], &empty[..]), (&b"abc"[..], &b""[..]));
    let [Item::Response(response), Item::Request(options)] = rest else {
        panic!("{rest:?}")
    };
    assert_eq!((response.status, response.phrase.as_str()), (Status::OK, "OK"));
    assert_eq!((options.method.clone(), options.url.as_str()), (Method::Options, "*"));
}

#[test]
fn any_split_gives_the_same_items() {
    let whole = check(STREAM).unwrap();
    for at in 0..=STREAM.len() {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::new();
        let mut items = Vec::new();
        for piece in [&STREAM[..at], &STREAM[at..]] {
            input.extend_from_slice(piece);
            while let Some(item) = decoder.decode(&mut input).unwrap() {
                items.push(item);
            }
        }
        assert_eq!(items, whole, "split at {at}");
    }
}

#[test]
fn every_truncation_waits_for_more() {
    for end in 0..STREAM.len() {
        let mut input = BytesMut::from(&STREAM[..end]);
        assert!(decode_all(&mut input).is_ok(), "cut at {end}");
    }
}

#[test]
fn a_packet_is_cut_out_of_the_input_and_not_copied() {
    let mut input = BytesMut::from(&b"$\x07\x00\x04abcd"[..]);
    let place = input[FRAME_HEADER..].as_ptr();
    let Ok(Some(Item::Frame { channel: 7, data })) = Decoder::new().decode(&mut input) else {
        panic!("no frame")
    };
    assert_eq!(data.as_ptr(), place);
}

#[test]
fn what_is_printed_parses_to_the_same() {
    for item in check(STREAM).unwrap() {
        let bytes = match &item {
            Item::Request(request) => request.to_bytes(),
            Item::Response(response) => response.to_bytes(),
            Item::Frame { .. } => continue,
        };
        assert_eq!(check(&bytes).unwrap(), [item]);
    }
}

#[test]
fn broken_heads_are_named() {
    for (bytes, error) in [
        (&b"\x16\x03\x01"[..], Error::StartLine),
        (b"OPTIONS\r\n\r\n", Error::StartLine),
        (b"OPTIONS *\r\n\r\n", Error::StartLine),
        (b"OP(TIONS * RTSP/1.0\r\n\r\n", Error::StartLine),
        (b"OPTIONS \x07 RTSP/1.0\r\n\r\n", Error::StartLine),
        (b"RTSP/1.0 OK\r\n\r\n", Error::StartLine),
        (b"RTSP/2.0 200 OK\r\n\r\n", Error::Version),
        (b"OPTIONS * RTSP/2.0\r\n\r\n", Error::Version),
        (b"GET / HTTP/1.1\r\n\r\n", Error::Version),
        (b"OPTIONS * RTSP/1.0\r\nCSeq 1\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\n: 1\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n folded: 2\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\t2\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nCS\xffeq: 1\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nX: a\x00b\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nX: a\rb\r\n\r\n", Error::Header),
        (b"OPTIONS * RTSP/1.0\r\nContent-Length:\r\n\r\n", Error::ContentLength),
        (
            b"OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n",
            Error::ContentLength,
        ),
        (
            b"OPTIONS * RTSP/1.0\r\nContent-Length: +1\r\n\r\n",
            Error::ContentLength,
        ),
        (
            b"OPTIONS * RTSP/1.0\r\nContent-Length: 0\r\ncontent-length: 0\r\n\r\n",
            Error::ContentLength,
        ),
        (
            b"OPTIONS * RTSP/1.0\r\nContent-Length: 65537\r\n\r\n",
            Error::BodyTooLarge,
        ),
        (
            b"OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999999999999999\r\n\r\n",
            Error::BodyTooLarge,
        ),
    ] {
        assert_eq!(check(bytes), Err(error), "{}", bytes.escape_ascii());
    }
}

#[test]
fn bounds_hold_to_the_byte() {
    let head = |middle: &str| format!("OPTIONS * RTSP/1.0\r\n{middle}\r\n").into_bytes();
    let value = |length: usize| head(&format!("X: {}\r\n", "a".repeat(length)));
    let key = |length: usize| head(&format!("{}: 1\r\n", "a".repeat(length)));
    let count = |number: usize| head(&"X: 1\r\n".repeat(number));
    let url = |length: usize| format!("OPTIONS {} RTSP/1.0\r\n\r\n", "a".repeat(length)).into_bytes();
    let around = "OPTIONS  RTSP/1.0".len();
    for (fits, breaks) in [
        (value(MAX_LINE), value(MAX_LINE + 1)),
        (key(MAX_KEY), key(MAX_KEY + 1)),
        (count(MAX_HEADERS), count(MAX_HEADERS + 1)),
        (url(MAX_LINE - around), url(MAX_LINE - around + 1)),
    ] {
        assert!(check(&fits).is_ok());
        assert_eq!(check(&breaks), Err(Error::HeadTooLarge));
    }
    let body = |length: usize| {
        let mut bytes = format!("OPTIONS * RTSP/1.0\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + length, b'x');
        bytes
    };
    assert_eq!(request(&body(MAX_BODY)).body.len(), MAX_BODY);
    assert_eq!(check(&body(MAX_BODY + 1)), Err(Error::BodyTooLarge));
}

#[test]
fn endless_lines_and_heads_cost_no_more_than_their_bound() {
    let long = "X: a\r\n".repeat(20_000);
    for endless in [
        "OPTIONS ".to_owned() + &"a".repeat(1 << 20),
        format!("OPTIONS * RTSP/1.0\r\n{long}"),
    ] {
        let mut decoder = Decoder::new();
        let mut input = BytesMut::new();
        let mut fed = 0;
        let error = endless.as_bytes().chunks(1000).find_map(|chunk| {
            input.extend_from_slice(chunk);
            fed += chunk.len();
            decoder.decode(&mut input).err()
        });
        assert_eq!(error, Some(Error::HeadTooLarge));
        assert!(fed <= MAX_HEAD + 1000, "{fed}");
    }
}

#[test]
fn a_blank_before_the_colon_is_forgiven() {
    assert_eq!(
        request(b"OPTIONS * RTSP/1.0\r\nCSeq : 7\r\n\r\n").headers.get("CSEQ"),
        Some("7")
    );
}

#[test]
fn what_is_next_is_known_without_taking_it() {
    let decoder = Decoder::new();
    assert!(decoder.frame_is_next(&BytesMut::from(&b"\r\n$"[..])));
    assert!(!decoder.frame_is_next(&BytesMut::from(&b"\r\n"[..])));
    assert!(!decoder.frame_is_next(&BytesMut::from(&b"OPTIONS"[..])));
}

#[test]
fn a_header_cannot_end_its_line() {
    let mut request = Request::new(Method::Options, "*");
    request.headers.push("X", "a\r\nY: b");
    let read = self::request(&request.to_bytes());
    assert_eq!((read.headers.len(), read.headers.get("x")), (1, Some("aY: b")));
}

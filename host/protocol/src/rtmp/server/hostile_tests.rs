//! What strangers send who want the server to fall over. Other servers did.

use bytes::BytesMut;

use super::tests::START;
use super::*;
use crate::rtmp::amf0::{self, Value, object};

/// A header of format 0.
fn head(id: u8, length: usize, kind: u8) -> Vec<u8> {
    let mut header = vec![id, 0, 0, 0];
    header.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    header.push(kind);
    header.extend([0; 4]);
    header
}

/// A message in chunks of the size that holds before any other was announced.
fn message(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let payload = payload.to_vec().into();
    Writer::default().write(kind, 0, 1, payload).unwrap().to_vec()
}

fn call(name: &str, arguments: &[Value]) -> Vec<u8> {
    let mut payload = amf0::write(&[name.into(), 1.0.into()]);
    payload.extend(amf0::write(arguments));
    message(Kind::Command, &payload)
}

/// How a connection ends that is fed this until it is over, and how many bytes of it were read. Whatever comes, a
/// stranger holds no more than 128 KiB.
fn feed<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Option<Reason>, u64) {
    let read_timeout = Duration::from_secs(10);
    let mut machine = Connection::greeted(*START, Config { read_timeout });
    for piece in pieces {
        machine.handle_input(*START, &mut BytesMut::from(piece));
        loop {
            match machine.poll() {
                Output::Close(reason) => return (Some(reason), machine.reader.consumed()),
                Output::WaitUntil(_) => break,
                Output::Send(_) => {}
                Output::Event(event) => panic!("{event:?}"),
            }
        }
        machine.reader.check_invariants();
        assert!(machine.input.len() <= 128 << 10);
    }
    (None, machine.reader.consumed())
}

#[track_caller]
fn is_refused(bytes: &[u8], error: Error) {
    assert_eq!(feed([bytes]).0, Some(Reason::Malformed(error)));
    let in_pieces = feed(bytes.chunks(1000)).0;
    assert_eq!(in_pieces, Some(Reason::Malformed(error)));
}

#[test]
fn a_message_that_shrinks_while_it_comes_is_refused() {
    let bytes = [head(4, 200, 9), vec![1; 128], head(4, 10, 9), vec![2; 10]].concat();
    is_refused(&bytes, Error::HeaderChanged);
}

#[test]
fn values_nested_sixteen_thousand_deep_are_refused() {
    for opening in [&b"\x0a\0\0\0\x01"[..], b"\x03\0\x01a", b"\x08\0\0\0\0\0\x01a"] {
        for kind in [Kind::Command, Kind::Data] {
            is_refused(&message(kind, &opening.repeat(16_000)), Error::AmfDepth);
        }
        let in_amf3 = [vec![0], opening.repeat(16_000)].concat();
        is_refused(&message(Kind::Command3, &in_amf3), Error::AmfDepth);
    }
}

#[test]
fn a_huge_chunk_size_is_refused() {
    for size in [0x7fff_ffff_u32, 1 << 24, (1 << 20) + 1, 0] {
        is_refused(&message(Kind::ChunkSize, &size.to_be_bytes()), Error::ChunkSize);
    }
}

#[test]
fn chunk_streams_that_take_turns_do_not_mix() {
    let connect = call("connect", &[object([("app", "a".repeat(200).as_str().into())])]);
    let begun = [head(7, 200, 9), vec![1; 128]].concat();
    let (start, rest) = connect.split_at(12 + 128);
    let bytes = [start, &begun, rest, &[0xc7], &[1; 72]].concat();
    assert_eq!(feed([&bytes[..]]), (None, bytes.len() as u64));
}

#[test]
fn commands_of_fewer_than_three_values_are_refused_or_mean_nothing() {
    is_refused(&message(Kind::Command, b"\x02\0\x03foo"), Error::Command);
    is_refused(
        &message(Kind::Command, b"\x02\0\x07connect\0\0\0\0\0\0\0\0\0"),
        Error::Command,
    );
    let connect = call("connect", &[object([])]);
    for name in ["pause", "deleteStream", "createStream", "_result", "onStatus"] {
        let bytes = [connect.clone(), call(name, &[])].concat();
        assert_eq!(feed([&bytes[..]]).0, None, "{name}");
    }
}

#[test]
fn metadata_that_is_none_means_nothing() {
    let alone = amf0::write(&["@setDataFrame".into()]);
    let named = amf0::write(&["@setDataFrame".into(), "onMetaData".into()]);
    for payload in [&alone, &named] {
        assert_eq!(feed([&message(Kind::Data, payload)[..]]).0, None);
    }
}

#[test]
fn sixteen_megabytes_of_nulls_are_refused_at_their_header() {
    let bytes = message(Kind::Data, &vec![5; 16_000_000]);
    let (reason, read) = feed(bytes.chunks(65_536));
    assert_eq!((reason, read), (Some(Reason::Malformed(Error::MessageTooLarge)), 0));
    // As many as a stranger may send at once.
    is_refused(&message(Kind::Data, &vec![5; 128 << 10]), Error::AmfValues);
}

#[test]
fn half_a_giant_message_is_not_kept() {
    let bytes = [head(3, 0xff_ffff, 20), vec![0; 100_000]].concat();
    is_refused(&bytes, Error::MessageTooLarge);
}

#[test]
fn half_a_million_calls_end_soon() {
    const CALLS: usize = 500_000;
    let connect = call("connect", &[object([("app", "a".into())])]);
    let create = call("createStream", &[Value::Null]);
    let (connect_length, create_length) = (connect.len() as u64, create.len() as u64);

    let (reason, read) = feed(std::iter::repeat_n(&connect[..], CALLS));
    assert_eq!(reason, Some(Reason::Malformed(Error::Command)));
    assert_eq!(read, 2 * connect_length);

    let (reason, read) = feed(std::iter::once(&connect[..]).chain(std::iter::repeat_n(&create[..], CALLS)));
    assert_eq!(reason, Some(Reason::Flood));
    assert_eq!(
        read,
        connect_length + u64::from(MAX_MESSAGES_BEFORE_LOGIN) * create_length
    );
}

#[test]
fn many_parts_of_an_aggregate_are_many_messages() {
    let part = [vec![8], vec![0; 10], vec![0, 0, 0, 11]].concat();
    let bytes = message(Kind::Aggregate, &part.repeat(8_000));
    assert_eq!(feed([&bytes[..]]).0, Some(Reason::Flood));
}

#[test]
fn strings_that_end_early_are_refused_and_rare_values_are_not() {
    let connect = call("connect", &[object([])]);
    let with = |value: &[u8]| {
        let payload = [&amf0::write(&["call".into(), 2.0.into()])[..], value].concat();
        [connect.clone(), message(Kind::Command, &payload)].concat()
    };
    is_refused(&with(b"\x02\xff\xffabc"), Error::AmfTruncated);
    is_refused(&with(b"\x11\x0a\x0b\x01"), Error::Amf3);
    for value in [&b"\x0c\0\0\0\x03abc"[..], b"\x0b\0\0\0\0\0\0\0\0\0\0", b"\x07\0\x01"] {
        assert_eq!(feed([&with(value)[..]]).0, None);
    }
}

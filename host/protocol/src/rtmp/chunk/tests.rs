use bytes::{Bytes, BytesMut};
use rml_rtmp::chunk_io::ChunkDeserializer;

use super::*;
use crate::rtmp::Error;
use crate::rtmp::message::{Kind, Message};

/// A header of format 0.
fn head(id: u8, time: u32, length: usize, kind: u8, stream: u32) -> Vec<u8> {
    let mut header = vec![id];
    header.extend(&time.to_be_bytes()[1..]);
    header.extend(&u32::try_from(length).unwrap().to_be_bytes()[1..]);
    header.push(kind);
    header.extend(stream.to_le_bytes());
    header
}

fn chunk_size(size: u32) -> Vec<u8> {
    [head(2, 0, 4, 1, 0), size.to_be_bytes().to_vec()].concat()
}

/// Reads it in pieces of this many bytes.
fn read_in(mut reader: Reader, bytes: &[u8], piece: usize) -> Result<Vec<Message>, Error> {
    let mut input = BytesMut::new();
    let mut messages = Vec::new();
    for piece in bytes.chunks(piece) {
        input.extend_from_slice(piece);
        while let Some(message) = reader.read(&mut input)? {
            reader.check_invariants();
            messages.push(message);
        }
        reader.check_invariants();
    }
    Ok(messages)
}

/// Kind, time and payload of every message; the same however the bytes are split.
#[track_caller]
fn read(bytes: &[u8]) -> Result<Vec<(Kind, u32, Vec<u8>)>, Error> {
    let whole = read_in(Reader::new(), bytes, usize::MAX);
    for piece in [1, 2, 3, 7, 100] {
        assert_eq!(read_in(Reader::new(), bytes, piece), whole, "in pieces of {piece}");
    }
    let parts = |message: Message| (message.kind, message.timestamp, message.payload.to_vec());
    whole.map(|messages| messages.into_iter().map(parts).collect())
}

fn times(bytes: &[u8]) -> Vec<u32> {
    read(bytes).unwrap().into_iter().map(|(_, time, _)| time).collect()
}

#[test]
fn what_was_written_is_read_at_any_chunk_size() {
    for size in [1, 100, DEFAULT_CHUNK_SIZE, 4096, CHUNK_SIZE, MAX_CHUNK_SIZE] {
        let mut writer = Writer::default();
        let mut bytes = writer.resize(size).to_vec();
        let mut sent = Vec::new();
        for (index, length) in [1, 127, 128, 129, 300, 70_000].into_iter().enumerate() {
            let kind = [Kind::Audio, Kind::Video, Kind::Data, Kind::Command][index % 4];
            let time = [0, 40, 0x00ff_fffe, 0x00ff_ffff, 0x0100_0000, u32::MAX][index];
            let payload = Bytes::from(vec![index as u8 + 1; length]);
            bytes.extend(writer.write(kind, time, 1, payload.clone()).unwrap());
            sent.push(Message {
                kind,
                timestamp: time,
                stream: 1,
                payload,
            });
        }
        for piece in [usize::MAX, 1000, 1] {
            assert_eq!(read_in(Reader::new(), &bytes, piece), Ok(sent.clone()));
        }
    }
}

#[test]
fn a_player_may_join_at_any_message_of_a_shared_writer() {
    let mut shared = Writer::new(4096);
    let frames: Vec<Bytes> = (0..10u32)
        .map(|n| {
            let payload = Bytes::from(vec![n as u8; 10_000]);
            shared
                .write(Kind::Video, 0xff_fff0 + 40 * n, MEDIA_STREAM, payload)
                .unwrap()
        })
        .collect();
    for start in 0..frames.len() {
        let mut own = Writer::default();
        let mut bytes = own.resize(4096).to_vec();
        for frame in &frames[start..] {
            bytes.extend_from_slice(frame);
            bytes.extend(own.control(Kind::Acknowledgement, 1));
        }
        let messages = read_in(Reader::new(), &bytes, usize::MAX).unwrap();
        let video: Vec<_> = messages.iter().filter(|message| message.kind == Kind::Video).collect();
        assert_eq!(video.len(), 10 - start);
        for (n, message) in (start..).zip(video) {
            assert_eq!(message.timestamp, 0xff_fff0 + 40 * n as u32);
            assert_eq!(message.payload, vec![n as u8; 10_000]);
        }
    }
}

#[test]
fn another_reader_understands_the_writer() {
    let mut writer = Writer::new(1000);
    let mut reader = ChunkDeserializer::new();
    reader.set_max_chunk_size(1000).unwrap();
    for (time, length) in [
        (0, 10),
        (20, 999),
        (40, 1000),
        (60, 1001),
        (80, 50_000),
        (0x0100_0000, 3_000),
    ] {
        let payload = vec![7; length];
        let bytes = writer.write(Kind::Audio, time, 1, payload.clone().into()).unwrap();
        let message = reader.get_next_message(&bytes).unwrap().unwrap();
        assert_eq!((message.timestamp.value, message.type_id), (time, 8));
        assert_eq!(message.data, payload);
    }
}

#[test]
fn an_empty_message_is_no_chunk_and_a_giant_one_is_refused() {
    let mut writer = Writer::default();
    assert_eq!(writer.write(Kind::Audio, 0, 1, Bytes::new()), Ok(Bytes::new()));
    let giant = Bytes::from(vec![0; 1 << 24]);
    assert_eq!(writer.write(Kind::Audio, 0, 1, giant), Err(Error::MessageTooLarge));
}

#[test]
fn a_message_within_one_chunk_is_a_slice_of_the_input() {
    let mut input = BytesMut::from(&[head(4, 0, 3, 9, 1), b"abc".to_vec()].concat()[..]);
    let place = input[12..].as_ptr();
    let message = Reader::new().read(&mut input).unwrap().unwrap();
    assert_eq!(message.payload.as_ptr(), place);
}

#[test]
fn differences_add_up_and_wrap() {
    let bytes = [
        head(4, 1000, 1, 9, 1),
        b"a".to_vec(),
        b"\x44\0\0\x28\0\0\x01\x09b".to_vec(),
        b"\x84\0\0\x0ac".to_vec(),
        b"\xc4d".to_vec(),
        // The difference after an absolute time is that time.
        head(4, 5, 1, 9, 1),
        b"e".to_vec(),
        b"\xc4f".to_vec(),
    ];
    assert_eq!(times(&bytes.concat()), [1000, 1040, 1050, 1060, 5, 10]);

    let late = [
        head(4, 0xff_ffff, 1, 9, 1),
        b"\xff\xff\xff\xf0a".to_vec(),
        b"\x84\0\0\x20b".to_vec(),
    ];
    assert_eq!(times(&late.concat()), [0xffff_fff0, 0x10]);
}

#[test]
fn extended_times_are_read_whether_repeated_or_not() {
    let time = 0x0123_4567_u32.to_be_bytes().to_vec();
    let first = [head(4, 0xff_ffff, 300, 9, 1), time.clone(), vec![1; 128]].concat();
    let repeated = [
        first.clone(),
        vec![0xc4],
        time.clone(),
        vec![2; 128],
        vec![0xc4],
        time,
        vec![3; 44],
    ];
    let bare = [first, vec![0xc4], vec![2; 128], vec![0xc4], vec![3; 44]];
    let expected = [vec![1; 128], vec![2; 128], vec![3; 44]].concat();
    for bytes in [repeated.concat(), bare.concat()] {
        assert_eq!(read(&bytes), Ok(vec![(Kind::Video, 0x0123_4567, expected.clone())]));
    }
}

#[test]
fn an_extended_difference_is_one() {
    let bytes = [
        head(4, 100, 1, 9, 1),
        b"a".to_vec(),
        b"\x44\xff\xff\xff\0\0\x01\x09\x01\0\0\0b".to_vec(),
        b"\xc4\x01\0\0\0c".to_vec(),
    ];
    assert_eq!(times(&bytes.concat()), [100, 0x0100_0064, 0x0200_0064]);
}

#[test]
fn chunk_streams_may_take_turns() {
    let bytes = [
        head(4, 0, 200, 9, 1),
        vec![0xaa; 128],
        head(5, 0, 200, 8, 1),
        vec![0xbb; 128],
        vec![0xc4],
        vec![0xaa; 72],
        vec![0xc5],
        vec![0xbb; 72],
    ];
    assert_eq!(
        read(&bytes.concat()),
        Ok(vec![
            (Kind::Video, 0, vec![0xaa; 200]),
            (Kind::Audio, 0, vec![0xbb; 200])
        ])
    );
}

#[test]
fn long_forms_of_chunk_stream_ids_name_one_each() {
    let body = |id: &[u8]| [id, &head(0, 0, 200, 9, 1)[1..], &[1; 128]].concat();
    // 64 in two forms, 319, 320 and 65,599: an unfinished message on one is none on another.
    let bytes = [body(&[0, 0]), body(&[0, 255]), body(&[1, 0, 1]), body(&[1, 255, 255])];
    let end = [vec![0xc1, 0, 0], vec![1; 72]];
    assert_eq!(
        read(&[bytes.concat(), end.concat()].concat()),
        Ok(vec![(Kind::Video, 0, vec![1; 200])])
    );
}

#[test]
fn an_abort_forgets_a_begun_message_and_only_that() {
    let abort = |id: u8| [head(2, 0, 4, 2, 0), vec![0, 0, 0, id]].concat();
    let bytes = [
        head(4, 0, 200, 9, 1),
        vec![1; 128],
        head(5, 0, 200, 8, 1),
        vec![2; 128],
        abort(4),
        abort(63),
        vec![0xc5],
        vec![2; 72],
        head(4, 9, 1, 9, 1),
        vec![3],
    ];
    assert_eq!(
        read(&bytes.concat()),
        Ok(vec![(Kind::Audio, 0, vec![2; 200]), (Kind::Video, 9, vec![3])])
    );
}

#[test]
fn a_new_chunk_size_holds_for_the_next_chunk() {
    let bytes = [
        head(4, 0, 130, 9, 1),
        vec![1; 128],
        chunk_size(1),
        vec![0xc4, 1, 0xc4, 1],
        chunk_size_in_chunks_of_1(200),
        head(4, 0, 200, 9, 1),
        vec![2; 200],
    ];
    assert_eq!(
        read(&bytes.concat()),
        Ok(vec![(Kind::Video, 0, vec![1; 130]), (Kind::Video, 0, vec![2; 200])])
    );
}

fn chunk_size_in_chunks_of_1(size: u32) -> Vec<u8> {
    let [a, b, c, d] = size.to_be_bytes();
    [head(2, 0, 4, 1, 0), vec![a, 0xc2, b, 0xc2, c, 0xc2, d]].concat()
}

#[test]
fn empty_messages_are_messages() {
    let bytes = [head(4, 7, 0, 9, 1), b"\xc4".to_vec(), head(5, 0, 1, 8, 1), vec![1]];
    assert_eq!(
        read(&bytes.concat()),
        Ok(vec![
            (Kind::Video, 7, vec![]),
            (Kind::Video, 14, vec![]),
            (Kind::Audio, 0, vec![1])
        ])
    );
}

#[test]
fn a_header_repeated_inside_a_message_goes_on_with_it() {
    let bytes = [head(4, 0, 200, 9, 1), vec![1; 128], head(4, 0, 200, 9, 1), vec![1; 72]];
    assert_eq!(read(&bytes.concat()), Ok(vec![(Kind::Video, 0, vec![1; 200])]));
}

#[test]
fn a_header_that_changes_inside_a_message_is_refused() {
    let begun = [head(4, 0, 200, 9, 1), vec![1; 128]].concat();
    for header in [
        head(4, 0, 10, 9, 1),
        head(4, 0, 201, 9, 1),
        head(4, 0, 200, 8, 1),
        head(4, 0, 200, 9, 2),
        b"\x44\0\0\0\0\0\x0a\x09".to_vec(),
    ] {
        let bytes = [begun.clone(), header, vec![1; 128]].concat();
        assert_eq!(read(&bytes), Err(Error::HeaderChanged));
    }
}

#[test]
fn a_chunk_without_a_header_before_it_is_refused_but_for_a_ping_of_librtmp() {
    assert_eq!(read(b"\xc4"), Err(Error::NoHeader));
    assert_eq!(read(b"\x84\0\0\0"), Err(Error::NoHeader));
    let ping = b"\x42\0\0\0\0\0\x06\x04\0\x07\0\0\0\x01";
    assert_eq!(
        read(ping),
        Ok(vec![(Kind::UserControl, 0, b"\0\x07\0\0\0\x01".to_vec())])
    );
}

#[test]
fn the_number_of_chunk_streams_is_bounded() {
    let bytes: Vec<u8> = (0..=u8::MAX)
        .flat_map(|id| [vec![0, id], head(0, 0, 1, 9, 1)[1..].to_vec(), vec![1]].concat())
        .collect();
    let streams = 2 + 11 + 1;
    assert_eq!(
        read(&bytes[..MAX_STREAMS * streams]).map(|messages| messages.len()),
        Ok(MAX_STREAMS)
    );
    assert_eq!(read(&bytes), Err(Error::ChunkStreams));
}

#[test]
fn chunk_sizes_out_of_bounds_are_refused() {
    for size in [0, MAX_CHUNK_SIZE + 1, 0x7fff_ffff, u32::MAX] {
        assert_eq!(read(&chunk_size(size)), Err(Error::ChunkSize));
    }
    assert_eq!(read(&chunk_size(MAX_CHUNK_SIZE)), Ok(vec![]));
    assert_eq!(read(&[head(2, 0, 3, 1, 0), vec![0; 3]].concat()), Err(Error::Control));
}

#[test]
fn what_strangers_may_begin_is_bounded_by_what_they_promise() {
    let begin = |id, length| [head(id, 0, length, 9, 1), vec![0; 128]].concat();
    let half = MAX_PARTIAL_BEFORE_LOGIN / 2;
    assert_eq!(
        read(&begin(4, MAX_PARTIAL_BEFORE_LOGIN + 1)),
        Err(Error::MessageTooLarge)
    );
    assert_eq!(read(&[begin(4, half), begin(5, half)].concat()), Ok(vec![]));
    assert_eq!(
        read(&[begin(4, half), begin(5, half), begin(6, 129)].concat()),
        Err(Error::MessageTooLarge)
    );
}

#[test]
fn what_publishers_may_begin_is_bounded_too() {
    let mut reader = Reader::new();
    reader.trust();
    let bytes: Vec<u8> = (4..7)
        .flat_map(|id| [head(id, 0, 0xff_ffff, 9, 1), vec![0; 128]].concat())
        .collect();
    assert_eq!(read_in(reader, &bytes, usize::MAX), Err(Error::MessageTooLarge));
}

#[test]
fn the_largest_message_is_read_without_more_memory_than_it_has_bytes() {
    let mut reader = Reader::new();
    reader.trust();
    let mut writer = Writer::new(4096);
    let payload = Bytes::from(vec![1; 0xff_ffff]);
    let bytes = [
        chunk_size(4096),
        writer.write(Kind::Video, 0, 1, payload.clone()).unwrap().to_vec(),
    ]
    .concat();
    let messages = read_in(reader, &bytes, 65_536).unwrap();
    assert_eq!(messages.len(), 1);
    assert!(messages[0].payload == payload);
}

#[test]
fn all_bytes_are_counted() {
    let bytes = [head(4, 0, 200, 9, 1), vec![1; 128], vec![0xc4], vec![1; 72]].concat();
    let mut reader = Reader::new();
    let mut input = BytesMut::from(&bytes[..]);
    assert!(reader.read(&mut input).unwrap().is_some());
    assert_eq!(reader.consumed(), bytes.len() as u64);
}

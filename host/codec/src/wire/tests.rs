use super::*;

fn requests() -> Vec<Request> {
    let open = Request::Open {
        id: 7,
        source: Source {
            codec: Decode::Flac,
            sample_rate: 44_100,
            channels: 2,
            clock_rate: 1_000,
            parameters: Bytes::from_static(&[1, 2, 3]),
        },
        target: Target {
            codec: Encode::Aac,
            sample_rate: 44_100,
            channels: 2,
            bitrate: 0,
        },
    };
    let packet = Request::Packet {
        id: 7,
        pts: -5,
        payload: Bytes::from_static(b"packet"),
    };
    let hello = Request::Hello {
        version: VERSION,
        memory: 1 << 30,
        threads: 2,
    };
    let picture = Request::Picture {
        id: 8,
        codec: Video::H265,
        width: 320,
        parameters: Bytes::from_static(&[1, 2]),
        payload: Bytes::from_static(b"picture"),
    };
    vec![
        hello,
        open,
        packet,
        Request::Flush { id: 7 },
        Request::Close { id: 7 },
        picture,
    ]
}

fn answers() -> Vec<Answer> {
    let packet = |pts| Packet {
        pts,
        duration: 1024,
        discontinuity: pts == 0,
        payload: Bytes::from_static(b"sound"),
    };
    vec![
        Answer::Hello { version: VERSION },
        Answer::Opened {
            id: 7,
            parameters: Bytes::from_static(&[0x11, 0x90]),
        },
        Answer::Failed {
            id: 7,
            problem: Problem::Target,
            words: "no".to_owned(),
        },
        Answer::Converted {
            id: 7,
            problem: Some(Problem::Packet),
            packets: vec![packet(0), packet(1024)],
        },
        Answer::Flushed {
            id: 7,
            packets: vec![packet(2048)],
        },
        Answer::Picture {
            id: 8,
            jpeg: Bytes::from_static(b"jpeg"),
        },
    ]
}

fn body(write: impl Fn(&mut Vec<u8>) -> Result<(), Error>) -> Bytes {
    let mut wire = Vec::new();
    write(&mut wire).unwrap();
    read_message(&wire[..]).unwrap().unwrap()
}

#[test]
fn what_is_written_is_read() {
    for request in requests() {
        assert_eq!(Request::parse(body(|to| request.write(to))), Ok(request.clone()));
    }
    for answer in answers() {
        assert_eq!(Answer::parse(body(|to| answer.write(to))), Ok(answer.clone()));
    }
}

#[test]
fn messages_follow_each_other_and_the_end_between_two_is_no_error() {
    let mut wire = Vec::new();
    for answer in answers() {
        answer.write(&mut wire).unwrap();
    }
    let from = &mut &wire[..];
    for answer in answers() {
        assert_eq!(Answer::parse(read_message(&mut *from).unwrap().unwrap()), Ok(answer));
    }
    assert_eq!(read_message(from).unwrap(), None);
}

#[test]
fn a_cut_message_is_an_error_and_never_a_short_one() {
    for answer in answers() {
        let body = body(|to| answer.write(to));
        for len in 0..body.len() {
            assert!(Answer::parse(body.slice(..len)).is_err(), "{answer:?} {len}");
        }
    }
    for request in requests() {
        let mut wire = Vec::new();
        request.write(&mut wire).unwrap();
        for len in 5..wire.len() {
            assert!(
                Request::parse(wire[4..len].to_vec().into()).is_err(),
                "{request:?} {len}"
            );
        }
        for len in 1..wire.len() {
            assert!(read_message(&wire[..len]).is_err(), "{request:?} {len}");
        }
    }
}

#[test]
fn lengths_beyond_their_bound_are_refused_before_anything_is_read() {
    assert!(read_message(&u32::MAX.to_le_bytes()[..]).is_err());
    let opened = [&[2, 7, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
    assert_eq!(Answer::parse(opened.into()), Err(Error::TooLong("parameters")));
    let flushed = [&[5, 7, 0, 0, 0][..], &u32::MAX.to_le_bytes()].concat();
    assert_eq!(Answer::parse(flushed.into()), Err(Error::TooLong("list of packets")));
}

#[test]
fn numbers_without_a_meaning_are_refused() {
    assert_eq!(Answer::parse(vec![9].into()), Err(Error::Unknown("answer")));
    assert_eq!(Request::parse(vec![0].into()), Err(Error::Unknown("request")));
    assert_eq!(Request::parse(vec![4, 0, 0, 0, 0, 0].into()), Err(Error::Rest));
    let mut open = body(|to| requests()[1].write(to)).to_vec();
    open[5] = 0;
    assert_eq!(Request::parse(open.into()), Err(Error::Unknown("source")));
    let mut open = body(|to| requests()[1].write(to)).to_vec();
    open[11..15].fill(0);
    assert_eq!(Request::parse(open.into()), Err(Error::Unknown("rate")));
    let mut picture = body(|to| requests()[5].write(to)).to_vec();
    picture[5] = 9;
    assert_eq!(Request::parse(picture.into()), Err(Error::Unknown("codec")));
}

#[test]
fn a_packet_that_is_too_long_is_not_written() {
    let packet = Request::Packet {
        id: 1,
        pts: 0,
        payload: vec![0; PACKET_LEN + 1].into(),
    };
    let mut wire = vec![1, 2, 3];
    assert_eq!(packet.write(&mut wire), Err(Error::TooLong("packet")));
    assert_eq!(wire, [1, 2, 3]);
    let picture = Answer::Picture {
        id: 1,
        jpeg: vec![0; PICTURE_LEN + 1].into(),
    };
    assert_eq!(picture.write(&mut wire), Err(Error::TooLong("picture")));
    assert_eq!(wire, [1, 2, 3]);
}

#[test]
fn long_words_are_cut_between_characters() {
    let failed = Answer::Failed {
        id: 1,
        problem: Problem::Inside,
        words: "ä".repeat(WORDS_LEN),
    };
    match Answer::parse(body(|to| failed.write(to))).unwrap() {
        Answer::Failed { words, .. } => assert_eq!(words, "ä".repeat(WORDS_LEN / 2)),
        other => panic!("{other:?}"),
    }
}

//! What nobody should send, and what nobody should need.

use bytes::Bytes;
use wasmtx_codec::wire::{Answer, Decode, Encode, Problem, Request, VERSION};

use crate::worker::{Converted, Worker, source, target};

const CODECS: [Decode; 10] = [
    Decode::Opus,
    Decode::MuLaw,
    Decode::ALaw,
    Decode::Pcm8,
    Decode::Pcm16,
    Decode::Pcm24,
    Decode::Mp3,
    Decode::Ac3,
    Decode::Flac,
    Decode::Aac,
];

fn noise(seed: u64, len: usize) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = (0..len).map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    });
    bytes.collect()
}

#[test]
fn two_thousand_junk_packets_are_errors_and_the_other_converters_go_on() {
    let mut worker = Worker::start();
    for (id, codec) in (1..).zip(CODECS) {
        let mut junk = Converted::default();
        let mut source = source(codec, 48_000, 2);
        if codec == Decode::Aac {
            source.parameters = Bytes::from_static(&[0x11, 0x90]);
        }
        worker.open(id, &source, target(Encode::Aac, 48_000, 2));
        for number in 0..2_000 {
            worker.push(id, number * 960, noise(number as u64, number as usize % 97), &mut junk);
        }
        worker.flush(id, &mut junk);
        assert!(!junk.problems.is_empty(), "{codec:?}");
        assert!(junk.problems.iter().all(|problem| *problem == Problem::Packet));
    }
    let mut good = Converted::default();
    worker.open(99, &source(Decode::ALaw, 8_000, 1), target(Encode::Aac, 8_000, 1));
    for number in 0..100 {
        worker.push(99, number * 160, noise(7, 160), &mut good);
    }
    worker.flush(99, &mut good);
    assert_eq!((good.problems.len(), good.packets.len()), (0, 16));
    worker.end();
}

#[test]
fn what_cannot_be_opened_is_refused_by_name() {
    let mut worker = Worker::start();
    let cases = [
        (
            source(Decode::ALaw, 8_000, 9),
            target(Encode::Aac, 8_000, 1),
            Problem::Source,
        ),
        (
            source(Decode::ALaw, 1, 1),
            target(Encode::Aac, 8_000, 1),
            Problem::Source,
        ),
        (
            source(Decode::ALaw, 8_000, 1),
            target(Encode::Aac, 8_001, 1),
            Problem::Target,
        ),
        (
            source(Decode::ALaw, 8_000, 1),
            target(Encode::Opus, 44_100, 1),
            Problem::Target,
        ),
        (
            source(Decode::ALaw, 8_000, 1),
            target(Encode::Aac, 8_000, 0),
            Problem::Target,
        ),
    ];
    for (id, (source, target, expected)) in (1..).zip(cases) {
        worker.say(&Request::Open { id, source, target });
        match worker.hear() {
            Answer::Failed {
                id: failed,
                problem,
                words,
            } => {
                assert_eq!((failed, problem), (id, expected));
                assert!(!words.is_empty());
            }
            other => panic!("{other:?}"),
        }
    }
    worker.end();
}

#[test]
fn a_converter_that_failed_can_be_opened_again_under_its_name() {
    let mut worker = Worker::start();
    worker.say(&Request::Open {
        id: 1,
        source: source(Decode::ALaw, 1, 1),
        target: target(Encode::Aac, 8_000, 1),
    });
    assert!(matches!(worker.hear(), Answer::Failed { id: 1, .. }));
    worker.say(&Request::Close { id: 1 });
    worker.open(1, &source(Decode::ALaw, 8_000, 1), target(Encode::Aac, 8_000, 1));
    worker.end();
}

#[test]
fn an_hour_of_samples_in_one_packet_is_refused() {
    let mut worker = Worker::start();
    let mut converted = Converted::default();
    worker.open(1, &source(Decode::MuLaw, 8_000, 1), target(Encode::Opus, 48_000, 2));
    worker.push(1, 0, vec![0; 256 << 10].into(), &mut converted);
    worker.flush(1, &mut converted);
    assert_eq!(converted.problems, [Problem::Packet]);
    worker.end();
}

#[test]
fn packets_for_nobody_are_left_out() {
    let mut worker = Worker::start();
    worker.say(&Request::Packet {
        id: 5,
        pts: 0,
        payload: Bytes::from_static(b"x"),
    });
    worker.say(&Request::Flush { id: 5 });
    worker.say(&Request::Close { id: 5 });
    worker.open(6, &source(Decode::ALaw, 8_000, 1), target(Encode::Aac, 8_000, 1));
    worker.end();
}

#[test]
fn it_ends_when_the_server_hangs_up_and_opens_nothing_before() {
    let worker = Worker::start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.process.id())).unwrap();
    for name in ["Max open files", "Max processes", "Max core file size"] {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line[name.len()..].split_whitespace().next(), Some("0"), "{line}");
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", worker.process.id())).unwrap();
    assert!(status.contains("NoNewPrivs:\t1") && status.contains("CapPrm:\t0000000000000000"));
    assert_eq!(worker.end(), "");
}

#[test]
fn a_server_of_another_version_is_told_so() {
    let mut worker = Worker::silent();
    worker.say(&Request::Hello {
        version: VERSION + 1,
        memory: 1 << 30,
        threads: 1,
    });
    let (status, words) = worker.remains();
    assert!(!status.success() && words.contains("different versions"), "{words}");
}

#[test]
fn memory_is_bounded_and_nobody_pays_for_one_converter_too_many() {
    let mut worker = Worker::start_with(64 << 20);
    let (source, target) = (source(Decode::Opus, 48_000, 2), target(Encode::Aac, 48_000, 2));
    let mut opened = Vec::new();
    for id in 0..200 {
        worker.say(&Request::Open {
            id,
            source: source.clone(),
            target,
        });
        match worker.hear() {
            Answer::Opened { .. } => opened.push(id),
            Answer::Failed {
                problem: Problem::TooMany,
                ..
            } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(opened.len(), 16);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", worker.process.id())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max data size")).unwrap();
    assert_eq!(line.split_whitespace().nth(3), Some("67108864"), "{line}");
    // All of them work within it, and one that leaves makes room.
    for id in &opened {
        let mut converted = Converted::default();
        for number in 0..20 {
            worker.push(
                *id,
                number * 960,
                Bytes::from_static(&[0xfc, 0xff, 0xfe]),
                &mut converted,
            );
        }
        worker.flush(*id, &mut converted);
        assert!(converted.problems.is_empty() && converted.packets.len() > 15);
    }
    worker.open(1_000, &source, target);
    worker.end();
}

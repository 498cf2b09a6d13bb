use std::sync::LazyLock;

use bytes::Bytes;
use wasmtx_protocol::rtp::{Packetizer, packetize::Options};

use super::*;
use crate::{
    clip::{Clip, Shape},
    sequence::Counts,
};

static CLIP: LazyLock<Clip> = LazyLock::new(|| {
    Clip::synthetic(Shape {
        bitrate: 800_000,
        fps: 25.0,
        gop: 3,
    })
    .unwrap()
});

fn format() -> Format {
    Format::of(&CLIP.track, 96)
}

/// Frames 0 to `count` - 1, each as its packets.
fn packets(count: u32) -> Vec<Vec<Bytes>> {
    let options = Options {
        ssrc: 1,
        first_sequence: 65_530,
        timestamp_offset: 0,
        mtu: 1_452,
        channel: 0,
    };
    let mut packetizer = Packetizer::new(&format(), options);
    let packetize = |number| {
        packetizer
            .packetize(&CLIP.frame(0, number, u64::from(number)), &CLIP.track)
            .unwrap()
    };
    (0..count)
        .map(packetize)
        .map(|frame| frame.packets().collect())
        .collect()
}

fn feed<'a>(depth: Depth, packets: impl IntoIterator<Item = &'a Bytes>) -> (Summary, Vec<u32>) {
    let mut verifier = Verifier::new(depth, &format(), &CLIP.track);
    let mut stamps = Vec::new();
    for packet in packets {
        if let Some(Whole::Stamped(stamp)) = verifier.handle(packet) {
            stamps.push(stamp.number);
        }
    }
    (verifier.summary(None), stamps)
}

fn frames(expected: u64, received: u64, duplicated: u64, out_of_order: u64) -> Counts {
    Counts {
        expected,
        received,
        lost: expected - received,
        duplicated,
        out_of_order,
    }
}

#[test]
fn a_stream_that_arrives_as_it_was_sent_is_clean() {
    for depth in [Depth::Headers, Depth::All] {
        let (summary, stamps) = feed(depth, packets(7).iter().flatten());
        assert_eq!(stamps, [0, 1, 2, 3, 4, 5, 6]);
        assert_eq!(summary.frames, frames(7, 7, 0, 0));
        assert!(summary.is_clean(), "{depth:?}: {summary:?}");
    }
}

#[test]
fn a_missing_packet_damages_its_frame_and_no_other() {
    for missing in 0..4 {
        let mut sent = packets(5);
        assert!(sent[2].len() >= 4, "a frame of several packets");
        sent[2].remove(missing);
        let (summary, stamps) = feed(Depth::Headers, sent.iter().flatten());
        assert_eq!(stamps, [0, 1, 3, 4], "packet {missing}");
        assert_eq!(
            (summary.packets.lost, summary.frames),
            (1, frames(5, 4, 0, 0)),
            "packet {missing}"
        );
        assert_eq!(summary.damaged, 1, "packet {missing}");
    }
}

#[test]
fn a_missing_frame_is_lost_and_the_others_are_not() {
    let mut sent = packets(5);
    sent.remove(2);
    let (summary, stamps) = feed(Depth::Headers, sent.iter().flatten());
    assert_eq!(stamps, [0, 1, 3, 4]);
    assert_eq!((summary.frames, summary.damaged), (frames(5, 4, 0, 0), 0));
    assert!(!summary.is_clean());
}

#[test]
fn frames_missing_at_the_end_are_lost_when_the_publisher_sent_them() {
    let mut verifier = Verifier::new(Depth::Headers, &format(), &CLIP.track);
    for packet in packets(3).iter().flatten() {
        verifier.handle(packet);
    }
    assert_eq!(verifier.summary(Some(5)).frames, frames(5, 3, 0, 0));
}

#[test]
fn a_repeated_packet_is_counted_and_changes_nothing_else() {
    let sent = packets(3);
    let doubled: Vec<_> = sent.iter().flatten().flat_map(|packet| [packet, packet]).collect();
    let (summary, stamps) = feed(Depth::Headers, doubled.iter().copied());
    assert_eq!(stamps, [0, 1, 2]);
    assert_eq!(summary.packets.duplicated, doubled.len() as u64 / 2);
    assert_eq!(summary.frames, frames(3, 3, 0, 0));
}

/// A server that numbers its packets anew but sends a frame twice, or late.
#[test]
fn frames_that_come_twice_or_late_are_told_by_their_stamps() {
    let options = Options {
        ssrc: 1,
        first_sequence: 0,
        timestamp_offset: 0,
        mtu: 1_452,
        channel: 0,
    };
    let mut packetizer = Packetizer::new(&format(), options);
    let mut sent = Vec::new();
    for (order, number) in [0, 1, 1, 3, 2].into_iter().enumerate() {
        let mut frame = CLIP.frame(0, number, 0);
        frame.pts = order as i64 * 3_600;
        sent.extend(packetizer.packetize(&frame, &CLIP.track).unwrap().packets());
    }
    let (summary, stamps) = feed(Depth::All, &sent);
    assert_eq!(stamps, [0, 1, 1, 3, 2]);
    assert_eq!(summary.frames, frames(4, 4, 1, 1));
    assert_eq!((summary.packets.lost, summary.damaged, summary.corrupted), (0, 0, 0));
}

#[test]
fn changed_bytes_are_seen_when_all_is_checked() {
    let mut sent = packets(3);
    let mut bytes = sent[1].last().unwrap().to_vec();
    *bytes.last_mut().unwrap() ^= 0x10;
    *sent[1].last_mut().unwrap() = bytes.into();
    assert_eq!(feed(Depth::All, sent.iter().flatten()).0.corrupted, 1);
    assert_eq!(feed(Depth::Headers, sent.iter().flatten()).0.corrupted, 0);
}

#[test]
fn frames_without_stamps_are_somebody_elses() {
    // The stamp is in the frame's first packet, or with the parameter sets.
    let sent: Vec<Bytes> = packets(1)[0]
        .iter()
        .map(|packet| {
            let mut bytes = packet.to_vec();
            if let Some(at) = bytes.windows(6).position(|window| window == b"wasmtx") {
                bytes[at] = b'x';
            }
            bytes.into()
        })
        .collect();
    let (summary, stamps) = feed(Depth::Headers, &sent);
    assert_eq!((summary.unstamped, stamps), (1, vec![]));
}

#[test]
fn truncated_packets_are_malformed_and_end_nothing() {
    let packet = packets(1)[0][0].clone();
    for length in 0..12 {
        let cut = packet.slice(..length);
        assert_eq!(feed(Depth::All, [&cut]).0.malformed, 1, "{length} bytes");
    }
    // Longer ones are RTP, whatever they carry.
    for length in 12..packet.len() {
        let cut = packet.slice(..length);
        feed(Depth::All, [&cut]);
    }
}

#[test]
fn extensions_and_sources_stand_before_the_payload() {
    let mut bytes = vec![
        0x91, 0x60, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 4, 4, 4, 4, 0xbe, 0xde, 0, 1, 5, 5, 5, 5, 9,
    ];
    assert_eq!(Header::parse(&bytes).map(|header| header.payload), Some(24));
    bytes[19] = 2;
    assert!(Header::parse(&bytes).is_none(), "an extension longer than the packet");
    bytes[0] = 0x51;
    assert!(Header::parse(&bytes).is_none(), "another version");
}

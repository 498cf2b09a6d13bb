use std::time::Duration;

use wasmtx_media::{TrackId, WallClock};

use super::*;
use crate::rtp::packet::Header;
use crate::rtp::packetize::{self, Packetizer};
use crate::rtp::rtcp::Ntp;
use crate::rtp::testing;
use crate::rtp::testing::streams::{self, Stream};

fn receiver(stream: &Stream, delivery: Delivery) -> Receiver {
    let format = Format::of(&stream.track, 96);
    Receiver::new(&format, format.track(stream.track.id), delivery, 77)
}

/// The packets of a stream, with the time of their frame.
fn packets(stream: &Stream, timestamp_offset: u32) -> Vec<(Duration, Bytes)> {
    let options = packetize::Options {
        ssrc: 5,
        first_sequence: 65_000,
        timestamp_offset,
        mtu: 400,
        channel: 0,
    };
    let mut packetizer = Packetizer::new(&Format::of(&stream.track, 96), options);
    let mut packets = Vec::new();
    for (number, (payload, flags, pts)) in (0..).zip(&stream.frames) {
        let frame = Frame {
            track: stream.track.id,
            number: 0,
            pts: *pts,
            dts: *pts,
            duration: 0,
            wall: None,
            flags: *flags,
            payload: payload.clone().into(),
        };
        let packetized = packetizer.packetize(&frame, &stream.track).unwrap();
        packets.extend(
            packetized
                .packets()
                .map(|bytes| (Duration::from_millis(number * 40), bytes)),
        );
    }
    packets
}

fn raw(sequence: u16, timestamp: u32) -> Bytes {
    let header = Header {
        marker: false,
        payload_type: 0,
        sequence,
        timestamp,
        ssrc: 5,
    };
    Packet {
        header,
        payload: Bytes::from(vec![0; 160]),
    }
    .to_bytes()
}

#[test]
fn every_stream_comes_out_as_frames_with_times_from_zero() {
    for stream in streams::all() {
        let mut receiver = receiver(&stream, Delivery::Ordered);
        let start = testing::start();
        let mut timeline = Timeline::default();
        let mut received = Vec::new();
        for (after, bytes) in packets(&stream, u32::MAX - 5_000) {
            receiver.handle_rtp(start + after, &bytes, &mut timeline, &mut received);
        }
        let name = stream.track.codec.name();
        assert_eq!(received.len(), stream.frames.len(), "{name}");
        for (Received { frame, .. }, (payload, flags, pts)) in received.iter().zip(&stream.frames) {
            assert_eq!(
                (&*frame.payload, frame.flags, frame.pts),
                (payload, *flags, *pts),
                "{name}"
            );
            assert!(frame.dts <= frame.pts, "{name}: {} after {}", frame.dts, frame.pts);
            assert_eq!(frame.track, stream.track.id);
        }
        assert!(received.is_sorted_by_key(|received| received.frame.dts), "{name}");
        assert_eq!(
            receiver.counts().packets_in_error + receiver.counts().frames_in_error,
            0,
            "{name}"
        );
    }
}

#[test]
fn decoding_times_of_real_b_frames_are_evenly_spaced() {
    for stream in [streams::h264(), streams::h265()] {
        let mut receiver = receiver(&stream, Delivery::Ordered);
        let mut timeline = Timeline::default();
        let mut received = Vec::new();
        for (after, bytes) in packets(&stream, 0) {
            receiver.handle_rtp(testing::start() + after, &bytes, &mut timeline, &mut received);
        }
        let dts: Vec<i64> = received.iter().map(|received| received.frame.dts).collect();
        // 512 ticks per picture, a depth of 2: the same times as the encoder's own.
        let expected: Vec<i64> = (-2..).take(dts.len()).map(|number| number * 512).collect();
        assert_eq!(dts, expected, "{}", stream.track.codec.name());
    }
}

#[test]
fn datagrams_in_any_order_give_the_same_frames() {
    let stream = streams::h264();
    let mut receiver = receiver(&stream, Delivery::Datagrams);
    let mut random = testing::Random(3);
    let mut all: Vec<(usize, Duration, Bytes)> = packets(&stream, 9)
        .into_iter()
        .enumerate()
        .map(|(index, (after, bytes))| (index + if index == 0 { 0 } else { 1 + random.below(10) }, after, bytes))
        .collect();
    all.sort_by_key(|(place, ..)| *place);
    let mut timeline = Timeline::default();
    let mut received = Vec::new();
    for (_, after, bytes) in all {
        receiver.handle_rtp(testing::start() + after, &bytes, &mut timeline, &mut received);
    }
    let payloads: Vec<&Bytes> = received.iter().map(|received| &*received.frame.payload).collect();
    let expected: Vec<&Bytes> = stream.frames.iter().map(|(payload, ..)| payload).collect();
    assert_eq!(payloads, expected);
    assert_eq!(receiver.counts().packets_lost, 0);
}

#[test]
fn tracks_are_aligned_by_sender_reports_when_there_are() {
    let start = testing::start();
    let mut timeline = Timeline::default();
    let report = |ssrc, rtp_timestamp| {
        let ntp = Ntp::from(WallClock(1_700_000_000_000_000));
        rtcp::sender_report(
            &SenderReport {
                ssrc,
                ntp,
                rtp_timestamp,
                packets: 0,
                octets: 0,
            },
            "",
        )
    };
    let mut frames = Vec::new();
    let mut video = receiver(&streams::h264(), Delivery::Ordered);
    video.handle_rtcp(start, &report(5, 1_000));
    for (after, bytes) in packets(&streams::h264(), 1_000 + 12_800) {
        video.handle_rtp(start + after, &bytes, &mut timeline, &mut frames);
    }
    assert_eq!(
        (frames[0].frame.pts, frames[0].frame.wall),
        (0, Some(WallClock(1_700_000_001_000_000)))
    );
    frames.clear();
    // Captured 100 ms after the first picture, received 300 ms after it.
    let mut audio = receiver(&streams::g711(), Delivery::Ordered);
    audio.handle_rtcp(start, &report(5, 50));
    audio.handle_rtp(
        start + Duration::from_millis(300),
        &raw(1, 50 + 8_800),
        &mut timeline,
        &mut frames,
    );
    assert_eq!((frames[0].frame.pts, frames[0].frame.duration), (800, 160));
    // Without a report: by arrival.
    let mut audio = receiver(&streams::g711(), Delivery::Ordered);
    audio.handle_rtp(
        start + Duration::from_millis(300),
        &raw(1, 50),
        &mut timeline,
        &mut frames,
    );
    assert_eq!((frames[1].frame.pts, frames[1].frame.wall), (2_400, None));
}

#[test]
fn a_jump_of_the_clock_goes_on_by_arrival_and_is_told() {
    let start = testing::start();
    for jump in [20 * 8_000, 0u32.wrapping_sub(20 * 8_000)] {
        let mut timeline = Timeline::default();
        let mut frames = Vec::new();
        let mut audio = receiver(&streams::g711(), Delivery::Ordered);
        audio.handle_rtp(start, &raw(1, 0), &mut timeline, &mut frames);
        audio.handle_rtp(
            start + Duration::from_millis(20),
            &raw(2, 160),
            &mut timeline,
            &mut frames,
        );
        audio.handle_rtp(
            start + Duration::from_millis(45),
            &raw(3, 320 + jump),
            &mut timeline,
            &mut frames,
        );
        audio.handle_rtp(
            start + Duration::from_millis(60),
            &raw(4, 480 + jump),
            &mut timeline,
            &mut frames,
        );
        let times: Vec<i64> = frames.iter().map(|received| received.frame.pts).collect();
        assert_eq!(times, [0, 160, 360, 520]);
        let told: Vec<bool> = frames
            .iter()
            .map(|received| received.frame.flags.contains(Flags::DISCONTINUITY))
            .collect();
        assert_eq!(told, [false, false, true, false]);
    }
}

#[test]
fn errors_are_counted_and_do_not_end_the_stream() {
    let start = testing::start();
    let mut timeline = Timeline::default();
    let mut frames = Vec::new();
    let mut audio = receiver(&streams::g711(), Delivery::Ordered);
    audio.handle_rtp(start, &Bytes::from_static(b"junk"), &mut timeline, &mut frames);
    audio.handle_rtp(start, &raw(1, 0), &mut timeline, &mut frames);
    let mut other = raw(2, 160).to_vec();
    other[1] = 99;
    audio.handle_rtp(start, &Bytes::from(other), &mut timeline, &mut frames);
    audio.handle_rtp(start, &raw(4, 480), &mut timeline, &mut frames);
    audio.handle_rtcp(start, &[0x80]);
    audio.handle_rtcp(start, &rtcp::bye(5, "x"));
    let counts = audio.counts();
    assert_eq!(
        (counts.packets, counts.packets_in_error, counts.packets_lost),
        (2, 2, 2)
    );
    assert_eq!((counts.rtcp_packets, counts.rtcp_packets_in_error), (1, 1));
    assert_eq!(frames.len(), 2);
    assert!(frames[1].frame.flags.contains(Flags::DISCONTINUITY));
    let report = audio.report(start, "host");
    let Some(Ok(rtcp::Packet::ReceiverReport(77, blocks))) = rtcp::parse(&report).next() else {
        panic!()
    };
    assert_eq!((blocks[0].ssrc, blocks[0].lost), (5, 2));
}

#[test]
fn parameters_that_change_in_band_come_with_their_frame() {
    let mut stream = streams::h264();
    let mut receiver = receiver(&stream, Delivery::Ordered);
    let mut timeline = Timeline::default();
    let mut received = Vec::new();
    let before = stream.track.codec.clone();
    for (after, bytes) in packets(&stream, 0) {
        receiver.handle_rtp(testing::start() + after, &bytes, &mut timeline, &mut received);
    }
    assert!(
        received.iter().all(|received| received.codec.is_none()),
        "those of the SDP are the same"
    );
    let Codec::H264(parameters) = &mut stream.track.codec else {
        unreachable!()
    };
    // Another level.
    let mut sps = parameters.sps.to_vec();
    sps[3] += 1;
    parameters.sps = Bytes::from(sps);
    received.clear();
    for (after, bytes) in packets(&stream, 0) {
        let mut packet = Packet::parse(&bytes).unwrap();
        packet.header.sequence = packet.header.sequence.wrapping_add(20_000);
        packet.header.ssrc = 6;
        receiver.handle_rtp(
            testing::start() + after,
            &packet.to_bytes(),
            &mut timeline,
            &mut received,
        );
    }
    assert_eq!(received[0].codec.as_ref(), Some(&stream.track.codec));
    assert!(received[1..].iter().all(|received| received.codec.is_none()));
    assert_eq!(receiver.track().codec, stream.track.codec);
    assert_ne!(receiver.track().codec, before);
    assert_eq!(receiver.track().id, TrackId(3));
}

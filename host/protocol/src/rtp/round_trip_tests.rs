//! Frames into packets and back, for every codec: equal when nothing is lost, whole or nothing when something is, and no
//! panic whatever comes.

use bytes::Bytes;
use wasmtx_media::{Codec, Flags, Frame, Track, nal};

use super::depacketize::{Depacketizer, Unit};
use super::packet::{Header, Packet};
use super::packetize::{self, INTERLEAVED_HEADER, MIN_MTU, Packetized, Packetizer};
use super::testing::Random;
use super::testing::streams::{self, Stream};
use super::{Format, rtcp};

const OFFSET: u32 = 0xffff_0000;

fn packetizer(track: &Track, mtu: usize) -> (Format, Packetizer) {
    let format = Format::of(track, 96);
    let options = packetize::Options {
        ssrc: 9,
        first_sequence: 65_530,
        timestamp_offset: OFFSET,
        mtu,
        channel: 4,
    };
    let packetizer = Packetizer::new(&format, options);
    (format, packetizer)
}

fn frame(track: &Track, payload: &Bytes, flags: Flags, pts: i64) -> Frame {
    let payload = payload.clone();
    Frame {
        track: track.id,
        number: 0,
        pts,
        dts: pts,
        duration: 0,
        wall: None,
        flags,
        payload: payload.into(),
    }
}

/// The packets of each frame of a stream.
fn packetize(stream: &Stream, mtu: usize) -> (Format, Vec<Packetized>) {
    let (format, mut packetizer) = packetizer(&stream.track, mtu);
    let frames = stream.frames.iter().map(|(payload, flags, pts)| {
        packetizer
            .packetize(&frame(&stream.track, payload, *flags, *pts), &stream.track)
            .unwrap()
    });
    let frames = frames.collect();
    (format, frames)
}

fn depacketizer(format: &Format, track: &Track) -> Depacketizer {
    // As after an SDP without parameters: the stream has to bring them.
    let codec = match &track.codec {
        Codec::H264(_) => Codec::H264(Default::default()),
        Codec::H265(_) => Codec::H265(Default::default()),
        Codec::Av1(_) => Codec::Av1(Default::default()),
        codec => codec.clone(),
    };
    Depacketizer::new(format, &codec)
}

fn check_equal(stream: &Stream, mtu: usize) {
    let name = stream.track.codec.name();
    let (format, packetized) = packetize(stream, mtu);
    let mut depacketizer = depacketizer(&format, &stream.track);
    let mut codec = None;
    for (number, (packets, (payload, flags, pts))) in packetized.iter().zip(&stream.frames).enumerate() {
        let mut units = Vec::new();
        for bytes in packets.packets() {
            assert!(bytes.len() <= mtu, "{name}: a packet of {} bytes", bytes.len());
            let packet = Packet::parse(&bytes).unwrap();
            depacketizer.handle(&packet, false, &mut units).unwrap();
        }
        assert_eq!(units.len(), 1, "{name}, frame {number}, MTU {mtu}");
        let Unit {
            payload: received,
            timestamp,
            flags: received_flags,
            codec: new,
            ..
        } = units.remove(0);
        assert_eq!(received, payload, "{name}, frame {number}, MTU {mtu}");
        assert_eq!(received_flags, *flags, "{name}, frame {number}");
        assert_eq!(timestamp, (*pts as u32).wrapping_add(OFFSET));
        codec = codec.or(new);
    }
    assert_eq!(depacketizer.dropped(), 0);
    if matches!(stream.track.codec, Codec::H264(_) | Codec::H265(_) | Codec::Av1(_)) {
        assert_eq!(codec.as_ref(), Some(&stream.track.codec), "parameters come in band");
    }
}

#[test]
fn every_codec_comes_back_equal_at_any_packet_size() {
    for stream in streams::all() {
        for mtu in [MIN_MTU, 257, 300, 1_200, 1_452, 65_535] {
            check_equal(&stream, mtu);
        }
    }
}

#[test]
fn sizes_around_the_edge_of_a_packet_come_back_equal() {
    let mut random = Random(7);
    for mut stream in streams::all() {
        let room = MIN_MTU - 12;
        let mut frames = Vec::new();
        for (number, size) in (room - 12..room + 12).chain(2 * room - 12..2 * room + 12).enumerate() {
            let bytes = random.bytes(size);
            let sized = |head: &[u8]| Bytes::from([head, &bytes[head.len()..]].concat());
            let length = (size as u32 - 4).to_be_bytes();
            let (payload, flags) = match &stream.track.codec {
                // A slice that is no reference, and with a second NAL unit behind it every other time.
                Codec::H264(_) if number % 2 == 0 => (sized(&[&length[..], &[0x01, 0x80]].concat()), Flags::DISPOSABLE),
                Codec::H264(_) => {
                    let unit = sized(&[&length[..], &[0x01, 0x80]].concat());
                    (
                        Bytes::from([&unit[..], &[0, 0, 0, 2, 0x01, 0x33]].concat()),
                        Flags::DISPOSABLE,
                    )
                }
                Codec::H265(_) => (sized(&[&length[..], &[0x02, 0x01, 0x80]].concat()), Flags::NONE),
                Codec::Av1(_) => {
                    let mut unit = bytes::BytesMut::new();
                    let bytes = [&[0x30, 0x20], &bytes[..]].concat();
                    wasmtx_media::codec::av1::Obu::parse(&bytes)
                        .unwrap()
                        .0
                        .put_sized(&mut unit);
                    (unit.freeze(), Flags::NONE)
                }
                Codec::Vp8 => (sized(&[1]), Flags::NONE),
                Codec::Vp9 => (sized(&[0x86]), Flags::NONE),
                Codec::Aac(_) => (sized(&[]), Flags::KEY),
                // One packet is one frame there, or the payload has a structure of its own.
                _ => continue,
            };
            frames.push((payload, flags, number as i64 * 1_000));
        }
        if !frames.is_empty() {
            // The parameters come with the first keyframe.
            let first = stream.frames.remove(0);
            stream.frames = std::iter::once(first)
                .chain(frames.into_iter().map(|(p, f, t)| (p, f, t + 50_000)))
                .collect();
            check_equal(&stream, MIN_MTU);
        }
    }
}

#[test]
fn the_interleaved_buffer_is_the_packets_behind_their_headers() {
    let stream = streams::h264();
    let (_, packetized) = packetize(&stream, 300);
    let mut sequence = 65_530u16;
    for frame in &packetized {
        let mut expected = Vec::new();
        let mut octets = 0;
        for bytes in frame.packets() {
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!(packet.header.sequence, sequence);
            sequence = sequence.wrapping_add(1);
            octets += packet.payload.len() as u32;
            expected.extend_from_slice(&[b'$', 4]);
            expected.extend_from_slice(&(bytes.len() as u16).to_be_bytes());
            expected.extend_from_slice(&bytes);
        }
        assert_eq!(frame.interleaved(), &expected);
        assert_eq!(
            (frame.octets(), frame.count() as usize),
            (octets, frame.packets().len())
        );
        let markers: Vec<bool> = frame.packets().map(|bytes| bytes[1] & 0x80 != 0).collect();
        assert!(markers.iter().rev().skip(1).all(|marker| !marker) && markers.last() == Some(&true));
    }
    assert!(
        packetized
            .iter()
            .all(|frame| frame.interleaved().len() > INTERLEAVED_HEADER)
    );
}

/// Loses packets by a seeded choice and checks that only whole frames come out, each after a loss flagged.
fn check_loss(stream: &Stream, seed: u64) {
    let name = stream.track.codec.name();
    let (format, packetized) = packetize(stream, MIN_MTU);
    let mut depacketizer = depacketizer(&format, &stream.track);
    let mut random = Random(seed);
    let mut lost = false;
    let mut units = Vec::new();
    for frame in &packetized {
        for bytes in frame.packets() {
            if random.below(8) == 0 {
                lost = true;
                continue;
            }
            let packet = Packet::parse(&bytes).unwrap();
            depacketizer
                .handle(&packet, std::mem::take(&mut lost), &mut units)
                .unwrap();
        }
    }
    let mut sent = stream.frames.iter().enumerate();
    let mut expected = 0;
    for unit in units {
        let found = sent.find(|(_, (payload, _, pts))| {
            payload == &unit.payload && unit.timestamp == (*pts as u32).wrapping_add(OFFSET)
        });
        let (number, _) = found.unwrap_or_else(|| panic!("{name}, seed {seed}: a frame that was not sent"));
        let flagged = unit.flags.contains(Flags::DISCONTINUITY);
        assert!(
            flagged || number == expected,
            "{name}, seed {seed}: frame {number} after a gap"
        );
        expected = number + 1;
    }
}

#[test]
fn a_loss_costs_whole_frames_and_is_told() {
    for stream in streams::all() {
        for seed in 0..40 {
            check_loss(&stream, seed);
        }
    }
}

/// Feeds `packets`, then the stream from its first keyframe on, and expects that to come out.
fn check_recovery(stream: &Stream, packets: impl IntoIterator<Item = Packet>, what: &str) {
    let (format, packetized) = packetize(stream, MIN_MTU);
    let mut depacketizer = depacketizer(&format, &stream.track);
    let mut units = Vec::new();
    for packet in packets {
        let _ = depacketizer.handle(&packet, false, &mut units);
    }
    units.clear();
    for bytes in packetized[0].packets() {
        let mut packet = Packet::parse(&bytes).unwrap();
        packet.header.timestamp = packet.header.timestamp.wrapping_add(77);
        // What the junk has left in the parameters does not matter here.
        let _ = depacketizer.handle(&packet, false, &mut units);
    }
    let name = stream.track.codec.name();
    let last = units.last().unwrap_or_else(|| panic!("{name}, {what}: no frame"));
    assert!(
        last.payload
            .ends_with(&stream.frames[0].0[stream.frames[0].0.len() / 2..]),
        "{name}, {what}"
    );
}

#[test]
fn a_truncated_packet_does_no_harm_and_the_next_keyframe_decodes() {
    for stream in streams::all() {
        let (_, packetized) = packetize(&stream, MIN_MTU);
        for (number, frame) in packetized.iter().enumerate().take(6) {
            let packets: Vec<Packet> = frame.packets().map(|bytes| Packet::parse(&bytes).unwrap()).collect();
            for (index, packet) in packets.iter().enumerate().take(4) {
                for length in 0..packet.payload.len() {
                    let mut cut = packets.clone();
                    cut[index].payload = packet.payload.slice(..length);
                    check_recovery(
                        &stream,
                        cut,
                        &format!("packet {index} of frame {number} cut at {length}"),
                    );
                }
            }
        }
    }
}

#[test]
fn junk_does_no_harm_and_the_next_keyframe_decodes() {
    for stream in streams::all() {
        let (_, packetized) = packetize(&stream, MIN_MTU);
        let real: Vec<Packet> = packetized
            .iter()
            .flat_map(|frame| frame.packets())
            .map(|bytes| Packet::parse(&bytes).unwrap())
            .collect();
        for seed in 0..60 {
            let mut random = Random(seed);
            let junk = (0..40).map(|_| {
                let mut packet = real[random.below(real.len())].clone();
                let mut bytes = packet.payload.to_vec();
                match random.below(3) {
                    0 => {
                        let length = random.below(60);
                        bytes = random.bytes(length);
                    }
                    1 if !bytes.is_empty() => {
                        let at = random.below(bytes.len().min(20));
                        bytes[at] ^= 1 << random.below(8);
                    }
                    _ => {}
                }
                packet.payload = Bytes::from(bytes);
                packet.header.marker ^= random.below(4) == 0;
                packet.header.timestamp = packet.header.timestamp.wrapping_add(random.below(2) as u32);
                packet
            });
            let junk: Vec<Packet> = junk.collect();
            // End what the junk began, as the packets after it would.
            let mut end = real[0].clone();
            end.header.timestamp = end.header.timestamp.wrapping_add(55);
            check_recovery(&stream, junk.into_iter().chain([end]), &format!("seed {seed}"));
        }
    }
}

#[test]
fn a_frame_that_never_ends_is_cut_off_at_its_bound() {
    let part = vec![7; 60_000];
    let check = |stream: Stream, first: &[u8], next: &[u8], bound: usize| {
        let mut format = Format::of(&stream.track, 96);
        if let Codec::Aac(_) = stream.track.codec {
            format.encoding = "MP4A-LATM".to_owned();
        }
        let mut depacketizer = Depacketizer::new(&format, &stream.track.codec);
        let mut units = Vec::new();
        let mut taken = 0;
        let refused = (0..1_000).any(|number| {
            let head = if number == 0 { first } else { next };
            let payload = Bytes::from([head, &part].concat());
            let header = Header {
                marker: false,
                payload_type: 96,
                sequence: number,
                timestamp: 0,
                ssrc: 0,
            };
            taken += part.len();
            depacketizer
                .handle(&Packet { header, payload }, false, &mut units)
                .is_err()
        });
        let name = stream.track.codec.name();
        assert!(refused && taken <= bound + 2 * part.len(), "{name} took {taken} bytes");
        assert!(units.is_empty());
    };
    check(streams::h264(), &[28, 0x85], &[28, 0x05], nal::MAX_NAL);
    check(streams::h265(), &[49 << 1, 1, 0x93], &[49 << 1, 1, 0x13], nal::MAX_NAL);
    check(streams::av1(), &[0x50, 0x30], &[0xd0], nal::MAX_ACCESS_UNIT);
    check(streams::vp8(), &[0x10], &[0], nal::MAX_ACCESS_UNIT);
    check(streams::vp9(), &[0x08], &[0], nal::MAX_ACCESS_UNIT);
    check(streams::aac(), &[], &[], 64 * 1024);
    // Tiny NAL units are bounded by number.
    let stream = streams::h264();
    let mut depacketizer = Depacketizer::new(&Format::of(&stream.track, 96), &stream.track.codec);
    let aggregate = Bytes::from([&[24][..], &[0, 1, 0x41].repeat(100)].concat());
    let header = Header {
        marker: false,
        payload_type: 96,
        sequence: 0,
        timestamp: 0,
        ssrc: 0,
    };
    let packet = Packet {
        header,
        payload: aggregate,
    };
    let results: Vec<bool> = (0..6)
        .map(|_| depacketizer.handle(&packet, false, &mut Vec::new()).is_ok())
        .collect();
    assert_eq!(results, [true, true, true, true, true, false]);
}

#[test]
fn packets_inside_packets_are_refused() {
    let check = |stream: Stream, payload: &'static [u8]| {
        let mut depacketizer = Depacketizer::new(&Format::of(&stream.track, 96), &stream.track.codec);
        let header = Header {
            marker: true,
            payload_type: 96,
            sequence: 0,
            timestamp: 0,
            ssrc: 0,
        };
        let packet = Packet {
            header,
            payload: Bytes::from_static(payload),
        };
        let mut units = Vec::new();
        assert!(
            depacketizer.handle(&packet, false, &mut units).is_err() && units.is_empty(),
            "{payload:02x?}"
        );
    };
    check(streams::h264(), &[24, 0, 5, 24, 0, 2, 0x41, 1]);
    check(streams::h264(), &[28, 0xdc, 0x85, 1]);
    check(streams::h264(), &[25, 0, 0, 0, 2, 0x41, 1]);
    check(streams::h265(), &[96, 1, 0, 6, 96, 1, 0, 2, 2, 1]);
    check(streams::h265(), &[98, 1, 0xf1, 1]);
}

#[test]
fn packets_of_nothing_are_passed_over() {
    for stream in streams::all() {
        let (format, packetized) = packetize(&stream, MIN_MTU);
        let mut depacketizer = depacketizer(&format, &stream.track);
        let mut units = Vec::new();
        for bytes in packetized.iter().flat_map(|frame| frame.packets()) {
            let packet = Packet::parse(&bytes).unwrap();
            let header = Header {
                timestamp: packet.header.timestamp.wrapping_add(5),
                ..packet.header
            };
            depacketizer
                .handle(
                    &Packet {
                        header,
                        payload: Bytes::new(),
                    },
                    false,
                    &mut units,
                )
                .unwrap();
            depacketizer.handle(&packet, false, &mut units).unwrap();
        }
        assert_eq!((units.len(), depacketizer.dropped()), (stream.frames.len(), 0));
    }
}

#[test]
fn payloads_that_are_not_canonical_are_refused_and_number_nothing() {
    for stream in [streams::h264(), streams::h265(), streams::av1(), streams::mjpeg()] {
        let (_, mut packetizer) = packetizer(&stream.track, 1_452);
        let payload = Bytes::from_static(&[0, 0, 0, 9, 1]);
        assert!(
            packetizer
                .packetize(&frame(&stream.track, &payload, Flags::NONE, 0), &stream.track)
                .is_err()
        );
        assert_eq!(packetizer.next_sequence(), 65_530);
    }
}

#[test]
fn rtcp_and_rtp_are_told_apart_on_a_shared_port() {
    assert!(super::packet::is_rtcp(&rtcp::receiver_report(1, None, "")));
    let stream = streams::opus();
    let (_, packetized) = packetize(&stream, 1_452);
    assert!(packetized[0].packets().all(|bytes| !super::packet::is_rtcp(&bytes)));
}

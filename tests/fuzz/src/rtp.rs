//! RTP: packets, RTCP, reordering, payload formats both ways.
//!
//! A depacketiser's input is packets one after the other, each behind a small header:
//!
//! ```text
//! | marker (1) | lost (1) | timestamp step (6) | length (8) | payload … |
//! ```

use std::time::{Duration, Instant};

use bytes::Bytes;
use wasmtx_media::codec::{aac, av1, h264, h265, jpeg};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, nal};
use wasmtx_protocol::rtp::depacketize::{Depacketizer, Unit};
use wasmtx_protocol::rtp::packet::{Header, Packet};
use wasmtx_protocol::rtp::packetize::{Options, Packetizer};
use wasmtx_protocol::rtp::reorder::{MAX_WAIT, Reorder};
use wasmtx_protocol::rtp::{Delivery, Format, rtcp};

/// A parsed packet is part of the input, and printed without what is passed over it parses to the same.
pub(crate) fn packet(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(packet) = Packet::parse(&bytes) else { return };
    assert!(packet.payload.len() + 12 <= bytes.len());
    assert_eq!(Packet::parse(&packet.to_bytes()), Ok(packet));
}

/// Reports written again parse to the same; the number of packets is bounded.
pub(crate) fn control(data: &[u8]) {
    let packets: Vec<_> = rtcp::parse(data).collect();
    assert!(packets.len() <= 64);
    for packet in packets.into_iter().flatten() {
        match packet {
            rtcp::Packet::SenderReport(report, blocks) => {
                let written = rtcp::sender_report(&report, "fuzz");
                assert_eq!(
                    rtcp::parse(&written).next(),
                    Some(Ok(rtcp::Packet::SenderReport(report, vec![])))
                );
                assert!(blocks.len() < 32);
            }
            rtcp::Packet::ReceiverReport(ssrc, blocks) => {
                let Some(block) = blocks.first() else { continue };
                let written = rtcp::receiver_report(ssrc, Some(block), "fuzz");
                let expected = rtcp::Packet::ReceiverReport(ssrc, vec![*block]);
                assert_eq!(rtcp::parse(&written).next(), Some(Ok(expected)));
            }
            rtcp::Packet::Bye(sources) => assert!(sources.len() < 32),
            _ => {}
        }
    }
}

/// Numbers come out rising, every hole is told, and nothing stays behind. Each packet is four bytes: number, source and
/// milliseconds since the one before.
pub(crate) fn reorder(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let delivery = if first & 1 == 0 {
        Delivery::Datagrams
    } else {
        Delivery::Ordered
    };
    let mut reorder = Reorder::new(delivery);
    let mut now = Instant::now();
    let mut expected: Option<u16> = None;
    let (mut told, mut restarts) = (0u64, 0u64);
    let mut drain = |reorder: &mut Reorder| {
        while let Some(delivered) = reorder.poll() {
            let sequence = delivered.packet.header.sequence;
            if delivered.restarted {
                restarts += 1;
                assert!(delivered.lost > 0, "a restart is a gap");
            } else {
                assert!(expected.is_none_or(|expected| sequence == expected.wrapping_add(delivered.lost)));
            }
            told += u64::from(delivered.lost);
            expected = Some(sequence.wrapping_add(1));
        }
    };
    for chunk in rest.chunks_exact(4) {
        let [high, low, source, millis] = [chunk[0], chunk[1], chunk[2], chunk[3]];
        now += Duration::from_millis(u64::from(millis) * 16);
        reorder.handle_timeout(now);
        let sequence = u16::from_be_bytes([high, low]);
        let header = Header {
            marker: false,
            payload_type: 96,
            sequence,
            timestamp: 0,
            ssrc: (source & 1).into(),
        };
        reorder.handle(
            now,
            Packet {
                header,
                payload: Bytes::new(),
            },
        );
        drain(&mut reorder);
        assert!(
            reorder
                .poll_timeout()
                .is_none_or(|deadline| deadline > now - MAX_WAIT && deadline <= now + MAX_WAIT)
        );
    }
    reorder.handle_timeout(now + MAX_WAIT);
    drain(&mut reorder);
    assert_eq!(reorder.poll_timeout(), None);
    // What was lost just before a restart is told with the restart's own gap, or not at all when nothing waited for it.
    assert!(told <= reorder.counts().lost + restarts);
}

pub(crate) fn depacketize_h264(data: &[u8]) {
    // An IDR slice behind its parameter sets in one STAP-A.
    let keyframe = [&[24, 0, 4, 0x67, 66, 0, 30, 0, 2, 0x68, 0x80, 0, 3, 0x65, 0x88, 1][..]];
    let units = depacketize(
        data,
        &track(Codec::H264(h264::Parameters::default()), 90_000),
        &keyframe,
    );
    units.iter().for_each(|unit| nal::check(&unit.payload).unwrap());
}

pub(crate) fn depacketize_h265(data: &[u8]) {
    let keyframe = [&[0x26, 1, 0x80, 7][..]];
    let units = depacketize(
        data,
        &track(Codec::H265(h265::Parameters::default()), 90_000),
        &keyframe,
    );
    units.iter().for_each(|unit| nal::check(&unit.payload).unwrap());
}

pub(crate) fn depacketize_av1(data: &[u8]) {
    // A sequence header and a key frame, both with a length.
    let keyframe = [&[0x08, 3, 0x08, 0, 0, 3, 0x30, 0x10, 0][..]];
    let units = depacketize(data, &track(Codec::Av1(av1::Parameters::default()), 90_000), &keyframe);
    units.iter().for_each(|unit| av1::check(&unit.payload).unwrap());
}

pub(crate) fn depacketize_vpx(data: &[u8]) {
    depacketize(data, &track(Codec::Vp8, 90_000), &[&[0x10, 0, 1, 2], &[0, 3, 4]]);
    depacketize(
        data,
        &track(Codec::Vp9, 90_000),
        &[&[0x08, 0x82, 0x49, 0x83, 0x42, 0], &[0x04, 1]],
    );
}

pub(crate) fn depacketize_aac(data: &[u8]) {
    let config = aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 2).unwrap();
    let track = track(Codec::Aac(config), 48_000);
    depacketize(data, &track, &[&[0, 16, 0, 3 << 3, 1, 2, 3]]);
    let mut format = Format::of(&track, 96);
    format.encoding = "MP4A-LATM".to_owned();
    depacketize_as(data, &format, &track, &[&[3, 1, 2, 3]]);
}

pub(crate) fn depacketize_rest(data: &[u8]) {
    depacketize(data, &track(Codec::Opus { channels: 2 }, 48_000), &[&[0xfc, 1]]);
    depacketize(
        data,
        &track(
            Codec::G711 {
                mu_law: true,
                sample_rate: 8_000,
                channels: 1,
            },
            8_000,
        ),
        &[&[1]],
    );
    let lpcm = Codec::Lpcm {
        bit_depth: 16,
        sample_rate: 48_000,
        channels: 2,
    };
    depacketize(data, &track(lpcm, 48_000), &[&[1, 2, 3, 4]]);
    let generic = Codec::Generic {
        payload_type: 96,
        rtpmap: "x/90000".into(),
        fmtp: String::new(),
    };
    depacketize(data, &track(generic, 90_000), &[&[1]]);
    let mp3 = Codec::Mp3 {
        sample_rate: 0,
        channels: 0,
    };
    let frame = [&[0xff, 0xf3, 0x18, 0xc4][..], &[0; 32]].concat();
    let whole = [&[0; 4], &frame[..]].concat();
    depacketize(data, &track(mp3, 90_000), &[&whole]);
    let ac3 = Codec::Ac3 {
        sample_rate: 48_000,
        channels: 2,
    };
    let frame = [&[0x0b, 0x77, 0, 0, 0, 0x40, 0x43, 0xe1][..], &[0; 120]].concat();
    let (start, end) = frame.split_at(100);
    let fragments = [[&[1, 2], start].concat(), [&[3, 2], end].concat()];
    depacketize(data, &track(ac3, 48_000), &[&fragments[0], &fragments[1]]);
    let jpegs = depacketize(
        data,
        &track(Codec::Mjpeg, 90_000),
        &[&[0, 0, 0, 0, 1, 50, 2, 2, 9], &[0, 0, 0, 1, 1, 50, 2, 2, 8]],
    );
    for unit in jpegs {
        jpeg::Image::parse(&unit.payload).unwrap();
    }
}

fn track(codec: Codec, clock_rate: u32) -> Track {
    Track {
        id: TrackId(0),
        kind: Kind::Video,
        codec,
        clock_rate,
        extra: vec![],
        derived: None,
    }
}

fn depacketize(data: &[u8], track: &Track, keyframe: &[&[u8]]) -> Vec<Unit> {
    depacketize_as(data, &Format::of(track, 96), track, keyframe)
}

/// Frames are never larger than what came, and after any junk the packets of `keyframe` make a frame.
fn depacketize_as(data: &[u8], format: &Format, track: &Track, keyframe: &[&[u8]]) -> Vec<Unit> {
    let mut depacketizer = Depacketizer::new(format, &track.codec);
    let mut units = Vec::new();
    let mut timestamp = 0u32;
    let mut feed = |depacketizer: &mut Depacketizer, units: &mut Vec<Unit>, payload: &[u8], marker, lost, step: u32| {
        timestamp = timestamp.wrapping_add(step);
        let header = Header {
            marker,
            payload_type: 96,
            sequence: 0,
            timestamp,
            ssrc: 0,
        };
        let _ = depacketizer.handle(
            &Packet {
                header,
                payload: Bytes::copy_from_slice(payload),
            },
            lost,
            units,
        );
    };
    let mut rest = data;
    while let [flags, length, after @ ..] = rest {
        let (payload, next) = after.split_at(after.len().min((*length).into()));
        feed(
            &mut depacketizer,
            &mut units,
            payload,
            flags & 0x80 != 0,
            flags & 0x40 != 0,
            (flags & 0x3f).into(),
        );
        rest = next;
    }
    // A JPEG header is put back, a NAL unit gets four bytes of length, a size field less.
    let bound = data.len() * 5 + 1_024;
    assert!(units.iter().map(|unit| unit.payload.len()).max().unwrap_or(0) <= bound);
    let before = units.len();
    for (index, payload) in keyframe.iter().enumerate() {
        let last = index + 1 == keyframe.len();
        feed(
            &mut depacketizer,
            &mut units,
            payload,
            last,
            false,
            if index == 0 { 1_000 } else { 0 },
        );
    }
    assert!(units.len() > before, "{}: no frame after junk", track.codec.name());
    units
}

/// What can be packetised comes back equal. The first byte chooses codec and packet size.
pub(crate) fn packetize(data: &[u8]) {
    let (choice, payload) = data.split_first().unwrap_or((&0, &[]));
    let payload = Bytes::copy_from_slice(payload);
    let codec = match choice & 7 {
        0 => Codec::H264(h264::Parameters::default()),
        1 => Codec::H265(h265::Parameters::default()),
        2 => Codec::Av1(av1::Parameters::default()),
        3 => Codec::Vp8,
        4 => Codec::Vp9,
        5 => Codec::Mjpeg,
        6 => Codec::Aac(aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 2).unwrap()),
        _ => Codec::Opus { channels: 2 },
    };
    let track = track(codec, 90_000);
    let format = Format::of(&track, 96);
    let mtu = 256 + usize::from(choice >> 3) * 8;
    let options = Options {
        ssrc: 0,
        first_sequence: 0,
        timestamp_offset: 0,
        mtu,
        channel: 0,
    };
    let mut packetizer = Packetizer::new(&format, options);
    let flags = Flags::KEY;
    let frame = Frame {
        track: track.id,
        number: 0,
        pts: 7,
        dts: 7,
        duration: 0,
        wall: None,
        flags,
        payload: payload.into(),
    };
    let Ok(packetized) = packetizer.packetize(&frame, &track) else {
        return;
    };
    let mut depacketizer = Depacketizer::new(&format, &track.codec);
    let mut units = Vec::new();
    for bytes in packetized.packets() {
        assert!(bytes.len() <= mtu || choice & 7 == 7);
        let packet = Packet::parse(&bytes).unwrap();
        if depacketizer.handle(&packet, false, &mut units).is_err() {
            return;
        }
    }
    match &track.codec {
        // Parameter sets and delimiters in the payload are not canonical; they go where they belong.
        Codec::H264(_) | Codec::H265(_) => {
            let kept: usize = units.iter().map(|unit| nal::iter(&unit.payload).count()).sum();
            assert!(kept <= nal::iter(&frame.payload).count());
        }
        // Sizes may have been padded, tile lists are left out.
        Codec::Av1(_) => {
            let kept: usize = units.iter().map(|unit| av1::iter(&unit.payload).count()).sum();
            assert!(kept <= av1::iter(&frame.payload).count());
        }
        Codec::Mjpeg => {
            let sent = jpeg::Image::parse(&frame.payload).unwrap();
            let received = jpeg::Image::parse(&units[0].payload).unwrap();
            assert_eq!((received.scan, received.tables), (sent.scan, sent.tables));
        }
        _ => assert_eq!(
            units.iter().map(|unit| &unit.payload).collect::<Vec<_>>(),
            [&*frame.payload]
        ),
    }
}

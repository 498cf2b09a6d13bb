//! RTP and RTSP per frame: packets out of a frame, a frame out of packets, packets out of a TCP stream, beside the copy of
//! the same bytes that none of them can do without.
//!
//! Prints rows `| figure | measured | reference | hold | aim |`.

mod measure;

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use measure::{median, row};
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, codec::h264::Parameters, nal};
use wasmtx_protocol::{
    rtp::{
        Format, Packetizer,
        depacketize::Depacketizer,
        packet::Packet,
        packetize::{DEFAULT_MTU, Options},
    },
    rtsp::{Decoder, Item},
};

/// A frame of a 4 Mb/s stream at 50 frames per second: 8 packets.
const FRAME: usize = 10_000;

fn main() {
    let parameters = Parameters {
        sps: Bytes::from_static(&[0x67, 0x64, 0, 0x1f]),
        pps: Bytes::from_static(&[0x68, 0xeb]),
    };
    let track = Track {
        id: TrackId(0),
        kind: Kind::Video,
        codec: Codec::H264(parameters),
        clock_rate: 90_000,
        extra: Vec::new(),
        derived: None,
    };
    let mut slice = vec![7; FRAME];
    slice[..2].copy_from_slice(&[0x41, 0x9a]);
    let frame = Frame {
        track: track.id,
        number: 0,
        pts: 0,
        dts: 0,
        duration: 0,
        wall: None,
        flags: Flags::NONE,
        payload: nal::from_nals([slice.as_slice()]).expect("one small NAL unit").into(),
    };
    let format = Format::of(&track, 96);
    let options = Options {
        ssrc: 1,
        first_sequence: 0,
        timestamp_offset: 0,
        mtu: DEFAULT_MTU,
        channel: 0,
    };
    let mut packetizer = Packetizer::new(&format, options);
    let copy = median(|| drop(black_box(frame.payload.to_vec())));

    row("protocol: H264 frame into 8 RTP packets", copy, || {
        drop(black_box(
            packetizer.packetize(&frame, &track).expect("a canonical frame"),
        ));
    });

    let mut depacketizer = Depacketizer::new(&format, &track.codec);
    let mut frames = Vec::new();
    let mut packetizer = Packetizer::new(&format, options);
    row("protocol: there and back again", copy, || {
        let packetized = packetizer.packetize(&frame, &track).expect("a canonical frame");
        for bytes in packetized.packets() {
            let packet = Packet::parse(&bytes).expect("our own packet");
            depacketizer
                .handle(&packet, false, &mut frames)
                .expect("our own payload");
        }
        assert_eq!(frames.len(), 1, "one frame in, one out");
        black_box(&frames);
        frames.clear();
    });

    let packetized = packetizer.packetize(&frame, &track).expect("a canonical frame");
    let mut decoder = Decoder::new();
    row("protocol: 8 packets out of a TCP stream", copy, || {
        // The copy that reading from a socket is.
        let mut input = BytesMut::from(&packetized.interleaved()[..]);
        while let Some(item) = decoder.decode(&mut input).expect("our own stream") {
            debug_assert!(matches!(item, Item::Frame { .. }));
            black_box(&item);
        }
    });
}

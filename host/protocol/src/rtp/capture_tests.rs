//! What FFmpeg and GStreamer send for known streams comes out as these streams.

use bytes::Bytes;
use wasmtx_media::{Kind, TrackId, nal};

use super::testing::streams::{self, Stream};
use super::{Delivery, Format, Receiver, Timeline, testing};

/// A capture: each packet behind its length in two bytes.
macro_rules! capture {
    ($name:literal) => {
        include_bytes!(concat!("../../testdata/", $name, ".rtp"))
    };
}

fn packets(mut capture: &'static [u8]) -> Vec<Bytes> {
    let mut packets = Vec::new();
    while let [high, low, rest @ ..] = capture {
        let (packet, after) = rest.split_at(u16::from_be_bytes([*high, *low]).into());
        packets.push(Bytes::from_static(packet));
        capture = after;
    }
    packets
}

fn format(rtpmap: &str, payload_type: u8, fmtp: &str) -> Format {
    let mut parts = rtpmap.split('/');
    Format {
        kind: Kind::Video,
        payload_type,
        encoding: parts.next().unwrap().to_owned(),
        clock_rate: parts.next().unwrap().parse().unwrap(),
        channels: parts.next().map_or(1, |text| text.parse().unwrap()),
        fmtp: fmtp.to_owned(),
    }
}

/// `relative` compares presentation times, too: FFmpeg keeps those of the file.
fn check(name: &str, capture: &'static [u8], format: &Format, stream: &Stream, relative: bool) {
    let mut receiver = Receiver::new(format, format.track(TrackId(3)), Delivery::Ordered, 1);
    let (mut timeline, mut received) = (Timeline::default(), Vec::new());
    for bytes in packets(capture) {
        receiver.handle_rtp(testing::start(), &bytes, &mut timeline, &mut received);
    }
    let counts = receiver.counts();
    assert_eq!(
        (counts.packets_in_error, counts.packets_lost, counts.frames_in_error),
        (0, 0, 0),
        "{name}"
    );
    let (clock, original) = (i64::from(format.clock_rate), i64::from(stream.track.clock_rate));
    assert_eq!(received.len(), stream.frames.len(), "{name}");
    for (number, (received, (payload, flags, pts))) in received.iter().zip(&stream.frames).enumerate() {
        let frame = &received.frame;
        assert_eq!(frame.payload, *payload, "{name}, frame {number}");
        assert_eq!(frame.flags, *flags, "{name}, frame {number}");
        assert!(frame.dts <= frame.pts, "{name}, frame {number}");
        if relative {
            let expected = pts * clock / original;
            assert!(
                (frame.pts - expected).abs() <= clock / 1_000,
                "{name}, frame {number}: {} for {expected}",
                frame.pts
            );
        }
    }
    assert!(received.is_sorted_by_key(|received| received.frame.dts), "{name}");
    if !matches!(stream.track.codec, wasmtx_media::Codec::Opus { .. }) {
        assert_eq!(receiver.track().codec, stream.track.codec, "{name}");
    }
}

/// Without its SEI: FFmpeg and GStreamer's parser leave x264's and x265's greetings out.
fn without_sei(mut stream: Stream, header: u8) -> Stream {
    for (payload, ..) in &mut stream.frames {
        let kept = nal::iter(payload).filter(|nal| nal[0] != header);
        *payload = nal::from_nals(kept.collect::<Vec<_>>()).unwrap();
    }
    stream
}

/// JPEG travels without its own headers: compare after they were put back.
fn jpeg() -> Stream {
    let mut stream = streams::mjpeg();
    stream.frames.truncate(1);
    stream
}

const LATM: &str = "profile-level-id=41;cpresent=0;config=400024203fc0";
const AAC_HBR: &str = "mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=1210";

#[test]
fn ffmpeg_is_understood() {
    check(
        "vp8",
        capture!("ffmpeg-vp8"),
        &format("VP8/90000", 96, ""),
        &streams::vp8(),
        true,
    );
    check(
        "vp9",
        capture!("ffmpeg-vp9"),
        &format("VP9/90000", 96, ""),
        &streams::vp9(),
        true,
    );
    check(
        "jpeg",
        capture!("ffmpeg-jpeg"),
        &format("JPEG/90000", 26, ""),
        &jpeg(),
        true,
    );
    // Several access units per packet; it was stopped with four of them unsent.
    let mut aac = streams::aac();
    aac.frames.truncate(41);
    check(
        "aac",
        capture!("ffmpeg-aac"),
        &format("MPEG4-GENERIC/44100/2", 97, AAC_HBR),
        &aac,
        true,
    );
    check(
        "latm",
        capture!("ffmpeg-latm"),
        &format("MP4A-LATM/44100/2", 97, LATM),
        &streams::aac(),
        true,
    );
}

#[test]
fn ffmpeg_keeps_parameter_sets_in_the_sdp() {
    let stream = streams::h264();
    let fmtp = Format::of(&stream.track, 96).fmtp;
    check(
        "h264",
        capture!("ffmpeg-h264"),
        &format("H264/90000", 96, &fmtp),
        &stream,
        true,
    );
    let stream = without_sei(streams::h265(), 39 << 1);
    let fmtp = Format::of(&stream.track, 96).fmtp;
    check(
        "h265",
        capture!("ffmpeg-h265"),
        &format("H265/90000", 96, &fmtp),
        &stream,
        true,
    );
}

#[test]
fn opus_packets_last_as_long_as_they_say() {
    let format = format("opus/48000/2", 97, "sprop-stereo=1");
    let mut receiver = Receiver::new(&format, format.track(TrackId(0)), Delivery::Ordered, 1);
    let (mut timeline, mut received) = (Timeline::default(), Vec::new());
    for bytes in packets(capture!("ffmpeg-opus")) {
        receiver.handle_rtp(testing::start(), &bytes, &mut timeline, &mut received);
    }
    assert_eq!(received.len(), 51);
    for pair in received.windows(2) {
        assert_eq!(pair[0].frame.duration, 960);
        assert_eq!(pair[0].frame.pts + 960, pair[1].frame.pts);
    }
}

#[test]
fn gstreamer_is_understood() {
    let h264 = without_sei(streams::h264(), 6);
    check(
        "h264",
        capture!("gst-h264"),
        &format("H264/90000", 96, ""),
        &h264,
        false,
    );
    check(
        "h265",
        capture!("gst-h265"),
        &format("H265/90000", 96, ""),
        &streams::h265(),
        false,
    );
    check(
        "vp8",
        capture!("gst-vp8"),
        &format("VP8/90000", 96, ""),
        &streams::vp8(),
        false,
    );
    check(
        "vp9",
        capture!("gst-vp9"),
        &format("VP9/90000", 96, ""),
        &streams::vp9(),
        false,
    );
    check(
        "jpeg",
        capture!("gst-jpeg"),
        &format("JPEG/90000", 26, ""),
        &jpeg(),
        false,
    );
    check(
        "aac",
        capture!("gst-aac"),
        &format("MPEG4-GENERIC/44100/2", 96, AAC_HBR),
        &streams::aac(),
        false,
    );
    check(
        "latm",
        capture!("gst-latm"),
        &format("MP4A-LATM/44100/2", 96, LATM),
        &streams::aac(),
        false,
    );
}

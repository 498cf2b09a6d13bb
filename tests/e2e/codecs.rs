//! Each codec through the server: what comes out is what went in.

use bytes::Bytes;
use wasmtx_media::{self as media, Kind};

use crate::harness::{
    Codec, Folder, OPEN, Player, Publisher, Reader, Server, Transport, assert_run, decoded_hashes, hash,
};

/// Frames that are compared at least.
const LEAST: usize = 50;

/// Publishes with FFmpeg, reads with the reader that keeps every frame, and asserts that the stream is of this codec.
fn pass(codec: Codec, name: &str) -> Reader {
    let server = Server::start(OPEN);
    let clip = codec.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    assert_eq!(reader.tracks[0].codec.name(), name);
    reader.until(0, LEAST);
    assert_eq!(reader.faults(), 0);
    reader
}

fn check(codec: Codec, name: &str) {
    let got = pass(codec, name).hashes(0);
    assert_run(&codec.clip().packet_hashes(), &got, LEAST);
}

/// Samples are cut into packets anew by whoever sends them: what counts is their sequence.
fn check_samples(codec: Codec, name: &str) {
    let got = pass(codec, name)
        .frames(0)
        .iter()
        .flat_map(|frame| frame.payload.to_vec())
        .collect::<Vec<u8>>();
    let sent = codec.clip().payloads().concat();
    assert!(got.len() >= 4_000, "{} bytes", got.len());
    let found = sent.windows(got.len()).any(|window| window == got);
    assert!(found, "the samples that came are no run of those that were sent");
}

#[test]
fn h264_with_b_frames_comes_out_as_it_went_in() {
    check(Codec::H264, "H264");
}

#[test]
fn h265_with_b_frames_comes_out_as_it_went_in() {
    check(Codec::H265, "H265");
}

#[test]
fn vp8_comes_out_as_it_went_in() {
    check(Codec::Vp8, "VP8");
}

#[test]
fn vp9_comes_out_as_it_went_in() {
    check(Codec::Vp9, "VP9");
}

/// FFmpeg and GStreamer of today's distributions do not send AV1 by RTP.
#[test]
fn av1_comes_out_as_it_went_in() {
    let server = Server::start(OPEN);
    let mut publisher = Publisher::new(&server, "cam1", Kind::Video, media::Codec::Av1(Default::default()));
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    let payloads = Codec::Av1.clip().payloads();
    publisher.send_all(&payloads);
    reader.until(0, payloads.len());
    let sent: Vec<String> = payloads.iter().map(|payload| hash(payload)).collect();
    assert_eq!(reader.tracks[0].codec.name(), "AV1");
    assert_eq!(reader.hashes(0), sent);
}

/// RTP carries no JPEG headers (RFC 2435): the pictures are what stays.
#[test]
fn motion_jpeg_comes_out_with_the_pictures_that_went_in() {
    let reader = pass(Codec::Mjpeg, "M-JPEG");
    let folder = Folder::new();
    let images: Vec<u8> = reader
        .frames(0)
        .iter()
        .flat_map(|frame| frame.payload.to_vec())
        .collect();
    let file = folder.write("images.mjpeg", images);
    assert_run(
        &decoded_hashes(&Codec::Mjpeg.clip().file),
        &decoded_hashes(&file),
        LEAST,
    );
}

#[test]
fn aac_comes_out_as_it_went_in() {
    check(Codec::Aac, "MPEG-4 Audio");
}

#[test]
fn opus_comes_out_as_it_went_in() {
    check(Codec::Opus, "Opus");
}

#[test]
fn g711_mu_law_comes_out_as_it_went_in() {
    check_samples(Codec::Ulaw, "G711");
}

#[test]
fn g711_a_law_comes_out_as_it_went_in() {
    check_samples(Codec::Alaw, "G711");
}

#[test]
fn l16_comes_out_as_it_went_in() {
    check_samples(Codec::L16, "LPCM");
}

#[test]
fn a_format_that_nobody_knows_is_passed_on_as_it_is() {
    let server = Server::start(OPEN);
    let onvif = media::Codec::Generic {
        payload_type: 96,
        rtpmap: "VND.ONVIF.METADATA/90000".to_owned(),
        fmtp: String::new(),
    };
    let mut publisher = Publisher::new(&server, "cam1", Kind::Data, onvif.clone());
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    let payloads: Vec<Bytes> = (0..LEAST)
        .map(|number| Bytes::from(format!("<event number='{number}'/>")))
        .collect();
    publisher.send_all(&payloads);
    reader.until(0, payloads.len());
    assert_eq!(reader.tracks[0].codec, onvif);
    let got: Vec<Bytes> = reader.frames(0).into_iter().map(|frame| frame.payload.into()).collect();
    assert_eq!(got, payloads);
}

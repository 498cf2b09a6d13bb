//! Those that stand in the way of frames.

use std::{
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use wasmtx_media::{self as media, Frame, Kind};

use crate::harness::{
    Clip, Codec, Folder, Player, Publisher, Reader, Server, Tool, Transport, assert_run, decoded_hashes, hash, made_up,
    run,
};

/// A path for each plugin and configuration, and `tame` without any.
fn server(uses: &[(&str, &str, &str)]) -> Server {
    let paths = uses.iter().map(|(path, plugin, config)| {
        format!("  {path}:\n    plugins:\n    - use: {plugin}\n      config: {config}\n")
    });
    Server::start(&format!("paths:\n{}  tame:\n", paths.collect::<String>()))
}

#[test]
fn bitrate_guard_closes_a_real_publisher_above_its_cap_and_no_other() {
    let server = server(&[
        ("capped", "bitrate-guard", "{ maxBitrate: 50000, burst: 1 }"),
        ("roomy", "bitrate-guard", "{ maxBitrate: 8000000 }"),
    ]);
    let clip = Codec::H264.clip();
    let roomy = Player::FFmpeg.publish(&server, Transport::Tcp, "roomy", &clip);
    server.online("roomy");
    let mut capped = Player::FFmpeg.publish(&server, Transport::Tcp, "capped", &clip);
    assert!(!capped.wait().success());
    server.logged(&["bitrate-exceeded", "capped"]);
    server.offline("capped");
    let read = Player::FFmpeg.read(&server, Transport::Tcp, "roomy", 30).hashes();
    assert_run(&clip.hashes(), &read, 30);
    drop(roomy);
}

#[test]
fn bitrate_guard_drops_from_a_frame_that_does_not_fit_to_the_next_keyframe() {
    let server = server(&[("cam1", "bitrate-guard", "{ maxBitrate: 1000, burst: 60, then: drop }")]);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let reader = Reader::new(&server, "cam1");
    // There is room for 7,500 bytes at first, and 125 more each second: the third of these frames would have to wait for 12.
    let frames = made_up(20, 5, 3_000);
    publisher.send_all(&frames);
    let small = made_up(10, 10, 50);
    publisher.send_all(&small);
    reader.until(0, 2 + 10);
    let got: Vec<Bytes> = reader.frames(0).into_iter().map(|frame| frame.payload.into()).collect();
    assert_eq!(got[..2], frames[..2]);
    assert_eq!(got[2..], small[..]);
    assert_eq!(
        server.metric("wasmtx_plugin_series", &["name=\"frames_dropped\""]),
        18.0
    );
}

#[test]
fn track_select_leaves_what_was_chosen_and_no_trace_of_the_rest() {
    let server = server(&[
        ("sound", "track-select", "{ keep: [{ codec: mpeg-4 audio }] }"),
        ("pictures", "track-select", "{ drop: [{ media: audio }], one: [video] }"),
        (
            "none",
            "track-select",
            "{ keep: [{ maxHeight: 100 }, { media: audio }] }",
        ),
    ]);
    let clip = Codec::Both.clip();
    let paths = [
        ("sound", "MPEG-4 Audio"),
        ("pictures", "H264"),
        ("none", "MPEG-4 Audio"),
    ];
    let _publishing = paths.map(|(path, _)| Player::FFmpeg.publish(&server, Transport::Tcp, path, &clip));
    for (path, codec) in paths {
        server.online(path);
        let reader = Reader::new(&server, path);
        let codecs: Vec<_> = reader.tracks.iter().map(|track| track.codec.name()).collect();
        assert_eq!(codecs, [codec], "{path}");
        reader.until(0, 10);
    }
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "pictures", 30).hashes();
    assert_run(&clip.hashes(), &got, 30);
}

const H264: &[u8] = b"MISPmicrosectime";
const H265: &[u8] = &[
    0xa8, 0x68, 0x7d, 0xd4, 0xd7, 0x59, 0x37, 0x58, 0xa5, 0xce, 0xf0, 0x33, 0x8b, 0x65, 0x45, 0xf1,
];

/// Where the identifier stands.
fn find(payload: &[u8], identifier: &[u8]) -> usize {
    let mut places = payload
        .windows(identifier.len())
        .enumerate()
        .filter(|(_, window)| *window == identifier);
    let (place, _) = places.next().expect("a stamp");
    assert!(places.next().is_none(), "one stamp in a frame");
    place
}

/// The frame as it was, and the time that was written into it. `before` and `after` are the bytes around what MISB ST 0604 defines.
fn unstamped(payload: &[u8], identifier: &[u8], before: usize, after: usize) -> (Vec<u8>, Duration) {
    let start = find(payload, identifier);
    let [status, a, b, 0xff, c, d, 0xff, e, f, 0xff, g, h] = payload[start + 16..start + 28] else {
        panic!("no stamp: {:?}", &payload[start..start + 28]);
    };
    assert_eq!(status, 0x1f);
    let time = Duration::from_micros(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    let whole = [&payload[..start - before], &payload[start + 28 + after..]].concat();
    (whole, time)
}

/// Takes the stamps out, whose times must be between then and now, and answers the frames as they were.
fn check(frames: &[Frame], identifier: &[u8], before: usize, begun: Duration) -> Vec<String> {
    let now = since_1970();
    let unstamped = frames.iter().map(|frame| {
        let (payload, time) = unstamped(&frame.payload, identifier, before, 1);
        assert!(
            (begun..=now).contains(&time),
            "{time:?} is not between {begun:?} and {now:?}"
        );
        hash(&payload)
    });
    unstamped.collect()
}

fn since_1970() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

fn stamping() -> Server {
    server(&[("cam1", "sei-timestamp", "{ clock: server }")])
}

fn publish(server: &Server, clip: &Clip) -> Tool {
    let publishing = Player::FFmpeg.publish(server, Transport::Tcp, "cam1", clip);
    server.online("cam1");
    publishing
}

#[test]
fn sei_timestamp_writes_the_time_into_each_frame_of_h264_and_h265_and_changes_nothing_else() {
    for (codec, identifier, before) in [(Codec::H264, H264, 4 + 1 + 2), (Codec::H265, H265, 4 + 2 + 2)] {
        let (server, begun) = (stamping(), since_1970() - Duration::from_millis(1));
        let clip = codec.clip();
        let _publishing = publish(&server, &clip);
        let reader = Reader::new(&server, "cam1");
        reader.until(0, 50);
        let got = check(&reader.frames(0), identifier, before, begun);
        assert_run(&clip.packet_hashes(), &got, 50);
        assert_eq!(server.metric("wasmtx_plugin_series", &["name=\"frames_without\""]), 0.0);
    }
}

#[test]
fn what_sei_timestamp_wrote_decodes_as_if_it_were_not_there() {
    let server = stamping();
    let _publishing = publish(&server, &Codec::H264.clip());
    let mut reading = Player::FFmpeg.read(&server, Transport::Tcp, "cam1", 30).tool;
    assert!(reading.wait().success(), "{}", reading.said());
    let file = reading.file("output.h264");
    let stream = fs::read(&file).expect("what FFmpeg read");
    assert_eq!(stream.windows(H264.len()).filter(|window| *window == H264).count(), 30);

    // Without any SEI message, the pictures are the same.
    let plain = reading.file("plain.h264");
    let line = [
        "-v",
        "error",
        "-i",
        &file.to_string_lossy(),
        "-c",
        "copy",
        "-bsf:v",
        "filter_units=remove_types=6",
        &plain.to_string_lossy(),
    ]
    .map(str::to_owned);
    run("ffmpeg", line);
    assert_eq!(decoded_hashes(&file), decoded_hashes(&plain));
    let line = [
        "-v",
        "error",
        "-xerror",
        "-i",
        &file.to_string_lossy(),
        "-f",
        "null",
        "-",
    ]
    .map(str::to_owned);
    let mut decoding = Tool::start("ffmpeg", line);
    assert!(decoding.wait().success());
    assert_eq!(decoding.said(), "");
}

#[test]
fn sei_timestamp_writes_metadata_into_av1_that_decoders_pass_over() {
    let (server, begun) = (stamping(), since_1970() - Duration::from_millis(1));
    let mut publisher = Publisher::new(&server, "cam1", Kind::Video, media::Codec::Av1(Default::default()));
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    let clip = Codec::Av1.clip();
    let payloads = clip.payloads();
    publisher.send_all(&payloads);
    reader.until(0, payloads.len());
    let frames = reader.frames(0);
    let sent: Vec<String> = payloads.iter().map(|payload| hash(payload)).collect();
    assert_eq!(check(&frames, H264, 1 + 1 + 1 + 2, begun), sent);

    // With the temporal delimiters that a file has, and a transport leaves out.
    let delimited = frames
        .iter()
        .flat_map(|frame| [&[0x12, 0][..], &frame.payload[..]].concat());
    let folder = Folder::new();
    let file = folder.write("stamped.obu", delimited.collect::<Vec<u8>>());
    assert_eq!(decoded_hashes(&file), decoded_hashes(&clip.file));
}

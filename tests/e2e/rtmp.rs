//! RTMP and HTTP-FLV with the programs that people use: what is published by one is played by all others.

use crate::harness::{
    Clip, Codec, OPEN, Packet, Player, Reader, Server, Tool, Transport, Viewer, assert_run, run, until,
};

/// Pictures that each player plays.
const PICTURES: usize = 60;

/// Plays a path with everything that plays H264, all at the same time.
fn check(server: &Server, path: &str, clip: &Clip) {
    let (sent, keyframes) = (clip.hashes(), clip.keyframes());
    server.online(path);
    let [rtmp, rtmps, flv] = [server.rtmp(path), server.rtmps(path), server.flv(path)];
    let viewings = [
        (Viewer::FFmpeg, &rtmp),
        (Viewer::FFmpeg, &rtmps),
        (Viewer::FFmpeg, &flv),
        (Viewer::GStreamer, &rtmp),
        (Viewer::Rtmpdump, &rtmp),
    ];
    let viewings = viewings.map(|(viewer, url)| (viewer, url, viewer.view(url, Codec::H264, PICTURES)));
    let reading = Player::FFmpeg.read(server, Transport::Tcp, path, PICTURES);
    let played = viewings.map(|(viewer, url, viewing)| (format!("{viewer:?} of {url}"), viewing.hashes()));
    let read = ("FFmpeg by RTSP".to_owned(), reading.hashes());
    for (who, got) in played.into_iter().chain([read]) {
        eprintln!("{who}: {} pictures", got.len());
        let begin = assert_run(&sent, &got, PICTURES);
        assert!(
            keyframes.contains(&begin),
            "{who} begins with picture {begin}, which is no keyframe"
        );
    }
}

#[test]
fn everybody_plays_what_ffmpeg_publishes_by_rtmp() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp("live/cam1"), &clip);
    check(&server, "live/cam1", &clip);
}

#[test]
fn everybody_plays_what_ffmpeg_publishes_by_rtmps() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Viewer::FFmpeg.publish(&server.rtmps("live/cam1"), &clip);
    check(&server, "live/cam1", &clip);
}

#[test]
fn everybody_plays_what_gstreamer_publishes_by_rtmp() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Viewer::GStreamer.publish(&server.rtmp("live/cam1"), &clip);
    check(&server, "live/cam1", &clip);
}

#[test]
fn everybody_plays_what_ffmpeg_publishes_by_rtsp() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "a/long/path", &clip);
    check(&server, "a/long/path", &clip);
}

/// Publishes with these options, and asserts that pictures keep their times on the way to an RTMP and an FLV player.
fn check_times(options: &str) {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Viewer::FFmpeg.publish_files(&server.rtmp("live/cam1"), &[&clip], options);
    server.online("live/cam1");
    let urls = [server.rtmp("live/cam1"), server.flv("live/cam1")];
    let viewings = urls.map(|url| Viewer::FFmpeg.view(&url, Codec::H264, PICTURES));
    let hashes = clip.hashes();
    for got in viewings.map(|viewing| viewing.packets()) {
        let found: Vec<String> = got.iter().map(|packet| packet.hash.clone()).collect();
        let begin = assert_run(&hashes, &found, PICTURES);
        assert_times(&clip.packets()[begin..], &got);
    }
}

/// The file counts 12,800 ticks a second, FLV milliseconds.
#[track_caller]
fn assert_times(sent: &[Packet], got: &[Packet]) {
    for (number, (packet, came)) in sent.iter().zip(got).enumerate() {
        let expected = (packet.pts - sent[0].pts) * 10 / 128;
        let shift = came.pts - got[0].pts - expected;
        assert!(shift.abs() <= 1, "picture {number} is {shift} ms off");
    }
    assert!(
        got.windows(2).all(|pair| pair[0].dts < pair[1].dts),
        "decoding times go back"
    );
    assert!(
        got.iter().all(|packet| packet.dts <= packet.pts),
        "a picture is shown before it is decoded"
    );
}

#[test]
fn b_frames_keep_their_order_and_their_times() {
    check_times("");
}

#[test]
fn times_go_on_where_three_bytes_are_no_longer_enough() {
    // Two seconds before 2^24 milliseconds.
    check_times("-output_ts_offset 16775.216");
}

/// Publishes a clip of sound, and plays it by RTMP and FLV.
fn check_sound(codec: Codec) {
    const FRAMES: usize = 60;
    let server = Server::start(OPEN);
    let clip = codec.clip();
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp("live/radio"), &clip);
    server.online("live/radio");
    let urls = [server.rtmp("live/radio"), server.flv("live/radio")];
    let viewings = urls.map(|url| Viewer::FFmpeg.view(&url, codec, FRAMES));
    let reader = Reader::new(&server, "live/radio");
    reader.until(0, FRAMES);
    let sent = clip.packet_hashes();
    for viewing in viewings {
        assert_run(&sent, &viewing.hashes(), FRAMES);
    }
    assert_run(&sent, &reader.hashes(0), FRAMES);
}

#[test]
fn aac_alone_is_a_stream() {
    check_sound(Codec::Aac);
}

#[test]
fn mp3_alone_is_a_stream() {
    check_sound(Codec::Mp3);
}

#[test]
fn pictures_and_sound_arrive_together() {
    let server = Server::start(OPEN);
    let clip = Codec::Both.clip();
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp("live/cam1"), &clip);
    server.online("live/cam1");
    let url = server.rtmp("live/cam1");
    let pictures = Viewer::FFmpeg.view(&url, Codec::H264, PICTURES);
    let sound = Viewer::FFmpeg.view(&url, Codec::Aac, PICTURES);
    assert_run(&clip.hashes(), &pictures.hashes(), PICTURES);
    assert_run(&clip.sound_hashes(), &sound.hashes(), PICTURES);
}

/// What rtmpdump wrote is a file like any other.
#[test]
fn what_rtmpdump_keeps_can_be_read() {
    let server = Server::start(OPEN);
    let clip = Codec::Both.clip();
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp("live/cam1"), &clip);
    server.online("live/cam1");
    let mut viewing = Viewer::Rtmpdump.view(&server.rtmp("live/cam1"), Codec::Both, PICTURES);
    let file = viewing.file();
    let line = "-v error -show_entries stream=codec_name,width,sample_rate -of csv=p=0";
    let said = run("ffprobe", line.split(' ').map(AsRef::as_ref).chain([file.as_os_str()]));
    let said = String::from_utf8_lossy(&said).into_owned();
    let mut streams: Vec<&str> = said.lines().collect();
    streams.sort_unstable();
    assert_eq!(streams, ["aac,48000", "h264,320"]);
}

const USERS: &str = "\
authInternalUsers:
- user: ada
  pass: engine
  permissions:
  - action: publish
  - action: read
  - action: api
  - action: metrics
paths:
  all_others:
";

#[test]
fn credentials_are_given_in_the_query() {
    let server = Server::start(USERS);
    let clip = Codec::H264.clip();
    let login = "live/cam1?user=ada&pass=engine";
    let mut stranger = Viewer::FFmpeg.publish(&server.rtmp("live/cam1?user=ada&pass=difference"), &clip);
    assert!(!stranger.wait().success(), "{}", stranger.said());
    let _publishing = Viewer::FFmpeg.publish(&server.rtmp(login), &clip);
    let viewing = until("somebody may play", || {
        let got = Viewer::FFmpeg.view(&server.rtmp(login), Codec::H264, 10).hashes();
        (!got.is_empty()).then_some(got)
    });
    assert_run(&clip.hashes(), &viewing, 10);
    assert!(!server.log().contains("engine"), "a password is logged");
}

#[test]
fn a_publisher_that_ends_takes_its_players_along() {
    let server = Server::start(OPEN);
    let publishing: Tool = Viewer::FFmpeg.publish(&server.rtmp("live/cam1"), &Codec::H264.clip());
    server.online("live/cam1");
    let mut viewing = Viewer::FFmpeg.view(&server.rtmp("live/cam1"), Codec::H264, 10_000);
    server.readers("live/cam1", 1);
    publishing.signal(rustix::process::Signal::TERM);
    server.offline("live/cam1");
    viewing.tool.wait();
}

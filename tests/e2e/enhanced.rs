//! Enhanced RTMP with an FFmpeg that speaks it: the codecs that Flash never knew.

use crate::harness::{Codec, OPEN, Player, Reader, Rtmp, Server, Transport, Viewer, assert_run, hash};

/// Packets that each player plays.
const PACKETS: usize = 40;

/// Publishes a clip, plays it by RTMP and FLV, and by RTSP if that carries it under this name.
fn check(codec: Codec, rtsp: Option<&str>) {
    let server = Server::start(OPEN);
    let clip = codec.clip();
    let _publishing = Viewer::NewFFmpeg.publish(&server.rtmp("live/cam1"), &clip);
    server.online("live/cam1");
    let urls = [server.rtmp("live/cam1"), server.flv("live/cam1")];
    let viewings = urls.map(|url| Viewer::NewFFmpeg.view(&url, codec, PACKETS));
    let reader = rtsp.map(|_| Reader::new(&server, "live/cam1"));
    let sent = clip.hashes();
    for viewing in viewings {
        assert_run(&sent, &viewing.hashes(), PACKETS);
    }
    if let (Some(reader), Some(name)) = (reader, rtsp) {
        reader.until(0, PACKETS);
        assert_eq!(reader.tracks[0].codec.name(), name);
        assert_run(&clip.packet_hashes(), &reader.hashes(0), PACKETS);
    }
}

#[test]
fn hevc_with_b_frames_comes_out_as_it_went_in() {
    check(Codec::H265, Some("H265"));
}

#[test]
fn av1_comes_out_as_it_went_in() {
    check(Codec::Av1, None);
}

#[test]
fn vp9_comes_out_as_it_went_in() {
    check(Codec::Vp9, Some("VP9"));
}

#[test]
fn opus_comes_out_as_it_went_in() {
    check(Codec::Opus, Some("Opus"));
}

#[test]
fn flac_comes_out_as_it_went_in() {
    check(Codec::Flac, None);
}

#[test]
fn ac3_comes_out_as_it_went_in() {
    check(Codec::Ac3, None);
}

/// One of them would be an ordinary stream, two need multitrack packets.
#[test]
fn two_tracks_of_sound_come_out_as_they_went_in() {
    let server = Server::start(OPEN);
    let clips = [Codec::H265.clip(), Codec::Opus.clip(), Codec::Aac.clip()];
    let files = clips.each_ref().map(AsRef::as_ref);
    let _publishing = Viewer::NewFFmpeg.publish_files(&server.rtmp("live/cam1"), &files, "");
    server.online("live/cam1");
    let reader = Reader::new(&server, "live/cam1");
    let names: Vec<&str> = reader.tracks.iter().map(|track| track.codec.name()).collect();
    assert_eq!(names, ["H265", "Opus", "MPEG-4 Audio"]);
    for (track, clip) in clips.iter().enumerate() {
        reader.until(track, PACKETS);
        assert_run(&clip.packet_hashes(), &reader.hashes(track), PACKETS);
    }
    // FFmpeg does not say that it takes multitrack packets, so our own player asks for them.
    let address = server.address("rtmpAddress");
    let mut player = Rtmp::play(address, "live/cam1", &["hvc1", "Opus", "mp4a"]).expect("a player");
    let sent = clips[2].packet_hashes();
    let mut got = Vec::new();
    while got.len() < PACKETS {
        let tag = player.next_tag().expect("more of the stream");
        // Of sound: an extended header (9) of type Multitrack (5); one track (0) of coded frames (1); the codec; its number.
        if let (8, [0x95, 0x01, b'm', b'p', b'4', b'a', 1, payload @ ..]) = (tag.kind, &tag.body[..]) {
            got.push(hash(payload));
        }
    }
    assert_run(&sent, &got, PACKETS);
}

/// Where the server re-encodes, the sound is there for everybody.
#[test]
fn a_player_of_old_gets_the_sound_that_was_re_encoded_for_it() {
    let server = Server::start("paths:\n  all_others:\n    plugins: [builtin:aac]\n");
    let clips = [Codec::H265.clip(), Codec::Opus.clip()];
    let files = clips.each_ref().map(AsRef::as_ref);
    let _publishing = Viewer::NewFFmpeg.publish_files(&server.rtmp("live/cam1"), &files, "");
    server.online("live/cam1");
    let sound = Viewer::FFmpeg
        .view(&server.rtmp("live/cam1"), Codec::Aac, PACKETS)
        .packets();
    assert!(sound.len() >= PACKETS, "{} frames", sound.len());
    // 1024 samples at 48 kHz.
    for pair in sound.windows(2) {
        let step = pair[1].pts - pair[0].pts;
        assert!((20..=23).contains(&step), "a frame after {step} ms");
    }
    let all = [Codec::H265, Codec::Opus].map(|codec| Viewer::NewFFmpeg.view(&server.rtmp("live/cam1"), codec, PACKETS));
    for (clip, viewing) in clips.iter().zip(all) {
        assert_run(&clip.hashes(), &viewing.hashes(), PACKETS);
    }
}

#[test]
fn hevc_that_comes_by_rtsp_leaves_by_rtmp() {
    let server = Server::start(OPEN);
    let clip = Codec::H265.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let viewing = Viewer::NewFFmpeg.view(&server.rtmp("cam1"), Codec::H265, PACKETS);
    assert_run(&clip.hashes(), &viewing.hashes(), PACKETS);
}

/// An old player neither gets what it does not know nor waits for it.
#[test]
fn a_player_of_old_is_told_that_there_is_nothing_for_it() {
    let server = Server::start(OPEN);
    let clips = [Codec::H265.clip(), Codec::Opus.clip()];
    let _publishing = Viewer::NewFFmpeg.publish_files(&server.rtmp("live/cam1"), &[&clips[0], &clips[1]], "");
    server.online("live/cam1");
    let mut old = Viewer::FFmpeg.view(&server.rtmp("live/cam1"), Codec::H264, 1);
    old.tool.wait();
    server.logged(&["can play none of", "H265", "Opus"]);
    let viewing = Viewer::NewFFmpeg.view(&server.rtmp("live/cam1"), Codec::H265, PACKETS);
    assert_run(&clips[0].hashes(), &viewing.hashes(), PACKETS);
}

//! What a reader gets, whenever it comes and however slowly it reads.

use crate::harness::{
    Codec, OPEN, Player, Publisher, Reader, Server, Session, Transport, assert_run, made_up, number_of,
};

fn numbers(reader: &Reader) -> Vec<u64> {
    reader.frames(0).iter().map(|frame| number_of(&frame.payload)).collect()
}

#[test]
fn a_reader_that_joins_late_begins_with_the_last_keyframe() {
    let server = Server::start(OPEN);
    let frames = made_up(40, 10, 1_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let first = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..25]);
    first.until(0, 25);

    let late = Reader::new(&server, "cam1");
    late.until(0, 5);
    publisher.send_all(&frames[25..]);
    late.until(0, 20);
    first.until(0, 40);
    assert_eq!(numbers(&late), (20..40).collect::<Vec<_>>());
    assert_eq!(numbers(&first), (0..40).collect::<Vec<_>>());
}

#[test]
fn a_reader_that_wants_to_be_live_begins_with_the_next_keyframe() {
    let server = Server::start("pathDefaults:\n  readerStart: live\npaths:\n  all_others:\n");
    let frames = made_up(40, 10, 1_000);
    let mut publisher = Publisher::vp8(&server, "cam1");
    let first = Reader::new(&server, "cam1");
    publisher.send_all(&frames[..25]);
    first.until(0, 25);

    let late = Reader::new(&server, "cam1");
    publisher.send_all(&frames[25..]);
    late.until(0, 10);
    assert_eq!(numbers(&late), (30..40).collect::<Vec<_>>());
}

#[test]
fn a_player_sees_a_keyframe_first() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    // In the middle of the second group of pictures.
    Reader::new(&server, "cam1").until(0, 35);
    let got = Player::FFmpeg.read(&server, Transport::Tcp, "cam1", 30).hashes();
    let begin = assert_run(&clip.hashes(), &got, 30);
    assert!(
        clip.keyframes().contains(&begin),
        "it begins with picture {begin}, which is no keyframe"
    );
}

#[test]
fn b_frames_keep_their_order_and_their_times() {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let _publishing = Player::FFmpeg.publish(&server, Transport::Tcp, "cam1", &clip);
    server.online("cam1");
    let reader = Reader::new(&server, "cam1");
    reader.until(0, 75);

    let sent = clip.packets();
    let hashes: Vec<String> = sent.iter().map(|packet| packet.hash.clone()).collect();
    let begin = assert_run(&hashes, &reader.hashes(0), 75);
    let got = reader.frames(0);
    // The file counts 12,800 ticks a second, RTP 90,000; a tick of the coarser clock is 7 of the finer one.
    for (sent_packet, frame) in sent[begin..].iter().zip(&got) {
        let expected = (sent_packet.pts - sent[begin].pts) * 90_000 / 12_800;
        let shift = frame.pts - got[0].pts - expected;
        assert!(shift.abs() <= 8, "a picture is {shift} ticks off");
    }
    assert!(
        got.windows(2).all(|pair| pair[0].dts < pair[1].dts),
        "decoding times go back"
    );
    assert!(
        got.iter().all(|frame| frame.dts <= frame.pts),
        "a picture is shown before it is decoded"
    );
}

#[test]
fn a_reader_that_stalls_costs_the_others_nothing() {
    let server = Server::start("writeTimeout: 2s\npaths:\n  all_others:\n");
    let mut publisher = Publisher::vp8(&server, "cam1");
    let healthy = Reader::new(&server, "cam1");
    let (stalled, _) = Session::play(server.address("rtspAddress"), "cam1", None).expect("a second reader");
    server.readers("cam1", 2);

    // Much more than the buffers between the server and a reader that takes nothing can hold.
    let frames = made_up(400, 10, 100_000);
    for (number, frame) in frames.iter().enumerate() {
        publisher.send(frame);
        // A publisher of a live stream does not run ahead of those who can follow.
        healthy.until(0, (number + 1).saturating_sub(20));
    }
    healthy.until(0, frames.len());
    assert_eq!(numbers(&healthy), (0..400).collect::<Vec<_>>());
    assert_eq!(healthy.faults(), 0);

    // The other one is given up after writeTimeout.
    server.readers("cam1", 1);
    assert_eq!(healthy.end(), None);
    drop(stalled);
}

//! RTMP frame by frame, with a client that shares no code with the server: what programs of today do not do, or not on
//! demand.

use std::{collections::BTreeSet, thread};

use bytes::Bytes;

use crate::harness::{Codec, OPEN, Reader, Rtmp, Server, Tag, assert_run};

/// The clips have 25 pictures between two keyframes, and 40 milliseconds between two pictures.
const GOP: usize = 25;

fn publish(server: &Server, path: &str) -> Rtmp {
    Rtmp::publish(server.address("rtmpAddress"), path).unwrap_or_else(|refusal| panic!("{path}: {refusal}"))
}

fn play(server: &Server, path: &str) -> Rtmp {
    Rtmp::play(server.address("rtmpAddress"), path, &[]).unwrap_or_else(|refusal| panic!("{path}: {refusal}"))
}

fn hashes<'a>(tags: impl IntoIterator<Item = &'a Tag>) -> Vec<String> {
    tags.into_iter().map(Tag::hash).collect()
}

fn pictures(tags: &[Tag]) -> Vec<Tag> {
    tags.iter()
        .filter(|tag| tag.is_video() && tag.is_frame())
        .cloned()
        .collect()
}

fn sounds(tags: &[Tag]) -> Vec<Tag> {
    tags.iter()
        .filter(|tag| !tag.is_video() && tag.is_frame())
        .cloned()
        .collect()
}

#[test]
fn what_obs_does_to_publish_works() {
    let server = Server::start(OPEN);
    let tags = Codec::Both.clip().tags();
    let mut obs = publish(&server, "live/stream-key");
    obs.metadata(&[
        ("width", 320.0),
        ("height", 240.0),
        ("videocodecid", 7.0),
        ("audiocodecid", 10.0),
        ("framerate", 25.0),
    ]);
    let (first, rest) = tags.split_at(tags.len() / 2);
    obs.tags(first);
    server.online("live/stream-key");
    let mut player = play(&server, "live/stream-key");
    let reader = Reader::new(&server, "live/stream-key");
    obs.tags(rest);

    let all = [pictures(&tags), sounds(&tags)];
    let got = player.frames(rest.iter().filter(|tag| tag.is_frame()).count());
    for (sent, got) in all.iter().zip([pictures(&got), sounds(&got)]) {
        assert_run(&hashes(sent), &hashes(&got), rest.len() / 4);
    }
    assert!(got.iter().find(|tag| tag.is_video()).is_some_and(Tag::is_key));
    for (track, sent) in all.iter().enumerate() {
        reader.until(track, GOP);
        assert_run(&hashes(sent), &reader.hashes(track), GOP);
    }
    // It says goodbye before it goes.
    obs.command(0, "FCUnpublish", 6.0, vec![]);
    obs.command(0, "deleteStream", 7.0, vec![]);
    drop(obs);
    server.offline("live/stream-key");
}

/// Publishes B-frames as `change` leaves them, and asserts that times go on as if nothing had happened.
fn check_times(change: impl Fn(Tag) -> Tag) {
    let server = Server::start(OPEN);
    let clip = Codec::H264.clip();
    let tags: Vec<Tag> = clip.tags().into_iter().map(change).collect();
    let sent = pictures(&tags);
    let mut publisher = publish(&server, "live/cam1");
    // The configuration and the first group of pictures.
    let (first, rest) = tags.split_at(GOP);
    publisher.tags(first);
    server.online("live/cam1");
    let mut player = play(&server, "live/cam1");
    let reader = Reader::new(&server, "live/cam1");
    publisher.tags(&rest[..3 * GOP]);

    let count = 3 * GOP;
    let got = player.frames(count);
    let begin = assert_run(&hashes(&sent), &hashes(&got), count);
    let shown = |tag: &Tag, first: &Tag| {
        let since = tag.timestamp.wrapping_sub(first.timestamp) as i32;
        since + tag.composition() - first.composition()
    };
    for (number, (before, after)) in sent[begin..].iter().zip(&got).enumerate() {
        let shift = shown(after, &got[0]) - shown(before, &sent[begin]);
        assert!(shift.abs() <= 1, "picture {number} is {shift} ms off for a player");
    }
    let forward = |pair: &[Tag]| (pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) >= 0;
    assert!(got.windows(2).all(forward), "decoding times go back");

    reader.until(0, count);
    let frames = reader.frames(0);
    let begin = assert_run(&hashes(&sent), &reader.hashes(0), count);
    for (number, (before, after)) in sent[begin..].iter().zip(&frames).enumerate() {
        let expected = i64::from(shown(before, &sent[begin])) * 90;
        let shift = after.pts - frames[0].pts - expected;
        assert!(shift.abs() <= 90, "picture {number} is {shift} ticks off for a reader");
    }
    assert!(
        frames.windows(2).all(|pair| pair[0].dts < pair[1].dts),
        "decoding times go back"
    );
}

#[test]
fn a_stream_may_pass_what_three_bytes_hold() {
    check_times(|tag| tag.later(0x00ff_ffff - 1_500));
}

#[test]
fn a_stream_may_pass_what_four_bytes_hold() {
    check_times(|tag| tag.later(u32::MAX - 1_500));
}

#[test]
fn a_picture_may_be_shown_before_its_nominal_decoding_time() {
    check_times(|tag| {
        // Later by two pictures, and shown when it was: most composition offsets become negative.
        let Some(_) = tag.payload() else { return tag };
        let mut body = tag.body.to_vec();
        body[2..5].copy_from_slice(&(tag.composition() - 80).to_be_bytes()[1..]);
        Tag {
            body: body.into(),
            ..tag.later(80)
        }
    });
}

#[test]
fn players_begin_with_a_keyframe_whenever_they_come() {
    let server = Server::start(OPEN);
    let sent = Codec::H264.clip().tags();
    let mut publisher = publish(&server, "live/cam1");
    publisher.tags(&sent[..GOP + 10]);
    server.online("live/cam1");
    let mut early = play(&server, "live/cam1");
    let begin = early.frames(5);
    publisher.tags(&sent[GOP + 10..3 * GOP + 10]);
    early.frames(GOP);
    let mut late = play(&server, "live/cam1");
    publisher.tags(&sent[3 * GOP + 10..5 * GOP]);
    let late = late.frames(GOP);
    for (who, got) in [("early", &begin), ("late", &late)] {
        assert!(got[0].is_key(), "the {who} one begins in the middle");
        assert_run(&hashes(&pictures(&sent)), &hashes(got), got.len());
    }
    assert_ne!(begin[0].hash(), late[0].hash(), "the late one gets the latest");
}

#[test]
fn a_publisher_takes_over_where_that_is_allowed() {
    let yaml = "paths:\n  live/mine:\n    overridePublisher: no\n  all_others:\n";
    let server = Server::start(yaml);
    let tags = Codec::H264.clip().tags();
    let mut publishers = ["live/cam1", "live/mine"].map(|path| {
        let mut publisher = publish(&server, path);
        publisher.tags(&tags[..GOP]);
        server.online(path);
        publisher
    });
    let refused = Rtmp::publish(server.address("rtmpAddress"), "live/mine").err();
    let refused = refused.expect("the first one stays");
    assert!(refused.contains("NetStream.Publish"), "{refused}");
    publishers[1].tags(&tags[GOP..2 * GOP]);

    let mut second = publish(&server, "live/cam1");
    publishers[0].until_end();
    second.tags(&tags[..GOP]);
    server.online("live/cam1");
    let got = play(&server, "live/cam1").frames(5);
    assert_run(&hashes(&pictures(&tags)), &hashes(&got), 5);
}

#[test]
fn who_may_not_publish_or_play_is_told_so() {
    let users = "authInternalUsers:\n- user: any\n  permissions:\n  - action: api\n  - action: metrics\n";
    let server = Server::start(&format!("{users}paths:\n  all_others:\n"));
    let address = server.address("rtmpAddress");
    for refused in [
        Rtmp::publish(address, "live/cam1"),
        Rtmp::play(address, "live/cam1", &[]),
    ] {
        let refusal = refused.err().expect("nobody may");
        assert!(refusal.contains("error"), "{refusal}");
    }
}

/// Frames of a made-up H264 stream, numbered and large, a keyframe every ten.
fn large(config: &Tag, count: usize) -> Vec<Tag> {
    const SIZE: usize = 200_000;
    let frame = |number: usize| {
        let key = number.is_multiple_of(10);
        let mut body = vec![0x5a; SIZE];
        body[..5].copy_from_slice(&[if key { 0x17 } else { 0x27 }, 1, 0, 0, 0]);
        body[5..9].copy_from_slice(&((SIZE - 9) as u32).to_be_bytes());
        // The head of an IDR slice or another one's, then the number.
        body[9..11].copy_from_slice(if key { &[0x65, 0x88] } else { &[0x41, 0x9a] });
        body[11..15].copy_from_slice(&(number as u32 | 0x0101_0000).to_be_bytes());
        Tag {
            kind: 9,
            timestamp: number as u32 * 40,
            body: Bytes::from(body),
        }
    };
    std::iter::once(config.clone()).chain((0..count).map(frame)).collect()
}

fn number_of(tag: &Tag) -> u32 {
    let number: [u8; 4] = tag.body[11..15].try_into().expect("four bytes");
    u32::from_be_bytes(number) & 0xffff
}

#[test]
fn a_player_that_cannot_follow_loses_whole_groups_of_pictures() {
    const COUNT: usize = 500;
    let server = Server::start("writeTimeout: 120s\npaths:\n  all_others:\n");
    let tags = large(&Codec::H264.clip().tags()[0], COUNT);
    let mut publisher = publish(&server, "live/cam1");
    publisher.tags(&tags[..11]);
    server.online("live/cam1");
    let mut healthy = play(&server, "live/cam1");
    let mut slow = play(&server, "live/cam1");
    server.readers("live/cam1", 2);

    let got = thread::scope(|scope| {
        let publishing = scope.spawn(|| publisher.tags(&tags[11..]));
        // It takes all, and the slow one nothing, until all was sent.
        let got = healthy.frames(COUNT);
        publishing.join().expect("all is sent");
        got
    });
    assert_eq!(
        got.iter().map(number_of).collect::<Vec<_>>(),
        (0..COUNT as u32).collect::<Vec<_>>()
    );

    let mut found = BTreeSet::new();
    let mut last = None;
    while last != Some(COUNT as u32 - 1) {
        let tag = slow.frames(1).remove(0);
        let number = number_of(&tag);
        if let Some(before) = last
            && number != before + 1
        {
            assert!(number > before, "{number} comes behind {before}");
            assert!(tag.is_key(), "it goes on with {number}, which is no keyframe");
        }
        last = Some(number);
        found.insert(number);
    }
    assert!(found.len() < COUNT, "nothing was lost, so nothing is proved");
    assert!(found.contains(&0), "what was sent before it stalled came");
}

//! Streams that are recorded by the pretended server, and what then stands in its files.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use wasmtx_media::codec::pcm;
use wasmtx_media::container::mp4::{self, Movie, Step};
use wasmtx_media::container::mpegts;
use wasmtx_media::{Codec, Kind};
use wasmtx_plugin::sink::Sink as _;
use wasmtx_plugin::testing::{
    Grant, Reader, advance_clock, configure, metrics, opus, publication, set_clock, set_storage_room, take_log,
    take_raised, take_recordings, tick, withdraw,
};
use wasmtx_plugin::{CloseReason, Error, FrameInfo, Media, Track, storage};

use super::*;

const H264_AAC: &[u8] = include_bytes!("../../../host/media/testdata/mp4/h264-aac.mp4");

/// 2026-01-01 00:00 UTC.
const BEGIN: u64 = 1_767_225_600_000_000;
const KEY: u32 = 1;
const DISCONTINUITY: u32 = 2;

const VIDEO: u32 = 1;
const AUDIO: u32 = 2;
/// Pictures and pieces of sound in a second.
const PICTURES: u64 = 25;
const SOUNDS: u64 = 50;

fn movie(file: &[u8]) -> Movie {
    mp4::read(&Bytes::copy_from_slice(file)).unwrap()
}

fn video() -> Track {
    let movie = movie(H264_AAC);
    let track = movie.tracks.iter().find(|track| track.kind == Kind::Video).unwrap();
    Track {
        parameters: track.codec.parameters().to_vec(),
        ..wasmtx_plugin::testing::h264(VIDEO)
    }
}

fn audio() -> Track {
    opus(AUDIO)
}

/// A frame with its payload.
type Frame = (FrameInfo, Vec<u8>);

/// The `n`-th picture; each 25th is a keyframe.
fn picture(n: u64) -> Frame {
    let key = n.is_multiple_of(PICTURES);
    let mut payload = vec![0, 0, 0, 0, if key { 0x65 } else { 0x41 }];
    payload.extend(n.to_be_bytes());
    payload.resize(if key { 6_000 } else { 600 }, 7);
    let size = payload.len() as u32 - 4;
    payload[..4].copy_from_slice(&size.to_be_bytes());
    (
        info(VIDEO, n, 90_000 / PICTURES, n * 1_000_000 / PICTURES, key),
        payload,
    )
}

/// The `n`-th piece of sound.
fn sound(n: u64) -> Frame {
    let payload = [&[0xfc][..], &n.to_be_bytes()].concat();
    (info(AUDIO, n, 48_000 / SOUNDS, n * 1_000_000 / SOUNDS, true), payload)
}

fn info(track: u32, number: u64, step: u64, micros: u64, key: bool) -> FrameInfo {
    FrameInfo {
        flags: if key { KEY } else { 0 },
        pts: (number * step) as i64,
        dts: (number * step) as i64,
        duration: 0,
        wall: BEGIN + micros,
        ..wasmtx_plugin::testing::delta(track, number)
    }
}

/// Pictures and sound of these seconds, in order.
fn seconds(range: Range<u64>) -> Vec<Frame> {
    let pictures = (range.start * PICTURES..range.end * PICTURES).map(picture);
    let sounds = (range.start * SOUNDS..range.end * SOUNDS).map(sound);
    let mut frames: Vec<_> = pictures.chain(sounds).collect();
    frames.sort_by_key(|(info, _)| info.wall);
    frames
}

/// A server whose clocks stand at the beginning.
fn recorder(config: &str, tracks: impl IntoIterator<Item = Track>) -> Reader<Recording> {
    set_clock(Duration::from_micros(BEGIN));
    Reader::open(configure(config).unwrap(), publication("cam/1", tracks)).unwrap()
}

/// Feeds frames one by one, each when its time has come.
fn feed(reader: &mut Reader<Recording>, frames: &[Frame]) {
    for (info, payload) in frames {
        set_clock(Duration::from_micros(info.wall));
        reader.push([(*info, payload.as_slice())]).unwrap();
    }
}

fn files() -> Vec<(String, Movie)> {
    let read = |entry: storage::Entry| {
        let file = storage::read(&entry.name, 0, u32::MAX).unwrap();
        (entry.name, movie(&file))
    };
    storage::list("").unwrap().into_iter().map(read).collect()
}

/// Payloads of a track over files, in order.
fn payloads<'a>(movies: impl IntoIterator<Item = &'a Movie>, kind: Kind) -> Vec<Bytes> {
    let of = |movie: &'a Movie| {
        let track = movie
            .tracks
            .iter()
            .find(|track| track.kind == kind)
            .map(|track| track.id);
        movie.steps.iter().filter_map(move |step| match step {
            Step::Frame(frame) if Some(frame.track) == track => Some(Bytes::from(frame.payload.clone())),
            _ => None,
        })
    };
    movies.into_iter().flat_map(of).collect()
}

fn sent(frames: &[Frame], track: u32) -> Vec<Bytes> {
    let of = frames.iter().filter(|(info, _)| info.track == track);
    of.map(|(_, payload)| Bytes::copy_from_slice(payload)).collect()
}

fn names() -> Vec<String> {
    storage::list("").unwrap().into_iter().map(|entry| entry.name).collect()
}

fn raised() -> Vec<String> {
    take_raised().into_iter().map(|(kind, _)| kind).collect()
}

#[test]
fn a_stream_stands_in_files_whole_across_cuts() {
    let mut reader = recorder(r#"{"segmentDuration":"3s"}"#, [video(), audio()]);
    let frames = seconds(0..10);
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let files = files();
    let names: Vec<_> = files.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "cam/1/2026-01-01_00-00-00-000000.mp4",
            "cam/1/2026-01-01_00-00-03-000000.mp4",
            "cam/1/2026-01-01_00-00-06-000000.mp4",
            "cam/1/2026-01-01_00-00-09-000000.mp4",
        ]
    );
    let movies: Vec<_> = files.into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(payloads(&movies, Kind::Video), sent(&frames, VIDEO));
    assert_eq!(payloads(&movies, Kind::Audio), sent(&frames, AUDIO));
    for (number, movie) in movies.iter().enumerate() {
        let segment = movie.segment.unwrap();
        assert_eq!(segment.number, number as u64);
        assert_eq!(segment.stream, movies[0].segment.unwrap().stream);
        assert_eq!(segment.dts, number as i64 * 3_000_000_000);
        assert_eq!(segment.wall, (BEGIN as i64 + number as i64 * 3_000_000) * 1_000);
        assert!(matches!(&movie.steps[0], Step::Frame(frame) if frame.is_key() && frame.dts == 0));
        assert_eq!(movie.missing, 0);
    }
}

#[test]
fn what_is_recorded_is_told() {
    let mut reader = recorder(r#"{"segmentDuration":"2s"}"#, [video(), audio()]);
    feed(&mut reader, &seconds(0..5));
    reader.close(CloseReason::Ended);
    let told: Vec<_> = take_recordings()
        .into_iter()
        .map(|told| ((told.start - BEGIN) / 1_000_000, told.duration))
        .collect();
    let second = 1_000_000;
    assert_eq!(
        told,
        [
            (0, None),
            (0, Some(2 * second)),
            (2, None),
            (2, Some(2 * second)),
            (4, None),
            (4, Some(second)),
        ]
    );
    let counted = metrics();
    let bytes: u64 = storage::list("").unwrap().iter().map(|entry| entry.size).sum();
    assert_eq!((counted.counters["segments"], counted.counters["bytes"]), (3, bytes));
    assert_eq!(counted.gauges["suspended"], 0.0);
    assert!(counted.gauges["part_lag_seconds"] < 0.1);
}

#[test]
fn parts_are_on_the_disk_as_soon_as_they_are_over() {
    let mut reader = recorder(r#"{"partDuration":"200ms"}"#, [video(), audio()]);
    let frames = seconds(0..3);
    for end in 1..frames.len() {
        feed(&mut reader, &frames[end - 1..end]);
        let Some((_, movie)) = files().pop() else {
            assert!(frames[end - 1].0.wall < BEGIN + 240_000, "the first part is late");
            continue;
        };
        let last = movie.steps.iter().filter_map(|step| match step {
            Step::Frame(frame) if frame.track.0 == 1 => Some(frame.dts),
            _ => None,
        });
        let behind = frames[end - 1].0.wall - BEGIN - last.max().unwrap() as u64 * 1_000 / 90;
        assert!(behind <= 320_000, "{behind} µs are not on the disk");
    }
}

#[test]
fn a_part_ends_where_it_would_grow_too_large() {
    let mut reader = recorder(r#"{"partDuration":"10s","maxPartSize":20000}"#, [video()]);
    feed(&mut reader, &seconds(0..4));
    assert!(metrics().counters["parts"] >= 3, "{:?}", metrics().counters);
}

#[test]
fn sound_alone_is_cut_anywhere() {
    let mut reader = recorder(r#"{"segmentDuration":"1500ms"}"#, [audio()]);
    let frames: Vec<_> = (0..SOUNDS * 4).map(sound).collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 3);
    assert_eq!(payloads(&movies, Kind::Audio), sent(&frames, AUDIO));
    assert_eq!(movies[2].segment.unwrap().dts, 3_000_000_000);
}

#[test]
fn nothing_begins_before_a_keyframe() {
    let mut reader = recorder("", [video(), audio()]);
    let frames = seconds(0..4);
    // The server begins a sink at a keyframe; after a hole in the stream there may be none.
    let mut frames = frames[20..].to_vec();
    frames.retain(|(info, _)| info.track == VIDEO);
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(payloads(&movies, Kind::Video)[0], picture(25).1);
}

#[test]
fn pictures_that_begin_seconds_after_the_sound_are_where_they_belong() {
    let mut reader = recorder("", [video(), audio()]);
    let frames: Vec<_> = seconds(0..8)
        .into_iter()
        .filter(|(info, _)| info.track == AUDIO || info.wall >= BEGIN + 3_000_000)
        .collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let files = files();
    assert_eq!(files.len(), 1);
    let first = files[0].1.steps.iter().find_map(|step| match step {
        Step::Frame(frame) if frame.track.0 == 1 => Some(frame.dts),
        _ => None,
    });
    assert_eq!(first, Some(3 * 90_000));
}

#[test]
fn sound_that_comes_late_keeps_its_time_across_files() {
    let mut reader = recorder(r#"{"segmentDuration":"2s","partDuration":"100ms"}"#, [video(), audio()]);
    let frames = seconds(0..6);
    // Of the same time, 300 ms later.
    let mut late = frames.clone();
    late.sort_by_key(|(info, _)| info.wall + if info.track == AUDIO { 300_000 } else { 0 });
    set_clock(Duration::from_micros(BEGIN));
    reader
        .push(late.iter().map(|(info, payload)| (*info, payload.as_slice())))
        .unwrap();
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 3);
    assert_eq!(payloads(&movies, Kind::Audio), sent(&frames, AUDIO));
    for movie in &movies {
        let begin = movie.segment.unwrap().dts;
        for step in &movie.steps {
            let Step::Frame(frame) = step else { continue };
            let rate = if frame.track.0 == 1 { 90_000 } else { 48_000 };
            // Each frame says in its payload which one it is.
            let number = |at: usize| i64::from_be_bytes(frame.payload[at..at + 8].try_into().unwrap());
            let (number, every) = if frame.track.0 == 1 {
                (number(5), 40_000_000)
            } else {
                (number(1), 20_000_000)
            };
            let time = begin + frame.dts * 1_000_000_000 / rate;
            assert!(
                (time - number * every).abs() <= 20_834,
                "{number} of {:?} is at {time}",
                frame.track
            );
        }
    }
}

#[test]
fn one_picture_a_second_is_recorded_to_the_last() {
    let mut reader = recorder(r#"{"segmentDuration":"4s"}"#, [video()]);
    let picture = |n: u64| {
        let (info, payload) = picture(n * PICTURES);
        (FrameInfo { number: n, ..info }, payload)
    };
    let frames: Vec<_> = (0..10).map(picture).collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 3);
    assert_eq!(payloads(&movies, Kind::Video), sent(&frames, VIDEO));
}

#[test]
fn a_track_that_falls_silent_holds_nothing_up() {
    let mut reader = recorder(r#"{"segmentDuration":"5s"}"#, [video(), audio()]);
    let frames: Vec<_> = seconds(0..40)
        .into_iter()
        .filter(|(info, _)| info.track == AUDIO || info.wall < BEGIN + 3_000_000)
        .collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert!(movies.len() >= 5, "{}", movies.len());
    assert_eq!(payloads(&movies, Kind::Audio), sent(&frames, AUDIO));
}

#[test]
fn a_marked_hole_begins_another_recording() {
    let mut reader = recorder("", [video(), audio()]);
    feed(&mut reader, &seconds(0..4));
    let mut late = seconds(9..12);
    late[0].0.flags |= DISCONTINUITY;
    feed(&mut reader, &late);
    reader.close(CloseReason::Ended);
    let segments: Vec<_> = files().into_iter().map(|(_, movie)| movie.segment.unwrap()).collect();
    assert_eq!(segments.len(), 2);
    assert_ne!(segments[0].stream, segments[1].stream);
    assert_eq!(segments[1].number, 0);
    assert_eq!(segments[1].wall, (BEGIN as i64 + 9_000_000) * 1_000);
    let told: Vec<_> = take_recordings().into_iter().filter_map(|told| told.duration).collect();
    assert!((3_900_000..=4_100_000).contains(&told[0]), "{told:?}");
}

#[test]
fn a_clock_that_was_set_begins_another_recording_at_a_keyframe() {
    let mut reader = recorder("", [video()]);
    let frames: Vec<_> = (0..PICTURES * 6).map(picture).collect();
    feed(&mut reader, &frames[..60]);
    // The pretended server has one clock: what the stream says moves instead.
    let back: Vec<_> = frames[60..]
        .iter()
        .map(|(info, payload)| {
            (
                FrameInfo {
                    wall: info.wall - 3_600_000_000,
                    ..*info
                },
                payload.clone(),
            )
        })
        .collect();
    feed(&mut reader, &back);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 2);
    // The earlier name belongs to the later file.
    let in_order = [&movies[1], &movies[0]];
    assert_eq!(payloads(in_order, Kind::Video), sent(&frames, VIDEO));
    assert_ne!(movies[0].segment.unwrap().stream, movies[1].segment.unwrap().stream);
}

#[test]
fn no_file_is_written_over() {
    for config in ["", r#"{"path":"%path/%Y-%m-%d_%H-%M-%S"}"#, r#"{"path":"%path/%s"}"#] {
        for file in names() {
            storage::remove(&file).unwrap();
        }
        for _ in 0..3 {
            let mut reader = recorder(config, [video()]);
            feed(&mut reader, &(0..30).map(picture).collect::<Vec<_>>());
            reader.close(CloseReason::Ended);
        }
        let files = files();
        assert_eq!(files.len(), 3, "{config}");
        for (name, movie) in files {
            assert_eq!(payloads([&movie], Kind::Video).len(), 30, "{name}");
        }
    }
}

#[test]
fn other_parameters_begin_another_file_and_the_same_do_not() {
    let mut reader = recorder("", [video()]);
    let frames: Vec<_> = (0..PICTURES * 4).map(picture).collect();
    feed(&mut reader, &frames[..50]);
    let mut recording = reader.into_sink();
    recording.open(publication("cam/1", [video()])).unwrap();
    let mut reader = Reader::open(recording, publication("cam/1", [video()])).unwrap();
    feed(&mut reader, &frames[50..75]);
    let mut track = video();
    // The level of the sequence parameter set, in the record and in the set.
    track.parameters[3] += 1;
    track.parameters[11] += 1;
    let mut reader = Reader::open(reader.into_sink(), publication("cam/1", [track])).unwrap();
    feed(&mut reader, &frames[75..]);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 2);
    assert_ne!(movies[0].segment.unwrap().stream, movies[1].segment.unwrap().stream);
    assert_eq!(payloads(&movies, Kind::Video), sent(&frames, VIDEO));
}

#[test]
fn parameter_sets_that_come_with_the_stream_are_waited_for() {
    let unknown = || Track {
        parameters: Vec::new(),
        ..video()
    };
    let mut reader = recorder("", [unknown(), audio()]);
    let frames = seconds(0..6);
    feed(&mut reader, &frames[..30]);
    assert!(names().is_empty());
    let mut reader = Reader::open(reader.into_sink(), publication("cam/1", [video(), audio()])).unwrap();
    feed(&mut reader, &frames[30..]);
    reader.close(CloseReason::Ended);
    let files = files();
    assert_eq!(files.len(), 1);
    assert_eq!(files[0].1.tracks.len(), 2);
}

#[test]
fn a_track_that_tells_with_its_first_frame_what_it_is_is_in_the_first_file() {
    let mp3 = |sample_rate, channels| Track {
        codec: "MPEG-1/2 Audio".into(),
        clock_rate: 90_000,
        sample_rate,
        channels,
        ..audio()
    };
    // Layer III, 128 kb/s, 44.1 kHz, stereo.
    let frame = |n: u64| {
        let payload = [&[0xff, 0xfb, 0x90, 0x00][..], &[n as u8; 413]].concat();
        (info(AUDIO, n, 2_351, n * 26_122, true), payload)
    };
    let mut frames: Vec<_> = (10..200).map(frame).chain((0..PICTURES * 5).map(picture)).collect();
    frames.sort_by_key(|(info, _)| info.wall);
    let begins = frames.iter().position(|(info, _)| info.track == AUDIO).unwrap();
    let mut reader = recorder(r#"{"partDuration":"100ms"}"#, [video(), mp3(0, 0)]);
    feed(&mut reader, &frames[..begins]);
    let mut reader = Reader::open(reader.into_sink(), publication("cam/1", [video(), mp3(44_100, 2)])).unwrap();
    feed(&mut reader, &frames[begins..]);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies.len(), 1, "{:?}", names());
    assert_eq!(payloads(&movies, Kind::Audio), sent(&frames, AUDIO));
    assert_eq!(payloads(&movies, Kind::Video), sent(&frames, VIDEO));
}

#[test]
fn a_track_that_is_late_ends_one_file_and_not_each() {
    let vp9 = Track {
        id: 5,
        codec: "VP9".into(),
        parameters: Vec::new(),
        ..video()
    };
    let mut reader = recorder("", [video(), vp9]);
    let mut frames: Vec<_> = (0..PICTURES * 30).map(picture).collect();
    // A keyframe of 64×64 pixels.
    let rare = [0x82, 0x49, 0x83, 0x42, 0x00, 0x03, 0xf0, 0x03, 0xf0, 0x00, 0x00];
    frames.extend((0..4).map(|n| (info(5, n, 7 * 90_000, n * 7_000_000 + 5_000_000, true), rare.to_vec())));
    frames.sort_by_key(|(info, _)| info.wall);
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    assert_eq!(files().len(), 2, "{:?}", names());
}

#[test]
fn a_full_disk_suspends_and_room_resumes_with_the_newest_group() {
    let mut reader = recorder("", [video(), audio()]);
    let frames = seconds(0..20);
    let of = |range: Range<u64>| {
        let within = |wall: u64| range.contains(&((wall - BEGIN) / 1_000_000));
        frames
            .iter()
            .filter(|(info, _)| within(info.wall))
            .cloned()
            .collect::<Vec<_>>()
    };
    feed(&mut reader, &of(0..5));
    let before: u64 = storage::list("").unwrap().iter().map(|entry| entry.size).sum();
    set_storage_room(before + 2_000);
    feed(&mut reader, &of(5..10));
    assert_eq!(raised(), ["recording-suspended"]);
    assert_eq!(metrics().gauges["suspended"], 1.0);
    set_storage_room(u64::MAX);
    feed(&mut reader, &of(10..12));
    assert_eq!(raised(), ["recording-resumed"]);
    assert_eq!(metrics().gauges["suspended"], 0.0);
    feed(&mut reader, &of(12..15));
    reader.close(CloseReason::Ended);
    let files = files();
    assert_eq!(files.len(), 2, "{:?}", names());
    let (first, second) = (&files[0].1, &files[1].1);
    assert_ne!(first.segment.unwrap().stream, second.segment.unwrap().stream);
    let resumed = second.segment.unwrap().wall / 1_000 - BEGIN as i64;
    assert!((9_000_000..=11_000_000).contains(&resumed), "{resumed}");
    assert_eq!(
        payloads([second], Kind::Video),
        sent(&of(resumed as u64 / 1_000_000..15), VIDEO)
    );
    assert_eq!(first.missing, 0);
    let told = take_recordings();
    assert_eq!(told.iter().filter(|told| told.duration.is_some()).count(), 2);
}

#[test]
fn what_waits_is_written_by_the_tick_when_there_is_room_again() {
    let mut reader = recorder("", [video()]);
    set_storage_room(0);
    let frames: Vec<_> = (0..40).map(picture).collect();
    feed(&mut reader, &frames);
    assert!(names().is_empty(), "what cannot be begun leaves nothing behind");
    assert_eq!(raised(), ["recording-suspended"]);
    set_storage_room(u64::MAX);
    let mut recording = reader.into_sink();
    advance_clock(Duration::from_secs(1));
    tick(&mut recording);
    assert_eq!(raised(), ["recording-resumed"]);
    recording.close(CloseReason::Ended);
    assert_eq!(payloads(files().iter().map(|(_, movie)| movie), Kind::Video).len(), 40);
}

#[test]
fn without_a_grant_nothing_fails_but_the_recording() {
    withdraw(Grant::Storage);
    let mut reader = recorder("", [video()]);
    feed(&mut reader, &(0..400).map(picture).collect::<Vec<_>>());
    reader.close(CloseReason::Ended);
    let raised = take_raised();
    let [(kind, what)] = raised.as_slice() else {
        panic!("{raised:?}")
    };
    assert_eq!(
        (kind.as_str(), what["reason"].as_str()),
        ("recording-suspended", Some("not-granted"))
    );
}

#[test]
fn a_part_that_no_frame_pushes_on_is_written_by_the_tick() {
    let mut reader = recorder("", [video()]);
    feed(&mut reader, &(0..10).map(picture).collect::<Vec<_>>());
    assert!(names().is_empty());
    let mut recording = reader.into_sink();
    advance_clock(Duration::from_secs(2));
    tick(&mut recording);
    assert_eq!(payloads(files().iter().map(|(_, movie)| movie), Kind::Video).len(), 9);
}

#[test]
fn tracks_without_a_form_are_left_out_and_named_once() {
    let vp8 = Track {
        codec: "VP8".into(),
        ..video()
    };
    let data = Track {
        id: 9,
        media: Media::Data,
        codec: "Generic".into(),
        ..video()
    };
    let tracks = || [vp8.clone(), audio(), data.clone()];
    let reader = recorder("", tracks());
    let reader = Reader::open(reader.into_sink(), publication("cam/1", tracks())).unwrap();
    reader.close(CloseReason::Ended);
    let lines: Vec<_> = take_log().into_iter().map(|(_, line)| line).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("VP8 (track 1), Generic (track 9)"), "{lines:?}");
    let refused = Reader::open(configure::<Recording>("").unwrap(), publication("cam/1", [vp8.clone()]));
    assert!(matches!(refused.err(), Some(Error::Unsupported)));
}

#[test]
fn a_track_that_the_server_makes_stands_for_the_one_that_is_left_out() {
    let vp8 = Track {
        codec: "VP8".into(),
        ..video()
    };
    let made = Track {
        id: 7,
        extra: vec![("madeOf".into(), "1".into())],
        ..video()
    };
    let reader = recorder("", [vp8, audio(), made]);
    assert!(take_log().is_empty());
    let mut reader = reader;
    let frames: Vec<_> = (0..50)
        .map(picture)
        .map(|(info, payload)| (FrameInfo { track: 7, ..info }, payload))
        .collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    assert_eq!(
        payloads(files().iter().map(|(_, movie)| movie), Kind::Video),
        sent(&frames, 7)
    );
}

#[test]
fn another_version_of_the_plugin_goes_on_with_the_recording() {
    let mut reader = recorder("", [video(), audio()]);
    let frames = seconds(0..4);
    let (before, after) = frames.split_at(
        frames
            .iter()
            .position(|(info, _)| info.wall == BEGIN + 2_000_000)
            .unwrap(),
    );
    feed(&mut reader, before);
    reader.replace(configure("").unwrap()).unwrap();
    feed(&mut reader, after);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    let [first, second] = movies.as_slice() else {
        panic!("{} files", movies.len())
    };
    assert!(first.segment.unwrap().is_before(&second.segment.unwrap()));
    for (kind, track) in [(Kind::Video, VIDEO), (Kind::Audio, AUDIO)] {
        assert_eq!(payloads(&movies, kind), sent(&frames, track));
    }
}

#[test]
fn a_transport_stream_is_cut_the_same_way() {
    let mut reader = recorder(r#"{"format":"mpegts","segmentDuration":"3s"}"#, [video(), audio()]);
    feed(&mut reader, &seconds(0..7));
    let before: u64 = storage::list("").unwrap().iter().map(|entry| entry.size).sum();
    assert!(before > 100_000, "parts are written as they come: {before}");
    reader.close(CloseReason::Ended);
    let names = names();
    assert_eq!(names.len(), 3);
    for name in names {
        assert!(name.ends_with(".ts"), "{name}");
        let file = storage::read(&name, 0, u32::MAX).unwrap();
        assert!(file.len().is_multiple_of(mpegts::PACKET));
        assert!(file.chunks(mpegts::PACKET).all(|packet| packet[0] == 0x47));
    }
    let durations: Vec<_> = take_recordings().into_iter().filter_map(|told| told.duration).collect();
    assert_eq!(durations, [3_000_000, 3_000_000, 1_000_000]);
}

#[test]
fn g711_is_recorded_as_linear_samples_and_unknown_coding_is_left_out() {
    let g711 = |extra: Vec<(String, String)>| Track {
        codec: "G711".into(),
        clock_rate: 8_000,
        channels: 1,
        sample_rate: 8_000,
        extra,
        ..audio()
    };
    let mut reader = recorder("", [g711(vec![("law".into(), "mu".into())])]);
    let frames: Vec<_> = (0..100)
        .map(|n| (info(AUDIO, n, 160, n * 20_000, true), vec![n as u8; 160]))
        .collect();
    feed(&mut reader, &frames);
    reader.close(CloseReason::Ended);
    let movies: Vec<_> = files().into_iter().map(|(_, movie)| movie).collect();
    assert_eq!(movies[0].tracks[0].codec.name(), "LPCM");
    let law = Codec::G711 {
        mu_law: true,
        sample_rate: 8_000,
        channels: 1,
    };
    let linear: Vec<_> = frames
        .iter()
        .map(|(_, payload)| pcm::to_linear(&law, payload))
        .collect();
    assert_eq!(payloads(&movies, Kind::Audio).concat(), linear.concat());
    for told in [
        g711(Vec::new()),
        Track {
            codec: "LPCM".into(),
            ..g711(Vec::new())
        },
    ] {
        let refused = Reader::open(configure::<Recording>("").unwrap(), publication("cam/1", [told]));
        assert!(matches!(refused.err(), Some(Error::Unsupported)));
    }
}

#[test]
fn a_configuration_that_makes_no_sense_is_refused_where_it_does_not() {
    for (config, pointer) in [
        (r#"{"path":"%Y"}"#, "/path"),
        (r#"{"format":"mkv"}"#, "/format"),
        (r#"{"partDuration":"1"}"#, "/partDuration"),
        (r#"{"partDuration":"1ms"}"#, "/partDuration"),
        (r#"{"partDuration":"1..s"}"#, "/partDuration"),
        (r#"{"maxPartSize":0}"#, "/maxPartSize"),
        (r#"{"segmentDuration":""}"#, "/segmentDuration"),
        (r#"{"segmentDuration":"0s"}"#, "/segmentDuration"),
        (r#"{"segmentDuration":"99999999999999999h"}"#, "/segmentDuration"),
        (r#"{"segments":"1h"}"#, "/segments"),
    ] {
        match configure::<Recording>(config) {
            Err(Error::Config(error)) => assert_eq!(error.pointer, pointer, "{config}"),
            other => panic!("{config} was judged {:?}", other.err()),
        }
    }
}

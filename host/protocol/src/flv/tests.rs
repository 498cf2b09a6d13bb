//! Frames into tags and back, files of FFmpeg, and everything that a sender can get wrong.

use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use wasmtx_media::codec::{aac, flac};
use wasmtx_media::{Codec, Flags, Frame, Kind as Media, Track, TrackId, Tracks};

use super::*;
use crate::rtmp::amf0::{self, Value};
use crate::rtp::testing::start;
use crate::rtp::testing::streams::{self, Stream};

const FFMPEG_CLASSIC: &[u8] = include_bytes!("../../testdata/flv/ffmpeg-h264-aac.flv");
const FFMPEG_ENHANCED: &[u8] = include_bytes!("../../testdata/flv/ffmpeg-h265-opus-aac.flv");

/// What came out of a demuxer.
#[derive(Default)]
struct Read {
    tracks: Vec<Tracks>,
    frames: Vec<Frame>,
    refused: Vec<String>,
}

impl Read {
    fn drain(&mut self, demuxer: &mut Demuxer) -> Option<Instant> {
        loop {
            match demuxer.poll() {
                Output::Tracks(tracks) => self.tracks.push(tracks),
                Output::Frame(frame) => {
                    assert!(
                        self.tracks
                            .iter()
                            .flat_map(|tracks| tracks.iter())
                            .any(|track| track.id == frame.track)
                    );
                    self.frames.push(frame);
                }
                Output::Refused(line) => self.refused.push(line),
                Output::WaitUntil(deadline) => return deadline,
            }
        }
    }

    fn codecs(&self) -> Vec<&'static str> {
        self.tracks[0].iter().map(|track| track.codec.name()).collect()
    }

    fn of(&self, id: u32) -> Vec<&Frame> {
        self.frames.iter().filter(|frame| frame.track == TrackId(id)).collect()
    }
}

/// All tags at one moment, and then the time that the demuxer asks for.
fn demux(tags: &[Tag]) -> Read {
    let (mut demuxer, mut read) = (Demuxer::new(), Read::default());
    let mut deadline = None;
    for tag in tags {
        demuxer.handle_tag(start(), tag).unwrap();
        deadline = read.drain(&mut demuxer);
    }
    if let Some(deadline) = deadline {
        demuxer.handle_timeout(deadline);
        assert_eq!(read.drain(&mut demuxer), None);
    }
    read
}

fn tags_of(file: &[u8]) -> Vec<Tag> {
    let (mut reader, mut buffer, mut tags) = (file::Reader::default(), BytesMut::from(file), Vec::new());
    while let Some(tag) = reader.next(&mut buffer).unwrap() {
        tags.push(tag);
    }
    assert!(buffer.is_empty());
    tags
}

fn tag(kind: Kind, timestamp: u32, payload: &[u8]) -> Tag {
    Tag {
        kind,
        timestamp,
        payload: Bytes::copy_from_slice(payload),
    }
}

/// Tags of whole streams side by side, in the order of their times.
fn mux(streams: &[Stream]) -> Vec<Tag> {
    let tracks: Vec<Track> = streams.iter().map(|stream| stream.track.clone()).collect();
    let mut muxer = Muxer::new(&tracks);
    let mut tags = muxer.opening(&tracks, 0);
    let mut frames: Vec<(u32, Frame, &Track)> = Vec::new();
    for Stream { track, frames: all } in streams {
        let mut estimator = wasmtx_media::codec::dts::Estimator::new(track);
        for (payload, flags, pts) in all {
            let dts = estimator.estimate(*pts);
            let frame = Frame {
                track: track.id,
                number: 0,
                pts: *pts,
                dts,
                duration: 0,
                wall: None,
                flags: *flags,
                payload: payload.clone().into(),
            };
            frames.push((timestamp(dts, track.clock_rate), frame, track));
        }
    }
    frames.sort_by_key(|(timestamp, _, _)| *timestamp);
    for (_, frame, track) in frames {
        muxer.tags(&frame, track, &mut tags);
    }
    tags
}

fn flac() -> Stream {
    let mut block = [0; flac::STREAM_INFO];
    block[10..14].copy_from_slice(&[0x0b, 0xb8, 0x02, 0xf0]);
    let codec = Codec::Flac(flac::Config::parse(&block).unwrap());
    // 4,096 samples in each.
    let frames = (0..20u8).map(|at| {
        let payload = Bytes::from(vec![0xff, 0xf8, 0xca, 0x18, at & 0x7f, at]);
        (payload, Flags::KEY, i64::from(at) * 4_096)
    });
    Stream {
        frames: frames.collect(),
        track: Track {
            codec,
            ..streams::opus().track
        },
    }
}

fn lpcm() -> Stream {
    let codec = Codec::Lpcm {
        bit_depth: 16,
        sample_rate: 44_100,
        channels: 1,
    };
    let frames = (0..50u8).map(|at| (Bytes::from([1, at].repeat(441)), Flags::KEY, i64::from(at) * 441));
    Stream {
        frames: frames.collect(),
        track: Track {
            codec,
            clock_rate: 44_100,
            ..streams::opus().track
        },
    }
}

#[test]
fn every_codec_comes_back_equal() {
    let all = streams::all().into_iter().chain([flac(), lpcm()]);
    let carried = all.filter(|stream| {
        Choice::of(
            std::slice::from_ref(&stream.track),
            &Capabilities::enhanced(|_| true, false),
        )
        .left_out
        .is_empty()
    });
    let mut names = Vec::new();
    for stream in carried {
        let name = stream.track.codec.name();
        names.push(name);
        let read = demux(&mux(std::slice::from_ref(&stream)));
        assert_eq!(read.refused, [""; 0], "{name}");
        let track = &read.tracks[0][0];
        assert_eq!(
            (track.codec.parameters(), track.kind),
            (stream.track.codec.parameters(), stream.track.kind)
        );
        assert_eq!(read.tracks.len(), 1, "{name}: nothing changes");
        let payloads = |frames: Vec<Bytes>| frames;
        let expected = payloads(stream.frames.iter().map(|(payload, _, _)| payload.clone()).collect());
        let came = payloads(read.frames.iter().map(|frame| Bytes::clone(&frame.payload)).collect());
        assert!(came == expected, "{name}: payloads differ");
        // Streams start at 0 here and there; what is between is exact to a millisecond.
        let offset = seconds(read.frames[0].pts, track) - seconds(stream.frames[0].2, &stream.track);
        for (frame, (_, flags, pts)) in read.frames.iter().zip(&stream.frames) {
            let error = seconds(frame.pts, track) - seconds(*pts, &stream.track) - offset;
            assert!(error.abs() <= 0.002, "{name}: {error} s");
            assert_eq!(frame.flags.contains(Flags::KEY), flags.contains(Flags::KEY), "{name}");
        }
        assert!(read.frames.is_sorted_by_key(|frame| frame.dts), "{name}");
    }
    assert_eq!(names.len(), 12, "{names:?}");
}

fn seconds(ticks: i64, track: &Track) -> f64 {
    ticks as f64 / f64::from(track.clock_rate)
}

#[test]
fn sound_comes_back_sample_by_sample() {
    for stream in [streams::aac(), streams::mp3(), lpcm(), flac()] {
        let read = demux(&mux(std::slice::from_ref(&stream)));
        for (frame, (_, _, pts)) in read.frames.iter().zip(&stream.frames) {
            assert_eq!(frame.pts, *pts, "{}", stream.track.codec.name());
        }
    }
}

#[test]
fn several_tracks_of_a_kind_come_back_as_they_were() {
    let numbered = |id, stream: Stream| Stream {
        track: Track {
            id: TrackId(id),
            ..stream.track
        },
        ..stream
    };
    let all = [
        streams::h264(),
        streams::h265(),
        streams::vp9(),
        streams::aac(),
        streams::opus(),
        streams::aac(),
    ];
    let all: Vec<Stream> = (0..).zip(all).map(|(id, stream)| numbered(id, stream)).collect();
    let read = demux(&mux(&all));
    assert_eq!(
        read.codecs(),
        ["H264", "H265", "VP9", "MPEG-4 Audio", "Opus", "MPEG-4 Audio"]
    );
    for stream in &all {
        let came = read.of(stream.track.id.0);
        let same = came
            .iter()
            .zip(&stream.frames)
            .all(|(frame, (payload, _, _))| frame.payload[..] == payload[..]);
        assert!(same && came.len() == stream.frames.len());
    }
}

#[test]
fn files_of_ffmpeg_are_read_and_written_alike() {
    let read = demux(&tags_of(FFMPEG_CLASSIC));
    assert_eq!((read.codecs(), read.tracks.len()), (vec!["H264", "MPEG-4 Audio"], 1));
    let video = read.of(0);
    assert_eq!(video.len(), 30);
    let keys: Vec<usize> = (0..30).filter(|at| video[*at].is_key()).collect();
    assert_eq!(keys, [0, 12, 24]);
    let step = 3_600;
    let dts: Vec<i64> = video.iter().map(|frame| frame.dts - video[0].dts).collect();
    assert_eq!(dts, (0..30).map(|at| at * step).collect::<Vec<_>>());
    let mut pts: Vec<i64> = video.iter().map(|frame| frame.pts - video[0].pts).collect();
    assert!(!pts.is_sorted(), "there are B-frames");
    pts.sort_unstable();
    assert_eq!(pts, (0..30).map(|at| at * step).collect::<Vec<_>>());
    let audio = read.of(1);
    assert!(audio.windows(2).all(|pair| pair[1].pts - pair[0].pts == 1_024));

    let mut muxer = Muxer::new(&read.tracks[0]);
    let mut written = Vec::new();
    for frame in &read.frames {
        let track = read.tracks[0].iter().find(|track| track.id == frame.track).unwrap();
        muxer.tags(frame, track, &mut written);
    }
    let frames = tags_of(FFMPEG_CLASSIC).into_iter();
    let frames = frames
        .filter(|tag| tag.kind != Kind::Script && tag.payload[1] == 1)
        .map(|tag| tag.payload);
    // FFmpeg does not say which frames are disposable.
    let written = written.into_iter().map(|tag| match tag.payload[0] {
        0x37 => Bytes::from([&[0x27], &tag.payload[1..]].concat()),
        _ => tag.payload,
    });
    let written: Vec<Bytes> = written.collect();
    assert!(written == frames.collect::<Vec<_>>(), "tags differ from FFmpeg's");
}

#[test]
fn enhanced_files_of_ffmpeg_are_read() {
    let read = demux(&tags_of(FFMPEG_ENHANCED));
    assert_eq!(
        (read.codecs(), read.tracks.len()),
        (vec!["H265", "Opus", "MPEG-4 Audio"], 1)
    );
    assert_eq!(read.refused, [""; 0]);
    assert_eq!(read.of(0).len(), 30);
    assert!(read.of(1).len() >= 60 && read.of(2).len() >= 56);
    assert_eq!(read.tracks[0][0].codec.dimensions(), Some((128, 96)));
}

#[test]
fn a_stream_without_metadata_and_of_one_kind_starts_after_a_second() {
    let aac = |at: u32| tag(Kind::Audio, at, &[0xaf, 1, 9, 9]);
    let head = tag(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    let check = |times: &[u32], frames: usize, waits: bool| {
        let (mut demuxer, mut read) = (Demuxer::new(), Read::default());
        demuxer.handle_tag(start(), &head).unwrap();
        for at in times {
            demuxer.handle_tag(start(), &aac(*at)).unwrap();
        }
        let deadline = read.drain(&mut demuxer);
        assert_eq!((read.frames.len(), deadline.is_some()), (frames, waits));
        if let Some(deadline) = deadline {
            demuxer.handle_timeout(deadline);
            read.drain(&mut demuxer);
            assert_eq!((read.frames.len(), read.tracks.len()), (times.len(), 1));
        }
    };
    // By our clock; by the stream's, when it comes in a burst.
    check(&[0, 21, 42], 0, true);
    check(&[0, 500, 1_000, 1_021], 4, false);
}

#[test]
fn metadata_says_what_need_not_be_waited_for() {
    let metadata = |values: &[(&str, Value)]| {
        let values = values.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        tag(
            Kind::Script,
            0,
            &amf0::write(&["onMetaData".into(), Value::Ecma(values.collect())]),
        )
    };
    let head = tag(Kind::Audio, 0, &[0xaf, 0, 0x11, 0x90]);
    let frame = tag(Kind::Audio, 0, &[0xaf, 1, 9, 9]);
    let check = |values: &[(&str, Value)], starts| {
        let (mut demuxer, mut read) = (Demuxer::new(), Read::default());
        for tag in [&metadata(values), &head, &frame] {
            demuxer.handle_tag(start(), tag).unwrap();
        }
        read.drain(&mut demuxer);
        assert_eq!(!read.frames.is_empty(), starts, "{values:?}");
    };
    check(&[("audiocodecid", 10.0.into())], true);
    check(&[("audiocodecid", "mp4a".into()), ("videocodecid", 0.0.into())], true);
    check(&[("audiocodecid", 10.0.into()), ("videocodecid", 7.0.into())], false);
    check(&[("width", 1.0.into())], false);
    let map = Value::Object(vec![("0".into(), Value::Null), ("1".into(), Value::Null)]);
    check(&[("audiocodecid", 10.0.into()), ("audioTrackIdInfoMap", map)], false);
}

#[test]
fn a_track_that_cannot_be_read_is_refused_by_name_and_the_rest_plays() {
    let tags = tags_of(FFMPEG_CLASSIC);
    let changed = |change: &dyn Fn(&Tag) -> Option<Vec<u8>>| -> Vec<Tag> {
        let change = |original: &Tag| match change(original) {
            Some(payload) => tag(original.kind, original.timestamp, &payload),
            None => original.clone(),
        };
        tags.iter().map(change).collect()
    };
    // A sample rate that is reserved.
    let bad_aac =
        changed(&|tag| (tag.kind == Kind::Audio && tag.payload[1] == 0).then(|| vec![0xaf, 0, 0x16, 0xff, 0xff]));
    let read = demux(&bad_aac);
    assert_eq!(read.refused, ["audio track 0 (MPEG-4 Audio): invalid sample rate"]);
    assert_eq!((read.codecs(), read.of(0).len()), (vec!["H264"], 30));
    // Nobody asked for AC-4.
    let ac4 = changed(&|tag| (tag.kind == Kind::Audio).then(|| b"\x91ac-4xyz".to_vec()));
    let read = demux(&ac4);
    assert_eq!(
        read.refused,
        ["audio track 0 (FourCC ac-4): nothing here reads this codec"]
    );
    assert_eq!((read.codecs(), read.of(0).len()), (vec!["H264"], 30));
    let speex = changed(&|tag| (tag.kind == Kind::Audio).then(|| vec![0xb2, 1]));
    assert_eq!(
        demux(&speex).refused,
        ["audio track 0 (Speex): nothing here reads this codec"]
    );
    // A configuration that is cut off.
    let cut = changed(&|tag| (tag.kind == Kind::Video && tag.payload[1] == 0).then(|| tag.payload[..20].to_vec()));
    let read = demux(&cut);
    assert_eq!(
        (read.codecs(), &read.refused[0][..]),
        (vec!["MPEG-4 Audio"], "video track 0 (H264): truncated")
    );
    // Nothing is left.
    let none = tags
        .iter()
        .filter(|tag| tag.kind == Kind::Audio)
        .map(|_| tag(Kind::Audio, 2_000, &[0xb2, 1]));
    let mut demuxer = Demuxer::new();
    let now = start();
    let results: Vec<_> = none
        .map(|tag| demuxer.handle_tag(now + Duration::from_secs(2), &tag))
        .collect();
    assert!(results[0].is_ok());
    let mut late = demuxer;
    assert_eq!(
        late.handle_tag(now + Duration::from_secs(5), &tag(Kind::Audio, 2_000, &[0xb2, 1])),
        Err(Error::NoTracks)
    );
}

#[test]
fn a_track_of_broken_tags_is_refused_and_the_rest_plays() {
    let mut tags = tags_of(FFMPEG_CLASSIC);
    let last = tags.last().unwrap().timestamp;
    let good = tags.iter().rfind(|tag| tag.kind == Kind::Video && tag.payload[1] == 1);
    let good = good.unwrap().payload.clone();
    let cut = |at: u32| tag(Kind::Video, last + at, &[0x17, 1, 0]);
    // One in a while is forgiven for ever.
    for at in 0..200 {
        tags.push(cut(at));
        tags.push(tag(Kind::Video, last + at, &good));
    }
    let read = demux(&tags);
    assert_eq!((read.tracks.len(), read.of(0).len(), read.refused.len()), (1, 230, 200));
    // Nothing but that is not.
    tags.extend((0..65).map(|at| cut(200 + at)));
    let sound = [&[0xaf, 1][..], &read.of(1)[0].payload[..]].concat();
    tags.push(tag(Kind::Audio, last + 300, &sound));
    let read = demux(&tags);
    assert_eq!(read.refused.len(), 202);
    assert_eq!(read.refused[201], "video track 0 (tag): 65 times in a row: truncated");
    let names: Vec<&str> = read.tracks[1].iter().map(|track| track.codec.name()).collect();
    assert_eq!(names, ["MPEG-4 Audio"]);
    assert_eq!(read.frames.last().unwrap().track, TrackId(1));
    // A frame without its header, of a codec that has nothing else.
    let noise = |at: u32| tag(Kind::Audio, at, &[0x2f, 1, 2, 3]);
    let mut demuxer = Demuxer::new();
    let ended = (0..200).find_map(|at| demuxer.handle_tag(start(), &noise(at * 100)).err());
    assert_eq!(ended, Some(Error::NoTracks));
}

#[test]
fn a_configuration_sent_again_at_another_time_moves_nothing() {
    let mut tags = tags_of(FFMPEG_CLASSIC);
    let config = tags.iter().find(|tag| tag.kind == Kind::Video).unwrap().clone();
    let middle = tags.len() / 2;
    tags.insert(middle, Tag { timestamp: 0, ..config });
    let (plain, again) = (demux(&tags_of(FFMPEG_CLASSIC)), demux(&tags));
    assert!(plain.frames == again.frames && again.tracks.len() == 1);
}

#[test]
fn every_truncated_file_ends_quietly() {
    for file in [FFMPEG_CLASSIC, FFMPEG_ENHANCED] {
        let tags = tags_of(file);
        let whole = demux(&tags).frames.len();
        // Each tag cut to each length up to where data begin, the others whole.
        for at in 0..tags.len().min(12) {
            for length in 0..tags[at].payload.len().min(64) {
                let mut cut = tags.clone();
                cut[at].payload.truncate(length);
                let mut demuxer = Demuxer::new();
                let mut read = Read::default();
                for tag in &cut {
                    let _ = demuxer.handle_tag(start(), tag);
                    read.drain(&mut demuxer);
                }
                assert!(read.frames.len() <= whole);
            }
        }
    }
}

#[test]
fn new_parameters_and_new_codecs_are_told_before_their_frames() {
    let mut tags = tags_of(FFMPEG_CLASSIC);
    let config = tags.iter().find(|tag| tag.kind == Kind::Audio).unwrap().clone();
    let mono = aac::Config::new(aac::LOW_COMPLEXITY, 48_000, 1).unwrap();
    let last = tags.last().unwrap().timestamp;
    tags.push(Tag {
        timestamp: last,
        ..config.clone()
    });
    tags.push(tag(Kind::Audio, last, &[&[0xaf, 0][..], &mono.bytes()].concat()));
    tags.push(tag(Kind::Audio, last, &[0xaf, 1, 7]));
    tags.push(tag(Kind::Audio, last, b"\x90Opusbad"));
    let read = demux(&tags);
    assert_eq!(read.tracks.len(), 3, "the same configuration again is no news");
    assert_eq!(read.tracks[1][1].codec, Codec::Aac(mono));
    assert_eq!(read.tracks[1][1].id, read.tracks[0][1].id);
    assert_eq!(
        read.refused,
        ["audio track 0 (Opus): invalid Opus identification header"]
    );
    assert_eq!(read.tracks[2].len(), 1, "without sound the stream goes on");
}

#[test]
fn a_muxer_tells_new_parameters_before_their_frame() {
    let stream = streams::h264();
    let frame = |flags, dts| Frame {
        track: stream.track.id,
        number: 0,
        pts: dts - 12,
        dts,
        duration: 0,
        wall: None,
        flags,
        payload: stream.frames[0].0.clone().into(),
    };
    let mut muxer = Muxer::new(std::slice::from_ref(&stream.track));
    let mut tags = Vec::new();
    muxer.tags(&frame(Flags::KEY, 12_800), &stream.track, &mut tags);
    assert_eq!((tags.len(), tags[0].timestamp), (1, 1_000));
    assert_eq!(
        tags[0].payload[..5],
        [0x17, 1, 0xff, 0xff, 0xff],
        "shown a millisecond before it is decoded"
    );
    let mut other = stream.track.clone();
    if let Codec::H264(parameters) = &mut other.codec {
        parameters.pps = Bytes::from_static(&[0x68, 1, 2, 3]);
    }
    tags.clear();
    muxer.tags(&frame(Flags::KEY, 25_600), &other, &mut tags);
    muxer.tags(&frame(Flags::DISPOSABLE, 38_400), &other, &mut tags);
    let heads: Vec<[u8; 2]> = tags.iter().map(|tag| [tag.payload[0], tag.payload[1]]).collect();
    assert_eq!(heads, [[0x17, 0], [0x17, 1], [0x37, 1]]);
    assert_eq!(tags[0].payload[5..], other.codec.parameters());
    // Before the start of time, and far behind it.
    tags.clear();
    muxer.tags(&frame(Flags::NONE, -1_280), &other, &mut tags);
    muxer.tags(&frame(Flags::NONE, 12_800 * ((1 << 32) / 1_000 + 1)), &other, &mut tags);
    assert_eq!(
        (tags[0].timestamp, &tags[0].payload[2..5]),
        (0, &[0xff, 0xff, 0x9b][..])
    );
    assert_eq!(tags[1].timestamp, 704);
    // A frame of a stranger.
    tags.clear();
    let strange = Frame {
        track: TrackId(99),
        ..frame(Flags::KEY, 0)
    };
    muxer.tags(&strange, &other, &mut tags);
    assert!(tags.is_empty());
}

#[test]
fn the_opening_describes_the_tracks() {
    let streams = [streams::h264(), flac()];
    let tracks: Vec<Track> = (0..)
        .zip(&streams)
        .map(|(id, stream)| Track {
            id: TrackId(id),
            ..stream.track.clone()
        })
        .collect();
    let opening = Muxer::new(&tracks).opening(&tracks, 7);
    let times: Vec<u32> = opening.iter().map(|tag| tag.timestamp).collect();
    assert_eq!(times, [0, 7, 7]);
    assert_eq!(
        opening.iter().map(|tag| tag.kind).collect::<Vec<_>>(),
        [Kind::Script, Kind::Video, Kind::Audio]
    );
    let values = amf0::read_all(&opening[0].payload).unwrap();
    assert_eq!(values[0].as_str(), Some("onMetaData"));
    let number = |name| values[1].property(name).and_then(Value::as_f64);
    assert_eq!(number("videocodecid"), Some(7.0));
    assert_eq!(
        number("width"),
        tracks[0].codec.dimensions().map(|(width, _)| width.into())
    );
    assert_eq!(number("audiocodecid"), Some(u32::from_be_bytes(*b"fLaC").into()));
    assert_eq!(opening[2].payload[..9], *b"\x90fLaCfLaC");
    // Without parameter sets there is nothing to be told of video yet.
    let mut unknown = tracks.clone();
    unknown[0].codec = Codec::H264(Default::default());
    assert_eq!(Muxer::new(&unknown).opening(&unknown, 0).len(), 2);
    assert!(tracks[0].kind == Media::Video);
}

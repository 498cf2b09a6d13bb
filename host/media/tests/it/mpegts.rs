//! Transport streams: FFmpeg reads ours and sees the same pictures at the same times; what FFmpeg writes holds for us the
//! frames that it put in.

use bytes::{Bytes, BytesMut};
use wasmtx_media::{
    Codec, Flags, Frame, Kind, Track, TrackId,
    codec::{ac3, adts, mp3},
    container::{
        mp4::{self, Step},
        mpegts::{self, Demuxer, Muxer, View},
    },
};

use crate::tool::{converted, decoded, ffprobe, made, remuxed};

const PICTURES: &str = "-f lavfi -i testsrc2=size=176x144:rate=25:duration=2";
const SOUND: &str = "-f lavfi -i sine=440:duration=2";

fn movie(file: &[u8]) -> (Vec<Track>, Vec<Frame>) {
    let movie = mp4::read(&Bytes::copy_from_slice(file)).unwrap();
    let frames = movie.steps.into_iter().map(|step| match step {
        Step::Frame(frame) => frame,
        Step::Tracks(_) => panic!("no parameters change"),
    });
    (movie.tracks.to_vec(), frames.collect())
}

/// The frames of a stream of sound, whose headers `parse` reads: bytes before the payload, bytes in all, samples.
fn frames(mut stream: &[u8], clock: u64, rate: u64, parse: impl Fn(&[u8]) -> (usize, usize, u64)) -> Vec<Frame> {
    let (mut frames, mut samples) = (Vec::new(), 0);
    while !stream.is_empty() {
        let (header, length, more) = parse(stream);
        let time = i64::try_from(samples * clock / rate).unwrap();
        frames.push(Frame {
            track: TrackId(7),
            number: 0,
            pts: time,
            dts: time,
            duration: u32::try_from(more * clock / rate).unwrap(),
            wall: None,
            flags: Flags::KEY,
            payload: stream[header..length].to_vec().into(),
        });
        samples += more;
        stream = &stream[length..];
    }
    frames
}

fn sound(codec: Codec, clock_rate: u32) -> Track {
    Track {
        id: TrackId(7),
        kind: Kind::Audio,
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    }
}

fn mux(tracks: &[Track], frames: &[Frame]) -> Bytes {
    let mut muxer = Muxer::new(tracks).unwrap();
    let mut out = BytesMut::new();
    for frame in frames {
        muxer.push(frame, &mut out).unwrap();
        assert_eq!(out.len() % mpegts::PACKET, 0);
    }
    out.freeze()
}

/// FFmpeg finds every frame of a track at its time, and says that decoding may start where it may.
fn check_times(stream: &[u8], track: &Track, of: &str, frames: &[Frame]) {
    let line = format!("-select_streams {of} -show_entries packet=pts,dts,flags");
    let packets = ffprobe(&line, stream);
    let ticks = |time: i64| {
        let rate = i64::from(track.clock_rate);
        (time * 180_000 + rate).div_euclid(2 * rate) + mpegts::START
    };
    let expected: Vec<_> = frames
        .iter()
        .filter(|frame| frame.track == track.id)
        .map(|frame| {
            (
                ticks(frame.pts).to_string(),
                ticks(frame.dts).to_string(),
                frame.is_key(),
            )
        })
        .collect();
    let packets: Vec<_> = packets
        .into_iter()
        .map(|fields| (fields[0].clone(), fields[1].clone(), fields[2].starts_with('K')))
        .collect();
    assert_eq!(packets, expected);
}

fn pictures(file: &[u8], stream: &str) -> Vec<u8> {
    converted(
        file,
        &format!("-map 0:{stream} -fps_mode passthrough -f framehash -hash md5"),
    )
    .split(|byte| *byte == b'\n')
    .filter(|line| !line.starts_with(b"#"))
    .flat_map(|line| line.rsplit(|byte| *byte == b',').next().unwrap_or_default().to_vec())
    .collect()
}

fn check_pictures(encoder: &str) {
    let line = format!("{PICTURES} {SOUND} {encoder} -c:a aac -ar 48000 -movflags frag_keyframe+delay_moov -f mp4");
    let file = made(&line);
    let (tracks, frames) = movie(&file);
    let stream = mux(&tracks, &frames);
    check_times(&stream, &tracks[0], "v:0", &frames);
    check_times(&stream, &tracks[1], "a:0", &frames);
    assert_eq!(pictures(&stream, "v"), pictures(&file, "v"));
    assert_eq!(pictures(&stream, "a"), pictures(&file, "a"));
}

#[test]
fn ffmpeg_decodes_h264_with_b_frames_and_aac_to_what_they_were() {
    check_pictures("-c:v libx264 -bf 3 -g 25 -pix_fmt yuv420p");
}

#[test]
fn ffmpeg_decodes_h265_and_aac_to_what_they_were() {
    check_pictures("-c:v libx265 -x265-params log-level=none:bframes=3:keyint=25 -pix_fmt yuv420p");
}

#[test]
fn ffmpeg_finds_opus() {
    let line = format!("{SOUND} -c:a libopus -ac 2 -f mp4 -movflags frag_keyframe+empty_moov");
    let (tracks, frames) = movie(&made(&line));
    let stream = mux(&tracks, &frames);
    let probed = ffprobe("-show_entries stream=codec_name,sample_rate,channels", &stream);
    assert_eq!(probed.last().unwrap(), &["opus", "48000", "2"]);
    check_times(&stream, &tracks[0], "a:0", &frames);
    converted(&stream, "-f null");
}

#[test]
fn ffmpeg_finds_aac_mp3_and_ac3() {
    let file = made(&format!("{SOUND} -c:a aac -ar 44100 -ac 2 -f adts"));
    let config = adts::Header::parse(&file).unwrap().config().unwrap();
    let aac = frames(&file, 44_100, 44_100, |frame| {
        let header = adts::Header::parse(frame).unwrap();
        (header.size, header.length, 1_024)
    });
    check_sound("aac", sound(Codec::Aac(config), 44_100), &aac);

    let file = made(&format!(
        "{SOUND} -c:a libmp3lame -ar 44100 -ac 2 -write_xing 0 -id3v2_version 0 -f mp3"
    ));
    let mp3 = frames(&file, 90_000, 44_100, |frame| {
        let header = mp3::Header::parse(frame).unwrap();
        (0, header.length, header.samples.into())
    });
    let codec = Codec::Mp3 {
        sample_rate: 44_100,
        channels: 2,
    };
    check_sound("mp3", sound(codec, mp3::CLOCK_RATE), &mp3);

    let file = made(&format!("{SOUND} -c:a ac3 -ar 48000 -ac 2 -f ac3"));
    let ac3 = frames(&file, 48_000, 48_000, |frame| {
        (0, ac3::Header::parse(frame).unwrap().length, ac3::SAMPLES.into())
    });
    let codec = Codec::Ac3 {
        sample_rate: 48_000,
        channels: 2,
    };
    check_sound("ac3", sound(codec, 48_000), &ac3);
}

fn check_sound(name: &str, track: Track, frames: &[Frame]) {
    let stream = mux(std::slice::from_ref(&track), frames);
    let probed = ffprobe("-show_entries stream=codec_name,sample_rate,channels", &stream);
    let rate = track.codec.audio().unwrap().0.to_string();
    assert_eq!(probed.last().unwrap(), &[name, &*rate, "2"]);
    check_times(&stream, &track, "a:0", frames);
    converted(&stream, "-f null");
}

/// What a transport stream holds: the tracks that it begins with, and every frame.
fn demux(stream: &[u8], piece: usize) -> (Vec<Track>, Vec<Frame>) {
    let (mut demuxer, mut tracks, mut frames) = (Demuxer::new(), None, Vec::new());
    let mut drain = |demuxer: &mut Demuxer| {
        while let Some(step) = demuxer.next() {
            match step {
                mpegts::Step::Tracks(told) => assert!(tracks.replace(told).is_none(), "told twice"),
                mpegts::Step::Frame(frame) => frames.push(frame),
                other => panic!("{other:?}"),
            }
        }
    };
    for piece in stream.chunks(piece) {
        demuxer.push(piece);
        drain(&mut demuxer);
    }
    demuxer.finish();
    drain(&mut demuxer);
    assert_eq!(demuxer.lost(), 0);
    (tracks.expect("tracks").to_vec(), frames)
}

/// The frames of the track of a kind.
fn of(tracks: &[Track], frames: &[Frame], kind: Kind) -> Vec<Frame> {
    let track = tracks.iter().find(|track| track.kind == kind).unwrap();
    frames.iter().filter(|frame| frame.track == track.id).cloned().collect()
}

/// Times in ticks of 90 kHz since the first picture is shown, flags and payload: what must be the same in any container.
fn essence(tracks: &[Track], frames: &[Frame], kind: Kind) -> Vec<(i64, i64, Flags, Bytes)> {
    let zero = of(tracks, frames, tracks[0].kind)[0].pts * 90_000 / i64::from(tracks[0].clock_rate);
    let rate = i64::from(tracks.iter().find(|track| track.kind == kind).unwrap().clock_rate);
    let ticks = |time: i64| (time * 90_000).div_euclid(rate) - zero;
    let frames = of(tracks, frames, kind);
    let essence = |frame: Frame| {
        (
            ticks(frame.pts),
            ticks(frame.dts),
            frame.flags,
            frame.payload.to_vec().into(),
        )
    };
    frames.into_iter().map(essence).collect()
}

fn check_same(before: &(Vec<Track>, Vec<Frame>), after: &(Vec<Track>, Vec<Frame>)) {
    assert_eq!(before.0.len(), after.0.len());
    for (before_track, after_track) in before.0.iter().zip(&after.0) {
        // An AudioSpecificConfig may say more than ADTS can.
        if before_track.kind == Kind::Video {
            assert_eq!(before_track.codec, after_track.codec);
        }
        assert_eq!(before_track.codec.name(), after_track.codec.name());
        assert_eq!(before_track.codec.audio(), after_track.codec.audio());
        let kind = before_track.kind;
        let (before, after) = (essence(&before.0, &before.1, kind), essence(&after.0, &after.1, kind));
        assert_eq!(before.len(), after.len());
        for (before, after) in before.iter().zip(&after) {
            // FFmpeg moves the times of all tracks by as much as it can tell in the clock of each.
            assert!((before.0 - after.0).abs() <= 4, "{} {}", before.0, after.0);
            assert!((before.1 - after.1).abs() <= 4, "{} {}", before.1, after.1);
            assert_eq!((before.2, &before.3), (after.2, &after.3));
        }
    }
}

/// A file of FFmpeg's, the same frames as it puts them into a transport stream, and as we do, all read by us.
fn check_both_ways(line: &str) {
    let file = made(&format!("{line} -movflags frag_keyframe+delay_moov -f mp4"));
    let before = movie(&file);
    let theirs = remuxed(&file, "-f mpegts");
    check_same(&before, &demux(&theirs, theirs.len()));
    check_same(&before, &demux(&theirs, 1_316));
    let ours = mux(&before.0, &before.1);
    check_same(&before, &demux(&ours, 1_000));
}

#[test]
fn h264_with_b_frames_and_aac_are_read_from_theirs_and_from_ours() {
    check_both_ways(&format!(
        "{PICTURES} {SOUND} -c:v libx264 -bf 3 -g 25 -pix_fmt yuv420p -c:a aac -ac 2 -ar 44100"
    ));
}

#[test]
fn h265_and_ac3_are_read_from_theirs_and_from_ours() {
    let line =
        "-c:v libx265 -x265-params log-level=none:info=0:bframes=3:keyint=25 -pix_fmt yuv420p -c:a ac3 -ar 48000";
    check_both_ways(&format!("{PICTURES} {SOUND} {line}"));
}

#[test]
fn opus_is_read_from_theirs_and_from_ours() {
    check_both_ways(&format!("{SOUND} -c:a libopus -ac 2"));
}

#[test]
fn mp3_is_read_from_theirs_and_from_ours() {
    let file = made(&format!(
        "{SOUND} -c:a libmp3lame -ar 44100 -ac 2 -write_xing 0 -id3v2_version 0 -f mp3"
    ));
    let frames = frames(&file, 90_000, 44_100, |frame| {
        let header = mp3::Header::parse(frame).unwrap();
        (0, header.length, header.samples.into())
    });
    let codec = Codec::Mp3 {
        sample_rate: 44_100,
        channels: 2,
    };
    let before = (vec![sound(codec, mp3::CLOCK_RATE)], frames);
    let theirs = remuxed(&file, "-f mpegts");
    check_same(&before, &demux(&theirs, 999));
    check_same(&before, &demux(&mux(&before.0, &before.1), 999));
}

/// What a transport stream looks like as an MP4.
fn viewed(stream: &[u8]) -> Vec<u8> {
    let mut read = |offset: u64, length: usize| {
        let from = usize::try_from(offset).unwrap().min(stream.len());
        Ok::<_, wasmtx_media::Error>(Bytes::copy_from_slice(&stream[from..stream.len().min(from + length)]))
    };
    let view = View::open(stream.len() as u64, &mut read).unwrap();
    let mut file = view.header().to_vec();
    while let Some((_, part)) = view.part(file.len() as u64, &mut read).unwrap() {
        file.extend_from_slice(&part);
    }
    assert_eq!(file.len() as u64, view.len());
    file
}

#[test]
fn a_stream_that_is_looked_at_as_an_mp4_decodes_to_what_it_was() {
    for (sources, encoder) in [
        (
            format!("{PICTURES} {SOUND}"),
            "-c:v libx264 -bf 3 -g 10 -pix_fmt yuv420p -c:a aac -ac 2",
        ),
        (
            format!("{PICTURES} {SOUND}"),
            "-c:v libx265 -x265-params log-level=none:info=0:keyint=10 -pix_fmt yuv420p -c:a ac3 -ar 48000",
        ),
        (SOUND.to_owned(), "-c:a libmp3lame -ar 44100"),
        (SOUND.to_owned(), "-c:a libopus -b:a 64k"),
        (SOUND.to_owned(), "-c:a aac -b:a 32k"),
    ] {
        let theirs = made(&format!("{sources} {encoder} -f mpegts"));
        let before = demux(&theirs, theirs.len());
        let seen = viewed(&theirs);
        check_same(&before, &movie(&seen));
        assert_eq!(decoded(&seen), decoded(&theirs), "{encoder}");
    }
}

#[test]
fn recordings_of_mediamtx_are_read_and_seen_as_mp4() {
    for (name, file) in [
        (
            "H264",
            &include_bytes!("../../testdata/mpegts/mediamtx-h264-aac.ts")[..],
        ),
        ("H265", include_bytes!("../../testdata/mpegts/mediamtx-h265-opus.ts")),
        (
            "MPEG-1/2 Audio",
            include_bytes!("../../testdata/mpegts/mediamtx-mp3.ts"),
        ),
    ] {
        let before = demux(file, 1_316);
        let (tracks, frames) = &before;
        assert_eq!(tracks[0].codec.name(), name);
        for (track, place) in tracks.iter().zip(0..) {
            let times = ffprobe(&format!("-select_streams {place} -show_entries packet=pts"), file);
            let times: Vec<i64> = times.iter().map(|fields| fields[0].parse().unwrap()).collect();
            let frames: Vec<_> = frames.iter().filter(|frame| frame.track == track.id).collect();
            assert_eq!(frames.len(), times.len(), "{name} {}", track.codec.name());
            let rate = i64::from(track.clock_rate);
            for (frame, time) in frames.iter().zip(times) {
                assert!((frame.pts * 90_000 / rate - time).abs() <= 2, "{} {time}", frame.pts);
            }
        }
        let seen = viewed(file);
        check_same(&before, &movie(&seen));
        assert_eq!(decoded(&seen), decoded(file), "{name}");
        let Ok(whole) = mpegts::whole(file.len() as u64, |offset, length| {
            let from = usize::try_from(offset).unwrap();
            Ok::<_, std::convert::Infallible>(Bytes::copy_from_slice(&file[from..file.len().min(from + length)]))
        });
        assert_eq!(whole, file.len() as u64, "nothing of it is cut off");
    }
}

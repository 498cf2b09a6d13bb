use super::super::Muxer;
use super::*;
use crate::container::mp4::{self, recorded};

const H264_AAC: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac.mp4");
/// How often the test clip is played: each time for half a second, with two keyframes.
const TIMES: i64 = 30;

fn movie(file: &[u8]) -> (Tracks, Vec<Frame>) {
    let movie = mp4::read(&Bytes::copy_from_slice(file)).unwrap();
    let frames = movie.steps.into_iter().filter_map(|step| match step {
        mp4::Step::Frame(frame) => Some(frame),
        mp4::Step::Tracks(_) => None,
    });
    (movie.tracks, frames.collect())
}

/// The clip again and again, beginning at `start` ticks of 90 kHz, with all its tracks or its sound alone.
fn stream(start: i64, kinds: &[Kind]) -> Vec<u8> {
    let (tracks, frames) = movie(H264_AAC);
    let tracks: Tracks = tracks
        .iter()
        .filter(|track| kinds.contains(&track.kind))
        .cloned()
        .collect();
    let mut muxer = Muxer::new(&tracks).unwrap();
    let mut out = BytesMut::new();
    for track in tracks.iter() {
        muxer.begin(track.id, -start * i64::from(track.clock_rate) / 90_000);
    }
    for turn in 0..TIMES {
        for frame in &frames {
            let Some(track) = tracks.iter().find(|track| track.id == frame.track) else {
                continue;
            };
            // 640 ms: ten frames of sound, sixteen pictures' time.
            let later = turn * i64::from(track.clock_rate) * 64 / 100;
            let frame = Frame {
                dts: frame.dts + later,
                pts: frame.pts + later,
                ..frame.clone()
            };
            muxer.push(&frame, &mut out).unwrap();
        }
    }
    out.to_vec()
}

fn reader(stream: &[u8]) -> impl FnMut(u64, usize) -> Result<Bytes, Error> {
    move |offset, length| {
        let from = usize::try_from(offset).unwrap().min(stream.len());
        Ok(Bytes::copy_from_slice(&stream[from..stream.len().min(from + length)]))
    }
}

/// The whole MP4, and where its parts begin.
fn whole(view: &View, stream: &[u8]) -> (Vec<u8>, Vec<u64>) {
    let (mut file, mut starts) = (view.header().to_vec(), Vec::new());
    while let Some((start, part)) = view.part(file.len() as u64, reader(stream)).unwrap() {
        assert_eq!(start, file.len() as u64);
        starts.push(start);
        file.extend_from_slice(&part);
    }
    assert_eq!(file.len() as u64, view.len());
    (file, starts)
}

/// Times since the first frame is decoded, and payloads.
fn essence(tracks: &Tracks, frames: &[Frame], kind: Kind) -> Vec<(i64, i64, Bytes)> {
    let track = tracks.iter().find(|track| track.kind == kind).unwrap();
    let of = |frame: &&Frame| frame.track == track.id;
    let first = frames.iter().find(of).unwrap().dts;
    let essence = |frame: &Frame| (frame.dts - first, frame.pts - first, (*frame.payload).clone());
    frames.iter().filter(of).map(essence).collect()
}

fn demuxed(stream: &[u8]) -> (Tracks, Vec<Frame>) {
    let mut demuxer = Demuxer::recorded();
    demuxer.push(stream);
    demuxer.finish();
    let (mut tracks, mut frames) = (None, Vec::new());
    while let Some(step) = demuxer.next() {
        match step {
            Step::Tracks(told) => tracks = Some(told),
            Step::Frame(frame) => frames.push(frame),
            Step::Skipped { .. } => {}
        }
    }
    (tracks.unwrap(), frames)
}

#[test]
fn the_mp4_holds_every_frame_at_its_time() {
    // In the last case times wrap in the middle.
    for start in [0, 7_777_777, (1 << 33) - 900_000] {
        for kinds in [&[Kind::Video, Kind::Audio][..], &[Kind::Audio]] {
            let stream = stream(start, kinds);
            let view = View::open(stream.len() as u64, reader(&stream)).unwrap();
            let (file, starts) = whole(&view, &stream);
            assert!(starts.len() > if kinds.len() == 2 { 58 } else { 0 }, "{}", starts.len());
            let (tracks, frames) = movie(&file);
            let before = demuxed(&stream);
            assert_eq!(tracks.len(), kinds.len());
            for kind in kinds {
                let (written, read) = (essence(&before.0, &before.1, *kind), essence(&tracks, &frames, *kind));
                assert_eq!(written.len(), read.len());
                for (written, read) in written.iter().zip(&read) {
                    assert!(
                        (written.0 - read.0).abs() <= 1 && (written.1 - read.1).abs() <= 1,
                        "{written:?} {read:?}"
                    );
                    assert_eq!(written.2, read.2);
                }
            }
        }
    }
}

#[test]
fn every_byte_is_the_same_wherever_reading_begins() {
    for kinds in [&[Kind::Video, Kind::Audio][..], &[Kind::Audio]] {
        let stream = stream(0, kinds);
        let view = View::open(stream.len() as u64, reader(&stream)).unwrap();
        let (file, starts) = whole(&view, &stream);
        for offset in (view.header().len()..file.len()).step_by(2_003) {
            let (start, part) = view.part(offset as u64, reader(&stream)).unwrap().unwrap();
            assert!(starts.contains(&start));
            let from = usize::try_from(start).unwrap();
            assert!((from..from + part.len()).contains(&offset));
            assert_eq!(file[from..from + part.len()], part);
        }
        assert_eq!(view.part(view.len(), reader(&stream)).unwrap(), None);
        assert_eq!(view.part(0, reader(&stream)).unwrap(), None);
    }
}

#[test]
fn the_header_and_the_parts_are_read_as_those_of_recordings_are() {
    let stream = stream(0, &[Kind::Video, Kind::Audio]);
    let view = View::open(stream.len() as u64, reader(&stream)).unwrap();
    let header = recorded::Header::read(&view.header()).unwrap();
    assert_eq!((header.tracks.len(), header.segment), (2, None));
    let (file, _) = whole(&view, &stream);
    let whole = mp4::whole(view.len(), |offset, wanted| {
        let from = usize::try_from(offset).unwrap().min(file.len());
        Ok::<_, Error>(Bytes::copy_from_slice(&file[from..file.len().min(from + wanted)]))
    });
    assert_eq!(whole.unwrap().len, view.len());
}

#[test]
fn a_time_is_found_without_reading_everything() {
    let stream = stream((1 << 33) - 900_000, &[Kind::Video, Kind::Audio]);
    let view = View::open(stream.len() as u64, reader(&stream)).unwrap();
    let (_, starts) = whole(&view, &stream);
    for (part, start) in starts.iter().enumerate() {
        // Two parts in each 640 ms, the second one 240 ms behind the first.
        let (turn, second) = (i64::try_from(part / 2).unwrap(), i64::try_from(part % 2).unwrap());
        let time = (turn * 640 + second * 240 + 100) * 1_000_000;
        let found = view.near(time, reader(&stream)).unwrap();
        assert!(starts.contains(&found) && found <= *start, "{found} {start}");
        assert!(start - found <= BLOCK, "{found} {start}");
    }
    assert_eq!(view.near(-5_000_000_000, reader(&stream)).unwrap(), starts[0]);
    assert_eq!(view.near(0, reader(&stream)).unwrap(), starts[0]);
    let last = view.near(i64::MAX, reader(&stream)).unwrap();
    assert!(view.len() - last <= 2 * BLOCK);
}

#[test]
fn what_holds_nothing_that_could_be_played_is_an_error() {
    let open = |stream: &[u8]| View::open(stream.len() as u64, reader(stream)).err();
    assert_eq!(open(&[]), Some(Error::Unsupported("tracks")));
    assert_eq!(open(&[0; 5_000]), Some(Error::Unsupported("tracks")));
    assert_eq!(open(H264_AAC), Some(Error::Unsupported("tracks")));
    let stream = stream(0, &[Kind::Video]);
    let gone = View::open(stream.len() as u64, |_, _| Err(Error::Invalid("disk")));
    assert_eq!(gone.err(), Some(Error::Invalid("disk")));
}

#[test]
fn damage_costs_frames_and_never_the_layout() {
    let stream = stream(0, &[Kind::Video, Kind::Audio]);
    for bit in (0..stream.len() * 8).step_by(40_009) {
        let mut damaged = stream.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let Ok(view) = View::open(damaged.len() as u64, reader(&damaged)) else {
            continue;
        };
        let (file, _) = whole(&view, &damaged);
        let (_, frames) = movie(&file);
        assert!(
            frames.len() > 21 * TIMES as usize * 9 / 10,
            "bit {bit}: {}",
            frames.len()
        );
    }
}

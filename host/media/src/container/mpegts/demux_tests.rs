use bytes::Bytes;

use super::super::{Muxer, START, section::put_pmt};
use super::*;
use crate::{Codec, Kind, codec::aac, container::mp4, nal};

const H264_AAC: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac.mp4");

fn movie() -> (Tracks, Vec<Frame>) {
    let movie = mp4::read(&Bytes::from_static(H264_AAC)).unwrap();
    let frames = movie.steps.into_iter().filter_map(|step| match step {
        mp4::Step::Frame(frame) => Some(frame),
        mp4::Step::Tracks(_) => None,
    });
    (movie.tracks, frames.collect())
}

/// Twelve pictures and nine frames of sound as a stream.
fn stream() -> Vec<u8> {
    let (tracks, frames) = movie();
    let mut muxer = Muxer::new(&tracks).unwrap();
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| muxer.push(frame, &mut out).unwrap());
    out.to_vec()
}

fn drain(demuxer: &mut Demuxer) -> Vec<Step> {
    std::iter::from_fn(|| demuxer.next()).collect()
}

fn steps(stream: &[u8]) -> Vec<Step> {
    let mut demuxer = Demuxer::new();
    demuxer.push(stream);
    demuxer.finish();
    drain(&mut demuxer)
}

fn frames(steps: &[Step]) -> Vec<&Frame> {
    let frames = steps.iter().filter_map(|step| match step {
        Step::Frame(frame) => Some(frame),
        _ => None,
    });
    frames.collect()
}

fn pictures(steps: &[Step]) -> Vec<&Frame> {
    let frames = frames(steps).into_iter();
    frames.filter(|frame| frame.track == TrackId(0x100)).collect()
}

fn pid(packet: &[u8]) -> u16 {
    u16::from_be_bytes([packet[1] & 0x1f, packet[2]])
}

/// Where the packets of a PID begin.
fn places(stream: &[u8], of: u16) -> Vec<usize> {
    let places = (0..stream.len()).step_by(PACKET);
    places.filter(|at| pid(&stream[*at..]) == of).collect()
}

/// What may be said of anything that comes out.
fn check(steps: &[Step]) {
    let mut tracks: Option<&Tracks> = None;
    let mut last: Vec<(TrackId, u32, i64)> = Vec::new();
    for step in steps {
        match step {
            Step::Tracks(told) => tracks = Some(told),
            Step::Frame(frame) => {
                let track = tracks.unwrap().iter().find(|track| track.id == frame.track).unwrap();
                assert!(!frame.payload.is_empty());
                if track.kind == Kind::Video {
                    nal::check(&frame.payload).unwrap();
                }
                let before = last.iter().position(|(id, ..)| *id == track.id);
                let (_, rate, dts) = before.map_or((track.id, 0, 0), |at| last.swap_remove(at));
                assert!(rate != track.clock_rate || dts <= frame.dts);
                last.push((track.id, track.clock_rate, frame.dts));
            }
            Step::Skipped { .. } => {}
        }
    }
}

#[test]
fn what_was_written_is_read_whatever_the_pieces() {
    let (tracks, before) = movie();
    let stream = stream();
    let whole = steps(&stream);
    check(&whole);
    let Step::Tracks(told) = &whole[0] else {
        panic!("{:?}", whole[0])
    };
    assert_eq!(told[0].codec, tracks[0].codec);
    assert_eq!((told[0].clock_rate, told[1].clock_rate), (90_000, 16_000));
    assert_eq!(whole.len(), 1 + before.len());
    for (track, at) in [(0x100, 0), (0x101, 1)] {
        let payloads = |frames: Vec<&Frame>, id: u32| -> Vec<(Bytes, Flags)> {
            let frames = frames.into_iter().filter(|frame| frame.track.0 == id);
            frames
                .map(|frame| (frame.payload.to_vec().into(), frame.flags))
                .collect()
        };
        let written = payloads(before.iter().collect(), tracks[at].id.0);
        assert_eq!(payloads(frames(&whole), track), written);
    }
    let dts: Vec<_> = pictures(&whole).iter().map(|frame| frame.dts).collect();
    let written = before.iter().filter(|frame| frame.track == tracks[0].id);
    assert_eq!(
        dts,
        written
            .map(|frame| frame.dts * 90_000 / 12_800 + START)
            .collect::<Vec<_>>()
    );

    for piece in [1, 187, 188, 189, 1_316] {
        let (mut demuxer, mut steps) = (Demuxer::new(), Vec::new());
        for piece in stream.chunks(piece) {
            demuxer.push(piece);
            steps.extend(drain(&mut demuxer));
        }
        demuxer.finish();
        steps.extend(drain(&mut demuxer));
        assert_eq!(steps, whole, "in pieces of {piece}");
    }
}

#[test]
fn a_stream_that_is_cut_anywhere_gives_its_beginning() {
    let stream = stream();
    let whole = steps(&stream);
    let whole = frames(&whole);
    for end in 0..stream.len() {
        let cut = steps(&stream[..end]);
        check(&cut);
        let cut = frames(&cut);
        for track in [0x100, 0x101] {
            let of = |frames: &[&Frame]| -> Vec<Frame> {
                let frames = frames.iter().filter(|frame| frame.track.0 == track);
                frames.map(|frame| (*frame).clone()).collect()
            };
            let (cut, whole) = (of(&cut), of(&whole));
            assert_eq!(cut[..], whole[..cut.len()], "cut at {end}");
        }
    }
}

#[test]
fn no_flipped_bit_breaks_a_promise_and_few_cost_more_than_a_frame() {
    let stream = stream();
    let whole = frames(&steps(&stream)).len();
    let mut costly = 0;
    for bit in (0..stream.len() * 8).step_by(13) {
        let mut flipped = stream.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let steps = steps(&flipped);
        check(&steps);
        costly += u32::from(frames(&steps).len() + 1 < whole);
    }
    let tried = stream.len() * 8 / 13;
    assert!(usize::try_from(costly).unwrap() < tried / 20, "{costly} of {tried}");
}

#[test]
fn after_garbage_packets_are_found_again() {
    let stream = stream();
    let garbage: Vec<u8> = (0..1_000u32).map(|n| (n * 7 % 251) as u8).collect();
    let middle = places(&stream, 0x100)[9];
    let dirty = [&garbage, &stream[..middle], &garbage, &stream[middle..], &garbage].concat();
    let steps = steps(&dirty);
    check(&steps);
    assert_eq!(
        frames(&steps).len(),
        frames(&self::steps(&stream)).len(),
        "no packet was lost"
    );
    assert!(self::steps(&garbage).is_empty());
}

#[test]
fn a_lost_packet_costs_its_picture_and_the_next_one_says_so() {
    let stream = stream();
    let whole = steps(&stream);
    let at = places(&stream, 0x100)[6];
    let lossy = [&stream[..at], &stream[at + PACKET..]].concat();
    let mut demuxer = Demuxer::new();
    demuxer.push(&lossy);
    demuxer.finish();
    let left = drain(&mut demuxer);
    assert_eq!(demuxer.lost(), 1);
    assert_eq!(pictures(&left).len() + 1, pictures(&whole).len());
    let marked: Vec<_> = frames(&left)
        .into_iter()
        .filter(|frame| frame.flags.contains(Flags::DISCONTINUITY))
        .collect();
    assert_eq!(marked.len(), 1);
    let before = pictures(&whole)
        .iter()
        .position(|frame| frame.dts == marked[0].dts)
        .unwrap();
    assert!(!pictures(&left).contains(&pictures(&whole)[before - 1]));
}

#[test]
fn a_packet_that_comes_twice_counts_once() {
    let stream = stream();
    let at = places(&stream, 0x100)[6];
    let twice = [&stream[..at + PACKET], &stream[at..]].concat();
    assert_eq!(steps(&twice), steps(&stream));
}

#[test]
fn a_damaged_packet_is_lost() {
    let mut stream = stream();
    let at = places(&stream, 0x100)[6];
    stream[at + 1] |= 0x80;
    let mut demuxer = Demuxer::new();
    demuxer.push(&stream);
    demuxer.finish();
    let marked = drain(&mut demuxer);
    assert_eq!(demuxer.lost(), 2, "as damaged, and by the counter of the next one");
    assert!(
        frames(&marked)
            .iter()
            .any(|frame| frame.flags.contains(Flags::DISCONTINUITY))
    );
}

#[test]
fn one_joins_in_the_middle_and_begins_where_parameters_are_known() {
    let stream = stream();
    let at = places(&stream, 0x100)[3];
    let steps = steps(&stream[at..]);
    check(&steps);
    let pictures = pictures(&steps);
    assert!(pictures[0].is_key() && pictures.len() < 12);
}

#[test]
fn frames_wait_two_seconds_for_a_track_that_shows_nothing() {
    let (tracks, frames) = movie();
    let silent = Track {
        id: TrackId(77),
        codec: Codec::Aac(aac::Config::new(2, 48_000, 2).unwrap()),
        ..tracks[1].clone()
    };
    let mut muxer = Muxer::new(&[tracks[0].clone(), silent.clone()]).unwrap();
    let (mut demuxer, mut out) = (Demuxer::new(), BytesMut::new());
    let pictures: Vec<_> = frames.iter().filter(|frame| frame.track == tracks[0].id).collect();
    let mut count = 0;
    let mut first = Vec::new();
    while first.is_empty() {
        let mut frame = pictures[count % pictures.len()].clone();
        frame.dts = i64::try_from(count).unwrap() * 512;
        frame.pts = frame.dts;
        muxer.push(&frame, &mut out).unwrap();
        demuxer.push(&out.split());
        first = drain(&mut demuxer);
        count += 1;
    }
    assert!((50..60).contains(&count), "{count}");
    let Step::Tracks(told) = &first[0] else { panic!() };
    assert_eq!(told.len(), 1);
    let heard = Frame {
        track: silent.id,
        dts: 48_000 * 3,
        pts: 48_000 * 3,
        payload: vec![7; 20].into(),
        ..frames[0].clone()
    };
    muxer.push(&heard, &mut out).unwrap();
    demuxer.push(&out.split());
    demuxer.finish();
    let later = drain(&mut demuxer);
    check(&[first, later.clone()].concat());
    assert!(
        later
            .iter()
            .any(|step| matches!(step, Step::Tracks(told) if told.len() == 2)),
        "{later:?}"
    );
}

#[test]
fn streams_that_are_nothing_to_us_are_named_and_do_not_keep_the_others_waiting() {
    let mut stream = stream();
    let entry = |stream_type, pid| section::Entry {
        stream_type,
        pid,
        descriptors: Vec::new(),
    };
    let entries = [
        entry(0x1b, 0x100),
        entry(0x02, 0x200),
        entry(0x0f, 0x101),
        entry(0x87, 0x201),
    ];
    let mut map = BytesMut::new();
    put_pmt(&mut map, &mut 0, 0x1000, 0x100, &entries);
    for at in places(&stream, 0x1000) {
        stream[at + 4..at + PACKET].copy_from_slice(&map[4..]);
    }
    let steps = steps(&stream);
    let skipped = |pid, stream_type| Step::Skipped { pid, stream_type };
    assert_eq!(steps[..2], [skipped(0x200, 0x02), skipped(0x201, 0x87)]);
    assert_eq!(frames(&steps).len(), frames(&self::steps(&self::stream())).len());
}

#[test]
fn other_parameters_in_mid_stream_are_told_before_their_frame() {
    let (tracks, frames) = movie();
    let mut muxer = Muxer::new(&tracks).unwrap();
    let mut out = BytesMut::new();
    frames.iter().for_each(|frame| muxer.push(frame, &mut out).unwrap());
    let mut changed = tracks.to_vec();
    let Codec::H264(parameters) = &mut changed[0].codec else {
        panic!()
    };
    parameters.pps = [&parameters.pps[..], &[0x80]].concat().into();
    muxer.set_tracks(&changed);
    for frame in &frames {
        let again = Frame {
            dts: frame.dts + 16_000,
            pts: frame.pts + 16_000,
            ..frame.clone()
        };
        muxer.push(&again, &mut out).unwrap();
    }
    let steps = steps(&out);
    check(&steps);
    let told = steps.iter().filter_map(|step| match step {
        Step::Tracks(told) => Some(told[0].codec.clone()),
        _ => None,
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [tracks[0].codec.clone(), changed[0].codec.clone()]
    );
    let at = steps.iter().rposition(|step| matches!(step, Step::Tracks(_))).unwrap();
    assert!(matches!(&steps[at + 1], Step::Frame(frame) if frame.is_key()));
}

#[test]
fn packets_that_never_end_take_no_more_memory_than_they_may() {
    let stream = stream();
    let start = places(&stream, 0x100)[0];
    let mut demuxer = Demuxer::new();
    demuxer.push(&stream[..start + PACKET]);
    let mut endless = stream[start..start + PACKET].to_vec();
    // No start, no adaptation field.
    endless[1] &= 0x1f;
    for n in 1..200_000u32 {
        endless[3] = 0x10 | (n & 15) as u8;
        demuxer.push(&endless);
        let held = demuxer.lanes.iter().map(|lane| lane.packets.held()).sum::<usize>();
        assert!(held <= pes::MAX_PES + PACKET && demuxer.buffer.len() < 4 * PACKET);
    }
    assert!(demuxer.next().is_none());
}

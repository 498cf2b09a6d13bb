use std::convert::Infallible;

use bytes::BytesMut;

use super::super::{Demuxer, Muxer, START, Step};
use super::*;
use crate::{Frame, Tracks, container::mp4};

const H264_AAC: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac.mp4");

fn movie() -> (Tracks, Vec<Frame>) {
    let movie = mp4::read(&Bytes::from_static(H264_AAC)).unwrap();
    let frames = movie.steps.into_iter().filter_map(|step| match step {
        mp4::Step::Frame(frame) => Some(frame),
        mp4::Step::Tracks(_) => None,
    });
    (movie.tracks, frames.collect())
}

/// A file, and its lengths behind each frame.
fn file() -> (Vec<u8>, Vec<usize>) {
    let (tracks, frames) = movie();
    let mut muxer = Muxer::new(&tracks).unwrap();
    let (mut out, mut ends) = (BytesMut::new(), vec![0]);
    for frame in &frames {
        muxer.push(frame, &mut out).unwrap();
        ends.push(out.len());
    }
    (out.to_vec(), ends)
}

fn reader(file: &[u8]) -> impl FnMut(u64, usize) -> Result<Bytes, Infallible> {
    move |offset, length| {
        let from = usize::try_from(offset).unwrap().min(file.len());
        Ok(Bytes::copy_from_slice(&file[from..file.len().min(from + length)]))
    }
}

fn length(file: &[u8]) -> usize {
    let Ok(length) = whole(file.len() as u64, reader(file));
    usize::try_from(length).unwrap()
}

fn frames(file: &[u8]) -> usize {
    let mut demuxer = Demuxer::recorded();
    demuxer.push(file);
    demuxer.finish();
    std::iter::from_fn(|| demuxer.next())
        .filter(|step| matches!(step, Step::Frame(_)))
        .count()
}

#[test]
fn a_file_that_is_cut_anywhere_keeps_every_whole_frame_and_no_torn_one() {
    let (file, ends) = file();
    assert_eq!(length(&file), file.len());
    for cut in 0..file.len() {
        let kept = length(&file[..cut]);
        let frames_there = ends.iter().rposition(|end| *end <= cut).unwrap();
        let end = ends[frames_there];
        assert!(
            kept >= end && kept <= cut && kept.is_multiple_of(PACKET),
            "cut at {cut}: {kept}"
        );
        assert_eq!(frames(&file[..kept]), frames_there, "cut at {cut}");
        assert_eq!(length(&file[..kept]), kept, "once is enough");
    }
}

#[test]
fn zeros_and_garbage_at_the_end_go_with_the_frame_that_they_are_in() {
    let (file, ends) = file();
    for cut in (2 * PACKET..file.len()).step_by(97) {
        let frames_there = ends.iter().rposition(|end| *end <= cut).unwrap();
        for filler in [0, 0x46, 0xff] {
            let mut torn = file[..cut].to_vec();
            torn.resize(cut + 5_000, filler);
            let kept = length(&torn);
            // What ends a packet as garbage cannot be told from what was to be there.
            let most = if filler == 0 { cut } else { cut.next_multiple_of(PACKET) };
            assert!(
                (ends[frames_there]..=most).contains(&kept),
                "cut at {cut}, {filler}: {kept}"
            );
            assert!(frames(&torn[..kept]) <= frames_there + usize::from(filler != 0));
        }
    }
}

#[test]
fn a_long_frame_without_a_length_is_kept_when_it_is_whole() {
    let (tracks, frames) = movie();
    let picture = |size: usize, dts| Frame {
        dts,
        pts: dts,
        payload: [&u32::try_from(size).unwrap().to_be_bytes()[..], &vec![0x41; size]]
            .concat()
            .into(),
        ..frames[0].clone()
    };
    // Those around the size at which a packet is filled to its last byte.
    for size in 66_000..66_000 + 190 {
        let mut muxer = Muxer::new(&tracks).unwrap();
        let mut out = BytesMut::new();
        muxer.push(&picture(100, 0), &mut out).unwrap();
        let before = out.len();
        muxer.push(&picture(size, 512), &mut out).unwrap();
        assert_eq!(length(&out), out.len(), "{size}");
        assert_eq!(length(&out[..out.len() - 1]), before + 2 * PACKET, "the tables stay");
        assert_eq!(length(&out[..out.len() - PACKET - 1]), before + 2 * PACKET);
    }
}

#[test]
fn frames_of_other_writers_that_are_mixed_packet_by_packet_are_cut_together() {
    let (file, _) = file();
    let packets: Vec<&[u8]> = file.chunks(PACKET).collect();
    let of = |pid: u16| packets.iter().filter(move |packet| parse(packet).unwrap().pid == pid);
    let (pictures, sound) = (of(0x100), of(0x101));
    let mixed: Vec<u8> = pictures
        .zip(sound.cycle())
        .flat_map(|(a, b)| [*a, *b])
        .flatten()
        .copied()
        .collect();
    for cut in (PACKET..mixed.len()).step_by(31) {
        let kept = length(&mixed[..cut]);
        assert!(kept <= cut && kept.is_multiple_of(PACKET));
        assert_eq!(length(&mixed[..kept]), kept);
    }
}

#[test]
fn what_is_no_transport_stream_is_left_alone() {
    assert_eq!(length(&[]), 0);
    assert_eq!(length(&[0x47; 100]), 0);
    assert_eq!(length(&[0; 5_000]), 0);
    assert_eq!(length(H264_AAC), H264_AAC.len());
}

#[test]
fn a_file_lasts_from_its_first_frame_to_the_end_of_its_last() {
    let (file, _) = file();
    let Ok(span) = span(file.len() as u64, reader(&file));
    // Twelve pictures at 25 per second; sound begins a frame of 64 ms earlier and ends later.
    let span = span.unwrap();
    assert_eq!(span.start, START - 5_760);
    assert!(
        (START + 12 * 3_600..START + 12 * 3_600 + 5_760).contains(&span.end),
        "{span:?}"
    );
    let Ok(none) = self::span(0, reader(&[]));
    assert_eq!(none, None);
}

#[test]
fn an_error_of_the_reader_is_the_answer() {
    assert_eq!(whole(1_000, |_, _| Err("gone")), Err("gone"));
    assert_eq!(span(1_000, |_, _| Err("gone")), Err("gone"));
}

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    boxes::{put_box, put_full},
    *,
};
use crate::{Codec, Error, Frame, Kind, Payload, Tracks, codec::av1, nal};

pub(super) const H264_AAC: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac.mp4");
const H264_AAC_FRAGMENTS: &[u8] = include_bytes!("../../../testdata/mp4/h264-aac-fragments.mp4");
const H264_OFFSETS: &[u8] = include_bytes!("../../../testdata/mp4/h264-offsets.mp4");
const H265_HEV1: &[u8] = include_bytes!("../../../testdata/mp4/h265-hev1.mp4");
const AV1_OPUS: &[u8] = include_bytes!("../../../testdata/mp4/av1-opus.mp4");
const VP9_OPUS_FRAGMENTS: &[u8] = include_bytes!("../../../testdata/mp4/vp9-opus-fragments.mp4");

const ALL: [&[u8]; 6] = [
    H264_AAC,
    H264_AAC_FRAGMENTS,
    H264_OFFSETS,
    H265_HEV1,
    AV1_OPUS,
    VP9_OPUS_FRAGMENTS,
];

pub(super) fn movie(file: &[u8]) -> Movie {
    read(&Bytes::copy_from_slice(file)).unwrap()
}

pub(super) fn frames(movie: &Movie) -> Vec<&Frame> {
    let frame = |step: &'_ Step| matches!(step, Step::Frame(_));
    assert!(movie.steps.iter().all(frame), "no parameters change in these files");
    let steps = movie.steps.iter();
    steps
        .filter_map(|step| match step {
            Step::Frame(frame) => Some(frame),
            Step::Tracks(_) => None,
        })
        .collect()
}

pub(super) fn of(movie: &Movie, kind: Kind) -> Vec<&Frame> {
    let track = movie.tracks.iter().find(|track| track.kind == kind).unwrap();
    frames(movie)
        .into_iter()
        .filter(|frame| frame.track == track.id)
        .collect()
}

/// All frames in two parts.
fn written(movie: &Movie) -> Bytes {
    let mut writer = Writer::new(&movie.tracks).unwrap();
    for track in movie.tracks.iter() {
        let first = frames(movie)
            .into_iter()
            .find(|frame| frame.track == track.id)
            .unwrap()
            .dts;
        writer.begin(track.id, 0, first);
    }
    let frames = frames(movie);
    let (early, late) = frames.split_at(frames.len() / 2);
    early.iter().for_each(|frame| writer.push(frame).unwrap());
    let mut file = BytesMut::from(&*writer.header().unwrap());
    let first = writer.part().unwrap();
    late.iter().for_each(|frame| writer.push(frame).unwrap());
    let last = writer.finish().unwrap();
    first
        .chunks()
        .chain(last.chunks())
        .for_each(|chunk| file.put_slice(chunk));
    file.freeze()
}

fn check_canonical(tracks: &Tracks, frame: &Frame) {
    let track = tracks.iter().find(|track| track.id == frame.track).unwrap();
    match &track.codec {
        Codec::H264(_) | Codec::H265(_) => nal::check(&frame.payload).unwrap(),
        Codec::Av1(_) => av1::check(&frame.payload).unwrap(),
        _ => {}
    }
}

#[test]
fn times_keys_and_tracks_are_those_that_ffprobe_tells() {
    let movie = movie(H264_AAC);
    let [video, audio] = &*movie.tracks else {
        panic!("{:?}", movie.tracks)
    };
    assert_eq!((video.clock_rate, audio.clock_rate), (12_800, 16_000));
    assert_eq!(video.codec.dimensions(), Some((64, 48)));
    assert_eq!(audio.codec.audio(), Some((16_000, 1)));
    let pictures: Vec<_> = of(&movie, Kind::Video)
        .iter()
        .map(|frame| (frame.pts, frame.dts, frame.duration, frame.is_key()))
        .collect();
    assert_eq!(pictures.len(), 12);
    assert_eq!(
        pictures[..3],
        [(0, -1_024, 512, true), (1_536, -512, 512, false), (512, 0, 512, false)]
    );
    assert_eq!(pictures.iter().filter(|(.., key)| *key).count(), 2);
    let sound = of(&movie, Kind::Audio);
    assert_eq!(
        (sound[0].pts, sound[0].duration),
        (-1_024, 1_024),
        "the encoder's run-in"
    );
    assert!(sound.iter().all(|frame| frame.is_key()));
}

#[test]
fn every_kind_of_file_gives_canonical_frames_in_order_of_decoding() {
    for (file, video) in ALL.iter().zip(["H264", "H264", "H264", "H265", "AV1", "VP9"]) {
        let movie = movie(file);
        assert_eq!(movie.tracks[0].codec.name(), video);
        assert_eq!((movie.missing, &movie.skipped[..]), (0, &[][..]));
        assert_eq!(of(&movie, Kind::Video).len(), 12, "{video}");
        let second = if video == "H265" { 4 } else { 6 };
        let pictures = of(&movie, Kind::Video);
        let keys: Vec<_> = (0..12).filter(|n| pictures[*n].is_key()).collect();
        assert_eq!(keys, [0, second], "{video}");
        let rate = |frame: &Frame| {
            let track = movie.tracks.iter().find(|track| track.id == frame.track).unwrap();
            i128::from(track.clock_rate)
        };
        for pair in frames(&movie).windows(2) {
            let [a, b] = [pair[0], pair[1]].map(|frame| i128::from(frame.dts) * 1_000_000 / rate(frame));
            assert!(a <= b, "{video}: {pair:?}");
        }
        frames(&movie)
            .iter()
            .for_each(|frame| check_canonical(&movie.tracks, frame));
    }
}

#[test]
fn fragments_hold_what_the_plain_file_holds() {
    let (plain, fragments) = (movie(H264_AAC), movie(H264_AAC_FRAGMENTS));
    assert_eq!(plain.tracks, fragments.tracks);
    assert_eq!(frames(&plain), frames(&fragments));
}

#[test]
fn what_is_written_reads_as_it_was() {
    for file in ALL {
        let before = movie(file);
        let after = movie(&written(&before));
        let numbered = (1u32..).zip(before.tracks.iter());
        for ((id, track), again) in numbered.zip(after.tracks.iter()) {
            assert_eq!(id, again.id.0);
            assert_eq!(
                (track.kind, track.clock_rate, &track.codec),
                (again.kind, again.clock_rate, &again.codec)
            );
        }
        for kind in [Kind::Video, Kind::Audio] {
            if !before.tracks.iter().any(|track| track.kind == kind) {
                continue;
            }
            let essence = |frame: &&Frame| (frame.pts, frame.dts, frame.flags, frame.payload.clone());
            let (old, new) = (of(&before, kind), of(&after, kind));
            assert_eq!(
                old.iter().map(essence).collect::<Vec<_>>(),
                new.iter().map(essence).collect::<Vec<_>>()
            );
            let durations = |frames: &[&Frame]| frames.iter().map(|frame| frame.duration).collect::<Vec<_>>();
            let all_but_last = old.len() - 1;
            assert_eq!(durations(&old)[..all_but_last], durations(&new)[..all_but_last]);
        }
    }
}

#[test]
fn every_truncation_gives_an_error_or_the_first_frames() {
    for file in ALL {
        let whole = movie(file);
        let file = Bytes::from_static(file);
        for end in 0..file.len() {
            let Ok(part) = read(&file.slice(..end)) else { continue };
            for track in part.tracks.iter() {
                let of = |movie: &Movie| -> Vec<Frame> {
                    frames(movie)
                        .into_iter()
                        .filter(|frame| frame.track == track.id)
                        .cloned()
                        .collect()
                };
                let (there, all) = (of(&part), of(&whole));
                assert!(
                    there.len() <= all.len() && there.iter().all(|frame| all.contains(frame)),
                    "cut at {end}"
                );
            }
        }
    }
}

#[test]
fn a_file_that_was_cut_says_how_much_is_missing() {
    // The tables come first in this one.
    let cut = movie(&AV1_OPUS[..AV1_OPUS.len() - 300]);
    assert!(cut.missing > 0);
    assert_eq!(frames(&cut).len() + cut.missing, frames(&movie(AV1_OPUS)).len());
}

#[test]
fn parameter_sets_that_come_in_band_go_into_the_track() {
    let mut movie = movie(H265_HEV1);
    let Codec::H265(parameters) = movie.tracks[0].codec.clone() else {
        panic!()
    };
    // The file keeps them in its header, too; another one that has them only with its first frame:
    let sets = nal::from_nals([&*parameters.vps, &*parameters.sps, &*parameters.pps]).unwrap();
    let Some(Step::Frame(first)) = movie.steps.first_mut() else {
        panic!()
    };
    first.payload = Payload::of_pieces(vec![sets, first.payload.clone().into()]);
    let again = read(&written(&movie)).unwrap();
    let Some(Step::Frame(frame)) = again.steps.first() else {
        panic!()
    };
    assert_eq!(again.tracks[0].codec, Codec::H265(parameters));
    assert!(frame.payload.len() < movie_first_len(&movie));
}

fn movie_first_len(movie: &Movie) -> usize {
    match movie.steps.first() {
        Some(Step::Frame(frame)) => frame.payload.len(),
        _ => 0,
    }
}

/// A file with one Opus track and the tables that `fill` makes.
fn tables(fill: impl FnOnce(&mut BytesMut)) -> Bytes {
    let mut file = BytesMut::new();
    put_box(&mut file, *b"moov", |moov| {
        put_box(moov, *b"trak", |trak| {
            put_full(trak, *b"tkhd", 0, 3, |tkhd| {
                tkhd.put_bytes(0, 8);
                tkhd.put_u32(1);
                tkhd.put_bytes(0, 68);
            });
            put_box(trak, *b"mdia", |mdia| {
                put_full(mdia, *b"mdhd", 0, 0, |mdhd| {
                    mdhd.put_bytes(0, 8);
                    mdhd.put_u32(48_000);
                    mdhd.put_u64(0);
                });
                put_full(mdia, *b"hdlr", 0, 0, |hdlr| hdlr.put_slice(b"\0\0\0\0soun"));
                put_box(mdia, *b"minf", |minf| {
                    put_box(minf, *b"stbl", |stbl| {
                        put_full(stbl, *b"stsd", 0, 0, |stsd| {
                            stsd.put_u32(1);
                            describe::write(stsd, &Codec::Opus { channels: 2 }, None).unwrap();
                        });
                        fill(stbl);
                    });
                });
            });
        });
    });
    file.put_slice(b"\0\0\0\0mdat0123456789");
    file.freeze()
}

fn table(stbl: &mut BytesMut, kind: &[u8; 4], values: &[u32]) {
    put_full(stbl, *kind, 0, 0, |body| {
        values.iter().for_each(|value| body.put_u32(*value))
    });
}

#[test]
fn tables_cannot_ask_for_more_than_the_file_has() {
    let file = |sizes: &[u32], per_chunk: u32, chunks: &[u32]| {
        tables(|stbl| {
            table(stbl, b"stsz", sizes);
            table(stbl, b"stts", &[1, u32::MAX, 960]);
            table(stbl, b"stsc", &[1, 1, per_chunk, 1]);
            table(stbl, b"stco", chunks);
        })
    };
    assert_eq!(frames(&read(&file(&[2, 3], 3, &[1, 8])).unwrap()).len(), 3);
    let mut same = vec![1_000];
    same.extend([0; 1_000]);
    assert_eq!(
        read(&file(&[400, 1_000], 1, &same)).unwrap_err(),
        Error::Invalid("samples that overlap")
    );
    assert_eq!(
        read(&file(&[1, u32::MAX], u32::MAX, &[1, 8])).unwrap_err(),
        Error::TooLarge("samples outside of the file")
    );
    assert_eq!(
        read(&file(&[0, u32::MAX], 1, &[1, 8])).unwrap_err(),
        Error::Truncated,
        "a size for each, and none is there"
    );
    let mut none = vec![0, 5_000];
    none.extend([0; 5_000]);
    assert_eq!(
        read(&file(&none, u32::MAX, &[1, 8])).unwrap_err(),
        Error::TooLarge("samples without bytes")
    );
}

#[test]
fn what_is_no_mp4_is_an_error() {
    for (bytes, error) in [
        (&b""[..], Error::Invalid("file without moov")),
        (b"RIFF\x10\0\0\0WAVEfmt ", Error::Invalid("file without moov")),
        (b"\0\0\0\x08moov", Error::Unsupported("tracks")),
        (b"\0\0\0\x09moov", Error::Truncated),
        (b"\0\0\0\x08moof", Error::Invalid("fragment before the header")),
        (b"\0\0\0\x02moov1234", Error::Invalid("box size")),
    ] {
        assert_eq!(read(&Bytes::from_static(bytes)).unwrap_err(), error, "{bytes:?}");
    }
}

#[test]
fn a_track_of_a_strange_format_is_skipped_and_named() {
    let mut file = H264_AAC.to_vec();
    let at = file.windows(4).position(|word| word == b"mp4a").unwrap();
    file[at..at + 4].copy_from_slice(b"ac-4");
    let movie = movie(&file);
    assert_eq!((movie.tracks.len(), &movie.skipped[..]), (1, &["ac-4".to_owned()][..]));
}

#[test]
fn a_header_of_a_million_boxes_is_refused_or_read_at_once() {
    let trak = {
        let at = H264_AAC_FRAGMENTS.windows(4).position(|word| word == b"trak").unwrap() - 4;
        let size = u32::from_be_bytes(H264_AAC_FRAGMENTS[at..at + 4].try_into().unwrap());
        &H264_AAC_FRAGMENTS[at..at + size as usize]
    };
    let moov = |inside: &[u8]| {
        let mut file = BytesMut::new();
        put_box(&mut file, *b"moov", |moov| {
            put_full(moov, *b"mvhd", 0, 0, |mvhd| mvhd.put_bytes(1, 96));
            moov.put_slice(inside);
        });
        file.freeze()
    };
    let check = |inside: &[u8], error: Error| {
        let file = moov(inside);
        assert_eq!(read(&file).unwrap_err(), error);
        assert!(recorded::Header::read(&file).is_err());
    };
    check(&trak.repeat(100_000), Error::Invalid("two tracks with one id"));
    let mut many = Vec::new();
    let id = trak.windows(4).position(|word| word == b"tkhd").unwrap() + 16;
    for number in 0..1_000_000u32 {
        if number < 100 {
            many.extend_from_slice(trak);
            let at = many.len() - trak.len() + id;
            many[at..at + 4].copy_from_slice(&number.to_be_bytes());
        } else {
            many.extend_from_slice(b"\0\0\0\x08trak");
        }
    }
    check(&many, Error::TooLarge("tracks"));
    check(&b"\0\0\0\x08free".repeat(1_000_000), Error::Unsupported("tracks"));
    let mut nested = Vec::new();
    for depth in (1..200_000u32).rev() {
        nested.extend_from_slice(&(depth * 8).to_be_bytes());
        nested.extend_from_slice(b"trak");
    }
    check(&nested, Error::Invalid("track without its boxes"));
}

use bytes::{Bytes, BytesMut};

use super::{
    super::{Step, boxes::Boxes, read},
    *,
};
use crate::{Error, Frame};

const H264_AAC: &[u8] = include_bytes!("../../../../testdata/mp4/h264-aac-fragments.mp4");
const VP9_OPUS: &[u8] = include_bytes!("../../../../testdata/mp4/vp9-opus-fragments.mp4");

/// Where each `moof` of a file begins and ends.
fn parts(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut boxes = Boxes::new(file);
    let mut parts = Vec::new();
    loop {
        let start = boxes.position();
        let Some(found) = boxes.next() else { break };
        if found.unwrap().kind == *b"moof" {
            parts.push(start..boxes.position());
        }
    }
    parts
}

fn all(file: &[u8]) -> (Header, Vec<Sample>) {
    let header = Header::read(file).unwrap();
    let mut found = Vec::new();
    for part in parts(file) {
        samples(&file[part.clone()], part.start as u64, &header.tracks, |sample| {
            found.push(*sample)
        })
        .unwrap();
    }
    (header, found)
}

fn frames(file: &[u8]) -> Vec<Frame> {
    let movie = read(&Bytes::copy_from_slice(file)).unwrap();
    let steps = movie.steps.into_iter();
    steps
        .filter_map(|step| match step {
            Step::Frame(frame) => Some(frame),
            Step::Tracks(_) => None,
        })
        .collect()
}

#[test]
fn the_samples_of_parts_are_the_frames_of_the_file() {
    for file in [H264_AAC, VP9_OPUS] {
        let (header, samples) = all(file);
        let frames = frames(file);
        assert_eq!(samples.len(), frames.len());
        for (place, track) in header.tracks.iter().enumerate() {
            let of_track = samples.iter().filter(|sample| sample.track == place);
            let expected = frames.iter().filter(|frame| frame.track.0 == track.id);
            for (sample, frame) in of_track.zip(expected) {
                let times = (frame.dts, frame.pts - frame.dts, frame.duration);
                assert_eq!((sample.dts, i64::from(sample.later), sample.duration), times);
                assert_eq!(sample.is_sync(), frame.is_key());
                let from = sample.offset as usize;
                assert_eq!(sample.size as usize, frame.payload.len());
                assert!(
                    file[from..from + sample.size as usize]
                        .starts_with(&frame.payload.pieces()[0][..16.min(frame.payload.len())])
                );
            }
        }
    }
}

#[test]
fn a_header_says_what_it_needs_and_the_same_tracks_have_the_same_number() {
    let header = Header::read(H264_AAC).unwrap();
    assert_eq!(
        header.tracks.iter().map(Track::format).collect::<Vec<_>>(),
        [*b"avc1", *b"mp4a"]
    );
    assert!(header.tracks[0].is_video() && !header.tracks[1].is_video());
    assert_eq!(header.tracks[0].size, [64 << 16, 48 << 16]);
    assert_eq!(
        (header.segment, header.track(2), header.track(3)),
        (None, Some(1), None)
    );
    let length = header.len as usize;
    for end in 0..length {
        assert_eq!(
            Header::read(&H264_AAC[..end]).unwrap_err(),
            Error::Truncated,
            "cut at {end}"
        );
    }
    let again = Header::read(&H264_AAC[..length]).unwrap();
    assert_eq!(again.fingerprint(), header.fingerprint());
    assert_ne!(Header::read(VP9_OPUS).unwrap().fingerprint(), header.fingerprint());
}

#[test]
fn a_new_header_reads_as_the_old_one() {
    for file in [H264_AAC, VP9_OPUS] {
        let header = Header::read(file).unwrap();
        let written = fragmented(&header.tracks).unwrap();
        let again = Header::read(&written).unwrap();
        assert_eq!(again.len as usize, written.len());
        assert_eq!(again.fingerprint(), header.fingerprint());
        assert!(
            again
                .tracks
                .iter()
                .zip(&header.tracks)
                .all(|(new, old)| new.size == old.size && new.handler == old.handler)
        );
    }
}

#[test]
fn a_part_that_is_cut_whole_holds_what_it_held() {
    for file in [H264_AAC, VP9_OPUS] {
        let header = Header::read(file).unwrap();
        let mut made = BytesMut::from(&fragmented(&header.tracks).unwrap()[..]);
        for part in parts(file) {
            let place = |sample: &Sample| {
                Some(Placed {
                    dts: (sample.dts + 5_000) as u64,
                    duration: sample.duration,
                    later: sample.later,
                })
            };
            let mut cutting = Cutting::default();
            cutting
                .add(&file[part.clone()], part.start as u64, &header.tracks, place)
                .unwrap();
            let cut = cutting.finish(7);
            let before = made.len();
            made.extend_from_slice(&cut.head);
            for range in &cut.payload {
                made.extend_from_slice(&file[range.start as usize..range.end as usize]);
            }
            assert_eq!((made.len() - before) as u64, cut.len());
        }
        let by_track = |mut frames: Vec<Frame>| {
            frames.sort_by_key(|frame| frame.track.0);
            frames
        };
        let (old, new) = (by_track(frames(file)), by_track(frames(&made)));
        assert_eq!(old.len(), new.len());
        for (old, new) in old.iter().zip(&new) {
            assert_eq!(
                (old.dts + 5_000, old.pts + 5_000, old.flags, &old.payload),
                (new.dts, new.pts, new.flags, &new.payload)
            );
        }
    }
}

#[test]
fn a_shifted_part_tells_other_times_and_nothing_else() {
    let (header, before) = all(H264_AAC);
    let mut file = H264_AAC.to_vec();
    for part in parts(H264_AAC) {
        shift(&mut file[part], 9, |id| Some(i64::from(id) * 100_000)).unwrap();
    }
    let (_, after) = all(&file);
    for (before, after) in before.iter().zip(&after) {
        let by = i64::from(header.tracks[before.track].id) * 100_000;
        assert_eq!(
            Sample {
                dts: before.dts + by,
                ..*before
            },
            *after
        );
    }
    let part = parts(H264_AAC)[0].clone();
    assert!(shift(&mut H264_AAC[part.clone()].to_vec(), 9, |_| Some(-1_000_000)).is_err());
    assert!(shift(&mut H264_AAC[part].to_vec(), 9, |_| None).is_err());
}

#[test]
fn a_plain_file_made_of_tables_holds_every_frame_and_begins_where_it_is_told() {
    for (file, zero) in [(H264_AAC, 0), (H264_AAC, 2_000), (VP9_OPUS, 0), (VP9_OPUS, -700)] {
        let (header, found) = all(file);
        let mut tallies = vec![Tally::default(); header.tracks.len()];
        let entry = |sample: &Sample| Entry {
            dts: sample.dts - zero,
            later: sample.later,
            duration: sample.duration,
            size: sample.size,
            sync: sample.is_sync(),
            offset: sample.offset,
        };
        found
            .iter()
            .for_each(|sample| tallies[sample.track].push(&entry(sample)));
        tallies.iter_mut().for_each(Tally::finish);
        // The samples of the file, as they are, behind the tables.
        let data = &file[header.len as usize..];
        let (pieces, begins) = progressive(&header.tracks, &tallies, data.len() as u64).unwrap();
        let mut made = Vec::new();
        for piece in pieces {
            match piece {
                Presentation::Bytes(bytes) => made.extend_from_slice(&bytes),
                Presentation::Table(place, kind) => {
                    let mut table = Table::new(kind);
                    let before = made.len();
                    for sample in found.iter().filter(|sample| sample.track == place) {
                        let offset = sample.offset - header.len + begins;
                        table.push(
                            &Entry {
                                offset,
                                ..entry(sample)
                            },
                            &mut made,
                        );
                    }
                    table.finish(&mut made);
                    assert_eq!((made.len() - before) as u64, tallies[place].bytes(kind));
                }
                Presentation::Data => {
                    assert_eq!(made.len() as u64, begins);
                    made.extend_from_slice(data);
                }
            }
        }
        let essence = |frames: Vec<Frame>| {
            let mut frames: Vec<_> = frames
                .into_iter()
                .map(|frame| (frame.track, frame.dts, frame.pts, frame.payload))
                .collect();
            frames.sort_by_key(|(track, dts, ..)| (track.0, *dts));
            frames
        };
        let rate = |track: crate::TrackId| i64::from(header.tracks[track.0 as usize - 1].clock_rate);
        let (old, new) = (essence(frames(file)), essence(frames(&made)));
        assert_eq!(old.len(), new.len());
        for (old, new) in old.iter().zip(&new) {
            assert_eq!((old.0, &old.3), (new.0, &new.3));
            // A pause in front of a track is measured in microseconds.
            assert!(
                (old.2 - zero - new.2).abs() <= rate(old.0) / 1_000_000 + 1,
                "{old:?} {new:?}"
            );
        }
    }
}

#[test]
fn parts_that_lie_are_refused_and_none_of_their_truncations_panics() {
    let header = Header::read(H264_AAC).unwrap();
    for part in parts(H264_AAC) {
        let moof = &H264_AAC[part];
        for end in 0..moof.len() {
            assert!(samples(&moof[..end], 0, &header.tracks, |_| {}).is_err());
            assert!(shift(&mut moof[..end].to_vec(), 0, |_| Some(0)).is_err());
        }
        for at in 0..moof.len() {
            for value in [0, 0x7f, 0xff] {
                let mut moof = moof.to_vec();
                moof[at] = value;
                let mut count = 0;
                let _ = samples(&moof, 0, &header.tracks, |_| count += 1);
                assert!(count <= MAX_SAMPLES);
                let _ = shift(&mut moof, 0, |_| Some(i64::MAX));
            }
        }
    }
}

#[test]
fn a_run_that_claims_samples_without_bytes_is_refused() {
    let header = Header::read(H264_AAC).unwrap();
    let mut moof = Vec::new();
    let mut put = |fields: &[u32]| {
        fields
            .iter()
            .for_each(|field| moof.extend_from_slice(&field.to_be_bytes()))
    };
    let letters = |kind: &[u8; 4]| u32::from_be_bytes(*kind);
    put(&[
        8 + 8 + 16 + 16 + 16,
        letters(b"moof"),
        8 + 16 + 16 + 16,
        letters(b"traf"),
    ]);
    put(&[16, letters(b"tfhd"), 0x02_0000, 1]);
    put(&[16, letters(b"tfdt"), 0, 0]);
    put(&[16, letters(b"trun"), 0, u32::MAX]);
    let refused = samples(&moof, 0, &header.tracks, |_| {});
    assert_eq!(refused, Err(Error::TooLarge("samples of a part")));
}

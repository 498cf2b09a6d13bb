use bytes::{BufMut, Bytes, BytesMut};

use super::{
    tests::{H264_AAC, frames, movie, of},
    *,
};
use crate::{Codec, Error, Kind, codec::flac};

#[test]
fn a_segment_of_a_recording_says_which_one_it_is() {
    let segment = Segment {
        stream: *b"0123456789abcdef",
        number: 7,
        dts: -1,
        wall: 1_795_392_000_000_000_000,
    };
    let before = movie(H264_AAC);
    assert_eq!(before.segment, None);
    let mut writer = Writer::segment(&before.tracks, segment).unwrap();
    frames(&before)
        .into_iter()
        .for_each(|frame| writer.push(frame).unwrap());
    let mut file = BytesMut::from(&*writer.header().unwrap());
    let moov = boxes::find(&file, *b"moov").unwrap();
    let last = boxes::Boxes::new(moov).map_while(Result::ok).last().unwrap();
    assert_eq!(
        (&last.kind, last.body.len()),
        (b"udta", 52),
        "where MediaMTX looks for it"
    );
    for chunk in writer.finish().unwrap().chunks() {
        file.put_slice(chunk);
    }
    assert_eq!(read(&file.clone().freeze()).unwrap().segment, Some(segment));
    assert!(!segment.is_before(&segment));
    assert!(segment.is_before(&Segment { number: 8, ..segment }));
    let at = file.windows(4).position(|word| word == b"mtxi").unwrap();
    file[at - 1] -= 1;
    assert_eq!(read(&file.freeze()).unwrap_err(), Error::Truncated);
}

/// Stands for bytes that are elsewhere.
#[derive(Debug, PartialEq)]
struct Handle {
    number: usize,
    size: usize,
}

impl Body for Handle {
    fn size(&self) -> usize {
        self.size
    }

    fn lead(&self, _: &mut [u8]) {
        panic!("nothing in this header depends on a frame");
    }
}

#[test]
fn a_part_names_what_was_pushed_in_the_order_of_the_file() {
    let movie = movie(H264_AAC);
    let mut writer = Writer::new(&movie.tracks).unwrap();
    for track in movie.tracks.iter() {
        writer.begin(track.id, 0, -1_024);
    }
    let frames = frames(&movie);
    for (number, frame) in frames.iter().enumerate() {
        let payload = Handle {
            number,
            size: frame.payload.len(),
        };
        let (track, pts, dts) = (frame.track, frame.pts, frame.dts);
        let (duration, flags) = (frame.duration, frame.flags);
        let sample = Sample {
            track,
            pts,
            dts,
            duration,
            flags,
            payload,
        };
        writer.push_sample(sample).unwrap();
    }
    let mut file = BytesMut::from(&*writer.header().unwrap());
    let part = writer.finish().unwrap();
    file.put_slice(&part.head);
    for piece in &part.body {
        match piece {
            Piece::Payload(handle) => file.put_slice(&frames[handle.number].payload),
            Piece::Inline(bytes) => panic!("{bytes:?}"),
        }
    }
    let again = read(&file.freeze()).unwrap();
    assert_eq!((again.missing, &again.steps), (0, &movie.steps));
}

#[test]
fn the_last_frame_lasts_until_the_first_of_the_next_file() {
    let movie = movie(H264_AAC);
    let video = &movie.tracks[0];
    let mut writer = Writer::new(std::slice::from_ref(video)).unwrap();
    let pictures = of(&movie, Kind::Video);
    writer.begin(video.id, 0, pictures[0].dts);
    pictures.iter().for_each(|frame| writer.push(frame).unwrap());
    let last = pictures.last().unwrap();
    writer.until(video.id, last.dts + 7_777);
    let mut file = BytesMut::from(&*writer.header().unwrap());
    for chunk in writer.finish().unwrap().chunks() {
        file.put_slice(chunk);
    }
    let again = read(&file.freeze()).unwrap();
    let Some(Step::Frame(frame)) = again.steps.last() else {
        panic!()
    };
    assert_eq!((frame.dts, frame.duration), (last.dts, 7_777));
}

#[test]
fn parameters_that_change_stand_in_front_of_the_next_keyframe_and_are_told_by_the_reader() {
    let movie = movie(H264_AAC);
    let video = movie.tracks[0].clone();
    let Codec::H264(mut parameters) = video.codec.clone() else {
        panic!()
    };
    let mut pps = parameters.pps.to_vec();
    pps.extend([1, 2, 3]);
    parameters.pps = pps.into();
    let changed = crate::Track {
        codec: Codec::H264(parameters),
        ..video.clone()
    };
    let mut writer = Writer::new(std::slice::from_ref(&video)).unwrap();
    writer.begin(video.id, 0, -1_024);
    let header = writer.header().unwrap();
    let pictures = of(&movie, Kind::Video);
    for (n, frame) in pictures.iter().enumerate() {
        if n == 3 {
            writer.set_tracks(std::slice::from_ref(&changed));
        }
        writer.push(frame).unwrap();
    }
    let mut file = BytesMut::from(&*header);
    writer
        .finish()
        .unwrap()
        .chunks()
        .for_each(|chunk| file.put_slice(chunk));
    let again = read(&file.freeze()).unwrap();
    assert_eq!(again.tracks[0].codec, video.codec);
    let place = again
        .steps
        .iter()
        .position(|step| matches!(step, Step::Tracks(_)))
        .unwrap();
    let (Step::Tracks(tracks), Step::Frame(key)) = (&again.steps[place], &again.steps[place + 1]) else {
        panic!("the parameters are told before their keyframe");
    };
    assert_eq!(tracks[0].codec, changed.codec);
    assert!(key.is_key() && place > 3);
    assert_eq!(key.payload, pictures[place].payload, "and stand in no payload");
}

#[test]
fn a_sample_entry_says_what_it_was_written_from() {
    let mut block = [0; flac::STREAM_INFO];
    block[10..14].copy_from_slice(&[0x0b, 0xb8, 0x02, 0xf0]);
    let mp3 = Codec::Mp3 {
        sample_rate: 44_100,
        channels: 2,
    };
    let (sample_rate, channels) = (48_000, 2);
    let ac3 = Codec::Ac3 { sample_rate, channels };
    let lpcm = Codec::Lpcm {
        bit_depth: 24,
        sample_rate,
        channels,
    };
    let many = Codec::Opus { channels: 6 };
    let flac = Codec::Flac(flac::Config::parse(&block).unwrap());
    let frame = Bytes::from_static(&[0x0b, 0x77, 0, 0, 0x14, 0x40, 0x43, 0xe1]);
    let of_ac3 = first::First::of(&ac3, &frame);
    let picture = Some(first::First::Mjpeg(640, 480));
    for (codec, first) in [
        (flac, None),
        (mp3, None),
        (ac3, of_ac3),
        (Codec::Mjpeg, picture),
        (lpcm, None),
        (many, None),
    ] {
        let mut stsd = BytesMut::new();
        describe::write(&mut stsd, &codec, first).unwrap();
        assert_eq!(
            describe::write(&mut BytesMut::new(), &codec, None).is_err(),
            first.is_some()
        );
        for length in 0..stsd.len() {
            let cut = boxes::Boxes::new(&stsd[..length]).next();
            assert!(
                !matches!(cut, Some(Ok(found)) if entry::read(&found).is_ok()),
                "{length}"
            );
        }
        let found = boxes::Boxes::new(&stsd).next().unwrap().unwrap();
        assert_eq!(entry::read(&found).unwrap().codec, codec);
    }
}

#[test]
fn a_writer_says_what_it_cannot_hold() {
    let movie = movie(H264_AAC);
    let mut track = movie.tracks[0].clone();
    track.codec = Codec::Vp8;
    assert_eq!(
        <Writer>::new(&[track.clone()]).unwrap_err(),
        Error::Unsupported("codec in MP4")
    );
    assert!(<Writer>::new(&[]).is_err());
    track.codec = Codec::Vp9;
    assert!(
        <Writer>::new(&[track.clone()]).unwrap().header().is_err(),
        "its size is not known yet"
    );
    track.codec = Codec::H264(Default::default());
    assert!(<Writer>::new(&[track]).unwrap().header().is_err(), "no parameter sets");
}

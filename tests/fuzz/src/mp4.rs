//! Files: what is read from one is canonical, and reads the same once it was written.

use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::{
    Codec, Frame, Payload, TrackId,
    codec::av1,
    container::mp4::{self, Movie, Step, Writer},
    nal,
};

pub(crate) fn file(data: &[u8]) {
    let Ok(movie) = mp4::read(&Bytes::copy_from_slice(data)) else {
        return;
    };
    assert!(!movie.tracks.is_empty() && movie.tracks.len() <= mp4::MAX_TRACKS);
    for track in movie.tracks.iter() {
        assert!(track.clock_rate > 0);
        let mut last = i64::MIN;
        for frame in frames(&movie).filter(|frame| frame.track == track.id) {
            assert!(frame.dts >= last && !frame.payload.is_empty());
            last = frame.dts;
            match track.codec {
                Codec::H264(_) | Codec::H265(_) => nal::check(&frame.payload).unwrap(),
                Codec::Av1(_) => av1::check(&frame.payload).unwrap(),
                _ => {}
            }
        }
    }
    if frames(&movie).count() == movie.steps.len() {
        again(&movie);
    }
}

fn frames(movie: &Movie) -> impl Iterator<Item = &Frame> {
    movie.steps.iter().filter_map(|step| match step {
        Step::Frame(frame) => Some(frame),
        Step::Tracks(_) => None,
    })
}

/// Written and read again, each track has the frames that it had.
fn again(movie: &Movie) {
    let mut writer = Writer::new(&movie.tracks).unwrap();
    for track in movie.tracks.iter() {
        if let Some(first) = frames(movie).find(|frame| frame.track == track.id) {
            writer.begin(track.id, 0, first.dts);
        }
    }
    frames(movie).for_each(|frame| writer.push(frame).unwrap());
    let Ok(header) = writer.header() else { return };
    let mut file = BytesMut::from(&*header);
    if let Some(part) = writer.finish() {
        part.chunks().for_each(|chunk| file.put_slice(chunk));
    }
    let again = mp4::read(&file.freeze()).unwrap();
    assert_eq!(again.missing, 0);
    for (id, track) in (1u32..).zip(movie.tracks.iter()) {
        let payloads = |movie: &Movie, id: TrackId| -> Vec<Payload> {
            let frames = frames(movie).filter(|frame| frame.track == id);
            frames.map(|frame| frame.payload.clone()).collect()
        };
        assert_eq!(payloads(movie, track.id), payloads(&again, TrackId(id)));
    }
}

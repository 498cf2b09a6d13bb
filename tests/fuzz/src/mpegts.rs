//! Transport streams: what is read from one is canonical, however it is cut, and reads the same once it was written.

use std::convert::Infallible;

use bytes::{Bytes, BytesMut};
use wasmtx_media::{
    Codec, Error, Frame, Track, Tracks,
    container::mpegts::{self, Demuxer, MAX_TRACKS, Muxer, PACKET, Step, View},
    nal,
};

pub(crate) fn stream(data: &[u8]) {
    let steps = steps(data, data.len().max(1));
    assert_eq!(steps, self::steps(data, 100));
    let mut tracks: Option<&Tracks> = None;
    for step in &steps {
        match step {
            Step::Tracks(told) => {
                assert!(told.len() <= MAX_TRACKS && told.iter().all(|track| track.clock_rate > 0));
                tracks = Some(told);
            }
            Step::Frame(frame) => {
                let of = |track: &&Track| track.id == frame.track;
                let track = tracks
                    .expect("tracks come first")
                    .iter()
                    .find(of)
                    .expect("a frame of a track");
                assert!(!frame.payload.is_empty());
                if let Codec::H264(_) | Codec::H265(_) = track.codec {
                    nal::check(&frame.payload).unwrap();
                }
            }
            _ => {}
        }
    }
    let mut told = steps.iter().filter_map(|step| match step {
        Step::Tracks(tracks) => Some(tracks),
        _ => None,
    });
    // What changes on the way is another stream.
    if let (Some(tracks), None) = (told.next(), told.next()) {
        again(tracks, &steps);
    }
}

/// What is kept of a file that was cut off is kept whole the next time, and holds no frame that the file does not.
pub(crate) fn recovery(data: &[u8]) {
    let whole = |data: &[u8]| {
        let Ok(length) = mpegts::whole(data.len() as u64, |offset, length| read(data, offset, length));
        usize::try_from(length).unwrap()
    };
    let kept = whole(data);
    assert!(kept <= data.len());
    if kept < data.len() {
        assert_eq!((kept % PACKET, whole(&data[..kept])), (0, kept));
    }
    let Ok(span) = mpegts::span(data.len() as u64, |offset, length| read(data, offset, length));
    assert!(span.is_none_or(|span| span.start <= span.end));
}

/// Parts follow each other without a gap up to the length that was told, and are the same wherever reading begins.
pub(crate) fn view(data: &[u8]) {
    let reader = |offset, length| read(data, offset, length).map_err(|never: Infallible| -> Error { match never {} });
    let Ok(view) = View::open(data.len() as u64, reader) else {
        return;
    };
    let mut at = view.header().len() as u64;
    while let Ok(Some((start, part))) = view.part(at, reader) {
        assert!(start == at && !part.is_empty());
        let last = start + part.len() as u64 - 1;
        assert_eq!(view.part(last, reader), Ok(Some((start, part))));
        assert!(view.near(1_000_000_000, reader).is_ok_and(|near| near < view.len()));
        at = last + 1;
    }
    assert!(at <= view.len());
}

fn read(data: &[u8], offset: u64, length: usize) -> Result<Bytes, Infallible> {
    let from = usize::try_from(offset).unwrap().min(data.len());
    let to = from.saturating_add(length).min(data.len());
    Ok(Bytes::copy_from_slice(&data[from..to]))
}

/// Written and read again, each track has the frames that it had.
fn again(tracks: &Tracks, before: &[Step]) {
    let mut muxer = Muxer::new(tracks).unwrap();
    let mut out = BytesMut::new();
    for track in tracks.iter() {
        let frames = frames(before, track);
        assert!(frames.is_sorted_by_key(|frame| frame.dts));
        frames.iter().for_each(|frame| muxer.push(frame, &mut out).unwrap());
        assert_eq!(out.len() % PACKET, 0);
    }
    // A stream of pictures without a keyframe never shows its parameters.
    let after = steps(&out, out.len().max(1));
    for (pid, track) in (0x100..).zip(tracks.iter()) {
        let before = frames(before, track);
        let first = match track.codec {
            Codec::H264(_) | Codec::H265(_) => before.iter().position(|frame| frame.is_key()).unwrap_or(before.len()),
            _ => 0,
        };
        let track = Track {
            id: wasmtx_media::TrackId(pid),
            ..track.clone()
        };
        let payloads =
            |frames: &[&Frame]| -> Vec<Bytes> { frames.iter().map(|frame| (*frame.payload).clone()).collect() };
        assert_eq!(payloads(&frames(&after, &track)), payloads(&before[first..]));
    }
}

fn frames<'a>(steps: &'a [Step], track: &Track) -> Vec<&'a Frame> {
    let frames = steps.iter().filter_map(|step| match step {
        Step::Frame(frame) if frame.track == track.id => Some(frame),
        _ => None,
    });
    frames.collect()
}

fn steps(data: &[u8], piece: usize) -> Vec<Step> {
    let (mut demuxer, mut steps) = (Demuxer::recorded(), Vec::new());
    for piece in data.chunks(piece) {
        demuxer.push(piece);
        steps.extend(std::iter::from_fn(|| demuxer.next()));
    }
    demuxer.finish();
    steps.extend(std::iter::from_fn(|| demuxer.next()));
    steps
}

//! FLV: bytes to tags, tags to tracks and frames, and back.

use std::time::Instant;

use bytes::BytesMut;
use wasmtx_media::{Codec, Frame, Track, TrackId, codec::av1, nal};
use wasmtx_protocol::flv::{Capabilities, Choice, Demuxer, Muxer, Output, Tag, file};

/// Anything behind the header of a file: however it is cut the tags are the same, frames are canonical and in order, and
/// what is written of them reads to the same.
pub(crate) fn stream(data: &[u8]) {
    let tags = tags(data, data.len().max(1));
    assert_eq!(tags, self::tags(data, 7));
    let came = demux(&tags);
    for (track, frame) in &came {
        match &track.codec {
            Codec::H264(_) | Codec::H265(_) => nal::check(&frame.payload).unwrap(),
            Codec::Av1(_) => av1::check(&frame.payload).unwrap(),
            _ => assert!(!frame.payload.is_empty()),
        }
    }
    let ids: Vec<TrackId> = came.iter().map(|(track, _)| track.id).collect();
    for id in ids.iter().take(4) {
        let of_track = came.iter().filter(|(track, _)| track.id == *id);
        assert!(of_track.clone().is_sorted_by_key(|(_, frame)| frame.dts));
        let first = &of_track.clone().next().unwrap().0;
        // What changes on the way is another stream.
        if of_track.clone().all(|(track, _)| track == first) {
            round_trip(first, of_track.map(|(_, frame)| frame));
        }
    }
}

fn round_trip<'a>(track: &Track, frames: impl Iterator<Item = &'a Frame> + Clone) {
    let tracks = Choice::of(std::slice::from_ref(track), &Capabilities::enhanced(|_| true, false)).tracks;
    let mut muxer = Muxer::new(&tracks);
    let mut tags = muxer.opening(&tracks, 0);
    frames.clone().for_each(|frame| muxer.tags(frame, track, &mut tags));
    let mut bytes = BytesMut::new();
    tags.iter().for_each(|tag| file::put(tag, &mut bytes));
    let read = self::tags(&bytes, bytes.len().max(1));
    assert_eq!(read, tags);
    let came = demux(&read);
    let payloads: Vec<_> = came.iter().map(|(_, frame)| &frame.payload[..]).collect();
    assert_eq!(payloads, frames.map(|frame| &frame.payload[..]).collect::<Vec<_>>());
}

fn tags(data: &[u8], piece: usize) -> Vec<Tag> {
    let (mut reader, mut buffer) = (file::Reader::default(), BytesMut::from(&*file::header(true, true)));
    let mut tags = Vec::new();
    for piece in data.chunks(piece) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(tag)) = reader.next(&mut buffer) {
            tags.push(tag);
        }
    }
    tags
}

/// Each frame with its track as it stood there.
fn demux(tags: &[Tag]) -> Vec<(Track, Frame)> {
    let now = Instant::now();
    let (mut demuxer, mut tracks, mut frames) = (Demuxer::new(), None, Vec::new());
    let mut drain = |demuxer: &mut Demuxer| {
        loop {
            match demuxer.poll() {
                Output::Tracks(known) => tracks = Some(known),
                Output::Frame(frame) => {
                    let known = tracks.iter().flat_map(|tracks| tracks.iter());
                    let track = known.rev().find(|track| track.id == frame.track);
                    frames.push((track.expect("tracks come first").clone(), frame));
                }
                Output::Refused(line) => assert!(line.len() < 200),
                Output::WaitUntil(deadline) => return deadline,
            }
        }
    };
    let mut deadline = None;
    for tag in tags {
        if demuxer.handle_tag(now, tag).is_err() {
            break;
        }
        deadline = drain(&mut demuxer);
    }
    if let Some(deadline) = deadline {
        demuxer.handle_timeout(deadline);
        assert_eq!(drain(&mut demuxer), None);
    }
    frames
}

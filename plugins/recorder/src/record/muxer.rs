//! The forms of files behind one face.

use bytes::{Bytes, BytesMut};
use wasmtx_media::{
    Codec, Error, Frame, Track, TrackId,
    codec::pcm,
    container::{
        mp4::{self, Body, Piece, Sample},
        mpegts,
    },
    recording::Format,
};

/// A part, ready to be written.
pub(super) struct Part<P> {
    pub(super) pieces: Vec<Piece<P>>,
}

/// Makes one file.
pub(super) enum Muxer<P> {
    Fmp4(mp4::Writer<P>),
    /// With the packets that wait for a part.
    MpegTs(mpegts::Muxer, BytesMut),
}

impl<P: Body> Muxer<P> {
    pub(super) fn new(format: Format, tracks: &[Track], segment: mp4::Segment) -> Result<Muxer<P>, Error> {
        match format {
            Format::Fmp4 => mp4::Writer::segment(tracks, segment).map(Muxer::Fmp4),
            Format::MpegTs => Ok(Muxer::MpegTs(mpegts::Muxer::new(tracks)?, BytesMut::new())),
        }
    }

    /// The track's time at which the file begins.
    pub(super) fn begin(&mut self, track: TrackId, zero: i64) {
        match self {
            Muxer::Fmp4(writer) => writer.begin(track, zero, zero),
            Muxer::MpegTs(muxer, _) => muxer.begin(track, zero),
        }
    }

    /// Takes a frame; `bytes` are asked for where it is copied.
    pub(super) fn push(&mut self, sample: Sample<P>, bytes: impl FnOnce(&P) -> Bytes) -> Result<(), Error> {
        match self {
            Muxer::Fmp4(writer) => writer.push_sample(sample),
            Muxer::MpegTs(muxer, packets) => {
                let frame = Frame {
                    track: sample.track,
                    number: 0,
                    pts: sample.pts,
                    dts: sample.dts,
                    duration: sample.duration,
                    wall: None,
                    flags: sample.flags,
                    payload: bytes(&sample.payload).into(),
                };
                muxer.push(&frame, packets)
            }
        }
    }

    /// What the file begins with.
    pub(super) fn header(&self) -> Result<Bytes, Error> {
        match self {
            Muxer::Fmp4(writer) => writer.header(),
            // The tables come with the first packets.
            Muxer::MpegTs(..) => Ok(Bytes::new()),
        }
    }

    /// The next frame of the track is in the next file, and decoded then.
    pub(super) fn until(&mut self, track: TrackId, dts: i64) {
        match self {
            Muxer::Fmp4(writer) => writer.until(track, dts),
            Muxer::MpegTs(..) => {}
        }
    }

    pub(super) fn part(&mut self) -> Option<Part<P>> {
        match self {
            Muxer::Fmp4(writer) => writer.part().map(Part::of),
            Muxer::MpegTs(_, packets) => Part::of_packets(packets),
        }
    }

    pub(super) fn finish(self) -> Option<Part<P>> {
        match self {
            Muxer::Fmp4(writer) => writer.finish().map(Part::of),
            Muxer::MpegTs(_, mut packets) => Part::of_packets(&mut packets),
        }
    }
}

impl<P> Part<P> {
    fn of(part: mp4::Part<P>) -> Part<P> {
        let mut pieces = Vec::with_capacity(part.body.len().saturating_add(1));
        pieces.push(Piece::Inline(part.head));
        pieces.extend(part.body);
        Part { pieces }
    }

    fn of_packets(packets: &mut BytesMut) -> Option<Part<P>> {
        if packets.is_empty() {
            return None;
        }
        let pieces = vec![Piece::Inline(std::mem::take(packets).freeze())];
        Some(Part { pieces })
    }
}

/// Tracks of a file.
pub(super) const MAX_TRACKS: usize = if mp4::MAX_TRACKS < mpegts::MAX_TRACKS {
    mp4::MAX_TRACKS
} else {
    mpegts::MAX_TRACKS
};

/// The codec in which files of the format hold one: itself, or what it is converted to. None: they cannot.
pub(super) fn form(format: Format, codec: &Codec) -> Option<Codec> {
    match format {
        Format::Fmp4 => {
            let carried = |codec: &Codec| mp4::Writer::<wasmtx_media::Payload>::carries(codec);
            if carried(codec) {
                return Some(codec.clone());
            }
            pcm::linear(codec).filter(carried)
        }
        Format::MpegTs => mpegts::Muxer::carries(codec).then(|| codec.clone()),
    }
}

/// A payload of a codec of the stream as one of its [`form`] in files.
pub(super) fn converted(codec: &Codec, payload: &[u8]) -> Bytes {
    pcm::to_linear(codec, payload)
}

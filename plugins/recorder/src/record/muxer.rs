//! The forms of files behind one face.

use bytes::Bytes;
use wasmtx_media::{
    Codec, Error, Track, TrackId,
    codec::pcm,
    container::mp4::{self, Body, Piece, Sample},
    recording::Format,
};

/// A part, ready to be written.
pub(super) struct Part<P> {
    pub(super) pieces: Vec<Piece<P>>,
}

/// Makes one file.
pub(super) enum Muxer<P> {
    Fmp4(mp4::Writer<P>),
}

impl<P: Body> Muxer<P> {
    pub(super) fn new(tracks: &[Track], segment: mp4::Segment) -> Result<Muxer<P>, Error> {
        mp4::Writer::segment(tracks, segment).map(Muxer::Fmp4)
    }

    /// The track's time at which the file begins.
    pub(super) fn begin(&mut self, track: TrackId, zero: i64) {
        match self {
            Muxer::Fmp4(writer) => writer.begin(track, zero, zero),
        }
    }

    pub(super) fn push(&mut self, sample: Sample<P>) -> Result<(), Error> {
        match self {
            Muxer::Fmp4(writer) => writer.push_sample(sample),
        }
    }

    /// What the file begins with.
    pub(super) fn header(&self) -> Result<Bytes, Error> {
        match self {
            Muxer::Fmp4(writer) => writer.header(),
        }
    }

    /// The next frame of the track is in the next file, and decoded then.
    pub(super) fn until(&mut self, track: TrackId, dts: i64) {
        match self {
            Muxer::Fmp4(writer) => writer.until(track, dts),
        }
    }

    pub(super) fn part(&mut self) -> Option<Part<P>> {
        match self {
            Muxer::Fmp4(writer) => writer.part().map(Part::of),
        }
    }

    pub(super) fn finish(self) -> Option<Part<P>> {
        match self {
            Muxer::Fmp4(writer) => writer.finish().map(Part::of),
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
}

/// Tracks of a file.
pub(super) const MAX_TRACKS: usize = mp4::MAX_TRACKS;

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
        Format::MpegTs => None,
    }
}

/// A payload of a codec of the stream as one of its [`form`] in files.
pub(super) fn converted(codec: &Codec, payload: &[u8]) -> Bytes {
    pcm::to_linear(codec, payload)
}

//! A fragmented file, made part by part: frames go in, a header and parts come out, and whoever asked puts them into a
//! file or a playlist. Payloads are shared, never copied, and need not be bytes: whatever has a [`Body`] will do.
//!
//! How long a frame lasts is known when the next one of its track comes, so the last one of each track waits.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

use bytes::{BufMut, Bytes, BytesMut};

use super::{
    Body, MAX_PART_BYTES, MAX_PART_SAMPLES, MAX_TRACKS, Part, Piece, Sample, Segment,
    boxes::{patch, put_box, put_full},
    describe,
    first::First,
    header, track,
};
use crate::{Codec, Error, Flags, Frame, Kind, Payload, Track, TrackId, nal};

/// Decoding may start here, and it depends on nothing else.
const SYNC: u32 = 0x0200_0000;
/// Depends on other samples.
const NOT_SYNC: u32 = 0x0101_0000;
/// No other sample depends on it.
const DISPOSABLE: u32 = 0x0080_0000;

/// Makes a fragmented file out of frames.
#[derive(Debug)]
pub struct Writer<P = Payload> {
    lanes: Vec<Lane<P>>,
    segment: Option<Segment>,
    sequence: u32,
    /// Payload bytes and samples that wait for a part.
    bytes: usize,
    samples: usize,
}

#[derive(Debug)]
struct Lane<P> {
    track: Track,
    /// The time of the track that is shown at the beginning of the file.
    zero: i64,
    /// How far before it decoding begins.
    lead: i64,
    first: Option<First>,
    /// Parameter sets that changed: they go in front of the next keyframe.
    sets: Option<Bytes>,
    held: Option<Waiting<P>>,
    samples: Vec<Waiting<P>>,
    /// Of the last sample whose duration is known.
    duration: u32,
}

#[derive(Debug)]
struct Waiting<P> {
    dts: i64,
    later: i64,
    duration: u32,
    flags: u32,
    sets: Option<Bytes>,
    payload: P,
}

impl<P: Body> Waiting<P> {
    fn size(&self) -> usize {
        self.sets
            .as_ref()
            .map_or(0, Bytes::len)
            .saturating_add(self.payload.size())
    }
}

impl<P: Body> Writer<P> {
    /// A file of these tracks, which keep their clocks. The file begins at the tracks' time 0, see
    /// [`begin`](Self::begin).
    ///
    /// # Errors
    /// There is none, or too many, or one that an MP4 cannot hold.
    pub fn new(tracks: &[Track]) -> Result<Writer<P>, Error> {
        if tracks.is_empty() || tracks.len() > MAX_TRACKS {
            return Err(Error::Invalid("number of tracks"));
        }
        if !tracks.iter().all(|track| describe::is_written(&track.codec)) {
            return Err(Error::Unsupported("codec in MP4"));
        }
        let lane = |track: &Track| Lane {
            track: track.clone(),
            zero: 0,
            lead: 0,
            first: None,
            sets: None,
            held: None,
            samples: Vec::new(),
            duration: 0,
        };
        Ok(Writer {
            lanes: tracks.iter().map(lane).collect(),
            segment: None,
            sequence: 0,
            bytes: 0,
            samples: 0,
        })
    }

    /// The same, of a file that is a segment of a recording.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn segment(tracks: &[Track], segment: Segment) -> Result<Writer<P>, Error> {
        let writer = Writer::new(tracks)?;
        Ok(Writer {
            segment: Some(segment),
            ..writer
        })
    }

    /// Says what is shown at the beginning of the file: the track's time `zero`, the same moment in all tracks. When
    /// decoding begins before it, with `first_dts`, an edit list says so. Comes before the first frame and the header.
    pub fn begin(&mut self, track: TrackId, zero: i64, first_dts: i64) {
        if let Some(lane) = self.lane(track) {
            lane.zero = zero;
            lane.lead = zero.saturating_sub(first_dts).max(0);
        }
    }

    /// The first bytes of the file. Parameter sets must be known, and tracks of VP9, M-JPEG and AC-3 must have had their
    /// first frame.
    ///
    /// # Errors
    /// Something is missing that the header tells.
    pub fn header(&self) -> Result<Bytes, Error> {
        let numbered = (1u32..).zip(&self.lanes);
        let tracks = numbered.map(|(id, lane)| lane.described(id));
        let tracks = tracks.collect::<Result<Vec<_>, Error>>()?;
        let leads = self.lanes.iter().map(|lane| lane.lead);
        header::fragmented(tracks.iter().zip(leads), self.segment.as_ref())
    }

    /// The tracks have other parameters from here on. What the header says stays: H.264 and H.265 get the new parameter
    /// sets in band, in front of the next keyframe; the others bring them along anyway.
    pub fn set_tracks(&mut self, tracks: &[Track]) {
        for track in tracks {
            let Some(lane) = self.lane(track.id) else { continue };
            let sets = match &track.codec {
                Codec::H264(parameters) => nal::from_nals([&*parameters.sps, &*parameters.pps]),
                Codec::H265(parameters) => nal::from_nals([&*parameters.vps, &*parameters.sps, &*parameters.pps]),
                _ => continue,
            };
            if lane.track.codec != track.codec {
                lane.track.codec = track.codec.clone();
                lane.sets = sets.ok();
            }
        }
    }

    /// Takes a frame. Frames of other tracks are left out.
    ///
    /// # Errors
    /// The part becomes too large: take it first.
    pub fn push_sample(&mut self, sample: Sample<P>) -> Result<(), Error> {
        let size = self.bytes.saturating_add(sample.payload.size());
        if size > MAX_PART_BYTES || self.samples >= MAX_PART_SAMPLES {
            return Err(Error::TooLarge("part"));
        }
        let Some(lane) = self.lane(sample.track) else {
            return Ok(());
        };
        let more = lane.push(sample);
        self.bytes = self.bytes.saturating_add(more);
        self.samples = self.samples.saturating_add(1);
        Ok(())
    }

    /// The next frame of a track is in another file and is decoded at `dts`: the last one here lasts until then.
    pub fn until(&mut self, track: TrackId, dts: i64) {
        if let Some(lane) = self.lane(track) {
            let dts = dts.saturating_sub(lane.before_zero());
            if let Some(held) = &mut lane.held {
                held.duration = u32::try_from(dts.saturating_sub(held.dts)).unwrap_or(held.duration);
            }
        }
    }

    /// Payload bytes that wait for a part.
    pub fn pending(&self) -> usize {
        self.bytes
    }

    /// Everything that waits, but for the last frame of each track. None when that is nothing.
    pub fn part(&mut self) -> Option<Part<P>> {
        if self.lanes.iter().all(|lane| lane.samples.is_empty()) {
            return None;
        }
        self.sequence = self.sequence.saturating_add(1);
        let mut head = BytesMut::new();
        // Where each track's offset stands, and the bytes of the tracks before it.
        let mut places = Vec::new();
        let mut body = 0usize;
        put_box(&mut head, *b"moof", |head| {
            put_full(head, *b"mfhd", 0, 0, |head| head.put_u32(self.sequence));
            for (id, lane) in (1u32..).zip(&self.lanes) {
                if !lane.samples.is_empty() {
                    put_box(head, *b"traf", |head| places.push((lane.put(head, id), body)));
                    body = lane
                        .samples
                        .iter()
                        .fold(body, |sum, sample| sum.saturating_add(sample.size()));
                }
            }
        });
        let data = head.len().saturating_add(8);
        for (place, before) in places {
            let offset = u32::try_from(data.saturating_add(before)).unwrap_or_default();
            patch(&mut head, place, offset);
        }
        head.put_u32(u32::try_from(body.saturating_add(8)).unwrap_or_default());
        head.put_slice(b"mdat");
        let mut pieces = Vec::with_capacity(self.samples);
        for lane in &mut self.lanes {
            for sample in lane.samples.drain(..) {
                pieces.extend(sample.sets.map(Piece::Inline));
                pieces.push(Piece::Payload(sample.payload));
            }
        }
        self.bytes = self.bytes.saturating_sub(body);
        self.samples = self.lanes.iter().filter(|lane| lane.held.is_some()).count();
        Some(Part {
            head: head.freeze(),
            body: pieces,
        })
    }

    /// The last part. The last frame of each track lasts as long as it says, or as the one before.
    pub fn finish(mut self) -> Option<Part<P>> {
        for lane in &mut self.lanes {
            if let Some(mut last) = lane.held.take() {
                if last.duration == 0 {
                    last.duration = lane.duration;
                }
                lane.samples.push(last);
            }
        }
        self.part()
    }

    fn lane(&mut self, track: TrackId) -> Option<&mut Lane<P>> {
        self.lanes.iter_mut().find(|lane| lane.track.id == track)
    }
}

impl Writer {
    /// Whether an MP4 can hold a track of this codec.
    pub fn carries(codec: &Codec) -> bool {
        describe::is_written(codec)
    }

    /// Takes a frame, as [`push_sample`](Self::push_sample) does.
    ///
    /// # Errors
    /// The part becomes too large: take it first.
    pub fn push(&mut self, frame: &Frame) -> Result<(), Error> {
        self.push_sample(Sample {
            track: frame.track,
            pts: frame.pts,
            dts: frame.dts,
            duration: frame.duration,
            flags: frame.flags,
            payload: frame.payload.clone(),
        })
    }
}

impl<P: Body> Lane<P> {
    /// The track as the header of the file says it, under this number.
    fn described(&self, id: u32) -> Result<track::Track, Error> {
        let mut entry = BytesMut::new();
        let codec = &self.track.codec;
        describe::write(&mut entry, codec, self.first)?;
        let of_frame = self.first.as_ref().and_then(First::dimensions);
        let (width, height) = of_frame.or_else(|| codec.dimensions()).unwrap_or_default();
        let handler = match self.track.kind {
            Kind::Audio => *b"soun",
            _ => *b"vide",
        };
        let (clock_rate, entry, size) = (self.track.clock_rate, entry.freeze(), [width << 16, height << 16]);
        Ok(track::Track::new(id, handler, clock_rate, entry, size))
    }

    /// The time of the track at which decoding of the file begins.
    fn before_zero(&self) -> i64 {
        self.zero.saturating_sub(self.lead)
    }

    /// Answers how many bytes more there are to write.
    fn push(&mut self, sample: Sample<P>) -> usize {
        let codec = &self.track.codec;
        if self.first.is_none() && First::is_needed(codec) {
            self.first = First::of(codec, &sample.payload);
        }
        let is_key = sample.flags.contains(Flags::KEY);
        let dts = sample.dts.saturating_sub(self.before_zero());
        let sample = Waiting {
            dts,
            later: sample.pts.saturating_sub(sample.dts),
            duration: sample.duration,
            flags: match (self.track.kind, is_key) {
                (Kind::Video, false) if sample.flags.contains(Flags::DISPOSABLE) => NOT_SYNC | DISPOSABLE,
                (Kind::Video, false) => NOT_SYNC,
                _ => SYNC,
            },
            sets: if is_key { self.sets.take() } else { None },
            payload: sample.payload,
        };
        let more = sample.size();
        if let Some(mut held) = self.held.replace(sample) {
            held.duration = u32::try_from(dts.saturating_sub(held.dts)).unwrap_or_default();
            self.duration = held.duration;
            self.samples.push(held);
        }
        more
    }

    /// Appends what is in a `traf`; answers where the offset of the data stands.
    fn put(&self, head: &mut BytesMut, id: u32) -> usize {
        // Offsets count from the beginning of the part.
        put_full(head, *b"tfhd", 0, 0x02_0000, |head| head.put_u32(id));
        let first = self.samples.first().map_or(0, |sample| sample.dts);
        put_full(head, *b"tfdt", 1, 0, |head| {
            head.put_u64(u64::try_from(first).unwrap_or_default())
        });
        let mut place = 0;
        // Offset of the data; duration, size, flags and delay of each sample.
        put_full(head, *b"trun", 1, 0x0f01, |head| {
            head.put_u32(u32::try_from(self.samples.len()).unwrap_or_default());
            place = head.len();
            head.put_u32(0);
            for sample in &self.samples {
                head.put_u32(sample.duration);
                head.put_u32(u32::try_from(sample.size()).unwrap_or_default());
                head.put_u32(sample.flags);
                head.put_i32(i32::try_from(sample.later).unwrap_or_default());
            }
        });
        place
    }
}

//! Frames in, packets out. Nothing waits inside: what a frame becomes is appended at once, tables and clock included, so
//! that a file may be cut behind any frame.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::cast_possible_truncation
    )
)]

use bytes::BytesMut;

use super::{
    CLOCK_RATE, MAX_TRACKS, START,
    packet::{Opening, Packets, TIME_MASK, put_clock},
    pes::{Times, Written},
    section::{Entry, put_pat, put_pmt},
    stream,
};
use crate::{
    Codec, Error, Frame, Kind, Track, TrackId,
    codec::{adts, h264, h265},
    nal,
};

/// Where the program map is, and the first track: as FFmpeg does it.
const PMT_PID: u16 = 0x1000;
const FIRST_PID: u16 = 0x100;
/// The tables come again at the latest after this time, the clock too: a receiver that joins waits no longer.
const REPEAT: i64 = CLOCK_RATE as i64 / 10;
/// How far the clock is behind the decoding times: what a receiver has for filling its buffers.
const CLOCK_DELAY: i64 = CLOCK_RATE as i64 / 2;
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Delimiters that allow any kind of slice (H.264 section 7.3.2.4, H.265 section 7.3.2.5).
const H264_DELIMITER: [u8; 6] = [0, 0, 0, 1, 0x09, 0xf0];
const H265_DELIMITER: [u8; 7] = [0, 0, 0, 1, 0x46, 0x01, 0x50];

/// Makes a transport stream of one program.
#[derive(Debug)]
pub struct Muxer {
    lanes: Vec<Lane>,
    tables: Tables,
    clock: Clock,
}

#[derive(Debug)]
struct Lane {
    track: Track,
    entry: Entry,
    /// The track's time at the beginning of the stream.
    zero: i64,
    counter: u8,
}

/// PAT and PMT.
#[derive(Debug)]
struct Tables {
    entries: Vec<Entry>,
    clock_pid: u16,
    pat_counter: u8,
    pmt_counter: u8,
    /// The decoding time of the frame in front of which they stood last.
    last: Option<i64>,
}

/// The clock of the program (PCR).
#[derive(Debug)]
struct Clock {
    /// Whose packets tell it: the first video track's.
    lane: usize,
    /// The decoding time by which it was told last; never goes back.
    last: Option<i64>,
}

impl Muxer {
    /// Whether a transport stream can carry a codec in a way that players read.
    pub fn carries(codec: &Codec) -> bool {
        stream::entry(codec, FIRST_PID).is_some()
    }

    /// A stream of these tracks. It begins at the tracks' time 0, see [`begin`](Self::begin).
    ///
    /// # Errors
    /// There is none, or too many, or one that a transport stream cannot carry.
    pub fn new(tracks: &[Track]) -> Result<Muxer, Error> {
        if tracks.is_empty() || tracks.len() > MAX_TRACKS {
            return Err(Error::Invalid("number of tracks"));
        }
        let lane = |(pid, track): (u16, &Track)| {
            Some(Lane {
                track: track.clone(),
                entry: stream::entry(&track.codec, pid)?,
                zero: 0,
                counter: 0,
            })
        };
        let lanes = (FIRST_PID..).zip(tracks).map(lane).collect::<Option<Vec<_>>>();
        let lanes = lanes.ok_or(Error::Unsupported("codec in MPEG-TS"))?;
        let clock = lanes
            .iter()
            .position(|lane| lane.track.kind == Kind::Video)
            .unwrap_or_default();
        Ok(Muxer {
            tables: Tables {
                entries: lanes.iter().map(|lane| lane.entry.clone()).collect(),
                clock_pid: lanes.get(clock).map_or(FIRST_PID, |lane| lane.entry.pid),
                pat_counter: 0,
                pmt_counter: 0,
                last: None,
            },
            lanes,
            clock: Clock {
                lane: clock,
                last: None,
            },
        })
    }

    /// Says which time of a track is the beginning of the stream: the same moment in all tracks. It is stamped
    /// [`START`]. Comes before the first frame.
    pub fn begin(&mut self, track: TrackId, zero: i64) {
        if let Some(lane) = self.lanes.iter_mut().find(|lane| lane.track.id == track) {
            lane.zero = zero;
        }
    }

    /// The tracks have other parameters from here on.
    pub fn set_tracks(&mut self, tracks: &[Track]) {
        for track in tracks {
            let lane = self.lanes.iter_mut().find(|lane| lane.track.id == track.id);
            if let Some(lane) = lane.filter(|lane| lane.track.codec.same_format(&track.codec)) {
                lane.track.codec = track.codec.clone();
            }
        }
    }

    /// The next frame comes behind the tables, so that the stream can be read from there on.
    pub fn restart(&mut self) {
        self.tables.last = None;
    }

    /// Appends what a frame becomes: whole packets. Frames of other tracks are left out.
    ///
    /// # Errors
    /// The frame is too large, or its codec's parameters are such that a transport stream cannot carry them. Nothing is
    /// appended then.
    pub fn push(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Error> {
        let Some(place) = self.lanes.iter().position(|lane| lane.track.id == frame.track) else {
            return Ok(());
        };
        let clock_lane = self
            .lanes
            .get(self.clock.lane)
            .map(|lane| (lane.entry.pid, lane.counter));
        let (Some(lane), Some((clock_pid, clock_counter))) = (self.lanes.get_mut(place), clock_lane) else {
            return Ok(());
        };
        let body = Body::of(&lane.track.codec, frame)?;
        let (dts, pts) = (lane.time(frame.dts), lane.time(frame.pts));
        let key_picture = lane.track.kind == Kind::Video && frame.is_key();
        if key_picture || is_due(self.tables.last, dts) {
            self.tables.put(dts, out);
        }
        let mut opening = Opening {
            random_access: frame.is_key(),
            pcr: None,
        };
        if place == self.clock.lane {
            opening.pcr = self.clock.tell(key_picture, dts);
        } else if let Some(pcr) = self.clock.tell(false, dts) {
            // The track that tells the clock has been silent.
            put_clock(out, clock_pid, clock_counter, pcr);
        }
        let times = Times {
            pts: wrapped(pts),
            dts: wrapped(dts),
        };
        let header = Written::new(stream::stream_id(&lane.track.codec), times, body.size());
        let size = header.bytes().len().saturating_add(body.size());
        let mut packets = Packets::new(out, lane.entry.pid, &mut lane.counter, opening, size);
        packets.put(header.bytes());
        body.put(&mut packets);
        Ok(())
    }
}

impl Tables {
    fn put(&mut self, dts: i64, out: &mut BytesMut) {
        put_pat(out, &mut self.pat_counter, PMT_PID);
        put_pmt(out, &mut self.pmt_counter, PMT_PID, self.clock_pid, &self.entries);
        self.last = Some(self.last.map_or(dts, |last| last.max(dts)));
    }
}

impl Clock {
    /// What the clock shows when it is due, or asked for.
    fn tell(&mut self, asked: bool, dts: i64) -> Option<u64> {
        if !asked && !is_due(self.last, dts) {
            return None;
        }
        let now = self.last.map_or(dts, |last| last.max(dts));
        self.last = Some(now);
        Some(wrapped(now.saturating_sub(CLOCK_DELAY)))
    }
}

/// Whether something that is repeated is due.
fn is_due(last: Option<i64>, dts: i64) -> bool {
    last.is_none_or(|last| dts.saturating_sub(last) >= REPEAT)
}

fn wrapped(time: i64) -> u64 {
    time.cast_unsigned() & TIME_MASK
}

impl Lane {
    /// A time of the track, in the stream.
    fn time(&self, ticks: i64) -> i64 {
        let since = i128::from(ticks.saturating_sub(self.zero)).saturating_mul(CLOCK_RATE.into());
        let rate = i128::from(self.track.clock_rate.max(1));
        // To the nearest: two frames never come closer than they are.
        let rounded = since
            .saturating_mul(2)
            .saturating_add(rate)
            .div_euclid(rate.saturating_mul(2));
        i64::try_from(rounded).unwrap_or(i64::MAX).saturating_add(START)
    }
}

/// What is in a PES packet, in the order in which it is written.
enum Body<'a> {
    /// An access unit of H.264 or H.265: delimiter, parameter sets, NAL units.
    Pictures {
        delimiter: &'static [u8],
        sets: [&'a [u8]; 3],
        payload: &'a [u8],
    },
    /// A header and a payload.
    Plain { header: Vec<u8>, payload: &'a [u8] },
}

impl<'a> Body<'a> {
    fn of(codec: &'a Codec, frame: &'a Frame) -> Result<Body<'a>, Error> {
        let payload: &[u8] = &frame.payload;
        let key = frame.is_key();
        let body = match codec {
            Codec::H264(h264::Parameters { sps, pps }) => Body::Pictures {
                delimiter: &H264_DELIMITER,
                sets: if key { [&[], sps, pps] } else { [&[]; 3] },
                payload,
            },
            Codec::H265(h265::Parameters { vps, sps, pps }) => Body::Pictures {
                delimiter: &H265_DELIMITER,
                sets: if key { [vps, sps, pps] } else { [&[]; 3] },
                payload,
            },
            Codec::Aac(config) => Body::Plain {
                header: adts::header(config, payload.len())?.to_vec(),
                payload,
            },
            Codec::Opus { .. } => Body::Plain {
                header: opus_header(payload.len()),
                payload,
            },
            _ => Body::Plain {
                header: Vec::new(),
                payload,
            },
        };
        match body {
            Body::Pictures { payload, .. } => nal::check(payload)?,
            // Only video may leave its length open.
            Body::Plain { .. } if body.size() > MAX_AUDIO => return Err(Error::TooLarge("audio frame")),
            Body::Plain { .. } => {}
        }
        Ok(body)
    }

    fn size(&self) -> usize {
        match self {
            // A start code is as long as the length in front of a NAL unit.
            Body::Pictures {
                delimiter,
                sets,
                payload,
            } => sets
                .iter()
                .filter(|set| !set.is_empty())
                .fold(delimiter.len().saturating_add(payload.len()), |sum, set| {
                    sum.saturating_add(START_CODE.len()).saturating_add(set.len())
                }),
            Body::Plain { header, payload } => header.len().saturating_add(payload.len()),
        }
    }

    fn put(&self, packets: &mut Packets<'_>) {
        match self {
            Body::Pictures {
                delimiter,
                sets,
                payload,
            } => {
                packets.put(delimiter);
                let sets = sets.iter().copied().filter(|set| !set.is_empty());
                for nal in sets.chain(nal::iter(payload)) {
                    packets.put(&START_CODE);
                    packets.put(nal);
                }
            }
            Body::Plain { header, payload } => {
                packets.put(header);
                packets.put(payload);
            }
        }
    }
}

/// The most that a PES packet of audio may hold: its length has 16 bits, header included.
const MAX_AUDIO: usize = 65_000;

/// The control header of an Opus packet: a mark of eleven bits, no trimming, the length in bytes of 255 and a last one.
fn opus_header(length: usize) -> Vec<u8> {
    let mut header = vec![0x7f, 0xe0];
    header.resize(header.len().saturating_add(length / 255), 0xff);
    header.push(u8::try_from(length % 255).unwrap_or_default());
    header
}

#[cfg(test)]
#[path = "mux_tests.rs"]
mod tests;

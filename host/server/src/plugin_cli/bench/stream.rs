//! A stream without end: the frames of a clip, or made-up ones, again and again with times that go on.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::bail;
use bytes::Bytes;
use wasmtx_media::{Codec, Flags, Frame, Kind, Track, TrackId, Tracks, codec::h264, container::mp4::Step, nal};

use crate::plugin_cli::clip;

/// What is fed over and over.
pub(super) struct Stream {
    pub(super) tracks: Tracks,
    pub(super) frames: Vec<Frame>,
    /// How long one round lasts.
    pub(super) lasts: Duration,
}

/// Made-up pictures per second, all in one group.
const PICTURES: u32 = 30;
/// Made-up audio packets per second.
const PACKETS: u32 = 50;
const KEY: usize = 50_000;
const PICTURE: usize = 1_200;
const PACKET: usize = 120;
/// A camera's parameter sets: 1280x720, High.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xd9, 0x40, 0x50, 0x05, 0xbb, 0x01, 0x10, 0x00, 0x00, 0x03, 0x00, 0x10, 0x00, 0x00,
    0x03, 0x03, 0xc0, 0xf1, 0x83, 0x19, 0x60,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0];

/// A second of H.264 (one keyframe of 50 kB, 29 pictures of 1,200 bytes) and Opus.
pub(super) fn made_up() -> Stream {
    let track = |id, kind, codec, clock_rate| Track {
        id: TrackId(id),
        kind,
        codec,
        clock_rate,
        extra: Vec::new(),
        derived: None,
    };
    let parameters = h264::Parameters {
        sps: Bytes::from_static(SPS),
        pps: Bytes::from_static(PPS),
    };
    let tracks: Tracks = Arc::from([
        track(1, Kind::Video, Codec::H264(parameters), 90_000),
        track(2, Kind::Audio, Codec::Opus { channels: 2 }, 48_000),
    ]);
    let pictures = (0..PICTURES).map(|n| {
        let (header, size) = if n == 0 { (0x65, KEY) } else { (0x41, PICTURE) };
        // The first macroblock, then no byte that would need escaping.
        let mut unit = vec![0x9b; size - nal::LENGTH_SIZE];
        unit[0] = header;
        frame(
            1,
            n,
            90_000 / PICTURES,
            n == 0,
            nal::from_nals([&*unit]).unwrap_or_default(),
        )
    });
    // Two frames of 10 ms, as the first byte says.
    let packets = (0..PACKETS).map(|n| frame(2, n, 48_000 / PACKETS, true, vec![0xf9; PACKET].into()));
    let mut frames: Vec<Frame> = pictures.chain(packets).collect();
    frames.sort_by_key(|frame| frame.dts * if frame.track.0 == 1 { 8 } else { 15 });
    Stream {
        tracks,
        frames,
        lasts: Duration::from_secs(1),
    }
}

fn frame(track: u32, n: u32, ticks: u32, key: bool, payload: Bytes) -> Frame {
    let time = i64::from(n * ticks);
    Frame {
        track: TrackId(track),
        number: n.into(),
        pts: time,
        dts: time,
        duration: ticks,
        wall: None,
        flags: Flags::NONE.set(Flags::KEY, key),
        payload: payload.into(),
    }
}

/// The frames of a clip.
pub(super) fn of_clip(file: &Path) -> anyhow::Result<Stream> {
    let movie = clip::read(file)?;
    let frames: Vec<Frame> = movie
        .steps
        .into_iter()
        .filter_map(|step| match step {
            Step::Frame(frame) => Some(frame),
            Step::Tracks(_) => None,
        })
        .collect();
    let ends = frames.iter().filter_map(|frame| {
        let track = clip::track(&movie.tracks, frame.track)?;
        Some(clip::seconds(frame.dts.saturating_add(frame.duration.into()), track))
    });
    let begins = frames.iter().filter_map(|frame| {
        let track = clip::track(&movie.tracks, frame.track)?;
        Some(clip::seconds(frame.dts, track))
    });
    let seconds = ends.fold(0.0, f64::max) - begins.fold(f64::INFINITY, f64::min);
    match Duration::try_from_secs_f64(seconds) {
        Ok(lasts) if !frames.is_empty() && !lasts.is_zero() => Ok(Stream {
            tracks: movie.tracks,
            frames,
            lasts,
        }),
        _ => bail!("{} has no frames", file.display()),
    }
}

impl Stream {
    /// A frame of the `round`-th time that the stream is fed, counted from 0.
    pub(super) fn frame(&self, index: usize, round: u32) -> Option<Frame> {
        let frame = self.frames.get(index)?;
        let track = clip::track(&self.tracks, frame.track)?;
        let later = self.lasts.as_micros().saturating_mul(round.into());
        // A tick more each round, so that rounding never lets the time stand still.
        let ticks = later.saturating_mul(track.clock_rate.into()) / 1_000_000 + u128::from(round);
        let ticks = i64::try_from(ticks).unwrap_or(i64::MAX);
        Some(Frame {
            pts: frame.pts.saturating_add(ticks),
            dts: frame.dts.saturating_add(ticks),
            ..frame.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_frames_are_canonical_and_in_order() {
        let stream = made_up();
        assert_eq!(stream.frames.len(), 80);
        assert_eq!(stream.tracks[0].codec.dimensions(), Some((1_280, 720)));
        for frame in &stream.frames {
            if frame.track == TrackId(1) {
                nal::check(&frame.payload).unwrap();
                assert_eq!(h264::is_key(&frame.payload), frame.is_key());
            }
        }
        let times = |round| (0..80).map(move |index| (index, round));
        let mut last = [i64::MIN; 3];
        for (index, round) in times(0).chain(times(1)).chain(times(2)) {
            let frame = stream.frame(index, round).unwrap();
            let last = &mut last[frame.track.0 as usize];
            assert!(frame.dts > *last, "time goes on over the rounds");
            *last = frame.dts;
        }
    }
}

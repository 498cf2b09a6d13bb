//! What publishers send: a made-up H264 stream of a given bit rate, or a clip file, over and over.
//!
//! The made-up one has true parameter sets and slices of noise: no server decodes, and its frames all have the size that
//! the bit rate asks for. A file goes through FFmpeg, which cuts it into access units. Either way each frame is stamped
//! when it is sent.

use std::{path::Path, process::Command, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::{
    Codec, Flags, Frame, Kind, Track, TrackId,
    codec::h264::{self, NalType, Parameters},
    nal,
};

use crate::{
    pace::{Item, Pace, Schedule},
    sound::Sound,
    stamp::{self, Stamp},
    verify,
};

/// Ticks per second of H264 in RTP (RFC 6184 section 8.2.1).
const CLOCK_RATE: u32 = 90_000;
/// A clip is held in memory; larger ones are not for this tool.
const MAX_CLIP: usize = 512 << 20;
/// 1280×720, High profile, from libx264.
const SPS: &[u8] = &[
    0x67, 0x64, 0x00, 0x1f, 0xac, 0xb2, 0x00, 0xa0, 0x0b, 0x76, 0x02, 0x20, 0x00, 0x00, 0x03, 0x00, 0x20, 0x00, 0x00,
    0x06, 0x41, 0xe3, 0x06, 0x49,
];
const PPS: &[u8] = &[0x68, 0xeb, 0xc3, 0xcb, 0x22, 0xc0];

/// A stream that can be sent any number of times.
#[derive(Debug)]
pub(crate) struct Clip {
    /// The pictures.
    pub(crate) track: Track,
    /// What is heard beside them.
    pub(crate) sound: Option<Sound>,
    /// Time between two frames.
    pub(crate) interval: Duration,
    pictures: Vec<Picture>,
}

#[derive(Debug)]
struct Picture {
    /// Canonical, without parameter sets and stamp.
    payload: Bytes,
    key: bool,
    digest: u64,
}

impl Picture {
    fn new(payload: Bytes) -> Picture {
        Picture {
            key: h264::is_key(&payload),
            digest: verify::digest(&payload),
            payload,
        }
    }
}

/// What a made-up stream looks like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Shape {
    /// Bits per second.
    pub(crate) bitrate: u64,
    /// Frames per second.
    pub(crate) fps: f64,
    /// Frames from one keyframe to the next.
    pub(crate) gop: u32,
}

impl Clip {
    /// A made-up stream.
    pub(crate) fn synthetic(shape: Shape) -> Result<Clip> {
        let Shape { bitrate, fps, gop } = shape;
        ensure!(
            fps > 0.0 && fps <= 1_000.0,
            "frames per second must be above 0 and at most 1000"
        );
        ensure!((1..=10_000).contains(&gop), "a GOP has 1 to 10000 frames");
        let size = (bitrate as f64 / 8.0 / fps) as usize;
        ensure!(size <= nal::MAX_NAL, "a frame of {size} bytes is too large");
        // The slice makes up what the stamp, the NAL unit lengths and the slice's own head leave.
        let slice = size.saturating_sub(stamp::SIZE + 2 * nal::LENGTH_SIZE).max(16);
        ensure!(
            gop as usize * slice <= MAX_CLIP,
            "a GOP of {gop} frames of {slice} bytes is too large"
        );
        let mut noise = 0x2545_f491_4f6c_dd1d_u64;
        let pictures = (0..gop).map(|number| {
            let mut nal = Vec::with_capacity(slice);
            // first_mb_in_slice = 0 and slice_type = 7 (I) or 5 (P), ITU-T H.264 section 7.3.3.
            nal.extend_from_slice(if number == 0 { &[0x65, 0x88] } else { &[0x41, 0x9a] });
            nal.resize_with(slice, || {
                noise = noise
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                // No zero byte: no emulation prevention is needed.
                (noise >> 56) as u8 | 1
            });
            nal::from_nals([nal.as_slice()]).map(Picture::new)
        });
        let parameters = Parameters {
            sps: Bytes::from_static(SPS),
            pps: Bytes::from_static(PPS),
        };
        Ok(Clip {
            track: track(parameters),
            sound: None,
            interval: Duration::from_secs_f64(1.0 / fps),
            pictures: pictures.collect::<Result<_, _>>()?,
        })
    }

    /// The first video track of a file, which must be H264. Its frames are sent in coding order at a steady rate.
    pub(crate) fn from_file(file: &Path) -> Result<Clip> {
        let fps = probe_fps(file)?;
        let stream = run(Command::new("ffmpeg")
            .args(["-v", "error", "-i"])
            .arg(file)
            .args(["-map", "0:v:0", "-c", "copy"])
            .args([
                "-bsf:v",
                // A delimiter before each access unit is what we cut at.
                "h264_mp4toannexb,h264_metadata=aud=insert",
                "-f",
                "h264",
                "pipe:1",
            ]))?;
        ensure!(
            stream.len() <= MAX_CLIP,
            "{} is larger than {MAX_CLIP} bytes",
            file.display()
        );
        let mut clip = Clip::from_annex_b(&stream).with_context(|| format!("{} is of no use", file.display()))?;
        clip.interval = Duration::from_secs_f64(1.0 / fps);
        Ok(clip)
    }

    /// Access units that begin with delimiters.
    fn from_annex_b(stream: &[u8]) -> Result<Clip> {
        let mut parameters = Parameters::default();
        let mut pictures = Vec::new();
        let mut unit: Vec<&[u8]> = Vec::new();
        let mut finish = |unit: &mut Vec<&[u8]>| -> Result<()> {
            if unit.iter().any(|nal| NalType::of(nal).is_slice()) {
                pictures.push(Picture::new(nal::from_nals(unit.iter().copied())?));
            }
            unit.clear();
            Ok(())
        };
        for nal in nal::split_annex_b(stream) {
            match NalType::of(nal) {
                NalType::AUD => finish(&mut unit)?,
                NalType::SPS => parameters.sps = Bytes::copy_from_slice(nal),
                NalType::PPS if parameters.pps.is_empty() => parameters.pps = Bytes::copy_from_slice(nal),
                NalType::PPS => {}
                _ => unit.push(nal),
            }
        }
        finish(&mut unit)?;
        ensure!(parameters.is_complete(), "it has no parameter sets");
        ensure!(
            pictures.first().is_some_and(|first| first.key),
            "it does not begin with a keyframe"
        );
        Ok(Clip {
            track: track(parameters),
            sound: None,
            interval: Duration::from_millis(40),
            pictures,
        })
    }

    /// Adds sound of so many bits per second.
    pub(crate) fn with_sound(mut self, bitrate: u64) -> Result<Clip> {
        self.sound = Some(Sound::new(bitrate)?);
        Ok(self)
    }

    /// The pictures' track, then the sound's.
    pub(crate) fn tracks(&self) -> impl Iterator<Item = &Track> {
        std::iter::once(&self.track).chain(self.sound.as_ref().map(|sound| &sound.track))
    }

    /// When which frame is sent.
    pub(crate) fn schedule(&self, pace: Pace) -> Schedule {
        Schedule::new(pace, self.interval, self.sound.as_ref().map(Sound::interval))
    }

    /// A frame of an endless repetition, a picture stamped.
    pub(crate) fn item(&self, stream: u16, item: Item, sent: u64) -> Frame {
        match (item, &self.sound) {
            (Item::Sound(number), Some(sound)) => sound.frame(number),
            (Item::Picture(number) | Item::Sound(number), _) => self.frame(stream, number, sent),
        }
    }

    /// The picture with this number of an endless repetition, stamped.
    pub(crate) fn frame(&self, stream: u16, number: u32, sent: u64) -> Frame {
        let picture = &self.pictures[number as usize % self.pictures.len()];
        let stamp = Stamp {
            stream,
            number,
            sent,
            digest: picture.digest,
        }
        .to_nal();
        let mut payload = BytesMut::with_capacity(nal::LENGTH_SIZE + stamp.len() + picture.payload.len());
        payload.put_u32(stamp.len() as u32);
        payload.put_slice(&stamp);
        payload.put_slice(&picture.payload);
        let ticks = self.interval.as_secs_f64() * f64::from(CLOCK_RATE) * f64::from(number);
        Frame {
            track: self.track.id,
            number: u64::from(number),
            pts: ticks as i64,
            dts: ticks as i64,
            duration: 0,
            wall: None,
            flags: Flags::NONE.set(Flags::KEY, picture.key),
            payload: payload.freeze().into(),
        }
    }

    /// Bits per second, stamps left out.
    pub(crate) fn bitrate(&self) -> f64 {
        let bytes: usize = self.pictures.iter().map(|picture| picture.payload.len()).sum();
        let sound = self.sound.as_ref().map_or(0.0, Sound::bitrate);
        bytes as f64 * 8.0 / (self.interval.as_secs_f64() * self.pictures.len() as f64) + sound
    }
}

fn track(parameters: Parameters) -> Track {
    Track {
        id: TrackId(0),
        kind: Kind::Video,
        codec: Codec::H264(parameters),
        clock_rate: CLOCK_RATE,
        extra: Vec::new(),
        derived: None,
    }
}

fn probe_fps(file: &Path) -> Result<f64> {
    let fields = [
        "-select_streams",
        "v:0",
        "-show_entries",
        "stream=codec_name,avg_frame_rate",
        "-of",
        "csv=p=0",
    ];
    let text = run(Command::new("ffprobe").args(["-v", "error"]).args(fields).arg(file))?;
    let text = String::from_utf8_lossy(&text);
    let Some((codec, rate)) = text.trim().split_once(',') else {
        bail!("{} has no video", file.display())
    };
    ensure!(
        codec == "h264",
        "{} is {codec}, only h264 can be stamped",
        file.display()
    );
    let (frames, seconds) = rate.split_once('/').unwrap_or((rate, "1"));
    let fps = frames.parse::<f64>()? / seconds.parse::<f64>()?;
    ensure!(fps.is_finite() && fps > 0.0, "{} has no frame rate", file.display());
    Ok(fps)
}

fn run(command: &mut Command) -> Result<Vec<u8>> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .output()
        .with_context(|| format!("{program} cannot be run; a clip file needs FFmpeg"))?;
    ensure!(
        output.status.success(),
        "{program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        bitrate: 4_000_000,
        fps: 50.0,
        gop: 4,
    };

    #[test]
    fn a_synthetic_stream_has_the_bit_rate_it_was_asked_for() {
        let clip = Clip::synthetic(SHAPE).unwrap();
        for number in 0..8 {
            let frame = clip.frame(0, number, 0);
            assert_eq!(frame.payload.len(), 10_000, "4 Mb/s at 50 frames per second");
            assert_eq!(frame.is_key(), number % 4 == 0, "frame {number}");
            assert_eq!(frame.pts, i64::from(number) * 1_800);
            nal::check(&frame.payload).unwrap();
        }
    }

    #[test]
    fn a_frame_carries_its_stamp_and_the_digest_of_its_slices() {
        let clip = Clip::synthetic(SHAPE).unwrap();
        let frame = clip.frame(3, 5, 77);
        let stamp = Stamp::of_nal(nal::iter(&frame.payload).next().unwrap()).unwrap();
        assert_eq!(
            stamp,
            Stamp {
                stream: 3,
                number: 5,
                sent: 77,
                digest: verify::digest(&frame.payload)
            }
        );
    }

    #[test]
    fn impossible_shapes_are_refused() {
        for shape in [
            Shape { fps: 0.0, ..SHAPE },
            Shape { fps: f64::NAN, ..SHAPE },
            Shape { gop: 0, ..SHAPE },
            Shape {
                bitrate: u64::MAX,
                ..SHAPE
            },
        ] {
            assert!(Clip::synthetic(shape).is_err(), "{shape:?}");
        }
    }

    #[test]
    fn annex_b_is_cut_at_delimiters_and_loses_its_parameter_sets() {
        let nals: &[&[u8]] = &[
            &[9, 0xf0],
            SPS,
            PPS,
            &[6, 5, 1, 1, 0x80],
            &[0x65, 0x88, 1],
            &[9, 0xf0],
            &[0x41, 0x9a, 2],
        ];
        let stream = nal::to_annex_b(&nal::from_nals(nals.iter().copied()).unwrap());
        let clip = Clip::from_annex_b(&stream).unwrap();
        let kinds = |picture: &Picture| {
            nal::iter(&picture.payload)
                .map(|nal| NalType::of(nal).0)
                .collect::<Vec<_>>()
        };
        assert_eq!(
            clip.pictures.iter().map(kinds).collect::<Vec<_>>(),
            [vec![6, 5], vec![1]]
        );
        assert!(matches!(&clip.track.codec, Codec::H264(parameters) if parameters.sps == SPS && parameters.pps == PPS));
    }

    #[test]
    fn annex_b_without_parameter_sets_or_keyframe_is_refused() {
        let stream = |nals: &[&[u8]]| nal::to_annex_b(&nal::from_nals(nals.iter().copied()).unwrap());
        assert!(Clip::from_annex_b(&stream(&[&[0x65, 0x88]])).is_err());
        assert!(Clip::from_annex_b(&stream(&[SPS, PPS, &[0x41, 0x9a]])).is_err());
        assert!(Clip::from_annex_b(b"").is_err());
    }
}

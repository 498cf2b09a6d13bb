//! One track of a stream of tags: its configuration as tags bring it, and its frames in the form of their codec.
#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss
)]

use std::mem::{Discriminant, discriminant};

use bytes::{Bytes, BytesMut};
use wasmtx_media::codec::{aac, ac3, av1, flac, mp3, opus};
use wasmtx_media::container::sample::{Canonical, Description};
use wasmtx_media::{Codec, Error, Flags, Frame, Kind as Media, Track, TrackId};

use super::coding::{Coding, TELEPHONY_RATE};
use super::packet::{Packet, Part};

/// The clock of video tracks: what RTP has, too.
const VIDEO_RATE: u32 = 90_000;
/// How far the time of a tag, which counts whole milliseconds, may be off from where the samples before it end. Encoders
/// round each time for itself; real gaps are a frame long.
const TOLERANCE: i64 = 3;
/// The magic of an Opus identification header, and where the number of channels stands behind it.
const OPUS_HEAD: &[u8; 8] = b"OpusHead";
const OPUS_CHANNELS: usize = 9;

/// The time of a tag.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// From the start of the stream.
    pub(super) milliseconds: i64,
    pub(super) nanoseconds: u32,
}

impl Moment {
    fn ticks(self, rate: u32, later: i32) -> i64 {
        let milliseconds = i128::from(self.milliseconds).saturating_add(later.into());
        let nanoseconds = milliseconds
            .saturating_mul(1_000_000)
            .saturating_add(self.nanoseconds.into());
        // To the nearest tick: what was rounded down from samples comes back where it was, or one beside it.
        let ticks = nanoseconds.saturating_mul(rate.into()).saturating_add(500_000_000);
        i64::try_from(ticks.div_euclid(1_000_000_000)).unwrap_or_default()
    }
}

/// One track.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) media: Media,
    /// Among the tracks of its kind, as the tags say.
    pub(super) number: u8,
    /// Given when the stream is published.
    pub(super) id: TrackId,
    /// `None` until its configuration is known.
    description: Option<Description>,
    /// The coding of the packet that brought it.
    coding: Option<Discriminant<Coding>>,
    /// Nothing of it is passed on until a configuration comes that can be read.
    pub(super) refused: bool,
    /// Packets that were broken one after the other.
    pub(super) broken: u32,
    /// The sender's clock jumped, or frames were dropped, before the next frame.
    pub(super) discontinuity: bool,
    last_dts: i64,
    /// Where the samples so far end, in ticks; of sound only.
    end: Option<i64>,
}

/// What came of a packet.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) frame: Option<Frame>,
    /// The track is known now, or is another one than before.
    pub(super) changed: bool,
}

impl Lane {
    pub(super) fn new(media: Media, number: u8) -> Lane {
        Lane {
            media,
            number,
            id: TrackId(0),
            description: None,
            coding: None,
            refused: false,
            broken: 0,
            discontinuity: false,
            last_dts: i64::MIN,
            end: None,
        }
    }

    /// The track, once its configuration is known.
    pub(super) fn track(&self) -> Option<Track> {
        let codec = &self.description.as_ref()?.codec;
        Some(Track {
            id: self.id,
            kind: self.media,
            codec: codec.clone(),
            clock_rate: clock_rate(codec),
            extra: Vec::new(),
            derived: None,
        })
    }

    /// Whether the track can be published.
    pub(super) fn is_ready(&self) -> bool {
        self.description.is_some() && !self.refused
    }

    /// For the log.
    pub(super) fn name(&self) -> String {
        let media = if self.media == Media::Video { "video" } else { "audio" };
        format!("{media} track {}", self.number)
    }

    /// Takes a packet of this track.
    pub(super) fn handle(&mut self, packet: &Packet, moment: Moment) -> Result<Outcome, Error> {
        match packet.part {
            Part::End => Ok(Outcome::default()),
            Part::Start => {
                let Some(description) = describe(packet)? else {
                    return Ok(Outcome::default());
                };
                let changed = self.refused || self.description.as_ref() != Some(&description);
                self.refused = false;
                self.description = Some(description);
                self.coding = Some(discriminant(&packet.coding));
                Ok(Outcome { frame: None, changed })
            }
            Part::Frame(_) if packet.data.is_empty() => Ok(Outcome::default()),
            Part::Frame(later) => self.frame(packet, moment, later),
        }
    }

    fn frame(&mut self, packet: &Packet, moment: Moment, later: i32) -> Result<Outcome, Error> {
        let mut changed = false;
        let is_other = self.coding != Some(discriminant(&packet.coding));
        if let Some(codec) = told_by_frame(packet.coding, &packet.data)? {
            let known = self.description.as_ref().map(|description| &description.codec);
            // What may be left open in frames was told before.
            let is_told = packet.coding == Coding::Opus;
            if is_other || !is_told && known != Some(&codec) {
                self.description = Some(Description::new(codec));
                self.coding = Some(discriminant(&packet.coding));
                changed = true;
            }
        } else if is_other {
            // Without its configuration nobody can decode it: it may come yet.
            return Ok(Outcome::default());
        }
        let Some(description) = &mut self.description else {
            return Ok(Outcome::default());
        };
        let Canonical {
            payload,
            flags,
            changed: parameters,
        } = match packet.coding {
            Coding::Lpcm { bit_depth: 16, .. } => swapped(&packet.data),
            _ => description.canonical(&packet.data)?,
        };
        changed |= parameters;
        let rate = clock_rate(&description.codec);
        let duration = duration(&description.codec, &payload).unwrap_or_default();
        if payload.is_empty() {
            return Ok(Outcome { frame: None, changed });
        }
        let (dts, pts) = match self.media {
            Media::Video => (moment.ticks(rate, 0), moment.ticks(rate, later)),
            _ => {
                let time = self.audio_time(moment.ticks(rate, 0), duration, rate);
                (time, time)
            }
        };
        let dts = dts.max(self.last_dts);
        self.last_dts = dts;
        let flags = flags.set(Flags::DISCONTINUITY, std::mem::take(&mut self.discontinuity));
        let frame = Frame {
            track: self.id,
            number: 0,
            pts,
            dts,
            duration,
            wall: None,
            flags,
            payload: payload.into(),
        };
        Ok(Outcome {
            frame: Some(frame),
            changed,
        })
    }

    /// Sound goes on where the samples before it end, as long as its tags agree within their precision.
    fn audio_time(&mut self, told: i64, duration: u32, rate: u32) -> i64 {
        let tolerance = TOLERANCE.saturating_mul(rate.into()) / 1_000;
        let end = self
            .end
            .filter(|end| end.saturating_sub(told).abs() <= tolerance && !self.discontinuity);
        let time = end.unwrap_or(told);
        self.end = (duration > 0).then(|| time.saturating_add(duration.into()));
        time
    }
}

fn clock_rate(codec: &Codec) -> u32 {
    match codec {
        Codec::Mp3 { .. } => mp3::CLOCK_RATE,
        _ => codec.audio().map_or(VIDEO_RATE, |(rate, _)| rate.max(1)),
    }
}

/// The configuration that a packet brings; `None` for codecs that have none.
fn describe(packet: &Packet) -> Result<Option<Description>, Error> {
    let data = &packet.data;
    let codec = match packet.coding {
        Coding::H264 => return Description::avc(data).and_then(complete).map(Some),
        Coding::H265 => return Description::hevc(data).and_then(complete).map(Some),
        Coding::Av1 => Codec::Av1(av1::Parameters::from_configuration_record(data)?),
        Coding::Vp8 => Codec::Vp8,
        Coding::Vp9 => Codec::Vp9,
        // A share would keep the message alive for as long as the stream lives.
        Coding::Aac => Codec::Aac(aac::Config::parse(Bytes::copy_from_slice(data))?),
        Coding::Flac => Codec::Flac(flac::Config::parse(data)?),
        Coding::Opus => match data.strip_prefix(OPUS_HEAD).map(|_| data.get(OPUS_CHANNELS)) {
            Some(Some(&channels @ 1..=8)) => Codec::Opus { channels },
            Some(None) => return Err(Error::Truncated),
            _ => return Err(Error::Invalid("Opus identification header")),
        },
        Coding::Legacy(_) | Coding::Unknown(_) => return Err(Error::Unsupported("codec")),
        Coding::Mp3 | Coding::Ac3 | Coding::G711 { .. } | Coding::Lpcm { .. } => return Ok(None),
    };
    if codec.audio().is_some_and(|(sample_rate, _)| sample_rate == 0) {
        return Err(Error::Invalid("sample rate"));
    }
    Ok(Some(Description::new(codec)))
}

fn complete(description: Description) -> Result<Description, Error> {
    if description.codec.parameters().is_empty() {
        return Err(Error::Invalid("configuration without parameter sets"));
    }
    Ok(description)
}

/// The codec as a frame tells it, of codecs that need no configuration.
fn told_by_frame(coding: Coding, frame: &Bytes) -> Result<Option<Codec>, Error> {
    Ok(Some(match coding {
        Coding::Mp3 => {
            let header = mp3::Header::parse(frame)?;
            Codec::Mp3 {
                sample_rate: header.sample_rate,
                channels: header.channels,
            }
        }
        Coding::Ac3 => {
            let header = ac3::Header::parse(frame)?;
            Codec::Ac3 {
                sample_rate: header.sample_rate,
                channels: header.channels,
            }
        }
        Coding::Opus => {
            // The stereo flag (RFC 6716 section 3.1).
            let stereo = frame.first().is_some_and(|first| first & 4 != 0);
            Codec::Opus {
                channels: if stereo { 2 } else { 1 },
            }
        }
        Coding::Vp8 => Codec::Vp8,
        Coding::Vp9 => Codec::Vp9,
        Coding::G711 { mu_law, channels } => Codec::G711 {
            mu_law,
            sample_rate: TELEPHONY_RATE,
            channels,
        },
        Coding::Lpcm {
            bit_depth,
            sample_rate,
            channels,
        } => Codec::Lpcm {
            bit_depth,
            sample_rate,
            channels,
        },
        Coding::Legacy(_) | Coding::Unknown(_) => return Err(Error::Unsupported("codec")),
        Coding::H264 | Coding::H265 | Coding::Av1 | Coding::Aac | Coding::Flac => return Ok(None),
    }))
}

/// Little-endian samples the other way round; half a sample at the end is dropped.
fn swapped(data: &[u8]) -> Canonical {
    let mut payload = BytesMut::with_capacity(data.len());
    data.chunks_exact(2)
        .for_each(|sample| payload.extend(sample.iter().rev()));
    Canonical {
        payload: payload.freeze(),
        flags: Flags::KEY,
        changed: false,
    }
}

/// Ticks that a frame of sound lasts; `None` when it does not say.
fn duration(codec: &Codec, payload: &[u8]) -> Option<u32> {
    let samples = |size: u32| u32::try_from(payload.len()).ok()?.checked_div(size);
    match codec {
        Codec::Aac(config) => Some(config.frame_samples),
        Codec::Opus { .. } => opus::duration(payload).ok(),
        Codec::Flac(_) => flac::samples(payload).ok(),
        Codec::Ac3 { .. } => Some(ac3::SAMPLES),
        Codec::Mp3 { sample_rate, .. } => {
            let header = mp3::Header::parse(payload).ok()?;
            header.samples.saturating_mul(mp3::CLOCK_RATE).checked_div(*sample_rate)
        }
        Codec::G711 { channels, .. } => samples((*channels).into()),
        Codec::Lpcm {
            bit_depth, channels, ..
        } => samples(u32::from(*bit_depth / 8).saturating_mul((*channels).into())),
        _ => None,
    }
}

//! Frames into tags: metadata and configurations first, then a header of a few bytes in front of each payload.
//!
//! The first track of a kind goes as players have always known it, or behind its FourCC where it is of a newer codec; the
//! others, for players that asked for them, in multitrack packets of one track each.

use bytes::{BufMut, Bytes, BytesMut};
use wasmtx_media::codec::{opus, vp9};
use wasmtx_media::{Codec, Flags, Frame, Kind as Media, Track, TrackId};

use super::coding::{four_cc, legacy_audio};
use super::{Kind, Tag};
use crate::rtmp::amf0::{self, Value};

/// What a composition time of 24 bits can say, in milliseconds.
const MAX_COMPOSITION: i64 = (1 << 23) - 1;
/// The largest header in front of a payload.
const MAX_HEAD: usize = 16;

const KEY_FRAME: u8 = 1;
const INTER_FRAME: u8 = 2;
const DISPOSABLE_FRAME: u8 = 3;

const AVC: u8 = 7;
const ENHANCED_VIDEO: u8 = 0x80;
const ENHANCED_AUDIO: u8 = 9 << 4;
const VIDEO_MULTITRACK: u8 = 6;
const AUDIO_MULTITRACK: u8 = 5;

/// Packet types of enhanced tags, and of AVC and AAC.
const START: u8 = 0;
const CODED: u8 = 1;
/// Coded, without the composition time of codecs that have one: it is 0.
const CODED_WITHOUT_TIME: u8 = 3;

/// What is told of a VP9 track before its first keyframe.
const USUAL_VP9: vp9::Header = vp9::Header {
    profile: 0,
    width: 0,
    height: 0,
};

/// The name of the tag that describes the stream.
const ON_META_DATA: &str = "onMetaData";
/// Who made the stream.
const ENCODER: &str = concat!("wasmtx/", env!("CARGO_PKG_VERSION"));

/// The timestamp of a decoding time: milliseconds modulo 2^32. Streams begin near 0, some pictures a little before.
pub fn timestamp(dts: i64, clock_rate: u32) -> u32 {
    milliseconds(dts.max(0), clock_rate) as u32
}

/// Ticks as milliseconds, rounded down.
pub fn milliseconds(ticks: i64, clock_rate: u32) -> i64 {
    let milliseconds = (i128::from(ticks) * 1_000).div_euclid(clock_rate.max(1).into());
    i64::try_from(milliseconds).unwrap_or_default()
}

/// Turns the frames of chosen tracks into tags, for all players of the same choice.
#[derive(Debug)]
pub struct Muxer {
    lanes: Vec<Lane>,
}

#[derive(Debug)]
struct Lane {
    id: TrackId,
    media: Media,
    /// Among the tracks of its kind.
    number: u8,
    /// As its configuration was told last.
    codec: Codec,
    /// What the newest keyframe of a VP9 track says: the codec has no configuration of its own.
    vp9: vp9::Header,
}

impl Muxer {
    /// For the tracks of a [`Choice`](super::Choice), as they stand now.
    pub fn new(tracks: &[Track]) -> Muxer {
        let mut lanes: Vec<Lane> = Vec::with_capacity(tracks.len());
        for track in tracks.iter().filter(|track| track.kind != Media::Data) {
            let before = lanes.iter().filter(|lane| lane.media == track.kind).count();
            let Ok(number) = u8::try_from(before) else { continue };
            lanes.push(Lane {
                id: track.id,
                media: track.kind,
                number,
                codec: track.codec.clone(),
                vp9: USUAL_VP9,
            });
        }
        Muxer { lanes }
    }

    /// What a player gets before its first frame, and again after a gap: metadata and configurations of `tracks` as they
    /// stand at that frame, at its time.
    pub fn opening(&self, tracks: &[Track], timestamp: u32) -> Vec<Tag> {
        let of = |lane: &Lane| {
            tracks
                .iter()
                .find(|track| track.id == lane.id)
                .map(|track| &track.codec)
        };
        let current: Vec<(&Lane, &Codec)> = self
            .lanes
            .iter()
            .map(|lane| (lane, of(lane).unwrap_or(&lane.codec)))
            .collect();
        let metadata = Tag {
            kind: Kind::Script,
            // FFmpeg takes metadata at any other time for a track of text.
            timestamp: 0,
            payload: amf0::write(&[ON_META_DATA.into(), metadata(&current)]).into(),
        };
        let starts = current.iter().filter_map(|(lane, codec)| lane.start(codec, timestamp));
        std::iter::once(metadata).chain(starts).collect()
    }

    /// Appends the tags of one frame. `track` is its track as it stands there: when its configuration is another one
    /// than before, that goes first. A frame of a track that was not chosen, or that is not decodable yet, has none.
    pub fn tags(&mut self, frame: &Frame, track: &Track, out: &mut Vec<Tag>) {
        let Some(lane) = self.lanes.iter_mut().find(|lane| lane.id == frame.track) else {
            return;
        };
        if frame.payload.is_empty() {
            return;
        }
        let dts = milliseconds(frame.dts, track.clock_rate).max(0);
        let timestamp = dts as u32;
        // Only the profile of these is told.
        if matches!(lane.codec, Codec::Vp9)
            && let Ok(Some(header)) = vp9::header(&frame.payload)
            && std::mem::replace(&mut lane.vp9, header).profile != header.profile
        {
            out.extend(lane.start(&track.codec, timestamp));
        }
        if lane.codec != track.codec {
            lane.codec = track.codec.clone();
            out.extend(lane.start(&track.codec, timestamp));
        }
        let composition = milliseconds(frame.pts, track.clock_rate).saturating_sub(dts);
        let mut payload = BytesMut::with_capacity(MAX_HEAD + frame.payload.len());
        if lane.head(frame.flags, composition, &mut payload).is_none() {
            return;
        }
        match lane.codec {
            // The other byte order.
            Codec::Lpcm { bit_depth: 16, .. } => {
                let samples = frame.payload.chunks_exact(2);
                samples.for_each(|sample| payload.extend(sample.iter().rev()));
            }
            _ => frame.payload.pieces().iter().for_each(|piece| payload.put_slice(piece)),
        }
        out.push(Tag {
            kind: lane.kind(),
            timestamp,
            payload: payload.freeze(),
        });
    }
}

impl Lane {
    fn kind(&self) -> Kind {
        match self.media {
            Media::Video => Kind::Video,
            _ => Kind::Audio,
        }
    }

    /// The tag with the configuration; `None` when the codec needs none or it is not known yet.
    fn start(&self, codec: &Codec, timestamp: u32) -> Option<Tag> {
        let configuration = match codec {
            Codec::Opus { channels } => opus::identification_header(*channels).into(),
            Codec::Flac(config) => config.file_header(),
            Codec::Vp9 => Bytes::copy_from_slice(&self.vp9.configuration_record()),
            Codec::H264(_) | Codec::H265(_) | Codec::Av1(_) | Codec::Aac(_) => codec.parameters(),
            _ => return None,
        };
        if configuration.is_empty() {
            return None;
        }
        let mut payload = BytesMut::with_capacity(MAX_HEAD + configuration.len());
        match codec {
            Codec::H264(_) if self.number == 0 => payload.put_slice(&[KEY_FRAME << 4 | AVC, START, 0, 0, 0]),
            Codec::Aac(_) if self.number == 0 => payload.put_slice(&[legacy_audio(codec)?, START]),
            _ => self.enhanced(codec, KEY_FRAME, START, &mut payload)?,
        }
        payload.put_slice(&configuration);
        Some(Tag {
            kind: self.kind(),
            timestamp,
            payload: payload.freeze(),
        })
    }

    /// What stands in front of a frame's payload; `None` when the codec has no place in a tag.
    fn head(&self, flags: Flags, composition: i64, payload: &mut BytesMut) -> Option<()> {
        let composition = composition.clamp(-MAX_COMPOSITION, MAX_COMPOSITION);
        let composition = &(composition as i32).to_be_bytes()[1..];
        let frame_type = match () {
            () if flags.contains(Flags::KEY) => KEY_FRAME,
            () if flags.contains(Flags::DISPOSABLE) => DISPOSABLE_FRAME,
            () => INTER_FRAME,
        };
        match (&self.codec, self.number) {
            (Codec::H264(_), 0) => {
                payload.put_slice(&[frame_type << 4 | AVC, CODED]);
                payload.put_slice(composition);
            }
            (Codec::H264(_) | Codec::H265(_), _) if composition == [0; 3] => {
                self.enhanced(&self.codec, frame_type, CODED_WITHOUT_TIME, payload)?;
            }
            (Codec::H264(_) | Codec::H265(_), _) => {
                self.enhanced(&self.codec, frame_type, CODED, payload)?;
                payload.put_slice(composition);
            }
            (Codec::Aac(_), 0) => payload.put_slice(&[legacy_audio(&self.codec)?, CODED]),
            (Codec::Mp3 { .. } | Codec::G711 { .. } | Codec::Lpcm { .. }, 0) => {
                payload.put_u8(legacy_audio(&self.codec)?);
            }
            _ => self.enhanced(&self.codec, frame_type, CODED, payload)?,
        }
        Some(())
    }

    /// The header of an enhanced tag up to where a codec's own begins.
    fn enhanced(&self, codec: &Codec, frame_type: u8, packet_type: u8, payload: &mut BytesMut) -> Option<()> {
        let four_cc = four_cc(codec)?;
        let (first, multitrack) = match self.media {
            Media::Video => (ENHANCED_VIDEO | frame_type << 4, VIDEO_MULTITRACK),
            _ => (ENHANCED_AUDIO, AUDIO_MULTITRACK),
        };
        if self.number == 0 {
            payload.put_u8(first | packet_type);
            payload.put_slice(four_cc);
        } else {
            // One track, whose number follows.
            payload.put_slice(&[first | multitrack, packet_type]);
            payload.put_slice(four_cc);
            payload.put_u8(self.number);
        }
        Some(())
    }
}

/// What `onMetaData` says. Codecs are named by the number of their classic form, else by their FourCC as a number.
fn metadata(tracks: &[(&Lane, &Codec)]) -> Value {
    let mut values: Vec<(String, Value)> = Vec::new();
    let mut put = |name: &str, value: Value| values.push((name.to_owned(), value));
    put("duration", 0.0.into());
    for (lane, codec) in tracks.iter().filter(|(lane, _)| lane.number == 0) {
        let classic = match codec {
            Codec::H264(_) => Some(AVC),
            _ => legacy_audio(codec).map(|first| first >> 4),
        };
        let number = classic.map(f64::from);
        let number = number.or(four_cc(codec).map(|four_cc| u32::from_be_bytes(*four_cc).into()));
        let number = Value::Number(number.unwrap_or_default());
        if lane.media == Media::Video {
            put("videocodecid", number);
            if let Some((width, height)) = codec.dimensions() {
                put("width", f64::from(width).into());
                put("height", f64::from(height).into());
            }
        } else {
            put("audiocodecid", number);
            if let Some((sample_rate, channels)) = codec.audio().filter(|(sample_rate, _)| *sample_rate > 0) {
                put("audiosamplerate", f64::from(sample_rate).into());
                put("audiosamplesize", 16.0.into());
                put("stereo", Value::Boolean(channels > 1));
            }
        }
    }
    for (media, name) in [
        (Media::Video, "videoTrackIdInfoMap"),
        (Media::Audio, "audioTrackIdInfoMap"),
    ] {
        let numbers = tracks
            .iter()
            .filter(|(lane, _)| lane.media == media)
            .map(|(lane, _)| lane.number);
        if numbers.clone().count() > 1 {
            let infos = numbers.map(|number| (number.to_string(), Value::Object(Vec::new())));
            put(name, Value::Object(infos.collect()));
        }
    }
    put("encoder", ENCODER.into());
    Value::Ecma(values)
}

//! What is in the PES packets of one elementary stream: pictures, one access unit in each packet; sound, frames that begin
//! and end anywhere in it.
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

use bytes::{Bytes, BytesMut};

use super::{CLOCK_RATE, stream::Format};
use crate::{
    Codec, Error, Flags,
    codec::{ac3, adts, h264, h265, mp3, opus},
    container::sample::{Canonical, Description},
    nal,
    read::Cursor,
};

/// An elementary stream of any kind.
#[derive(Debug)]
pub(super) enum Stream {
    Pictures(Description),
    Sound(Sound),
}

impl Stream {
    pub(super) fn new(format: Format) -> Stream {
        match format {
            Format::H264 => Stream::Pictures(Description::new(Codec::H264(h264::Parameters::default()))),
            Format::H265 => Stream::Pictures(Description::new(Codec::H265(h265::Parameters::default()))),
            _ => Stream::Sound(Sound::new(format)),
        }
    }

    /// The codec, once its parameters are known.
    pub(super) fn codec(&self) -> Option<&Codec> {
        match self {
            Stream::Pictures(Description { codec, .. }) => match codec {
                Codec::H264(parameters) => parameters.is_complete(),
                Codec::H265(parameters) => parameters.is_complete(),
                _ => false,
            }
            .then_some(codec),
            Stream::Sound(sound) => sound.codec.as_ref(),
        }
    }

    /// Ticks per second of the codec's own clock.
    pub(super) fn clock_rate(&self) -> u32 {
        match self {
            Stream::Pictures(_) => CLOCK_RATE,
            Stream::Sound(sound) => sound.rates().1,
        }
    }
}

/// Brings an access unit from a byte stream into the form of its codec.
pub(super) fn picture(description: &mut Description, stream: &[u8]) -> Result<Canonical, Error> {
    let h265 = matches!(description.codec, Codec::H265(_));
    let delimits = |nal: &&[u8]| match h265 {
        true => h265::NalType::of(nal) == h265::NalType::AUD,
        false => h264::NalType::of(nal) == h264::NalType::AUD,
    };
    let sample = nal::from_nals(nal::iter_annex_b(stream).filter(|nal| !delimits(nal)))?;
    description.canonical(&sample)
}

/// A frame of sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Heard {
    /// In ticks of the codec's clock.
    pub(super) time: i64,
    pub(super) duration: u32,
    pub(super) payload: Bytes,
    /// Something is missing in front of it.
    pub(super) behind_gap: bool,
}

/// Takes a stream of sound apart.
#[derive(Debug)]
pub(super) struct Sound {
    format: Format,
    codec: Option<Codec>,
    /// The beginning of a frame that ends in the next packet, and its time if a packet told it.
    rest: Bytes,
    rest_time: Option<i64>,
    /// A frame was found where the one before it ended.
    locked: bool,
    gap: bool,
    /// A time that a packet told, and the samples since: times of packets are rounded, and would wobble.
    anchor: Option<(i64, u64)>,
}

/// A frame with what is around it.
struct Found {
    /// Bytes in front of the payload.
    header: usize,
    /// Bytes in all.
    length: usize,
    samples: u32,
    codec: Codec,
}

impl Sound {
    fn new(format: Format) -> Sound {
        Sound {
            format,
            codec: None,
            rest: Bytes::new(),
            rest_time: None,
            locked: false,
            gap: false,
            anchor: None,
        }
    }

    /// Something was lost: what comes does not belong to what is there.
    pub(super) fn lose(&mut self) {
        self.rest.clear();
        self.rest_time = None;
        self.locked = false;
        self.gap = true;
    }

    /// Takes the payload of a packet, and the time (in ticks of 90 kHz) of the first frame that begins in it; calls back
    /// with each frame.
    pub(super) fn push(&mut self, time: Option<i64>, payload: Bytes, mut each: impl FnMut(Heard)) {
        let before = self.rest.len();
        let bytes = if before == 0 {
            payload
        } else {
            let mut joined = BytesMut::with_capacity(before.saturating_add(payload.len()));
            joined.extend_from_slice(&self.rest);
            joined.extend_from_slice(&payload);
            joined.freeze()
        };
        let (mut at, mut times) = (0usize, [self.rest_time.take(), time]);
        let [of_rest, of_packet] = &mut times;
        let mut take_time = |at: usize| if at < before { of_rest.take() } else { of_packet.take() };
        // Where a frame may begin that is not whole yet.
        let mut unfinished = None;
        while let Some(ahead) = bytes.get(at..).filter(|ahead| !ahead.is_empty()) {
            match self.found(ahead) {
                Ok(found) => {
                    let end = at.saturating_add(found.length);
                    let payload = bytes.slice(at.saturating_add(found.header)..end);
                    let told = take_time(at);
                    self.locked = true;
                    unfinished = None;
                    at = end;
                    if let Some(heard) = self.heard(found, told, payload) {
                        each(heard);
                    }
                }
                Err(Error::Truncated) => {
                    unfinished.get_or_insert(at);
                    if self.locked {
                        break;
                    }
                    // It may be none. What follows may be whole.
                    at = at.saturating_add(1);
                }
                Err(_) => {
                    self.gap |= self.locked;
                    self.locked = false;
                    at = at.saturating_add(1);
                }
            }
        }
        let rest = unfinished.and_then(|at| bytes.get(at..)).unwrap_or_default();
        self.rest_time = unfinished.and_then(take_time);
        // A share would keep the whole packet alive.
        self.rest = Bytes::copy_from_slice(rest);
    }

    /// The frame that `ahead` begins with. One that was not expected here must be followed by another, or by nothing.
    fn found(&self, ahead: &[u8]) -> Result<Found, Error> {
        let found = found(self.format, ahead)?;
        let behind = ahead.get(found.length..).ok_or(Error::Truncated)?;
        let is_expected = self.locked && self.codec.as_ref() == Some(&found.codec);
        if !is_expected && !behind.is_empty() {
            match self::found(self.format, behind) {
                Ok(next) if next.codec != found.codec => return Err(Error::Invalid("frame")),
                Ok(_) | Err(Error::Truncated) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// `None` while no packet has told a time, and of a frame without content.
    fn heard(&mut self, found: Found, told: Option<i64>, payload: Bytes) -> Option<Heard> {
        if self.codec.as_ref() != Some(&found.codec) {
            let before = self.codec.replace(found.codec).is_some();
            self.gap |= before;
            self.anchor = None;
        }
        let (sample_rate, clock_rate) = self.rates();
        let told = told.map(|told| scaled(told.into(), clock_rate, CLOCK_RATE));
        let expected = self
            .anchor
            .map(|(anchor, samples)| anchor.saturating_add(scaled(i128::from(samples), clock_rate, sample_rate)));
        // Two ticks of the packets' clock, in those of the codec's.
        let wobble = scaled(2, clock_rate, CLOCK_RATE).saturating_add(1);
        let time = match (told, expected) {
            (Some(told), Some(expected)) if told.abs_diff(expected) <= wobble.unsigned_abs() => expected,
            (Some(told), _) => {
                self.anchor = Some((told, 0));
                told
            }
            (None, expected) => expected?,
        };
        if let Some((_, samples)) = &mut self.anchor {
            *samples = samples.saturating_add(found.samples.into());
        }
        let duration = scaled(found.samples.into(), clock_rate, sample_rate);
        (!payload.is_empty()).then(|| Heard {
            time,
            duration: u32::try_from(duration).unwrap_or_default(),
            payload,
            behind_gap: std::mem::take(&mut self.gap),
        })
    }

    /// Samples and ticks per second.
    fn rates(&self) -> (u32, u32) {
        let sample_rate = self
            .codec
            .as_ref()
            .and_then(Codec::audio)
            .map_or(CLOCK_RATE, |(rate, _)| rate)
            .max(1);
        match self.codec {
            Some(Codec::Mp3 { .. }) => (sample_rate, mp3::CLOCK_RATE),
            _ => (sample_rate, sample_rate),
        }
    }
}

impl Heard {
    /// What can be said about any frame of sound, and about this one.
    pub(super) fn flags(&self) -> Flags {
        Flags::KEY.set(Flags::DISCONTINUITY, self.behind_gap)
    }
}

/// Ticks of one clock in those of another, to the nearest.
fn scaled(ticks: i128, to: u32, from: u32) -> i64 {
    let from = i128::from(from.max(1));
    let twice = ticks.saturating_mul(to.into()).saturating_mul(2);
    i64::try_from(twice.saturating_add(from).div_euclid(from.saturating_mul(2))).unwrap_or(i64::MAX)
}

fn found(format: Format, ahead: &[u8]) -> Result<Found, Error> {
    Ok(match format {
        Format::Aac => {
            let header = adts::Header::parse(ahead)?;
            let config = header.config()?;
            Found {
                header: header.size,
                length: header.length,
                samples: config.frame_samples,
                codec: Codec::Aac(config),
            }
        }
        Format::Mp3 => {
            let header = mp3::Header::parse(ahead)?;
            Found {
                header: 0,
                length: header.length,
                samples: header.samples,
                codec: Codec::Mp3 {
                    sample_rate: header.sample_rate,
                    channels: header.channels,
                },
            }
        }
        Format::Ac3 => {
            let header = ac3::Header::parse(ahead)?;
            Found {
                header: 0,
                length: header.length,
                samples: ac3::SAMPLES,
                codec: Codec::Ac3 {
                    sample_rate: header.sample_rate,
                    channels: header.channels,
                },
            }
        }
        Format::Opus { channels } => {
            let (header, length) = opus_header(ahead)?;
            let packet = ahead.get(header..length).ok_or(Error::Truncated)?;
            Found {
                header,
                length,
                samples: opus::duration(packet).map_err(|_| Error::Invalid("Opus packet"))?,
                codec: Codec::Opus { channels },
            }
        }
        Format::H264 | Format::H265 => return Err(Error::Unsupported("pictures as sound")),
    })
}

/// The control header of an Opus packet: its bytes, and those of both.
///
/// ```text
/// 0x3ff (11) | start trim | end trim | extension | 0 0 | length in bytes of 255 and a last one | [trims] [extension]
/// ```
fn opus_header(ahead: &[u8]) -> Result<(usize, usize), Error> {
    let mut cursor = Cursor::new(ahead);
    let mark = cursor.u16()?;
    if mark >> 5 != 0x3ff {
        return Err(Error::Invalid("Opus control header"));
    }
    let mut length = 0usize;
    loop {
        let byte = cursor.u8()?;
        length = length.saturating_add(byte.into());
        if length > MAX_OPUS {
            return Err(Error::TooLarge("Opus packet"));
        }
        if byte != 0xff {
            break;
        }
    }
    for trim in [0x10, 0x08] {
        if mark & trim != 0 {
            cursor.skip(2)?;
        }
    }
    if mark & 0x04 != 0 {
        let size = cursor.u8()?;
        cursor.skip(size.into())?;
    }
    let header = ahead.len().saturating_sub(cursor.remaining());
    Ok((header, header.saturating_add(length)))
}

/// The largest Opus packet that is believed: twice what 120 ms of stereo take at the highest rate.
const MAX_OPUS: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::aac;

    const ADTS: &[u8] = include_bytes!("../../../testdata/aac.adts");

    /// Where the frames of the test stream end.
    fn ends() -> Vec<usize> {
        let (mut ends, mut at) = (Vec::new(), 0);
        while at < ADTS.len() {
            at += adts::Header::parse(&ADTS[at..]).unwrap().length;
            ends.push(at);
        }
        ends
    }

    fn push(sound: &mut Sound, time: Option<i64>, bytes: &[u8]) -> Vec<Heard> {
        let mut heard = Vec::new();
        sound.push(time, Bytes::copy_from_slice(bytes), |frame| heard.push(frame));
        heard
    }

    #[test]
    fn frames_that_go_over_into_the_next_packet_are_put_together() {
        let ends = ends();
        for piece in [50, 333, 1_000, 5_000] {
            let mut sound = Sound::new(Format::Aac);
            let mut heard = Vec::new();
            for (n, packet) in ADTS.chunks(piece).enumerate() {
                // The time is that of the first frame that begins in the packet, if one does.
                let starts = [0].iter().chain(&ends).position(|start| *start >= n * piece).unwrap();
                let begins = starts < ends.len() && (starts == 0 || ends[starts - 1] < (n + 1) * piece);
                let time = begins.then(|| 9_000 + (starts as i64 * 1_024 * 90_000 + 22_050) / 44_100);
                heard.extend(push(&mut sound, time, packet));
            }
            assert_eq!(heard.len(), ends.len(), "in pieces of {piece}");
            for (n, frame) in (0..).zip(&heard) {
                assert_eq!(
                    (frame.time, frame.duration),
                    (4_410 + n * 1_024, 1_024),
                    "no time wobbles"
                );
                assert!(!frame.behind_gap);
            }
        }
    }

    #[test]
    fn behind_garbage_a_frame_must_be_followed_by_another() {
        let ends = ends();
        let mut sound = Sound::new(Format::Aac);
        assert_eq!(push(&mut sound, Some(0), &ADTS[..ends[1]]).len(), 2);
        // Garbage that looks like a header by itself.
        let garbage = adts::header(&aac::Config::new(2, 8_000, 1).unwrap(), 20).unwrap();
        let dirty = [&[0xff, 0xf0, 7], &garbage[..], &ADTS[ends[4]..ends[6]]].concat();
        sound.lose();
        let heard = push(&mut sound, Some(90_000), &dirty);
        assert_eq!(heard.len(), 2);
        assert!(heard[0].behind_gap && !heard[1].behind_gap);
        assert_eq!(sound.codec.as_ref().unwrap().audio(), Some((44_100, 2)));
        sound.lose();
        assert!(push(&mut sound, Some(180_000), &ADTS[ends[6]..ends[7]])[0].behind_gap);
    }

    #[test]
    fn sound_without_a_time_waits_for_one() {
        let ends = ends();
        let mut sound = Sound::new(Format::Aac);
        assert!(push(&mut sound, None, &ADTS[..ends[0]]).is_empty());
        assert_eq!(push(&mut sound, Some(90_000), &ADTS[ends[0]..ends[1]])[0].time, 44_100);
        assert_eq!(push(&mut sound, None, &ADTS[ends[1]..ends[2]])[0].time, 44_100 + 1_024);
        // A jump of the sender's is one.
        assert_eq!(
            push(&mut sound, Some(900_000), &ADTS[ends[2]..ends[3]])[0].time,
            441_000
        );
    }

    #[test]
    fn opus_headers_of_every_kind_are_passed_over() {
        let packet = [0xfc, 1, 2, 3];
        let plain = [&[0x7f, 0xe0, 4][..], &packet].concat();
        let trimmed = [&[0x7f, 0xf8, 4, 0, 9, 0, 8][..], &packet].concat();
        let extended = [&[0x7f, 0xe4, 4, 2, 7, 7][..], &packet].concat();
        let mut sound = Sound::new(Format::Opus { channels: 2 });
        let heard = push(&mut sound, Some(0), &[plain, trimmed, extended].concat());
        assert_eq!(
            heard.iter().map(|frame| frame.time).collect::<Vec<_>>(),
            [0, 960, 1_920]
        );
        assert!(heard.iter().all(|frame| frame.payload == packet[..]));
        let long = [&[0x7f, 0xe0, 255, 45][..], &[0xfc; 300]].concat();
        assert_eq!(push(&mut sound, None, &long)[0].payload.len(), 300);
        // What claims to be longer than any packet is no header.
        assert!(push(&mut sound, None, &[&[0x7f, 0xe0][..], &[255; 1_000]].concat()).is_empty());
        assert!(sound.rest.len() <= MAX_OPUS);
    }

    #[test]
    fn delimiters_and_parameter_sets_do_not_stay_in_a_picture() {
        let mut description = Description::new(Codec::H264(h264::Parameters::default()));
        let stream = [
            &[0, 0, 0, 1, 9, 0xf0][..],
            &[0, 0, 1, 0x67, 66, 0, 30, 0xf4],
            &[0, 0, 1, 0x68, 0xce],
            &[0, 0, 1, 0x65, 0x88, 0, 0],
            &[0, 0, 1, 0x65, 0x44],
        ];
        let canonical = picture(&mut description, &stream.concat()).unwrap();
        assert_eq!(canonical.payload[..], [0, 0, 0, 2, 0x65, 0x88, 0, 0, 0, 2, 0x65, 0x44]);
        assert!(canonical.flags.contains(Flags::KEY) && canonical.changed);
        assert!(picture(&mut description, &[7; 100]).unwrap().payload.is_empty());
    }
}

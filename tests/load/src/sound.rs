//! A made-up AAC track beside the pictures: frames of noise, each with its number, that nobody decodes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::{BufMut, BytesMut};
use wasmtx_media::{
    Codec, Flags, Frame, Kind, Track, TrackId,
    codec::aac::{Config, LOW_COMPLEXITY},
};

const SAMPLE_RATE: u32 = 48_000;
const FRAME_SAMPLES: u32 = 1_024;
/// Marks frames of ours.
const MARK: [u8; 8] = *b"wasmtx-a";
/// Bytes of the mark and the number.
const STAMP: usize = MARK.len() + 4;

/// A track of sound.
#[derive(Debug)]
pub(crate) struct Sound {
    /// Second to the pictures.
    pub(crate) track: Track,
    /// Bytes of a frame.
    size: usize,
}

impl Sound {
    /// So many bits per second.
    pub(crate) fn new(bitrate: u64) -> Result<Sound> {
        let size = bitrate * u64::from(FRAME_SAMPLES) / 8 / u64::from(SAMPLE_RATE);
        ensure!(
            (STAMP as u64..=4_096).contains(&size),
            "sound takes 5 to 1500 kbit/s, not {bitrate} bits"
        );
        let config = Config::new(LOW_COMPLEXITY, SAMPLE_RATE, 2).context("no such AAC")?;
        Ok(Sound {
            track: Track {
                id: TrackId(1),
                kind: Kind::Audio,
                codec: Codec::Aac(config),
                clock_rate: SAMPLE_RATE,
                extra: Vec::new(),
                derived: None,
            },
            size: size as usize,
        })
    }

    /// Time between two frames.
    pub(crate) fn interval(&self) -> Duration {
        Duration::from_nanos(u64::from(FRAME_SAMPLES) * 1_000_000_000 / u64::from(SAMPLE_RATE))
    }

    /// The frame with this number.
    pub(crate) fn frame(&self, number: u32) -> Frame {
        let mut payload = BytesMut::with_capacity(self.size);
        payload.put_slice(&MARK);
        payload.put_u32(number);
        payload.resize(self.size, 0x5a);
        let pts = i64::from(number) * i64::from(FRAME_SAMPLES);
        Frame {
            track: self.track.id,
            number: u64::from(number),
            pts,
            dts: pts,
            duration: FRAME_SAMPLES,
            wall: None,
            flags: Flags::NONE.set(Flags::KEY, true),
            payload: payload.freeze().into(),
        }
    }

    /// Bits per second.
    pub(crate) fn bitrate(&self) -> f64 {
        self.size as f64 * 8.0 / self.interval().as_secs_f64()
    }
}

/// The number of a frame, if it is one of ours.
pub(crate) fn number_of(payload: &[u8]) -> Option<u32> {
    let number = payload.strip_prefix(&MARK)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_says_its_number_and_has_its_share_of_the_bit_rate() {
        let sound = Sound::new(64_000).unwrap();
        let frame = sound.frame(7);
        assert_eq!((frame.payload.len(), frame.pts), (170, 7 * 1_024));
        assert_eq!(number_of(&frame.payload), Some(7));
        assert_eq!(number_of(&frame.payload[1..]), None);
        assert_eq!(number_of(&MARK), None, "truncated");
    }

    #[test]
    fn impossible_bit_rates_are_refused() {
        for bitrate in [0, 1_000, 10_000_000] {
            assert!(Sound::new(bitrate).is_err(), "{bitrate}");
        }
    }
}

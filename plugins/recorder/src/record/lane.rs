//! One track of a recording: its clock, and where it stands.

use wasmtx_media::{Codec, Kind, Track};

const SECOND: i64 = 1_000_000;

/// A track that is recorded.
pub(super) struct Lane {
    /// As it stands in the files.
    pub(super) track: Track,
    /// The codec of the stream, where files have another form of it.
    pub(super) coded: Option<Codec>,
    /// Its last frame in this stream.
    pub(super) last: Option<Last>,
    /// A keyframe came since the file could begin; always for sound.
    pub(super) aligned: bool,
    /// The file at hand has this track.
    pub(super) included: bool,
    /// A file was ended so that the next one has it: that happens once.
    pub(super) late: bool,
    /// Decoding time and wall clock of its first frame in this recording, microseconds.
    pub(super) base: Option<(i64, u64)>,
}

/// Where a track stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Last {
    /// Decoding time in ticks, and in microseconds.
    pub(super) dts: i64,
    pub(super) micros: i64,
    /// What the frame before it lasted, in microseconds; 0 is unknown.
    pub(super) step: i64,
}

impl Lane {
    pub(super) fn new(track: Track, coded: Option<Codec>) -> Lane {
        Lane {
            aligned: track.kind != Kind::Video,
            track,
            coded,
            last: None,
            included: true,
            late: false,
            base: None,
        }
    }

    pub(super) fn is_video(&self) -> bool {
        self.track.kind == Kind::Video
    }

    /// Whether a decoder can be told what it needs: parameter sets may come with the stream.
    pub(super) fn is_described(&self) -> bool {
        match &self.track.codec {
            Codec::H264(_) | Codec::H265(_) | Codec::Av1(_) => !self.track.codec.parameters().is_empty(),
            _ => true,
        }
    }

    /// Whether only its first frame tells what the header of an MP4 file says.
    pub(super) fn needs_first(&self) -> bool {
        matches!(
            self.track.codec,
            Codec::Vp9 | Codec::Mjpeg | Codec::Ac3 { .. } | Codec::Mp3 { .. }
        )
    }

    /// Whether it is what another one was: the same track, and nothing that stands in the header of a file is other.
    pub(super) fn goes_on(&self, before: &Lane) -> bool {
        let (track, old) = (&self.track, &before.track);
        // Until its first frame nothing is known of it.
        let unknown = matches!(old.codec, Codec::Mp3 { sample_rate: 0, .. }) && track.codec.same_format(&old.codec);
        track.id == old.id
            && track.clock_rate == old.clock_rate
            && self.coded == before.coded
            && (track.codec == old.codec || unknown)
    }

    /// Ticks to microseconds.
    pub(super) fn micros(&self, ticks: i64) -> i64 {
        scaled(ticks, i64::from(self.track.clock_rate.max(1)), SECOND)
    }

    /// Ticks to nanoseconds.
    pub(super) fn nanos(&self, ticks: i64) -> i64 {
        scaled(ticks, i64::from(self.track.clock_rate.max(1)), 1_000 * SECOND)
    }

    /// Microseconds to ticks, rounded down.
    pub(super) fn ticks(&self, micros: i64) -> i64 {
        scaled(micros, SECOND, i64::from(self.track.clock_rate.max(1)))
    }
}

/// `value * to / from`, rounded down. `from` is at most 2^32, `to` at most 10^9.
fn scaled(value: i64, from: i64, to: i64) -> i64 {
    let whole = value.div_euclid(from).saturating_mul(to);
    whole.saturating_add(value.rem_euclid(from).saturating_mul(to).div_euclid(from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_scaled_without_overflow_and_rounded_down() {
        assert_eq!(scaled(90_001, 90_000, SECOND), 1_000_011);
        assert_eq!(scaled(-1, 90_000, SECOND), -12);
        assert_eq!(scaled(1_000_011, SECOND, 90_000), 90_000);
        assert_eq!(
            scaled(i64::from(u32::MAX), i64::from(u32::MAX), 1_000 * SECOND),
            1_000 * SECOND
        );
        assert_eq!(scaled(i64::MAX, 1, SECOND), i64::MAX);
        assert_eq!(scaled(i64::MIN, 1, SECOND), i64::MIN);
    }
}

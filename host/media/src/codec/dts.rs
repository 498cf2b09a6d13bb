//! Decoding times for streams that carry presentation times only (RTP does).
//!
//! With a reorder depth of D, at most D pictures that come earlier are shown later than a given one. So the time of the
//! picture with the (D+1)-th largest presentation time so far, the given one included, is never later than the given
//! presentation time, and as more pictures come it never decreases. That is the decoding time: exact for every D that the
//! stream declares, without waiting for a picture and with D+1 numbers of memory. Lost pictures only make it smaller.
//!
//! The first D pictures have no such predecessor: the window starts filled with D imaginary ones before the first.

use crate::{Codec, Track};

/// H.264 and H.265 allow no more pictures in the decoder.
const MAX_DEPTH: usize = 16;
/// No encoder is known to reorder further without saying so; a clock that steps back looks like it.
const MAX_LEARNT_DEPTH: usize = 4;

/// Estimates the decoding times of one track.
#[derive(Clone, Debug)]
pub struct Estimator {
    clock_rate: u32,
    /// Ticks between pictures, for the imaginary ones before the first.
    interval: i64,
    /// The D+1 largest presentation times, ascending.
    window: Vec<i64>,
    depth: usize,
    /// Whether the stream said its depth; if not it is learnt from the pictures.
    declared: bool,
    last: Option<i64>,
}

impl Estimator {
    /// For a track with the parameters known now.
    pub fn new(track: &Track) -> Estimator {
        let mut estimator = Estimator {
            clock_rate: track.clock_rate,
            interval: i64::from(track.clock_rate / 30).max(1),
            window: Vec::new(),
            depth: 0,
            declared: true,
            last: None,
        };
        estimator.handle_codec(track);
        estimator
    }

    /// Takes over the reorder depth of new parameters.
    pub fn handle_codec(&mut self, track: &Track) {
        let (declared, frame_rate) = match &track.codec {
            Codec::H264(parameters) => parameters.reordering(),
            Codec::H265(parameters) => parameters.reordering(),
            _ => (Some(0), None),
        };
        if let Some(rate) = frame_rate.filter(|rate| *rate > 0.0) {
            self.interval = ((f64::from(self.clock_rate) / rate) as i64).max(1);
        }
        self.declared = declared.is_some();
        self.set_depth(declared.map_or(self.depth, |depth| depth as usize));
    }

    /// The next picture starts a new sequence of presentation times.
    pub fn restart(&mut self) {
        self.window.clear();
    }

    /// The decoding time of the picture that is next in decoding order. Never decreases; not later than `pts`, except for
    /// leading pictures of a stream that was joined in its middle and while an undeclared depth is being learnt.
    pub fn estimate(&mut self, pts: i64) -> i64 {
        if self.window.is_empty() {
            let depth = self.depth as i64;
            self.window.extend(
                (1..=depth)
                    .rev()
                    .map(|back| pts.saturating_sub(back.saturating_mul(self.interval))),
            );
        }
        let at = self.window.partition_point(|other| *other <= pts);
        if !self.declared && self.window.len() - at > self.depth {
            self.set_depth((self.window.len() - at).min(MAX_LEARNT_DEPTH));
        }
        self.window.insert(at, pts);
        if self.window.len() > self.depth + 1 {
            self.window.remove(0);
        }
        let oldest = self.window.first().copied().unwrap_or(pts);
        let dts = self.last.map_or(oldest, |last| last.max(oldest));
        self.last = Some(dts);
        dts
    }

    fn set_depth(&mut self, depth: usize) {
        self.depth = depth.min(MAX_DEPTH);
        let surplus = self.window.len().saturating_sub(self.depth + 1);
        self.window.drain(..surplus);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::h264;
    use crate::{Kind, TrackId};

    fn estimator(depth: Option<usize>) -> Estimator {
        let codec = Codec::H264(h264::Parameters::default());
        let track = Track {
            id: TrackId(0),
            kind: Kind::Video,
            codec,
            clock_rate: 90_000,
            extra: vec![],
            derived: None,
        };
        let mut estimator = Estimator::new(&track);
        estimator.interval = 1;
        estimator.declared = depth.is_some();
        estimator.set_depth(depth.unwrap_or(0));
        estimator
    }

    /// Two groups of a pyramid of three B-frames, in decoding order.
    const PYRAMID: [i64; 9] = [0, 4, 2, 1, 3, 8, 6, 5, 7];

    #[test]
    fn a_declared_depth_gives_exact_times_from_the_first_picture_on() {
        let mut estimator = estimator(Some(2));
        let dts: Vec<i64> = PYRAMID.iter().map(|pts| estimator.estimate(*pts)).collect();
        assert_eq!(dts, [-2, -1, 0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn without_reordering_both_times_are_equal() {
        let mut estimator = estimator(Some(0));
        for pts in [5, 10, 20, 25] {
            assert_eq!(estimator.estimate(pts), pts);
        }
    }

    #[test]
    fn any_loss_keeps_the_times_rising_and_before_presentation() {
        for mask in 0u32..512 {
            let mut estimator = estimator(Some(2));
            let mut last = i64::MIN;
            for (index, pts) in PYRAMID.iter().enumerate().filter(|(index, _)| mask >> index & 1 == 1) {
                let dts = estimator.estimate(*pts);
                assert!(
                    dts >= last && (dts <= *pts || mask & 1 == 0),
                    "mask {mask:b}, picture {index}"
                );
                last = dts;
            }
        }
    }

    #[test]
    fn an_undeclared_depth_is_learnt_within_the_first_group() {
        let mut estimator = estimator(None);
        let dts: Vec<i64> = PYRAMID.iter().map(|pts| estimator.estimate(*pts)).collect();
        assert!(dts.is_sorted(), "{dts:?}");
        assert_eq!(estimator.depth, 2);
        for (pts, dts) in PYRAMID.iter().zip(dts).skip(5) {
            assert!(dts <= *pts);
        }
    }

    #[test]
    fn a_restart_never_goes_back() {
        let mut estimator = estimator(Some(2));
        let before = estimator.estimate(100);
        estimator.restart();
        assert!(estimator.estimate(3) >= before);
    }
}

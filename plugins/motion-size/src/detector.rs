//! Motion from the sizes of pictures: what moves takes more bytes than what stands still.

/// When it is motion.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Thresholds {
    /// Times the usual size.
    pub(crate) factor: f64,
    /// So many pictures of the last [`WINDOW`] must be larger.
    pub(crate) pictures: u32,
    /// Seconds without a large one until it is over.
    pub(crate) hold: f64,
    /// Seconds until the usual size has followed by two thirds.
    pub(crate) memory: f64,
}

/// Pictures that are looked at together.
pub(crate) const WINDOW: u32 = 16;
/// Pictures before anything is said.
const WARM_UP: u32 = 50;
/// While there is motion the usual size follows so much more slowly: what goes on for ever is usual after all.
const IN_MOTION: f64 = 0.1;
/// A step in time longer than this is a jump.
const LONGEST_STEP: f64 = 10.0;

/// One track.
pub(crate) struct Detector {
    thresholds: Thresholds,
    usual: f64,
    seen: u32,
    /// A bit for each of the last pictures: was it large?
    large: u16,
    last: Option<f64>,
    motion: Option<Motion>,
}

struct Motion {
    begun: f64,
    /// When a picture was large last.
    last: f64,
    /// The largest score so far.
    peak: f64,
}

/// Something began or ended.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Change {
    Begun { score: f64 },
    Over { seconds: f64, peak: f64 },
}

impl Detector {
    pub(crate) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            usual: 0.0,
            seen: 0,
            large: 0,
            last: None,
            motion: None,
        }
    }

    /// A picture that is no keyframe, at a time in seconds. Answers how many times the usual size it has, and what that means.
    pub(crate) fn add(&mut self, time: f64, size: u32) -> (f64, Option<Change>) {
        let size = f64::from(size);
        let step = self.last.map_or(0.0, |last| time - last);
        self.last = Some(time);
        if !(0.0..LONGEST_STEP).contains(&step) {
            return (0.0, self.forget());
        }
        self.seen = self.seen.saturating_add(1);
        if self.seen <= WARM_UP {
            // The mean of what was seen so far.
            self.usual += (size - self.usual) / f64::from(self.seen);
            return (0.0, None);
        }
        // A scene that stands quite still has pictures of some bytes, of which twice as many mean nothing.
        let score = size / self.usual.max(1.0);
        let is_large = score >= self.thresholds.factor;
        self.large = self.large << 1 | u16::from(is_large);
        let pace = if self.motion.is_some() { IN_MOTION } else { 1.0 };
        let weight = 1.0 - (-step * pace / self.thresholds.memory).exp();
        // One huge picture does not move it far.
        self.usual += (size.min(self.usual * self.thresholds.factor * 2.0) - self.usual) * weight;
        (score, self.judge(time, score, is_large))
    }

    fn judge(&mut self, time: f64, score: f64, is_large: bool) -> Option<Change> {
        match &mut self.motion {
            None if self.large.count_ones() >= self.thresholds.pictures => {
                self.motion = Some(Motion {
                    begun: time,
                    last: time,
                    peak: score,
                });
                Some(Change::Begun { score })
            }
            None => None,
            Some(motion) => {
                motion.peak = motion.peak.max(score);
                if is_large {
                    motion.last = time;
                }
                if time - motion.last < self.thresholds.hold {
                    return None;
                }
                self.end()
            }
        }
    }

    /// The stream ends, or goes on elsewhere.
    pub(crate) fn end(&mut self) -> Option<Change> {
        self.large = 0;
        let motion = self.motion.take()?;
        Some(Change::Over {
            seconds: motion.last - motion.begun,
            peak: motion.peak,
        })
    }

    fn forget(&mut self) -> Option<Change> {
        (self.usual, self.seen) = (0.0, 0);
        self.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THRESHOLDS: Thresholds = Thresholds {
        factor: 2.0,
        pictures: 3,
        hold: 2.0,
        memory: 30.0,
    };

    /// Feeds pictures at 25 a second; answers the numbers of those at which something changed.
    fn feed(detector: &mut Detector, from: u32, sizes: impl IntoIterator<Item = u32>) -> Vec<(u32, Change)> {
        let pictures = sizes.into_iter().zip(from..);
        pictures
            .filter_map(|(size, number)| Some((number, detector.add(f64::from(number) / 25.0, size).1?)))
            .collect()
    }

    fn still() -> Detector {
        let mut detector = Detector::new(THRESHOLDS);
        assert_eq!(feed(&mut detector, 0, [1_000; 500]), []);
        detector
    }

    #[test]
    fn what_stands_still_is_no_motion_and_noise_is_none_either() {
        let mut detector = still();
        let noise = (0..5_000u32).map(|number| 700 + number * 7_919 % 601);
        assert_eq!(feed(&mut detector, 500, noise), []);
    }

    #[test]
    fn several_large_pictures_are_motion_until_there_were_none_for_a_while() {
        let mut detector = still();
        let sizes = [[4_000; 50], [1_000; 50], [1_000; 50]].concat();
        let changes = feed(&mut detector, 500, sizes);
        let [(begun, Change::Begun { score }), (over, Change::Over { seconds, peak })] = changes[..] else {
            panic!("{changes:?}")
        };
        assert_eq!(
            (begun, over),
            (502, 599),
            "the third large one, and two seconds after the last"
        );
        assert!(
            (3.5..4.1).contains(&score) && peak >= score && (1.8..2.0).contains(&seconds),
            "{changes:?}"
        );
        assert!(detector.motion.is_none());
    }

    #[test]
    fn one_large_picture_is_no_motion() {
        let mut detector = still();
        let sizes = (0..1_000).map(|number| if number % 20 == 0 { 50_000 } else { 1_000 });
        assert_eq!(feed(&mut detector, 500, sizes), []);
    }

    #[test]
    fn what_goes_on_for_ever_becomes_usual() {
        let mut detector = still();
        let changes = feed(&mut detector, 500, vec![3_000; 25 * 600]);
        assert_eq!(changes.len(), 2, "{changes:?}");
    }

    #[test]
    fn after_a_jump_in_time_it_learns_anew() {
        let mut detector = still();
        feed(&mut detector, 500, [4_000; 10]);
        assert!(detector.motion.is_some());
        let changes = feed(&mut detector, 100_000, [4_000; 500]);
        assert!(matches!(changes[..], [(100_000, Change::Over { .. })]), "{changes:?}");
        assert_eq!(feed(&mut detector, 3, [9_000; 40]), [], "also when it runs backwards");
    }

    #[test]
    fn no_size_and_no_time_is_too_strange() {
        let mut detector = Detector::new(THRESHOLDS);
        for (time, size) in [
            (0.0, 0),
            (f64::MAX, u32::MAX),
            (f64::MIN, 0),
            (f64::NAN, 7),
            (1.0, u32::MAX),
            (1.0, 0),
        ] {
            let (score, _) = detector.add(time, size);
            assert!(score.is_finite());
        }
        assert_eq!(feed(&mut detector, 1, [0; 500]), []);
    }
}

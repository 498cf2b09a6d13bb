//! What is known of one track, from the sizes and times of its frames.

use wasmtx_plugin::{FrameInfo, Media, Track};

/// Sums over the present interval, and what was seen of groups of pictures.
pub(crate) struct Figures {
    pub(crate) name: String,
    pub(crate) is_video: bool,
    clock_rate: f64,
    bytes: u64,
    frames: u64,
    /// Decoding times of the first frame of the interval and of the last of all.
    first: Option<i64>,
    last: Option<i64>,
    /// Of the last keyframe: its decoding time, and how many frames came since, itself included.
    keyframe: Option<i64>,
    since_keyframe: u64,
    group: Option<Group>,
    pub(crate) gaps: u64,
}

/// The last whole group of pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Group {
    pub(crate) frames: u64,
    pub(crate) seconds: f64,
}

/// What the interval was like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Rates {
    pub(crate) bits: f64,
    pub(crate) frames: f64,
    pub(crate) group: Option<Group>,
}

/// Times further apart than this are not of one run of a stream.
const LONGEST_STEP: f64 = 60.0;

impl Figures {
    pub(crate) fn new(track: &Track) -> Self {
        Self {
            name: format!("{}{}", track.media.name(), track.id),
            is_video: track.media == Media::Video,
            clock_rate: f64::from(track.clock_rate.max(1)),
            bytes: 0,
            frames: 0,
            first: None,
            last: None,
            keyframe: None,
            since_keyframe: 0,
            group: None,
            gaps: 0,
        }
    }

    pub(crate) fn add(&mut self, frame: &FrameInfo) {
        let step = self.last.map(|last| self.seconds(last, frame.dts));
        let broken = step.is_some_and(|step| !(0.0..LONGEST_STEP).contains(&step));
        if frame.is_discontinuous() || broken {
            self.gaps += 1;
            self.keyframe = None;
        }
        if broken {
            // Rates over the jump would be nonsense.
            (self.bytes, self.frames, self.first) = (0, 0, None);
        }
        if frame.is_key() && self.is_video {
            if let Some(before) = self.keyframe {
                let seconds = self.seconds(before, frame.dts);
                self.group = Some(Group {
                    frames: self.since_keyframe,
                    seconds,
                });
            }
            self.keyframe = Some(frame.dts);
            self.since_keyframe = 0;
        }
        self.since_keyframe += 1;
        self.first.get_or_insert(frame.dts);
        self.last = Some(frame.dts);
        self.bytes += u64::from(frame.size);
        self.frames += 1;
    }

    /// How much time of the stream the interval holds so far.
    pub(crate) fn held(&self) -> f64 {
        match (self.first, self.last) {
            (Some(first), Some(last)) => self.seconds(first, last),
            _ => 0.0,
        }
    }

    /// Ends the interval. By the stream's own time, so that it does not matter how it comes: a second's worth at once is a second's worth.
    pub(crate) fn take(&mut self) -> Rates {
        // From the first frame to the last it is one step less than there are frames.
        let steps = self.frames.saturating_sub(1);
        let seconds = if steps == 0 {
            0.0
        } else {
            self.held() * self.frames as f64 / steps as f64
        };
        let rate = |sum: u64| if seconds > 0.0 { sum as f64 / seconds } else { 0.0 };
        let rates = Rates {
            bits: rate(self.bytes * 8),
            frames: rate(self.frames),
            group: self.group,
        };
        (self.bytes, self.frames, self.first) = (0, 0, None);
        rates
    }

    fn seconds(&self, from: i64, to: i64) -> f64 {
        to.saturating_sub(from) as f64 / self.clock_rate
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtx_plugin::testing::{delta, h264, key};

    /// So many pictures at 25 a second, a keyframe each `interval`.
    fn fed(count: u64, interval: u64, size: u32) -> Figures {
        let mut figures = Figures::new(&h264(1));
        for number in 0..count {
            let mut info = if number % interval == 0 {
                key(1, number)
            } else {
                delta(1, number)
            };
            info.size = size;
            figures.add(&info);
        }
        figures
    }

    #[test]
    fn rates_are_those_of_the_streams_own_time() {
        let mut figures = fed(100, 50, 1_000);
        let Rates { bits, frames, group } = figures.take();
        assert!((bits - 200_000.0).abs() < 1.0, "{bits}");
        assert!((frames - 25.0).abs() < 0.001, "{frames}");
        assert_eq!(
            group,
            Some(Group {
                frames: 50,
                seconds: 2.0
            })
        );
        assert_eq!(figures.take().bits, 0.0, "the next interval begins with nothing");
    }

    #[test]
    fn one_frame_has_no_rate() {
        let rates = fed(1, 1, 1_000).take();
        assert_eq!((rates.bits, rates.frames, rates.group), (0.0, 0.0, None));
    }

    #[test]
    fn a_group_with_a_gap_in_it_is_none() {
        let mut figures = Figures::new(&h264(1));
        figures.add(&key(1, 0));
        let mut after = delta(1, 5);
        after.flags |= 1 << 1;
        figures.add(&after);
        figures.add(&key(1, 10));
        assert_eq!((figures.take().group, figures.gaps), (None, 1));
        figures.add(&key(1, 20));
        assert_eq!(figures.take().group.map(|group| group.frames), Some(1));
    }

    #[test]
    fn a_jump_in_time_makes_no_rate() {
        for jump in [-1_000_000, i64::MIN, i64::MAX, 90_000 * 61] {
            let mut figures = fed(10, 5, 1_000);
            let mut info = delta(1, 10);
            info.dts = jump;
            figures.add(&info);
            let rates = figures.take();
            assert!(rates.bits.is_finite() && rates.bits == 0.0, "{jump}: {}", rates.bits);
            assert_eq!(figures.gaps, 1);
        }
    }
}

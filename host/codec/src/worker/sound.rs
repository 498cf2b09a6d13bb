//! Decoded sound between two pieces of FFmpeg: a queue of samples per channel, and what the clock wants done to them.

/// Sound beyond full scale is played cut off; what is far beyond was never sound.
const LOUDEST: f32 = 4.0;

/// Samples as numbers around ±1, one row per channel, all of one length.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sound {
    channels: Vec<Vec<f32>>,
}

impl Sound {
    pub(crate) fn new(channels: usize) -> Sound {
        Sound {
            channels: vec![Vec::new(); channels],
        }
    }

    /// The rows of all channels. They have one length.
    pub(crate) fn of(channels: Vec<Vec<f32>>) -> Sound {
        debug_assert!(channels.windows(2).all(|pair| pair[0].len() == pair[1].len()));
        Sound { channels }
    }

    /// The same for samples that FFmpeg decoded: of a damaged packet they may be anything, and an encoder that gets what is no
    /// number refuses everything that follows.
    pub(crate) fn decoded(mut channels: Vec<Vec<f32>>) -> Sound {
        for sample in channels.iter_mut().flatten() {
            *sample = if sample.is_nan() {
                0.0
            } else {
                sample.clamp(-LOUDEST, LOUDEST)
            };
        }
        Sound::of(channels)
    }

    /// Samples in each channel.
    pub(crate) fn len(&self) -> usize {
        self.channels.first().map_or(0, Vec::len)
    }

    pub(crate) fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    /// Puts another's samples behind these.
    pub(crate) fn append(&mut self, other: &Sound) {
        for (row, more) in self.channels.iter_mut().zip(&other.channels) {
            row.extend_from_slice(more);
        }
    }

    pub(crate) fn append_silence(&mut self, samples: usize) {
        for row in &mut self.channels {
            row.resize(row.len() + samples, 0.0);
        }
    }

    /// Takes so many samples from the front, as many as there are at most.
    pub(crate) fn take(&mut self, samples: usize) -> Sound {
        let samples = samples.min(self.len());
        Sound {
            channels: self
                .channels
                .iter_mut()
                .map(|row| row.drain(..samples).collect())
                .collect(),
        }
    }

    /// As many channels as asked for: a single one is heard on both sides.
    pub(crate) fn spread(mut self, channels: usize) -> Sound {
        if let [mono] = &self.channels[..] {
            let (mono, silence) = (mono.clone(), vec![0.0; mono.len()]);
            for channel in 1..channels {
                self.channels
                    .push(if channel == 1 { mono.clone() } else { silence.clone() });
            }
        }
        self
    }

    /// Doubles one sample, or leaves one out, where the sound moves least: there nobody hears it.
    pub(crate) fn adjust(&mut self, by: i8) {
        let step = |at: usize| -> f32 { self.channels.iter().map(|row| (row[at + 1] - row[at]).abs()).sum() };
        let steps = 0..self.len().saturating_sub(1);
        let Some(calmest) = steps.min_by(|a, b| step(*a).total_cmp(&step(*b))) else {
            return;
        };
        for row in &mut self.channels {
            if by > 0 {
                row.insert(calmest, row[calmest]);
            } else if by < 0 {
                row.remove(calmest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_come_out_in_the_order_in_which_they_went_in() {
        let mut sound = Sound::new(2);
        sound.append(&Sound::of(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
        sound.append_silence(1);
        assert_eq!(sound.take(1), Sound::of(vec![vec![1.0], vec![3.0]]));
        assert_eq!(sound.take(9), Sound::of(vec![vec![2.0, 0.0], vec![4.0, 0.0]]));
        assert_eq!(sound.len(), 0);
    }

    #[test]
    fn what_is_no_sound_becomes_none() {
        let sound = Sound::decoded(vec![vec![f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 1e30, -1.5]]);
        assert_eq!(sound.channels(), [[0.0, 4.0, -4.0, 4.0, -1.5]]);
    }

    #[test]
    fn one_channel_is_heard_on_both_sides() {
        let rows = |channels| Sound::of(vec![vec![1.0]]).spread(channels).channels().to_vec();
        assert_eq!(rows(1), [[1.0]]);
        assert_eq!(rows(2), [[1.0], [1.0]]);
        assert_eq!(rows(3), [[1.0], [1.0], [0.0]]);
    }

    #[test]
    fn a_sample_more_or_less_goes_where_the_sound_moves_least() {
        let quiet = || Sound::of(vec![vec![0.0, 0.5, 0.6, 0.0]]);
        let mut sound = quiet();
        sound.adjust(1);
        assert_eq!(sound.channels(), [[0.0, 0.5, 0.5, 0.6, 0.0]]);
        let mut sound = quiet();
        sound.adjust(-1);
        assert_eq!(sound.channels(), [[0.0, 0.6, 0.0]]);
        let mut single = Sound::of(vec![vec![1.0]]);
        single.adjust(-1);
        assert_eq!(single.len(), 1);
    }
}

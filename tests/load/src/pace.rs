//! When a clip's frames are sent: each at its time, or all of a fifth of a second at once, as many cameras and encoders do.

use std::time::Duration;

/// From one burst to the next.
const BURST_INTERVAL: Duration = Duration::from_millis(200);

/// How frames are spread over time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Pace {
    /// By their decoding times.
    #[default]
    Steady,
    /// Five times a second, all that came up since.
    Bursty,
}

/// A frame of a stream, by its number on its track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Picture(u32),
    Sound(u32),
}

/// The order in which pictures and sound are sent, without an end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pace: Pace,
    /// Between two pictures, and between two frames of sound if there are any.
    intervals: (Duration, Option<Duration>),
    pictures: u32,
    sounds: u32,
}

impl Schedule {
    /// From the beginning.
    pub(crate) fn new(pace: Pace, picture: Duration, sound: Option<Duration>) -> Schedule {
        Schedule {
            pace,
            intervals: (picture, sound),
            pictures: 0,
            sounds: 0,
        }
    }

    /// The next frame, and when after the beginning it is sent.
    pub(crate) fn peek(&self) -> (Item, Duration) {
        let picture = self.intervals.0 * self.pictures;
        let sound = self.intervals.1.map(|interval| interval * self.sounds);
        let (item, time) = match sound {
            Some(sound) if sound < picture => (Item::Sound(self.sounds), sound),
            _ => (Item::Picture(self.pictures), picture),
        };
        let due = match self.pace {
            Pace::Steady => time,
            Pace::Bursty => {
                let bursts = time.as_nanos().div_ceil(BURST_INTERVAL.as_nanos());
                BURST_INTERVAL * u32::try_from(bursts).unwrap_or(u32::MAX)
            }
        };
        (item, due)
    }

    /// Goes on to the one behind it.
    pub(crate) fn advance(&mut self) {
        match self.peek().0 {
            Item::Picture(_) => self.pictures += 1,
            Item::Sound(_) => self.sounds += 1,
        }
    }

    /// Pictures that were passed.
    pub(crate) fn pictures(&self) -> u32 {
        self.pictures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(pace: Pace, sound: Option<u64>, count: usize) -> Vec<(Item, u128)> {
        let mut schedule = Schedule::new(pace, Duration::from_millis(40), sound.map(Duration::from_millis));
        let next = || {
            let (item, due) = schedule.peek();
            schedule.advance();
            (item, due.as_millis())
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    #[test]
    fn pictures_and_sound_take_turns_by_their_times() {
        use Item::{Picture, Sound};
        let expected = [
            (Picture(0), 0),
            (Sound(0), 0),
            (Sound(1), 25),
            (Picture(1), 40),
            (Sound(2), 50),
            (Sound(3), 75),
            (Picture(2), 80),
        ];
        assert_eq!(first(Pace::Steady, Some(25), 7), expected);
        assert_eq!(first(Pace::Steady, None, 2), [(Picture(0), 0), (Picture(1), 40)]);
    }

    #[test]
    fn a_burst_holds_all_that_came_up_since_the_last_one() {
        let dues: Vec<u128> = first(Pace::Bursty, Some(25), 40).iter().map(|(_, due)| *due).collect();
        assert_eq!(&dues[..2], [0, 0]);
        // Five pictures and eight frames of sound.
        assert!(dues[2..15].iter().all(|due| *due == 200), "{dues:?}");
        assert!(dues[15..28].iter().all(|due| *due == 400), "{dues:?}");
    }
}

//! Acknowledgements: a side that was sent a window of bytes tells the other one how much came (RTMP 1.0 section 5.4.3).

/// What each side lets the other send before it wants to hear of it.
pub(super) const WINDOW: u32 = 2_500_000;

/// When the peer is told.
#[derive(Clone, Debug)]
pub(super) struct Acknowledgements {
    window: u64,
    told: u64,
}

impl Default for Acknowledgements {
    fn default() -> Acknowledgements {
        Acknowledgements {
            window: WINDOW.into(),
            told: 0,
        }
    }
}

impl Acknowledgements {
    /// The peer names its window.
    pub(super) fn resize(&mut self, window: u32) {
        self.window = u64::from(window).max(1);
    }

    /// The number to tell when a window is full: the total, which wraps.
    pub(super) fn due(&mut self, consumed: u64) -> Option<u32> {
        if consumed.saturating_sub(self.told) < self.window {
            return None;
        }
        self.told = consumed;
        Some(u32::try_from(consumed & u64::from(u32::MAX)).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_full_window_is_told_once() {
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.resize(100);
        let told: Vec<_> = [0, 99, 100, 150, 199, 500, 501]
            .into_iter()
            .filter_map(|consumed| acknowledgements.due(consumed))
            .collect();
        assert_eq!(told, [100, 500]);
    }

    #[test]
    fn the_total_wraps_at_32_bits() {
        let mut acknowledgements = Acknowledgements::default();
        assert_eq!(acknowledgements.due((1 << 32) + 7), Some(7));
    }

    #[test]
    fn a_window_of_nothing_is_one_byte() {
        let mut acknowledgements = Acknowledgements::default();
        acknowledgements.resize(0);
        assert_eq!((acknowledgements.due(0), acknowledgements.due(1)), (None, Some(1)));
    }
}

//! Numbers that should come once each and in order: what came, what did not, what came twice.

/// How far back a number is still told apart: a duplicate or one that comes late.
const WINDOW: u64 = 1_024;

/// Follows one sequence of rising numbers.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    /// The first number that came, `None` before it.
    first: Option<u64>,
    /// One above the highest number that came.
    next: u64,
    received: u64,
    duplicated: u64,
    late: u64,
    /// A bit per number of the window, at the number modulo its size.
    seen: [u64; (WINDOW / 64) as usize],
}

/// What a [`Sequence`] saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Numbers from the first to the last, both included.
    pub(crate) expected: u64,
    /// Numbers that came, each counted once.
    pub(crate) received: u64,
    /// Numbers that never came.
    pub(crate) lost: u64,
    /// Numbers that came again.
    pub(crate) duplicated: u64,
    /// Numbers that came after a higher one.
    pub(crate) out_of_order: u64,
}

impl Counts {
    /// Both together.
    pub(crate) fn add(&mut self, other: Counts) {
        self.expected += other.expected;
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
    }
}

impl Sequence {
    /// Nothing came yet.
    pub(crate) fn new() -> Sequence {
        Sequence {
            first: None,
            next: 0,
            received: 0,
            duplicated: 0,
            late: 0,
            seen: [0; (WINDOW / 64) as usize],
        }
    }

    /// A number came. Answers how many are missing between it and the highest before it.
    pub(crate) fn note(&mut self, number: u64) -> u64 {
        let Some(first) = self.first else {
            self.first = Some(number);
            self.next = number + 1;
            self.received = 1;
            self.mark(number);
            return 0;
        };
        if number >= self.next {
            let skipped = number - self.next;
            for missing in self.next.max(number.saturating_sub(WINDOW))..number {
                self.clear(missing);
            }
            self.next = number + 1;
            self.received += 1;
            self.mark(number);
            return skipped;
        }
        if number < first {
            // From before we listened: no loss would have been counted for it.
            self.late += 1;
        } else if self.next - number > WINDOW || self.is_marked(number) {
            self.duplicated += 1;
        } else {
            self.late += 1;
            self.received += 1;
            self.mark(number);
        }
        0
    }

    /// Takes a 16-bit number that wraps, as RTP's, as the nearest to those before it.
    pub(crate) fn note_wrapping(&mut self, number: u16) -> u64 {
        let full = match self.first {
            // High enough that an early reordering does not go below zero.
            None => (1 << 32) + u64::from(number),
            Some(_) => {
                let highest = self.next - 1;
                let distance = number.wrapping_sub(highest as u16) as i16;
                highest.wrapping_add_signed(i64::from(distance))
            }
        };
        self.note(full)
    }

    /// One above the highest number that came; `None` before the first.
    pub(crate) fn next(&self) -> Option<u64> {
        self.first.map(|_| self.next)
    }

    /// What was seen, when the last number sent was just below `end`. `None`: just what came.
    pub(crate) fn counts(&self, end: Option<u64>) -> Counts {
        let Some(first) = self.first else {
            return Counts::default();
        };
        let expected = self.next.max(end.unwrap_or(0)) - first;
        Counts {
            expected,
            received: self.received,
            lost: expected - self.received,
            duplicated: self.duplicated,
            out_of_order: self.late,
        }
    }

    fn mark(&mut self, number: u64) {
        self.seen[(number % WINDOW / 64) as usize] |= 1 << (number % 64);
    }

    fn clear(&mut self, number: u64) {
        self.seen[(number % WINDOW / 64) as usize] &= !(1 << (number % 64));
    }

    fn is_marked(&self, number: u64) -> bool {
        self.seen[(number % WINDOW / 64) as usize] & 1 << (number % 64) != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(numbers: &[u64], end: Option<u64>, counts: (u64, u64, u64, u64, u64)) {
        let mut sequence = Sequence::new();
        for number in numbers {
            sequence.note(*number);
        }
        let (expected, received, lost, duplicated, out_of_order) = counts;
        assert_eq!(
            sequence.counts(end),
            Counts {
                expected,
                received,
                lost,
                duplicated,
                out_of_order
            },
            "{numbers:?}"
        );
    }

    #[test]
    fn all_in_order_is_no_loss_wherever_it_starts() {
        check(&[5, 6, 7, 8], None, (4, 4, 0, 0, 0));
    }

    #[test]
    fn a_gap_is_a_loss() {
        check(&[0, 1, 4], None, (5, 3, 2, 0, 0));
    }

    #[test]
    fn what_is_missing_at_the_end_is_a_loss_too() {
        check(&[0, 1, 2], Some(5), (5, 3, 2, 0, 0));
    }

    #[test]
    fn a_number_that_comes_late_is_out_of_order_and_not_lost() {
        check(&[0, 2, 1, 3], None, (4, 4, 0, 0, 1));
    }

    #[test]
    fn a_number_that_comes_again_is_a_duplicate() {
        check(&[0, 1, 1, 2, 0], None, (3, 3, 0, 2, 0));
    }

    #[test]
    fn a_number_from_before_the_first_is_out_of_order_and_fills_no_gap() {
        check(&[5, 4, 6], None, (2, 2, 0, 0, 1));
    }

    #[test]
    fn a_jump_beyond_the_window_forgets_what_was_seen_before() {
        check(&[0, 5_000, 4_999], None, (5_001, 3, 4_998, 0, 1));
        check(&[0, 1, 5_000, 1], None, (5_001, 3, 4_998, 1, 0));
    }

    #[test]
    fn nothing_is_expected_before_the_first() {
        check(&[], Some(9), (0, 0, 0, 0, 0));
    }

    #[test]
    fn sixteen_bit_numbers_wrap_without_a_loss() {
        let mut sequence = Sequence::new();
        for number in [65_533u16, 65_534, 0, 65_535, 1] {
            sequence.note_wrapping(number);
        }
        assert_eq!(
            sequence.counts(None),
            Counts {
                expected: 5,
                received: 5,
                lost: 0,
                duplicated: 0,
                out_of_order: 1
            }
        );
    }

    #[test]
    fn a_sixteen_bit_sequence_may_start_with_a_reordering_at_zero() {
        let mut sequence = Sequence::new();
        assert_eq!(sequence.note_wrapping(0), 0);
        assert_eq!(sequence.note_wrapping(65_535), 0);
        assert_eq!(sequence.counts(None).out_of_order, 1);
    }
}

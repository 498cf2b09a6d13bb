//! Which calls are timed: two looks at the clock cost a quarter of a call, so one call in 16 stands for all.

/// Chooses calls. The distance varies, so that a guest cannot be quick whenever it is measured.
#[derive(Debug)]
pub(crate) struct Sampler {
    random: u32,
    left: u32,
    distance: u32,
}

impl Sampler {
    pub(crate) fn new(seed: u32) -> Sampler {
        Sampler {
            random: seed | 1,
            left: 1,
            distance: 1,
        }
    }

    /// Whether to time this call, and for how many it stands.
    #[inline]
    pub(crate) fn due(&mut self) -> Option<u32> {
        self.left -= 1;
        if self.left > 0 {
            return None;
        }
        let stands_for = self.distance;
        self.distance = 1 + self.random() % 31;
        self.left = self.distance;
        Some(stands_for)
    }

    /// Times the next call as well: after a slow one, it matters whether they all are.
    pub(crate) fn again(&mut self) {
        (self.left, self.distance) = (1, 1);
    }

    /// Any number (Marsaglia's xorshift): enough to spread things, nothing for secrets.
    pub(crate) fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_in_sixteen_is_timed_and_stands_for_the_others() {
        let mut sampler = Sampler::new(7);
        let calls = 160_000u32;
        let due: Vec<_> = (0..calls).filter_map(|_| sampler.due()).collect();
        let mean = calls as usize / due.len();
        assert!((15..=17).contains(&mean), "{mean}");
        let stood_for: u32 = due.iter().sum();
        assert!(stood_for.abs_diff(calls) <= 31);
    }
}

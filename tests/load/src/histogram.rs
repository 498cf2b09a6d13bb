//! Durations by size, in buckets of about three per cent: a million latencies in 16 KiB.

use std::time::Duration;

/// Buckets per doubling.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = ((64 - STEP_BITS as usize) + 1) * STEPS as usize;

/// Counts durations.
#[derive(Clone)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    max: u64,
}

impl Histogram {
    /// Nothing counted.
    pub(crate) fn new() -> Histogram {
        Histogram {
            buckets: vec![0; BUCKETS].into_boxed_slice(),
            count: 0,
            max: 0,
        }
    }

    /// Counts one.
    pub(crate) fn add(&mut self, nanos: u64) {
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    /// Counts all of another one.
    pub(crate) fn merge(&mut self, other: &Histogram) {
        self.buckets
            .iter_mut()
            .zip(&other.buckets)
            .for_each(|(mine, more)| *mine += more);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    /// How many were counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub(crate) fn max(&self) -> Option<Duration> {
        (self.count > 0).then(|| Duration::from_nanos(self.max))
    }

    /// The duration that `share` (0 to 1) of all do not exceed, rounded up to its bucket.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut below = 0;
        for (bucket, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return Some(Duration::from_nanos(ceiling(bucket).min(self.max)));
            }
        }
        None
    }
}

/// Values below [`STEPS`] have a bucket each; above, the highest bits behind the leading one choose.
fn bucket(nanos: u64) -> usize {
    if nanos < STEPS {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - STEP_BITS;
    (u64::from(shift) * STEPS + (nanos >> shift)) as usize
}

/// The largest value of a bucket.
fn ceiling(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * STEPS {
        return bucket;
    }
    let shift = bucket / STEPS - 1;
    let mantissa = bucket - shift * STEPS;
    ((u128::from(mantissa) + 1) << shift)
        .saturating_sub(1)
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_never_more_than_a_thirtieth_too_high() {
        for nanos in (0..2_000).chain([1 << 20, (1 << 20) - 1, 999_999_937, u64::MAX / 3, u64::MAX]) {
            let top = ceiling(bucket(nanos));
            assert!(top >= nanos && top - nanos <= nanos / 30, "{nanos} is counted as {top}");
        }
    }

    #[test]
    fn quantiles_are_ranks_among_all_that_were_counted() {
        let mut low = Histogram::new();
        let mut high = Histogram::new();
        (1..=98).for_each(|_| low.add(10));
        high.add(20);
        high.add(1_000);
        low.merge(&high);
        let at = |share| low.quantile(share).unwrap().as_nanos();
        assert_eq!((at(0.5), at(0.98), at(0.99), at(1.0)), (10, 10, 20, 1_000));
        assert_eq!((low.count(), low.max()), (100, Some(Duration::from_nanos(1_000))));
    }

    #[test]
    fn without_a_value_there_is_no_quantile() {
        assert_eq!((Histogram::new().quantile(0.5), Histogram::new().max()), (None, None));
    }
}

//! How long calls take, in buckets: what an average hides is what a plugin's author wants to know.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// Upper ends of the buckets, in nanoseconds: 1, 2, 5 and so on, from half a microsecond to five seconds. What took longer
/// is only in the count.
pub(crate) const BOUNDS: [u64; 22] = [
    500,
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
];

/// Counts calls by their time.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    /// Calls in each bucket alone.
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanos: AtomicU64,
}

impl Histogram {
    pub(crate) fn observe(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < nanos);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Relaxed);
        }
        self.count.fetch_add(1, Relaxed);
        self.nanos.fetch_add(nanos, Relaxed);
    }

    pub(crate) fn read(&self) -> Times {
        let mut below = 0;
        let buckets = BOUNDS.iter().zip(&self.buckets).map(|(bound, bucket)| {
            below += bucket.load(Relaxed);
            (Duration::from_nanos(*bound), below)
        });
        Times {
            buckets: buckets.collect(),
            count: self.count.load(Relaxed),
            sum: Duration::from_nanos(self.nanos.load(Relaxed)),
        }
    }
}

/// The times of calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// How many calls took at most so long, for growing times.
    pub buckets: Vec<(Duration, u64)>,
    /// Calls whose time was taken.
    pub count: u64,
    /// Their time together.
    pub sum: Duration,
}

impl Times {
    /// A time that `share` of the calls did not exceed, as exact as the buckets are: 0.99 for the 99th percentile. `None`
    /// without calls, or when it lies beyond the last bucket.
    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let wanted = self.count as f64 * share;
        let found = self.buckets.iter().find(|(_, below)| *below as f64 >= wanted)?;
        (self.count > 0).then_some(found.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_the_bucket_that_just_holds_them() {
        let histogram = Histogram::default();
        for micros in [0, 1, 2, 3, 400, 10_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let times = histogram.read();
        assert_eq!((times.count, times.sum), (6, Duration::from_micros(10_000_406)));
        let below = |micros| {
            let wanted = Duration::from_micros(micros);
            times.buckets.iter().find(|(bound, _)| *bound == wanted).unwrap().1
        };
        assert_eq!(
            [1, 2, 5, 200, 500, 5_000_000].map(below),
            [2, 3, 4, 4, 5, 5],
            "each bucket holds those before it, too"
        );
    }

    #[test]
    fn a_quantile_is_the_end_of_its_bucket() {
        let histogram = Histogram::default();
        assert_eq!(histogram.read().quantile(0.5), None);
        for _ in 0..99 {
            histogram.observe(Duration::from_nanos(700));
        }
        histogram.observe(Duration::from_millis(3));
        let times = histogram.read();
        assert_eq!(times.quantile(0.99), Some(Duration::from_micros(1)));
        assert_eq!(times.quantile(1.0), Some(Duration::from_millis(5)));
        histogram.observe(Duration::from_secs(60));
        assert_eq!(histogram.read().quantile(1.0), None);
    }
}

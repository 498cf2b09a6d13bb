//! Slows guessing down: an address may fail a few times a minute, then it is refused unseen.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Addresses that are remembered. Beyond, the one that is nearest to being forgiven is forgotten.
const MAX_ADDRESSES: usize = 65_536;
const MINUTE: Duration = Duration::from_secs(60);

/// A token bucket per address. Each failure takes what a minute refills; what is stored is when the bucket is full
/// again, after which the address need not be remembered.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    full: HashMap<IpAddr, Instant>,
    /// The same, by time.
    order: BTreeSet<(Instant, IpAddr)>,
}

impl Throttle {
    /// Whether an address has used up what it may fail. `limit` is failures per minute; 0 blocks nobody.
    pub(super) fn is_blocked(&self, now: Instant, address: IpAddr, limit: u32) -> bool {
        let Some(refill) = refill(limit) else { return false };
        let full = self.full.get(&key(address));
        full.is_some_and(|full| full.saturating_duration_since(now) + refill > MINUTE)
    }

    /// Counts a failure; answers whether the address is blocked from now on.
    pub(super) fn fail(&mut self, now: Instant, address: IpAddr, limit: u32) -> bool {
        let Some(refill) = refill(limit) else { return false };
        let key = key(address);
        let before = self.full.remove(&key);
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        while let Some(&(full, oldest)) = self.order.first()
            && (full <= now || self.full.len() >= MAX_ADDRESSES)
        {
            self.order.remove(&(full, oldest));
            self.full.remove(&oldest);
        }
        let full = before.map_or(now, |before| before.max(now)) + refill;
        self.full.insert(key, full);
        self.order.insert((full, key));
        self.is_blocked(now, address, limit)
    }
}

/// How long one failure counts.
fn refill(limit: u32) -> Option<Duration> {
    MINUTE.checked_div(limit)
}

/// Who owns one IPv6 address owns the rest of its /64 as well.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: u32 = 10;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_eleventh_guess_of_a_minute_is_blocked_and_six_seconds_later_one_more_is_free() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..9 {
            assert!(!throttle.fail(now, ip("192.0.2.1"), LIMIT));
        }
        assert!(!throttle.is_blocked(now, ip("192.0.2.1"), LIMIT));
        assert!(throttle.fail(now, ip("192.0.2.1"), LIMIT));
        assert!(throttle.is_blocked(now, ip("192.0.2.1"), LIMIT));
        assert!(!throttle.is_blocked(now, ip("192.0.2.2"), LIMIT));
        let later = now + Duration::from_secs(6);
        assert!(!throttle.is_blocked(later, ip("192.0.2.1"), LIMIT));
        assert!(throttle.fail(later, ip("192.0.2.1"), LIMIT));
    }

    #[test]
    fn neighbours_in_a_64_share_a_bucket() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..10 {
            throttle.fail(now, ip(&format!("2001:db8::{n}")), LIMIT);
        }
        assert!(throttle.is_blocked(now, ip("2001:db8::ffff"), LIMIT));
        assert!(!throttle.is_blocked(now, ip("2001:db8:0:1::1"), LIMIT));
    }

    #[test]
    fn an_address_behind_a_mapped_one_is_the_same() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.fail(now, ip("::ffff:192.0.2.1"), LIMIT);
        }
        assert!(throttle.is_blocked(now, ip("192.0.2.1"), LIMIT));
        assert!(!throttle.is_blocked(now, ip("192.0.2.2"), LIMIT));
    }

    #[test]
    fn memory_is_bounded_and_the_forgiven_are_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..u32::try_from(MAX_ADDRESSES).unwrap() + 100 {
            throttle.fail(now, IpAddr::V4(n.into()), LIMIT);
        }
        assert_eq!(
            (throttle.full.len(), throttle.order.len()),
            (MAX_ADDRESSES, MAX_ADDRESSES)
        );
        throttle.fail(now + MINUTE, ip("192.0.2.1"), LIMIT);
        assert_eq!((throttle.full.len(), throttle.order.len()), (1, 1));
    }

    #[test]
    fn a_limit_of_zero_blocks_nobody() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert!((0..100).all(|_| !throttle.fail(now, ip("192.0.2.1"), 0)));
    }
}

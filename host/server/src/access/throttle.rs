//! Slows guessing down: an address may fail a few times a minute, then it is refused unseen. So is everybody who claims
//! to be a user whom many addresses try to guess, except from where that user has logged in before: nobody can lock the
//! owner out (threat T04).

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    hash::{BuildHasher, Hash, RandomState},
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

/// Entries of each table. Beyond, the one that is nearest to being forgiven, or that is there the longest, is forgotten.
const MAX_ENTRIES: usize = 65_536;
/// All addresses together may fail so many times as often for one user as one address may.
const USER_FACTOR: u32 = 3;
const MINUTE: Duration = Duration::from_secs(60);

/// Who failed, and who did not. `limit` is failures per minute and address; 0 blocks nobody.
#[derive(Debug, Default)]
pub(super) struct Throttle {
    addresses: Buckets<IpAddr>,
    /// By a keyed hash of the name: names are as long as a guesser likes.
    users: Buckets<u64>,
    known: Known,
    hasher: RandomState,
}

impl Throttle {
    /// Whether an address, or the user that it claims to be, has used up what may fail.
    pub(super) fn is_blocked(&self, now: Instant, address: IpAddr, user: Option<&str>, limit: u32) -> bool {
        let address = key(address);
        let is_guessed = |user: &str| {
            let user = self.hasher.hash_one(user);
            let limit = limit.saturating_mul(USER_FACTOR);
            self.users.is_blocked(now, user, limit) && !self.known.contains(address, user)
        };
        self.addresses.is_blocked(now, address, limit) || user.is_some_and(is_guessed)
    }

    /// Counts a failure; answers whether the address is blocked from now on.
    pub(super) fn fail(&mut self, now: Instant, address: IpAddr, user: Option<&str>, limit: u32) -> bool {
        if let Some(user) = user {
            self.users
                .fail(now, self.hasher.hash_one(user), limit.saturating_mul(USER_FACTOR));
        }
        let address = key(address);
        self.addresses.fail(now, address, limit);
        self.addresses.is_blocked(now, address, limit)
    }

    /// Remembers that a user has logged in from an address.
    pub(super) fn succeed(&mut self, address: IpAddr, user: &str) {
        self.known.insert(key(address), self.hasher.hash_one(user));
    }
}

/// A token bucket per key. Each failure takes what a minute refills; what is stored is when the bucket is full again,
/// after which the key need not be remembered.
#[derive(Debug)]
struct Buckets<K> {
    full: HashMap<K, Instant>,
    /// The same, by time.
    order: BTreeSet<(Instant, K)>,
}

impl<K> Default for Buckets<K> {
    fn default() -> Self {
        Buckets {
            full: HashMap::new(),
            order: BTreeSet::new(),
        }
    }
}

impl<K: Copy + Ord + Hash> Buckets<K> {
    fn is_blocked(&self, now: Instant, key: K, limit: u32) -> bool {
        let Some(refill) = refill(limit) else { return false };
        let full = self.full.get(&key);
        full.is_some_and(|full| full.saturating_duration_since(now) + refill > MINUTE)
    }

    fn fail(&mut self, now: Instant, key: K, limit: u32) {
        let Some(refill) = refill(limit) else { return };
        let before = self.full.remove(&key);
        if let Some(before) = before {
            self.order.remove(&(before, key));
        }
        while let Some(&(full, oldest)) = self.order.first()
            && (full <= now || self.full.len() >= MAX_ENTRIES)
        {
            self.order.remove(&(full, oldest));
            self.full.remove(&oldest);
        }
        let full = before.map_or(now, |before| before.max(now)) + refill;
        self.full.insert(key, full);
        self.order.insert((full, key));
    }
}

/// From where which user has logged in.
#[derive(Debug, Default)]
struct Known {
    all: HashSet<(IpAddr, u64)>,
    order: VecDeque<(IpAddr, u64)>,
}

impl Known {
    fn contains(&self, address: IpAddr, user: u64) -> bool {
        self.all.contains(&(address, user))
    }

    fn insert(&mut self, address: IpAddr, user: u64) {
        if !self.all.insert((address, user)) {
            return;
        }
        self.order.push_back((address, user));
        if self.order.len() > MAX_ENTRIES
            && let Some(oldest) = self.order.pop_front()
        {
            self.all.remove(&oldest);
        }
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

    /// One of many addresses, each in a network of its own.
    fn nth(n: u32) -> IpAddr {
        IpAddr::V4(n.into())
    }

    #[test]
    fn the_eleventh_guess_of_a_minute_is_blocked_and_six_seconds_later_one_more_is_free() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..9 {
            assert!(!throttle.fail(now, ip("192.0.2.1"), None, LIMIT));
        }
        assert!(!throttle.is_blocked(now, ip("192.0.2.1"), None, LIMIT));
        assert!(throttle.fail(now, ip("192.0.2.1"), None, LIMIT));
        assert!(throttle.is_blocked(now, ip("192.0.2.1"), None, LIMIT));
        assert!(!throttle.is_blocked(now, ip("192.0.2.2"), None, LIMIT));
        let later = now + Duration::from_secs(6);
        assert!(!throttle.is_blocked(later, ip("192.0.2.1"), None, LIMIT));
        assert!(throttle.fail(later, ip("192.0.2.1"), None, LIMIT));
    }

    #[test]
    fn neighbours_in_a_64_share_a_bucket() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..10 {
            throttle.fail(now, ip(&format!("2001:db8::{n}")), None, LIMIT);
        }
        assert!(throttle.is_blocked(now, ip("2001:db8::ffff"), None, LIMIT));
        assert!(!throttle.is_blocked(now, ip("2001:db8:0:1::1"), None, LIMIT));
    }

    #[test]
    fn an_address_behind_a_mapped_one_is_the_same() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.fail(now, ip("::ffff:192.0.2.1"), None, LIMIT);
        }
        assert!(throttle.is_blocked(now, ip("192.0.2.1"), None, LIMIT));
        assert!(!throttle.is_blocked(now, ip("192.0.2.2"), None, LIMIT));
    }

    #[test]
    fn a_user_guessed_from_everywhere_is_blocked_except_where_it_is_at_home() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        let home = ip("192.0.2.1");
        throttle.succeed(home, "alice");
        for n in 0..LIMIT * USER_FACTOR {
            throttle.fail(now, nth(n), Some("alice"), LIMIT);
        }
        let elsewhere = ip("192.0.2.2");
        assert!(throttle.is_blocked(now, elsewhere, Some("alice"), LIMIT));
        assert!(!throttle.is_blocked(now, elsewhere, Some("bob"), LIMIT));
        assert!(!throttle.is_blocked(now, elsewhere, None, LIMIT));
        assert!(!throttle.is_blocked(now, home, Some("alice"), LIMIT));
        assert!(!throttle.is_blocked(now + Duration::from_secs(2), elsewhere, Some("alice"), LIMIT));
    }

    #[test]
    fn memory_is_bounded_and_the_forgiven_are_forgotten() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        for n in 0..u32::try_from(MAX_ENTRIES).unwrap() + 100 {
            throttle.fail(now, nth(n), Some(&n.to_string()), LIMIT);
            throttle.succeed(nth(n), "alice");
        }
        let sizes = |throttle: &Throttle| {
            let Throttle { addresses, users, .. } = throttle;
            [
                addresses.full.len(),
                addresses.order.len(),
                users.full.len(),
                users.order.len(),
            ]
        };
        assert_eq!(sizes(&throttle), [MAX_ENTRIES; 4]);
        assert_eq!(
            (throttle.known.all.len(), throttle.known.order.len()),
            (MAX_ENTRIES, MAX_ENTRIES)
        );
        throttle.fail(now + MINUTE, ip("192.0.2.1"), Some("alice"), LIMIT);
        assert_eq!(sizes(&throttle), [1; 4]);
    }

    #[test]
    fn a_limit_of_zero_blocks_nobody() {
        let (mut throttle, now) = (Throttle::default(), Instant::now());
        assert!((0..100).all(|_| !throttle.fail(now, ip("192.0.2.1"), Some("alice"), 0)));
        assert!(!throttle.is_blocked(now, ip("192.0.2.2"), Some("alice"), 0));
    }
}

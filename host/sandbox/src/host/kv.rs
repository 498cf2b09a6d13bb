//! `kv`: small values that all instances of one plugin share, within a quota; kept over a restart if that was granted
//! (`shelf.rs`).

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::State;
use crate::{
    bindings::plugin::kv::{Host, KvError},
    hits::{Limit, Refusal},
    limits::{KV_BYTES, KV_KEYS, Limits},
    shelf::Keeping,
};

const KEY_BYTES: usize = 256;
/// A century: longer lives are for ever, and adding them to a clock cannot overflow.
const LONGEST: u64 = 100 * 365 * 86_400;

/// Whether a plugin has small values of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kv {
    /// No.
    #[default]
    No,
    /// As long as the server runs.
    Memory,
    /// Over a restart, too, as long as the state directory is there.
    Persist,
}

/// The values of one plugin. Locked for one operation at a time; no guest runs meanwhile.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) values: Mutex<Values>,
    /// Where they are kept.
    pub(crate) keeping: Keeping,
}

#[derive(Default)]
pub(crate) struct Values {
    map: HashMap<String, Value>,
    /// Sum of all keys' and values' lengths in `map`.
    bytes: usize,
}

struct Value {
    data: Vec<u8>,
    ends: Option<Instant>,
}

/// How much there may be of it.
#[derive(Clone, Copy)]
struct Quota {
    /// Keys and values together.
    bytes: usize,
    keys: usize,
    /// Of one value.
    value: usize,
}

impl Quota {
    /// What no plugin's own quota is beyond.
    const MOST: Quota = Quota {
        bytes: KV_BYTES,
        keys: KV_KEYS,
        value: KV_BYTES,
    };

    fn of(limits: &Limits) -> Quota {
        Quota {
            bytes: limits.kv.min(KV_BYTES),
            keys: limits.kv_keys.min(KV_KEYS),
            value: limits.kv_value,
        }
    }
}

type Changed<T> = Result<T, Refusal<KvError>>;

/// How long a value that is set lives.
#[derive(Clone, Copy)]
enum Life {
    /// As many seconds as said, or for ever.
    New(Option<u64>),
    /// As long as the value before, if there is one.
    AsBefore(Option<u64>),
}

impl Store {
    /// Changes the values, and has them written if they changed and are kept.
    fn change<T>(self: &Arc<Self>, change: impl FnOnce(&mut Values, Instant) -> Changed<T>) -> Changed<T> {
        let changed = change(&mut self.values.lock(), Instant::now());
        if changed.is_ok() {
            self.keeping.changed(self);
        }
        changed
    }
}

impl Host for State {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        if self.grants.kv == Kv::No {
            return None;
        }
        let values = self.common.kv.values.lock();
        values.get(&key, Instant::now()).map(<[u8]>::to_vec)
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> Result<(), KvError> {
        self.change(|values, now, quota| values.set(key, value, Life::New(ttl), now, quota))
    }

    fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Result<(), KvError> {
        self.change(|values, now, quota| {
            if values.get(&key, now) != expected.as_deref() {
                return Err(KvError::Conflict.into());
            }
            values.set(key, value, Life::New(ttl), now, quota)
        })
    }

    fn add(&mut self, key: String, delta: i64, ttl: Option<u64>) -> Result<i64, KvError> {
        self.change(|values, now, quota| values.add(key, delta, ttl, now, quota))
    }

    fn delete(&mut self, key: String) {
        // Without the grant there is nothing to delete.
        let _ = self.change(|values, _, _| {
            values.remove(&key);
            Ok(())
        });
    }
}

impl State {
    fn change<T>(&self, change: impl FnOnce(&mut Values, Instant, Quota) -> Changed<T>) -> Result<T, KvError> {
        if self.grants.kv == Kv::No {
            return Err(KvError::NotGranted);
        }
        let quota = Quota::of(&self.limits);
        let changed = self.common.kv.change(|values, now| change(values, now, quota));
        changed.map_err(|refusal| match refusal {
            Refusal::Limit(Limit::KvValue) => self.refused(refusal, KvError::TooLarge),
            refusal => self.refused(refusal, KvError::Quota),
        })
    }
}

impl Values {
    fn get(&self, key: &str, now: Instant) -> Option<&[u8]> {
        let value = self.map.get(key)?;
        value.ends.is_none_or(|ends| now < ends).then_some(&value.data)
    }

    /// The number is text, as in other stores, so that `get` shows it and `set` may begin it.
    fn add(&mut self, key: String, delta: i64, ttl: Option<u64>, now: Instant, quota: Quota) -> Changed<i64> {
        let present = match self.get(&key, now) {
            None => 0,
            Some(data) => str::from_utf8(data)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or(KvError::Conflict)?,
        };
        let sum = i64::checked_add(present, delta).ok_or(KvError::Conflict)?;
        self.set(key, sum.to_string().into_bytes(), Life::AsBefore(ttl), now, quota)?;
        Ok(sum)
    }

    fn set(&mut self, key: String, data: Vec<u8>, life: Life, now: Instant, quota: Quota) -> Changed<()> {
        let new = |ttl: Option<u64>| {
            ttl.filter(|ttl| *ttl < LONGEST)
                .map(|ttl| now + Duration::from_secs(ttl))
        };
        let before = self.map.get(&key).filter(|_| self.get(&key, now).is_some());
        let ends = match (life, before) {
            (Life::AsBefore(_), Some(before)) => before.ends,
            (Life::New(ttl) | Life::AsBefore(ttl), _) => new(ttl),
        };
        self.put(key, data, ends, now, quota)
    }

    /// Within the quota.
    fn put(&mut self, key: String, data: Vec<u8>, ends: Option<Instant>, now: Instant, quota: Quota) -> Changed<()> {
        if key.len() > KEY_BYTES {
            return Err(KvError::TooLarge.into());
        }
        if data.len() > quota.value {
            return Err(Refusal::Limit(Limit::KvValue));
        }
        let over = |values: &Values| {
            let old = values.map.get(&key).map(|old| key.len() + old.data.len());
            let bytes = values.bytes - old.unwrap_or(0) + key.len() + data.len();
            if bytes > quota.bytes {
                Some(Limit::Kv)
            } else {
                (values.map.len() + usize::from(old.is_none()) > quota.keys).then_some(Limit::KvKeys)
            }
        };
        if over(self).is_some() {
            self.forget_expired(now);
            if let Some(limit) = over(self) {
                return Err(Refusal::Limit(limit));
            }
        }
        self.remove(&key);
        self.bytes += key.len() + data.len();
        self.map.insert(key, Value { data, ends });
        Ok(())
    }

    /// What still lives at `now`: key, value, and what is left of its life.
    pub(crate) fn living(&self, now: Instant) -> impl Iterator<Item = (&str, &[u8], Option<Duration>)> {
        self.map.iter().filter_map(move |(key, value)| {
            let left = value.ends.map(|ends| ends.saturating_duration_since(now));
            (left != Some(Duration::ZERO)).then_some((&**key, &*value.data, left))
        })
    }

    /// Takes a value that was kept, unless there is a newer one or no room.
    pub(crate) fn revive(&mut self, key: String, data: Vec<u8>, left: Option<Duration>, now: Instant) {
        if self.get(&key, now).is_none() {
            // What does not fit was written under other bounds.
            let _ = self.put(key, data, left.and_then(|left| now.checked_add(left)), now, Quota::MOST);
        }
    }

    fn remove(&mut self, key: &str) {
        if let Some(old) = self.map.remove(key) {
            self.bytes -= key.len() + old.data.len();
        }
    }

    fn forget_expired(&mut self, now: Instant) {
        self.map.retain(|_, value| value.ends.is_none_or(|ends| now < ends));
        self.bytes = self.map.iter().map(|(key, value)| key.len() + value.data.len()).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE_BYTES: usize = 64 << 10;
    const KEYS: usize = 1_024;
    const QUOTA: Quota = Quota {
        bytes: 1 << 20,
        keys: KEYS,
        value: VALUE_BYTES,
    };

    fn set(values: &mut Values, key: &str, len: usize, ttl: Option<u64>, now: Instant) -> Changed<()> {
        let result = values.set(key.into(), vec![0; len], Life::New(ttl), now, QUOTA);
        let bytes: usize = values.map.iter().map(|(key, value)| key.len() + value.data.len()).sum();
        assert_eq!(values.bytes, bytes);
        result
    }

    #[test]
    fn a_value_lives_as_long_as_it_was_given() {
        let (mut values, now) = (Values::default(), Instant::now());
        set(&mut values, "a", 3, Some(2), now).unwrap();
        set(&mut values, "b", 3, Some(u64::MAX), now).unwrap();
        assert!(values.get("a", now + Duration::from_millis(1_999)).is_some());
        assert!(values.get("a", now + Duration::from_secs(2)).is_none());
        assert!(values.get("b", now + Duration::from_secs(1_000_000)).is_some());
    }

    #[test]
    fn the_quota_holds_and_what_expired_makes_room() {
        let (mut values, now) = (Values::default(), Instant::now());
        assert!(matches!(
            set(&mut values, "big", VALUE_BYTES + 1, None, now),
            Err(Refusal::Limit(Limit::KvValue))
        ));
        for n in 0..15 {
            set(&mut values, &format!("{n:02}"), VALUE_BYTES, Some(1), now).unwrap();
        }
        assert!(matches!(
            set(&mut values, "one more", VALUE_BYTES, None, now),
            Err(Refusal::Limit(Limit::Kv))
        ));
        set(&mut values, "00", VALUE_BYTES, None, now).unwrap();
        set(&mut values, "one more", VALUE_BYTES, None, now + Duration::from_secs(1)).unwrap();
        assert_eq!(values.map.len(), 2);
    }

    #[test]
    fn the_number_of_keys_is_bounded() {
        let (mut values, now) = (Values::default(), Instant::now());
        for n in 0..KEYS {
            set(&mut values, &n.to_string(), 1, None, now).unwrap();
        }
        assert!(matches!(
            set(&mut values, "one more", 1, None, now),
            Err(Refusal::Limit(Limit::KvKeys))
        ));
        set(&mut values, "7", 2, None, now).unwrap();
    }

    #[test]
    fn a_number_is_text_and_keeps_the_end_it_was_begun_with() {
        let (mut values, now) = (Values::default(), Instant::now());
        let later = now + Duration::from_secs(9);
        assert_eq!(values.add("n".into(), 40, Some(10), now, QUOTA).unwrap(), 40);
        assert_eq!(values.add("n".into(), 2, Some(100), later, QUOTA).unwrap(), 42);
        assert_eq!(values.get("n", later), Some(&b"42"[..]));
        assert!(values.get("n", now + Duration::from_secs(10)).is_none());
        let after = now + Duration::from_secs(11);
        assert_eq!(
            values.add("n".into(), -1, None, after, QUOTA).unwrap(),
            -1,
            "what ended counts as nothing"
        );
        assert!(values.get("n", after + Duration::from_secs(1_000_000)).is_some());
    }

    #[test]
    fn what_is_no_number_and_what_would_not_be_one_is_a_conflict() {
        let (mut values, now) = (Values::default(), Instant::now());
        for text in ["", "4 2", "0x1", "99999999999999999999"] {
            values
                .set("n".into(), text.into(), Life::New(None), now, QUOTA)
                .unwrap();
            assert!(
                matches!(
                    values.add("n".into(), 1, None, now, QUOTA),
                    Err(Refusal::Error(KvError::Conflict))
                ),
                "{text}"
            );
        }
        values
            .set("n".into(), i64::MAX.to_string().into(), Life::New(None), now, QUOTA)
            .unwrap();
        assert!(matches!(
            values.add("n".into(), 1, None, now, QUOTA),
            Err(Refusal::Error(KvError::Conflict))
        ));
        assert_eq!(values.add("n".into(), -1, None, now, QUOTA).unwrap(), i64::MAX - 1);
    }
}

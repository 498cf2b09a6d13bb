//! `kv`: small values that all instances of one plugin share, in memory, within a quota.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::State;
use crate::bindings::plugin::kv::{Host, KvError};

/// Keys and values together.
const TOTAL_BYTES: usize = 1 << 20;
const KEYS: usize = 1_024;
const VALUE_BYTES: usize = 64 << 10;
const KEY_BYTES: usize = 256;
/// A century: longer lives are for ever, and adding them to a clock cannot overflow.
const LONGEST: u64 = 100 * 365 * 86_400;

/// The values of one plugin. Locked for one operation at a time; no guest runs meanwhile.
#[derive(Default)]
pub(crate) struct Store(Mutex<Values>);

#[derive(Default)]
struct Values {
    map: HashMap<String, Value>,
    /// Sum of all keys' and values' lengths in `map`.
    bytes: usize,
}

struct Value {
    data: Vec<u8>,
    ends: Option<Instant>,
}

impl Host for State {
    fn get(&mut self, key: String) -> Option<Vec<u8>> {
        if !self.grants.kv {
            return None;
        }
        self.common.kv.0.lock().get(&key, Instant::now()).map(<[u8]>::to_vec)
    }

    fn set(&mut self, key: String, value: Vec<u8>, ttl: Option<u64>) -> Result<(), KvError> {
        self.granted()?;
        self.common.kv.0.lock().set(key, value, ttl, Instant::now())
    }

    fn swap(
        &mut self,
        key: String,
        expected: Option<Vec<u8>>,
        value: Vec<u8>,
        ttl: Option<u64>,
    ) -> Result<(), KvError> {
        self.granted()?;
        let (now, mut values) = (Instant::now(), self.common.kv.0.lock());
        if values.get(&key, now) != expected.as_deref() {
            return Err(KvError::Conflict);
        }
        values.set(key, value, ttl, now)
    }

    fn add(&mut self, key: String, delta: i64, ttl: Option<u64>) -> Result<i64, KvError> {
        self.granted()?;
        let (now, mut values) = (Instant::now(), self.common.kv.0.lock());
        let present = match values.get(&key, now) {
            None => 0,
            Some(data) => i64::from_le_bytes(data.try_into().map_err(|_| KvError::Conflict)?),
        };
        let sum = present.saturating_add(delta);
        values.set(key, sum.to_le_bytes().to_vec(), ttl, now)?;
        Ok(sum)
    }

    fn delete(&mut self, key: String) {
        if self.grants.kv {
            self.common.kv.0.lock().remove(&key);
        }
    }
}

impl State {
    fn granted(&self) -> Result<(), KvError> {
        if self.grants.kv {
            Ok(())
        } else {
            Err(KvError::NotGranted)
        }
    }
}

impl Values {
    fn get(&self, key: &str, now: Instant) -> Option<&[u8]> {
        let value = self.map.get(key)?;
        value.ends.is_none_or(|ends| now < ends).then_some(&value.data)
    }

    fn set(&mut self, key: String, data: Vec<u8>, ttl: Option<u64>, now: Instant) -> Result<(), KvError> {
        if data.len() > VALUE_BYTES || key.len() > KEY_BYTES {
            return Err(KvError::TooLarge);
        }
        let fits = |values: &Values| {
            let old = values.map.get(&key).map(|old| key.len() + old.data.len());
            values.bytes - old.unwrap_or(0) + key.len() + data.len() <= TOTAL_BYTES
                && values.map.len() + usize::from(old.is_none()) <= KEYS
        };
        if !fits(self) {
            self.forget_expired(now);
            if !fits(self) {
                return Err(KvError::Quota);
            }
        }
        self.remove(&key);
        self.bytes += key.len() + data.len();
        let ends = ttl
            .filter(|ttl| *ttl < LONGEST)
            .map(|ttl| now + Duration::from_secs(ttl));
        self.map.insert(key, Value { data, ends });
        Ok(())
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

    fn set(values: &mut Values, key: &str, len: usize, ttl: Option<u64>, now: Instant) -> Result<(), KvError> {
        let result = values.set(key.into(), vec![0; len], ttl, now);
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
            Err(KvError::TooLarge)
        ));
        for n in 0..15 {
            set(&mut values, &format!("{n:02}"), VALUE_BYTES, Some(1), now).unwrap();
        }
        assert!(matches!(
            set(&mut values, "one more", VALUE_BYTES, None, now),
            Err(KvError::Quota)
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
            Err(KvError::Quota)
        ));
        set(&mut values, "7", 2, None, now).unwrap();
    }
}

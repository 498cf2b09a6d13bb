//! The key-value store of one plugin, with the bounds that the server has by default.

use std::collections::BTreeMap;

use super::server;
use crate::kv::Error;

const KEYS: usize = 1024;
const KEY: usize = 256;
const VALUE: usize = 64 << 10;
const ALL: usize = 1 << 20;

pub(crate) struct Store {
    pub(crate) granted: bool,
    entries: BTreeMap<String, Entry>,
}

struct Entry {
    value: Vec<u8>,
    /// Microseconds, on the pretended clock.
    end: Option<u64>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            granted: true,
            entries: BTreeMap::new(),
        }
    }
}

impl Store {
    fn set(&mut self, key: &str, value: &[u8], end: Option<u64>) -> Result<(), Error> {
        if key.len() > KEY || value.len() > VALUE {
            return Err(Error::TooLarge);
        }
        let others = self.entries.iter().filter(|(other, _)| *other != key);
        let (keys, bytes) = others.fold((0, 0), |(keys, bytes), (key, entry)| {
            (keys + 1, bytes + key.len() + entry.value.len())
        });
        if keys >= KEYS || bytes + key.len() + value.len() > ALL {
            return Err(Error::Quota);
        }
        let value = value.to_vec();
        self.entries.insert(key.to_owned(), Entry { value, end });
        Ok(())
    }
}

/// The store and the time in microseconds, once what has expired is gone.
fn store<R>(look: impl FnOnce(&mut Store, u64) -> Result<R, Error>) -> Result<R, Error> {
    server(|server| {
        let now = server.now;
        if !server.kv.granted {
            return Err(Error::NotGranted);
        }
        server
            .kv
            .entries
            .retain(|_, entry| entry.end.is_none_or(|end| now < end));
        look(&mut server.kv, now)
    })
}

pub(crate) fn get(key: &str) -> Option<Vec<u8>> {
    store(|store, _| Ok(store.entries.get(key).map(|entry| entry.value.clone())))
        .ok()
        .flatten()
}

pub(crate) fn set(key: &str, value: &[u8], ttl: Option<u64>) -> Result<(), Error> {
    store(|store, now| store.set(key, value, end(now, ttl)))
}

pub(crate) fn swap(key: &str, expected: Option<&[u8]>, value: &[u8], ttl: Option<u64>) -> Result<(), Error> {
    store(|store, now| {
        let present = store.entries.get(key).map(|entry| entry.value.as_slice());
        if present != expected {
            return Err(Error::Conflict);
        }
        store.set(key, value, end(now, ttl))
    })
}

pub(crate) fn add(key: &str, delta: i64, ttl: Option<u64>) -> Result<i64, Error> {
    store(|store, now| {
        let (present, end) = match store.entries.get(key) {
            Some(entry) => (number(&entry.value).ok_or(Error::Conflict)?, entry.end),
            None => (0, end(now, ttl)),
        };
        let sum = present.checked_add(delta).ok_or(Error::Conflict)?;
        store.set(key, sum.to_string().as_bytes(), end)?;
        Ok(sum)
    })
}

pub(crate) fn delete(key: &str) {
    let _ = store(|store, _| Ok(store.entries.remove(key)));
}

fn number(value: &[u8]) -> Option<i64> {
    str::from_utf8(value).ok()?.parse().ok()
}

fn end(now: u64, ttl: Option<u64>) -> Option<u64> {
    ttl.map(|seconds| now.saturating_add(seconds.saturating_mul(1_000_000)))
}

//! Keys that a service publishes (RFC 7517 section 5): fetched when they are needed first, then again from time to time.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use wasmtx_plugin::{Error, clock, http};

use crate::key::Key;

const LARGEST: usize = 128 << 10;
/// More than services publish; looking at each costs time.
const MOST_KEYS: usize = 64;
/// Keys that could not be renewed for so long are not believed any more.
const LAST_GOOD: Duration = Duration::from_secs(24 * 3_600);
/// After a failure, and for a token whose key nobody knows: whoever makes up names of keys does not make us ask.
const PAUSE: Duration = Duration::from_secs(10);
const TIMEOUT: Duration = Duration::from_secs(3);

/// What a service publishes, as far as it is known.
pub(crate) struct Jwks {
    url: String,
    refresh: Duration,
    keys: Vec<Key>,
    /// When the present ones came.
    fetched: Option<Duration>,
    /// When they were asked for last.
    tried: Option<Duration>,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<Value>,
}

impl Jwks {
    pub(crate) fn new(url: String, refresh: Duration) -> Self {
        Self {
            url,
            refresh,
            keys: Vec::new(),
            fetched: None,
            tried: None,
        }
    }

    /// The keys, asked for if there are none that can be believed. None: they cannot be had now.
    pub(crate) fn keys(&mut self) -> Option<&[Key]> {
        if !self.is_good() {
            self.fetch_unless_tried();
        }
        self.is_good().then_some(&self.keys)
    }

    /// A token names a key that is not here; it may be new.
    pub(crate) fn look_again(&mut self) -> Option<&[Key]> {
        self.fetch_unless_tried();
        self.is_good().then_some(&self.keys)
    }

    /// Renews them when it is time.
    pub(crate) fn tick(&mut self) {
        if self.fetched.is_none_or(|fetched| since(fetched) >= self.refresh) {
            self.fetch_unless_tried();
        }
    }

    fn is_good(&self) -> bool {
        self.fetched.is_some_and(|fetched| since(fetched) < LAST_GOOD)
    }

    fn fetch_unless_tried(&mut self) {
        if self.tried.is_some_and(|tried| since(tried) < PAUSE) {
            return;
        }
        self.tried = Some(clock::monotonic());
        match self.fetch() {
            Ok(keys) => {
                self.keys = keys;
                self.fetched = Some(clock::monotonic());
            }
            Err(reason) => wasmtx_plugin::warn!("{} gives no keys: {reason}", self.url),
        }
    }

    fn fetch(&self) -> Result<Vec<Key>, String> {
        let response = http::Request::get(&self.url).timeout(TIMEOUT).send();
        let response = response.map_err(|error| match error {
            http::Error::NotGranted => "it is not granted (`grant: { http: […] }`)".to_owned(),
            error => error.name().to_owned(),
        })?;
        if response.status != 200 {
            return Err(format!("it answers {}", response.status));
        }
        if response.body.len() > LARGEST {
            return Err("it answers with more than 128 KiB".into());
        }
        let set: Set = response.json().map_err(|error| error.to_string())?;
        // Those of other kinds and for other uses are none of ours.
        let known =
            (set.keys.into_iter().take(MOST_KEYS)).filter_map(|key| Key::jwk(serde_json::from_value(key).ok()?).ok());
        let keys: Vec<Key> = known.collect();
        if keys.is_empty() {
            return Err("there is no key for signatures of RSA, P-256 or Ed25519 among them".into());
        }
        Ok(keys)
    }
}

/// Refuses a URL that could not be asked, or by everybody on the way.
pub(crate) fn check_url(url: &str) -> Result<(), Error> {
    let is_local = |rest: &str| {
        let host = rest.split(['/', ':', '?', '#']).next().unwrap_or_default();
        host == "localhost" || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
    };
    let secure = url.starts_with("https://") || url.strip_prefix("http://").is_some_and(is_local);
    let message = "must be an https:// URL: whoever can change the keys on the way can sign";
    if secure {
        Ok(())
    } else {
        Err(Error::invalid("/jwks", message))
    }
}

fn since(time: Duration) -> Duration {
    clock::monotonic().saturating_sub(time)
}

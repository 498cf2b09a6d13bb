//! Lets so many requests through per stretch of time, counted by address, user or path. See README.md.

use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use wasmtx_plugin::auth::{Auth, Decision, Denial, Request};
use wasmtx_plugin::{Action, Error, Pattern, Plugin, json, kv, metrics, notify};

/// The whole hour of a day and more: longer counts would rather be a ban.
const LONGEST: u32 = 7 * 86_400;
/// One home, one line: whoever has an IPv6 address has all of these.
const IPV6_PREFIX: u32 = 64;
/// Bytes of a hash in a key: enough that nobody finds two that are equal, and what a client calls itself may have any length.
const HASH: usize = 16;

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    limits: Vec<Limit>,
    /// What happens when there is no more room to count in.
    #[serde(default = "deny", rename = "whenFull")]
    when_full: WhenFull,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Limit {
    /// So many are let through …
    count: u32,
    /// … in so many seconds.
    #[serde(default = "minute")]
    seconds: u32,
    /// Each of these has a count of its own.
    by: Vec<By>,
    /// None: whatever they want.
    actions: Option<Vec<Action>>,
    /// None: wherever.
    paths: Option<Vec<Pattern>>,
    #[serde(default)]
    only: Only,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum By {
    Address,
    User,
    Path,
}

/// Which requests count.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Only {
    #[default]
    All,
    /// Those that show a name or a token. Players ask once without before they show them.
    Logins,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WhenFull {
    Deny,
    Pass,
}

fn minute() -> u32 {
    60
}

fn deny() -> WhenFull {
    WhenFull::Deny
}

struct RateLimit {
    config: Config,
}

impl Plugin for RateLimit {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        for (number, limit) in config.limits.iter().enumerate() {
            let invalid = |key: &str, message: &str| Err(Error::invalid(format!("/limits/{number}/{key}"), message));
            if !(1..=LONGEST).contains(&limit.seconds) {
                return invalid("seconds", "must be at least 1, and at most a week");
            }
            if limit.by.is_empty() {
                return invalid("by", "must name what is counted: address, user, path");
            }
            if limit.actions.as_ref().is_some_and(Vec::is_empty) {
                return invalid("actions", "an empty list fits nothing; leave it out to fit everything");
            }
            if limit.paths.as_ref().is_some_and(Vec::is_empty) {
                return invalid("paths", "an empty list fits nothing; leave it out to fit everything");
            }
        }
        Ok(Self { config })
    }
}

impl Auth for RateLimit {
    fn check(&mut self, request: Request) -> Decision {
        // Every limit counts every request that it is about, whatever the others say.
        let judged = (self.config.limits.iter().enumerate())
            .filter(|(_, limit)| limit.is_about(&request))
            .filter_map(|(number, limit)| self.count(number, limit, &request))
            .collect::<Vec<_>>();
        judged.into_iter().next().map_or(Decision::Abstain, Decision::Deny)
    }
}

impl RateLimit {
    /// Counts this request; why it is one too many, if it is.
    fn count(&self, number: usize, limit: &Limit, request: &Request) -> Option<Denial> {
        let window = Duration::from_secs(limit.seconds.into());
        match kv::add(&key(number, limit, request), 1, Some(window)) {
            Ok(count) if count <= i64::from(limit.count) => None,
            Ok(count) => {
                metrics::counter("denied", 1);
                // Once in each stretch of time, or those who come too often would fill the log, too.
                if count == i64::from(limit.count) + 1 {
                    notify::raise("rate-limited", &said(limit, request));
                }
                Some(Denial::TooMany)
            }
            Err(error) => {
                metrics::counter("uncounted", 1);
                wasmtx_plugin::warn!("a request is not counted, kv: {}", error.name());
                (self.config.when_full == WhenFull::Deny).then_some(Denial::Later)
            }
        }
    }
}

impl Limit {
    fn is_about(&self, request: &Request) -> bool {
        let about = |patterns: &Vec<Pattern>| patterns.iter().any(|pattern| pattern.matches(&request.path));
        let shows_who = request.user.is_some() || request.token.is_some();
        (self.only == Only::All || shows_who)
            && self
                .actions
                .as_ref()
                .is_none_or(|actions| actions.contains(&request.action))
            && self.paths.as_ref().is_none_or(about)
    }
}

fn said(limit: &Limit, request: &Request) -> impl serde::Serialize {
    json!({
        "address": request.client.address, "user": request.user, "path": request.path, "action": request.action.name(),
        "count": limit.count, "seconds": limit.seconds,
    })
}

/// The count's name. What it holds of the request is hashed with lengths before the parts, so that no two requests that differ share it.
fn key(number: usize, limit: &Limit, request: &Request) -> String {
    let mut hash = Sha256::new();
    for by in &limit.by {
        let part = match by {
            By::Address => whose(&request.client.address),
            By::User => request.user.clone().unwrap_or_default(),
            By::Path => request.path.clone(),
        };
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    let hash = hash.finalize();
    let mut key = format!("{number}/{}/", limit.seconds);
    for byte in &hash[..HASH] {
        key.push_str(&format!("{byte:02x}"));
    }
    key
}

/// Who stands behind an address: of IPv4 the address, of IPv6 its network.
fn whose(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => format!("{:x}", u128::from(address) >> (128 - IPV6_PREFIX)),
        Ok(address) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

wasmtx_plugin::export!(RateLimit: auth);

#[cfg(test)]
mod tests;

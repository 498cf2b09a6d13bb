//! Small values that all instances of one plugin share, on every path, and that outlive them. Other plugins have stores of their own.
//!
//! Must be granted (in mediamtx.yml `grant: { kv: yes }`, or `persist` for values that outlive the server too). By default a plugin has 1 MiB in 1,024
//! keys, 256 bytes for a key and 64 KiB for a value ([`Error::TooLarge`]); past that it is [`Error::Quota`] until something expires or is deleted.
//! Every call copies. What is read may be changed by another instance before it is written back: [`add`] and [`swap`] are for that.
//!
//! ```
//! use std::time::Duration;
//! use wasmtx_plugin::kv;
//!
//! // At most ten logins a minute from one address; a server that is short of room lets nobody in.
//! fn may_try(address: &str) -> bool {
//!     kv::add(&format!("tries/{address}"), 1, Some(Duration::from_secs(60))).is_ok_and(|tries| tries <= 10)
//! }
//! assert!(may_try("192.0.2.7"));
//! ```

use std::time::Duration;

pub use crate::bindings::imports::wasmtx::plugin::kv::KvError as Error;
use crate::host;

/// The value, or none: never set, expired, deleted, or nothing granted.
pub fn get(key: &str) -> Option<Vec<u8>> {
    host::kv::get(key)
}

/// Sets the value whatever was there. It is forgotten after `ttl` (counted in whole seconds, rounded up); none: when the plugin deletes it. Replaces an
/// earlier `ttl` too.
pub fn set(key: &str, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), Error> {
    host::kv::set(key, value.as_ref(), seconds(ttl))
}

/// Sets the value only while the present one equals `expected` (none: nothing is there). [`Error::Conflict`] if another was quicker: read again, think
/// again, and give up after a few times.
pub fn swap(key: &str, expected: Option<&[u8]>, value: impl AsRef<[u8]>, ttl: Option<Duration>) -> Result<(), Error> {
    host::kv::swap(key, expected, value.as_ref(), seconds(ttl))
}

/// Adds to a number in one step and answers the sum. What is not there counts as zero and lives for `ttl`; what is there keeps its end, so that a
/// count covers one stretch of time. The number is kept as decimal text (`b"42"`). [`Error::Conflict`] if something else is there or the sum does
/// not fit.
pub fn add(key: &str, delta: i64, ttl: Option<Duration>) -> Result<i64, Error> {
    host::kv::add(key, delta, seconds(ttl))
}

/// Forgets the value, if there is one.
pub fn delete(key: &str) {
    host::kv::delete(key);
}

/// Whole seconds, never less than asked for: what should live half a second must not be gone at once.
fn seconds(ttl: Option<Duration>) -> Option<u64> {
    ttl.map(|ttl| ttl.as_secs().saturating_add(u64::from(ttl.subsec_nanos() > 0)))
}

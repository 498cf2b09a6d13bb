//! Makes files known as recordings of the stream that a sink is attached to: to the operator's hooks, the API, plugins with the
//! [`events`](crate::events) role, retention and playback. Only what this instance wrote itself through [`storage`](crate::storage) is
//! believed; a word about another file is not heard.
//!
//! ```
//! use std::time::Duration;
//! use wasmtx_plugin::{clock, recording, storage::File};
//!
//! # fn main() -> Result<(), wasmtx_plugin::storage::Error> {
//! let (name, start) = ("cam1/2026-11-22_12-00-00.mp4", clock::now());
//! let mut file = File::create(name)?;
//! recording::started(name, start);
//! file.append("all of it")?;
//! file.finish()?;
//! recording::done(name, start, Duration::from_secs(60));
//! # Ok(())
//! # }
//! ```

use std::time::Duration;

use crate::host;

/// The file is being written, from [`File::create`](crate::storage::File::create) on; its first frame is of `start`, time since 1970.
pub fn started(file: &str, start: Duration) {
    host::recording::started(file, micros(start));
}

/// The file is finished ([`File::finish`](crate::storage::File::finish) answered), and lasts so long. What a plugin began and never ends is looked through by the
/// server once the instance is gone.
pub fn done(file: &str, start: Duration, duration: Duration) {
    host::recording::done(file, micros(start), micros(duration));
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

//! The server as a recorder needs it, through the SDK.

use std::time::Duration;

use bytes::Bytes;
use wasmtx_plugin::storage::{self, File};
use wasmtx_plugin::{clock, json, metrics, notify, random, recording, warn};

use crate::payload::Payload;
use crate::record::{Server, Told, Trouble};

/// What runs this plugin.
pub(crate) struct Host {
    path: String,
}

impl Host {
    /// For the stream of a path.
    pub(crate) fn new(path: &str) -> Host {
        Host { path: path.to_owned() }
    }
}

impl From<storage::Error> for Trouble {
    fn from(error: storage::Error) -> Trouble {
        match error {
            storage::Error::Full => Trouble::Full,
            storage::Error::Quota => Trouble::Quota,
            storage::Error::NotGranted => Trouble::NotGranted,
            storage::Error::NotFound | storage::Error::Io => Trouble::Io,
        }
    }
}

fn micros(time: Duration) -> u64 {
    time.as_micros().try_into().unwrap_or(u64::MAX)
}

impl Server for Host {
    type Payload = Payload;
    type File = File;

    fn now(&self) -> u64 {
        micros(clock::now())
    }

    fn monotonic(&self) -> u64 {
        micros(clock::monotonic())
    }

    fn offset(&self, at: u64) -> i32 {
        clock::offset(Duration::from_micros(at))
    }

    fn identity(&self) -> [u8; 16] {
        let mut identity = [0; 16];
        identity
            .iter_mut()
            .zip(random::bytes(16))
            .for_each(|(to, from)| *to = from);
        identity
    }

    fn here<'a>(&self, payload: &'a Payload) -> Option<&'a [u8]> {
        match payload {
            Payload::There(..) => None,
            Payload::Here(bytes) => Some(bytes),
        }
    }

    fn bytes(&self, payload: &Payload) -> Bytes {
        payload.bytes()
    }

    fn is_free(&self, name: &str) -> Result<bool, Trouble> {
        match storage::read(name, 0, 0) {
            Ok(_) => Ok(false),
            // A store that is away does not say; what is written meanwhile is kept for it.
            Err(storage::Error::NotFound | storage::Error::Io) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    fn create(&self, name: &str) -> Result<File, Trouble> {
        Ok(File::create(name)?)
    }

    fn append(&self, file: &mut File, bytes: &[u8]) -> Result<(), Trouble> {
        file.append(bytes)?;
        Ok(())
    }

    fn append_payload(&self, file: &mut File, payload: &Payload) -> Result<(), Trouble> {
        match payload {
            Payload::There(held, _) => file.append_held(held)?,
            Payload::Here(bytes) => file.append(bytes)?,
        };
        Ok(())
    }

    fn commit(&self, file: &mut File) -> Result<(), Trouble> {
        file.commit()?;
        Ok(())
    }

    fn finish(&self, file: File) -> Result<(), Trouble> {
        file.finish()?;
        Ok(())
    }

    fn remove(&self, name: &str) {
        // What cannot be removed is found empty by the next start of the server.
        let _ = storage::remove(name);
    }

    fn tell(&self, told: Told<'_>) {
        match told {
            Told::Part { bytes, wall } => {
                metrics::counter("parts", 1);
                metrics::counter("bytes", bytes);
                if wall != 0 {
                    metrics::gauge("part_lag_seconds", self.now().saturating_sub(wall) as f64 / 1e6);
                }
            }
            Told::Started { file, start } => {
                metrics::counter("segments", 1);
                metrics::gauge("suspended", 0.0);
                recording::started(file, Duration::from_micros(start));
            }
            Told::Done { file, start, duration } => {
                recording::done(file, Duration::from_micros(start), Duration::from_micros(duration));
            }
            Told::Suspended(trouble) => {
                metrics::gauge("suspended", 1.0);
                let what = json!({ "path": self.path, "reason": reason(trouble) });
                notify::raise("recording-suspended", &what);
            }
            Told::Resumed => {
                metrics::gauge("suspended", 0.0);
                notify::raise("recording-resumed", &json!({ "path": self.path }));
            }
            Told::Warning(text) => warn!("{text}"),
        }
    }
}

fn reason(trouble: Trouble) -> &'static str {
    match trouble {
        Trouble::Full => "full",
        Trouble::Quota => "quota",
        Trouble::NotGranted => "not-granted",
        Trouble::Io => "io",
    }
}

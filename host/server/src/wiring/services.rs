//! What plugins reach outside, made of what `endpoints` has.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use wasmtx_endpoints::{
    codec::{Options, Workers},
    outbound::{self, Allow},
    storage::{self, Directories, Quota},
};
use wasmtx_media::WallClock;
use wasmtx_sandbox::services::{
    Append, Clock, Directory, Http, HttpBounds, HttpClient, HttpError, HttpResult, Place, Services, Storage,
    StorageError, StorageGrant, Stored,
};

use super::codecs::codecs;

/// The services of a server that need nothing but the machine.
pub(crate) fn services() -> Services {
    services_with(&Workers::new(Options::default()))
}

/// The same, with workers that somebody else sees, too.
pub(crate) fn services_with(workers: &Workers) -> Services {
    let mut services = Services::default();
    services.http = Arc::new(Outbound);
    services.storage = Arc::new(Files(Directories::default()));
    services.clock = Arc::new(Zone);
    services.codecs = codecs(workers);
    services
}

/// The time zone of the machine, or of the variable `TZ`.
struct Zone;

impl Clock for Zone {
    fn offset(&self, at: WallClock) -> i32 {
        let micros = i64::try_from(at.0).unwrap_or(i64::MAX);
        // Nobody has rules for the time after the year 9999.
        let at = jiff::Timestamp::from_microsecond(micros).unwrap_or(jiff::Timestamp::MAX);
        jiff::tz::TimeZone::system().to_offset(at).seconds()
    }
}

/// A client per plugin: plugins share neither connections nor places.
struct Outbound;

impl Http for Outbound {
    fn client(&self, allowed: &[String], bounds: HttpBounds) -> Result<Arc<dyn HttpClient>, String> {
        let allow = Allow::parse(allowed).map_err(|error| format!("grant.http: {error}"))?;
        let mut limits = outbound::Limits::default();
        limits.at_once = bounds.at_once;
        limits.request_body = bounds.body;
        limits.response_body = bounds.body;
        Ok(Arc::new(Client(outbound::Client::new(allow, limits))))
    }
}

struct Client(outbound::Client);

impl HttpClient for Client {
    fn send(&self, request: http::Request<Bytes>, timeout: Duration) -> BoxFuture<'_, HttpResult> {
        Box::pin(async move {
            let answer = self.0.send(request, timeout).await;
            answer.map_err(|error| {
                tracing::debug!("a plugin's request: {error}");
                match error {
                    outbound::Error::NotGranted => HttpError::NotGranted,
                    outbound::Error::Refused(_) => HttpError::Refused,
                    outbound::Error::Timeout => HttpError::Timeout,
                    outbound::Error::TooLarge => HttpError::TooLarge,
                    outbound::Error::Tls(_) => HttpError::Tls,
                    _ => HttpError::Other,
                }
            })
        })
    }
}

/// The directories of plugins. All versions of a plugin share the room of theirs.
struct Files(Directories);

impl Storage for Files {
    fn directory(&self, grant: &StorageGrant) -> Result<Arc<dyn Directory>, String> {
        let Place::Directory(directory) = &grant.place else {
            return Err(format!("{}: this server keeps files in directories only", grant.place));
        };
        let mut quota = Quota::default();
        quota.bytes = grant.quota.unwrap_or(u64::MAX);
        let opened = self.0.open(directory, quota);
        let opened = opened.map_err(|error| format!("{}: {error}", grant.place))?;
        Ok(Arc::new(Below(opened)))
    }
}

struct Below(storage::Directory);

impl Directory for Below {
    fn create(&self, name: &str) -> Result<Box<dyn Append>, StorageError> {
        let writer = self.0.create(name).map_err(refusal)?;
        Ok(Box::new(Open(Some(writer))))
    }

    fn read(&self, name: &str, offset: u64, len: u32) -> Result<Bytes, StorageError> {
        self.0.read(name, offset, len).map_err(refusal)
    }

    fn list(&self, prefix: &str) -> Result<Vec<Stored>, StorageError> {
        let entries = self.0.list(prefix).map_err(refusal)?.into_iter();
        let stored = entries.map(|entry| Stored {
            name: entry.name,
            size: entry.size,
            modified: entry.modified,
        });
        Ok(stored.collect())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), StorageError> {
        self.0.rename(from, to).map_err(refusal)
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        self.0.remove(name).map_err(refusal)
    }
}

/// A file until it is finished.
struct Open(Option<storage::Writer>);

impl Append for Open {
    fn append(&mut self, parts: &[Bytes]) -> Result<u64, StorageError> {
        self.0.as_mut().ok_or(StorageError::Io)?.append(parts).map_err(refusal)
    }

    fn commit(&mut self) -> Result<u64, StorageError> {
        self.0.as_mut().ok_or(StorageError::Io)?.commit().map_err(refusal)
    }

    fn finish(&mut self) -> Result<u64, StorageError> {
        self.0.take().ok_or(StorageError::Io)?.finish().map_err(refusal)
    }
}

fn refusal(error: storage::Error) -> StorageError {
    match error {
        storage::Error::NotGranted => StorageError::NotGranted,
        storage::Error::Quota => StorageError::Quota,
        storage::Error::Full => StorageError::Full,
        storage::Error::NotFound => StorageError::NotFound,
        error => {
            tracing::warn!("a plugin's file: {error}");
            StorageError::Io
        }
    }
}

//! The client of an object store: what others ask of it, waiting or not, and what is said when it is away.

use std::{
    future::Future,
    io,
    sync::mpsc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::StreamExt;
use object_store::{
    ClientConfigKey, ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey},
    multipart::{MultipartStore, PartId},
    path::Path,
};
use parking_lot::Mutex;
use tokio::runtime::Handle;

use super::address::Address;
use crate::{
    storage::{Entry, Error, name::Name},
    tls,
};

/// Who asks for a name or a part waits no longer than this, …
const ANSWER: Duration = Duration::from_secs(10);
/// … and who asks for a list of all names than this.
const LIST: Duration = Duration::from_secs(60);
/// A store that is away is asked so often by those who wait; the others hear that it is away.
const AGAIN: Duration = Duration::from_secs(5);
/// One request, a part of 8 MiB included: a store behind 300 kb/s is slow, not away.
const REQUEST: &str = "300s";
/// Times that one request is tried again at once; after that its task waits longer.
const TRIES: usize = 2;
/// Names of one list.
const LISTED: usize = 1_000_000;
/// Bytes of what a store said that are logged.
const SAID: usize = 300;
/// Endpoints of one's own often are not encrypted, which must be asked for.
const ALLOW_HTTP: &str = "AWS_ALLOW_HTTP";

pub(super) type Result<T> = object_store::Result<T>;

/// An object store that is configured. The future of every call is polled where it is spawned: on the runtime that the
/// store is given, which has its connections.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) address: Address,
    client: AmazonS3,
    runtime: Handle,
    away: Mutex<Option<Away>>,
}

/// The store does not answer, or refuses.
#[derive(Debug)]
struct Away {
    since: Instant,
    asked: Instant,
}

impl Store {
    /// Credentials and everything else that the address does not say are taken from the environment (`AWS_*`).
    pub(super) fn new(
        address: Address,
        environment: &[(String, String)],
        runtime: Handle,
    ) -> std::result::Result<Store, String> {
        tls::install_provider();
        let retry = RetryConfig {
            max_retries: TRIES,
            ..RetryConfig::default()
        };
        let mut builder = AmazonS3Builder::new()
            .with_bucket_name(&address.bucket)
            .with_retry(retry)
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), REQUEST);
        let (mut plain, mut allowed) = (None, false);
        for (variable, value) in environment {
            let Ok(key) = variable.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else {
                continue;
            };
            match key {
                // The address says it.
                AmazonS3ConfigKey::Bucket => continue,
                AmazonS3ConfigKey::Endpoint | AmazonS3ConfigKey::S3Endpoint if value.starts_with("http://") => {
                    plain = Some(variable);
                }
                AmazonS3ConfigKey::Client(ClientConfigKey::AllowHttp) => {
                    allowed = matches!(&*value.to_ascii_lowercase(), "1" | "true" | "on" | "yes" | "y");
                }
                _ => {}
            }
            builder = builder.with_config(key, value);
        }
        if let (Some(variable), false) = (plain, allowed) {
            return Err(format!(
                "{variable} is not encrypted; set {ALLOW_HTTP}=true if that is meant"
            ));
        }
        let client = builder.build().map_err(|error| said(&error))?;
        Ok(Store {
            address,
            client,
            runtime,
            away: Mutex::default(),
        })
    }

    fn path(&self, name: &str) -> Result<Path> {
        Ok(Path::parse(self.address.key(name))?)
    }

    pub(super) async fn put(&self, name: &Name, bytes: Vec<Bytes>) -> Result<()> {
        let path = self.path(name.as_str())?;
        self.client.put(&path, PutPayload::from_iter(bytes)).await.map(drop)
    }

    pub(super) async fn begin(&self, name: &Name) -> Result<String> {
        self.client.create_multipart(&self.path(name.as_str())?).await
    }

    pub(super) async fn put_part(&self, name: &Name, upload: &str, index: usize, bytes: Vec<Bytes>) -> Result<String> {
        let (path, upload) = (self.path(name.as_str())?, upload.to_owned());
        let part = self
            .client
            .put_part(&path, &upload, index, PutPayload::from_iter(bytes));
        Ok(part.await?.content_id)
    }

    pub(super) async fn complete(&self, name: &Name, upload: &str, parts: &[String]) -> Result<()> {
        let part = |id: &String| PartId { content_id: id.clone() };
        let (path, parts) = (self.path(name.as_str())?, parts.iter().map(part).collect());
        self.client
            .complete_multipart(&path, &upload.to_owned(), parts)
            .await
            .map(drop)
    }

    pub(super) async fn abort(&self, name: &Name, upload: &str) -> Result<()> {
        self.client
            .abort_multipart(&self.path(name.as_str())?, &upload.to_owned())
            .await
    }

    pub(super) async fn size(&self, name: &Name) -> Result<u64> {
        Ok(self.head(name).await?.size)
    }

    async fn head(&self, name: &Name) -> Result<ObjectMeta> {
        self.client.head(&self.path(name.as_str())?).await
    }

    pub(super) async fn entry(&self, name: &Name) -> Result<Entry> {
        Ok(entry(name.as_str(), &self.head(name).await?))
    }

    pub(super) async fn read(&self, name: &Name, offset: u64, end: u64) -> Result<Bytes> {
        self.client.get_range(&self.path(name.as_str())?, offset..end).await
    }

    pub(super) async fn delete(&self, name: &Name) -> Result<()> {
        self.client.delete(&self.path(name.as_str())?).await
    }

    pub(super) async fn rename(&self, from: &Name, to: &Name) -> Result<()> {
        let (source, target) = (self.path(from.as_str())?, self.path(to.as_str())?);
        self.client.copy(&source, &target).await?;
        self.client.delete(&source).await
    }

    /// All that is below a directory, in no order. Names that could not have been made here are passed over.
    pub(super) async fn list(&self, directory: &str) -> Result<Vec<Entry>> {
        let mut entries = Vec::new();
        let mut found = self.client.list(Some(&self.path(directory)?));
        while let Some(object) = found.next().await {
            let object = object?;
            let name = self
                .address
                .name(object.location.as_ref())
                .and_then(|name| Name::new(name).ok());
            entries.extend(name.map(|name| entry(name.as_str(), &object)));
            if entries.len() > LISTED {
                return Err(object_store::Error::Generic {
                    store: "S3",
                    source: format!("more than {LISTED} objects").into(),
                });
            }
        }
        Ok(entries)
    }

    /// The files and directories in one directory, by their full names.
    pub(super) async fn level(&self, directory: &str) -> Result<(Vec<Entry>, Vec<String>)> {
        let listed = self.client.list_with_delimiter(Some(&self.path(directory)?)).await?;
        let name = |path: &Path| Some(Name::new(self.address.name(path.as_ref())?).ok()?.as_str().to_owned());
        let entries = listed.objects.iter();
        let entries = entries.filter_map(|object| Some(entry(&name(&object.location)?, object)));
        let directories = listed.common_prefixes.iter().filter_map(name);
        Ok((entries.collect(), directories.collect()))
    }

    /// Waits for an answer, on a thread that may.
    pub(super) fn wait<T, F>(&self, ask: F) -> std::result::Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.wait_for(ANSWER, ask)
    }

    /// The same, for an answer that comes in many pieces.
    pub(super) fn wait_for_list<T, F>(&self, ask: F) -> std::result::Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        self.wait_for(LIST, ask)
    }

    fn wait_for<T, F>(&self, time: Duration, ask: F) -> std::result::Result<T, Error>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        if let Some(away) = &mut *self.away.lock() {
            if away.asked.elapsed() < AGAIN {
                return Err(Error::Io(io::Error::other("the object store is away")));
            }
            away.asked = Instant::now();
        }
        let (tell, answer) = mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Who asked may have gone, with the whole server.
            let _ = tell.send(tokio::time::timeout(time, ask).await);
        });
        match answer.recv() {
            Ok(Ok(answer)) => {
                self.heard(answer.as_ref().err());
                answer.map_err(error)
            }
            Ok(Err(late)) => {
                let late = object_store::Error::Generic {
                    store: "S3",
                    source: late.into(),
                };
                self.refused(&late);
                Err(error(late))
            }
            // The server ends.
            Err(_) => Err(Error::Io(io::ErrorKind::Interrupted.into())),
        }
    }

    /// Keeps in mind, and says once, whether the store is away: `None` is an answer that was none of its errors.
    pub(super) fn heard(&self, failure: Option<&object_store::Error>) {
        let mut away = self.away.lock();
        match failure {
            None | Some(object_store::Error::NotFound { .. }) => {
                if let Some(away) = away.take() {
                    let seconds = away.since.elapsed().as_secs();
                    tracing::info!(store = %self.address, seconds, "the object store is back");
                }
            }
            Some(error) => self.missed(&mut away, error),
        }
    }

    /// The store refuses to take something: the same, but that a bucket which is not there is none of its answers.
    pub(super) fn refused(&self, error: &object_store::Error) {
        self.missed(&mut self.away.lock(), error);
    }

    fn missed(&self, away: &mut Option<Away>, error: &object_store::Error) {
        let now = Instant::now();
        if let Some(away) = away {
            away.asked = now;
            return;
        }
        *away = Some(Away { since: now, asked: now });
        let (store, said) = (&self.address, said(error));
        match error {
            object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => {
                tracing::error!(%store, "the object store refuses the credentials (AWS_*), what is recorded waits in the spool: {said}");
            }
            object_store::Error::NotFound { .. } => {
                tracing::error!(%store, "the object store has no such bucket, what is recorded waits in the spool: {said}");
            }
            _ => tracing::warn!(%store, "the object store is away, what is recorded waits in the spool: {said}"),
        }
    }

    pub(super) fn is_away(&self) -> bool {
        self.away.lock().is_some()
    }
}

fn entry(name: &str, object: &ObjectMeta) -> Entry {
    Entry {
        name: name.to_owned(),
        size: object.size,
        modified: u64::try_from(object.last_modified.timestamp_micros()).unwrap_or(0),
    }
}

fn error(error: object_store::Error) -> Error {
    match error {
        object_store::Error::NotFound { .. } => Error::NotFound,
        error => Error::Io(io::Error::other(said(&error))),
    }
}

/// One line of no more than a few.
fn said(error: &object_store::Error) -> String {
    let said = error.to_string();
    said.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .take(SAID)
        .collect()
}

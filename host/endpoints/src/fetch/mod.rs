//! Plugins that are not on this machine yet: fetched by `https://` or from an OCI registry, checked, and kept.
//!
//! What is loaded is always named by a digest, so a second start needs no network and no server can slip in something
//! else. With a key, a component counts only with a signature of that key, each time it is loaded, also from the store.

mod digest;
mod origin;
mod registry;
mod store;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, StatusCode};
use oci_client::errors::OciDistributionError;
use ring::signature::{ED25519, UnparsedPublicKey};
use url::Url;

use crate::outbound::{self, Allow, Client};
use registry::{Manifest, Registry};
use store::Store;

pub use digest::{Digest, NoDigest};
pub use origin::{Artifact, Origin, OriginError, PublicKey};
pub use registry::SIGNATURE;

/// Bytes of a component.
pub const COMPONENT_BYTES: usize = 32 << 20;
/// For one component, everything together.
const DEADLINE: Duration = Duration::from_secs(60);
/// Behind a component's URL: its signature.
const SIGNATURE_FILE: &str = ".sig";

/// A plugin as the configuration names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// From where.
    pub origin: Origin,
    /// The only component that is taken.
    pub sha256: Option<Digest>,
    /// Who has to have signed it.
    pub key: Option<PublicKey>,
}

/// A component that is here now, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    /// The same origin with every digest that was found.
    pub origin: Origin,
    /// Of the component.
    pub sha256: Digest,
    /// Where it is kept.
    pub file: PathBuf,
}

/// Why a component cannot be had.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Nothing says which content is meant.
    #[error("it needs a digest: `sha256` for a URL, `@sha256:…` behind an oci:// reference, or plugins.lock")]
    Unpinned,
    /// Something else came.
    #[error("its SHA-256 is {found}, expected {expected}")]
    Mismatch {
        /// Of what was asked for.
        expected: Digest,
        /// Of what came.
        found: Digest,
    },
    /// It is larger than a component may be.
    #[error("it is larger than 32 MiB")]
    TooLarge,
    /// A key is configured, and there is no signature.
    #[error("it is not signed, and `publicKey` asks for a signature")]
    Unsigned,
    /// The signature is not of this component and this key.
    #[error("its signature is not of the configured `publicKey`")]
    Signature,
    /// The server has none, or does not give it.
    #[error("{url}: the server answers {status}")]
    Status {
        /// What was asked for.
        url: String,
        /// With a code.
        status: StatusCode,
    },
    /// The server cannot be asked.
    #[error("{url}: {cause}")]
    Web {
        /// What was asked for.
        url: String,
        /// What went wrong.
        #[source]
        cause: Arc<outbound::Error>,
    },
    /// The registry has none, or does not give it.
    #[error("{0}")]
    Registry(#[source] Arc<OciDistributionError>),
    /// The registry has something else under that name.
    #[error("its manifest is not that of a component: {0}")]
    Manifest(&'static str),
    /// It cannot be kept.
    #[error("the store of plugins: {0}")]
    Store(#[source] Arc<std::io::Error>),
    /// It took too long.
    #[error("not there within {} s", DEADLINE.as_secs())]
    Timeout,
}

/// Fetches components and keeps them. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Fetcher {
    store: Store,
}

#[allow(clippy::missing_errors_doc, reason = "`Error` says it for all of them")]
impl Fetcher {
    /// Keeps what it fetches below a state directory.
    pub fn new(state: &Path) -> Fetcher {
        Fetcher {
            store: Store::new(state),
        }
    }

    /// The component of that digest: from the store, else from its origin. Takes nothing without a digest.
    pub async fn fetch(&self, wanted: &Wanted) -> Result<Fetched, Error> {
        match &wanted.origin {
            Origin::Web(_) if wanted.sha256.is_none() => return Err(Error::Unpinned),
            Origin::Registry(artifact) if artifact.digest().is_none() => return Err(Error::Unpinned),
            _ => {}
        }
        self.have(wanted, true).await
    }

    /// Whatever the origin now says: for writing down which digests it means.
    pub async fn resolve(&self, wanted: &Wanted) -> Result<Fetched, Error> {
        self.have(wanted, false).await
    }

    async fn have(&self, wanted: &Wanted, kept: bool) -> Result<Fetched, Error> {
        let had = async {
            match &wanted.origin {
                Origin::Web(url) => self.web(url, wanted, kept).await,
                Origin::Registry(artifact) => self.registry(artifact, wanted, kept).await,
            }
        };
        tokio::time::timeout(DEADLINE, had).await.unwrap_or(Err(Error::Timeout))
    }

    async fn web(&self, url: &Url, wanted: &Wanted, kept: bool) -> Result<Fetched, Error> {
        let known = if kept { wanted.sha256 } else { None };
        let (bytes, fresh) = match self.stored(known).await? {
            Some(bytes) => (bytes, false),
            None => (download(url, COMPONENT_BYTES).await?, true),
        };
        let sha256 = expect(wanted.sha256, &bytes)?;
        if let Some(key) = wanted.key {
            let kept = self.on_disk(move |store| Ok(store.signature(sha256))).await?;
            // One that was kept for another key does not count and is asked for again.
            if kept.is_none_or(|signature| !key.signed(&bytes, &signature)) {
                let signature = download(&signature_of(url), 256).await.map_err(unsigned)?;
                if !key.signed(&bytes, &signature) {
                    return Err(Error::Signature);
                }
                self.on_disk(move |store| store.put_signature(sha256, &signature))
                    .await?;
            }
        }
        if fresh {
            self.keep(bytes).await?;
        }
        Ok(self.fetched(Origin::Web(url.clone()), sha256))
    }

    async fn registry(&self, artifact: &Artifact, wanted: &Wanted, kept: bool) -> Result<Fetched, Error> {
        let registry = Registry::of(artifact)?;
        let known = if kept { artifact.digest() } else { None };
        let stored = self.stored(known).await?.zip(known);
        let new_manifest = stored.is_none();
        let (manifest, digest) = match stored {
            Some(stored) => stored,
            None => registry.manifest().await?,
        };
        let parsed = Manifest::parse(&manifest)?;
        if let Some(expected) = wanted.sha256
            && expected != parsed.digest
        {
            let found = parsed.digest;
            return Err(Error::Mismatch { expected, found });
        }
        let (bytes, new_component) = match self.stored(Some(parsed.digest)).await? {
            Some(bytes) => (bytes, false),
            None => (registry.component(&parsed).await?, true),
        };
        let sha256 = expect(Some(parsed.digest), &bytes)?;
        if let Some(key) = wanted.key {
            let signature = parsed.signature.ok_or(Error::Unsigned)?;
            if !key.signed(&bytes, signature.as_bytes()) {
                return Err(Error::Signature);
            }
        }
        if new_component {
            self.keep(bytes).await?;
        }
        if new_manifest {
            self.keep(manifest).await?;
        }
        Ok(self.fetched(Origin::Registry(artifact.pinned(digest)), sha256))
    }

    fn fetched(&self, origin: Origin, sha256: Digest) -> Fetched {
        Fetched {
            origin,
            sha256,
            file: self.store.file(sha256),
        }
    }

    async fn stored(&self, digest: Option<Digest>) -> Result<Option<Bytes>, Error> {
        match digest {
            Some(digest) => self.on_disk(move |store| Ok(store.get(digest))).await,
            None => Ok(None),
        }
    }

    async fn keep(&self, bytes: Bytes) -> Result<(), Error> {
        self.on_disk(move |store| store.put(&bytes)).await
    }

    async fn on_disk<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Store) -> std::io::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let store = self.store.clone();
        let done = tokio::task::spawn_blocking(move || work(&store)).await;
        let done = done.unwrap_or_else(|lost| Err(std::io::Error::other(lost)));
        done.map_err(|error| Error::Store(Arc::new(error)))
    }
}

impl PublicKey {
    /// Whether a signature, 64 bytes as they are or in base64 or hexadecimal, is of this key over these bytes.
    fn signed(&self, bytes: &[u8], signature: &[u8]) -> bool {
        let text = std::str::from_utf8(signature).ok().and_then(origin::bytes_of);
        let signature = match signature.len() {
            64 => Some(signature),
            _ => text.as_deref(),
        };
        let verify = |signature| UnparsedPublicKey::new(&ED25519, self.0).verify(bytes, signature);
        signature.is_some_and(|signature| verify(signature).is_ok())
    }
}

fn expect(expected: Option<Digest>, bytes: &[u8]) -> Result<Digest, Error> {
    let found = Digest::of(bytes);
    match expected {
        Some(expected) if expected != found => Err(Error::Mismatch { expected, found }),
        _ => Ok(found),
    }
}

/// `…/door.wasm?x=1` → `…/door.wasm.sig?x=1`.
fn signature_of(url: &Url) -> Url {
    let mut signature = url.clone();
    signature.set_path(&format!("{}{SIGNATURE_FILE}", url.path()));
    signature
}

fn unsigned(error: Error) -> Error {
    match error {
        Error::Status { .. } => Error::Unsigned,
        error => error,
    }
}

async fn download(url: &Url, most: usize) -> Result<Bytes, Error> {
    let limits = outbound::Limits {
        response_body: most,
        ..outbound::Limits::default()
    };
    let client = Client::new(Allow::operator(url), limits);
    let failed = |cause| match cause {
        outbound::Error::TooLarge => Error::TooLarge,
        cause => Error::Web {
            url: url.to_string(),
            cause: Arc::new(cause),
        },
    };
    let request = Request::get(url.as_str()).body(Bytes::new());
    let request = request.map_err(|error| failed(outbound::Error::Other(error.into())))?;
    let answer = client.send(request, DEADLINE).await.map_err(failed)?;
    match answer.status() {
        StatusCode::OK => Ok(answer.into_body()),
        status => Err(Error::Status {
            url: url.to_string(),
            status,
        }),
    }
}

#[cfg(test)]
mod tests;

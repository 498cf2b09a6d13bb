//! Components in OCI registries: a manifest, whose one layer is the component.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use oci_client::{
    Client,
    client::{ClientConfig, ClientProtocol},
    errors::OciDistributionError,
    manifest::{OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, WASM_LAYER_MEDIA_TYPE},
    secrets::RegistryAuth,
};
use tokio::io::AsyncWrite;

use super::{COMPONENT_BYTES, Error, digest::Digest, origin::Artifact};
use crate::tls;

/// Types of a layer that is a component: what `wkg` pushes, and what older tools do.
const LAYERS: &[&str] = &["application/wasm", WASM_LAYER_MEDIA_TYPE];
/// The annotation of a manifest that holds the component's signature.
pub const SIGNATURE: &str = "io.wasmtx.signature";

/// What a manifest says about its component.
pub(super) struct Manifest {
    layer: OciDescriptor,
    /// Of the component.
    pub(super) digest: Digest,
    /// As it was written.
    pub(super) signature: Option<String>,
}

impl Manifest {
    pub(super) fn parse(bytes: &[u8]) -> Result<Manifest, Error> {
        let manifest: OciImageManifest =
            serde_json::from_slice(bytes).map_err(|_| Error::Manifest("it is no image manifest"))?;
        let mut layers = manifest.layers.into_iter();
        let mut layers = layers
            .by_ref()
            .filter(|layer| LAYERS.contains(&layer.media_type.as_str()));
        let layer = layers
            .next()
            .ok_or(Error::Manifest("it has no layer of type application/wasm"))?;
        if layers.next().is_some() {
            return Err(Error::Manifest("it has more than one layer of type application/wasm"));
        }
        if !usize::try_from(layer.size).is_ok_and(|size| size <= COMPONENT_BYTES) {
            return Err(Error::TooLarge);
        }
        let digest = layer
            .digest
            .strip_prefix("sha256:")
            .and_then(|digest| digest.parse().ok());
        Ok(Manifest {
            digest: digest.ok_or(Error::Manifest("its layer has no SHA-256"))?,
            layer,
            signature: manifest.annotations.and_then(|mut all| all.remove(SIGNATURE)),
        })
    }
}

/// One registry, for one artifact.
pub(super) struct Registry<'a> {
    client: Client,
    artifact: &'a Artifact,
}

impl<'a> Registry<'a> {
    pub(super) fn of(artifact: &'a Artifact) -> Result<Registry<'a>, Error> {
        tls::install_provider();
        let protocol = match artifact.is_here() {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let config = ClientConfig {
            protocol,
            ..ClientConfig::default()
        };
        let client = Client::try_from(config).map_err(registry)?;
        Ok(Registry { client, artifact })
    }

    /// The manifest's bytes and digest. A digest in the reference was compared with the bytes.
    pub(super) async fn manifest(&self) -> Result<(Bytes, Digest), Error> {
        let accepted = [OCI_IMAGE_MEDIA_TYPE];
        let pulled = self
            .client
            .pull_manifest_raw(&self.artifact.0, &RegistryAuth::Anonymous, &accepted);
        let (bytes, _) = pulled.await.map_err(registry)?;
        let digest = Digest::of(&bytes);
        match self.artifact.digest() {
            Some(expected) if expected != digest => Err(Error::Mismatch {
                expected,
                found: digest,
            }),
            _ => Ok((bytes, digest)),
        }
    }

    pub(super) async fn component(&self, manifest: &Manifest) -> Result<Bytes, Error> {
        let mut sink = Sink(BytesMut::new());
        let pulled = self.client.pull_blob(&self.artifact.0, &manifest.layer, &mut sink);
        match pulled.await {
            Ok(()) => Ok(sink.0.freeze()),
            Err(OciDistributionError::IoError(error)) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(Error::TooLarge)
            }
            Err(error) => Err(registry(error)),
        }
    }
}

fn registry(error: OciDistributionError) -> Error {
    Error::Registry(Arc::new(error))
}

/// Takes a layer, up to a component's size.
struct Sink(BytesMut);

impl AsyncWrite for Sink {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.0.len() + bytes.len() > COMPONENT_BYTES {
            return Poll::Ready(Err(io::ErrorKind::FileTooLarge.into()));
        }
        self.0.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

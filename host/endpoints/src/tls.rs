//! TLS for every listener, and for sources behind it.
//!
//! A listener's certificate is looked up per handshake, so a renewed file takes effect without a restart and without
//! touching a connection. Sources are checked against the system's authorities or against one pinned certificate, which
//! is how cameras with self-signed certificates are used.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock, Weak},
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::{
    ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, ServerConfig, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use sha2::{Digest, Sha256};

/// How often the files of a certificate are looked at. Asking for their times costs two system calls and works on
/// every file system and through every link, which change notifications do not.
const RELOAD_INTERVAL: Duration = Duration::from_secs(2);

/// Where systems keep the authorities that they trust, the first that exists counts. `SSL_CERT_FILE` comes before.
const AUTHORITY_FILES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The one implementation of cryptography that is built in.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(ring::default_provider()));

/// Makes it the one of libraries that look for it themselves.
pub(crate) fn install_provider() {
    // Somebody installed one before: the same, there is no other.
    let _ = ring::default_provider().install_default();
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A file is there and does not hold what it should.
    #[error("{}: {what}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The system has no list of authorities, so nobody can vouch for a server.
    #[error("no certificate authorities are installed; pin the server's certificate with its fingerprint instead")]
    NoAuthorities,
    /// None of the above.
    #[error(transparent)]
    Tls(#[from] rustls::Error),
}

/// A listener's certificate and key, renewed when the files change.
pub struct Identity {
    key: PathBuf,
    certificate: PathBuf,
    current: ArcSwap<CertifiedKey>,
    seen: Mutex<Stamp>,
}

/// What tells one state of the two files from another.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("certificate", &self.certificate)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a key and a certificate chain, both PEM.
    ///
    /// # Errors
    /// [`Error`] when a file is missing or wrong, or the key is not the certificate's.
    pub fn load(key: &Path, certificate: &Path) -> Result<Arc<Identity>, Error> {
        let seen = stamp(key, certificate);
        let current = ArcSwap::from_pointee(read(key, certificate)?);
        let (key, certificate) = (key.to_owned(), certificate.to_owned());
        Ok(Arc::new(Identity {
            key,
            certificate,
            current,
            seen: Mutex::new(seen),
        }))
    }

    /// Reads the files again if they changed; answers whether the certificate is a new one. A pair that does not fit,
    /// half of a renewal, leaves the old one in force until the files change again.
    ///
    /// # Errors
    /// As [`Identity::load`].
    pub fn refresh(&self) -> Result<bool, Error> {
        let now = stamp(&self.key, &self.certificate);
        if std::mem::replace(&mut *self.seen.lock(), now) == now {
            return Ok(false);
        }
        self.current.store(Arc::new(read(&self.key, &self.certificate)?));
        Ok(true)
    }

    /// Starts a task that keeps the certificate fresh until the identity is dropped.
    pub fn spawn_refresh(self: &Arc<Self>) {
        let identity: Weak<Identity> = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(RELOAD_INTERVAL);
            loop {
                ticks.tick().await;
                let Some(identity) = identity.upgrade() else { return };
                let name = identity.certificate.clone();
                match tokio::task::spawn_blocking(move || identity.refresh()).await {
                    Ok(Ok(false)) => (),
                    Ok(Ok(true)) => tracing::info!(certificate = %name.display(), "certificate renewed"),
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the changed certificate cannot be used, the old one stays")
                    }
                    Err(_) => return,
                }
            }
        });
    }

    /// What a listener needs to speak TLS. `protocols` are offered by ALPN, none when empty.
    ///
    /// # Errors
    /// [`Error::Tls`], never with the versions built in.
    pub fn server_config(self: &Arc<Self>, protocols: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
        let builder = ServerConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions()?;
        let mut config = builder
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(Current(self.clone())));
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(Arc::new(config))
    }
}

/// Answers each handshake with the certificate now in force.
#[derive(Debug)]
struct Current(Arc<Identity>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.load_full())
    }
}

fn stamp(key: &Path, certificate: &Path) -> Stamp {
    [key, certificate].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
}

fn read(key: &Path, certificate: &Path) -> Result<CertifiedKey, Error> {
    let chain = read_certificates(certificate)?;
    let der = PrivateKeyDer::from_pem_file(key).map_err(|error| unreadable(key, error))?;
    CertifiedKey::from_der(chain, der, &PROVIDER).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => Error::Content {
            path: key.to_owned(),
            what: format!("is not the key of {}", certificate.display()),
        },
        other => Error::Content {
            path: certificate.to_owned(),
            what: other.to_string(),
        },
    })
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let certificates = certificates.map_err(|error| unreadable(path, error))?;
    if certificates.is_empty() {
        return Err(unreadable(path, pem::Error::NoItemsFound));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, error: pem::Error) -> Error {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => Error::Read { path, source },
        pem::Error::NoItemsFound => Error::Content {
            path,
            what: "holds nothing of the kind that is needed".into(),
        },
        other => Error::Content {
            path,
            what: format!("is not PEM: {other}"),
        },
    }
}

/// What a client of ours needs to speak TLS. With a fingerprint, the SHA-256 of the server's certificate, only that
/// certificate counts and neither its name nor its age does; without, the system's authorities decide.
///
/// # Errors
/// [`Error::NoAuthorities`], or an unreadable list of them.
pub fn client_config(fingerprint: Option<[u8; 32]>) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(PROVIDER.clone()).with_safe_default_protocol_versions()?;
    let config = match fingerprint {
        Some(expected) => builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Pinned { expected }))
            .with_no_client_auth(),
        None => builder.with_root_certificates(authorities()?).with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn authorities() -> Result<RootCertStore, Error> {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    let mut files = chosen.into_iter().chain(AUTHORITY_FILES.iter().map(PathBuf::from));
    let file = files.find(|file| file.exists()).ok_or(Error::NoAuthorities)?;
    let mut store = RootCertStore::empty();
    // Lists of authorities hold entries that this parser refuses; what is left counts.
    store.add_parsable_certificates(read_certificates(&file)?);
    if store.is_empty() {
        Err(Error::NoAuthorities)
    } else {
        Ok(store)
    }
}

/// A server that is not the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("the server's certificate has another fingerprint: {}", hex(found))]
struct Stranger {
    found: [u8; 32],
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Accepts one certificate. That the server holds its key is still proved by the handshake's signature.
#[derive(Debug)]
struct Pinned {
    expected: [u8; 32],
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        // Public on both sides: nothing to hide in the time that comparing takes.
        let found = Sha256::digest(end_entity).into();
        if found == self.expected {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(OtherError(Arc::new(Stranger { found })).into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &PROVIDER.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        PROVIDER.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
pub(crate) mod tests;

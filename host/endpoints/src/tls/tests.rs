use std::sync::atomic::{AtomicU32, Ordering};

use rustls::{ClientConnection, ServerConnection};

use super::*;

/// A folder of its own, removed at the end.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "wasmtx-tls-{}-{}",
            std::process::id(),
            COUNT.fetch_add(1, Ordering::Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Folder(folder)
    }

    fn key(&self) -> PathBuf {
        self.0.join("server.key")
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("server.crt")
    }

    /// Writes a new pair; answers the certificate's fingerprint.
    pub(crate) fn renew(&self, name: &str) -> [u8; 32] {
        let pair = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        std::fs::write(self.key(), pair.signing_key.serialize_pem()).unwrap();
        std::fs::write(self.certificate(), pair.cert.pem()).unwrap();
        Sha256::digest(pair.cert.der()).into()
    }

    pub(crate) fn load(&self) -> Result<Arc<Identity>, Error> {
        Identity::load(&self.key(), &self.certificate())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Shakes hands in memory; the client's verdict.
fn handshake(identity: &Arc<Identity>, client: Arc<ClientConfig>) -> Result<(), rustls::Error> {
    let mut server = ServerConnection::new(identity.server_config(&[]).unwrap()).unwrap();
    let mut client = ClientConnection::new(client, "camera.local".try_into().unwrap()).unwrap();
    while client.is_handshaking() {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets().unwrap();
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        let mut wire = wire.as_slice();
        while !wire.is_empty() {
            client.read_tls(&mut wire).unwrap();
            client.process_new_packets()?;
        }
    }
    Ok(())
}

#[test]
fn a_pinned_certificate_counts_whatever_name_it_carries() {
    let folder = Folder::new();
    let fingerprint = folder.renew("somebody.else");
    let identity = folder.load().unwrap();
    handshake(&identity, client_config(Some(fingerprint)).unwrap()).unwrap();
}

#[test]
fn another_certificate_than_the_pinned_one_is_refused() {
    let folder = Folder::new();
    folder.renew("camera.local");
    let identity = folder.load().unwrap();
    let refused = handshake(&identity, client_config(Some([7; 32])).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("another fingerprint"), "{refused}");
}

#[test]
fn a_renewed_certificate_is_used_by_the_next_handshake() {
    let folder = Folder::new();
    let first = folder.renew("a");
    let identity = folder.load().unwrap();
    let config = identity.server_config(&[]).unwrap();
    assert!(!identity.refresh().unwrap());

    let second = folder.renew("a.longer.name.so.that.the.size.differs");
    assert!(identity.refresh().unwrap());
    assert!(!identity.refresh().unwrap());
    assert!(handshake(&identity, client_config(Some(first)).unwrap()).is_err());
    handshake(&identity, client_config(Some(second)).unwrap()).unwrap();
    drop(config);
}

#[test]
fn half_of_a_renewal_leaves_the_old_certificate_in_force() {
    let folder = Folder::new();
    let first = folder.renew("a");
    let identity = folder.load().unwrap();

    let other = Folder::new();
    other.renew("a.longer.name.so.that.the.size.differs");
    std::fs::copy(other.certificate(), folder.certificate()).unwrap();
    let error = identity.refresh().unwrap_err().to_string();
    assert!(error.contains("is not the key of"), "{error}");
    handshake(&identity, client_config(Some(first)).unwrap()).unwrap();

    std::fs::copy(other.key(), folder.key()).unwrap();
    // The two keys are equally long: only the time tells them apart, and a fast file system may not.
    let later = SystemTime::now() + Duration::from_secs(5);
    std::fs::File::options()
        .write(true)
        .open(folder.key())
        .unwrap()
        .set_modified(later)
        .unwrap();
    assert!(identity.refresh().unwrap());
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let folder = Folder::new();
    let check = |expected: &str| {
        let error = folder.load().unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check("server.crt: ");
    folder.renew("a");
    std::fs::write(folder.certificate(), "no certificate").unwrap();
    check("server.crt: holds nothing of the kind");
    std::fs::write(
        folder.certificate(),
        "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
    )
    .unwrap();
    check("server.crt: is not PEM");
    folder.renew("a");
    std::fs::remove_file(folder.key()).unwrap();
    check("server.key: ");
}

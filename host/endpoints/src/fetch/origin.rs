//! What the configuration says about a plugin that is not on this machine.

use std::{fmt, net::IpAddr, str::FromStr};

use base64::Engine;
use oci_client::Reference;
use url::{Host, Url};

use super::digest::Digest;

/// In front of a reference to an OCI registry.
const OCI: &str = "oci://";
/// The only algorithm of digests that is taken.
const SHA256: &str = "sha256:";

/// Where a component is fetched from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A file behind `https://`, or `http://` on this machine.
    Web(Url),
    /// An artifact in an OCI registry.
    Registry(Artifact),
}

/// A reference to an OCI registry: `oci://registry/name:tag@sha256:…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact(pub(super) Reference);

/// A text that is no origin, with what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OriginError(&'static str);

impl Origin {
    /// Whether a text means something to be fetched, rightly or wrongly written.
    pub fn is_meant(text: &str) -> bool {
        text.contains("://")
    }

    /// The digest that the text itself names, of the component or of its manifest.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Origin::Web(_) => None,
            Origin::Registry(artifact) => artifact.digest(),
        }
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Origin, OriginError> {
        match text.strip_prefix(OCI) {
            Some(reference) => Artifact::parse(reference).map(Origin::Registry),
            None => web(text).map(Origin::Web),
        }
        .map_err(OriginError)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Web(url) => url.fmt(f),
            Origin::Registry(artifact) => artifact.fmt(f),
        }
    }
}

fn web(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => return Err("is not a URL of a host"),
    };
    match url.scheme() {
        "https" => {}
        "http" if here => {}
        "http" => return Err("plain http is for this machine only; use https"),
        _ => return Err("plugins come from a file, builtin:, https:// or oci://"),
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("a user or password in the URL would be shown with the configuration");
    }
    if url.fragment().is_some() {
        return Err("a file has no fragment");
    }
    Ok(url)
}

impl Artifact {
    fn parse(text: &str) -> Result<Artifact, &'static str> {
        let (registry, _) = text
            .split_once('/')
            .ok_or("needs a registry and a name: oci://registry/name")?;
        // Without this, a name alone would be looked for in a registry that nobody wrote down.
        if !registry.contains(['.', ':']) && registry != "localhost" {
            return Err("needs the host of a registry first: oci://registry.example/name");
        }
        let named = |text: &str| text.rsplit_once('/').is_some_and(|(_, last)| last.contains([':', '@']));
        if !named(text) {
            return Err("needs a tag (:1.0) or, better, a digest (@sha256:…)");
        }
        let reference = text.parse().map_err(|_| "is not a reference to an OCI registry");
        let artifact = Artifact(reference?);
        if artifact.0.digest().is_some() && artifact.digest().is_none() {
            return Err("has a digest that is not sha256: with 64 hexadecimal digits");
        }
        Ok(artifact)
    }

    /// The digest of the manifest, if it is named.
    pub fn digest(&self) -> Option<Digest> {
        self.0.digest()?.strip_prefix(SHA256)?.parse().ok()
    }

    /// The same artifact by its digest.
    pub(super) fn pinned(&self, digest: Digest) -> Artifact {
        let digest = format!("{SHA256}{digest}");
        let (registry, name) = (self.0.registry().to_owned(), self.0.repository().to_owned());
        Artifact(match self.0.tag() {
            Some(tag) => Reference::with_tag_and_digest(registry, name, tag.to_owned(), digest),
            None => Reference::with_digest(registry, name, digest),
        })
    }

    /// Whether the registry is this machine, which is spoken to without TLS.
    pub(super) fn is_here(&self) -> bool {
        let registry = self.0.registry();
        let host = match registry.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => host,
            _ => registry,
        };
        let ip = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

impl fmt::Display for Artifact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{OCI}{}", self.0.whole())
    }
}

/// An ed25519 key that components are signed with, its public half.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicKey(pub(super) [u8; 32]);

impl FromStr for PublicKey {
    type Err = OriginError;

    /// 32 bytes in base64 or hexadecimal.
    fn from_str(text: &str) -> Result<PublicKey, OriginError> {
        let bytes = bytes_of(text).and_then(|bytes| bytes.try_into().ok());
        bytes
            .map(PublicKey)
            .ok_or(OriginError("an ed25519 key has 32 bytes, in base64 or hexadecimal"))
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&base64::prelude::BASE64_STANDARD.encode(self.0))
    }
}

/// Text that stands for bytes. No key and no signature is as long in the other spelling.
pub(super) fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let hexadecimal = || {
        let digits = text.as_bytes().chunks_exact(2);
        if !digits.remainder().is_empty() {
            return None;
        }
        digits
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok())
            .collect()
    };
    match text.len() {
        64 | 128 => hexadecimal(),
        _ => base64::prelude::BASE64_STANDARD.decode(text).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    fn origin(text: &str) -> Result<Origin, OriginError> {
        text.parse()
    }

    #[test]
    fn what_can_be_fetched_is_written_as_it_was_read() {
        for text in [
            "https://plugins.example/door.wasm?v=2",
            "http://127.0.0.1:5000/door.wasm",
            "http://localhost/door.wasm",
            "http://[::1]:80/door.wasm",
            "oci://registry.example/team/door:1.2",
            "oci://localhost:5000/door:1",
            &format!("oci://registry.example/door@sha256:{DIGEST}"),
            &format!("oci://127.0.0.1:5000/door:1@sha256:{DIGEST}"),
        ] {
            let shown = origin(text).unwrap().to_string();
            assert!(shown == text || shown == text.replace(":80/", "/"), "{shown}");
        }
        let digest = origin(&format!("oci://r.example/door@sha256:{DIGEST}"))
            .unwrap()
            .digest();
        assert_eq!(digest.unwrap().to_string(), DIGEST);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_in_words() {
        for (text, what) in [
            ("http://plugins.example/door.wasm", "use https"),
            ("ftp://plugins.example/door.wasm", "https:// or oci://"),
            ("https://user:secret@plugins.example/", "would be shown"),
            ("https://plugins.example/#x", "fragment"),
            ("https://", "is not a URL"),
            ("oci://door", "oci://registry/name"),
            ("oci://library/door:1", "host of a registry"),
            ("oci://registry.example/door", "tag"),
            ("oci://registry.example:5000/door", "tag"),
            ("oci://registry.example/Door:1", "not a reference"),
            ("oci://registry.example/../door:1", "not a reference"),
            (
                &format!("oci://registry.example/door@sha512:{DIGEST}{DIGEST}"),
                "digest",
            ),
            (
                &format!("oci://registry.example/door@sha256:{}", &DIGEST[..40]),
                "digest",
            ),
        ] {
            let error = origin(text).unwrap_err().to_string();
            assert!(
                error.contains(what) || error.contains("not a reference"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn only_this_machine_is_spoken_to_in_the_clear() {
        let here = |text: &str| match origin(text) {
            Ok(Origin::Registry(artifact)) => artifact.is_here(),
            other => panic!("{other:?}"),
        };
        assert!(here("oci://localhost:5000/a:1") && here("oci://127.0.0.1:5000/a:1") && here("oci://localhost/a:1"));
        assert!(!here("oci://registry.example:5000/a:1") && !here("oci://127.0.0.1.example/a:1"));
        assert!(!here("oci://10.0.0.1:5000/a:1"));
    }

    #[test]
    fn a_key_is_base64_or_hexadecimal() {
        let key = PublicKey([7; 32]);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert_eq!("07".repeat(32).parse(), Ok(key));
        for wrong in ["", "AAAA", &"07".repeat(31), &"0z".repeat(32), &"ü".repeat(32)] {
            assert!(wrong.parse::<PublicKey>().is_err(), "{wrong}");
        }
    }
}

//! The arithmetic of Digest (RFC 7616 section 3.4).

use std::fmt::Write as _;

use md5::Md5;
use sha2::{Digest as _, Sha256};

use super::equal;

/// The hash of a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// All that FFmpeg, GStreamer, VLC and most cameras know.
    Md5,
    /// RFC 7616.
    Sha256,
}

impl Algorithm {
    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// The algorithm of this name. The `-sess` forms are not known.
    pub fn from_name(name: &str) -> Option<Algorithm> {
        [Algorithm::Md5, Algorithm::Sha256]
            .into_iter()
            .find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The hash of these parts with colons between them, as hexadecimal digits.
    fn hash(self, parts: &[&str]) -> String {
        let text = parts.join(":");
        match self {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// A digest: everything that was hashed but the secret, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The user's name.
    pub user: String,
    /// The realm of the challenge.
    pub realm: String,
    /// The nonce of the challenge.
    pub nonce: String,
    /// The URL that was hashed, as the client wrote it.
    pub uri: String,
    /// The method that was hashed. Not on the wire: the request's.
    pub method: String,
    /// The hash; MD5 when the client does not say.
    pub algorithm: Option<Algorithm>,
    /// The challenge's opaque value.
    pub opaque: Option<String>,
    /// The part of RFC 2617's "auth" protection; without it the digest is one of RFC 2069.
    pub protection: Option<Protection>,
    /// The hash, in hexadecimal digits.
    pub response: String,
}

/// What `qop=auth` adds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// How many requests were sent with this nonce.
    pub count: u32,
    /// The client's own nonce.
    pub client_nonce: String,
}

impl Digest {
    /// What the response has to be if the user knows this secret.
    pub(crate) fn expected(&self, user: &str, secret: &str) -> String {
        let algorithm = self.algorithm.unwrap_or(Algorithm::Md5);
        let first = algorithm.hash(&[user, &self.realm, secret]);
        let second = algorithm.hash(&[&self.method, &self.uri]);
        match &self.protection {
            Some(Protection { count, client_nonce }) => algorithm.hash(&[
                &first,
                &self.nonce,
                &format!("{count:08x}"),
                client_nonce,
                "auth",
                &second,
            ]),
            None => algorithm.hash(&[&first, &self.nonce, &second]),
        }
    }

    pub(crate) fn proves(&self, user: &str, secret: &str) -> subtle::Choice {
        equal(&self.response.to_ascii_lowercase(), &self.expected(user, secret))
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut out, byte| {
            // Writing to a string cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

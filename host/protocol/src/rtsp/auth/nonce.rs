//! The server's side: making nonces, asking for credentials, and checking all of an answer but the secret.

use std::time::{Duration, Instant};

use hmac::{Hmac, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::digest::hex;
use super::grammar::{Authorization, Challenge};
use super::{Algorithm, Credentials, Digest, Offers, Scheme};
use crate::rtsp::{Error, Headers, Request, Url};

/// A nonce can be used for this long.
pub const NONCE_LIFE: Duration = Duration::from_secs(60);

/// Hexadecimal digits of a nonce's time.
const TIME_DIGITS: usize = 16;
/// Bytes that are kept of a nonce's hash.
const HASH_BYTES: usize = 16;

/// Asks for credentials and checks answers, for one connection.
#[derive(Debug)]
pub struct Checker {
    offers: Offers,
    key: Hmac<Sha256>,
    address: String,
    born: Instant,
    /// Time of the newest nonce that was used, and its highest count. An older nonce is stale.
    newest: Option<(u64, u32)>,
}

/// What is to be thought of a request's `Authorization`.
#[derive(Debug)]
pub enum Checked {
    /// There is none.
    Absent,
    /// Well-formed and fresh; whether they are right is for others to say.
    Present(Credentials),
    /// To be asked for again: the nonce is not ours or too old, was counted backwards, or the scheme was not offered.
    Again {
        /// Whether a fresh nonce is all that is missing.
        stale: bool,
    },
}

impl Checker {
    /// A checker for a connection from `address` that was accepted at `now`. `seed` is random and this connection's own.
    pub fn new(now: Instant, seed: &[u8; 32], address: impl Into<String>, offers: Offers) -> Checker {
        Checker {
            offers,
            key: keyed(seed, b"nonce"),
            address: address.into(),
            born: now,
            newest: None,
        }
    }

    /// Adds the challenges to a response with status 401.
    pub fn challenge(&self, now: Instant, stale: bool, headers: &mut Headers) {
        let nonce = self.nonce(self.time(now));
        for scheme in &self.offers.schemes {
            let realm = self.offers.realm.clone();
            let challenge = match scheme {
                Scheme::Basic => Challenge::Basic { realm },
                Scheme::Digest(algorithm) => Challenge::Digest {
                    realm,
                    nonce: nonce.clone(),
                    algorithm: Some(*algorithm),
                    opaque: None,
                    protection: true,
                    stale,
                },
            };
            headers.push("WWW-Authenticate", challenge.to_string());
        }
    }

    /// Checks a request's `Authorization`.
    pub fn check(&mut self, now: Instant, request: &Request) -> Result<Checked, Error> {
        let Some(value) = request.headers.get("authorization") else {
            return Ok(Checked::Absent);
        };
        match Authorization::parse(value)? {
            Authorization::Basic { user, password } if self.offers.schemes.contains(&Scheme::Basic) => {
                Ok(Checked::Present(Credentials::with_password(user, password)))
            }
            // Nobody asks for a token, but who has one for an RTSP server may send it (RFC 6750).
            Authorization::Bearer(token) => Ok(Checked::Present(Credentials::with_token(token))),
            Authorization::Digest(digest) => {
                let algorithm = digest.algorithm.unwrap_or(Algorithm::Md5);
                if !self.offers.schemes.contains(&Scheme::Digest(algorithm)) || digest.realm != self.offers.realm {
                    return Ok(Checked::Again { stale: false });
                }
                let digest = Digest {
                    method: request.method.name().to_owned(),
                    ..digest
                };
                if !same_resource(&digest.uri, &request.url) {
                    return Err(Error::Auth);
                }
                if !self.is_fresh(now, &digest) {
                    return Ok(Checked::Again { stale: true });
                }
                Ok(Checked::Present(Credentials::with_digest(digest)))
            }
            Authorization::Basic { .. } | Authorization::Other => Ok(Checked::Again { stale: false }),
        }
    }

    /// Whether the nonce is ours, young, not older than one that was used already, and its count has risen.
    fn is_fresh(&mut self, now: Instant, digest: &Digest) -> bool {
        let Some(time) = digest
            .nonce
            .get(..TIME_DIGITS)
            .and_then(|t| u64::from_str_radix(t, 16).ok())
        else {
            return false;
        };
        let ours = self.nonce(time).as_bytes().ct_eq(digest.nonce.as_bytes());
        let age = self.time(now).checked_sub(time);
        if !bool::from(ours) || age.is_none_or(|age| u128::from(age) > NONCE_LIFE.as_millis()) {
            return false;
        }
        let count = digest.protection.as_ref().map(|protection| protection.count);
        let last = match self.newest {
            Some((newest, _)) if time < newest => return false,
            Some((newest, last)) if time == newest => last,
            _ => 0,
        };
        if count.is_some_and(|count| count <= last) {
            return false;
        }
        self.newest = Some((time, count.unwrap_or(last)));
        true
    }

    /// Milliseconds since the connection was accepted.
    fn time(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.born).as_millis()).unwrap_or(u64::MAX)
    }

    /// `time (8 bytes), HMAC(key, time, address) (16 bytes)`, in hexadecimal digits.
    fn nonce(&self, time: u64) -> String {
        let hash = self
            .key
            .clone()
            .chain_update(time.to_be_bytes())
            .chain_update(&self.address)
            .finalize()
            .into_bytes();
        let kept: Vec<u8> = hash.into_iter().take(HASH_BYTES).collect();
        format!("{time:0width$x}{}", hex(&kept), width = TIME_DIGITS)
    }
}

/// A keyed hash for one purpose out of a connection's seed.
pub(crate) fn keyed(seed: &[u8; 32], purpose: &[u8]) -> Hmac<Sha256> {
    // RFC 2104 keys have any length, a shorter one is padded: this type has no other way to say it.
    let mut key = [0; 64];
    key.iter_mut().zip(seed).for_each(|(to, from)| *to = *from);
    <Hmac<Sha256> as hmac::digest::KeyInit>::new(&key.into()).chain_update(purpose)
}

/// Whether a digest's URI means the request's: the same text, or the same path. VLC hashes the stream's URL when it sets
/// up a media; others hash the path alone.
fn same_resource(hashed: &str, requested: &str) -> bool {
    if hashed == requested {
        return true;
    }
    let path = |url: &str| Url::parse(url).map(|url| url.path.trim_matches('/').to_owned());
    match (path(hashed), path(requested)) {
        (Ok(hashed), Ok(requested)) => requested
            .strip_prefix(&hashed)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        _ => false,
    }
}

//! Secrets and credentials: what must never be printed, and is compared in constant time (threats T06, T10).
//!
//! [`Secret`] has no `Debug` and no `Display`; the API shows it as `<redacted>`.

use super::{
    node::Node,
    schema::{Reader, Value, describe},
    value::text,
};
use argon2::{Argon2, PasswordVerifier, password_hash::phc::PasswordHash};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// What the API shows in place of a secret, and what leaves the old one when it is sent back.
pub const REDACTED: &str = "<redacted>";

/// A secret text. It is wiped from memory when dropped.
#[derive(Clone, Default)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret itself, for the one who must use it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in a time that depends on the lengths only.
    pub fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Secret {
        Secret(Zeroizing::new(text.to_owned()))
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Secret) -> bool {
        self.matches(other.expose())
    }
}

impl Value for Secret {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node) {
            Some(text) => Some(Secret::from(text)),
            None => reader.expected(node, "text"),
        }
    }

    fn json(&self) -> Json {
        Json::from(if self.is_empty() { "" } else { REDACTED })
    }
}

/// A user name or a password: as it is, or as a hash of it.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub enum Credential {
    /// The text itself.
    Plain(Secret),
    /// `sha256:` and the hash in base64.
    Sha256([u8; 32]),
    /// `argon2:` and a PHC string.
    Argon2(Secret),
}

impl Credential {
    /// No credential: an empty text.
    pub fn empty() -> Credential {
        Credential::Plain(Secret::default())
    }

    /// Whether nothing is asked for.
    pub fn is_empty(&self) -> bool {
        matches!(self, Credential::Plain(text) if text.is_empty())
    }

    /// Whether only a hash is known, so that digest authentication is impossible.
    pub fn is_hashed(&self) -> bool {
        !matches!(self, Credential::Plain(_))
    }

    /// The text, when it is not hashed.
    pub fn plain(&self) -> Option<&str> {
        match self {
            Credential::Plain(text) => Some(text.expose()),
            Credential::Sha256(_) | Credential::Argon2(_) => None,
        }
    }

    /// Whether checking it is expensive on purpose and belongs on a thread of its own.
    pub fn is_slow(&self) -> bool {
        matches!(self, Credential::Argon2(_))
    }

    /// Whether this is what was given. Blocks for long when [`is_slow`](Self::is_slow).
    pub fn matches(&self, given: &str) -> bool {
        match self {
            Credential::Plain(text) => text.matches(given),
            Credential::Sha256(hash) => hash.ct_eq(Sha256::digest(given.as_bytes()).as_slice()).into(),
            Credential::Argon2(phc) => PasswordHash::new(phc.expose())
                .is_ok_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok()),
        }
    }
}

impl From<&str> for Credential {
    fn from(text: &str) -> Credential {
        Credential::Plain(Secret::from(text))
    }
}

impl Value for Credential {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node) else {
            return reader.expected(node, "text");
        };
        // The messages do not quote what was found: it may be half of a secret.
        if let Some(hash) = text.strip_prefix("sha256:") {
            let Some(hash) = STANDARD.decode(hash).ok().and_then(|hash| hash.try_into().ok()) else {
                reader.refuse(&node.origin, "after `sha256:` comes the base64 of 32 bytes");
                return None;
            };
            return Some(Credential::Sha256(hash));
        }
        if let Some(phc) = text.strip_prefix("argon2:") {
            if PasswordHash::new(phc).is_err() {
                reader.refuse(
                    &node.origin,
                    "after `argon2:` comes a PHC string such as $argon2id$v=19$…",
                );
                return None;
            }
            return Some(Credential::Argon2(Secret::from(phc)));
        }
        if text.chars().any(char::is_control) {
            reader.refuse(&node.origin, "a credential has no control characters");
            return None;
        }
        Some(Credential::from(text))
    }

    fn json(&self) -> Json {
        Json::from(match self {
            Credential::Plain(text) => text.expose().to_owned(),
            Credential::Sha256(hash) => format!("sha256:{}", STANDARD.encode(hash)),
            Credential::Argon2(phc) => format!("argon2:{}", phc.expose()),
        })
    }
}

/// A credential that the API does not show.
#[derive(Clone, PartialEq)]
pub struct Password(pub Credential);

impl Value for Password {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        Credential::read(node, reader).map(Password)
    }

    fn json(&self) -> Json {
        Json::from(if self.0.is_empty() { "" } else { REDACTED })
    }
}

/// SHA-256 of a certificate in hex, with or without colons; empty when the usual rules decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint(Option<[u8; 32]>);

impl Fingerprint {
    /// This hash.
    pub(crate) fn of(hash: [u8; 32]) -> Fingerprint {
        Fingerprint(Some(hash))
    }

    /// The hash a certificate must have.
    pub fn sha256(&self) -> Option<[u8; 32]> {
        self.0
    }
}

/// As it stands in the file: hex digits, or nothing.
impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().flatten().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Value for Fingerprint {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        match text(node) {
            Some("") => Some(Fingerprint(None)),
            Some(text) => match hex32(text) {
                Some(hash) => Some(Fingerprint(Some(hash))),
                None => {
                    reader.refuse(
                        &node.origin,
                        format!("expected 64 hex digits (SHA-256), found {}", describe(node)),
                    );
                    None
                }
            },
            None => reader.expected(node, "64 hex digits (SHA-256)"),
        }
    }

    fn json(&self) -> Json {
        Json::from(self.to_string())
    }
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .filter(|c| *c != ':')
        .take(65)
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let bytes: Vec<u8> = digits
        .filter(|digits| digits.len() == 64)?
        .chunks(2)
        .map(|pair| pair[0] << 4 | pair[1])
        .collect();
    bytes.try_into().ok()
}

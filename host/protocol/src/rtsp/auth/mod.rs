//! Basic and Digest authentication (RFC 7617, RFC 7616; RFC 2617 for clients that know MD5 only), both sides.
//!
//! A password or what was derived from one never leaves [`Credentials`]: others ask [`Credentials::matches`]. The nonce
//! needs no memory: it is a time with a keyed hash behind it, and the key belongs to one connection, so that no
//! recorded header is worth anything elsewhere or a minute later.

mod client;
mod digest;
mod grammar;
mod nonce;

use std::fmt;

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

pub use client::Login;
pub use digest::{Algorithm, Digest};
pub use grammar::{Authorization, Challenge};
pub use nonce::{Checked, Checker, NONCE_LIFE};

pub(crate) use digest::hex;
pub(crate) use nonce::keyed;

/// Which ways to prove oneself a server offers, in which order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offers {
    /// The name that a client may show to its user.
    pub realm: String,
    /// In the order of the challenges. FFmpeg takes the last digest that it is offered, so MD5 goes behind SHA-256.
    pub schemes: Vec<Scheme>,
}

/// One way to prove oneself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// The password as it is.
    Basic,
    /// A hash of the password and of what is asked for.
    Digest(Algorithm),
}

/// A text that is neither printed nor left behind in memory.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text over.
    pub fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The text itself; whoever asks for it says by this name that it knows what it does.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.0).into_bytes();
        bytes.fill(0);
        // Keeps the compiler from leaving out writes that nobody reads.
        std::hint::black_box(&bytes);
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Who a peer says it is, and its proof.
#[derive(Clone, Debug)]
pub struct Credentials {
    /// The user's name; empty beside a token.
    pub user: String,
    proof: Proof,
}

#[derive(Clone, Debug)]
enum Proof {
    Password(Secret),
    Token(Secret),
    Digest(Box<Digest>),
}

impl Credentials {
    /// A user's name with the password itself.
    pub fn with_password(user: impl Into<String>, password: Secret) -> Credentials {
        Credentials {
            user: user.into(),
            proof: Proof::Password(password),
        }
    }

    /// A bearer token (RFC 6750).
    pub fn with_token(token: Secret) -> Credentials {
        Credentials {
            user: String::new(),
            proof: Proof::Token(token),
        }
    }

    /// A digest whose nonce was checked.
    pub fn with_digest(digest: Digest) -> Credentials {
        Credentials {
            user: digest.user.clone(),
            proof: Proof::Digest(Box::new(digest)),
        }
    }

    /// Whether they prove that this user knows this secret. Takes as long for a wrong user as for a wrong secret.
    pub fn matches(&self, user: &str, secret: &str) -> bool {
        let proven = match &self.proof {
            Proof::Password(password) => equal(password.expose(), secret),
            Proof::Token(_) => 0.into(),
            Proof::Digest(digest) => digest.proves(user, secret),
        };
        (equal(&self.user, user) & proven).into()
    }

    /// The password, for those who must hash or forward it; `None` beside a digest or a token.
    pub fn password(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Password(password) => Some(password),
            Proof::Token(_) | Proof::Digest(_) => None,
        }
    }

    /// The bearer token.
    pub fn token(&self) -> Option<&Secret> {
        match &self.proof {
            Proof::Token(token) => Some(token),
            Proof::Password(_) | Proof::Digest(_) => None,
        }
    }

    /// Whether this is a digest, which only a plain secret can be compared with.
    pub fn is_digest(&self) -> bool {
        matches!(self.proof, Proof::Digest(_))
    }
}

/// Compares without telling by its duration where, or in what length, the two differ.
fn equal(a: &str, b: &str) -> subtle::Choice {
    Sha256::digest(a).ct_eq(&Sha256::digest(b))
}

#[cfg(test)]
mod tests;

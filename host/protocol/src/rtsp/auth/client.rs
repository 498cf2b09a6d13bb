//! The client's side: answering a challenge.

use super::digest::Protection;
use super::{Algorithm, Authorization, Challenge, Digest, Secret};
use crate::rtsp::Method;

/// A user who answers challenges.
#[derive(Clone, Debug)]
pub struct Login {
    user: String,
    password: Secret,
    /// The challenge that answers are made for.
    challenge: Option<Challenge>,
    /// Requests that were signed for this challenge.
    count: u32,
}

impl Login {
    /// A user and a password.
    pub fn new(user: impl Into<String>, password: Secret) -> Login {
        Login {
            user: user.into(),
            password,
            challenge: None,
            count: 0,
        }
    }

    /// Takes the best of these challenges: SHA-256, then MD5, then Basic. False when there is no use in trying (again):
    /// none is known, or the same question was answered already and the nonce was not stale.
    pub fn take(&mut self, challenges: impl IntoIterator<Item = Challenge>) -> bool {
        let rank = |challenge: &Challenge| match challenge {
            Challenge::Digest {
                algorithm: Some(Algorithm::Sha256),
                ..
            } => 2,
            Challenge::Digest { .. } => 1,
            Challenge::Basic { .. } => 0,
        };
        let Some(best) = challenges.into_iter().max_by_key(rank) else {
            return false;
        };
        let answered = self.challenge.is_some() && !matches!(best, Challenge::Digest { stale: true, .. });
        self.challenge = Some(best);
        self.count = 0;
        !answered
    }

    /// The value of `Authorization` for a request; `None` before a challenge. `client_nonce` is random.
    pub fn sign(&mut self, method: &Method, url: &str, client_nonce: &str) -> Option<String> {
        let authorization = match self.challenge.as_ref()? {
            Challenge::Basic { .. } => Authorization::Basic {
                user: self.user.clone(),
                password: self.password.clone(),
            },
            Challenge::Digest {
                realm,
                nonce,
                algorithm,
                opaque,
                protection,
                ..
            } => {
                self.count = self.count.saturating_add(1);
                let mut digest = Digest {
                    user: self.user.clone(),
                    realm: realm.clone(),
                    nonce: nonce.clone(),
                    uri: url.to_owned(),
                    method: method.name().to_owned(),
                    algorithm: *algorithm,
                    opaque: opaque.clone(),
                    protection: protection.then(|| Protection {
                        count: self.count,
                        client_nonce: client_nonce.to_owned(),
                    }),
                    response: String::new(),
                };
                digest.response = digest.expected(&self.user, self.password.expose());
                Authorization::Digest(digest)
            }
        };
        Some(authorization.to_string())
    }
}

//! The keys that may have signed a token, and whether they did. A key belongs to one algorithm, whatever a token says.

use base64ct::{Base64UrlUnpadded, Encoding};
use ed25519_dalek::pkcs8::DecodePublicKey;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature::Verifier;
use rsa::BigUint;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::traits::PublicKeyParts;
use serde::Deserialize;
use sha2::Sha256;

/// RFC 7518 section 3.2: a key of the hash's size or larger.
pub(crate) const SHORTEST_SECRET: usize = 32;
/// RFC 7518 section 3.3.
const SHORTEST_RSA: usize = 2_048;

/// How a token may be signed (RFC 7518 section 3.1, RFC 8037). There is no `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Algorithm {
    #[serde(rename = "RS256")]
    Rs256,
    #[serde(rename = "ES256")]
    Es256,
    #[serde(rename = "EdDSA")]
    EdDsa,
    #[serde(rename = "HS256")]
    Hs256,
}

/// A key, and the name that tokens may call it by.
pub(crate) struct Key {
    pub(crate) id: Option<String>,
    verifier: Verifying,
}

enum Verifying {
    Rs256(rsa::pkcs1v15::VerifyingKey<Sha256>),
    Es256(p256::ecdsa::VerifyingKey),
    EdDsa(ed25519_dalek::VerifyingKey),
    Hs256(String),
}

/// A JSON Web Key (RFC 7517); what has no bearing on checking a signature is left out.
#[derive(Deserialize)]
pub(crate) struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
}

impl Key {
    /// A secret that both sides know.
    pub(crate) fn secret(id: Option<String>, secret: String) -> Result<Self, String> {
        if secret.len() < SHORTEST_SECRET {
            return Err(format!("a secret has at least {SHORTEST_SECRET} bytes"));
        }
        Ok(Self {
            id,
            verifier: Verifying::Hs256(secret),
        })
    }

    /// A public key as OpenSSL writes it.
    pub(crate) fn pem(id: Option<String>, text: &str) -> Result<Self, String> {
        let text = text.trim();
        let verifier = if let Ok(key) = p256::PublicKey::from_public_key_pem(text) {
            Verifying::Es256(key.into())
        } else if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_pem(text) {
            Verifying::EdDsa(key)
        } else {
            let key = rsa::RsaPublicKey::from_public_key_pem(text);
            let key = key.or_else(|_| rsa::RsaPublicKey::from_pkcs1_pem(text).map_err(|_| ()));
            rs256(key.map_err(
                |()| "this is no public key in PEM, of RSA, P-256 or Ed25519 (`openssl pkey -pubout` writes one)",
            )?)?
        };
        Ok(Self { id, verifier })
    }

    /// A public key as services publish it. Secrets are not taken this way.
    pub(crate) fn jwk(jwk: Jwk) -> Result<Self, String> {
        if jwk.purpose.as_deref().is_some_and(|purpose| purpose != "sig") {
            return Err("this key is not for signatures".into());
        }
        let bytes = |name: &str, text: &Option<String>| -> Result<Vec<u8>, String> {
            let text = text.as_deref().ok_or_else(|| format!("`{name}` is missing"))?;
            Base64UrlUnpadded::decode_vec(text).map_err(|_| format!("`{name}` is not in base64url"))
        };
        let verifier = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("RSA", _) => {
                let [n, e] = [bytes("n", &jwk.n)?, bytes("e", &jwk.e)?].map(|bytes| BigUint::from_bytes_be(&bytes));
                rs256(rsa::RsaPublicKey::new(n, e).map_err(|error| format!("no RSA key: {error}"))?)?
            }
            ("EC", Some("P-256")) => {
                let point = [&[4], &*bytes("x", &jwk.x)?, &*bytes("y", &jwk.y)?].concat();
                Verifying::Es256(p256::ecdsa::VerifyingKey::from_sec1_bytes(&point).map_err(|_| "no point of P-256")?)
            }
            ("OKP", Some("Ed25519")) => {
                let point = bytes("x", &jwk.x)?.try_into().map_err(|_| "`x` has not 32 bytes")?;
                Verifying::EdDsa(ed25519_dalek::VerifyingKey::from_bytes(&point).map_err(|_| "no point of Ed25519")?)
            }
            (kty, crv) => {
                return Err(format!(
                    "a key of the kind {kty} {} is of no use here",
                    crv.unwrap_or_default()
                ));
            }
        };
        let key = Self { id: jwk.kid, verifier };
        match jwk.alg {
            Some(alg) if alg != key.algorithm().name() => Err(format!("a key of this kind is not for {alg}")),
            _ => Ok(key),
        }
    }

    pub(crate) fn algorithm(&self) -> Algorithm {
        match self.verifier {
            Verifying::Rs256(_) => Algorithm::Rs256,
            Verifying::Es256(_) => Algorithm::Es256,
            Verifying::EdDsa(_) => Algorithm::EdDsa,
            Verifying::Hs256(_) => Algorithm::Hs256,
        }
    }

    /// Did it make this signature?
    pub(crate) fn made(&self, signature: &[u8], text: &[u8]) -> bool {
        match &self.verifier {
            Verifying::Rs256(key) => rsa::pkcs1v15::Signature::try_from(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            Verifying::Es256(key) => p256::ecdsa::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify(text, &signature).is_ok()),
            Verifying::EdDsa(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(text, &signature).is_ok()),
            // Takes as long for a nearly right signature as for a wrong one.
            Verifying::Hs256(secret) => Hmac::<Sha256>::new_from_slice(secret.as_bytes()).is_ok_and(|mut mac| {
                mac.update(text);
                mac.verify_slice(signature).is_ok()
            }),
        }
    }
}

impl Algorithm {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }
}

fn rs256(key: rsa::RsaPublicKey) -> Result<Verifying, String> {
    if key.n().bits() < SHORTEST_RSA {
        return Err(format!("an RSA key has at least {SHORTEST_RSA} bits"));
    }
    Ok(Verifying::Rs256(rsa::pkcs1v15::VerifyingKey::new(key)))
}

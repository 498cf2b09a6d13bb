//! The `Authorization` and `WWW-Authenticate` headers (RFC 7235 section 2).
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

use std::fmt;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::digest::Protection;
use super::{Algorithm, Digest, Secret};
use crate::rtsp::Error;

/// Parameters that are taken from one header.
const MAX_PARAMETERS: usize = 32;

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The value of `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Authorization {
    /// RFC 7617.
    Basic {
        /// The user's name; holds no colon.
        user: String,
        /// The password.
        password: Secret,
    },
    /// RFC 6750.
    Bearer(Secret),
    /// RFC 7616. [`Digest::method`] is empty.
    Digest(Digest),
    /// A scheme or an algorithm that is not known here.
    Other,
}

/// One value of `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// RFC 7617.
    Basic {
        /// The realm.
        realm: String,
    },
    /// RFC 7616.
    Digest {
        /// The realm.
        realm: String,
        /// To be hashed.
        nonce: String,
        /// MD5 when absent.
        algorithm: Option<Algorithm>,
        /// To be sent back.
        opaque: Option<String>,
        /// Whether `qop=auth` is offered.
        protection: bool,
        /// Whether only the nonce was wrong.
        stale: bool,
    },
}

impl Authorization {
    /// Parses a header's value.
    pub fn parse(value: &str) -> Result<Authorization, Error> {
        let (scheme, rest) = value.trim().split_once(' ').ok_or(Error::Auth)?;
        let rest = rest.trim();
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => {
                let text = BASE64
                    .decode(rest)
                    .ok()
                    .and_then(|b| String::from_utf8(b).ok())
                    .ok_or(Error::Auth)?;
                let (user, password) = text.split_once(':').ok_or(Error::Auth)?;
                Ok(Authorization::Basic {
                    user: user.to_owned(),
                    password: Secret::new(password),
                })
            }
            "bearer" if !rest.is_empty() => Ok(Authorization::Bearer(Secret::new(rest))),
            "digest" => {
                let parameters = Parameters::parse(rest)?;
                let algorithm = match parameters.get("algorithm").map(Algorithm::from_name) {
                    Some(None) => return Ok(Authorization::Other),
                    known => known.flatten(),
                };
                let protection = match parameters.get("qop") {
                    None | Some("") => None,
                    Some(qop) if qop.eq_ignore_ascii_case("auth") => Some(Protection {
                        count: u32::from_str_radix(parameters.need("nc")?, 16).map_err(|_| Error::Auth)?,
                        client_nonce: parameters.need("cnonce")?.to_owned(),
                    }),
                    Some(_) => return Ok(Authorization::Other),
                };
                Ok(Authorization::Digest(Digest {
                    user: parameters.need("username")?.to_owned(),
                    realm: parameters.need("realm")?.to_owned(),
                    nonce: parameters.need("nonce")?.to_owned(),
                    uri: parameters.need("uri")?.to_owned(),
                    method: String::new(),
                    algorithm,
                    opaque: parameters.get("opaque").map(str::to_owned),
                    protection,
                    response: parameters.need("response")?.to_owned(),
                }))
            }
            _ => Ok(Authorization::Other),
        }
    }
}

impl Challenge {
    /// Parses a header's value, which may hold several challenges. Unknown schemes and algorithms are left out.
    pub fn parse_list(value: &str) -> Result<Vec<Challenge>, Error> {
        let mut challenges = Vec::new();
        let mut scheme: Option<(String, Parameters)> = None;
        for part in split_outside_quotes(value) {
            // A scheme stands in front of its first parameter: `Digest realm="a", nonce="b", Basic realm="a"`.
            let (key, _) = part.split_once('=').unwrap_or((part, ""));
            let parameter = match key.trim().split_once(' ') {
                Some((name, _)) => {
                    challenges.extend(scheme.take().map(Challenge::from_parts).transpose()?.flatten());
                    scheme = Some((name.to_owned(), Parameters::default()));
                    part.trim_start().get(name.len()..).unwrap_or_default()
                }
                None => part,
            };
            let (_, parameters) = scheme.as_mut().ok_or(Error::Auth)?;
            parameters.push(parameter)?;
        }
        challenges.extend(scheme.map(Challenge::from_parts).transpose()?.flatten());
        Ok(challenges)
    }

    fn from_parts((scheme, parameters): (String, Parameters)) -> Result<Option<Challenge>, Error> {
        let realm = || parameters.need("realm").map(str::to_owned);
        match scheme.to_ascii_lowercase().as_str() {
            "basic" => Ok(Some(Challenge::Basic { realm: realm()? })),
            "digest" => {
                let algorithm = match parameters.get("algorithm").map(Algorithm::from_name) {
                    Some(None) => return Ok(None),
                    known => known.flatten(),
                };
                Ok(Some(Challenge::Digest {
                    realm: realm()?,
                    nonce: parameters.need("nonce")?.to_owned(),
                    algorithm,
                    opaque: parameters.get("opaque").map(str::to_owned),
                    protection: parameters
                        .get("qop")
                        .is_some_and(|qop| qop.split(',').any(|q| q.trim().eq_ignore_ascii_case("auth"))),
                    stale: parameters
                        .get("stale")
                        .is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
                }))
            }
            _ => Ok(None),
        }
    }
}

/// `key=value` and `key="value"`, comma-separated.
#[derive(Default)]
struct Parameters(Vec<(String, String)>);

impl Parameters {
    fn parse(text: &str) -> Result<Parameters, Error> {
        let mut parameters = Parameters::default();
        split_outside_quotes(text).try_for_each(|part| parameters.push(part))?;
        Ok(parameters)
    }

    fn push(&mut self, part: &str) -> Result<(), Error> {
        let part = part.trim();
        if part.is_empty() {
            return Ok(());
        }
        let (key, value) = part.split_once('=').ok_or(Error::Auth)?;
        let (key, value) = (key.trim(), value.trim());
        if self.0.len() >= MAX_PARAMETERS || key.is_empty() || self.get(key).is_some() {
            return Err(Error::Auth);
        }
        let value = match value.strip_prefix('"') {
            Some(rest) => unescape(rest.strip_suffix('"').ok_or(Error::Auth)?),
            None => value.to_owned(),
        };
        self.0.push((key.to_owned(), value));
        Ok(())
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, v)| v.as_str())
    }

    fn need(&self, key: &str) -> Result<&str, Error> {
        self.get(key).ok_or(Error::Auth)
    }
}

fn split_outside_quotes(text: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |c| {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        c == ',' && !quoted
    })
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    out
}

/// A text between quotation marks.
struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_str("\\")?;
            }
            write!(f, "{c}")?;
        }
        f.write_str("\"")
    }
}

impl fmt::Display for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Authorization::Basic { user, password } => {
                write!(f, "Basic {}", BASE64.encode(format!("{user}:{}", password.expose())))
            }
            Authorization::Bearer(token) => write!(f, "Bearer {}", token.expose()),
            Authorization::Digest(digest) => {
                write!(
                    f,
                    "Digest username={}, realm={}",
                    Quoted(&digest.user),
                    Quoted(&digest.realm)
                )?;
                write!(f, ", nonce={}, uri={}", Quoted(&digest.nonce), Quoted(&digest.uri))?;
                write!(f, ", response={}", Quoted(&digest.response))?;
                if let Some(algorithm) = digest.algorithm {
                    write!(f, ", algorithm={}", algorithm.name())?;
                }
                if let Some(opaque) = &digest.opaque {
                    write!(f, ", opaque={}", Quoted(opaque))?;
                }
                if let Some(Protection { count, client_nonce }) = &digest.protection {
                    write!(f, ", qop=auth, nc={count:08x}, cnonce={}", Quoted(client_nonce))?;
                }
                Ok(())
            }
            Authorization::Other => f.write_str("Other -"),
        }
    }
}

impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Challenge::Basic { realm } => write!(f, "Basic realm={}", Quoted(realm)),
            Challenge::Digest {
                realm,
                nonce,
                algorithm,
                opaque,
                protection,
                stale,
            } => {
                write!(f, "Digest realm={}, nonce={}", Quoted(realm), Quoted(nonce))?;
                if let Some(algorithm) = algorithm {
                    write!(f, ", algorithm={}", algorithm.name())?;
                }
                if let Some(opaque) = opaque {
                    write!(f, ", opaque={}", Quoted(opaque))?;
                }
                if *protection {
                    f.write_str(", qop=\"auth\"")?;
                }
                if *stale {
                    f.write_str(", stale=true")?;
                }
                Ok(())
            }
        }
    }
}

//! A token in its compact form (RFC 7515 section 3.1), and what its claims say (RFC 7519 section 4). Nothing in it means anything before a key has signed it.
//!
//! ```text
//! eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhZGEifQ.MEUCIQ…   each in base64url
//! header               claims             signature over all before its dot
//! ```

use std::time::Duration;

use base64ct::{Base64UrlUnpadded, Encoding};
use serde::Deserialize;
use serde_json::{Map, Value};
use wasmtx_plugin::{Action, Pattern};

/// More than any real one, and little work for nothing.
pub(crate) const LONGEST: usize = 8 << 10;

#[derive(Deserialize)]
pub(crate) struct Header {
    /// Kept as text: it is looked up in the configuration's list, and never decides how to check.
    pub(crate) alg: String,
    /// Compared with the names of keys, and used for nothing else.
    pub(crate) kid: Option<String>,
    /// Extensions that must be understood, of which there is none (RFC 7515 section 4.1.11).
    crit: Option<Value>,
}

/// The parts, none of them believed yet.
pub(crate) struct Token<'a> {
    pub(crate) header: Header,
    pub(crate) signed: &'a str,
    pub(crate) signature: Vec<u8>,
    claims: &'a str,
}

pub(crate) struct Claims(Map<String, Value>);

/// What the claims have to say.
pub(crate) struct Expected<'a> {
    pub(crate) issuer: Option<&'a str>,
    pub(crate) audience: Option<&'a str>,
    pub(crate) leeway: Duration,
    pub(crate) must_expire: bool,
}

impl<'a> Token<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, &'static str> {
        if text.len() > LONGEST {
            return Err("it is longer than 8 KiB");
        }
        let (signed, signature) = text.rsplit_once('.').ok_or("it is no token")?;
        let (header, claims) = signed.split_once('.').ok_or("it is no token")?;
        let header: Header = json(header).ok_or("its header cannot be read")?;
        if header.crit.is_some() {
            return Err("its header demands an extension");
        }
        let signature = Base64UrlUnpadded::decode_vec(signature).map_err(|_| "its signature cannot be read")?;
        Ok(Self {
            header,
            signed,
            signature,
            claims,
        })
    }

    /// Only for a token that a key has signed.
    pub(crate) fn claims(&self) -> Result<Claims, &'static str> {
        json(self.claims).map(Claims).ok_or("its claims cannot be read")
    }
}

impl Claims {
    /// How long it is still good (none: for ever), or why it is not.
    pub(crate) fn check(&self, now: Duration, expected: &Expected) -> Result<Option<Duration>, &'static str> {
        if let Some(issuer) = expected.issuer
            && self.text("iss") != Some(issuer)
        {
            return Err("another issuer made it");
        }
        if let Some(audience) = expected.audience {
            let is_for = match self.0.get("aud") {
                Some(Value::String(one)) => one == audience,
                Some(Value::Array(several)) => several.iter().any(|one| one == audience),
                _ => false,
            };
            if !is_for {
                return Err("it is for another audience");
            }
        }
        if let Some(begin) = self.time("nbf")?
            && begin > now.saturating_add(expected.leeway)
        {
            return Err("it is not good yet");
        }
        match self.time("exp")? {
            None if expected.must_expire => Err("it never expires"),
            None => Ok(None),
            Some(end) => {
                let left = end.saturating_add(expected.leeway).checked_sub(now);
                left.filter(|left| !left.is_zero()).map(Some).ok_or("it has expired")
            }
        }
    }

    pub(crate) fn text(&self, claim: &str) -> Option<&str> {
        self.0.get(claim)?.as_str()
    }

    /// Does the claim's list of `{action, path}` have this? The list may also be a text that holds it.
    pub(crate) fn permit(&self, claim: &str, action: Action, path: &str) -> bool {
        match self.0.get(claim) {
            Some(Value::Array(list)) => permits(list, action, path),
            Some(Value::String(text)) => {
                serde_json::from_str::<Vec<Value>>(text).is_ok_and(|list| permits(&list, action, path))
            }
            _ => false,
        }
    }

    /// Seconds since 1970, which may have a fraction (RFC 7519 section 2).
    fn time(&self, claim: &str) -> Result<Option<Duration>, &'static str> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(value) => {
                let time = value
                    .as_f64()
                    .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                time.map(Some).ok_or("one of its times is none")
            }
        }
    }
}

fn permits(list: &[Value], action: Action, path: &str) -> bool {
    let text = |entry: &Value, key: &str| match entry.get(key) {
        None => Some(String::new()),
        Some(value) => value.as_str().map(str::to_owned),
    };
    list.iter().any(|entry| {
        let fits = text(entry, "action").is_some_and(|name| Action::named(&name) == Some(action));
        // Only streams have a path.
        let about_stream = matches!(action, Action::Publish | Action::Read | Action::Playback);
        let pattern = || text(entry, "path")?.parse::<Pattern>().ok();
        fits && (!about_stream || pattern().is_some_and(|pattern| pattern.matches(path)))
    })
}

fn json<T: for<'de> Deserialize<'de>>(part: &str) -> Option<T> {
    serde_json::from_slice(&Base64UrlUnpadded::decode_vec(part).ok()?).ok()
}

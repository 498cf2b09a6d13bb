//! Lets clients in by a signed token in the URL, `rtsp://host:8554/cam1?token=…`, that says what it is good for and until when. See README.md.

mod token;

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use token::Token;
use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request};
use wasmtx_plugin::{Action, Error, Plugin, clock};

/// A secret that could be guessed protects nothing (RFC 2104 section 3 wants 32 bytes for SHA-256; half is still out of reach).
const SHORTEST_SECRET: usize = 16;

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Config {
    /// Any of these may have signed a token, so that one can follow another without a break.
    secrets: Vec<String>,
    /// Seconds that clocks may differ.
    #[serde(default)]
    leeway: u32,
    /// Without a token: refuse, instead of leaving the decision to the next in line.
    #[serde(default)]
    required: bool,
    /// Name of the token in the URL's query.
    #[serde(default = "token_parameter")]
    parameter: String,
}

fn token_parameter() -> String {
    "token".into()
}

struct TokenAuth {
    config: Config,
}

impl Plugin for TokenAuth {
    type Config = Config;

    fn new(config: Config) -> Result<Self, Error> {
        if config.secrets.is_empty() {
            return Err(Error::invalid("/secrets", "at least one secret is needed"));
        }
        if let Some(short) = config.secrets.iter().position(|secret| secret.len() < SHORTEST_SECRET) {
            let message = format!("a secret has at least {SHORTEST_SECRET} bytes");
            return Err(Error::invalid(format!("/secrets/{short}"), message));
        }
        if config.parameter.is_empty() {
            return Err(Error::invalid("/parameter", "must not be empty"));
        }
        Ok(Self { config })
    }
}

impl Auth for TokenAuth {
    fn check(&mut self, request: Request) -> Decision {
        // Tokens are about streams; who may use the API is for others to say.
        if !matches!(request.action, Action::Publish | Action::Read | Action::Playback) {
            return Decision::Abstain;
        }
        let query = parameter(&request.client.query, &self.config.parameter);
        let Some(text) = query.as_deref().or(request.token.as_deref()) else {
            return if self.config.required {
                Denial::Credentials.into()
            } else {
                Decision::Abstain
            };
        };
        match self.judge(text, &request) {
            Ok(left) => Permit::default().lasts(left).into(),
            Err((denial, reason)) => {
                wasmtx_plugin::info!(
                    "token from {} for '{}' refused: {reason}",
                    request.client.address,
                    request.path
                );
                denial.into()
            }
        }
    }
}

impl TokenAuth {
    /// How long the token still lasts, or why it does not do.
    fn judge(&self, text: &str, request: &Request) -> Result<Duration, (Denial, &'static str)> {
        let token = Token::parse(text).ok_or((
            Denial::Credentials,
            "it is not <expiry>.<action>.<path>.<signature> (or hidden: see `grant: { credentials: yes }`)",
        ))?;
        if !self.config.secrets.iter().any(|secret| token.is_signed_with(secret)) {
            return Err((Denial::Credentials, "none of the secrets signed it"));
        }
        let leeway = Duration::from_secs(self.config.leeway.into());
        let left = token
            .remaining(clock::now(), leeway)
            .ok_or((Denial::Credentials, "it has expired"))?;
        if !token.covers(request.action, &request.path) {
            return Err((Denial::NotAllowed, "it is for another path or action"));
        }
        // A whole second at least: zero would end the session before it began.
        Ok(left.max(Duration::from_secs(1)))
    }
}

/// The first value of `name` in a URL's query. Some clients escape `/` and `*`, so escapes are undone.
fn parameter<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let pairs = query
        .trim_start_matches('?')
        .split('&')
        .filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| *key == name)?;
    Some(unescape(value))
}

/// RFC 3986 section 2.1; an escape that is none stays as it is, and what is no UTF-8 becomes something that no signature fits.
fn unescape(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = match tail {
            [high, low, ..] if *first == b'%' => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                digit(*high).zip(digit(*low)).map(|(high, low)| (high << 4 | low) as u8)
            }
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { &tail[2..] } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

wasmtx_plugin::export!(TokenAuth: auth);

#[cfg(test)]
mod tests;

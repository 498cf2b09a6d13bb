//! Lets clients in by a JSON Web Token that says who they are, what they may do and until when. See README.md.

mod jwks;
mod key;
mod token;

use std::time::Duration;

use jwks::Jwks;
use key::{Algorithm, Jwk, Key};
use serde::Deserialize;
use token::{Claims, Expected, Token};
use wasmtx_plugin::auth::{Auth, Decision, Denial, Permit, Request};
use wasmtx_plugin::{Error, Plugin, clock};

/// A token without a key's name is tried with so many keys; checking is what takes time here.
const TRIED: usize = 8;
/// How often it is looked whether the keys are old.
const LOOK: Duration = Duration::from_secs(60);

/// The `config` of mediamtx.yml.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Config {
    /// What a token may be signed with. The token itself has no say.
    algorithms: Vec<Algorithm>,
    #[serde(default)]
    keys: Vec<KeyConfig>,
    /// Where a service publishes its keys.
    jwks: Option<String>,
    /// Seconds after which they are fetched again.
    #[serde(default = "hour")]
    refresh: u32,
    issuer: Option<String>,
    audience: Option<String>,
    /// Seconds that clocks may differ.
    #[serde(default)]
    leeway: u32,
    /// The claim with the list of what the client may do.
    #[serde(default = "claim")]
    claim: String,
    #[serde(default = "yes")]
    require_expiry: bool,
    /// Without a token: refuse, instead of leaving the decision to the next in line.
    #[serde(default)]
    required: bool,
    /// Names of the token in the URL's query.
    #[serde(default = "parameters")]
    parameters: Vec<String>,
}

/// One of the three kinds.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyConfig {
    kid: Option<String>,
    pem: Option<String>,
    secret: Option<String>,
    jwk: Option<Jwk>,
}

fn hour() -> u32 {
    3_600
}

fn claim() -> String {
    "mediamtx_permissions".into()
}

fn yes() -> bool {
    true
}

fn parameters() -> Vec<String> {
    vec!["jwt".into(), "token".into()]
}

struct Jwt {
    config: Config,
    keys: Vec<Key>,
    jwks: Option<Jwks>,
}

impl Plugin for Jwt {
    type Config = Config;

    fn new(mut config: Config) -> Result<Self, Error> {
        if config.algorithms.is_empty() {
            return Err(Error::invalid(
                "/algorithms",
                "at least one is needed: RS256, ES256, EdDSA, HS256",
            ));
        }
        if config.keys.is_empty() && config.jwks.is_none() {
            return Err(Error::invalid("/keys", "a key is needed here, or a URL in `jwks`"));
        }
        if config.refresh == 0 {
            return Err(Error::invalid("/refresh", "must be at least 1"));
        }
        if config.claim.is_empty() {
            return Err(Error::invalid("/claim", "must not be empty"));
        }
        if let Some(url) = &config.jwks {
            jwks::check_url(url)?;
        }
        let keys = std::mem::take(&mut config.keys);
        let keys = (keys.into_iter().enumerate())
            .map(|(number, key)| {
                let invalid = |message| Error::invalid(format!("/keys/{number}"), message);
                let key = key.read().map_err(invalid)?;
                if !config.algorithms.contains(&key.algorithm()) {
                    let message = format!(
                        "this key is for {}, which `algorithms` does not name",
                        key.algorithm().name()
                    );
                    return Err(invalid(message));
                }
                Ok(key)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let refresh = Duration::from_secs(config.refresh.into());
        let jwks = config.jwks.take().map(|url| Jwks::new(url, refresh));
        Ok(Self { config, keys, jwks })
    }

    fn tick_every(&self) -> Option<Duration> {
        let refresh = Duration::from_secs(self.config.refresh.into());
        self.jwks.as_ref().map(|_| refresh.min(LOOK))
    }

    fn tick(&mut self, _now: Duration) {
        if let Some(jwks) = &mut self.jwks {
            jwks.tick();
        }
    }
}

impl KeyConfig {
    fn read(self) -> Result<Key, String> {
        match self {
            KeyConfig {
                kid,
                pem: Some(pem),
                secret: None,
                jwk: None,
            } => Key::pem(kid, &pem),
            KeyConfig {
                kid,
                pem: None,
                secret: Some(secret),
                jwk: None,
            } => Key::secret(kid, secret),
            KeyConfig {
                kid: None,
                pem: None,
                secret: None,
                jwk: Some(jwk),
            } => Key::jwk(jwk),
            _ => Err("one of `pem`, `secret` and `jwk` is needed; `kid` stands in the `jwk` itself".into()),
        }
    }
}

impl Auth for Jwt {
    fn check(&mut self, request: Request) -> Decision {
        let Some(text) = shown(&request, &self.config.parameters) else {
            return if self.config.required {
                Denial::Credentials.into()
            } else {
                Decision::Abstain
            };
        };
        match self.judge(text, &request) {
            Ok(permit) => permit.into(),
            Err((denial, reason)) => {
                let Request { client, path, .. } = &request;
                wasmtx_plugin::info!("token from {} for '{path}' refused: {reason}", client.address);
                denial.into()
            }
        }
    }
}

impl Jwt {
    fn judge(&mut self, text: &str, request: &Request) -> Result<Permit, (Denial, &'static str)> {
        let wrong = |reason| (Denial::Credentials, reason);
        let token = Token::parse(text).map_err(wrong)?;
        let claims = self.believed(&token)?;
        let expected = Expected {
            issuer: self.config.issuer.as_deref(),
            audience: self.config.audience.as_deref(),
            leeway: Duration::from_secs(self.config.leeway.into()),
            must_expire: self.config.require_expiry,
        };
        let left = claims.check(clock::now(), &expected).map_err(wrong)?;
        if !claims.permit(&self.config.claim, request.action, &request.path) {
            return Err((Denial::NotAllowed, "it does not permit that"));
        }
        let mut permit = Permit::default();
        if let Some(subject) = claims.text("sub") {
            permit = permit.identity(subject);
        }
        // A whole second at least: zero would end the session before it began.
        Ok(match left {
            Some(left) => permit.lasts(left.max(Duration::from_secs(1))),
            None => permit,
        })
    }

    /// The claims, if one of the keys signed them.
    fn believed(&mut self, token: &Token<'_>) -> Result<Claims, (Denial, &'static str)> {
        let wrong = |reason| (Denial::Credentials, reason);
        let Some(algorithm) = self
            .config
            .algorithms
            .iter()
            .find(|algorithm| algorithm.name() == token.header.alg)
        else {
            return Err(wrong("it is signed in a way that `algorithms` does not name"));
        };
        let signed = |keys: &[Key]| signature(keys, *algorithm, token);
        let mut found = signed(&self.keys);
        // A key of the configuration without a name may be anyone's, so that it does not fit says little.
        if found != Signature::Right
            && let Some(jwks) = &mut self.jwks
        {
            found = signed(
                jwks.keys()
                    .ok_or((Denial::Later, "there are no keys to check it with"))?,
            );
            if found == Signature::UnknownKey {
                found = signed(jwks.look_again().unwrap_or_default());
            }
        }
        match found {
            Signature::Right => token.claims().map_err(wrong),
            Signature::Wrong => Err(wrong("its signature is wrong")),
            Signature::UnknownKey => Err(wrong("nobody knows the key that it names")),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Signature {
    Right,
    Wrong,
    /// No key of this algorithm has the name that the token gives.
    UnknownKey,
}

fn signature(keys: &[Key], algorithm: Algorithm, token: &Token<'_>) -> Signature {
    let named = |key: &&Key| match (&token.header.kid, &key.id) {
        (Some(wanted), Some(id)) => wanted == id,
        // A key without a name may be anyone, and so may a token's.
        _ => true,
    };
    let mut fitting = keys
        .iter()
        .filter(|key| key.algorithm() == algorithm)
        .filter(named)
        .take(TRIED)
        .peekable();
    if fitting.peek().is_none() {
        return Signature::UnknownKey;
    }
    match fitting.any(|key| key.made(&token.signature, token.signed.as_bytes())) {
        true => Signature::Right,
        false => Signature::Wrong,
    }
}

/// What looks like a token: the bearer token, a parameter of the URL, the password.
fn shown<'a>(request: &'a Request, parameters: &[String]) -> Option<&'a str> {
    let query = request.client.query.trim_start_matches('?');
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    // Neither base64url nor dots are ever escaped.
    let parameter = || {
        pairs
            .find(|(name, _)| parameters.iter().any(|known| known == name))
            .map(|(_, value)| value)
    };
    let password = || {
        request
            .password
            .as_deref()
            .filter(|text| text.matches('.').count() == 2)
    };
    request.token.as_deref().or_else(parameter).or_else(password)
}

wasmtx_plugin::export!(Jwt: auth);

#[cfg(test)]
mod tests;

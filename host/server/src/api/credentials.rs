//! What an HTTP client shows to prove who it is: `Authorization` with Basic (RFC 7617) or Bearer (RFC 6750). As in
//! MediaMTX a bearer value of the form `user:password` is a user's password and anything else a token.

use std::fmt;

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq;
use wasmtx_hub::Proof;

use crate::config::Secret;

/// The credentials of a request.
#[derive(Default)]
pub(crate) struct Credentials {
    user: Option<String>,
    password: Option<Secret>,
    token: Option<Secret>,
}

impl Credentials {
    /// Reads the first header of a known scheme; what cannot be read counts as nothing.
    pub(crate) fn of(headers: &HeaderMap) -> Credentials {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        given.find_map(|value| parse(value.to_str().ok()?)).unwrap_or_default()
    }

    fn with_password(text: &str) -> Option<Credentials> {
        let (user, password) = text.split_once(':')?;
        Some(Credentials {
            user: Some(user.to_owned()),
            password: Some(Secret::from(password)),
            token: None,
        })
    }
}

fn parse(value: &str) -> Option<Credentials> {
    let (scheme, value) = value.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        Credentials::with_password(&String::from_utf8(STANDARD.decode(value).ok()?).ok()?)
    } else if scheme.eq_ignore_ascii_case("bearer") && !value.is_empty() {
        if value.matches(':').count() == 1 {
            return Credentials::with_password(value);
        }
        Some(Credentials {
            token: Some(Secret::from(value)),
            ..Credentials::default()
        })
    } else {
        None
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

impl Proof for Credentials {
    fn is_some(&self) -> bool {
        self.user.is_some() || self.token.is_some()
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    fn matches(&self, user: &str, secret: &str) -> bool {
        let (Some(given), Some(password)) = (&self.user, &self.password) else {
            return false;
        };
        // Both are compared, so that a wrong name takes as long as a wrong password.
        let user = bool::from(given.as_bytes().ct_eq(user.as_bytes()));
        user & password.matches(secret)
    }

    fn password(&self) -> Option<&str> {
        self.password.as_ref().map(Secret::expose)
    }

    fn token(&self) -> Option<&str> {
        self.token.as_ref().map(Secret::expose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(value: &str, expected: (Option<&str>, Option<&str>, Option<&str>)) {
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, value.parse().unwrap());
        let found = Credentials::of(&headers);
        assert_eq!((found.user(), found.password(), found.token()), expected, "{value}");
        assert_eq!(found.is_some(), expected != (None, None, None), "{value}");
    }

    #[test]
    fn basic_and_bearer_are_understood() {
        check("Basic YWxpY2U6YTpi", (Some("alice"), Some("a:b"), None));
        check("basic OnNlY3JldA==", (Some(""), Some("secret"), None));
        check("Bearer alice:secret", (Some("alice"), Some("secret"), None));
        check("Bearer abc.def", (None, None, Some("abc.def")));
        check("Bearer a:b:c", (None, None, Some("a:b:c")));
    }

    #[test]
    fn what_cannot_be_read_counts_as_nothing() {
        for value in [
            "Basic",
            "Basic !!",
            "Basic YWxpY2U=",
            "Basic //8=",
            "Digest a=b",
            "Bearer ",
            "x",
        ] {
            check(value, (None, None, None));
        }
    }

    #[test]
    fn only_the_right_pair_matches() {
        let given = Credentials::with_password("alice:secret").unwrap();
        assert!(given.matches("alice", "secret"));
        assert!(!given.matches("alice", "Secret") && !given.matches("bob", "secret") && !given.matches("", ""));
        assert!(!Credentials::default().matches("", ""));
    }
}

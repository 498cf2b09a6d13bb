//! What an HTTP client shows to prove who it is: `Authorization` with Basic (RFC 7617) or Bearer (RFC 6750). As in
//! MediaMTX a bearer value of the form `user:password` is a user's password and anything else a token.

use axum::http::{HeaderMap, header};
use base64::{Engine, engine::general_purpose::STANDARD};
use wasmtx_hub::Proof;
use wasmtx_protocol::rtsp::auth::{self, Secret};

/// The credentials of a request.
#[derive(Debug, Default)]
pub struct Credentials(Option<Given>);

#[derive(Debug)]
enum Given {
    Password(auth::Credentials),
    Token(Secret),
}

impl Credentials {
    /// Reads the first header of a known scheme; what cannot be read counts as nothing.
    pub fn of(headers: &HeaderMap) -> Credentials {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        Credentials(given.find_map(|value| parse(value.to_str().ok()?)))
    }

    /// The same, or else what the query says, as that of an RTMP URL: `user` and `pass`, or `jwt` or `token`. Players that
    /// take a URL and nothing else, and WebSockets of browsers, have no headers to set.
    pub fn of_player(headers: &HeaderMap, query: &str) -> Credentials {
        let Credentials(given) = Credentials::of(headers);
        Credentials(given.or_else(|| in_query(query)))
    }

    /// What a query says alone, as that of an RTMP URL.
    pub(crate) fn of_query(query: &str) -> Credentials {
        Credentials(in_query(query))
    }
}

fn parse(value: &str) -> Option<Given> {
    let (scheme, value) = value.split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("basic") {
        pair(&String::from_utf8(STANDARD.decode(value).ok()?).ok()?)
    } else if scheme.eq_ignore_ascii_case("bearer") && !value.is_empty() {
        if value.matches(':').count() == 1 {
            return pair(value);
        }
        Some(Given::Token(Secret::new(value)))
    } else {
        None
    }
}

fn pair(text: &str) -> Option<Given> {
    let (user, password) = text.split_once(':')?;
    Some(with_password(user, password))
}

fn with_password(user: &str, password: &str) -> Given {
    Given::Password(auth::Credentials::with_password(user, Secret::new(password)))
}

fn in_query(query: &str) -> Option<Given> {
    let value = |wanted: &str| {
        let mut pairs = url::form_urlencoded::parse(query.as_bytes());
        pairs.find_map(|(key, value)| (key == wanted && !value.is_empty()).then_some(value))
    };
    match value("user") {
        Some(user) => Some(with_password(&user, &value("pass").unwrap_or_default())),
        None => value("jwt")
            .or_else(|| value("token"))
            .map(|token| Given::Token(Secret::new(token))),
    }
}

impl Proof for Credentials {
    fn is_some(&self) -> bool {
        self.0.is_some()
    }

    fn user(&self) -> Option<&str> {
        match &self.0 {
            Some(Given::Password(given)) => Some(&given.user),
            _ => None,
        }
    }

    fn matches(&self, user: &str, secret: &str) -> bool {
        matches!(&self.0, Some(Given::Password(given)) if given.matches(user, secret))
    }

    fn password(&self) -> Option<&str> {
        match &self.0 {
            Some(Given::Password(given)) => given.password().map(Secret::expose),
            _ => None,
        }
    }

    fn token(&self) -> Option<&str> {
        match &self.0 {
            Some(Given::Token(token)) => Some(token.expose()),
            _ => None,
        }
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
        let given = Credentials(pair("alice:secret"));
        assert!(given.matches("alice", "secret"));
        assert!(!given.matches("alice", "Secret") && !given.matches("bob", "secret") && !given.matches("", ""));
        assert!(!Credentials::default().matches("", ""));
    }

    #[test]
    fn a_player_may_show_them_in_the_query_and_a_header_wins() {
        let found = |headers: &HeaderMap, query: &str| {
            let found = Credentials::of_player(headers, query);
            let owned = |text: Option<&str>| text.map(str::to_owned);
            (owned(found.user()), owned(found.password()), owned(found.token()))
        };
        let some = |text: &str| Some(text.to_owned());
        let none = HeaderMap::new();
        assert_eq!(found(&none, "user=a%40b&pass=c+d"), (some("a@b"), some("c d"), None));
        assert_eq!(found(&none, "user=a"), (some("a"), some(""), None));
        assert_eq!(found(&none, "x=1&jwt=abc"), (None, None, some("abc")));
        assert_eq!(found(&none, "token=abc"), (None, None, some("abc")));
        assert_eq!(found(&none, "token=&user=&pass=x"), (None, None, None));
        let mut headers = HeaderMap::new();
        headers.insert(header::AUTHORIZATION, "Bearer t".parse().unwrap());
        assert_eq!(found(&headers, "user=a&pass=b"), (None, None, some("t")));
    }
}

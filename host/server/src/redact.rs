//! Keeps secrets out of what people read: log lines, the API, metrics (threat T10).
//!
//! What is secret is told by its name, and rather once too often: a hidden `author=` hurts nobody, a shown token does.

use std::borrow::Cow;

use wasmtx_endpoints::forward::Destination;

/// What stands in place of a secret.
const MARK: &str = "<redacted>";

/// A parameter is secret when its name, in lower case and without punctuation, contains one of these.
const SECRET: &[&str] = &[
    "pass", "pwd", "token", "jwt", "secret", "key", "auth", "sig", "cred", "session", "cookie", "hmac", "otp", "pin",
];

/// The query of a URL with its secrets hidden. Nothing else changes, so that the rest can be compared with what a client
/// sent.
pub fn query(query: &str) -> Cow<'_, str> {
    if !query.split('&').any(is_secret) {
        return Cow::Borrowed(query);
    }
    let shown = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if is_secret(pair) => Cow::Owned(format!("{name}={MARK}")),
        _ => Cow::Borrowed(pair),
    });
    Cow::Owned(shown.collect::<Vec<_>>().join("&"))
}

/// A URL with its user, its password and the secrets of its query hidden.
pub fn url(url: &str) -> Cow<'_, str> {
    let (before, asked) = match url.split_once('?') {
        Some((before, asked)) => (before, Some(asked)),
        None => (url, None),
    };
    let Some((scheme, rest)) = before.split_once("://") else {
        return Cow::Borrowed(url);
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map(|(_, host)| host);
    let hidden = asked.map(query);
    if host.is_none() && !matches!(hidden, Some(Cow::Owned(_))) {
        return Cow::Borrowed(url);
    }
    let mut shown = format!("{scheme}://");
    match host {
        Some(host) => shown.extend([MARK, "@", host, path]),
        None => shown.push_str(rest),
    }
    if let Some(hidden) = hidden {
        shown.extend(["?", &hidden]);
    }
    Cow::Owned(shown)
}

/// A URL that streams are sent to, as [`url`](fn@url) and, for RTMP, without what names the stream there: who knows that may publish.
pub fn destination(url: &str) -> Cow<'_, str> {
    match Destination::new(url, None) {
        Ok(destination) => Cow::Owned(destination.shown()),
        Err(_) => self::url(url),
    }
}

fn is_secret(pair: &str) -> bool {
    let Some((name, value)) = pair.split_once('=') else {
        return false;
    };
    if value.is_empty() {
        return false;
    }
    let name: String = decoded(name)
        .into_iter()
        .filter(u8::is_ascii_alphanumeric)
        .map(|b| char::from(b.to_ascii_lowercase()))
        .collect();
    SECRET.iter().any(|word| name.contains(word))
}

/// Whoever reads a parameter decodes its name first: `p%61ss` is a password too.
fn decoded(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().iter();
    let mut out = Vec::with_capacity(name.len());
    while let Some(&byte) = bytes.next() {
        let digits = bytes
            .as_slice()
            .get(..2)
            .filter(|_| byte == b'%')
            .and_then(|digits| str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(value) => {
                out.push(value);
                bytes.nth(1);
            }
            None => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_of_a_query_are_hidden_and_the_rest_stays() {
        for (given, expected) in [
            ("", ""),
            ("a=b&c", "a=b&c"),
            ("user=me&pass=x", "user=me&pass=<redacted>"),
            ("token=a.b=c&x=1", "token=<redacted>&x=1"),
            ("ACCESS_TOKEN=1", "ACCESS_TOKEN=<redacted>"),
            (
                "api-key=1&jwt=2&X-Amz-Signature=3",
                "api-key=<redacted>&jwt=<redacted>&X-Amz-Signature=<redacted>",
            ),
            ("p%61ss=x&%70wd=y", "p%61ss=<redacted>&%70wd=<redacted>"),
            ("p%zzss=x&100%=y&%", "p%zzss=x&100%=y&%"),
            ("token=&token", "token=&token"),
        ] {
            assert_eq!(query(given), expected, "{given}");
        }
    }

    #[test]
    fn a_destination_loses_what_lets_one_publish_there() {
        for (given, expected) in [
            (
                "rtmp://me:pass@host/live/key?x=1",
                "rtmp://<redacted>@host/live/<redacted>",
            ),
            (
                "srt://host:1?passphrase=longenough1",
                "srt://host:1?passphrase=<redacted>",
            ),
            ("", ""),
        ] {
            assert_eq!(destination(given), expected, "{given}");
        }
    }

    #[test]
    fn a_url_loses_its_credentials_and_keeps_its_place() {
        for (given, expected) in [
            ("rtsp://cam/a", "rtsp://cam/a"),
            ("rtsp://me:p@ss@cam:554/a?x=1", "rtsp://<redacted>@cam:554/a?x=1"),
            ("rtsp://cam/a@b", "rtsp://cam/a@b"),
            ("http://host?token=1", "http://host?token=<redacted>"),
            ("rtsp://me@cam", "rtsp://<redacted>@cam"),
            ("no url?pass=1", "no url?pass=1"),
        ] {
            assert_eq!(url(given), expected, "{given}");
        }
    }
}

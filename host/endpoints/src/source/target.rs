//! A source's URL as written, and what it means for one path and query: `$G1`, `$MTX_QUERY` replaced, credentials taken
//! out, and whether a client had a say in the host.

use std::fmt;

use url::{Host, Position, Url};
use wasmtx_protocol::rtsp::auth::Secret;

/// Bytes of a URL once its variables are replaced.
const MAX_URL: usize = 16 * 1024;
/// Schemes of sources: what is spoken, whether over TLS, and the scheme's own port.
const SCHEMES: &[(&str, Protocol, bool, u16)] = &[
    // RFC 2326 section 3.2.
    ("rtsp", Protocol::Rtsp, false, 554),
    ("rtsps", Protocol::Rtsp, true, 322),
    ("rtmp", Protocol::Rtmp, false, 1935),
    ("rtmps", Protocol::Rtmp, true, 1936),
    ("http", Protocol::Flv, false, 80),
    ("https", Protocol::Flv, true, 443),
];
/// What the path of a URL ends in behind which an FLV stream is.
const FLV: &str = ".flv";

/// What is spoken with a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Rtsp,
    Rtmp,
    /// FLV in the body of an HTTP response.
    Flv,
}

impl Protocol {
    /// As a URL, or the template of one, says it; `None` when no source has such a URL.
    pub(super) fn of(url: &str) -> Option<Protocol> {
        let (scheme, rest) = url.split_once("://")?;
        let (_, protocol, ..) = SCHEMES.iter().find(|(known, ..)| *known == scheme)?;
        let path = rest.split(['?', '#']).next().unwrap_or_default();
        (*protocol != Protocol::Flv || path.ends_with(FLV)).then_some(*protocol)
    }

    /// What the API calls such a source.
    pub(super) fn source_kind(self) -> &'static str {
        match self {
            Protocol::Rtsp => "rtspSource",
            Protocol::Rtmp => "rtmpSource",
            Protocol::Flv => "flvSource",
        }
    }
}

/// Why a source's URL cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// Another scheme, or one that is not written out.
    #[error("the source's URL must begin with rtsp(s):// or rtmp(s)://, or with http(s):// and end in .flv")]
    Scheme,
    /// Not a URL once the variables are replaced. The URL is not shown: it may hold a password.
    #[error("the source's URL is not valid: {0}")]
    Url(String),
    /// A variable's value has made it longer than 16 KiB, or holds a control character.
    #[error("a variable in the source's URL has a value that no URL can hold")]
    Value,
}

/// Where to connect to, and what to ask for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Without user and password.
    pub(super) url: Url,
    /// As it was written, with everything in it.
    pub(super) text: Secret,
    /// What is spoken there.
    pub(super) protocol: Protocol,
    /// User and password.
    pub(super) credentials: Option<(String, Secret)>,
    /// Over TLS.
    pub(super) encrypted: bool,
    /// The host stands in the file as it is. Otherwise a client may have chosen it.
    pub(super) trusted_host: bool,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.url)
    }
}

impl Target {
    /// Replaces the variables of a template. `groups` are what the path's pattern matched, `query` is the reader's.
    pub(super) fn new(template: &str, groups: &[String], query: &str) -> Result<Target, InvalidTarget> {
        let (_, rest) = template.split_once("://").ok_or(InvalidTarget::Scheme)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let target = Target::whole(&expand(template, groups, ("MTX_QUERY", query))?)?;
        // A scheme that a variable brought would be another one than the file's.
        if !template.starts_with(target.url.scheme()) {
            return Err(InvalidTarget::Scheme);
        }
        Ok(Target {
            trusted_host: !authority.contains('$'),
            ..target
        })
    }

    /// A URL without variables.
    fn whole(text: &str) -> Result<Target, InvalidTarget> {
        let (scheme, _) = text.split_once("://").ok_or(InvalidTarget::Scheme)?;
        let protocol = Protocol::of(text).ok_or(InvalidTarget::Scheme)?;
        let encrypted = SCHEMES
            .iter()
            .any(|(known, _, encrypted, _)| *known == scheme && *encrypted);
        let mut url = Url::parse(text).map_err(|error| InvalidTarget::Url(error.to_string()))?;
        if url.scheme() != scheme {
            return Err(InvalidTarget::Scheme);
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(InvalidTarget::Url("it has no host".into()));
        }
        let credentials = (!url.username().is_empty() || url.password().is_some()).then(|| {
            (
                decode(url.username()),
                Secret::new(decode(url.password().unwrap_or_default())),
            )
        });
        // Cannot fail: the URL has a host.
        let _ = url.set_username("");
        let _ = url.set_password(None);
        url.set_fragment(None);
        Ok(Target {
            url,
            text: Secret::new(text.to_owned()),
            protocol,
            credentials,
            encrypted,
            trusted_host: true,
        })
    }

    /// A URL that somebody named who is not trusted; nothing in it is replaced.
    pub(super) fn named(url: &str) -> Result<Target, InvalidTarget> {
        Ok(Target {
            trusted_host: false,
            ..Target::whole(url)?
        })
    }

    /// The host without brackets, as a resolver and TLS take it.
    pub(super) fn host(&self) -> String {
        match self.url.host() {
            // `url` leaves hosts of schemes it does not know as they are.
            Some(Host::Domain(domain)) => decode(domain),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            None => String::new(),
        }
    }

    pub(super) fn port(&self) -> u16 {
        let own = SCHEMES.iter().find(|(known, ..)| *known == self.url.scheme());
        self.url.port().or(own.map(|(_, _, _, port)| *port)).unwrap_or_default()
    }

    /// Scheme, host and port, the part that another address can stand in for.
    pub(super) fn origin(&self) -> &str {
        &self.url[..Position::BeforePath]
    }

    /// What follows the origin.
    pub(super) fn resource(&self) -> &str {
        &self.url[Position::BeforePath..]
    }
}

/// Replaces `$G1`… and the variable that is `named`, with its value; other dollars stay, passwords may hold them.
///
/// # Errors
/// A value that no URL can hold, or one that makes it too long.
pub(crate) fn expand(template: &str, groups: &[String], named: (&str, &str)) -> Result<String, InvalidTarget> {
    let mut out = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        let (value, after) = if let Some(after) = rest.strip_prefix(named.0) {
            (Some(named.1), after)
        } else {
            let digits = rest.strip_prefix('G').unwrap_or_default();
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let number: Option<usize> = digits[..end].parse().ok().filter(|number| *number > 0);
            let value = number.and_then(|number| groups.get(number - 1)).map(String::as_str);
            if value.is_some() {
                (value, &digits[end..])
            } else {
                (None, rest)
            }
        };
        let Some(value) = value else {
            out.push('$');
            continue;
        };
        if value.chars().any(|c| c.is_control() || c == ' ') {
            return Err(InvalidTarget::Value);
        }
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    if out.len() > MAX_URL {
        Err(InvalidTarget::Value)
    } else {
        Ok(out)
    }
}

/// Percent-decodes a part of a URL once; what is not UTF-8 then is replaced.
fn decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let [first, rest @ ..] = bytes {
        let hex = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        match (first, rest) {
            (b'%', [high, low, after @ ..]) if hex(*high).is_some() && hex(*low).is_some() => {
                out.push(hex(*high).unwrap_or_default() << 4 | hex(*low).unwrap_or_default());
                bytes = after;
            }
            _ => {
                out.push(*first);
                bytes = rest;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(template: &str) -> Result<Target, InvalidTarget> {
        Target::new(template, &["cam/7".into(), "x".into()], "a=1&b=2")
    }

    #[test]
    fn variables_are_replaced() {
        let check = |template, expected| assert_eq!(target(template).unwrap().url.as_str(), expected, "{template}");
        check("rtsp://host:8554/live", "rtsp://host:8554/live");
        check("rtsp://host/$G1/$G2?$MTX_QUERY", "rtsp://host/cam/7/x?a=1&b=2");
        check("rtsp://host/$G3$G0$G$X$", "rtsp://host/$G3$G0$G$X$");
        check("rtsp://host/$G10", "rtsp://host/$G10");
    }

    #[test]
    fn credentials_are_taken_out_and_decoded() {
        let target = target("rtsp://us%40er:p%3Ass$word@host/x").unwrap();
        assert_eq!(target.url.as_str(), "rtsp://host/x");
        let (user, password) = target.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("us@er", "p:ss$word"));
        assert!(Target::new("rtsp://host/x", &[], "").unwrap().credentials.is_none());
    }

    #[test]
    fn a_host_is_trusted_only_when_it_stands_in_the_file() {
        assert!(target("rtsp://10.0.0.1/$G1?$MTX_QUERY").unwrap().trusted_host);
        for template in [
            "rtsp://$G2/live",
            "rtsp://cam$G2.local/",
            "rtsp://user:$G2@host/",
            "rtsp://host:8$G2",
        ] {
            let target = Target::new(template, &["cam/7".into(), "1".into()], "");
            assert!(!target.unwrap().trusted_host, "{template}");
        }
        let sneaky = Target::new("rtsp://10.0.0.1$MTX_QUERY/x", &[], ".evil.example").unwrap();
        assert!(!sneaky.trusted_host);
        assert_eq!(sneaky.host(), "10.0.0.1.evil.example");
    }

    #[test]
    fn a_value_behind_the_host_cannot_change_it() {
        for query in ["@evil/", "//evil/", "\\@evil", "#@evil", "?@evil"] {
            let target = Target::new("rtsp://host/$MTX_QUERY", &[], query).unwrap();
            assert_eq!((target.host().as_str(), target.trusted_host), ("host", true), "{query}");
            assert!(target.credentials.is_none());
        }
    }

    #[test]
    fn host_and_port_come_as_a_resolver_takes_them() {
        let check = |template, host: &str, port| {
            let target = target(template).unwrap();
            assert_eq!((target.host().as_str(), target.port()), (host, port), "{template}");
        };
        check("rtsp://host", "host", 554);
        check("rtsps://host/x", "host", 322);
        check("rtsps://[::1]:8322/x", "::1", 8322);
    }

    #[test]
    fn origin_and_resource_cut_the_url_in_two() {
        let target = target("rtsps://u:p@host:8322/a/b?c=d#e").unwrap();
        assert_eq!((target.origin(), target.resource()), ("rtsps://host:8322", "/a/b?c=d"));
    }

    #[test]
    fn what_is_no_rtsp_url_is_refused() {
        for template in [
            "host/x",
            "http://host/x",
            "$G2://host",
            "rtsp:///x",
            "RTSP+x://h",
            "rtsp:host",
        ] {
            assert!(target(template).is_err(), "{template}");
        }
        for query in ["a b", "a\r\nX: y", "\0"] {
            assert_eq!(
                Target::new("rtsp://host/?$MTX_QUERY", &[], query),
                Err(InvalidTarget::Value),
                "{query:?}"
            );
        }
        assert_eq!(
            Target::new("rtsp://host/?$MTX_QUERY", &[], &"x".repeat(MAX_URL)),
            Err(InvalidTarget::Value)
        );
    }

    #[test]
    fn a_target_is_shown_without_its_password() {
        assert!(!format!("{:?}", target("rtsp://user:geheim@host/x").unwrap()).contains("geheim"));
    }
}

//! Where a request comes from: which client, when proxies stand in between, and which web page.
//!
//! A browser runs the scripts of any page with the network access of whoever looks at it, so a server that trusts addresses
//! must ask which page is asking (threat T46).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, header};
use ipnet::IpNet;

const PROXY_HEADER: &str = "x-forwarded-for";

/// The client behind trusted proxies: each of them has put the address that it saw at the end of the header, so it is
/// read from its end for as long as proxies vouch for it.
pub fn client_address(peer: IpAddr, headers: &HeaderMap, proxies: &[IpNet]) -> IpAddr {
    let trusted = |address: IpAddr| proxies.iter().any(|net| net.contains(&address));
    let values = headers
        .get_all(PROXY_HEADER)
        .iter()
        .rev()
        .filter_map(|value| value.to_str().ok());
    let mut seen = values.flat_map(|value| value.rsplit(','));
    let mut address = peer.to_canonical();
    while trusted(address)
        && let Some(Ok(before)) = seen.next().map(|text| text.trim().parse::<IpAddr>())
    {
        address = before.to_canonical();
    }
    address
}

/// The web page that sends a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Page {
    /// None: no browser, or a page of this server that only reads.
    None,
    /// One of this server, or listed by name.
    Known(HeaderValue),
    /// Covered by `*` only.
    Any,
    /// Not listed.
    Foreign,
}

impl Page {
    /// Which page it is, `allowed` being the origins that the configuration lists.
    pub fn of(headers: &HeaderMap, allowed: &[String]) -> Page {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Page::None;
        };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        match origin.to_str().ok().and_then(Origin::parse) {
            Some(page) if page.is_own(host) => Page::Known(origin.clone()),
            Some(page) if allowed.iter().any(|listed| page.is(listed)) => Page::Known(origin.clone()),
            _ if allowed.iter().any(|listed| listed == "*") => Page::Any,
            _ => Page::Foreign,
        }
    }

    /// The value of `Access-Control-Allow-Origin`; `None` when the page may not read the answer, or none asked.
    pub fn header(&self) -> Option<HeaderValue> {
        match self {
            Page::None | Page::Foreign => None,
            Page::Known(origin) => Some(origin.clone()),
            Page::Any => Some(HeaderValue::from_static("*")),
        }
    }
}

/// A parsed origin (RFC 6454 section 6.2).
struct Origin<'a> {
    scheme: &'a str,
    host: &'a str,
    port: u16,
}

impl<'a> Origin<'a> {
    fn parse(text: &'a str) -> Option<Origin<'a>> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = split_port(authority.trim_end_matches('/'));
        let port = match (port, scheme) {
            (Some(port), _) => port,
            (None, "http") => 80,
            (None, "https") => 443,
            _ => return None,
        };
        (!host.is_empty()).then_some(Origin { scheme, host, port })
    }

    /// Whether this is a page of this very server. A name counts only if it cannot be made to point here by somebody
    /// else's name server.
    fn is_own(&self, host: Option<&str>) -> bool {
        let Some((host, port)) = host.map(split_port) else {
            return false;
        };
        let default = if self.scheme == "https" { 443 } else { 80 };
        let own = host.eq_ignore_ascii_case(self.host) && port.unwrap_or(default) == self.port;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        own && (bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok())
    }

    /// Whether an entry of the list names it; `https://*.example.com` stands for that name and all below it.
    fn is(&self, listed: &str) -> bool {
        let Some(listed) = Origin::parse(listed) else {
            return false;
        };
        let host_fits = match listed.host.strip_prefix("*.") {
            Some(domain) => {
                let below = self
                    .host
                    .len()
                    .checked_sub(domain.len())
                    .and_then(|at| self.host.split_at_checked(at));
                below.is_some_and(|(below, rest)| {
                    rest.eq_ignore_ascii_case(domain) && (below.is_empty() || below.ends_with('.'))
                })
            }
            None => listed.host.eq_ignore_ascii_case(self.host),
        };
        host_fits && listed.scheme == self.scheme && listed.port == self.port
    }
}

/// Host, brackets included, and port.
fn split_port(authority: &str) -> (&str, Option<u16>) {
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, port.parse().ok()),
        _ => (authority, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(origin: &str, host: &str, allowed: &[&str]) -> Page {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, origin.parse().unwrap());
        headers.insert(header::HOST, host.parse().unwrap());
        Page::of(
            &headers,
            &allowed.iter().map(|listed| (*listed).to_owned()).collect::<Vec<_>>(),
        )
    }

    #[test]
    fn origins_are_known_by_scheme_host_and_port() {
        let check = |origin: &str, listed: &str, expected: bool| {
            let found = page(origin, "192.0.2.1:9997", &[listed]);
            assert_eq!(found != Page::Foreign, expected, "{origin} {listed}");
        };
        check("https://a.example", "https://a.example", true);
        check("https://A.example:443", "https://a.example/", true);
        check("http://a.example", "https://a.example", false);
        check("https://a.example:8443", "https://a.example", false);
        check("https://b.a.example", "https://*.a.example", true);
        check("https://a.example", "https://*.a.example", true);
        check("https://nota.example", "https://*.a.example", false);
        check("https://a.example.evil", "https://*.a.example", false);
        check("null", "https://a.example", false);
        check("app://x", "app://x", false);
    }

    #[test]
    fn a_page_of_this_server_is_known_unless_its_name_could_be_anybodys() {
        let known = |origin: &str, host: &str| matches!(page(origin, host, &[]), Page::Known(_));
        assert!(known("http://192.0.2.1:9997", "192.0.2.1:9997"));
        assert!(known("http://[::1]:9997", "[::1]:9997"));
        assert!(known("http://localhost", "localhost"));
        assert!(!known("http://rebound.evil:9997", "rebound.evil:9997"));
        assert!(!known("http://192.0.2.1:9996", "192.0.2.1:9997"));
    }

    #[test]
    fn a_star_covers_what_is_not_listed_by_name() {
        assert_eq!(page("https://b.example", "h", &["https://a.example", "*"]), Page::Any);
        assert_eq!(page("null", "h", &["*"]), Page::Any);
        assert!(matches!(
            page("https://a.example", "h", &["*", "https://a.example"]),
            Page::Known(_)
        ));
        assert_eq!(Page::of(&HeaderMap::new(), &["*".to_owned()]), Page::None);
    }

    #[test]
    fn only_the_word_of_trusted_proxies_counts() {
        let proxies: Vec<IpNet> = vec!["10.0.0.0/8".parse().unwrap()];
        let check = |peer: &str, forwarded: &[&str], expected: &str| {
            let mut headers = HeaderMap::new();
            for value in forwarded {
                headers.append(PROXY_HEADER, value.parse().unwrap());
            }
            let found = client_address(peer.parse().unwrap(), &headers, &proxies);
            assert_eq!(found, expected.parse::<IpAddr>().unwrap(), "{peer} {forwarded:?}");
        };
        check("192.0.2.1", &["127.0.0.1"], "192.0.2.1");
        check("10.0.0.1", &["127.0.0.1, 192.0.2.7"], "192.0.2.7");
        check("10.0.0.1", &["127.0.0.1", "192.0.2.7,10.0.0.2"], "192.0.2.7");
        check("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check("10.0.0.1", &["127.0.0.1, nonsense"], "10.0.0.1");
        check("::ffff:10.0.0.1", &["2001:db8::1"], "2001:db8::1");
        check("10.0.0.1", &[], "10.0.0.1");
    }
}

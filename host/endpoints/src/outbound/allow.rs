//! Where a plugin may send requests: the list of its grant.
//!
//! An entry says two things. *Which URLs*: a host, a host with its port, an address or a range, or the beginning of a
//! URL. And, if it names addresses, *which private addresses*: whatever is not listed and not public is never connected
//! to, also when a listed name leads there.

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use url::{Host, Url};

use crate::guard;

/// Most entries of one list.
pub const ENTRIES: usize = 256;
/// The name that means this machine (RFC 6761), so that listing it lists the loopback addresses.
const LOCALHOST: &str = "localhost";
/// In front of a name: every host below it.
const BELOW: &str = "*.";
/// Ways to write a separator or a step up inside a path that some servers understand after they have looked at it.
const VEILED: &[&str] = &["%2f", "%5c", "%2e", "..;"];

/// What one plugin may reach. Without entries, nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allow {
    targets: Vec<Target>,
    addresses: Vec<Addresses>,
    trust: Option<Trust>,
}

/// An entry that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{entry}`: {what}")]
#[non_exhaustive]
pub struct EntryError {
    /// Its place in the list.
    pub index: usize,
    /// The entry as it was written.
    pub entry: String,
    /// What is wrong with it.
    pub what: &'static str,
}

/// URLs that an entry stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Target {
    hosts: Hosts,
    /// The only scheme, if the entry names one.
    scheme: Option<String>,
    /// The only port; without it the scheme's own.
    port: Option<u16>,
    /// What paths begin with: empty, or `/` and more.
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Hosts {
    Name(String),
    /// The names that end so, the dot included.
    Below(String),
    Net(IpNet),
}

/// Addresses that may be connected to although they are not public.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Addresses {
    /// None: the loopback addresses, for the name `localhost` only.
    net: Option<IpNet>,
    port: Option<u16>,
}

/// What the operator's own URL may do: lead anywhere, and redirect to every public host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Trust {
    host: Host,
    port: Option<u16>,
}

impl Allow {
    /// Reads the list of a grant. Entries:
    ///
    /// | entry | stands for |
    /// |---|---|
    /// | `users.example.com` | that host on the ports of http and https |
    /// | `*.example.com` | every host below it, not itself |
    /// | `users.example.com:8443` | that host on that port only |
    /// | `https://users.example.com/api/` | URLs that begin so |
    /// | `10.1.2.3`, `10.1.2.3:8080`, `10.1.0.0/16`, `[fd00::1]:80` | these addresses, and listed names may lead to them |
    /// | `localhost:8080` | this machine's loopback addresses by that name |
    ///
    /// # Errors
    /// The first entry that is none of these.
    pub fn parse<S: AsRef<str>>(entries: &[S]) -> Result<Allow, EntryError> {
        let mut allow = Allow::default();
        for (index, entry) in entries.iter().map(AsRef::as_ref).enumerate() {
            let wrong = |what| EntryError {
                index,
                entry: entry.chars().flat_map(char::escape_default).collect(),
                what,
            };
            if index >= ENTRIES {
                return Err(wrong("the list is too long"));
            }
            let target = Target::parse(entry).map_err(wrong)?;
            allow.addresses.extend(target.addresses());
            allow.targets.push(target);
        }
        Ok(allow)
    }

    /// For a URL that the operator wrote: its host is trusted wherever it is, and may redirect to public hosts.
    pub fn operator(url: &Url) -> Allow {
        let trust = url.host().map(|host| Trust {
            host: host.to_owned(),
            port: url.port_or_known_default(),
        });
        Allow {
            trust,
            ..Allow::default()
        }
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty() && self.trust.is_none()
    }

    /// Whether a request to this URL may be sent, as far as the URL alone can say.
    pub(super) fn admits(&self, url: &Url) -> bool {
        self.trust.is_some() || self.targets.iter().any(|target| target.matches(url))
    }

    /// Whether an address that `host` led to may be connected to.
    pub(crate) fn admits_address(&self, host: &str, address: SocketAddr) -> bool {
        let ip = address.ip().to_canonical();
        let trusted = |trust: &Trust| trust.is(host) && trust.port == Some(address.port());
        guard::is_public(ip)
            || self.trust.as_ref().is_some_and(trusted)
            || self.addresses.iter().any(|listed| {
                let there = match listed.net {
                    Some(net) => net.contains(&ip),
                    None => host == LOCALHOST && ip.is_loopback(),
                };
                there && listed.port.is_none_or(|port| port == address.port())
            })
    }
}

impl Trust {
    fn is(&self, host: &str) -> bool {
        match &self.host {
            Host::Domain(name) => name == host,
            Host::Ipv4(address) => host.parse() == Ok(IpAddr::V4(*address)),
            Host::Ipv6(address) => host.parse() == Ok(IpAddr::V6(*address)),
        }
    }
}

impl Target {
    fn parse(entry: &str) -> Result<Target, &'static str> {
        let plain = |hosts, port| Target {
            hosts,
            scheme: None,
            port,
            path: String::new(),
        };
        if entry.contains("://") {
            return Target::prefix(entry);
        }
        if let Ok(ip) = entry.parse::<IpAddr>() {
            return Ok(plain(Hosts::Net(IpNet::from(ip.to_canonical())), None));
        }
        if entry.contains('/') {
            let net = entry.parse::<IpNet>();
            let net = net.map_err(|_| "is neither a range of addresses nor a URL with http:// or https://")?;
            return Ok(plain(Hosts::Net(net.trunc()), None));
        }
        let (host, port) = match entry.rsplit_once(':') {
            // The colons of an address in brackets without a port.
            Some((_, port)) if port.ends_with(']') => (entry, None),
            Some((host, port)) => match port.parse::<u16>() {
                Ok(port) if port > 0 && !host.is_empty() => (host, Some(port)),
                _ => return Err("has a port that is none"),
            },
            None => (entry, None),
        };
        Ok(plain(Hosts::parse(host)?, port))
    }

    fn prefix(entry: &str) -> Result<Target, &'static str> {
        let url = Url::parse(entry).map_err(|_| "is not a URL")?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("only http:// and https:// can be granted");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("a user or password does not belong here: plugins send their own headers");
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("the beginning of a URL has no query and no fragment");
        }
        if veiled(url.path()) {
            return Err("has an encoded dot or separator in its path");
        }
        let path = match url.path() {
            "/" => String::new(),
            path => path.to_owned(),
        };
        Ok(Target {
            hosts: Hosts::parse(url.host_str().ok_or("is not a URL")?)?,
            scheme: Some(url.scheme().to_owned()),
            port: url.port_or_known_default(),
            path,
        })
    }

    /// The private addresses that listing this means.
    fn addresses(&self) -> Option<Addresses> {
        let net = match &self.hosts {
            Hosts::Net(net) => Some(*net),
            Hosts::Name(name) if name == LOCALHOST => None,
            Hosts::Name(_) | Hosts::Below(_) => return None,
        };
        let port = self.port;
        Some(Addresses { net, port })
    }

    fn matches(&self, url: &Url) -> bool {
        let scheme = self.scheme.as_ref().is_none_or(|scheme| scheme == url.scheme());
        // `Url::port` is none for the port that belongs to the scheme.
        let port = match self.port {
            Some(port) => url.port_or_known_default() == Some(port),
            None => url.port().is_none(),
        };
        let host = url.host().is_some_and(|host| self.hosts.contain(&host));
        scheme && port && host && self.path_matches(url.path())
    }

    /// Whole segments only: `/api` stands for `/api` and what is below it, not for `/apis`.
    fn path_matches(&self, path: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        let Some(rest) = path.strip_prefix(self.path.as_str()) else {
            return false;
        };
        let whole = rest.is_empty() || self.path.ends_with('/') || rest.starts_with('/');
        whole && !veiled(path)
    }
}

/// Whether a path holds encoded dots or separators: behind them it may be another path than it seems.
fn veiled(path: &str) -> bool {
    let path = path.to_ascii_lowercase();
    VEILED.iter().any(|veil| path.contains(veil))
}

impl Hosts {
    fn parse(host: &str) -> Result<Hosts, &'static str> {
        let (below, name) = match host.strip_prefix(BELOW) {
            Some(name) => (true, name),
            None => (false, host),
        };
        if name == "*" {
            return Err("every host is too much: name the hosts, or a domain as *.example.com");
        }
        match Host::parse(name).map_err(|_| "is not the name of a host")? {
            Host::Domain(name) if !is_name(&name) => Err("is not the name of a host"),
            Host::Domain(name) if below => Ok(Hosts::Below(format!(".{name}"))),
            Host::Domain(name) => Ok(Hosts::Name(name)),
            _ if below => Err("an address has nothing below it; write a range such as 10.0.0.0/8"),
            Host::Ipv4(address) => Ok(Hosts::Net(IpNet::from(IpAddr::V4(address)))),
            Host::Ipv6(address) => Ok(Hosts::Net(IpNet::from(IpAddr::V6(address).to_canonical()))),
        }
    }

    fn contain(&self, host: &Host<&str>) -> bool {
        let ip = match host {
            Host::Domain(name) => {
                return match self {
                    Hosts::Name(listed) => listed == name,
                    Hosts::Below(suffix) => name.strip_suffix(suffix.as_str()).is_some_and(|rest| !rest.is_empty()),
                    Hosts::Net(_) => false,
                };
            }
            Host::Ipv4(address) => IpAddr::V4(*address),
            Host::Ipv6(address) => IpAddr::V6(*address).to_canonical(),
        };
        matches!(self, Hosts::Net(net) if net.contains(&ip))
    }
}

/// Labels of letters, digits, `-` and `_`: what a resolver is asked for.
fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        !label.is_empty() && label.len() <= 63 && label.bytes().all(valid)
    };
    name.len() <= 253 && name.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};

    use super::*;

    fn allow(entries: &[&str]) -> Allow {
        Allow::parse(entries).unwrap()
    }

    #[track_caller]
    fn check(entry: &str, yes: &[&str], no: &[&str]) {
        let allow = allow(&[entry]);
        for url in yes {
            assert!(allow.admits(&url.parse().unwrap()), "{entry} should allow {url}");
        }
        for url in no {
            assert!(!allow.admits(&url.parse().unwrap()), "{entry} should not allow {url}");
        }
    }

    #[test]
    fn nothing_is_allowed_without_entries() {
        let none = Allow::default();
        assert!(none.is_empty());
        assert!(!none.admits(&"https://example.com/".parse().unwrap()));
    }

    #[test]
    fn a_host_stands_for_itself_on_the_usual_ports() {
        check(
            "Users.Example.com",
            &[
                "https://users.example.com/x",
                "http://users.example.com",
                "https://USERS.example.com:443/",
            ],
            &[
                "https://users.example.com:8443/",
                "https://example.com/",
                "https://a.users.example.com/",
                "https://users.example.com.evil.net/",
                "https://users.example.com./",
                "https://evil.net/users.example.com",
                "https://users.example.com@evil.net/",
            ],
        );
    }

    #[test]
    fn a_port_is_the_only_one() {
        check(
            "users.example.com:8443",
            &["https://users.example.com:8443/x", "http://users.example.com:8443/x"],
            &["https://users.example.com/", "https://users.example.com:8444/"],
        );
        check("a.example:443", &["https://a.example/"], &["http://a.example/"]);
    }

    #[test]
    fn a_star_stands_for_what_is_below_a_domain() {
        check(
            "*.example.com",
            &["https://a.example.com/", "https://a.b.example.com/"],
            &[
                "https://example.com/",
                "https://badexample.com/",
                "https://.example.com/",
            ],
        );
        check(
            "https://*.example.com/api",
            &["https://a.example.com/api"],
            &["https://a.example.com/"],
        );
    }

    #[test]
    fn the_beginning_of_a_url_counts_in_whole_segments() {
        check(
            "https://users.example.com/api",
            &[
                "https://users.example.com/api",
                "https://users.example.com/api/",
                "https://users.example.com/api/v1?x=1",
                "https://users.example.com/x/../api/v1",
            ],
            &[
                "http://users.example.com/api",
                "https://users.example.com/apis",
                "https://users.example.com/api/../admin",
                "https://users.example.com/api/%2e%2e/admin",
                "https://users.example.com/api/..%2fadmin",
                "https://users.example.com/api/..;/admin",
                "https://users.example.com/api/..%5Cadmin",
                r"https://users.example.com/api\..\admin",
                "https://users.example.com:8443/api",
            ],
        );
        check(
            "http://a.example:80/",
            &["http://a.example/anything"],
            &["https://a.example/"],
        );
    }

    #[test]
    fn addresses_are_listed_in_every_spelling() {
        check(
            "127.0.0.1:8080",
            &[
                "http://127.0.0.1:8080/",
                "http://127.1:8080/",
                "http://0x7f000001:8080/",
                "http://[::ffff:7f00:1]:8080/",
            ],
            &["http://127.0.0.1/", "http://127.0.0.2:8080/", "http://localhost:8080/"],
        );
        check(
            "10.1.0.0/16",
            &["http://10.1.2.3/"],
            &["http://10.2.0.1/", "http://10.1.2.3:8080/"],
        );
        check(
            "[fd00::1]:8080",
            &["http://[fd00:0::1]:8080/"],
            &["http://[fd00::2]:8080/"],
        );
        check("fd00::1", &["http://[fd00::1]/"], &["http://[fd00::1]:8080/"]);
        check("[fd00::1]", &["http://[fd00::1]/"], &["http://[fd00::1]:8080/"]);
        check("0x7f.1", &["http://127.0.0.1/"], &["http://127.0.0.2/"]);
    }

    #[test]
    fn a_listed_name_leads_to_public_addresses_only_unless_the_address_is_listed_too() {
        let to = |allow: &Allow, host, address: &str| allow.admits_address(host, address.parse().unwrap());
        let name = allow(&["users.example.com:8080"]);
        assert!(to(&name, "users.example.com", "8.8.8.8:8080"));
        for address in [
            "10.1.2.3:8080",
            "127.0.0.1:8080",
            "[::ffff:10.1.2.3]:8080",
            "169.254.169.254:8080",
        ] {
            assert!(!to(&name, "users.example.com", address), "{address}");
        }
        let range = allow(&["users.example.com:8080", "10.0.0.0/8"]);
        assert!(to(&range, "users.example.com", "10.1.2.3:8080"));
        assert!(to(&range, "users.example.com", "[::ffff:10.1.2.3]:8080"));
        assert!(!to(&range, "users.example.com", "192.168.1.1:8080"));
        let port = allow(&["users.example.com:8080", "10.1.2.3:80"]);
        assert!(!to(&port, "users.example.com", "10.1.2.3:8080"));
    }

    #[test]
    fn localhost_lists_the_loopback_addresses_for_that_name_only() {
        let local = allow(&["http://localhost:8080/"]);
        let to = |host, address: &str| local.admits_address(host, address.parse().unwrap());
        assert!(to("localhost", "127.0.0.1:8080"));
        assert!(to("localhost", "[::1]:8080"));
        assert!(!to("localhost", "10.0.0.1:8080"));
        assert!(!to("localhost", "127.0.0.1:8081"));
        assert!(!to("evil.example", "127.0.0.1:8080"));
    }

    #[test]
    fn the_operators_own_url_leads_anywhere_but_its_redirects_do_not() {
        let allow = Allow::operator(&"http://127.0.0.1:5000/plugin.wasm".parse().unwrap());
        assert!(allow.admits(&"https://cdn.example/".parse().unwrap()));
        assert!(allow.admits_address("127.0.0.1", "127.0.0.1:5000".parse().unwrap()));
        assert!(!allow.admits_address("127.0.0.1", "127.0.0.1:22".parse().unwrap()));
        assert!(!allow.admits_address("cdn.example", "127.0.0.1:5000".parse().unwrap()));
        assert!(allow.admits_address("cdn.example", "8.8.8.8:443".parse().unwrap()));
    }

    #[test]
    fn an_entry_that_cannot_be_meant_is_named() {
        for entry in [
            "",
            "*",
            "*.*",
            "*.10.0.0.1",
            "a..b",
            "a b",
            "a.example:0",
            "a.example:http",
            "a.example:99999",
            ":80",
            "10.0.0.0/33",
            "a.example/path",
            "ftp://a.example/",
            "https://user:secret@a.example/",
            "https://a.example/?x=1",
            "https://a.example/#x",
            "https://a.example/%2e%2E%2f",
            "https://",
            "https://a.*.example/",
            "999.1.1.1",
            "a\n.example",
        ] {
            let error = Allow::parse(&["good.example", entry]).unwrap_err();
            assert_eq!(error.index, 1, "{entry}");
            assert!(!error.to_string().contains('\n'), "{error}");
        }
        let many = vec!["a.example"; ENTRIES + 1];
        assert_eq!(Allow::parse(&many).unwrap_err().index, ENTRIES);
    }

    /// URLs changed at random: whatever is still let through leads where the list says.
    #[test]
    fn no_spelling_of_a_url_leads_elsewhere() {
        let allow = allow(&["https://users.example.com/api/"]);
        let mut random = rand::rngs::StdRng::seed_from_u64(17);
        let pieces = [
            "/",
            "\\",
            "..",
            ".",
            "%2e",
            "%2f",
            "%5c",
            "@",
            ":",
            "#",
            "?",
            ";",
            "\t",
            "\n",
            " ",
            "evil.net",
            "127.0.0.1",
            "//",
            "é",
            "\u{ff0e}",
        ];
        let mut admitted = 0;
        for _ in 0..20_000 {
            let mut url: Vec<char> = "https://users.example.com/api/v1/x".chars().collect();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..=url.len());
                let end = (at + random.random_range(0..3)).min(url.len());
                url.splice(at..end, pieces[random.random_range(0..pieces.len())].chars());
            }
            let Ok(url) = url.iter().collect::<String>().parse::<Url>() else {
                continue;
            };
            if allow.admits(&url) {
                admitted += 1;
                let good = url.host_str() == Some("users.example.com") && url.path().starts_with("/api/");
                let steps_up = url.path().split(['/', '\\', ';']).any(|step| step == "..");
                assert!(good && url.port().is_none() && !steps_up, "{url}");
            }
        }
        assert!(admitted > 1_000, "the test tests something: {admitted}");
    }
}

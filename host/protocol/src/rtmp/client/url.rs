//! The URLs that are played from and published to.
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

use crate::percent;
use crate::rtmp::Error;

const PORT: u16 = 1935;
const SECURE_PORT: u16 = 1936;

/// An RTMP URL, cut into what `connect` and `play` or `publish` say.
///
/// ```text
/// rtmp://host/app/key?query        app "app", key "key?query"
/// rtmp://host/app/instance/key     app "app/instance", key "key"
/// rtmp://host/app?query            app "app?query", no key
/// rtmps://host:443/app/x#key       app "app/x", key "key", which may have slashes of its own
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    /// Whether it begins with `rtmps`.
    pub secure: bool,
    /// The host's name or address; an IPv6 address without its brackets.
    pub host: String,
    /// The port: 1935, for `rtmps` 1936, unless the URL names another.
    pub port: u16,
    /// The app.
    pub app: String,
    /// The stream name; may be empty.
    pub key: String,
    /// User and password.
    pub login: Option<(String, String)>,
}

impl std::fmt::Debug for Url {
    /// Without key and login, which are secrets.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Url")
            .field("secure", &self.secure)
            .field("host", &self.host)
            .field("port", &self.port)
            .finish_non_exhaustive()
    }
}

impl Url {
    /// Parses a URL. App and key go out as they are written; user and password are percent-decoded.
    pub fn parse(url: &str) -> Result<Url, Error> {
        let (scheme, rest) = url.split_once("://").ok_or(Error::Url)?;
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "rtmp" => false,
            "rtmps" => true,
            _ => return Err(Error::Url),
        };
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at_checked(end).ok_or(Error::Url)?;
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(read_login(login)?), place),
            None => (None, authority),
        };
        let (host, port) = read_place(place)?;
        let (rest, fragment) = match rest.split_once('#') {
            Some((rest, fragment)) => (rest, Some(fragment)),
            None => (rest, None),
        };
        let (path, query) = match rest.find('?').and_then(|at| rest.split_at_checked(at)) {
            Some((path, query)) => (path, query),
            None => (rest, ""),
        };
        let path = path.trim_matches('/');
        let (app, key) = match fragment {
            Some(key) => (format!("{path}{query}"), key.to_owned()),
            None => match cut(path) {
                (app, "") => (format!("{app}{query}"), String::new()),
                (app, key) => (app.to_owned(), format!("{key}{query}")),
            },
        };
        Ok(Url {
            secure,
            host: host.to_owned(),
            port: port.unwrap_or(if secure { SECURE_PORT } else { PORT }),
            app,
            key,
            login,
        })
    }

    /// The URL up to and with the app, as `connect` says it.
    pub fn tc_url(&self) -> String {
        let scheme = if self.secure { "rtmps" } else { "rtmp" };
        let (open, close) = if self.host.contains(':') { ("[", "]") } else { ("", "") };
        format!("{scheme}://{open}{}{close}:{}/{}", self.host, self.port, self.app)
    }
}

/// Where the app ends: two segments of a long path, the first one of a short path.
fn cut(path: &str) -> (&str, &str) {
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let (first, second) = (slashes.next(), slashes.next());
    let Some(at) = second.or(first) else {
        return (path, "");
    };
    let (app, key) = path.split_at_checked(at).unwrap_or((path, ""));
    (app, key.trim_start_matches('/'))
}

fn read_login(login: &str) -> Result<(String, String), Error> {
    let (user, password) = login.split_once(':').unwrap_or((login, ""));
    let decode = |text| percent::decode(text).ok_or(Error::Url);
    Ok((decode(user)?, decode(password)?))
}

fn read_place(place: &str) -> Result<(&str, Option<u16>), Error> {
    let (host, port) = match place.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']').ok_or(Error::Url)?;
            let port = match port.strip_prefix(':') {
                None if !port.is_empty() => return Err(Error::Url),
                port => port,
            };
            (host, port)
        }
        None => match place.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (place, None),
        },
    };
    let port = port.map(str::parse).transpose().map_err(|_| Error::Url)?;
    if host.is_empty() || port == Some(0) {
        return Err(Error::Url);
    }
    Ok((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, place: (&str, u16), app: &str, key: &str) {
        let url = Url::parse(url).unwrap();
        assert_eq!((url.host.as_str(), url.port), place);
        assert_eq!((url.app.as_str(), url.key.as_str()), (app, key));
    }

    #[test]
    fn app_and_key_are_found_in_every_form() {
        check("rtmp://h/app/key", ("h", 1935), "app", "key");
        check("rtmps://h/app/key", ("h", 1936), "app", "key");
        check("RTMP://h:99/a/b/c?user=u", ("h", 99), "a/b", "c?user=u");
        check("rtmp://h/a/b/c/d", ("h", 1935), "a/b", "c/d");
        check("rtmp://h/app?token=a/b", ("h", 1935), "app?token=a/b", "");
        check("rtmp://h/app", ("h", 1935), "app", "");
        check("rtmp://h/app/", ("h", 1935), "app", "");
        check("rtmp://h", ("h", 1935), "", "");
        check(
            "rtmps://h:443/live2/x?y=1#k-e/y?z",
            ("h", 443),
            "live2/x?y=1",
            "k-e/y?z",
        );
        check("rtmp://[::1]:1/app/key", ("::1", 1), "app", "key");
        check("rtmp://[::1]/app/key", ("::1", 1935), "app", "key");
    }

    #[test]
    fn the_login_is_decoded_and_kept_out_of_what_is_sent() {
        let url = Url::parse("rtmp://joe:p%40ss@[fe80::1]/app/key").unwrap();
        assert_eq!(url.login, Some(("joe".to_owned(), "p@ss".to_owned())));
        assert_eq!(url.tc_url(), "rtmp://[fe80::1]:1935/app");
        assert!(!format!("{url:?}").contains("p@ss"));
    }

    #[test]
    fn what_is_no_rtmp_url_is_refused() {
        for url in [
            "",
            "h/app",
            "http://h/app",
            "rtmp:///app",
            "rtmp://:1935/app",
            "rtmp://h:0/app",
            "rtmp://h:x/app",
            "rtmp://h:99999/app",
            "rtmp://[::1/app",
            "rtmp://[::1]x/app",
            "rtmp://%zz@h/app",
        ] {
            assert_eq!(Url::parse(url), Err(Error::Url), "{url}");
        }
    }
}

//! A destination's URL as written, and what it means for one path: `$MTX_PATH`, `$G1`… replaced, and whether a client had
//! a say in the host.

use std::{fmt, sync::Arc};

use wasmtx_hub::Path;

use crate::source::expand;

/// Schemes of servers that a stream can be sent to.
const SCHEMES: &[&str] = &["rtmp", "rtmps"];
/// What stands in place of a secret.
const MARK: &str = "<redacted>";

/// Why a destination cannot be used. The URL is not shown: it may hold a password or a stream key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidDestination {
    /// Another scheme, or one that is not written out.
    #[error("a destination's URL must begin with rtmp:// or rtmps://")]
    Scheme,
    /// Not a URL once the variables are replaced.
    #[error("the destination's URL is not valid")]
    Url,
    /// A variable's value has made it too long, or holds a control character.
    #[error("a variable in the destination's URL has a value that no URL can hold")]
    Value,
}

/// A server that a stream is sent on to, as the configuration describes it.
#[derive(Clone, PartialEq, Eq)]
pub struct Destination {
    url: Arc<str>,
    fingerprint: Option<[u8; 32]>,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Destination({})", self.shown())
    }
}

impl Destination {
    /// Checks as much of a template as can be without its values. `fingerprint` is the SHA-256 of the server's
    /// certificate, where no authority vouches for it.
    ///
    /// # Errors
    /// [`InvalidDestination`] says what is wrong.
    pub fn new(template: &str, fingerprint: Option<[u8; 32]>) -> Result<Destination, InvalidDestination> {
        match template.split_once("://") {
            Some((scheme, rest)) if SCHEMES.contains(&scheme) => {
                let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
                if host.is_empty() {
                    return Err(InvalidDestination::Url);
                }
                Ok(Destination {
                    url: template.into(),
                    fingerprint,
                })
            }
            _ => Err(InvalidDestination::Scheme),
        }
    }

    /// Its scheme, which is also what the API calls its protocol.
    pub fn protocol(&self) -> &'static str {
        let scheme = self.url.split("://").next();
        SCHEMES
            .iter()
            .find(|known| scheme == Some(known))
            .copied()
            .unwrap_or_default()
    }

    /// The template as it may be shown: without user and password, and without what names the stream at that server, which
    /// is what lets one publish there. Of `rtmp://host/app/key` the app remains.
    pub fn shown(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, resource) = rest.split_at(end);
        let (login, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (format!("{MARK}@"), host),
            None => (String::new(), authority),
        };
        let path = resource.split(['?', '#']).next().unwrap_or_default();
        let has_fragment = resource.contains('#');
        let app = match path.rsplit_once('/') {
            // With a fragment, that is the key.
            _ if has_fragment => path,
            Some((app, key)) if !app.is_empty() && !key.is_empty() => app,
            _ => path,
        };
        let hidden = app.len() < resource.len();
        let separator = if app.ends_with('/') { "" } else { "/" };
        let rest = if hidden {
            format!("{separator}{MARK}")
        } else {
            String::new()
        };
        format!("{scheme}://{login}{host}{app}{rest}")
    }

    /// The certificate that it must have.
    pub fn fingerprint(&self) -> Option<[u8; 32]> {
        self.fingerprint
    }

    /// Replaces the variables for one path.
    ///
    /// # Errors
    /// A value that no URL can hold.
    pub(super) fn target(&self, path: &Path) -> Result<Target, InvalidDestination> {
        let (_, rest) = self.url.split_once("://").ok_or(InvalidDestination::Scheme)?;
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let named = ("MTX_PATH", path.name.as_str());
        let url = expand(&self.url, &path.groups(), named).map_err(|_| InvalidDestination::Value)?;
        Ok(Target {
            url,
            trusted_host: !authority.contains('$'),
            fingerprint: self.fingerprint,
        })
    }
}

/// Where a path's stream is sent.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// With everything in it, secrets too.
    pub(crate) url: String,
    /// The host stands in the file as it is. Otherwise a client may have chosen it, and only public addresses will do.
    pub(crate) trusted_host: bool,
    /// The certificate that the server must have.
    pub(crate) fingerprint: Option<[u8; 32]>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_server_that_streams_can_be_sent_to_is_refused() {
        for (url, expected) in [
            ("rtsp://host/a", InvalidDestination::Scheme),
            ("srt://host:1", InvalidDestination::Scheme),
            ("$G1://host/a", InvalidDestination::Scheme),
            ("host/a", InvalidDestination::Scheme),
            ("", InvalidDestination::Scheme),
            ("rtmp://", InvalidDestination::Url),
            ("rtmps:///live/key", InvalidDestination::Url),
        ] {
            assert_eq!(Destination::new(url, None).unwrap_err(), expected, "{url}");
        }
    }

    #[test]
    fn who_looks_sees_where_a_stream_goes_and_nothing_that_lets_him_send_there() {
        for (url, expected) in [
            ("rtmp://host", "rtmp://host"),
            ("rtmp://host/live", "rtmp://host/live"),
            ("rtmps://host:443/live2/abcd-efgh", "rtmps://host:443/live2/<redacted>"),
            (
                "rtmp://me:secret@host/live/key",
                "rtmp://<redacted>@host/live/<redacted>",
            ),
            ("rtmp://host/a/b/$MTX_PATH", "rtmp://host/a/b/<redacted>"),
            ("rtmp://host/live?token=1", "rtmp://host/live/<redacted>"),
            ("rtmp://host/live/key?user=u&pass=p", "rtmp://host/live/<redacted>"),
            ("rtmp://host/live/#key/with/slashes", "rtmp://host/live/<redacted>"),
        ] {
            let destination = Destination::new(url, None).unwrap();
            assert_eq!(destination.shown(), expected, "{url}");
            let debug = format!("{destination:?}");
            assert!(!debug.contains("secret") && !debug.contains("abcd"), "{debug}");
        }
    }
}

//! `forward:` of a path: servers that its stream is sent on to.

use super::{
    node::Node,
    schema::{Reader, Value, settings},
    secret::{Fingerprint, Secret},
    suggest::nearest,
    value::text,
};
use crate::redact;
use serde_json::Value as Json;

settings! {
    /// A server that a stream is sent on to.
    pub struct Forward {
        /// Its URL.
        "dest" => dest: Dest = Dest::default(),
        /// The certificate it must have.
        "destFingerprint" => dest_fingerprint: Fingerprint = Fingerprint::default(),
        /// Token of a WHIP server.
        "whipBearerToken" => whip_bearer_token: Secret = Secret::default(),
    }
}

/// The URL of such a server, as it stands in the file. It may hold `$MTX_PATH` and `$G1`, so it is no URL yet.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Dest(String);

const SCHEMES: &[&str] = &["rtmp", "rtmps", "rtsp", "rtsps", "srt", "whip", "whips"];
/// Those that streams are sent to in this version.
const BUILT: &[&str] = &["rtmp", "rtmps"];

impl Dest {
    /// As it stands in the file, credentials included.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Its scheme; empty when nothing was written.
    pub fn scheme(&self) -> &str {
        self.0.split_once("://").map_or("", |(scheme, _)| scheme)
    }

    /// Whether streams can be sent there.
    pub fn is_built(&self) -> bool {
        BUILT.contains(&self.scheme())
    }
}

impl Value for Dest {
    fn read(node: &Node, reader: &mut Reader) -> Option<Self> {
        let Some(text) = text(node) else {
            return reader.expected(node, "a URL such as rtmp://host/app/key");
        };
        // It may hold a password or a stream key: only the scheme is shown.
        let Some((scheme, rest)) = text.split_once("://") else {
            return reader.expected(node, "a URL such as rtmp://host/app/key");
        };
        let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
        if SCHEMES.contains(&scheme) && !host.is_empty() && !text.chars().any(char::is_control) {
            return Some(Dest(text.to_owned()));
        }
        if SCHEMES.contains(&scheme) {
            reader.suggest(
                &node.origin,
                "the URL has no host, or a character that no URL has".to_owned(),
                None,
            );
        } else {
            let suggestion = nearest(scheme, SCHEMES.iter().copied()).map(|known| format!("{known}://…"));
            let message = format!("streams are not sent on by the scheme `{}`", scheme.escape_debug());
            reader.suggest(&node.origin, message, suggestion);
        }
        None
    }

    fn json(&self) -> Json {
        Json::from(redact::destination(&self.0))
    }
}

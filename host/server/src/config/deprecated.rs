//! Keys that older files use. They are rewritten in the tree before the schema reads it, so that nothing else knows
//! them; each is named in one warning, however often it stands in the file.

use super::{
    error::{Origin, Problems},
    node::{Content, Entry, Node, Style, boolean},
    schema::describe,
};
use std::collections::BTreeMap;

/// What becomes of an old key.
enum To {
    /// The same value under another name.
    Key(&'static str),
    /// The opposite value under another name.
    Not(&'static str),
    /// The value as the only item of a list.
    ListOf(&'static str),
    /// The same value, in pathDefaults.
    PathDefault(&'static str),
    /// Addresses with credentials become maps.
    IceServers(&'static str),
    /// The user that the path asks for; see [`Credentials`].
    Credential,
    /// Nothing; the text says what to use.
    Nothing(&'static str),
}

const GLOBAL: &[(&str, To)] = &[
    ("readBufferCount", To::Key("writeQueueSize")),
    ("externalAuthenticationURL", To::Key("authHTTPAddress")),
    (
        "authJWTInHTTPQuery",
        To::Nothing("send the token in the Authorization header"),
    ),
    ("apiAllowOrigin", To::ListOf("apiAllowOrigins")),
    ("metricsAllowOrigin", To::ListOf("metricsAllowOrigins")),
    ("pprofAllowOrigin", To::ListOf("pprofAllowOrigins")),
    ("playbackAllowOrigin", To::ListOf("playbackAllowOrigins")),
    ("rtspDisable", To::Not("rtsp")),
    ("protocols", To::Key("rtspTransports")),
    ("encryption", To::Key("rtspEncryption")),
    ("serverKey", To::Key("rtspServerKey")),
    ("serverCert", To::Key("rtspServerCert")),
    ("authMethods", To::Key("rtspAuthMethods")),
    ("rtspUDPReadBufferSize", To::Key("udpReadBufferSize")),
    ("rtmpDisable", To::Not("rtmp")),
    ("hlsDisable", To::Not("hls")),
    ("hlsAllowOrigin", To::ListOf("hlsAllowOrigins")),
    ("webrtcDisable", To::Not("webrtc")),
    ("webrtcAllowOrigin", To::ListOf("webrtcAllowOrigins")),
    ("webrtcICEUDPMuxAddress", To::Key("webrtcLocalUDPAddress")),
    ("webrtcICETCPMuxAddress", To::Key("webrtcLocalTCPAddress")),
    ("webrtcICEHostNAT1To1IPs", To::Key("webrtcAdditionalHosts")),
    ("webrtcICEServers", To::IceServers("webrtcICEServers2")),
    ("moqHTTPS2Address", To::Key("moqHTTP2Address")),
    ("moqHTTPS3Address", To::Key("moqHTTP3Address")),
    ("record", To::PathDefault("record")),
    ("recordPath", To::PathDefault("recordPath")),
    ("recordFormat", To::PathDefault("recordFormat")),
    ("recordPartDuration", To::PathDefault("recordPartDuration")),
    ("recordSegmentDuration", To::PathDefault("recordSegmentDuration")),
    ("recordDeleteAfter", To::PathDefault("recordDeleteAfter")),
];

const UDP_BUFFER: &str = "set the global udpReadBufferSize";

const PATH: &[(&str, To)] = &[
    (
        "fallback",
        To::Nothing("use alwaysAvailable, or a path with `source: redirect`"),
    ),
    (
        "playback",
        To::Nothing("recordings are served when the global `playback` is on"),
    ),
    ("publishUser", To::Credential),
    ("publishPass", To::Credential),
    ("publishIPs", To::Credential),
    ("readUser", To::Credential),
    ("readPass", To::Credential),
    ("readIPs", To::Credential),
    ("disablePublisherOverride", To::Not("overridePublisher")),
    ("sourceProtocol", To::Key("rtspTransport")),
    ("sourceAnyPortEnable", To::Key("rtspAnyPort")),
    ("rtspUDPReadBufferSize", To::Nothing(UDP_BUFFER)),
    ("mpegtsUDPReadBufferSize", To::Nothing(UDP_BUFFER)),
    ("rtpUDPReadBufferSize", To::Nothing(UDP_BUFFER)),
    ("rpiCameraProfile", To::Key("rpiCameraH264Profile")),
    ("rpiCameraLevel", To::Key("rpiCameraH264Level")),
    ("rpiCameraHardwareH264Profile", To::Key("rpiCameraH264Profile")),
    ("rpiCameraHardwareH264Level", To::Key("rpiCameraH264Level")),
    ("rpiCameraSoftwareH264Profile", To::Key("rpiCameraH264Profile")),
    ("rpiCameraSoftwareH264Level", To::Key("rpiCameraH264Level")),
    ("rpiCameraJPEGQuality", To::Key("rpiCameraMJPEGQuality")),
    ("runOnReady", To::Key("runOnAvailable")),
    ("runOnReadyRestart", To::Key("runOnAvailableRestart")),
    ("runOnNotReady", To::Key("runOnUnavailable")),
];

/// The credentials that one path asks for in the old way, by old key.
pub(crate) type Credentials = BTreeMap<&'static str, Entry>;

/// What the rewriting found.
#[derive(Default)]
pub(crate) struct Found {
    /// One sentence per old key.
    pub(crate) warnings: Vec<String>,
    /// Old credentials of pathDefaults.
    pub(crate) default_credentials: Credentials,
    /// Old credentials by entry of `paths`.
    pub(crate) credentials: BTreeMap<String, Credentials>,
    pub(crate) problems: Problems,
    /// How often each old key stands in the file, and where first.
    uses: BTreeMap<(&'static str, String), (usize, String)>,
}

/// Old names of global keys, for "did you mean" and environment variables.
pub(crate) fn global_keys() -> impl Iterator<Item = &'static str> {
    GLOBAL.iter().map(|(key, _)| *key)
}

/// Old names of path keys.
pub(crate) fn path_keys() -> impl Iterator<Item = &'static str> {
    PATH.iter().map(|(key, _)| *key)
}

/// Rewrites the old keys of a whole configuration.
pub(crate) fn rewrite(root: &mut Node) -> Found {
    let mut found = Found::default();
    for (old, to) in GLOBAL {
        let Some(entry) = take(root, old) else { continue };
        found.note(old, to, "", &entry);
        match to {
            To::PathDefault(new) => {
                let defaults = root.get_or_insert("pathDefaults", &entry.origin, || Node::map(entry.origin.clone()));
                found.put(defaults, old, new, entry);
            }
            _ => found.apply(root, old, to, entry),
        }
        if *old == "externalAuthenticationURL" && root.entry("authMethod").is_none() {
            let origin = root.locate(&["authHTTPAddress"]);
            root.set("authMethod", Node::scalar("http", Style::Plain, origin));
        }
    }
    if let Some(defaults) = root
        .entries_mut()
        .iter_mut()
        .find(|entry| &*entry.key == "pathDefaults")
    {
        found.default_credentials = found.rewrite_path(&mut defaults.value, "pathDefaults");
    }
    if let Some(paths) = root.entries_mut().iter_mut().find(|entry| &*entry.key == "paths")
        && let Content::Map(paths) = &mut paths.value.content
    {
        for path in paths {
            let credentials = found.rewrite_path(&mut path.value, &format!("paths.{}", path.key));
            if !credentials.is_empty() {
                found.credentials.insert(path.key.to_string(), credentials);
            }
        }
    }
    found.summarise();
    found
}

/// Removes a key; with nothing in it, it says nothing.
fn take(node: &mut Node, key: &str) -> Option<Entry> {
    node.entry(key)?;
    node.remove(key).filter(|entry| !entry.value.is_null())
}

impl Found {
    fn rewrite_path(&mut self, node: &mut Node, place: &str) -> Credentials {
        let mut credentials = Credentials::new();
        if !matches!(node.content, Content::Map(_)) {
            return credentials;
        }
        for (old, to) in PATH {
            let Some(entry) = take(node, old) else { continue };
            self.note(old, to, place, &entry);
            match to {
                To::Credential => {
                    credentials.insert(old, entry);
                }
                _ => self.apply(node, old, to, entry),
            }
        }
        credentials
    }

    fn apply(&mut self, map: &mut Node, old: &'static str, to: &To, mut entry: Entry) {
        match to {
            To::Key(new) => self.put(map, old, new, entry),
            To::Not(new) => match &entry.value.content {
                Content::Scalar(text, style) if *style != Style::Quoted && boolean(text).is_some() => {
                    let opposite = if boolean(text) == Some(true) { "no" } else { "yes" };
                    entry.value = Node::scalar(opposite, Style::Plain, entry.value.origin);
                    self.put(map, old, new, entry);
                }
                _ => {
                    let message = format!("expected yes or no, found {}", describe(&entry.value));
                    self.problems.refuse(&entry.value.origin, old, message);
                }
            },
            To::ListOf(new) => {
                let origin = entry.value.origin.clone();
                entry.value = Node::list(vec![entry.value], origin);
                self.put(map, old, new, entry);
            }
            To::IceServers(new) => {
                let origin = entry.value.origin.clone();
                let servers = entry.value.items().iter().map(ice_server).collect();
                if matches!(entry.value.content, Content::List(_)) {
                    entry.value = Node::list(servers, origin);
                }
                self.put(map, old, new, entry);
            }
            To::PathDefault(_) | To::Credential | To::Nothing(_) => {}
        }
    }

    /// Puts the value under its live name; a live key that is there already is the newer word.
    fn put(&mut self, map: &mut Node, old: &'static str, new: &'static str, entry: Entry) {
        if map
            .entry(new)
            .is_none_or(|live| live.value.is_null() || live.written.is_some())
        {
            map.remove(new);
            map.entries_mut().push(Entry {
                key: new.into(),
                written: Some(old.into()),
                ..entry
            });
        }
    }

    fn note(&mut self, old: &'static str, to: &To, place: &str, entry: &Entry) {
        let place = match (&entry.origin, place) {
            (Origin::File { line, .. }, "") => format!("line {line}"),
            (Origin::File { line, .. }, place) => format!("{place}, line {line}"),
            (Origin::Environment(variable), _) => variable.to_string(),
            (Origin::Default | Origin::Request, place) => place.to_owned(),
        };
        self.uses.entry((old, advice(to))).or_insert((0, place)).0 += 1;
    }

    fn summarise(&mut self) {
        for ((old, advice), (count, place)) in std::mem::take(&mut self.uses) {
            let place = match (count, place.as_str()) {
                (_, "") => String::new(),
                (1, place) => format!(" ({place})"),
                (count, place) => format!(" (in {count} places, the first: {place})"),
            };
            self.warnings.push(format!("`{old}`{place} is deprecated: {advice}"));
        }
    }
}

fn advice(to: &To) -> String {
    match to {
        To::Key(new) | To::Not(new) | To::ListOf(new) | To::IceServers(new) => format!("use `{new}`"),
        To::PathDefault(new) => format!("use `{new}` below pathDefaults"),
        To::Credential => "use authInternalUsers".to_owned(),
        To::Nothing(advice) => format!("it has no effect; {advice}"),
    }
}

/// `turn:user:password:host:port` or `stun:host:port` as the map of today.
fn ice_server(item: &Node) -> Node {
    let Content::Scalar(text, _) = &item.content else {
        return item.clone();
    };
    let parts: Vec<&str> = text.split(':').collect();
    let mut server = Node::map(item.origin.clone());
    let mut set = |key: &str, text: &str| server.set(key, Node::scalar(text, Style::Quoted, item.origin.clone()));
    match parts.as_slice() {
        [scheme, user, password, rest @ ..] if rest.len() >= 2 => {
            set("url", &format!("{scheme}:{}", rest.join(":")));
            set("username", user);
            set("password", password);
        }
        _ => set("url", text),
    }
    server
}

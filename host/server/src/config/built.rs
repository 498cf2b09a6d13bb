//! What the schema knows and this version does not do yet: one table. Whoever builds a feature takes its keys out.
//!
//! Such keys are accepted, and those that somebody wrote and that would do something are named in one warning. What would open
//! the server when ignored (another authentication method) is refused instead.

use super::{
    Config,
    global::{AuthMethod, Global},
    node::Node,
    path::{PathConf, SourceKind, SourceTransport},
    schema::Settings,
};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Keys that belong together.
struct Feature {
    /// The key that switches them on; without one, each key counts by itself.
    switch: Option<&'static str>,
    /// Keys, or with a star all that begin so.
    keys: &'static [&'static str],
    /// The protocol, when it is one that clients ask for.
    protocol: Option<&'static str>,
}

const GLOBAL: &[Feature] = &[
    Feature {
        switch: Some("rtmp"),
        keys: &["rtmp*"],
        protocol: Some("RTMP"),
    },
    Feature {
        switch: Some("hls"),
        keys: &["hls*"],
        protocol: Some("HLS"),
    },
    Feature {
        switch: Some("flv"),
        keys: &["flv*"],
        protocol: Some("HTTP-FLV"),
    },
    Feature {
        switch: Some("webrtc"),
        keys: &["webrtc*"],
        protocol: Some("WebRTC"),
    },
    Feature {
        switch: Some("srt"),
        keys: &["srt", "srtAddress"],
        protocol: Some("SRT"),
    },
    Feature {
        switch: Some("moq"),
        keys: &["moq*"],
        protocol: Some("MoQ"),
    },
    Feature {
        switch: Some("playback"),
        keys: &["playback*"],
        protocol: None,
    },
    Feature {
        switch: Some("pprof"),
        keys: &["pprof*"],
        protocol: None,
    },
    Feature {
        switch: None,
        keys: &[
            "dumpPackets",
            "runOnConnect*",
            "runOnDisconnect",
            "authHTTP*",
            "authJWT*",
            "apiPersist",
            "allowCommandsFromApi",
            "apiEncryption",
            "apiTrustedProxies",
            "metricsEncryption",
            "metricsTrustedProxies",
            "multicast*",
            "srtpAddress",
            "srtcpAddress",
            "rtspTrustedProxies",
        ],
        protocol: None,
    },
];

const PATH: &[Feature] = &[
    Feature {
        switch: Some("record"),
        keys: &["record*"],
        protocol: None,
    },
    Feature {
        switch: Some("alwaysAvailable"),
        keys: &["alwaysAvailable*"],
        protocol: None,
    },
    Feature {
        switch: None,
        keys: &[
            "forward",
            "useAbsoluteTimestamp",
            "srtReadPassphrase",
            "srtPublishPassphrase",
            "rtspDemuxMpegts",
            "rtspAnyPort",
            "rtspRange*",
            "rtspScale",
            "rtspUDPSourcePortRange",
            "rtpSDP",
            "moqTransport",
            "whep*",
            "rpiCamera*",
            "runOnOnline*",
            "runOnOffline",
            "runOnRead*",
            "runOnUnread",
            "runOnRecordSegment*",
        ],
        protocol: None,
    },
];

/// Kinds of sources that are served.
const SOURCES: &[SourceKind] = &[
    SourceKind::Publisher,
    SourceKind::Redirect,
    SourceKind::Rtsp,
    SourceKind::Rtsps,
];

/// Grants that nothing stands behind yet: plugins are answered `not-granted`.
const GRANTS: &[&str] = &["http", "kv", "storage", "control"];

/// The sentence for an authentication method that is not there yet.
pub(crate) fn missing_method(method: AuthMethod) -> Option<String> {
    (method != AuthMethod::Internal)
        .then(|| format!("the authentication method `{method}` is not built yet; use `internal` or an auth plugin"))
}

/// Protocols that are switched on, by default or not, and not served yet.
pub(crate) fn unserved(global: &Global) -> Vec<&'static str> {
    let on = |feature: &&Feature| {
        feature
            .switch
            .is_some_and(|key| global.key_json(key) == Some(Json::Bool(true)))
    };
    GLOBAL
        .iter()
        .filter(on)
        .filter_map(|feature| feature.protocol)
        .collect()
}

/// One sentence that names every key that was written and does nothing yet.
pub(crate) fn warning(config: &Config) -> Option<String> {
    let mut names: Vec<String> = Vec::new();
    let (global, path) = (Global::default(), PathConf::default());
    let root = written(&config.tree);
    names.extend(
        idle(GLOBAL, &root, &config.global, &global)
            .into_iter()
            .map(str::to_owned),
    );
    for plugin in config.tree.get("plugins").map(Node::entries).unwrap_or_default() {
        let granted = plugin.value.get("grant").map(Node::entries).unwrap_or_default();
        let idle = granted
            .iter()
            .filter(|grant| GRANTS.contains(&&*grant.key) && !grant.value.is_null());
        names.extend(idle.map(|grant| format!("plugins.{}.grant.{}", plugin.key, grant.key)));
    }
    if let Some(defaults) = config.tree.get("pathDefaults") {
        let idle = idle_path(&written(defaults), &config.path_defaults, &path);
        names.extend(idle.into_iter().map(|key| format!("pathDefaults.{key}")));
    }
    // A thousand paths that record are one thing to say, not a thousand.
    let mut by_key: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for entry in config.tree.get("paths").map(Node::entries).unwrap_or_default() {
        let Some(conf) = config.paths.get(&entry.key) else {
            continue;
        };
        for key in idle_path(&written(&entry.value), &conf.conf, &path) {
            by_key.entry(key).or_insert((0, &entry.key)).0 += 1;
        }
    }
    names.extend(by_key.into_iter().map(|(key, (count, first))| match count {
        1 => format!("paths.{first}.{key}"),
        _ => format!("paths.{first}.{key} (and in {} more paths)", count - 1),
    }));
    (!names.is_empty()).then(|| format!("not built yet, so without effect: {}", names.join(", ")))
}

/// The keys of a map that have a value.
fn written(node: &Node) -> Vec<&str> {
    node.entries()
        .iter()
        .filter(|entry| !entry.value.is_null())
        .map(|entry| &*entry.key)
        .collect()
}

fn idle_path(written: &[&str], conf: &PathConf, default: &PathConf) -> Vec<String> {
    let mut names: Vec<String> = idle(PATH, written, conf, default)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if written.contains(&"source") && !SOURCES.contains(&conf.source.kind()) {
        names.push(format!("source ({})", conf.source.kind()));
    }
    if written.contains(&"rtspTransport") && conf.rtsp_transport == SourceTransport::Multicast {
        names.push("rtspTransport (multicast)".into());
    }
    names
}

/// The written keys of features that are on, when they are the switch or say something else than the default.
fn idle<'a, S: Settings>(features: &[Feature], written: &[&'a str], conf: &S, default: &S) -> Vec<&'a str> {
    let mut names = Vec::new();
    for key in written {
        let Some(feature) = features
            .iter()
            .find(|feature| feature.keys.iter().any(|known| covers(known, key)))
        else {
            continue;
        };
        let on = feature
            .switch
            .is_none_or(|switch| conf.key_json(switch) == Some(Json::Bool(true)));
        let says = feature.switch == Some(key) || conf.key_json(key) != default.key_json(key);
        if on && says {
            names.push(*key);
        }
    }
    names
}

fn covers(known: &str, key: &str) -> bool {
    match known.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => known == key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_of_the_table_is_a_key_of_the_schema() {
        let check = |features: &[Feature], fields: &[super::super::schema::Field]| {
            for known in features
                .iter()
                .flat_map(|feature| feature.keys.iter().chain(feature.switch.as_ref()))
            {
                assert!(fields.iter().any(|field| covers(known, field.key)), "{known}");
            }
        };
        check(GLOBAL, Global::fields());
        check(PATH, PathConf::fields());
    }
}

//! What the schema knows and this version does not do yet: one table. Whoever builds a feature takes its keys out.
//!
//! Such keys are accepted, and those that somebody wrote and that would do something are named in one warning. What would open
//! the server when ignored (another authentication method) is refused instead.

use super::{
    Config,
    global::{AuthMethod, Global},
    limits::Limits,
    node::Node,
    path::{PathConf, SourceKind, SourceTransport},
    plugin::{Plugin, Run},
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
        switch: Some("hls"),
        // The others hold for HTTP-FLV, whose port it shares.
        keys: &[
            "hls",
            "hlsAddress",
            "hlsAlwaysRemux",
            "hlsVariant",
            "hlsSegment*",
            "hlsPartDuration",
            "hlsDirectory",
            "hlsMuxerCloseAfter",
            "hlsCDNSecret",
            "hlsSessions",
        ],
        protocol: Some("HLS"),
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
        switch: Some("pprof"),
        keys: &["pprof*"],
        protocol: None,
    },
    loose(&[
        "dumpPackets",
        "authHTTP*",
        "authJWT*",
        "apiPersist",
        "allowCommandsFromApi",
        "multicast*",
        "srtpAddress",
        "srtcpAddress",
    ]),
];

const PATH: &[Feature] = &[
    Feature {
        switch: Some("alwaysAvailable"),
        keys: &["alwaysAvailable*"],
        protocol: None,
    },
    loose(&[
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
        "runOnRead*",
        "runOnUnread",
    ]),
];

/// Kinds of sources that are served.
const SOURCES: &[SourceKind] = &[
    SourceKind::Publisher,
    SourceKind::Redirect,
    SourceKind::Rtsp,
    SourceKind::Rtsps,
    SourceKind::Rtmp,
    SourceKind::Flv,
];

/// Bounds that are not the file's to set yet: the built-in ones count.
const LIMITS: &[Feature] = &[loose(&[
    "connections",
    "rtsp*",
    "pathsPerRule",
    "pluginInstances",
    "pluginFile",
])];

const PLUGIN: &[Feature] = &[loose(&["instances", "run"])];

/// Keys that count each by itself.
const fn loose(keys: &'static [&'static str]) -> Feature {
    Feature {
        switch: None,
        keys,
        protocol: None,
    }
}

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
    if let Some(limits) = config.tree.get("limits") {
        let idle = idle(LIMITS, &written(limits), &config.global.limits, &Limits::default());
        names.extend(idle.into_iter().map(|key| format!("limits.{key}")));
    }
    for (name, plugin) in &config.global.plugins {
        let written = config.tree.get("plugins").and_then(|plugins| plugins.get(name));
        names.extend(
            written
                .iter()
                .flat_map(|node| idle_plugin(node, plugin))
                .map(|key| format!("plugins.{name}.{key}")),
        );
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

fn idle_plugin(node: &Node, conf: &Plugin) -> Vec<String> {
    let default = Plugin::default();
    owned(idle(PLUGIN, &written(node), conf, &default))
}

fn owned(names: Vec<&str>) -> Vec<String> {
    names.into_iter().map(str::to_owned).collect()
}

fn idle_path(written: &[&str], conf: &PathConf, default: &PathConf) -> Vec<String> {
    let mut names: Vec<String> = idle(PATH, written, conf, default)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if written.contains(&"source") && !SOURCES.contains(&conf.source.kind()) {
        names.push(format!("source ({})", conf.source.kind()));
    }
    for forward in conf.forward.iter().filter(|forward| !forward.dest.is_built()) {
        if written.contains(&"forward") {
            names.push(format!("forward ({})", forward.dest.scheme()));
        }
    }
    if written.contains(&"plugins")
        && conf
            .plugins
            .0
            .iter()
            .any(|link| link.run.is_some_and(|run| run != Run::Auto))
    {
        names.push("plugins (run)".into());
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
    use super::{super::schema::Field, *};
    use std::{collections::BTreeSet, fs, path::Path};

    /// The tables with the fields that they are about.
    fn tables() -> [(&'static [Feature], &'static [Field]); 4] {
        [
            (GLOBAL, Global::fields()),
            (PATH, PathConf::fields()),
            (LIMITS, Limits::fields()),
            (PLUGIN, Plugin::fields()),
        ]
    }

    #[test]
    fn every_key_of_the_table_is_a_key_of_the_schema() {
        for (features, fields) in tables() {
            for known in features
                .iter()
                .flat_map(|feature| feature.keys.iter().chain(feature.switch.as_ref()))
            {
                assert!(fields.iter().any(|field| covers(known, field.key)), "{known}");
            }
        }
    }

    /// All source text of this crate that is not the configuration.
    fn source(folder: &Path) -> String {
        let mut text = String::new();
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("config") {
                text += &source(&path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                text += &fs::read_to_string(&path).unwrap();
            }
        }
        text
    }

    #[test]
    fn every_other_key_is_obeyed_somewhere() {
        let text = source(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
        let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
        for (features, fields) in tables() {
            let keys: Vec<&str> = features.iter().flat_map(|feature| feature.keys).copied().collect();
            let silent = fields
                .iter()
                .filter(|field| !keys.iter().any(|known| covers(known, field.key)));
            let silent: Vec<&str> = silent
                .filter(|field| !words.contains(field.name))
                .map(|field| field.key)
                .collect();
            assert!(silent.is_empty(), "neither obeyed nor named as not built: {silent:?}");
        }
    }
}

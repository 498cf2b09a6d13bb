//! Rules between keys, and what a single key's type cannot say. Each complaint is placed at the key that somebody wrote.

use super::{
    Config, built,
    deprecated::{Credentials, Found},
    error::{Origin, Problems},
    global::{AuthMethod, Global, HlsVariant, RtspAuthMethod, RtspTransport},
    limits::Limits,
    node::Node,
    path::{PathConf, SourceKind},
    paths::{Matcher, PathEntry},
    plugin::{self, Location},
    schema::{Reader, Settings, Value},
    secret::{Credential, Password},
    suggest::nearest,
    user::{ANYBODY, Action, Pattern, Permission, User},
    value::Address,
};
use ipnet::IpNet;
use regex::Regex;
use serde_json::Value as Json;
use std::{collections::BTreeMap, time::Duration};

const MAX_UDP_PAYLOAD: u32 = 1_472;
const PASSPHRASE: std::ops::RangeInclusive<usize> = 10..=79;
const DAY: Duration = Duration::from_secs(86_400);

/// Ranges of numbers that only a camera takes.
const CAMERA_RANGES: &[(&str, f64, f64)] = &[
    ("rpiCameraBrightness", -1.0, 1.0),
    ("rpiCameraContrast", 0.0, 16.0),
    ("rpiCameraSaturation", 0.0, 16.0),
    ("rpiCameraSharpness", 0.0, 16.0),
    ("rpiCameraEV", -10.0, 10.0),
    ("rpiCameraMJPEGQuality", 0.0, 100.0),
];

/// Checks a configuration whose values have the right types.
pub(crate) fn check(config: &Config) -> Problems {
    let mut checker = Checker {
        tree: &config.tree,
        problems: Problems::default(),
    };
    checker.general(&config.global);
    checker.authentication(&config.global);
    checker.servers(&config.global);
    checker.rtsp(&config.global);
    checker.limits(&config.global.limits);
    checker.plugins(&config.global);
    checker.chain(&config.global, &config.path_defaults, &["pathDefaults"]);
    let mut cameras = BTreeMap::new();
    for entry in config.paths.entries() {
        checker.path(&config.global, entry);
        checker.camera(entry, &mut cameras);
    }
    checker.problems
}

struct Checker<'a> {
    tree: &'a Node,
    problems: Problems,
}

impl Checker<'_> {
    fn refuse(&mut self, trail: &[&str], message: impl Into<String>) {
        self.problems.refuse(&self.tree.locate(trail), trail.join("."), message);
    }

    /// Refuses a key of a path, which may have come from pathDefaults.
    fn refuse_path(&mut self, entry: &str, key: &str, message: impl Into<String>) {
        let own = self
            .tree
            .get("paths")
            .and_then(|paths| paths.get(entry))
            .and_then(|path| path.entry(key));
        let inherited = || self.tree.get("pathDefaults").and_then(|defaults| defaults.entry(key));
        let origin = match own.or_else(inherited) {
            Some(found) => found.origin.clone(),
            None => self.tree.locate(&["paths", entry]),
        };
        self.problems.refuse(&origin, format!("paths.{entry}.{key}"), message);
    }

    fn general(&mut self, global: &Global) {
        for (key, value) in [
            ("readTimeout", global.read_timeout),
            ("writeTimeout", global.write_timeout),
        ] {
            if value.is_zero() {
                self.refuse(&[key], "it must be longer than zero");
            }
        }
        if !global.write_queue_size.is_power_of_two() {
            self.refuse(&["writeQueueSize"], "it must be a power of two");
        }
        if !(1..=MAX_UDP_PAYLOAD).contains(&global.udp_max_payload_size) {
            self.refuse(
                &["udpMaxPayloadSize"],
                format!("it must be from 1 to {MAX_UDP_PAYLOAD}"),
            );
        }
        if global.state_directory.as_os_str().is_empty() {
            self.refuse(&["stateDirectory"], "it must name a directory");
        }
    }

    fn authentication(&mut self, global: &Global) {
        if let Some(message) = built::missing_method(global.auth_method) {
            self.refuse(&["authMethod"], message);
        }
        for (i, user) in global.auth_internal_users.iter().enumerate() {
            let index = i.to_string();
            if user.user.is_empty() {
                self.refuse(
                    &["authInternalUsers", &index, "user"],
                    "the name is missing; `any` stands for everybody",
                );
            }
            if user.is_anybody() && !user.pass.0.is_empty() {
                self.refuse(&["authInternalUsers", &index, "pass"], "the user `any` has no password");
            }
            // Users from the file, not those made of deprecated keys or defaults.
            let written = self
                .tree
                .get("authInternalUsers")
                .and_then(|users| users.items().get(i));
            let permissions = written
                .and_then(|user| user.get("permissions"))
                .map(Node::items)
                .unwrap_or_default();
            for (n, permission) in permissions.iter().enumerate() {
                if permission.get("action").is_none_or(Node::is_null) {
                    self.refuse(
                        &["authInternalUsers", &index, "permissions", &n.to_string()],
                        "the action is missing (`action: read`)",
                    );
                }
            }
        }
        if global.rtsp_auth_methods.is_empty() {
            self.refuse(&["rtspAuthMethods"], "it needs at least one method");
        }
        if global.rtsp_auth_methods.contains(&RtspAuthMethod::Digest) {
            let hashed = |user: &User| user.user.is_hashed() || user.pass.0.is_hashed();
            if global.auth_method != AuthMethod::Internal {
                self.refuse(&["rtspAuthMethods"], "`digest` needs `authMethod: internal`");
            } else if global.auth_internal_users.iter().any(hashed) {
                self.refuse(
                    &["rtspAuthMethods"],
                    "`digest` cannot check a user whose name or password is hashed",
                );
            }
            if global.rtsp_digest_algorithms.is_empty() {
                self.refuse(&["rtspDigestAlgorithms"], "`digest` needs at least one algorithm");
            }
        }
    }

    fn servers(&mut self, global: &Global) {
        let servers: &[(&str, bool, &str, &Address)] = &[
            ("api", global.api, "apiAddress", &global.api_address),
            ("metrics", global.metrics, "metricsAddress", &global.metrics_address),
            ("pprof", global.pprof, "pprofAddress", &global.pprof_address),
            ("playback", global.playback, "playbackAddress", &global.playback_address),
            (
                "rtsp",
                global.rtsp && global.rtsp_encryption.allows_plain(),
                "rtspAddress",
                &global.rtsp_address,
            ),
            (
                "rtsp",
                global.rtsp && global.rtsp_encryption.allows_tls(),
                "rtspsAddress",
                &global.rtsps_address,
            ),
            (
                "rtmp",
                global.rtmp && global.rtmp_encryption.allows_plain(),
                "rtmpAddress",
                &global.rtmp_address,
            ),
            (
                "rtmp",
                global.rtmp && global.rtmp_encryption.allows_tls(),
                "rtmpsAddress",
                &global.rtmps_address,
            ),
            ("hls", global.hls, "hlsAddress", &global.hls_address),
            ("flv", global.flv, "flvAddress", &global.flv_address),
            ("webrtc", global.webrtc, "webrtcAddress", &global.webrtc_address),
            ("srt", global.srt, "srtAddress", &global.srt_address),
            ("moq", global.moq, "moqHTTP2Address", &global.moq_http2_address),
            ("moq", global.moq, "moqHTTP3Address", &global.moq_http3_address),
            ("moq", global.moq, "moqQUICAddress", &global.moq_quic_address),
        ];
        for (switch, on, key, address) in servers {
            if *on && address.is_empty() {
                self.refuse(&[key], format!("`{switch}` is on and needs an address"));
            }
        }
        if global.webrtc {
            let (udp, tcp) = (&global.webrtc_local_udp_address, &global.webrtc_local_tcp_address);
            if udp.is_empty() && tcp.is_empty() && global.webrtc_ice_servers2.is_empty() {
                let message = "`webrtc` needs this, webrtcLocalTCPAddress or webrtcICEServers2";
                self.refuse(&["webrtcLocalUDPAddress"], message);
            }
            let local = !udp.is_empty() || !tcp.is_empty();
            if local && !global.webrtc_ips_from_interfaces && global.webrtc_additional_hosts.is_empty() {
                self.refuse(
                    &["webrtcIPsFromInterfaces"],
                    "`webrtc` needs this or webrtcAdditionalHosts",
                );
            }
        }
        let least = if global.hls_variant == HlsVariant::LowLatency {
            7
        } else {
            3
        };
        if global.hls && global.hls_segment_count < least {
            let message = format!("the variant {} needs at least {least} segments", global.hls_variant);
            self.refuse(&["hlsSegmentCount"], message);
        }
    }

    fn rtsp(&mut self, global: &Global) {
        if !global.rtsp {
            return;
        }
        if global.rtsp_transports.is_empty() {
            self.refuse(&["rtspTransports"], "it needs at least one transport");
        }
        let (plain, tls) = (
            global.rtsp_encryption.allows_plain(),
            global.rtsp_encryption.allows_tls(),
        );
        if global.rtsp_transports.contains(&RtspTransport::Udp) {
            if plain {
                self.port_pair(
                    ("rtpAddress", &global.rtp_address),
                    ("rtcpAddress", &global.rtcp_address),
                );
            }
            if tls {
                self.port_pair(
                    ("srtpAddress", &global.srtp_address),
                    ("srtcpAddress", &global.srtcp_address),
                );
            }
        }
        if global.rtsp_transports.contains(&RtspTransport::Multicast) {
            let range: Option<IpNet> = global.multicast_ip_range.parse().ok();
            if !range.is_some_and(|range| range.network().is_multicast()) {
                self.refuse(
                    &["multicastIPRange"],
                    "the transport `multicast` needs a range such as 224.1.0.0/16",
                );
            }
            let ports = [
                (plain, "multicastRTPPort", global.multicast_rtp_port),
                (plain, "multicastRTCPPort", global.multicast_rtcp_port),
                (tls, "multicastSRTPPort", global.multicast_srtp_port),
                (tls, "multicastSRTCPPort", global.multicast_srtcp_port),
            ];
            for (_, key, _) in ports.iter().filter(|(needed, _, port)| *needed && *port == 0) {
                self.refuse(&[key], "the transport `multicast` needs a port");
            }
        }
    }

    /// RFC 3550 section 11: RTP on an even port, RTCP on the next. Port 0 lets the system choose.
    fn port_pair(&mut self, (rtp_key, rtp): (&str, &Address), (rtcp_key, rtcp): (&str, &Address)) {
        for (key, address) in [(rtp_key, rtp), (rtcp_key, rtcp)] {
            if address.host_port().is_none() {
                self.refuse(&[key], "the transport `udp` needs an address");
                return;
            }
        }
        let port = |address: &Address| address.host_port().map_or(0, |(_, port)| port);
        if port(rtp) % 2 == 1 {
            self.refuse(&[rtp_key], "the port must be even");
        } else if (port(rtp) == 0) != (port(rtcp) == 0) || port(rtp) != 0 && port(rtcp) != port(rtp) + 1 {
            self.refuse(&[rtcp_key], format!("the port must be the one after that of {rtp_key}"));
        }
    }

    fn limits(&mut self, limits: &Limits) {
        for (key, value) in limits.to_json() {
            if [Json::from(0), Json::from(""), Json::from("0B")].contains(&value) {
                self.refuse(&["limits", &key], "a bound of zero would let nobody in");
            }
        }
    }

    fn plugins(&mut self, global: &Global) {
        for (name, entry) in &global.plugins {
            let trail = ["plugins", name.as_str()];
            if !plugin::valid_name(name) {
                self.refuse(&trail, "a name has letters, digits, `-`, `_` and `.` only");
            }
            let bundled = match &entry.file {
                Location::Bundled if plugin::BUNDLED.contains(&name.as_str()) => continue,
                Location::Bundled => {
                    self.refuse(&trail, "no plugin of this name is bundled: say where it is with `file`");
                    continue;
                }
                Location::Builtin(bundled) => bundled,
                Location::File(_) => continue,
            };
            if !plugin::BUNDLED.contains(&bundled.as_str()) {
                let message = format!("no plugin `{bundled}` is bundled ({})", plugin::BUNDLED.join(", "));
                self.refuse(&["plugins", name, "file"], message);
            }
        }
        for (name, entry) in &global.plugins {
            let share = entry.limits.cpu_share;
            if !(share > 0.0 && share <= 1024.0) {
                self.refuse(
                    &["plugins", name, "limits", "cpuShare"],
                    "it is a number of cores above zero",
                );
            }
        }
    }

    /// Names of a chain must lead somewhere.
    fn chain(&mut self, global: &Global, conf: &PathConf, trail: &[&str]) {
        for (i, link) in conf.plugins.0.iter().enumerate() {
            let (name, bundled_only) = link.target();
            let registered = !bundled_only && global.plugins.contains_key(name);
            if registered || plugin::BUNDLED.contains(&name) {
                continue;
            }
            let index = i.to_string();
            let at: Vec<&str> = trail.iter().copied().chain(["plugins", &index]).collect();
            let known = global
                .plugins
                .keys()
                .map(String::as_str)
                .chain(plugin::BUNDLED.iter().copied());
            let message = format!("`{name}` is neither in the registry (`plugins`) nor bundled");
            self.problems.push(super::error::Problem {
                origin: self.tree.locate(&at),
                key: at.join("."),
                message,
                suggestion: nearest(name, known).map(str::to_owned),
            });
        }
    }

    fn path(&mut self, global: &Global, entry: &PathEntry) {
        let (name, conf) = (entry.name.as_str(), &*entry.conf);
        let exact = matches!(entry.matcher, Matcher::Exact(_));
        let kind = conf.source.kind();
        if self
            .tree
            .get("paths")
            .and_then(|paths| paths.get(name))
            .is_some_and(|path| path.entry("plugins").is_some())
        {
            self.chain(global, conf, &["paths", name]);
        }
        if conf.source_on_demand && kind == SourceKind::Publisher {
            self.refuse_path(
                name,
                "sourceOnDemand",
                "nothing is pulled on a path whose source is `publisher`",
            );
        }
        if !exact && conf.source.is_static() && !conf.source_on_demand {
            let message = "a source on a path that stands for many needs `sourceOnDemand: yes`";
            self.refuse_path(name, "source", message);
        }
        if !conf.run_on_demand.is_empty() && kind != SourceKind::Publisher {
            self.refuse_path(name, "runOnDemand", "it needs `source: publisher`");
        }
        if !conf.run_on_init.is_empty() && !exact {
            self.refuse_path(name, "runOnInit", "a path that stands for many has no start");
        }
        if kind == SourceKind::Redirect && conf.source_redirect.is_empty() {
            self.refuse_path(name, "source", "`redirect` needs sourceRedirect");
        }
        if kind != SourceKind::Redirect && !conf.source_redirect.is_empty() {
            self.refuse_path(name, "sourceRedirect", "it needs `source: redirect`");
        }
        self.passphrases(name, conf);
        self.always_available(name, exact, conf);
        self.record(global, name, conf);
        if !matches!(conf.rtsp_udp_source_port_range.as_slice(), [first, last] if first <= last) {
            self.refuse_path(name, "rtspUDPSourcePortRange", "it is two ports, the lower one first");
        }
        if conf.forward.iter().any(|forward| forward.dest.is_empty()) {
            self.refuse_path(name, "forward", "every entry needs `dest`");
        }
    }

    fn passphrases(&mut self, name: &str, conf: &PathConf) {
        for (key, secret) in [
            ("srtReadPassphrase", &conf.srt_read_passphrase),
            ("srtPublishPassphrase", &conf.srt_publish_passphrase),
        ] {
            if !secret.is_empty() && !PASSPHRASE.contains(&secret.expose().len()) {
                self.refuse_path(name, key, "it has 10 to 79 characters");
            }
        }
        if !conf.srt_publish_passphrase.is_empty() && conf.source.kind() != SourceKind::Publisher {
            self.refuse_path(name, "srtPublishPassphrase", "it needs `source: publisher`");
        }
    }

    fn always_available(&mut self, name: &str, exact: bool, conf: &PathConf) {
        if !conf.always_available {
            return;
        }
        let conflicts = [
            (!exact, "a path that stands for many"),
            (conf.source_on_demand, "`sourceOnDemand`"),
            (!conf.run_on_demand.is_empty(), "`runOnDemand`"),
            (conf.use_absolute_timestamp, "`useAbsoluteTimestamp`"),
        ];
        for (_, with) in conflicts.iter().filter(|(conflict, _)| *conflict) {
            self.refuse_path(name, "alwaysAvailable", format!("it does not go with {with}"));
        }
    }

    fn record(&mut self, global: &Global, name: &str, conf: &PathConf) {
        let template = &conf.record_path;
        let dated = ["%Y", "%m", "%d", "%H", "%M", "%S"]
            .iter()
            .all(|part| template.contains(part));
        if !template.contains("%path") {
            self.refuse_path(name, "recordPath", "it must contain %path");
        }
        if !template.contains("%s") && !dated {
            self.refuse_path(name, "recordPath", "it must contain %s or all of %Y %m %d %H %M %S");
        }
        if global.playback && !template.contains("%f") {
            self.refuse_path(name, "recordPath", "the playback server needs %f in it");
        }
        if conf.record_segment_duration > DAY {
            self.refuse_path(name, "recordSegmentDuration", "it is at most 1d");
        }
        if !conf.record_delete_after.is_zero() && conf.record_delete_after < conf.record_segment_duration {
            self.refuse_path(name, "recordDeleteAfter", "it must not be below recordSegmentDuration");
        }
    }

    /// One stream of each kind per camera.
    fn camera(&mut self, entry: &PathEntry, seen: &mut BTreeMap<(u32, bool), String>) {
        let conf = &*entry.conf;
        for (key, least, most) in CAMERA_RANGES {
            let value = conf.key_json(key).and_then(|value| value.as_f64()).unwrap_or(*least);
            if value < *least || value > *most {
                self.refuse_path(&entry.name, key, format!("it is from {least} to {most}"));
            }
        }
        if conf.source.kind() != SourceKind::RpiCamera {
            return;
        }
        let camera = (conf.rpi_camera_cam_id, conf.rpi_camera_secondary);
        if let Some(first) = seen.insert(camera, entry.name.clone()) {
            self.refuse_path(
                &entry.name,
                "source",
                format!("the path `{first}` has the same stream of this camera"),
            );
        }
    }
}

/// Adds the users that paths ask for with deprecated keys, in place of the default users.
pub(crate) fn adopt_credentials(config: &mut Config, found: &Found, reader: &mut Reader) {
    let first = found
        .credentials
        .values()
        .chain([&found.default_credentials])
        .flat_map(Credentials::iter)
        .next();
    let Some((key, entry)) = first else { return };
    if config
        .tree
        .entry("authInternalUsers")
        .is_some_and(|users| !users.value.is_null())
    {
        let message = "credentials of paths and authInternalUsers exclude each other; move them to authInternalUsers";
        reader.problems.refuse(&entry.origin, *key, message);
        return;
    }
    let administrator = config.global.auth_internal_users.pop();
    config.global.auth_internal_users = administrator.into_iter().collect();
    let named: Vec<&str> = config
        .paths
        .entries()
        .iter()
        .filter(|entry| matches!(entry.matcher, Matcher::Exact(_)))
        .map(|entry| entry.name.as_str())
        .collect();
    let anything = Regex::new("").ok();
    let none = Credentials::new();
    let mut users = Vec::new();
    for entry in config.paths.entries() {
        let own = found.credentials.get(&entry.name).unwrap_or(&none);
        let regex = match &entry.matcher {
            Matcher::Exact(_) => None,
            Matcher::Regex(regex) => Some(regex),
            Matcher::AllOthers => anything.as_ref(),
        };
        let pattern = Pattern::of_entry(&entry.name, regex, &named);
        for (keys, actions) in [
            (["publishUser", "publishPass", "publishIPs"], &[Action::Publish][..]),
            (
                ["readUser", "readPass", "readIPs"],
                &[Action::Read, Action::Playback][..],
            ),
        ] {
            let value = |key: &str| {
                own.get(key)
                    .or_else(|| found.default_credentials.get(key))
                    .map(|entry| &entry.value)
            };
            let [user, pass, ips] = keys.map(value);
            let permission = |action: &Action| Permission {
                action: *action,
                path: pattern.clone(),
            };
            users.push(User {
                user: user
                    .and_then(|node| Credential::read(node, reader))
                    .unwrap_or(Credential::from(ANYBODY)),
                pass: pass
                    .and_then(|node| Password::read(node, reader))
                    .unwrap_or(Password(Credential::empty())),
                ips: ips
                    .and_then(|node| Vec::<IpNet>::read(node, reader))
                    .unwrap_or_default(),
                permissions: actions.iter().map(permission).collect(),
            });
        }
    }
    config.global.auth_internal_users.extend(users);
}

/// One sentence about what everybody may do from everywhere, and how to close it.
pub(crate) fn open_doors(config: &Config) -> Option<String> {
    let everywhere = |user: &&User| user.is_anybody() && user.ips.is_empty();
    let mut open: Vec<&str> = Vec::new();
    for permission in config
        .global
        .auth_internal_users
        .iter()
        .filter(everywhere)
        .flat_map(|user| &user.permissions)
    {
        let listening = match permission.action {
            Action::Publish | Action::Read => true,
            Action::Playback => config.global.playback,
            Action::Api | Action::Plugins => config.global.api,
            Action::Metrics => config.global.metrics,
            Action::Pprof => config.global.pprof,
        };
        if listening && !open.contains(&permission.action.as_str()) {
            open.push(permission.action.as_str());
        }
    }
    let place = match config.tree.locate(&["authInternalUsers"]) {
        Origin::File { line, .. } => format!("authInternalUsers, line {line}"),
        _ => "set authInternalUsers".to_owned(),
    };
    (!open.is_empty()).then(|| {
        format!(
            "anybody may {} without a password, from any address ({place})",
            open.join(", ")
        )
    })
}

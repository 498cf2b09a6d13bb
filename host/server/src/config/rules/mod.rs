//! Rules between keys, and what a single key's type cannot say. Each complaint is placed at the key that somebody wrote.

mod paths;
mod users;

pub(crate) use users::{adopt_credentials, open_doors};

use super::{
    Config, built,
    error::Problems,
    global::{AuthMethod, Global, HlsVariant, RtspAuthMethod, RtspTransport},
    limits::Limits,
    node::{Entry, Node},
    schema::Settings,
    user::User,
    value::Address,
};
use ipnet::IpNet;
use serde_json::Value as Json;
use std::collections::{BTreeMap, HashMap};

const MAX_UDP_PAYLOAD: u32 = 1_472;

/// Checks a configuration whose values have the right types.
pub(crate) fn check(config: &Config) -> Problems {
    let paths = config.tree.get("paths").map(Node::entries).unwrap_or_default();
    let mut checker = Checker {
        tree: &config.tree,
        paths: paths.iter().map(|path| (&*path.key, path)).collect(),
        problems: Problems::default(),
    };
    checker.general(&config.global);
    checker.authentication(&config.global);
    checker.servers(&config.global);
    checker.rtsp(&config.global);
    checker.limits(&config.global.limits);
    checker.plugins(&config.global);
    checker.chain(
        &config.global,
        &config.path_defaults,
        config.tree.get("pathDefaults"),
        "pathDefaults",
    );
    let mut cameras = BTreeMap::new();
    for entry in config.paths.entries() {
        checker.path(&config.global, entry);
        checker.camera(entry, &mut cameras);
    }
    checker.problems
}

struct Checker<'a> {
    tree: &'a Node,
    /// What was written for each entry of `paths`, of which there may be many thousands.
    paths: HashMap<&'a str, &'a Entry>,
    problems: Problems,
}

impl Checker<'_> {
    fn refuse(&mut self, trail: &[&str], message: impl Into<String>) {
        self.problems.refuse(&self.tree.locate(trail), trail.join("."), message);
    }

    /// Refuses a key of a path, which may have come from pathDefaults.
    fn refuse_path(&mut self, entry: &str, key: &str, message: impl Into<String>) {
        let written = self.paths.get(entry);
        let inherited = || self.tree.get("pathDefaults").and_then(|defaults| defaults.entry(key));
        let origin = match written.and_then(|path| path.value.entry(key)).or_else(inherited) {
            Some(found) => found.origin.clone(),
            None => written.map(|path| path.origin.clone()).unwrap_or_default(),
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
            ("rtsp", global.serves_rtsp(false), "rtspAddress", &global.rtsp_address),
            ("rtsp", global.serves_rtsp(true), "rtspsAddress", &global.rtsps_address),
            ("rtmp", global.serves_rtmp(false), "rtmpAddress", &global.rtmp_address),
            ("rtmp", global.serves_rtmp(true), "rtmpsAddress", &global.rtmps_address),
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
}

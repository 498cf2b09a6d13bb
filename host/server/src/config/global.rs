//! The keys at the top of the file, one line each. `pathDefaults` and `paths` are in `path.rs`.

use super::{
    limits::Limits,
    plugin::Plugin,
    schema::{choices, settings},
    secret::{Fingerprint, Secret},
    units::Size,
    user::{Permission, User, default_users},
    value::Address,
};
use ipnet::IpNet;
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// The default of `writeQueueSize`, which stands for the bound of the GOP cache.
pub const DEFAULT_WRITE_QUEUE: u32 = 512;

pub(crate) const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn any_origin() -> Vec<String> {
    vec!["*".into()]
}

settings! {
    /// All settings that are not a path's.
    pub struct Global {
        // General.
        /// How much is logged.
        "logLevel" => log_level: LogLevel = LogLevel::Info,
        /// Where the log goes.
        "logDestinations" => log_destinations: Vec<LogDestination> = vec![LogDestination::Stdout],
        /// JSON lines instead of text.
        "logStructured" => log_structured: bool = false,
        /// The file of the destination `file`.
        "logFile" => log_file: PathBuf = "mediamtx.log".into(),
        /// The name in the system log.
        "sysLogPrefix" => sys_log_prefix: String = "mediamtx".into(),
        /// Captures of network traffic on disk.
        "dumpPackets" => dump_packets: bool = false,
        /// Silence after which a peer counts as gone; also the deadline of HTTP authentication.
        "readTimeout" => read_timeout: Duration = seconds(10),
        /// Time without progress after which a reader is closed.
        "writeTimeout" => write_timeout: Duration = seconds(10),
        /// Frames a reader may lag; the default means the bound of the GOP cache.
        "writeQueueSize" => write_queue_size: u32 = DEFAULT_WRITE_QUEUE,
        /// Largest UDP payload that is sent.
        "udpMaxPayloadSize" => udp_max_payload_size: u32 = 1452,
        /// Socket buffer of UDP; 0 leaves the system's.
        "udpReadBufferSize" => udp_read_buffer_size: u32 = 0,
        /// Command when a client connects.
        "runOnConnect" => run_on_connect: String = String::new(),
        /// Start it again when it ends.
        "runOnConnectRestart" => run_on_connect_restart: bool = false,
        /// Command when a client disconnects.
        "runOnDisconnect" => run_on_disconnect: String = String::new(),
        // Authentication.
        /// Who decides when no plugin does.
        "authMethod" => auth_method: AuthMethod = AuthMethod::Internal,
        /// The users of the method `internal`.
        "authInternalUsers" => auth_internal_users: Vec<User> = default_users(),
        /// The URL of the method `http`.
        "authHTTPAddress" => auth_http_address: String = String::new(),
        /// The certificate that server must have.
        "authHTTPFingerprint" => auth_http_fingerprint: Fingerprint = Fingerprint::default(),
        /// What the method `http` does not decide about.
        "authHTTPExclude" => auth_http_exclude: Vec<Permission> = Vec::new(),
        /// Where the keys of the method `jwt` are.
        "authJWTJWKS" => auth_jwt_jwks: String = String::new(),
        /// The certificate that server must have.
        "authJWTJWKSFingerprint" => auth_jwt_jwks_fingerprint: Fingerprint = Fingerprint::default(),
        /// The claim that holds the permissions.
        "authJWTClaimKey" => auth_jwt_claim_key: String = "mediamtx_permissions".into(),
        /// What the method `jwt` does not decide about.
        "authJWTExclude" => auth_jwt_exclude: Vec<Permission> = Vec::new(),
        /// The issuer a token must name.
        "authJWTIssuer" => auth_jwt_issuer: String = String::new(),
        /// The audience a token must name.
        "authJWTAudience" => auth_jwt_audience: String = String::new(),
        /// Who is asked first.
        "authOrder" => auth_order: Vec<AuthStep> = vec![AuthStep::Plugins, AuthStep::Method],
        /// Whether the open user `any` still counts on a path with an auth plugin.
        "authFallback" => auth_fallback: AuthFallback = AuthFallback::None,
        // Control API.
        /// The control API.
        "api" => api: bool = false,
        /// Where it listens.
        "apiAddress" => api_address: Address = Address::known(":9997"),
        /// TLS.
        "apiEncryption" => api_encryption: bool = false,
        /// TLS key.
        "apiServerKey" => api_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "apiServerCert" => api_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "apiAllowOrigins" => api_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "apiTrustedProxies" => api_trusted_proxies: Vec<IpNet> = Vec::new(),
        /// Changes made through the API survive a restart.
        "apiPersist" => api_persist: bool = false,
        /// The API may set commands (`runOn…`).
        "allowCommandsFromApi" => allow_commands_from_api: bool = false,
        // Metrics.
        /// The metrics server.
        "metrics" => metrics: bool = false,
        /// Where it listens.
        "metricsAddress" => metrics_address: Address = Address::known(":9998"),
        /// TLS.
        "metricsEncryption" => metrics_encryption: bool = false,
        /// TLS key.
        "metricsServerKey" => metrics_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "metricsServerCert" => metrics_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "metricsAllowOrigins" => metrics_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "metricsTrustedProxies" => metrics_trusted_proxies: Vec<IpNet> = Vec::new(),
        // PPROF.
        /// The profiling server.
        "pprof" => pprof: bool = false,
        /// Where it listens.
        "pprofAddress" => pprof_address: Address = Address::known(":9999"),
        /// TLS.
        "pprofEncryption" => pprof_encryption: bool = false,
        /// TLS key.
        "pprofServerKey" => pprof_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "pprofServerCert" => pprof_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "pprofAllowOrigins" => pprof_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "pprofTrustedProxies" => pprof_trusted_proxies: Vec<IpNet> = Vec::new(),
        // Playback.
        /// The server of recordings.
        "playback" => playback: bool = false,
        /// Where it listens.
        "playbackAddress" => playback_address: Address = Address::known(":9996"),
        /// TLS.
        "playbackEncryption" => playback_encryption: bool = false,
        /// TLS key.
        "playbackServerKey" => playback_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "playbackServerCert" => playback_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "playbackAllowOrigins" => playback_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "playbackTrustedProxies" => playback_trusted_proxies: Vec<IpNet> = Vec::new(),
        // RTSP server.
        /// The RTSP server.
        "rtsp" => rtsp: bool = true,
        /// What clients may choose from.
        "rtspTransports" => rtsp_transports: Vec<RtspTransport> = vec![RtspTransport::Udp, RtspTransport::Multicast, RtspTransport::Tcp],
        /// RTSPS besides or instead of RTSP.
        "rtspEncryption" => rtsp_encryption: Encryption = Encryption::No,
        /// Where it listens.
        "rtspAddress" => rtsp_address: Address = Address::known(":8554"),
        /// Where it listens with TLS.
        "rtspsAddress" => rtsps_address: Address = Address::known(":8322"),
        /// UDP port of RTP.
        "rtpAddress" => rtp_address: Address = Address::known(":8000"),
        /// UDP port of RTCP.
        "rtcpAddress" => rtcp_address: Address = Address::known(":8001"),
        /// Addresses for multicast.
        "multicastIPRange" => multicast_ip_range: String = "224.1.0.0/16".into(),
        /// Multicast port of RTP.
        "multicastRTPPort" => multicast_rtp_port: u16 = 8002,
        /// Multicast port of RTCP.
        "multicastRTCPPort" => multicast_rtcp_port: u16 = 8003,
        /// UDP port of SRTP.
        "srtpAddress" => srtp_address: Address = Address::known(":8004"),
        /// UDP port of SRTCP.
        "srtcpAddress" => srtcp_address: Address = Address::known(":8005"),
        /// Multicast port of SRTP.
        "multicastSRTPPort" => multicast_srtp_port: u16 = 8006,
        /// Multicast port of SRTCP.
        "multicastSRTCPPort" => multicast_srtcp_port: u16 = 8007,
        /// TLS key.
        "rtspServerKey" => rtsp_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "rtspServerCert" => rtsp_server_cert: PathBuf = "server.crt".into(),
        /// How clients may prove who they are.
        "rtspAuthMethods" => rtsp_auth_methods: Vec<RtspAuthMethod> = vec![RtspAuthMethod::Basic],
        /// What digest offers, the preferred first.
        "rtspDigestAlgorithms" => rtsp_digest_algorithms: Vec<DigestAlgorithm> = vec![DigestAlgorithm::Sha256, DigestAlgorithm::Md5],
        /// Proxies that speak the PROXY protocol.
        "rtspTrustedProxies" => rtsp_trusted_proxies: Vec<IpNet> = Vec::new(),
        // RTMP server.
        /// The RTMP server.
        "rtmp" => rtmp: bool = true,
        /// RTMPS besides or instead of RTMP.
        "rtmpEncryption" => rtmp_encryption: Encryption = Encryption::No,
        /// Where it listens.
        "rtmpAddress" => rtmp_address: Address = Address::known(":1935"),
        /// Where it listens with TLS.
        "rtmpsAddress" => rtmps_address: Address = Address::known(":1936"),
        /// TLS key.
        "rtmpServerKey" => rtmp_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "rtmpServerCert" => rtmp_server_cert: PathBuf = "server.crt".into(),
        /// Proxies that speak the PROXY protocol.
        "rtmpTrustedProxies" => rtmp_trusted_proxies: Vec<IpNet> = Vec::new(),
        // HLS server.
        /// The HLS server.
        "hls" => hls: bool = true,
        /// Where it listens.
        "hlsAddress" => hls_address: Address = Address::known(":8888"),
        /// TLS.
        "hlsEncryption" => hls_encryption: bool = false,
        /// TLS key.
        "hlsServerKey" => hls_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "hlsServerCert" => hls_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "hlsAllowOrigins" => hls_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "hlsTrustedProxies" => hls_trusted_proxies: Vec<IpNet> = Vec::new(),
        /// Make HLS even when nobody asks.
        "hlsAlwaysRemux" => hls_always_remux: bool = false,
        /// The kind of HLS.
        "hlsVariant" => hls_variant: HlsVariant = HlsVariant::LowLatency,
        /// Segments in a playlist.
        "hlsSegmentCount" => hls_segment_count: u32 = 7,
        /// Least length of a segment.
        "hlsSegmentDuration" => hls_segment_duration: Duration = seconds(1),
        /// Least length of a part.
        "hlsPartDuration" => hls_part_duration: Duration = Duration::from_millis(200),
        /// Most bytes of a segment.
        "hlsSegmentMaxSize" => hls_segment_max_size: Size = Size::mebi(50),
        /// Where segments are kept; empty for memory.
        "hlsDirectory" => hls_directory: String = String::new(),
        /// Idle time after which nothing is made any more.
        "hlsMuxerCloseAfter" => hls_muxer_close_after: Duration = seconds(60),
        /// What a CDN shows to be let in.
        "hlsCDNSecret" => hls_cdn_secret: Secret = Secret::default(),
        /// How a reader is recognised.
        "hlsSessions" => hls_sessions: HlsSessions = HlsSessions::Cookie,
        /// HTTP-FLV under `/<path>.flv`.
        "flv" => flv: bool = true,
        /// Where it listens; shared with HLS.
        "flvAddress" => flv_address: Address = Address::known(":8888"),
        // WebRTC server.
        /// The WebRTC server.
        "webrtc" => webrtc: bool = true,
        /// Where it listens.
        "webrtcAddress" => webrtc_address: Address = Address::known(":8889"),
        /// TLS.
        "webrtcEncryption" => webrtc_encryption: bool = false,
        /// TLS key.
        "webrtcServerKey" => webrtc_server_key: PathBuf = "server.key".into(),
        /// TLS certificate.
        "webrtcServerCert" => webrtc_server_cert: PathBuf = "server.crt".into(),
        /// Web pages that may read from it.
        "webrtcAllowOrigins" => webrtc_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "webrtcTrustedProxies" => webrtc_trusted_proxies: Vec<IpNet> = Vec::new(),
        /// UDP port of ICE.
        "webrtcLocalUDPAddress" => webrtc_local_udp_address: Address = Address::known(":8189"),
        /// TCP port of ICE; empty for none.
        "webrtcLocalTCPAddress" => webrtc_local_tcp_address: Address = Address::default(),
        /// Offer the addresses of the interfaces.
        "webrtcIPsFromInterfaces" => webrtc_ips_from_interfaces: bool = true,
        /// Which interfaces; empty for all.
        "webrtcIPsFromInterfacesList" => webrtc_ips_from_interfaces_list: Vec<String> = Vec::new(),
        /// Further addresses to offer.
        "webrtcAdditionalHosts" => webrtc_additional_hosts: Vec<String> = Vec::new(),
        /// STUN and TURN servers.
        "webrtcICEServers2" => webrtc_ice_servers2: Vec<IceServer> = Vec::new(),
        /// Time to learn the own addresses.
        "webrtcSTUNGatherTimeout" => webrtc_stun_gather_timeout: Duration = seconds(5),
        /// Time to connect.
        "webrtcHandshakeTimeout" => webrtc_handshake_timeout: Duration = seconds(10),
        /// Time to learn a publisher's tracks.
        "webrtcTrackGatherTimeout" => webrtc_track_gather_timeout: Duration = seconds(2),
        // SRT server.
        /// The SRT server.
        "srt" => srt: bool = true,
        /// Where it listens.
        "srtAddress" => srt_address: Address = Address::known(":8890"),
        // MoQ server.
        /// The MoQ server.
        "moq" => moq: bool = true,
        /// TCP address of its pages.
        "moqHTTP2Address" => moq_http2_address: Address = Address::known(":8892"),
        /// UDP address of WebTransport.
        "moqHTTP3Address" => moq_http3_address: Address = Address::known(":8892"),
        /// UDP address of native QUIC.
        "moqQUICAddress" => moq_quic_address: Address = Address::known(":8893"),
        /// TLS key; `auto.key` is made when missing.
        "moqServerKey" => moq_server_key: PathBuf = "auto.key".into(),
        /// TLS certificate.
        "moqServerCert" => moq_server_cert: PathBuf = "auto.crt".into(),
        /// Web pages that may read from it.
        "moqAllowOrigins" => moq_allow_origins: Vec<String> = any_origin(),
        /// Proxies whose word on the client's address counts.
        "moqTrustedProxies" => moq_trusted_proxies: Vec<IpNet> = Vec::new(),
        // Our own.
        /// The registry of plugins.
        "plugins" => plugins: BTreeMap<String, Plugin> = BTreeMap::new(),
        /// Bounds on what clients may take.
        "limits" => limits: Limits = Limits::default(),
        /// Where the server keeps what it must remember.
        "stateDirectory" => state_directory: PathBuf = "./.wasmtx".into(),
    }
}

choices! {
    /// How much is logged.
    pub enum LogLevel {
        /// What needs somebody to act.
        Error = "error",
        /// What is not as it should be.
        Warn = "warn",
        /// What happens.
        Info = "info",
        /// How it happens.
        Debug = "debug",
    }
}

choices! {
    /// Where the log goes.
    pub enum LogDestination {
        /// Standard output.
        Stdout = "stdout",
        /// `logFile`.
        File = "file",
        /// The system's log.
        Syslog = "syslog",
    }
}

choices! {
    /// Who decides when no plugin does.
    pub enum AuthMethod {
        /// `authInternalUsers`.
        Internal = "internal",
        /// A server that is asked.
        Http = "http",
        /// A token that the client brings.
        Jwt = "jwt",
    }
}

choices! {
    /// A step of authentication.
    pub enum AuthStep {
        /// The auth plugins of the path.
        Plugins = "plugins",
        /// `authMethod`.
        Method = "method",
    }
}

choices! {
    /// What counts on a path whose auth plugins all abstain.
    pub enum AuthFallback {
        /// Named users only.
        None = "none",
        /// The open user `any` as well.
        Internal = "internal",
    }
}

choices! {
    /// Whether a server speaks TLS.
    pub enum Encryption {
        /// Never.
        No = "no" | "false",
        /// On a second port.
        Optional = "optional",
        /// Only.
        Strict = "strict" | "true" | "yes",
    }
}

impl Global {
    /// Whether the RTSP server, or the one with TLS, is on.
    pub fn serves_rtsp(&self, encrypted: bool) -> bool {
        self.rtsp && self.rtsp_encryption.allows(encrypted)
    }

    /// Whether the RTMP server, or the one with TLS, is on.
    pub fn serves_rtmp(&self, encrypted: bool) -> bool {
        self.rtmp && self.rtmp_encryption.allows(encrypted)
    }
}

impl Encryption {
    /// Whether clients with or without TLS are served.
    pub fn allows(self, encrypted: bool) -> bool {
        if encrypted {
            self.allows_tls()
        } else {
            self.allows_plain()
        }
    }

    /// Whether clients without TLS are served.
    pub fn allows_plain(self) -> bool {
        self != Encryption::Strict
    }

    /// Whether clients with TLS are served.
    pub fn allows_tls(self) -> bool {
        self != Encryption::No
    }
}

choices! {
    /// How RTSP clients may have their packets.
    pub enum RtspTransport {
        /// UDP.
        Udp = "udp",
        /// UDP to many.
        Multicast = "multicast",
        /// Within the connection.
        Tcp = "tcp",
    }
}

choices! {
    /// How RTSP clients may prove who they are.
    pub enum RtspAuthMethod {
        /// Name and password as they are.
        Basic = "basic",
        /// A hash over both.
        Digest = "digest",
    }
}

choices! {
    /// Hashes of digest authentication.
    pub enum DigestAlgorithm {
        /// SHA-256.
        Sha256 = "sha256",
        /// MD5, the only one that FFmpeg and GStreamer know.
        Md5 = "md5",
    }
}

choices! {
    /// Kinds of HLS.
    pub enum HlsVariant {
        /// MPEG-TS segments.
        MpegTs = "mpegts",
        /// MP4 segments.
        Fmp4 = "fmp4",
        /// MP4 segments in parts.
        LowLatency = "lowLatency",
    }
}

choices! {
    /// How an HLS reader is recognised.
    pub enum HlsSessions {
        /// By a cookie.
        Cookie = "cookie",
        /// By a word in the URL.
        Query = "query",
        /// Not at all: each request is authorised by itself.
        None = "none",
    }
}

settings! {
    /// A STUN or TURN server.
    pub struct IceServer {
        /// `stun:`, `turn:` or `turns:` URL.
        "url" => url: String = String::new(),
        /// User of a TURN server.
        "username" => username: String = String::new(),
        /// Password of a TURN server.
        "password" => password: Secret = Secret::default(),
        /// Told to clients, not used by the server.
        "clientOnly" => client_only: bool = false,
    }
}

//! `limits:`: bounds on what clients, paths and commands may take. Each has a default that no ordinary use meets.

use super::{global::seconds, schema::settings, units::Size};
use std::time::Duration;

settings! {
    /// Bounds on what clients, paths and commands may take.
    pub struct Limits {
        /// Connections in all.
        "connections" => connections: u32 = 8_192,
        /// Connections of one listener.
        "connectionsPerListener" => connections_per_listener: u32 = 4_096,
        /// Connections from one address; not for loopback and trusted proxies.
        "connectionsPerAddress" => connections_per_address: u32 = 4_096,
        /// The same, before they have logged in.
        "connectionsPerAddressBeforeLogin" => connections_per_address_before_login: u32 = 64,
        /// Time to the first complete request of an RTSP connection.
        "rtspFirstRequest" => rtsp_first_request: Duration = seconds(5),
        /// Idle time of an RTSP session.
        "rtspSessionIdle" => rtsp_session_idle: Duration = seconds(60),
        /// Bytes of one RTSP line or header value.
        "rtspLine" => rtsp_line: Size = Size::kibi(16),
        /// Bytes of an RTSP request's head.
        "rtspHead" => rtsp_head: Size = Size::kibi(64),
        /// Bytes of an RTSP request's body.
        "rtspBody" => rtsp_body: Size = Size::kibi(64),
        /// Time for a TLS handshake.
        "tlsHandshake" => tls_handshake: Duration = seconds(5),
        /// TLS handshakes at once.
        "tlsHandshakes" => tls_handshakes: u32 = 256,
        /// Time for the head of an HTTP request.
        "httpHead" => http_head: Duration = seconds(10),
        /// Bytes of a request to the API.
        "apiBody" => api_body: Size = Size(10_000_000),
        /// Failed logins per address and minute.
        "loginFailures" => login_failures: u32 = 10,
        /// Paths that exist at once for one rule (a regular expression or `all_others`).
        "pathsPerRule" => paths_per_rule: u32 = 512,
        /// Sources and commands that are starting at once.
        "startingSources" => starting_sources: u32 = 64,
        /// Length of the GOP cache of a path.
        "cacheDuration" => cache_duration: Duration = seconds(10),
        /// Bytes of the GOP cache of a path.
        "cacheSize" => cache_size: Size = Size::mebi(32),
        /// Commands (`runOn…`) that run at once.
        "commands" => commands: u32 = 1_024,
        /// Plugin instances in all; needs a restart.
        "pluginInstances" => plugin_instances: u32 = 1_000,
        /// Bytes of a plugin's file.
        "pluginFile" => plugin_file: Size = Size::mebi(32),
    }
}

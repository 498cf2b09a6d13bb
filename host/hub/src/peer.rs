//! Who is at the other end of a connection.

use std::net::IpAddr;

use uuid::Uuid;

/// The protocol that a client speaks, as `protocol` in `wit/plugin.wit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "each name is the protocol's own")]
pub enum Protocol {
    Rtsp,
    Rtmp,
    Srt,
    Hls,
    WebRtc,
    Flv,
    Moq,
    File,
    Api,
    Other,
}

/// Somebody at the other end of a connection, as the gate and the plugins see them. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Client {
    /// Names the session in the API, the log and the hooks.
    pub id: Uuid,
    /// What the client speaks.
    pub protocol: Protocol,
    /// Where it comes from, without the port.
    pub address: IpAddr,
    /// What it calls itself (`User-Agent` and the like).
    pub agent: Option<String>,
    /// The query of the URL as sent, without the question mark. May hold secrets: see `redact` before showing it.
    pub query: String,
    /// Who it is, as the gate found out.
    pub identity: Option<String>,
    /// What the gate says about it, by name.
    pub tags: Vec<(String, String)>,
    /// What has no field (user, transport, port, tls version), by name.
    pub extra: Vec<(String, String)>,
}

/// How the API names one side of a path: `{"type": "rtspSession", "id": "…"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer {
    /// A source or reader type of the API (`rtspSession`, `rtspSource`, `rtspsSession`, …).
    pub kind: &'static str,
    /// The session's id.
    pub id: Uuid,
}

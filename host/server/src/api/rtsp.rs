//! `/v3/rtspconns`, `rtspsessions` and the same of the TLS server: who is connected, and sending them away.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use uuid::Uuid;
use wasmtx_endpoints::rtsp::{Conn, Session};

use super::{
    Asked, Shared, View,
    answer::{Error, Page, ok, time},
    not_found,
};
use crate::{config::Config, metrics::state_word, redact};

/// Which list is meant.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kind {
    sessions: bool,
    encrypted: bool,
}

impl Kind {
    /// By the first segment of the route; a server that is off has no routes.
    fn parse(word: &str, config: &Config) -> Result<Kind, Error> {
        let kind = match word {
            "rtspconns" => Kind {
                sessions: false,
                encrypted: false,
            },
            "rtspsconns" => Kind {
                sessions: false,
                encrypted: true,
            },
            "rtspsessions" => Kind {
                sessions: true,
                encrypted: false,
            },
            "rtspssessions" => Kind {
                sessions: true,
                encrypted: true,
            },
            _ => return Err(not_found()),
        };
        if serves(config, kind.encrypted) {
            Ok(kind)
        } else {
            Err(not_found())
        }
    }

    fn missing(self) -> Error {
        Error(
            StatusCode::NOT_FOUND,
            if self.sessions {
                "session not found"
            } else {
                "connection not found"
            },
        )
    }
}

/// Whether the RTSP server, or the one with TLS, is on.
pub(crate) fn serves(config: &Config, encrypted: bool) -> bool {
    let encryption = config.global.rtsp_encryption;
    config.global.rtsp
        && if encrypted {
            encryption.allows_tls()
        } else {
            encryption.allows_plain()
        }
}

fn parse_id(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error(StatusCode::BAD_REQUEST, "invalid id"))
}

pub(super) async fn list(
    State(view): Shared,
    Path(kind): Path<String>,
    Asked(query): Asked,
) -> Result<Response, Error> {
    let kind = Kind::parse(&kind, &(view.config)())?;
    Ok(if kind.sessions {
        Json(Page::of(&view.rtsp.sessions(kind.encrypted), &query, |session| {
            ShownSession::of(session)
        })?)
        .into_response()
    } else {
        Json(Page::of(&view.rtsp.conns(kind.encrypted), &query, |conn| {
            ShownConn::of(conn)
        })?)
        .into_response()
    })
}

pub(super) async fn one(State(view): Shared, Path((kind, id)): Path<(String, String)>) -> Result<Response, Error> {
    let kind = Kind::parse(&kind, &(view.config)())?;
    let id = parse_id(&id)?;
    let shown = if kind.sessions {
        session(&view, kind, id).map(|session| Json(ShownSession::of(&session)).into_response())
    } else {
        let conn = view.rtsp.conns(kind.encrypted).into_iter().find(|conn| conn.id == id);
        conn.map(|conn| Json(ShownConn::of(&conn)).into_response())
    };
    shown.ok_or(kind.missing())
}

fn session(view: &View, kind: Kind, id: Uuid) -> Option<Arc<Session>> {
    view.rtsp
        .session(id)
        .filter(|session| session.encrypted == kind.encrypted)
}

pub(super) async fn kick(State(view): Shared, Path((kind, id)): Path<(String, String)>) -> Result<Response, Error> {
    let kind = Kind::parse(&kind, &(view.config)())?;
    if !kind.sessions {
        return Err(not_found());
    }
    let id = parse_id(&id)?;
    if session(&view, kind, id).is_none() || !view.rtsp.kick(id, "through the API") {
        return Err(kind.missing());
    }
    tracing::info!(session = %id, "kicked through the API");
    Ok(ok())
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownConn {
    id: Uuid,
    created: String,
    remote_addr: String,
    session: Option<Uuid>,
    tunnel: &'static str,
    inbound_bytes: u64,
    outbound_bytes: u64,
    /// Deprecated.
    bytes_received: u64,
    /// Deprecated.
    bytes_sent: u64,
}

impl ShownConn {
    fn of(conn: &Conn) -> ShownConn {
        let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
        ShownConn {
            id: conn.id,
            created: time(conn.created.0),
            remote_addr: conn.remote.to_string(),
            session: *conn.session.lock(),
            tunnel: "none",
            inbound_bytes: inbound,
            outbound_bytes: outbound,
            bytes_received: inbound,
            bytes_sent: outbound,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownSession {
    id: Uuid,
    created: String,
    remote_addr: String,
    state: &'static str,
    path: String,
    query: String,
    user: String,
    user_agent: String,
    transport: Option<&'static str>,
    profile: Option<&'static str>,
    conns: [Uuid; 1],
    inbound_bytes: u64,
    #[serde(rename = "inboundRTPPackets")]
    inbound_rtp_packets: u64,
    #[serde(rename = "inboundRTPPacketsLost")]
    inbound_rtp_packets_lost: u64,
    #[serde(rename = "inboundRTPPacketsInError")]
    inbound_rtp_packets_in_error: u64,
    #[serde(rename = "inboundRTPPacketsJitter")]
    inbound_rtp_packets_jitter: u64,
    #[serde(rename = "inboundRTCPPackets")]
    inbound_rtcp_packets: u64,
    #[serde(rename = "inboundRTCPPacketsInError")]
    inbound_rtcp_packets_in_error: u64,
    outbound_bytes: u64,
    #[serde(rename = "outboundRTPPackets")]
    outbound_rtp_packets: u64,
    #[serde(rename = "outboundRTPPacketsReportedLost")]
    outbound_rtp_packets_reported_lost: u64,
    #[serde(rename = "outboundRTPPacketsDiscarded")]
    outbound_rtp_packets_discarded: u64,
    #[serde(rename = "outboundRTCPPackets")]
    outbound_rtcp_packets: u64,
    // From here on the names of older versions.
    bytes_received: u64,
    bytes_sent: u64,
    rtp_packets_received: u64,
    rtp_packets_sent: u64,
    rtp_packets_lost: u64,
    rtp_packets_in_error: u64,
    rtp_packets_jitter: u64,
    rtcp_packets_received: u64,
    rtcp_packets_sent: u64,
    rtcp_packets_in_error: u64,
}

impl ShownSession {
    fn of(session: &Session) -> ShownSession {
        let details = session.details.lock().clone();
        let traffic = &session.traffic;
        ShownSession {
            id: session.id,
            created: time(session.created.0),
            remote_addr: session.remote.to_string(),
            state: state_word(details.state),
            path: details.path,
            query: redact::query(&details.query).into_owned(),
            user: details.user,
            user_agent: details.user_agent,
            transport: details.transport,
            profile: details.profile,
            conns: [session.conn],
            inbound_bytes: traffic.inbound_bytes.load(),
            inbound_rtp_packets: traffic.inbound_rtp_packets.load(),
            inbound_rtp_packets_lost: traffic.inbound_rtp_packets_lost.load(),
            inbound_rtp_packets_in_error: traffic.inbound_rtp_packets_in_error.load(),
            inbound_rtp_packets_jitter: traffic.inbound_rtp_packets_jitter.load(),
            inbound_rtcp_packets: traffic.inbound_rtcp_packets.load(),
            inbound_rtcp_packets_in_error: traffic.inbound_rtcp_packets_in_error.load(),
            outbound_bytes: traffic.outbound_bytes.load(),
            outbound_rtp_packets: traffic.outbound_rtp_packets.load(),
            outbound_rtp_packets_reported_lost: traffic.outbound_rtp_packets_reported_lost.load(),
            outbound_rtp_packets_discarded: traffic.outbound_rtp_packets_discarded.load(),
            outbound_rtcp_packets: traffic.outbound_rtcp_packets.load(),
            bytes_received: traffic.inbound_bytes.load(),
            bytes_sent: traffic.outbound_bytes.load(),
            rtp_packets_received: traffic.inbound_rtp_packets.load(),
            rtp_packets_sent: traffic.outbound_rtp_packets.load(),
            rtp_packets_lost: traffic.inbound_rtp_packets_lost.load(),
            rtp_packets_in_error: traffic.inbound_rtp_packets_in_error.load(),
            rtp_packets_jitter: traffic.inbound_rtp_packets_jitter.load(),
            rtcp_packets_received: traffic.inbound_rtcp_packets.load(),
            rtcp_packets_sent: traffic.outbound_rtcp_packets.load(),
            rtcp_packets_in_error: traffic.inbound_rtcp_packets_in_error.load(),
        }
    }
}

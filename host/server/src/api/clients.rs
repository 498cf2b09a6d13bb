//! `/v3/rtspconns`, `rtspsessions`, `rtmpconns`, the same of the servers with TLS, and `flvconns`: who is connected, and
//! sending them away.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use uuid::Uuid;

use super::{
    Asked, Shared,
    answer::{Error, Page, Parameters, ok},
    flv, not_found, rtmp, rtsp,
};
use crate::config::Config;

/// Which list is meant, and of the server with TLS or the one without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RtspConns { encrypted: bool },
    RtspSessions { encrypted: bool },
    RtmpConns { encrypted: bool },
    FlvConns,
}

impl Kind {
    /// By the first segment of the route; a server that is off has no routes.
    fn parse(word: &str, config: &Config) -> Result<Kind, Error> {
        let kind = match word {
            "rtspconns" => Kind::RtspConns { encrypted: false },
            "rtspsconns" => Kind::RtspConns { encrypted: true },
            "rtspsessions" => Kind::RtspSessions { encrypted: false },
            "rtspssessions" => Kind::RtspSessions { encrypted: true },
            "rtmpconns" => Kind::RtmpConns { encrypted: false },
            "rtmpsconns" => Kind::RtmpConns { encrypted: true },
            "flvconns" => Kind::FlvConns,
            _ => return Err(not_found()),
        };
        let serves = match kind {
            Kind::RtspConns { encrypted } | Kind::RtspSessions { encrypted } => config.global.serves_rtsp(encrypted),
            Kind::RtmpConns { encrypted } => config.global.serves_rtmp(encrypted),
            Kind::FlvConns => config.global.flv,
        };
        if serves { Ok(kind) } else { Err(not_found()) }
    }

    fn missing(self) -> Error {
        let what = match self {
            Kind::RtspSessions { .. } => "session not found",
            Kind::RtspConns { .. } | Kind::RtmpConns { .. } | Kind::FlvConns => "connection not found",
        };
        Error(StatusCode::NOT_FOUND, what)
    }
}

pub(super) fn parse_id(text: &str) -> Result<Uuid, Error> {
    text.parse().map_err(|_| Error(StatusCode::BAD_REQUEST, "invalid id"))
}

pub(super) async fn list(
    State(view): Shared,
    Path(kind): Path<String>,
    Asked(query): Asked,
) -> Result<Response, Error> {
    match Kind::parse(&kind, &(view.config)())? {
        Kind::RtspConns { encrypted } => page(&view.rtsp.conns(encrypted), &query, rtsp::ShownConn::of),
        Kind::RtspSessions { encrypted } => page(&view.rtsp.sessions(encrypted), &query, rtsp::ShownSession::of),
        Kind::RtmpConns { encrypted } => page(&view.rtmp.conns(encrypted), &query, rtmp::ShownConn::of),
        Kind::FlvConns => page(&view.flv.all(), &query, flv::ShownConn::of),
    }
}

fn page<T, S: Serialize>(all: &[Arc<T>], query: &Parameters, show: fn(&T) -> S) -> Result<Response, Error> {
    Ok(Json(Page::of(all, query, |item| show(item))?).into_response())
}

pub(super) async fn one(State(view): Shared, Path((kind, id)): Path<(String, String)>) -> Result<Response, Error> {
    let kind = Kind::parse(&kind, &(view.config)())?;
    let id = parse_id(&id)?;
    let shown = match kind {
        Kind::RtspConns { encrypted } => {
            let conn = view.rtsp.conns(encrypted).into_iter().find(|conn| conn.id == id);
            conn.map(|conn| Json(rtsp::ShownConn::of(&conn)).into_response())
        }
        Kind::RtspSessions { encrypted } => {
            let session = view.rtsp.session(id).filter(|session| session.encrypted == encrypted);
            session.map(|session| Json(rtsp::ShownSession::of(&session)).into_response())
        }
        Kind::RtmpConns { encrypted } => {
            let conn = view.rtmp.conn(id).filter(|conn| conn.encrypted == encrypted);
            conn.map(|conn| Json(rtmp::ShownConn::of(&conn)).into_response())
        }
        Kind::FlvConns => {
            let conn = view.flv.conn(id);
            conn.map(|conn| Json(flv::ShownConn::of(&conn)).into_response())
        }
    };
    shown.ok_or(kind.missing())
}

/// Of the reason in the log.
const WHY: &str = "through the API";

pub(super) async fn kick(State(view): Shared, Path((kind, id)): Path<(String, String)>) -> Result<Response, Error> {
    let kind = Kind::parse(&kind, &(view.config)())?;
    let id = match kind {
        // An RTSP connection goes with its session.
        Kind::RtspConns { .. } => return Err(not_found()),
        _ => parse_id(&id)?,
    };
    let kicked = match kind {
        Kind::RtspConns { .. } => false,
        Kind::RtspSessions { encrypted } => {
            let session = view.rtsp.session(id);
            session.is_some_and(|session| session.encrypted == encrypted && view.rtsp.kick(session.id, WHY))
        }
        Kind::RtmpConns { encrypted } => {
            let conn = view.rtmp.conn(id);
            conn.is_some_and(|conn| conn.encrypted == encrypted && view.rtmp.kick(conn.id, WHY))
        }
        Kind::FlvConns => view.flv.kick(id, WHY),
    };
    if !kicked {
        return Err(kind.missing());
    }
    tracing::info!(session = %id, "kicked through the API");
    Ok(ok())
}

//! Connections and sessions of the servers, a class of series for each.

use std::sync::Arc;

use wasmtx_endpoints::{flv, rtmp, rtsp};

use super::{
    Filter,
    class::Class,
    state_word,
    text::{Object, Text},
};
use crate::api::View;

/// Those of the servers that are on.
pub(super) fn write(text: &mut Text, view: &View, filter: &Filter<'_>) {
    let config = (view.config)();
    for (encrypted, conns, sessions) in [
        (false, &RTSP_CONNS, &RTSP_SESSIONS),
        (true, &RTSPS_CONNS, &RTSPS_SESSIONS),
    ] {
        if config.global.serves_rtsp(encrypted) {
            conns.write(text, filter, || objects(view.rtsp.conns(encrypted), rtsp_conn));
            sessions.write(text, filter, || objects(view.rtsp.sessions(encrypted), rtsp_session));
        }
    }
    for (encrypted, conns) in [(false, &RTMP_CONNS), (true, &RTMPS_CONNS)] {
        if config.global.serves_rtmp(encrypted) {
            conns.write(text, filter, || objects(view.rtmp.conns(encrypted), rtmp_conn));
        }
    }
    if config.global.flv {
        FLV_CONNS.write(text, filter, || objects(view.flv.all(), flv_conn));
    }
}

fn objects<T>(all: Vec<Arc<T>>, object: fn(&T) -> Object) -> Vec<Object> {
    all.iter().map(|item| object(item)).collect()
}

const CONN_SERIES: &[&str] = &["", "_inbound_bytes", "_outbound_bytes"];
const CONN_DEPRECATED: &[&str] = &["_bytes_received", "_bytes_sent"];
const SESSION_SERIES: &[&str] = &[
    "",
    "_inbound_bytes",
    "_inbound_rtp_packets",
    "_inbound_rtp_packets_lost",
    "_inbound_rtp_packets_in_error",
    "_inbound_rtp_packets_jitter",
    "_inbound_rtcp_packets",
    "_inbound_rtcp_packets_in_error",
    "_outbound_bytes",
    "_outbound_rtp_packets",
    "_outbound_rtp_packets_reported_lost",
    "_outbound_rtp_packets_discarded",
    "_outbound_rtcp_packets",
];
const SESSION_DEPRECATED: &[&str] = &[
    "_bytes_received",
    "_bytes_sent",
    "_rtp_packets_received",
    "_rtp_packets_sent",
    "_rtp_packets_lost",
    "_rtp_packets_in_error",
    "_rtp_packets_jitter",
    "_rtcp_packets_received",
    "_rtcp_packets_sent",
    "_rtcp_packets_in_error",
];

const RTSP_CONNS: Class = Class {
    title: "RTSP connections",
    name: "rtsp_conns",
    object: "rtsp_conn",
    current: CONN_SERIES,
    deprecated: CONN_DEPRECATED,
};
const RTSPS_CONNS: Class = Class {
    title: "RTSPS connections",
    name: "rtsps_conns",
    object: "rtsps_conn",
    ..RTSP_CONNS
};
const RTSP_SESSIONS: Class = Class {
    title: "RTSP sessions",
    name: "rtsp_sessions",
    object: "rtsp_session",
    current: SESSION_SERIES,
    deprecated: SESSION_DEPRECATED,
};
const RTSPS_SESSIONS: Class = Class {
    title: "RTSPS sessions",
    name: "rtsps_sessions",
    object: "rtsps_session",
    ..RTSP_SESSIONS
};

const RTMP_CONNS: Class = Class {
    title: "RTMP connections",
    name: "rtmp_conns",
    object: "rtmp_conn",
    current: &["", "_inbound_bytes", "_outbound_bytes", "_outbound_frames_discarded"],
    deprecated: CONN_DEPRECATED,
};
const RTMPS_CONNS: Class = Class {
    title: "RTMPS connections",
    name: "rtmps_conns",
    object: "rtmps_conn",
    ..RTMP_CONNS
};

/// Ours: MediaMTX has no HTTP-FLV, and no older names of it.
const FLV_CONNS: Class = Class {
    title: "HTTP-FLV connections",
    name: "flv_conns",
    object: "flv_conn",
    current: RTMP_CONNS.current,
    deprecated: &[],
};

fn rtsp_conn(conn: &rtsp::Conn) -> Object {
    let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
    Object {
        labels: vec![("id", conn.id.to_string())],
        current: vec![1, inbound, outbound],
        deprecated: vec![inbound, outbound],
        ..Object::default()
    }
}

fn rtsp_session(session: &rtsp::Session) -> Object {
    let traffic = &session.traffic;
    let details = session.details.lock();
    let labels = vec![
        ("id", session.id.to_string()),
        ("path", details.path.clone()),
        ("remoteAddr", session.remote.to_string()),
        ("state", state_word(details.state).to_owned()),
    ];
    let current = [
        &traffic.inbound_bytes,
        &traffic.inbound_rtp_packets,
        &traffic.inbound_rtp_packets_lost,
        &traffic.inbound_rtp_packets_in_error,
        &traffic.inbound_rtp_packets_jitter,
        &traffic.inbound_rtcp_packets,
        &traffic.inbound_rtcp_packets_in_error,
        &traffic.outbound_bytes,
        &traffic.outbound_rtp_packets,
        &traffic.outbound_rtp_packets_reported_lost,
        &traffic.outbound_rtp_packets_discarded,
        &traffic.outbound_rtcp_packets,
    ];
    let deprecated = [
        &traffic.inbound_bytes,
        &traffic.outbound_bytes,
        &traffic.inbound_rtp_packets,
        &traffic.outbound_rtp_packets,
        &traffic.inbound_rtp_packets_lost,
        &traffic.inbound_rtp_packets_in_error,
        &traffic.inbound_rtp_packets_jitter,
        &traffic.inbound_rtcp_packets,
        &traffic.outbound_rtcp_packets,
        &traffic.inbound_rtcp_packets_in_error,
    ];
    let current = std::iter::once(1)
        .chain(current.into_iter().map(|counter| counter.load()))
        .collect();
    Object {
        labels,
        current,
        deprecated: deprecated.into_iter().map(|counter| counter.load()).collect(),
        ..Object::default()
    }
}

fn rtmp_conn(conn: &rtmp::Conn) -> Object {
    let details = conn.details.lock();
    let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
    Object {
        labels: vec![
            ("id", conn.id.to_string()),
            ("path", details.path.clone()),
            ("remoteAddr", conn.remote.to_string()),
            ("state", state_word(details.state).to_owned()),
        ],
        current: vec![1, inbound, outbound, conn.outbound_frames_discarded.load()],
        deprecated: vec![inbound, outbound],
        ..Object::default()
    }
}

fn flv_conn(conn: &flv::Conn) -> Object {
    let bytes = [conn.inbound_bytes.load(), conn.outbound_bytes.load()];
    Object {
        labels: vec![
            ("id", conn.id.to_string()),
            ("path", conn.path.clone()),
            ("remoteAddr", conn.remote.to_string()),
            ("state", state_word(rtmp::State::Read).to_owned()),
        ],
        current: vec![1, bytes[0], bytes[1], conn.outbound_frames_discarded.load()],
        ..Object::default()
    }
}

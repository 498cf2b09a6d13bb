//! `/metrics`: Prometheus text. The series of MediaMTX come first, with its names, labels and order, so that dashboards
//! made for it keep working; ours follow, prefixed `wasmtx_`. docs/metrics.md lists both.

mod ours;
mod process;
mod text;

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering::Relaxed};

use axum::{
    Router,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use wasmtx_endpoints::{
    http::Refused,
    rtsp::{Conn, Session, State as SessionState},
};
use wasmtx_hub::{Action, Path};

use crate::{
    access::Gate,
    api::{self, Asked, View, answer::Parameters, door::Door},
};
use text::{Object, Text};

/// What the metrics show beside the view of the API.
pub struct Counters {
    /// Whose decisions are counted; also the one that is asked who may see the metrics.
    pub gate: Arc<Gate>,
    /// HTTP servers by their name in mediamtx.yml (`api`, `metrics`).
    pub http: Vec<(&'static str, Refused)>,
    /// Asks the log how many lines it dropped.
    pub log_dropped: Arc<dyn Fn() -> u64 + Send + Sync>,
}

impl std::fmt::Debug for Counters {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Counters")
            .field("http", &self.http)
            .finish_non_exhaustive()
    }
}

/// The route of the metrics, behind the gate.
pub fn router(view: Arc<View>, counters: Counters) -> Router {
    let door = Door {
        gate: counters.gate.clone(),
        config: view.config.clone(),
        action: |_, _| Action::Metrics,
        settings: |global| (&global.metrics_allow_origins, &global.metrics_trusted_proxies),
        methods: "OPTIONS, GET",
    };
    let routes = Router::new()
        .route("/metrics", get(show))
        .with_state((view, Arc::new(counters)));
    api::behind(door, routes)
}

async fn show(State((view, counters)): State<(Arc<View>, Arc<Counters>)>, Asked(query): Asked) -> Response {
    let content = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (content, write(&view, &counters, &query)).into_response()
}

fn write(view: &View, counters: &Counters, query: &Parameters) -> String {
    let filter = Filter(query);
    let mut text = Text::default();
    if let Some(path) = filter.wants("paths", "path") {
        paths(&mut text, &view.hub.paths(), path);
    }
    let config = (view.config)();
    for (encrypted, conns, sessions) in [
        (false, &RTSP_CONNS, &RTSP_SESSIONS),
        (true, &RTSPS_CONNS, &RTSPS_SESSIONS),
    ] {
        if !api::serves(&config, encrypted) {
            continue;
        }
        if let Some(id) = filter.wants(conns.name, conns.object) {
            conns.write(
                &mut text,
                view.rtsp
                    .conns(encrypted)
                    .iter()
                    .map(|conn| conn_object(conn))
                    .collect(),
                id,
            );
        }
        if let Some(id) = filter.wants(sessions.name, sessions.object) {
            let all = view.rtsp.sessions(encrypted);
            sessions.write(
                &mut text,
                all.iter().map(|session| session_object(session)).collect(),
                id,
            );
        }
    }
    if filter.is_empty() {
        ours::write(&mut text, view, counters);
    }
    text.finish()
}

/// Parameters that ask for one object of a class.
const OBJECTS: &[&str] = &[
    "path",
    "forward_dest",
    "hls_muxer",
    "hls_session",
    "rtsp_conn",
    "rtsp_session",
    "rtsps_conn",
    "rtsps_session",
    "rtmp_conn",
    "rtmps_conn",
    "srt_conn",
    "webrtc_session",
    "moq_session",
];

/// What a scrape asks for: a class by `type=`, or one object by its name or id.
struct Filter<'a>(&'a Parameters);

impl<'a> Filter<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn is_empty(&self) -> bool {
        self.get("type").is_none() && !OBJECTS.iter().any(|object| self.get(object).is_some())
    }

    /// Whether the class is wanted; inside, the one object that is, if only one.
    fn wants(&self, class: &str, object: &str) -> Option<Option<&'a str>> {
        let one = self.get(object);
        let fits = self.get("type").is_none_or(|wanted| wanted == class);
        let any = OBJECTS.iter().any(|object| self.get(object).is_some());
        (fits && (!any || one.is_some())).then_some(one)
    }
}

/// Series of one kind of object.
struct Class {
    title: &'static str,
    /// Also the series that says that an object is there.
    name: &'static str,
    /// The parameter that asks for one.
    object: &'static str,
    current: &'static [&'static str],
    /// Names of older versions.
    deprecated: &'static [&'static str],
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

impl Class {
    /// Writes the class. Without objects each series has one row without labels; when one object was asked for and
    /// there is none at all, nothing is written.
    fn write(&self, text: &mut Text, objects: Vec<Object>, wanted: Option<&str>) {
        if objects.is_empty() && wanted.is_some() {
            return;
        }
        let is_empty = objects.is_empty();
        let objects = objects
            .into_iter()
            .filter(|object| wanted.is_none_or(|wanted| object.labels[0].1 == wanted));
        let objects = text::bounded(objects.collect(), self.current.len() + self.deprecated.len());
        for (title, series) in [("", self.current), (" (deprecated)", self.deprecated)] {
            text.title(&format!("{}{title}", self.title));
            if is_empty {
                series.iter().for_each(|suffix| text.row(self.name, suffix, &[], 0));
            }
            for object in &objects {
                let values = if title.is_empty() {
                    &object.current
                } else {
                    &object.deprecated
                };
                for (suffix, value) in series.iter().zip(values) {
                    text.row(self.name, suffix, &object.labels, *value);
                }
            }
            text.end();
        }
    }
}

fn conn_object(conn: &Conn) -> Object {
    let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
    Object {
        labels: vec![("id", conn.id.to_string())],
        current: vec![1, inbound, outbound],
        deprecated: vec![inbound, outbound],
        ..Object::default()
    }
}

fn session_object(session: &Session) -> Object {
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

/// What a session does, as API and metrics call it.
pub(crate) fn state_word(state: SessionState) -> &'static str {
    match state {
        SessionState::Idle => "idle",
        SessionState::Read => "read",
        SessionState::Publish => "publish",
    }
}

const PATH_SERIES: &[&str] = &["_inbound_bytes", "_outbound_bytes", "_inbound_frames_in_error"];
const PATH_DEPRECATED: &[&str] = &["_bytes_received", "_bytes_sent"];

/// The paths. Apart from the other classes because a path has a row per type of reader between its own.
fn paths(text: &mut Text, paths: &[Arc<Path>], wanted: Option<&str>) {
    if paths.is_empty() {
        if wanted.is_none() {
            no_paths(text);
        }
        return;
    }
    let shown = paths
        .iter()
        .filter(|path| wanted.is_none_or(|wanted| path.name.as_str() == wanted));
    let rows = 2 + PATH_SERIES.len() + PATH_DEPRECATED.len();
    let objects = text::bounded(shown.map(|path| path_object(path)).collect(), rows);
    text.title("Paths");
    for object in &objects {
        text.row("paths", "", &object.labels, object.current[0]);
        readers_rows(text, object);
        for (suffix, value) in PATH_SERIES.iter().zip(&object.current[1..]) {
            text.row("paths", suffix, &object.labels, *value);
        }
    }
    text.end();
    text.title("Paths (deprecated)");
    for object in &objects {
        for (suffix, value) in PATH_DEPRECATED.iter().zip(&object.deprecated) {
            text.row("paths", suffix, &object.labels, *value);
        }
    }
    text.end();
}

fn no_paths(text: &mut Text) {
    text.title("Paths");
    text.row("paths", "", &[], 0);
    PATH_SERIES.iter().for_each(|suffix| text.row("paths", suffix, &[], 0));
    text.end();
    text.title("Paths (deprecated)");
    PATH_DEPRECATED
        .iter()
        .chain(&["_readers"])
        .for_each(|suffix| text.row("paths", suffix, &[], 0));
    text.end();
}

fn path_object(path: &Path) -> Object {
    let state = if path.publication().is_some() {
        "ready"
    } else {
        "notReady"
    };
    let inbound = path.counters.inbound_bytes.load(Relaxed);
    let outbound = path.counters.outbound_bytes.load(Relaxed);
    let mut readers = BTreeMap::new();
    for reader in path.readers() {
        *readers.entry(reader.kind).or_default() += 1;
    }
    Object {
        labels: vec![("name", path.name.to_string()), ("state", state.to_owned())],
        current: vec![1, inbound, outbound, path.counters.frames_in_error.load(Relaxed)],
        deprecated: vec![inbound, outbound],
        readers,
    }
}

fn readers_rows(text: &mut Text, object: &Object) {
    let nobody = BTreeMap::from([("", 0)]);
    let readers = if object.readers.is_empty() {
        &nobody
    } else {
        &object.readers
    };
    for (kind, count) in readers {
        let mut labels = object.labels.clone();
        labels.insert(1, ("readerType", (*kind).to_owned()));
        text.row("paths", "_readers", &labels, *count);
    }
}

#[cfg(test)]
mod tests;

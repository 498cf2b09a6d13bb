//! `/metrics`: Prometheus text. The series of MediaMTX come first, with its names, labels and order, so that dashboards
//! made for it keep working; ours follow, prefixed `wasmtx_`. docs/metrics.md lists both.

mod class;
mod clients;
mod conversions;
mod forward;
mod ours;
mod process;
mod recordings;
mod text;

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering::Relaxed};

use axum::{
    Router,
    extract::State as Held,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use wasmtx_endpoints::{forward::State as Sending, http::Refused, rtsp::State};
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

async fn show(Held((view, counters)): Held<(Arc<View>, Arc<Counters>)>, Asked(query): Asked) -> Response {
    let content = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    let directories = view.directories.clone();
    // The spools of object stores are looked at on the disk.
    let spools = tokio::task::spawn_blocking(move || directories.waiting()).await;
    let spools = spools.unwrap_or_default();
    (content, write(&view, &counters, &spools, &query)).into_response()
}

fn write(
    view: &View,
    counters: &Counters,
    spools: &[wasmtx_endpoints::storage::Waiting],
    query: &Parameters,
) -> String {
    let filter = Filter(query);
    let mut text = Text::default();
    if let Some(path) = filter.wants("paths", "path") {
        paths(&mut text, &view.hub.paths(), path);
    }
    forward::write(&mut text, view, &filter);
    clients::write(&mut text, view, &filter);
    if filter.is_empty() {
        ours::write(&mut text, view, counters);
        recordings::spools(&mut text, spools);
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
    "flv_conn",
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

/// What a client does, as API and metrics call it.
pub(crate) fn state_word(state: State) -> &'static str {
    match state {
        State::Idle => "idle",
        State::Read => "read",
        State::Publish => "publish",
    }
}

/// What happens with a destination, as API and metrics call it.
pub(crate) fn forward_state(state: Sending) -> &'static str {
    match state {
        Sending::Idle => "idle",
        Sending::Forwarding => "forwarding",
        Sending::Error => "error",
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

//! The control API, `/v3`: what MediaMTX's tools read, with its names and shapes. docs/api.md lists the routes.
//!
//! Read-only but for kicks, recordings and plugins. A route of a protocol that is switched off does not exist.

pub(crate) mod answer;
mod clients;
pub(crate) mod door;
mod events;
mod flv;
mod forward;
pub(crate) mod paths;
mod plugins;
mod recording;
mod rtmp;
mod rtsp;
mod settings;

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Json, Router,
    extract::{DefaultBodyLimit, FromRequestParts, Query, State},
    http::{Method, StatusCode, Uri, request::Parts},
    routing::{delete, get, post},
};
use serde::Serialize;
use wasmtx_endpoints::{
    codec::Workers, flv as flv_conns, forward as forwards, recording::Archive, rtmp as rtmp_conns,
    rtsp as rtsp_sessions, storage::Directories,
};
use wasmtx_hub::{Action, Gate, Hub};
use wasmtx_media::WallClock;
use wasmtx_sandbox::Registry;

use crate::{cli::VERSION, config::Config, events::Followers, recording::Switches, server::Listener};
use answer::{Error, Parameters};
use door::Door;
pub(crate) use plugins::COMPONENT;

/// Tells the configuration in force.
pub type Current = Arc<dyn Fn() -> Arc<Config> + Send + Sync>;

/// What the API and the metrics show.
pub struct View {
    /// When the server was started.
    pub started: WallClock,
    /// The paths.
    pub hub: Hub,
    /// The connections and sessions of the RTSP servers.
    pub rtsp: rtsp_sessions::Registry,
    /// The connections of the RTMP servers.
    pub rtmp: rtmp_conns::Registry,
    /// Where streams are sent on to.
    pub forwards: forwards::Registry,
    /// The players of HTTP-FLV.
    pub flv: flv_conns::Registry,
    /// The configuration in force.
    pub config: Current,
    /// The bound addresses.
    pub listeners: Vec<Listener>,
    /// The plugins.
    pub plugins: Registry,
    /// What re-encodes sound.
    pub workers: Workers,
    /// Which paths are recorded.
    pub recording: Switches,
    /// What was recorded.
    pub archive: Arc<Archive>,
    /// Where recordings and the files of plugins are.
    pub directories: Arc<Directories>,
    /// What happens.
    pub events: Followers,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("started", &self.started)
            .finish_non_exhaustive()
    }
}

type Shared = State<Arc<View>>;

/// The routes of the API, behind `gate`.
pub fn router(view: Arc<View>, gate: Arc<dyn Gate>) -> Router {
    let door = Door {
        gate,
        config: view.config.clone(),
        action: permission,
        settings: |global| (&global.api_allow_origins, &global.api_trusted_proxies),
        methods: "OPTIONS, GET, POST, PATCH, DELETE",
    };
    let routes = Router::new()
        .route("/info", get(info))
        .route("/config/global/get", get(settings::global))
        .route("/config/pathdefaults/get", get(settings::path_defaults))
        .route("/config/paths/list", get(settings::paths))
        .route("/config/paths/get/{*name}", get(settings::path))
        .route("/paths/list", get(paths::list))
        .route("/paths/forward/list", get(forward::list))
        .route("/paths/forward/get", get(forward::one))
        .route("/paths/get/{*name}", get(paths::one))
        .route("/paths/record/start/{*name}", post(recording::start))
        .route("/paths/record/stop/{*name}", post(recording::stop))
        .route("/recordings/list", get(recording::list))
        .route("/recordings/get/{*name}", get(recording::one))
        .route("/recordings/deletesegment", delete(recording::delete))
        .route("/plugins/list", get(plugins::list))
        .route("/plugins/get/{name}", get(plugins::one))
        .route("/plugins/reload/{name}", post(plugins::reload))
        .route(
            "/plugins/push/{name}",
            post(plugins::push).layer(DefaultBodyLimit::max(COMPONENT)),
        )
        .route("/plugins/enable/{name}", post(plugins::enable))
        .route("/plugins/disable/{name}", post(plugins::disable))
        .route("/events", get(events::follow))
        .route("/{kind}/list", get(clients::list))
        .route("/{kind}/get/{id}", get(clients::one))
        .route("/{kind}/kick/{id}", post(clients::kick));
    behind(door, Router::new().nest("/v3", routes).with_state(view))
}

/// Changing plugins is changing what the server runs: a permission of its own.
fn permission(method: &Method, uri: &Uri) -> Action {
    let reads = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    if !reads && uri.path().starts_with("/v3/plugins/") {
        return Action::Plugins;
    }
    Action::Api
}

/// Puts routes behind a door, and gives what is missing the form of the API's errors.
pub(crate) fn behind(door: Door, routes: Router) -> Router {
    routes
        .fallback(async || not_found())
        .method_not_allowed_fallback(async || Error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed"))
        .layer(axum::middleware::from_fn_with_state(Arc::new(door), door::enter))
}

fn not_found() -> Error {
    Error(StatusCode::NOT_FOUND, "not found")
}

/// The parameters of the query; a query that cannot be read is an error of ours in form.
pub(crate) struct Asked(pub(crate) Parameters);

impl<S: Send + Sync> FromRequestParts<S> for Asked {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked, Error> {
        let query = Query::from_request_parts(parts, state).await;
        query
            .map(|Query(query)| Asked(query))
            .map_err(|_| Error(StatusCode::BAD_REQUEST, "invalid query"))
    }
}

#[derive(Serialize)]
struct Info<'a> {
    version: &'static str,
    started: String,
    listeners: BTreeMap<&'static str, &'a str>,
}

async fn info(State(view): Shared) -> Json<serde_json::Value> {
    let listeners = view
        .listeners
        .iter()
        .map(|Listener { key, address }| (*key, address.as_str()))
        .collect();
    Json(serde_json::json!(Info {
        version: VERSION,
        started: answer::time(view.started.0),
        listeners
    }))
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

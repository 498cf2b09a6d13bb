//! `/v3/plugins`: the plugins, what they run, what they did, and how to change them. Ours; MediaMTX has none. What changes
//! something needs the permission `plugins`, which nobody has unless the file grants it.

use axum::{
    Json,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use wasmtx_sandbox::{Error as PluginError, Planned, Registry, Source, Status, Usage};

use super::{
    Asked, Shared,
    answer::{self, Error, Page},
};

/// The largest component that can be pushed.
pub(crate) const COMPONENT: usize = 32 << 20;
/// What a component may be called. No web page can send these without asking first.
const TYPES: [&str; 2] = ["application/wasm", "application/octet-stream"];

pub(super) async fn list(State(view): Shared, Asked(query): Asked) -> Result<Json<Page<Value>>, Error> {
    Page::of(&view.plugins.status(), &query, show).map(Json)
}

pub(super) async fn one(State(view): Shared, Path(name): Path<String>) -> Result<Json<Value>, Error> {
    let status = view.plugins.get(&name).ok_or(UNKNOWN)?;
    Ok(Json(show(&status)))
}

/// Reads the component again. A plugin that failed begins afresh.
pub(super) async fn reload(State(view): Shared, Path(name): Path<String>) -> Response {
    change(&view.plugins, move |plugins| {
        let version = plugins.reload(&name)?;
        Ok(json!({ "status": "ok", "version": version }))
    })
    .await
}

/// Puts the body in the place of the plugin's file.
pub(super) async fn push(
    State(view): Shared,
    Path(name): Path<String>,
    headers: HeaderMap,
    component: Bytes,
) -> Response {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    if !kind.is_some_and(|kind| TYPES.contains(&kind)) {
        return Error(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "a component is sent as application/wasm",
        )
        .into_response();
    }
    change(&view.plugins, move |plugins| {
        let (previous, version) = plugins.push(&name, component.into())?;
        Ok(json!({ "status": "ok", "previous": previous, "version": version }))
    })
    .await
}

pub(super) async fn enable(State(view): Shared, Path(name): Path<String>) -> Response {
    switch(&view.plugins, name, true).await
}

pub(super) async fn disable(State(view): Shared, Path(name): Path<String>) -> Response {
    switch(&view.plugins, name, false).await
}

async fn switch(plugins: &Registry, name: String, enabled: bool) -> Response {
    change(plugins, move |plugins| {
        plugins.enable(&name, enabled)?;
        Ok(json!({ "status": "ok" }))
    })
    .await
}

const UNKNOWN: Error = Error(StatusCode::NOT_FOUND, "plugin not found");

/// Compiling takes its time: on a thread that may wait.
async fn change(
    plugins: &Registry,
    change: impl FnOnce(&Registry) -> Result<Value, PluginError> + Send + 'static,
) -> Response {
    let plugins = plugins.clone();
    match tokio::task::spawn_blocking(move || change(&plugins)).await {
        Ok(Ok(done)) => Json(done).into_response(),
        Ok(Err(PluginError::Unknown(_))) => UNKNOWN.into_response(),
        Ok(Err(error)) => {
            let code = match &error {
                PluginError::Write { .. } | PluginError::Read { .. } => StatusCode::INTERNAL_SERVER_ERROR,
                _ => StatusCode::BAD_REQUEST,
            };
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            answer::refusal(code, &format!("{error}{}", cause.unwrap_or_default()))
        }
        Err(_) => Error(StatusCode::INTERNAL_SERVER_ERROR, "changing the plugin panics").into_response(),
    }
}

fn show(status: &Status) -> Value {
    json!({
        "name": status.name,
        "version": status.version,
        "sha256": status.sha256,
        "source": source(&status.source),
        "enabled": status.enabled,
        "roles": status.roles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "swaps": status.swaps,
        "error": status.error,
        "uses": status.uses.iter().map(usage).collect::<Vec<_>>(),
    })
}

fn source(source: &Source) -> String {
    match source {
        Source::File(file) => file.display().to_string(),
        Source::Bundled(name) => format!("builtin:{name}"),
    }
}

fn usage(usage: &Usage) -> Value {
    let micros = |share| usage.times.quantile(share).map(|time| time.as_secs_f64() * 1e6);
    json!({
        "path": usage.path,
        "condition": usage.condition.name(),
        "calls": usage.calls,
        "passed": usage.passed,
        "dropped": usage.dropped,
        "closed": usage.closed,
        "emitted": usage.emitted,
        "refused": usage.refused,
        "bypassed": usage.bypassed,
        "lost": usage.lost,
        "callMicrosP50": micros(0.5),
        "callMicrosP99": micros(0.99),
        "readBytes": usage.bytes_read,
        "madeBytes": usage.bytes_made,
        "traps": usage.traps,
        "deadlines": usage.deadlines,
        "memoryExceeded": usage.memory,
        "otherFailures": usage.other,
        "restarts": usage.restarts,
        "swaps": usage.swaps,
        "memoryBytes": usage.memory_bytes,
        "heldBytes": usage.held_bytes,
        "limitHits": usage.hits.iter().copied().collect::<std::collections::BTreeMap<_, _>>(),
        "plan": usage.plan.iter().map(planned).collect::<Vec<_>>(),
        "conversions": json!({
            "running": usage.conversions.running,
            "begun": usage.conversions.begun,
            "frames": usage.conversions.frames,
            "lost": usage.conversions.lost,
            "restarts": usage.conversions.restarts,
        }),
    })
}

/// What a transcoder said about a track.
fn planned(planned: &Planned) -> Value {
    json!({
        "track": planned.track,
        "plan": planned.plan.name(),
        "target": planned.plan.target().map(|target| json!({
            "codec": target.codec,
            "bitrate": target.bitrate,
            "width": target.width,
            "height": target.height,
            "channels": target.channels,
            "sampleRate": target.sample_rate,
        })),
        "done": planned.done,
        "reason": planned.reason,
        "made": planned.made,
        "running": planned.running,
    })
}

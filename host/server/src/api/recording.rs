//! `/v3/recordings/…`: what was recorded; and `/v3/paths/record/…`: recording on demand, which is ours (in MediaMTX one patches
//! the configuration for it).

use std::sync::Arc;

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use wasmtx_endpoints::recording::{Archive, Error as Failure, Segment};
use wasmtx_hub::PathName;

use super::{
    Asked, Shared, View,
    answer::{Error, Page, Parameters, ok, refusal, time},
};

/// The recordings of a path.
#[derive(Serialize)]
struct Shown {
    name: String,
    segments: Vec<ShownSegment>,
}

#[derive(Serialize)]
struct ShownSegment {
    start: String,
}

impl Shown {
    fn of(path: &PathName, segments: &[Segment]) -> Shown {
        let shown = |segment: &Segment| ShownSegment {
            start: time(segment.start),
        };
        Shown {
            name: path.to_string(),
            segments: segments.iter().map(shown).collect(),
        }
    }
}

pub(super) async fn list(State(view): Shared, Asked(query): Asked) -> Response {
    aside(&view, move |archive| {
        let paths = match archive.paths() {
            Ok(paths) => paths,
            Err(failure) => return failed(&failure),
        };
        let page = Page::of(&paths, &query, |path| {
            // One whose place is away just now has none that could be shown.
            let segments = archive.segments(path).unwrap_or_default();
            Shown::of(path, &segments)
        });
        page.map(Json).into_response()
    })
    .await
}

pub(super) async fn one(State(view): Shared, Path(name): Path<String>) -> Response {
    let Ok(path) = PathName::new(&name) else {
        return Error(StatusCode::BAD_REQUEST, "invalid name").into_response();
    };
    aside(&view, move |archive| match archive.segments(&path) {
        Ok(segments) => Json(Shown::of(&path, &segments)).into_response(),
        Err(failure) => failed(&failure),
    })
    .await
}

pub(super) async fn delete(State(view): Shared, Asked(query): Asked) -> Response {
    let (path, start) = match segment(&query) {
        Ok(segment) => segment,
        Err(error) => return error.into_response(),
    };
    aside(&view, move |archive| match archive.delete(&path, start) {
        Ok(()) => ok(),
        Err(failure) => failed(&failure),
    })
    .await
}

/// The segment that a query names: the path, and microseconds since 1970.
fn segment(query: &Parameters) -> Result<(PathName, u64), Error> {
    let value = |name| query.get(name).map(String::as_str).unwrap_or_default();
    let wrong = |words| Error(StatusCode::BAD_REQUEST, words);
    let path = PathName::new(value("path")).map_err(|_| wrong("invalid 'path' parameter"))?;
    let start: Option<jiff::Timestamp> = value("start").parse().ok();
    let start = start.and_then(|start| u64::try_from(start.as_microsecond()).ok());
    Ok((path, start.ok_or_else(|| wrong("invalid 'start' parameter"))?))
}

/// Asks the archive, which may wait for a disk.
async fn aside(view: &View, ask: impl FnOnce(&Archive) -> Response + Send + 'static) -> Response {
    let archive = Arc::clone(&view.archive);
    let answer = tokio::task::spawn_blocking(move || ask(&archive)).await;
    answer.unwrap_or_else(|error| refusal(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()))
}

fn failed(failure: &Failure) -> Response {
    let code = match failure {
        Failure::UnknownPath => StatusCode::BAD_REQUEST,
        Failure::NotFound => StatusCode::NOT_FOUND,
        Failure::Active => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    };
    refusal(code, &failure.to_string())
}

/// Records the path from now on, with what its `recordPreRoll` keeps. Saying it twice changes nothing.
pub(super) async fn start(State(view): Shared, Path(name): Path<String>) -> Response {
    switch(&view, &name, true).await
}

/// Records it no longer, though its configuration may say so.
pub(super) async fn stop(State(view): Shared, Path(name): Path<String>) -> Response {
    switch(&view, &name, false).await
}

async fn switch(view: &View, name: &str, on: bool) -> Response {
    let path = PathName::new(name).ok().and_then(|name| view.hub.path(&name));
    let Some(path) = path else {
        return Error(StatusCode::NOT_FOUND, "path not found").into_response();
    };
    match view.recording.switch(&path, on).await {
        Ok(()) => ok(),
        Err(why) => refusal(StatusCode::BAD_REQUEST, &why),
    }
}

//! `/v3/config/…`: the configuration in force, secrets hidden.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use serde_json::Value;

use super::{
    Asked, Shared,
    answer::{Error, Page},
};

pub(super) async fn global(State(view): Shared) -> Json<Value> {
    Json((view.config)().global_json())
}

pub(super) async fn path_defaults(State(view): Shared) -> Json<Value> {
    Json((view.config)().path_defaults_json())
}

pub(super) async fn paths(State(view): Shared, Asked(query): Asked) -> Result<Json<Page<Value>>, Error> {
    let config = (view.config)();
    let mut entries: Vec<_> = config.paths.entries().iter().collect();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    Page::of(&entries, &query, |entry| entry.json()).map(Json)
}

pub(super) async fn path(State(view): Shared, Path(name): Path<String>) -> Result<Json<Value>, Error> {
    let config = (view.config)();
    let entry = config
        .paths
        .get(&name)
        .ok_or(Error(StatusCode::NOT_FOUND, "path configuration not found"))?;
    Ok(Json(entry.json()))
}

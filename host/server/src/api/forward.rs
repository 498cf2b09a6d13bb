//! `/v3/paths/forward/…`: where a path's stream is sent on to, and how that goes.

use std::sync::Arc;

use axum::{Json, extract::State, http::StatusCode};
use serde::Serialize;
use uuid::Uuid;
use wasmtx_endpoints::forward::Forward;
use wasmtx_hub::PathName;

use super::{
    Asked, Shared, View,
    answer::{Error, Page, Parameters, time},
    clients::parse_id,
};
use crate::{config::Fingerprint, metrics::forward_state};

/// What the file says about a destination.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Conf {
    dest: String,
    dest_fingerprint: String,
    whip_bearer_token: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shown {
    id: Uuid,
    pos: usize,
    created: String,
    conf: Conf,
    protocol: &'static str,
    state: &'static str,
    last_error: String,
    outbound_bytes: u64,
}

impl Shown {
    fn of(forward: &Forward) -> Shown {
        let (state, last_error) = forward.state();
        let destination = &forward.destination;
        Shown {
            id: forward.id,
            // Counted from 1 here, as MediaMTX does.
            pos: forward.position() + 1,
            created: time(forward.created.0),
            conf: Conf {
                dest: destination.shown(),
                dest_fingerprint: destination
                    .fingerprint()
                    .map(Fingerprint::of)
                    .unwrap_or_default()
                    .to_string(),
                // For WHIP, which is not built.
                whip_bearer_token: "",
            },
            protocol: destination.protocol(),
            state: forward_state(state),
            last_error,
            outbound_bytes: forward.outbound_bytes.load(),
        }
    }
}

/// The destinations of the path that the query names.
fn asked(view: &View, query: &Parameters) -> Result<Vec<Arc<Forward>>, Error> {
    let name = query.get("path").map(String::as_str).unwrap_or_default();
    if name.is_empty() {
        return Err(Error(StatusCode::BAD_REQUEST, "invalid path"));
    }
    let path = PathName::new(name).ok().and_then(|name| view.hub.path(&name));
    let path = path.ok_or(Error(StatusCode::NOT_FOUND, "path not found"))?;
    Ok(view.forwards.of(&path.name))
}

pub(super) async fn list(State(view): Shared, Asked(query): Asked) -> Result<Json<Page<Shown>>, Error> {
    Page::of(&asked(&view, &query)?, &query, |forward| Shown::of(forward)).map(Json)
}

pub(super) async fn one(State(view): Shared, Asked(query): Asked) -> Result<Json<Shown>, Error> {
    let all = asked(&view, &query)?;
    let id = parse_id(query.get("id").map(String::as_str).unwrap_or_default())?;
    let forward = all.iter().find(|forward| forward.id == id);
    let forward = forward.ok_or(Error(StatusCode::NOT_FOUND, "destination not found"))?;
    Ok(Json(Shown::of(forward)))
}

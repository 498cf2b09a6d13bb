//! `/v3/plugins/list`: the plugins, what they run, and what they did. Ours; MediaMTX has none.

use axum::{Json, extract::State};
use serde_json::{Value, json};
use wasmtx_sandbox::{Status, Usage};

use super::{
    Asked, Shared,
    answer::{Error, Page},
};

pub(super) async fn list(State(view): Shared, Asked(query): Asked) -> Result<Json<Page<Value>>, Error> {
    Page::of(&(view.plugins)(), &query, show).map(Json)
}

fn show(status: &Status) -> Value {
    json!({
        "name": status.name,
        "version": status.version,
        "roles": status.roles.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "swaps": status.swaps,
        "error": status.error,
        "uses": status.uses.iter().map(usage).collect::<Vec<_>>(),
    })
}

fn usage(usage: &Usage) -> Value {
    json!({
        "path": usage.path,
        "calls": usage.calls,
        "passed": usage.passed,
        "dropped": usage.dropped,
        "closed": usage.closed,
        "emitted": usage.emitted,
        "refused": usage.refused,
        "bypassed": usage.bypassed,
        "lost": usage.lost,
        "traps": usage.traps,
        "deadlines": usage.deadlines,
        "memoryExceeded": usage.memory,
        "otherFailures": usage.other,
        "restarts": usage.restarts,
        "memoryBytes": usage.memory_bytes,
        "heldBytes": usage.held_bytes,
    })
}

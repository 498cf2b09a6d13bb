//! Events of the plugin's own kind, without a grant: they go to the server's log, its API's stream, webhooks, and plugins with the
//! [`events`](crate::events) role, which see [`Event::Other`](crate::events::Event::Other). What comes too fast is
//! dropped. A kind has at most 64 characters, the JSON 4 KiB: longer ones only stand in the log, cut.
//!
//! ```
//! use wasmtx_plugin::{json, notify};
//!
//! notify::raise("motion", &json!({ "path": "door", "score": 0.8 }));
//! ```

use serde::Serialize;

use crate::host;

/// Raises an event: its kind, a short name as in the example, and what is to be said, which is sent as JSON. A value without a JSON form (a map whose keys
/// are no text) raises nothing but a line in the log.
pub fn raise(kind: &str, what: &(impl Serialize + ?Sized)) {
    match serde_json::to_string(what) {
        Ok(json) => host::notify::raise(kind, &json),
        Err(error) => crate::error!("event '{kind}' not raised, it is no JSON: {error}"),
    }
}

//! `notify`: events of the plugin's own kind, for now to the log; they share the log's bound.

use super::{State, log::clean};
use crate::bindings::plugin::notify;

/// Characters of a kind.
const KIND_LEN: usize = 64;
/// Bytes of an event's JSON.
const JSON_LEN: usize = 4 << 10;

impl notify::Host for State {
    fn raise(&mut self, kind: String, json: String) {
        if self.common.lines.admit(&self.common.name) {
            let (kind, json) = (clean(&kind, KIND_LEN), clean(&json, JSON_LEN));
            tracing::info!(plugin = %self.common.name, path = %self.place.path(), kind, json, "plugin event");
        }
    }
}

//! `notify`: events of the plugin's own kind. They go to the log, whose bound they share, and to who listens to the server's
//! events.

use super::{State, log::clean};
use crate::bindings::plugin::notify;

/// Characters of a kind.
const KIND_LEN: usize = 64;
/// Bytes of an event's JSON. What is longer stands in the log, cut, and goes nowhere else.
const JSON_LEN: usize = 4 << 10;

impl notify::Host for State {
    fn raise(&mut self, kind: String, json: String) {
        if !self.may_log() {
            return;
        }
        let (kind, path) = (clean(&kind, KIND_LEN), self.place.path());
        if json.len() <= JSON_LEN {
            self.common.note(path, &kind, || clean(&json, JSON_LEN));
        }
        let json = clean(&json, JSON_LEN);
        tracing::info!(plugin = %self.common.name, path, kind, json, "plugin event");
    }
}

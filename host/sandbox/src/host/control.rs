//! `control`: nothing is granted it yet, and it has no answer to give, so a request goes nowhere.

use super::State;
use crate::bindings::plugin::control;

impl control::Host for State {
    fn request_keyframe(&mut self, _path: String) {
        tracing::debug!(plugin = %self.common.name, "control.request-keyframe is not granted");
    }

    fn kick(&mut self, _session: String, _reason: String) {
        tracing::debug!(plugin = %self.common.name, "control.kick is not granted");
    }
}

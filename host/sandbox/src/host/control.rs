//! `control`: acting on streams and sessions, for plugins that were granted it. A request has no answer; what was not granted
//! goes nowhere.

use super::{Reach, State, log::clean};
use crate::{bindings::plugin::control, services::Caller};

/// Bytes of a path's or session's name, and of a reason.
const TEXT_LEN: usize = 256;

impl control::Host for State {
    fn request_keyframe(&mut self, path: String) {
        if let Some(caller) = self.caller("request-keyframe") {
            self.outside.control.request_keyframe(&caller, &clean(&path, TEXT_LEN));
        }
    }

    fn kick(&mut self, session: String, reason: String) {
        if let Some(caller) = self.caller("kick") {
            let (session, reason) = (clean(&session, TEXT_LEN), clean(&reason, TEXT_LEN));
            self.outside.control.kick(&caller, &session, &reason);
        }
    }
}

impl State {
    fn caller(&self, call: &str) -> Option<Caller> {
        if self.grants.control == Reach::Nowhere {
            tracing::debug!(plugin = %self.common.name, "control.{call} is not granted");
            return None;
        }
        Some(Caller {
            plugin: self.common.name.clone(),
            everywhere: self.grants.control == Reach::Everywhere,
        })
    }
}

//! Streams and sessions, for plugins that may act on them.

use std::sync::{Arc, OnceLock, Weak};

use arc_swap::ArcSwap;
use uuid::Uuid;
use wasmtx_endpoints::{flv, rtmp, rtsp};
use wasmtx_hub::{Hub, PathName};
use wasmtx_sandbox::services::{Caller, Control};

use crate::force::{Force, InForce};

/// What is in force, once something is. Plugins are loaded before that, and are a part of it.
pub(crate) type Late = Arc<OnceLock<Weak<ArcSwap<Force>>>>;

/// The streams of a hub and who publishes and reads them.
pub(crate) struct Streams {
    pub(crate) hub: Hub,
    pub(crate) sessions: rtsp::Registry,
    pub(crate) rtmp: rtmp::Registry,
    pub(crate) flv: flv::Registry,
    pub(crate) in_force: Late,
}

impl Streams {
    /// Whether a plugin may act on a path: its own, or any.
    fn may(&self, caller: &Caller, path: &PathName) -> bool {
        let in_force = || self.in_force.get().and_then(InForce::upgrade);
        caller.everywhere || in_force().is_some_and(|in_force| in_force.uses(path, &caller.plugin))
    }
}

impl Control for Streams {
    fn request_keyframe(&self, caller: &Caller, path: &str) {
        if let Some(path) = PathName::new(path).ok().filter(|path| self.may(caller, path)) {
            self.hub.request_keyframe(&path);
        }
    }

    fn kick(&self, caller: &Caller, session: &str, reason: &str) {
        let Ok(id) = session.parse::<Uuid>() else { return };
        let session = self
            .sessions
            .session(id)
            .map(|session| session.details.lock().path.clone());
        let conn = || self.rtmp.conn(id).map(|conn| conn.details.lock().path.clone());
        let player = || self.flv.conn(id).map(|conn| conn.path.clone());
        let Some(path) = session.or_else(conn).or_else(player) else {
            return;
        };
        if PathName::new(&path).is_ok_and(|path| self.may(caller, &path)) {
            let why = format!("plugin {}: {reason}", caller.plugin);
            // It is in one of them, if it is still there.
            let _ = self.sessions.kick(id, &why) || self.rtmp.kick(id, &why) || self.flv.kick(id, &why);
        }
    }
}

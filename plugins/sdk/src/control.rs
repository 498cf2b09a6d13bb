//! What a plugin may ask of the server: must be granted, `grant: { control: yes }` in mediamtx.yml for the paths that use the plugin, `all` for every path. A
//! wish for what is not there, or not allowed, has no effect; there is no answer.

use crate::host;

/// Asks the publisher of a path for a keyframe, where its protocol can say so.
pub fn request_keyframe(path: &str) {
    host::control::request_keyframe(path);
}

/// Ends a session: [`Client::session`](crate::Client::session) of a publisher or a reader. `reason` is one short sentence for the log.
pub fn kick(session: &str, reason: &str) {
    host::control::kick(session, reason);
}

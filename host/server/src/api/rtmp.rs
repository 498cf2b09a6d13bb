//! An RTMP connection, as the API shows it.

use serde::Serialize;
use uuid::Uuid;
use wasmtx_endpoints::rtmp::Conn;

use super::answer::time;
use crate::{metrics::state_word, redact};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownConn {
    id: Uuid,
    created: String,
    remote_addr: String,
    state: &'static str,
    path: String,
    query: String,
    user: String,
    user_agent: String,
    inbound_bytes: u64,
    outbound_bytes: u64,
    outbound_frames_discarded: u64,
    /// Deprecated.
    bytes_received: u64,
    /// Deprecated.
    bytes_sent: u64,
}

impl ShownConn {
    pub(super) fn of(conn: &Conn) -> ShownConn {
        let details = conn.details.lock().clone();
        let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
        ShownConn {
            id: conn.id,
            created: time(conn.created.0),
            remote_addr: conn.remote.to_string(),
            state: state_word(details.state),
            path: details.path,
            query: redact::query(&details.query).into_owned(),
            user: details.user,
            user_agent: details.user_agent,
            inbound_bytes: inbound,
            outbound_bytes: outbound,
            outbound_frames_discarded: conn.outbound_frames_discarded.load(),
            bytes_received: inbound,
            bytes_sent: outbound,
        }
    }
}

//! An HTTP-FLV or WebSocket-FLV player, as the API shows it: an RTMP connection with two fields more.

use serde::Serialize;
use uuid::Uuid;
use wasmtx_endpoints::flv::Conn;

use super::answer::time;
use crate::redact;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownConn {
    id: Uuid,
    created: String,
    remote_addr: String,
    encrypted: bool,
    web_socket: bool,
    state: &'static str,
    path: String,
    query: String,
    user: String,
    user_agent: String,
    inbound_bytes: u64,
    outbound_bytes: u64,
    outbound_frames_discarded: u64,
}

impl ShownConn {
    pub(super) fn of(conn: &Conn) -> ShownConn {
        ShownConn {
            id: conn.id,
            created: time(conn.created.0),
            remote_addr: conn.remote.to_string(),
            encrypted: conn.encrypted,
            web_socket: conn.web_socket,
            state: "read",
            path: conn.path.clone(),
            query: redact::query(&conn.query).into_owned(),
            user: conn.user.clone(),
            user_agent: conn.user_agent.clone(),
            inbound_bytes: conn.inbound_bytes.load(),
            outbound_bytes: conn.outbound_bytes.load(),
            outbound_frames_discarded: conn.outbound_frames_discarded.load(),
        }
    }
}

//! An RTSP connection and an RTSP session, as the API shows them.

use serde::Serialize;
use uuid::Uuid;
use wasmtx_endpoints::rtsp::{Conn, Session};

use super::answer::time;
use crate::{metrics::state_word, redact};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownConn {
    id: Uuid,
    created: String,
    remote_addr: String,
    session: Option<Uuid>,
    tunnel: &'static str,
    inbound_bytes: u64,
    outbound_bytes: u64,
    /// Deprecated.
    bytes_received: u64,
    /// Deprecated.
    bytes_sent: u64,
}

impl ShownConn {
    pub(super) fn of(conn: &Conn) -> ShownConn {
        let (inbound, outbound) = (conn.inbound_bytes.load(), conn.outbound_bytes.load());
        ShownConn {
            id: conn.id,
            created: time(conn.created.0),
            remote_addr: conn.remote.to_string(),
            session: *conn.session.lock(),
            tunnel: "none",
            inbound_bytes: inbound,
            outbound_bytes: outbound,
            bytes_received: inbound,
            bytes_sent: outbound,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ShownSession {
    id: Uuid,
    created: String,
    remote_addr: String,
    state: &'static str,
    path: String,
    query: String,
    user: String,
    user_agent: String,
    transport: Option<&'static str>,
    profile: Option<&'static str>,
    conns: [Uuid; 1],
    inbound_bytes: u64,
    #[serde(rename = "inboundRTPPackets")]
    inbound_rtp_packets: u64,
    #[serde(rename = "inboundRTPPacketsLost")]
    inbound_rtp_packets_lost: u64,
    #[serde(rename = "inboundRTPPacketsInError")]
    inbound_rtp_packets_in_error: u64,
    #[serde(rename = "inboundRTPPacketsJitter")]
    inbound_rtp_packets_jitter: u64,
    #[serde(rename = "inboundRTCPPackets")]
    inbound_rtcp_packets: u64,
    #[serde(rename = "inboundRTCPPacketsInError")]
    inbound_rtcp_packets_in_error: u64,
    outbound_bytes: u64,
    #[serde(rename = "outboundRTPPackets")]
    outbound_rtp_packets: u64,
    #[serde(rename = "outboundRTPPacketsReportedLost")]
    outbound_rtp_packets_reported_lost: u64,
    #[serde(rename = "outboundRTPPacketsDiscarded")]
    outbound_rtp_packets_discarded: u64,
    #[serde(rename = "outboundRTCPPackets")]
    outbound_rtcp_packets: u64,
    // From here on the names of older versions.
    bytes_received: u64,
    bytes_sent: u64,
    rtp_packets_received: u64,
    rtp_packets_sent: u64,
    rtp_packets_lost: u64,
    rtp_packets_in_error: u64,
    rtp_packets_jitter: u64,
    rtcp_packets_received: u64,
    rtcp_packets_sent: u64,
    rtcp_packets_in_error: u64,
}

impl ShownSession {
    pub(super) fn of(session: &Session) -> ShownSession {
        let details = session.details.lock().clone();
        let traffic = &session.traffic;
        ShownSession {
            id: session.id,
            created: time(session.created.0),
            remote_addr: session.remote.to_string(),
            state: state_word(details.state),
            path: details.path,
            query: redact::query(&details.query).into_owned(),
            user: details.user,
            user_agent: details.user_agent,
            transport: details.transport,
            profile: details.profile,
            conns: [session.conn],
            inbound_bytes: traffic.inbound_bytes.load(),
            inbound_rtp_packets: traffic.inbound_rtp_packets.load(),
            inbound_rtp_packets_lost: traffic.inbound_rtp_packets_lost.load(),
            inbound_rtp_packets_in_error: traffic.inbound_rtp_packets_in_error.load(),
            inbound_rtp_packets_jitter: traffic.inbound_rtp_packets_jitter.load(),
            inbound_rtcp_packets: traffic.inbound_rtcp_packets.load(),
            inbound_rtcp_packets_in_error: traffic.inbound_rtcp_packets_in_error.load(),
            outbound_bytes: traffic.outbound_bytes.load(),
            outbound_rtp_packets: traffic.outbound_rtp_packets.load(),
            outbound_rtp_packets_reported_lost: traffic.outbound_rtp_packets_reported_lost.load(),
            outbound_rtp_packets_discarded: traffic.outbound_rtp_packets_discarded.load(),
            outbound_rtcp_packets: traffic.outbound_rtcp_packets.load(),
            bytes_received: traffic.inbound_bytes.load(),
            bytes_sent: traffic.outbound_bytes.load(),
            rtp_packets_received: traffic.inbound_rtp_packets.load(),
            rtp_packets_sent: traffic.outbound_rtp_packets.load(),
            rtp_packets_lost: traffic.inbound_rtp_packets_lost.load(),
            rtp_packets_in_error: traffic.inbound_rtp_packets_in_error.load(),
            rtp_packets_jitter: traffic.inbound_rtp_packets_jitter.load(),
            rtcp_packets_received: traffic.inbound_rtcp_packets.load(),
            rtcp_packets_sent: traffic.outbound_rtcp_packets.load(),
            rtcp_packets_in_error: traffic.inbound_rtcp_packets_in_error.load(),
        }
    }
}

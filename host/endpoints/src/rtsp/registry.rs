//! Every RTSP connection and session there is: for the API and the metrics, and to tell them something.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use uuid::Uuid;
use wasmtx_media::WallClock;

pub use crate::registry::{Counter, State};
use crate::registry::{Item, Refusals, Rules, Table};
pub(super) use crate::registry::{Listed, Orders};

/// One RTSP connection.
#[derive(Debug)]
pub struct Conn {
    /// Names it in log, API and metrics.
    pub id: Uuid,
    /// When it was accepted.
    pub created: WallClock,
    /// The client's address.
    pub remote: SocketAddr,
    /// RTSPS.
    pub encrypted: bool,
    /// The session that the connection set up.
    pub session: Mutex<Option<Uuid>>,
    /// Bytes read.
    pub inbound_bytes: Counter,
    /// Bytes written, media included.
    pub outbound_bytes: Counter,
}

/// The part of a session that changes.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// What it does.
    pub state: State,
    /// On which path.
    pub path: String,
    /// The query of its URL as sent; redact before showing.
    pub query: String,
    /// Who the client is, as the gate found out.
    pub user: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// `UDP`, `UDP-Multicast` or `TCP`; `None` before SETUP.
    pub transport: Option<&'static str>,
    /// `AVP` or `SAVP`; `None` before SETUP.
    pub profile: Option<&'static str>,
}

/// Counters of one session, by the names of the API.
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "each name is the API field's own")]
pub struct Traffic {
    pub inbound_bytes: Counter,
    pub inbound_rtp_packets: Counter,
    pub inbound_rtp_packets_lost: Counter,
    pub inbound_rtp_packets_in_error: Counter,
    /// RFC 3550 interarrival jitter, in microseconds, of the track where it is greatest.
    pub inbound_rtp_packets_jitter: Counter,
    pub inbound_rtcp_packets: Counter,
    pub inbound_rtcp_packets_in_error: Counter,
    pub outbound_bytes: Counter,
    pub outbound_rtp_packets: Counter,
    pub outbound_rtp_packets_reported_lost: Counter,
    pub outbound_rtp_packets_discarded: Counter,
    pub outbound_rtcp_packets: Counter,
}

/// One RTSP session.
#[derive(Debug)]
pub struct Session {
    /// Names it in log, API and metrics.
    pub id: Uuid,
    /// When it was set up.
    pub created: WallClock,
    /// The client's address.
    pub remote: SocketAddr,
    /// RTSPS.
    pub encrypted: bool,
    /// The connection that it belongs to.
    pub conn: Uuid,
    /// What changes.
    pub details: Mutex<Details>,
    /// What flowed.
    pub traffic: Traffic,
    /// What its connection is told.
    pub(super) orders: Arc<Orders>,
}

impl Item for Conn {
    fn id(&self) -> Uuid {
        self.id
    }
    fn created(&self) -> WallClock {
        self.created
    }
    fn encrypted(&self) -> bool {
        self.encrypted
    }
}

impl Item for Session {
    fn id(&self) -> Uuid {
        self.id
    }
    fn created(&self) -> WallClock {
        self.created
    }
    fn encrypted(&self) -> bool {
        self.encrypted
    }
}

/// All connections and sessions of the RTSP and RTSPS servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    conns: Table<Conn>,
    sessions: Table<Session>,
    refused: Refusals,
    rules: Rules,
}

impl Registry {
    /// Connections of one server, oldest first.
    pub fn conns(&self, encrypted: bool) -> Vec<Arc<Conn>> {
        self.0.conns.of(encrypted)
    }

    /// Sessions of one server, oldest first.
    pub fn sessions(&self, encrypted: bool) -> Vec<Arc<Session>> {
        self.0.sessions.of(encrypted)
    }

    /// The session with this id, of either server.
    pub fn session(&self, id: Uuid) -> Option<Arc<Session>> {
        self.0.sessions.find(id)
    }

    /// Ends a session, whether it reads or publishes; `false` when there is none with this id. `why` goes to the log.
    pub fn kick(&self, id: Uuid, why: &str) -> bool {
        self.session(id).is_some_and(|session| {
            session.orders.send_away(why);
            true
        })
    }

    /// The users of the configuration changed: every session that they let in asks the gate again, within a second. Needs
    /// a tokio runtime.
    pub fn rules_changed(&self) {
        self.0.rules.changed(self.0.sessions.all(), |session| &session.orders);
    }

    /// Counts the changes of the configuration's users.
    pub(super) fn rules(&self) -> u64 {
        self.0.rules.changes()
    }

    /// How many connections were closed for each reason that is the client's fault, since the start.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.0.refused.counts()
    }

    pub(crate) fn count_refused(&self, reason: &'static str) {
        self.0.refused.count(reason);
    }

    /// Lists a connection for as long as the guard lives.
    pub(crate) fn add_conn(&self, conn: Conn) -> Listed<Conn> {
        self.0.conns.add(conn)
    }

    /// Lists a session for as long as the guard lives.
    pub(crate) fn add_session(&self, session: Session) -> Listed<Session> {
        self.0.sessions.add(session)
    }
}

//! Every RTMP connection there is: for the API and the metrics, and to tell it something.

use std::{net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use uuid::Uuid;
use wasmtx_media::WallClock;

pub use crate::registry::{Counter, State};
use crate::registry::{Item, Refusals, Rules, Table};
pub(super) use crate::registry::{Listed, Orders};

/// One RTMP connection. It is its own session: it publishes or plays one stream at most.
#[derive(Debug)]
pub struct Conn {
    /// Names it in log, API and metrics.
    pub id: Uuid,
    /// When it was accepted.
    pub created: WallClock,
    /// The client's address; behind a trusted proxy, the one that the proxy says.
    pub remote: SocketAddr,
    /// RTMPS.
    pub encrypted: bool,
    /// What changes.
    pub details: Mutex<Details>,
    /// Bytes read.
    pub inbound_bytes: Counter,
    /// Bytes written.
    pub outbound_bytes: Counter,
    /// Frames that a reader missed because it was too slow.
    pub outbound_frames_discarded: Counter,
    /// What the connection is told.
    pub(super) orders: Orders,
}

/// The part of a connection that changes.
#[derive(Clone, Debug, Default)]
pub struct Details {
    /// What it does.
    pub state: State,
    /// On which path; empty before `publish` or `play`.
    pub path: String,
    /// The query of its URL as sent; redact before showing.
    pub query: String,
    /// Who the client is, as the gate found out.
    pub user: String,
    /// `flashVer` of its connect command.
    pub user_agent: String,
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

/// All connections of the RTMP and RTMPS servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    conns: Table<Conn>,
    refused: Refusals,
    rules: Rules,
}

impl Registry {
    /// Connections of one server, oldest first.
    pub fn conns(&self, encrypted: bool) -> Vec<Arc<Conn>> {
        self.0.conns.of(encrypted)
    }

    /// The connection with this id, of either server.
    pub fn conn(&self, id: Uuid) -> Option<Arc<Conn>> {
        self.0.conns.find(id)
    }

    /// Ends a connection, whatever it does; `false` when there is none with this id. `why` goes to the log.
    pub fn kick(&self, id: Uuid, why: &str) -> bool {
        self.conn(id).is_some_and(|conn| {
            conn.orders.send_away(why);
            true
        })
    }

    /// The users of the configuration changed: every connection that they let in asks the gate again, within a second.
    /// Needs a tokio runtime.
    pub fn rules_changed(&self) {
        self.0.rules.changed(self.0.conns.all(), |conn| &conn.orders);
    }

    /// Counts the changes of the configuration's users.
    pub(super) fn rules(&self) -> u64 {
        self.0.rules.changes()
    }

    /// How many connections were closed for each reason that is the client's fault, since the start.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.0.refused.counts()
    }

    pub(super) fn count_refused(&self, reason: &'static str) {
        self.0.refused.count(reason);
    }

    /// Lists a connection for as long as the guard lives.
    pub(super) fn add_conn(&self, conn: Conn) -> Listed<Conn> {
        self.0.conns.add(conn)
    }
}

//! Every HTTP-FLV and WebSocket-FLV player there is: for the API and the metrics, and to tell it something.

use std::{net::SocketAddr, sync::Arc};

use uuid::Uuid;
use wasmtx_media::WallClock;

pub use crate::registry::Counter;
pub(super) use crate::registry::{Listed, Orders};
use crate::{
    registry::{Item, Refusals, Rules, Table},
    tcp::Tally,
};

/// One player. Requests that play nothing are listed nowhere.
#[derive(Debug)]
pub struct Conn {
    /// Names it in log, API and metrics.
    pub id: Uuid,
    /// When it began to play.
    pub created: WallClock,
    /// The client's address; behind a trusted proxy, the one that the proxy says, with the proxy's port.
    pub remote: SocketAddr,
    /// Over TLS.
    pub encrypted: bool,
    /// Over a WebSocket.
    pub web_socket: bool,
    /// What it plays.
    pub path: String,
    /// The query of its URL as sent; redact before showing.
    pub query: String,
    /// Who the client is, as the gate found out.
    pub user: String,
    /// `User-Agent`.
    pub user_agent: String,
    /// Bytes read since it plays.
    pub inbound_bytes: Counter,
    /// Bytes written since it plays.
    pub outbound_bytes: Counter,
    /// Frames that it missed because it was too slow.
    pub outbound_frames_discarded: Counter,
    /// What it is told.
    pub(super) orders: Orders,
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

impl Tally for Conn {
    fn count_sent(&self, bytes: u64) {
        self.outbound_bytes.add(bytes);
    }

    fn count_discarded(&self, frames: u64) {
        self.outbound_frames_discarded.add(frames);
    }
}

/// All players. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    conns: Table<Conn>,
    refused: Refusals,
    rules: Rules,
}

impl Registry {
    /// Every player, oldest first.
    pub fn conns(&self) -> Vec<Arc<Conn>> {
        let mut conns = self.0.conns.all();
        conns.sort_by_key(|conn| (conn.created, conn.id));
        conns
    }

    /// The player with this id.
    pub fn conn(&self, id: Uuid) -> Option<Arc<Conn>> {
        self.0.conns.find(id)
    }

    /// Sends a player away; `false` when there is none with this id. `why` goes to the log.
    pub fn kick(&self, id: Uuid, why: &str) -> bool {
        self.conn(id).is_some_and(|conn| {
            conn.orders.send_away(why);
            true
        })
    }

    /// The users of the configuration changed: every player that they let in asks the gate again, within a second. Needs a
    /// tokio runtime.
    pub fn rules_changed(&self) {
        self.0.rules.changed(self.0.conns.all(), |conn| &conn.orders);
    }

    /// Counts the changes of the configuration's users.
    pub(super) fn rules(&self) -> u64 {
        self.0.rules.changes()
    }

    /// How many players were closed for each reason that is the client's fault, since the start.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.0.refused.counts()
    }

    pub(super) fn count_refused(&self, reason: &'static str) {
        self.0.refused.count(reason);
    }

    /// Lists a player for as long as the guard lives.
    pub(super) fn add(&self, conn: Conn) -> Listed<Conn> {
        self.0.conns.add(conn)
    }
}

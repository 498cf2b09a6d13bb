//! Every HTTP-FLV and WebSocket-FLV player there is: for the API and the metrics, and to tell it something.

use std::net::SocketAddr;

use uuid::Uuid;
use wasmtx_media::WallClock;

pub use crate::registry::Counter;
pub(super) use crate::registry::{Listed, Orders};
use crate::{
    registry::{Clients, Item, Told},
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

impl Told for Conn {
    fn orders(&self) -> &Orders {
        &self.orders
    }
}

/// All players.
pub type Registry = Clients<Conn>;

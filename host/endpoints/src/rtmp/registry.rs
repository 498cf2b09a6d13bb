//! Every RTMP connection there is: for the API and the metrics, and to tell it something.

use std::net::SocketAddr;

use parking_lot::Mutex;
use uuid::Uuid;
use wasmtx_media::WallClock;

use crate::registry::{Clients, Item, Told};
pub use crate::registry::{Counter, State};
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

impl Told for Conn {
    fn orders(&self) -> &Orders {
        &self.orders
    }
}

/// All connections of the RTMP and RTMPS servers.
pub type Registry = Clients<Conn>;

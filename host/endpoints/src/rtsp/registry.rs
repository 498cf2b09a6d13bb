//! Every RTSP connection and session there is: for the API and the metrics, and to tell them something.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::Poll,
    time::Duration,
};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use uuid::Uuid;
use wasmtx_media::WallClock;

/// A number that one task writes and others read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Replaces it.
    pub fn store(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn load(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

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

/// What a session does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Set up, not flowing.
    #[default]
    Idle,
    /// A reader.
    Read,
    /// A publisher.
    Publish,
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

/// What a connection is told from elsewhere.
#[derive(Debug, Default)]
pub(super) struct Orders {
    /// Why the connection must end.
    kicked: OnceLock<String>,
    bell: Notify,
}

impl Orders {
    /// Why the connection must end.
    pub(super) fn kicked(&self) -> Option<&str> {
        self.kicked.get().map(String::as_str)
    }

    /// Waits until the connection must end, and says why. Cancel safe.
    pub(super) async fn kick(&self) -> String {
        let mut bell = std::pin::pin!(self.bell.notified());
        std::future::poll_fn(|cx| {
            // Looked at first: another wait of the same task may have heard the bell.
            while self.kicked.get().is_none() {
                std::task::ready!(bell.as_mut().poll(cx));
                bell.set(self.bell.notified());
            }
            Poll::Ready(self.kicked.get().cloned().unwrap_or_default())
        })
        .await
    }

    /// Wakes the connection, that it looks around.
    pub(super) fn bell(&self) -> &Notify {
        &self.bell
    }
}

/// Letters of the reason for a kick.
const MAX_REASON: usize = 200;
/// Between two groups of sessions that are told of changed rules: they ask the gate one after the other, within
/// [`RULES_STEPS`] of these.
const RULES_STEP: Duration = Duration::from_millis(20);
/// Groups that all sessions are told in.
const RULES_STEPS: usize = 25;
/// The smallest of those groups.
const RULES_GROUP: usize = 64;

/// All connections and sessions of the RTSP and RTSPS servers. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Tables>);

#[derive(Debug, Default)]
struct Tables {
    conns: RwLock<BTreeMap<Uuid, Arc<Conn>>>,
    sessions: RwLock<BTreeMap<Uuid, Arc<Session>>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Counts the changes of the configuration's users.
    rules: AtomicU64,
}

impl Registry {
    /// Connections of one server, oldest first.
    pub fn conns(&self, encrypted: bool) -> Vec<Arc<Conn>> {
        let mut conns: Vec<_> = self
            .0
            .conns
            .read()
            .values()
            .filter(|conn| conn.encrypted == encrypted)
            .cloned()
            .collect();
        conns.sort_by_key(|conn| (conn.created, conn.id));
        conns
    }

    /// Sessions of one server, oldest first.
    pub fn sessions(&self, encrypted: bool) -> Vec<Arc<Session>> {
        let tables = self.0.sessions.read();
        let mut sessions: Vec<_> = tables
            .values()
            .filter(|session| session.encrypted == encrypted)
            .cloned()
            .collect();
        sessions.sort_by_key(|session| (session.created, session.id));
        sessions
    }

    /// The session with this id, of either server.
    pub fn session(&self, id: Uuid) -> Option<Arc<Session>> {
        self.0.sessions.read().get(&id).cloned()
    }

    /// Ends a session, whether it reads or publishes; `false` when there is none with this id. `why` goes to the log.
    pub fn kick(&self, id: Uuid, why: &str) -> bool {
        self.session(id).is_some_and(|session| {
            let why = why.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
            // The first reason stands.
            let _ = session.orders.kicked.set(why);
            session.orders.bell.notify_one();
            true
        })
    }

    /// The users of the configuration changed: every session that they let in asks the gate again, within a second. Needs
    /// a tokio runtime.
    pub fn rules_changed(&self) {
        self.0.rules.fetch_add(1, Ordering::Release);
        let sessions: Vec<_> = self.0.sessions.read().values().cloned().collect();
        tokio::spawn(async move {
            for group in sessions.chunks(RULES_GROUP.max(sessions.len().div_ceil(RULES_STEPS))) {
                group.iter().for_each(|session| session.orders.bell.notify_one());
                tokio::time::sleep(RULES_STEP).await;
            }
        });
    }

    /// Counts the changes of the configuration's users.
    pub(super) fn rules(&self) -> u64 {
        self.0.rules.load(Ordering::Acquire)
    }

    /// How many connections were closed for each reason that is the client's fault, since the start.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.0
            .refused
            .lock()
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect()
    }

    pub(crate) fn count_refused(&self, reason: &'static str) {
        *self.0.refused.lock().entry(reason).or_default() += 1;
    }

    /// Lists a connection for as long as the guard lives.
    pub(crate) fn add_conn(&self, conn: Conn) -> Listed<Conn> {
        let conn = Arc::new(conn);
        self.0.conns.write().insert(conn.id, conn.clone());
        Listed {
            registry: self.clone(),
            item: conn,
            remove: |registry, conn| drop(registry.0.conns.write().remove(&conn.id)),
        }
    }

    /// Lists a session for as long as the guard lives.
    pub(crate) fn add_session(&self, session: Session) -> Listed<Session> {
        let session = Arc::new(session);
        self.0.sessions.write().insert(session.id, session.clone());
        Listed {
            registry: self.clone(),
            item: session,
            remove: |registry, session| drop(registry.0.sessions.write().remove(&session.id)),
        }
    }
}

/// An item of the registry; dropping it takes it off the list.
#[derive(Debug)]
pub(crate) struct Listed<T> {
    registry: Registry,
    item: Arc<T>,
    remove: fn(&Registry, &T),
}

impl<T> std::ops::Deref for Listed<T> {
    type Target = Arc<T>;
    fn deref(&self) -> &Arc<T> {
        &self.item
    }
}

impl<T> Drop for Listed<T> {
    fn drop(&mut self) {
        (self.remove)(&self.registry, &self.item);
    }
}

//! What the lists of connections have in common, whatever protocol they are of: counters, who is there, and telling them
//! something.

use std::{
    collections::BTreeMap,
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

/// What a client does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There, and nothing flows.
    #[default]
    Idle,
    /// A reader.
    Read,
    /// A publisher.
    Publish,
}

/// What a connection is told from elsewhere.
#[derive(Debug, Default)]
pub struct Orders {
    /// Why the connection must end.
    kicked: OnceLock<String>,
    bell: Notify,
}

/// Letters of the reason for a kick.
const MAX_REASON: usize = 200;

impl Orders {
    /// Ends the connection; `why` goes to the log. The first reason stands.
    pub(crate) fn send_away(&self, why: &str) {
        let why = why.chars().filter(|c| !c.is_control()).take(MAX_REASON).collect();
        let _ = self.kicked.set(why);
        self.bell.notify_one();
    }

    /// Why the connection must end.
    pub(crate) fn kicked(&self) -> Option<&str> {
        self.kicked.get().map(String::as_str)
    }

    /// Waits until the connection must end, and says why. Cancel safe.
    pub(crate) async fn kick(&self) -> String {
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
    pub(crate) fn bell(&self) -> &Notify {
        &self.bell
    }
}

/// Something that a [`Table`] lists.
pub trait Item {
    /// Names it in log, API and metrics.
    fn id(&self) -> Uuid;
    /// When it came to be.
    fn created(&self) -> WallClock;
    /// Whether it belongs to the server with TLS.
    fn encrypted(&self) -> bool;
}

/// Somebody who is told something.
pub trait Told: Item + Send + Sync + 'static {
    /// What it is told.
    fn orders(&self) -> &Orders;
}

/// Those who are there, by id. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Table<T>(Arc<RwLock<BTreeMap<Uuid, Arc<T>>>>);

impl<T> Clone for Table<T> {
    fn clone(&self) -> Table<T> {
        Table(self.0.clone())
    }
}

impl<T> Default for Table<T> {
    fn default() -> Table<T> {
        Table(Arc::default())
    }
}

impl<T: Item> Table<T> {
    /// Lists an item for as long as the guard lives.
    pub(crate) fn add(&self, item: T) -> Listed<T> {
        let item = Arc::new(item);
        self.0.write().insert(item.id(), item.clone());
        Listed {
            table: self.clone(),
            item,
        }
    }

    /// One item.
    pub(crate) fn find(&self, id: Uuid) -> Option<Arc<T>> {
        self.0.read().get(&id).cloned()
    }

    /// Every item, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        let mut items: Vec<Arc<T>> = self.0.read().values().cloned().collect();
        items.sort_by_key(|item| (item.created(), item.id()));
        items
    }

    /// The items of one server, oldest first.
    pub(crate) fn of(&self, encrypted: bool) -> Vec<Arc<T>> {
        let mut items = self.all();
        items.retain(|item| item.encrypted() == encrypted);
        items
    }
}

/// An item of a table; dropping it takes it off the list.
#[derive(Debug)]
pub(crate) struct Listed<T: Item> {
    table: Table<T>,
    item: Arc<T>,
}

impl<T: Item> std::ops::Deref for Listed<T> {
    type Target = Arc<T>;
    fn deref(&self) -> &Arc<T> {
        &self.item
    }
}

impl<T: Item> Drop for Listed<T> {
    fn drop(&mut self) {
        self.table.0.write().remove(&self.item.id());
    }
}

/// Connections closed for a reason that is the client's fault, counted by the reason since the start.
#[derive(Debug, Default)]
pub(crate) struct Refusals(Mutex<BTreeMap<&'static str, u64>>);

impl Refusals {
    /// One more.
    pub(crate) fn count(&self, reason: &'static str) {
        *self.0.lock().entry(reason).or_default() += 1;
    }

    /// Each reason with its number.
    pub(crate) fn counts(&self) -> Vec<(&'static str, u64)> {
        let counts = self.0.lock();
        counts.iter().map(|(reason, count)| (*reason, *count)).collect()
    }
}

/// Between two groups of clients that are told of changed rules: they ask the gate one after the other, within
/// [`RULES_STEPS`] of these.
const RULES_STEP: Duration = Duration::from_millis(20);
/// Groups that all clients are told in.
const RULES_STEPS: usize = 25;
/// The smallest of those groups.
const RULES_GROUP: usize = 64;

/// Counts the changes of the configuration's users.
#[derive(Debug, Default)]
pub(crate) struct Rules(AtomicU64);

impl Rules {
    /// How often they changed so far.
    pub(crate) fn changes(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// They changed: everybody in `clients` is woken to ask the gate again, within a second. Needs a tokio runtime.
    pub(crate) fn changed<T: Send + Sync + 'static>(&self, clients: Vec<Arc<T>>, orders: fn(&T) -> &Orders) {
        self.0.fetch_add(1, Ordering::Release);
        tokio::spawn(async move {
            for group in clients.chunks(RULES_GROUP.max(clients.len().div_ceil(RULES_STEPS))) {
                group.iter().for_each(|client| orders(client).bell().notify_one());
                tokio::time::sleep(RULES_STEP).await;
            }
        });
    }
}

/// Everybody who is connected by one protocol, where a connection is one session. Cheap to clone.
#[derive(Debug)]
pub struct Clients<T>(Arc<Tables<T>>);

#[derive(Debug)]
struct Tables<T> {
    conns: Table<T>,
    refused: Refusals,
    rules: Rules,
}

impl<T> Clone for Clients<T> {
    fn clone(&self) -> Clients<T> {
        Clients(self.0.clone())
    }
}

impl<T> Default for Clients<T> {
    fn default() -> Clients<T> {
        Clients(Arc::new(Tables {
            conns: Table::default(),
            refused: Refusals::default(),
            rules: Rules::default(),
        }))
    }
}

impl<T: Told> Clients<T> {
    /// Every connection, oldest first.
    pub fn all(&self) -> Vec<Arc<T>> {
        self.0.conns.all()
    }

    /// Connections with TLS or without, oldest first.
    pub fn conns(&self, encrypted: bool) -> Vec<Arc<T>> {
        self.0.conns.of(encrypted)
    }

    /// The connection with this id.
    pub fn conn(&self, id: Uuid) -> Option<Arc<T>> {
        self.0.conns.find(id)
    }

    /// Ends a connection, whatever it does; `false` when there is none with this id. `why` goes to the log.
    pub fn kick(&self, id: Uuid, why: &str) -> bool {
        self.conn(id).is_some_and(|conn| {
            conn.orders().send_away(why);
            true
        })
    }

    /// The users of the configuration changed: every connection that they let in asks the gate again, within a second.
    /// Needs a tokio runtime.
    pub fn rules_changed(&self) {
        self.0.rules.changed(self.all(), T::orders);
    }

    /// How many connections were closed for each reason that is the client's fault, since the start.
    pub fn refused(&self) -> Vec<(&'static str, u64)> {
        self.0.refused.counts()
    }

    /// Counts the changes of the configuration's users.
    pub(crate) fn rules(&self) -> u64 {
        self.0.rules.changes()
    }

    pub(crate) fn count_refused(&self, reason: &'static str) {
        self.0.refused.count(reason);
    }

    /// Lists a connection for as long as the guard lives.
    pub(crate) fn add(&self, conn: T) -> Listed<T> {
        self.0.conns.add(conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Guest(Uuid, u64, bool);

    impl Item for Guest {
        fn id(&self) -> Uuid {
            self.0
        }
        fn created(&self) -> WallClock {
            WallClock(self.1)
        }
        fn encrypted(&self) -> bool {
            self.2
        }
    }

    #[test]
    fn who_is_there_is_listed_by_server_and_age_until_the_guard_goes() {
        let table = Table::default();
        let young = table.add(Guest(Uuid::from_u128(1), 20, false));
        let _old = table.add(Guest(Uuid::from_u128(2), 10, false));
        let _tls = table.add(Guest(Uuid::from_u128(3), 5, true));
        let ids = |encrypted| -> Vec<u128> { table.of(encrypted).iter().map(|guest| guest.0.as_u128()).collect() };
        assert_eq!(ids(false), [2, 1]);
        assert_eq!(ids(true), [3]);
        drop(young);
        assert_eq!(ids(false), [2]);
        assert!(table.find(Uuid::from_u128(1)).is_none());
    }

    #[tokio::test]
    async fn the_first_reason_of_a_kick_stands_and_holds_no_control_characters() {
        let orders = Orders::default();
        assert_eq!(orders.kicked(), None);
        orders.send_away("too\nloud");
        orders.send_away("again");
        assert_eq!(orders.kick().await, "tooloud");
        assert_eq!(orders.kicked(), Some("tooloud"));
    }
}

//! How much an HTTP client may take before anybody knows who it is.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bounds of one HTTP listener.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at once.
    pub connections: usize,
    /// Connections at once from one address, loopback excepted.
    pub connections_per_address: usize,
    /// Bytes of a request's line and headers.
    pub head: usize,
    /// Headers of a request.
    pub headers: usize,
    /// Time for a whole head, also the longest silence between two requests.
    pub head_time: Duration,
    /// Bytes of a request's body.
    pub body: u64,
    /// Time for a TLS handshake.
    pub tls_handshake: Duration,
    /// TLS handshakes at once.
    pub tls_handshakes: usize,
    /// Time without progress after which a client that does not read is closed.
    pub write_stall: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4_096,
            connections_per_address: 4_096,
            head: 16 << 10,
            headers: 64,
            head_time: Duration::from_secs(10),
            body: 10_000_000,
            tls_handshake: Duration::from_secs(5),
            tls_handshakes: 256,
            write_stall: Duration::from_secs(10),
        }
    }
}

/// How many connections a listener refused or closed, by reason. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Refused(pub(super) Arc<Admission>);

impl Refused {
    /// Reason and number, since the start.
    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        self.0
            .refused
            .lock()
            .iter()
            .map(|(reason, count)| (*reason, *count))
            .collect()
    }
}

/// Who is in, and who was not let in.
#[derive(Debug)]
pub(super) struct Admission {
    pub(super) limits: Limits,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, usize>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Admission {
    pub(super) fn new(limits: Limits) -> Arc<Admission> {
        Arc::new(Admission {
            connections: Arc::new(Semaphore::new(limits.connections)),
            handshakes: Arc::new(Semaphore::new(limits.tls_handshakes)),
            by_address: Mutex::default(),
            refused: Mutex::default(),
            limits,
        })
    }

    pub(super) fn count(&self, reason: &'static str) {
        *self.refused.lock().entry(reason).or_default() += 1;
    }

    /// A place for a connection, for as long as the slot lives.
    pub(super) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Slot> {
        let Ok(place) = self.connections.clone().try_acquire_owned() else {
            self.count("connections");
            return None;
        };
        if !address.is_loopback() {
            let mut by_address = self.by_address.lock();
            let count = by_address.entry(address).or_default();
            if *count >= self.limits.connections_per_address {
                drop(by_address);
                self.count("connections-per-address");
                return None;
            }
            *count += 1;
        }
        Some(Slot {
            admission: self.clone(),
            address,
            _place: place,
        })
    }

    /// A turn to shake hands; `None` when too many others do.
    pub(super) fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        let turn = self.handshakes.clone().try_acquire_owned().ok();
        if turn.is_none() {
            self.count("tls-handshakes");
        }
        turn
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(super) struct Slot {
    admission: Arc<Admission>,
    address: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Slot {
    pub(super) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    pub(super) fn address(&self) -> IpAddr {
        self.address
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.address.is_loopback() {
            return;
        }
        let mut by_address = self.admission.by_address.lock();
        if let Some(count) = by_address.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_no_more_places_than_it_may_and_gets_them_back() {
        let admission = Admission::new(Limits {
            connections_per_address: 2,
            ..Limits::default()
        });
        let address: IpAddr = "192.0.2.1".parse().unwrap();
        let first = admission.admit(address).unwrap();
        let _second = admission.admit(address).unwrap();
        assert!(admission.admit(address).is_none());
        assert!(admission.admit("192.0.2.2".parse().unwrap()).is_some());
        drop(first);
        assert!(admission.admit(address).is_some());
        assert_eq!(Refused(admission).counts(), [("connections-per-address", 1)]);
    }

    #[test]
    fn only_the_bound_of_the_listener_holds_for_loopback() {
        let admission = Admission::new(Limits {
            connections: 3,
            connections_per_address: 1,
            ..Limits::default()
        });
        let address: IpAddr = "::1".parse().unwrap();
        let slots: Vec<_> = (0..4).filter_map(|_| admission.admit(address)).collect();
        assert_eq!(slots.len(), 3);
        drop(slots);
        assert!(admission.by_address.lock().is_empty());
        assert_eq!(Refused(admission).counts(), [("connections", 1)]);
    }
}

//! How many connections a listener takes, in all and from one address.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of one listener. Those per address are not for loopback.
#[derive(Clone, Debug)]
pub(crate) struct Bounds {
    /// Connections at once.
    pub(crate) connections: usize,
    /// Connections at once from one address.
    pub(crate) per_address: usize,
    /// The same, before anybody knows who it is.
    pub(crate) per_stranger: usize,
    /// TLS handshakes at once.
    pub(crate) handshakes: usize,
}

/// Who is in.
#[derive(Debug)]
pub(crate) struct Admission {
    bounds: Bounds,
    connections: Arc<Semaphore>,
    handshakes: Arc<Semaphore>,
    by_address: Mutex<HashMap<IpAddr, Guests>>,
}

/// The connections of one address.
#[derive(Clone, Copy, Debug, Default)]
struct Guests {
    all: usize,
    strangers: usize,
}

impl Admission {
    pub(crate) fn new(bounds: Bounds) -> Arc<Admission> {
        Arc::new(Admission {
            connections: Arc::new(Semaphore::new(bounds.connections.min(Semaphore::MAX_PERMITS))),
            handshakes: Arc::new(Semaphore::new(bounds.handshakes.min(Semaphore::MAX_PERMITS))),
            by_address: Mutex::default(),
            bounds,
        })
    }

    /// A place for a connection, for as long as the slot lives; else why not, as a label.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let place = self
            .connections
            .clone()
            .try_acquire_owned()
            .map_err(|_| "connections")?;
        self.add(address)?;
        Ok(Slot {
            admission: self.clone(),
            address,
            counted: true,
            stranger: true,
            _place: place,
        })
    }

    /// The same for a proxy, which comes for many: nothing is counted before [`Slot::name`].
    pub(crate) fn admit_proxy(self: &Arc<Self>, address: IpAddr) -> Result<Slot, &'static str> {
        let place = self
            .connections
            .clone()
            .try_acquire_owned()
            .map_err(|_| "connections")?;
        Ok(Slot {
            admission: self.clone(),
            address,
            counted: false,
            stranger: true,
            _place: place,
        })
    }

    /// Counts a stranger.
    fn add(&self, address: IpAddr) -> Result<(), &'static str> {
        if address.is_loopback() {
            return Ok(());
        }
        let mut by_address = self.by_address.lock();
        let known = by_address.get(&address).copied().unwrap_or_default();
        if known.all >= self.bounds.per_address {
            return Err("connections-per-address");
        }
        if known.strangers >= self.bounds.per_stranger {
            return Err("connections-before-login");
        }
        let guests = by_address.entry(address).or_default();
        guests.all += 1;
        guests.strangers += 1;
        Ok(())
    }

    /// A turn to shake hands; `None` when too many others do.
    pub(crate) fn handshake(&self) -> Option<OwnedSemaphorePermit> {
        self.handshakes.clone().try_acquire_owned().ok()
    }
}

/// The place of one connection.
#[derive(Debug)]
pub(crate) struct Slot {
    admission: Arc<Admission>,
    address: IpAddr,
    /// A proxy's is not before it named a client.
    counted: bool,
    stranger: bool,
    _place: OwnedSemaphorePermit,
}

impl Slot {
    pub(crate) fn admission(&self) -> &Arc<Admission> {
        &self.admission
    }

    /// The client that a proxy speaks for: from now on the place is that client's.
    pub(crate) fn name(&mut self, address: IpAddr) -> Result<(), &'static str> {
        self.admission.add(address)?;
        self.address = address;
        self.counted = true;
        Ok(())
    }

    pub(crate) fn address(&self) -> IpAddr {
        self.address
    }

    /// The gate has let this client in: it no longer counts as a stranger.
    pub(crate) fn welcome(&mut self) {
        if std::mem::replace(&mut self.stranger, false) {
            self.change(|guests| guests.strangers -= 1);
        }
    }

    fn change(&self, change: impl FnOnce(&mut Guests)) {
        if self.address.is_loopback() || !self.counted {
            return;
        }
        let mut by_address = self.admission.by_address.lock();
        if let Some(guests) = by_address.get_mut(&self.address) {
            change(guests);
            if guests.all == 0 {
                by_address.remove(&self.address);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.welcome();
        self.change(|guests| guests.all -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bounds() -> Bounds {
        Bounds {
            connections: 100,
            per_address: 100,
            per_stranger: 100,
            handshakes: 1,
        }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_no_more_places_than_it_may_and_gets_them_back() {
        let admission = Admission::new(Bounds {
            per_address: 2,
            ..bounds()
        });
        let first = admission.admit(address("192.0.2.1")).unwrap();
        let _second = admission.admit(address("192.0.2.1")).unwrap();
        assert_eq!(
            admission.admit(address("192.0.2.1")).unwrap_err(),
            "connections-per-address"
        );
        assert!(admission.admit(address("192.0.2.2")).is_ok());
        drop(first);
        assert!(admission.admit(address("192.0.2.1")).is_ok());
    }

    #[test]
    fn strangers_have_fewer_places_than_those_who_were_let_in() {
        let admission = Admission::new(Bounds {
            per_stranger: 1,
            ..bounds()
        });
        let mut first = admission.admit(address("192.0.2.1")).unwrap();
        assert_eq!(
            admission.admit(address("192.0.2.1")).unwrap_err(),
            "connections-before-login"
        );
        first.welcome();
        first.welcome();
        let second = admission.admit(address("192.0.2.1")).unwrap();
        drop((first, second));
        assert!(admission.by_address.lock().is_empty());
    }

    #[test]
    fn a_proxys_places_are_those_of_the_clients_it_names() {
        let admission = Admission::new(Bounds {
            per_address: 1,
            ..bounds()
        });
        let mut slots: Vec<_> = (0..3)
            .map(|_| admission.admit_proxy(address("10.0.0.1")).unwrap())
            .collect();
        assert_eq!(slots[0].name(address("192.0.2.1")), Ok(()));
        assert_eq!(slots[1].name(address("192.0.2.1")), Err("connections-per-address"));
        assert_eq!(slots[2].name(address("192.0.2.2")), Ok(()));
        drop(slots);
        assert!(admission.by_address.lock().is_empty());
    }

    #[test]
    fn only_the_bound_of_the_listener_holds_for_loopback() {
        let admission = Admission::new(Bounds {
            connections: 3,
            per_address: 1,
            per_stranger: 1,
            handshakes: 1,
        });
        let slots: Vec<_> = (0..4).filter_map(|_| admission.admit(address("::1")).ok()).collect();
        assert_eq!(slots.len(), 3);
        assert_eq!(admission.admit(address("::1")).unwrap_err(), "connections");
        drop(slots);
        assert!(admission.by_address.lock().is_empty());
    }
}

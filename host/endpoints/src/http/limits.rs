//! How much an HTTP client may take before anybody knows who it is.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::admission::{Admission, Bounds};

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
pub struct Refused(pub(super) Arc<Shared>);

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

/// What the connections of a listener share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) limits: Limits,
    pub(super) admission: Arc<Admission>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
}

impl Shared {
    pub(super) fn new(limits: Limits) -> Arc<Shared> {
        let bounds = Bounds {
            connections: limits.connections,
            per_address: limits.connections_per_address,
            // A request is allowed or refused at once; nobody stays a stranger for long.
            per_stranger: limits.connections_per_address,
            handshakes: limits.tls_handshakes,
        };
        Arc::new(Shared {
            admission: Admission::new(bounds),
            refused: Mutex::default(),
            limits,
        })
    }

    pub(super) fn count(&self, reason: &'static str) {
        *self.refused.lock().entry(reason).or_default() += 1;
    }
}

//! HTTP-FLV and WebSocket-FLV: `/<path>.flv` of an HTTP listener, to players that take one endless answer.
//!
//! A request is judged as every HTTP request is (`request`). Then its connection is taken over (`player`): the bytes are the
//! same for all who play a path, and a crew writes them to sockets, not a thousand answers of an HTTP library.

mod form;
mod player;
mod registry;
mod request;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{Router, routing::any};
use ipnet::IpNet;
use wasmtx_hub::{Gate, Hub};

pub use registry::{Conn, Counter, Registry};

/// What may change while players are there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Settings {
    /// Web pages that may play: origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Proxies whose word on the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
    /// A player that takes nothing for this long is closed.
    pub write_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            allow_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            write_timeout: Duration::from_secs(10),
        }
    }
}

/// The routes of HTTP-FLV. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    hub: Hub,
    gate: Arc<dyn Gate>,
    registry: Registry,
    settings: ArcSwap<Settings>,
}

impl Service {
    /// Plays the paths of `hub` to whom `gate` lets in.
    pub fn new(settings: Settings, hub: Hub, gate: Arc<dyn Gate>, registry: Registry) -> Service {
        Service(Arc::new(Shared {
            hub,
            gate,
            registry,
            settings: ArcSwap::from_pointee(settings),
        }))
    }

    /// Puts other settings in force, for the requests and players to come.
    pub fn configure(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// For an HTTP listener of ours: only those let go of a connection.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/{*name}", any(request::answer))
            .with_state(self.0.clone())
    }
}

#[cfg(test)]
mod tests;

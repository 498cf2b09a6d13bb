//! An HTTP server at work.

use axum::Router;
use tokio::{sync::watch, task::JoinSet};
use wasmtx_endpoints::http;

use crate::server::Listener;

/// Serving; dropped, it stops.
pub(super) struct Serving {
    listener: Listener,
    refused: http::Refused,
    stop: watch::Sender<bool>,
    server: JoinSet<()>,
}

impl Serving {
    /// Serves what was bound for a key of mediamtx.yml.
    pub(super) fn start(key: &'static str, bound: http::Server, routes: Router) -> Serving {
        let address = bound.local_address();
        let refused = bound.refused();
        let (stop, stopped) = watch::channel(false);
        let mut server = JoinSet::new();
        server.spawn(bound.serve(routes, stopped));
        Serving {
            listener: Listener { key, address },
            refused,
            stop,
            server,
        }
    }

    /// Where it listens.
    pub(super) fn listener(&self) -> Listener {
        self.listener.clone()
    }

    /// Counts what it refused.
    pub(super) fn refused(&self) -> http::Refused {
        self.refused.clone()
    }

    /// Cuts off who is served and stops.
    pub(super) async fn close(mut self) {
        self.stop.send_replace(true);
        while self.server.join_next().await.is_some() {}
    }
}

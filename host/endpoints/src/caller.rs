//! Whoever is at the other end of a connection asks the gate to be let in.

use std::{net::SocketAddr, sync::Arc};

use uuid::Uuid;
use wasmtx_hub::{Access, Client, Decision, Denial, Event, Gate, Hub, Permit, Protocol};

/// The other end of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    pub(crate) protocol: Protocol,
    /// For the log: `RTSP`, `RTMP` and so on.
    pub(crate) name: &'static str,
    pub(crate) conn: Uuid,
    pub(crate) remote: SocketAddr,
}

impl Caller {
    /// The client that it is, before anybody knows who.
    pub(crate) fn client(&self, id: Uuid, agent: Option<String>, query: String) -> Client {
        Client {
            id,
            protocol: self.protocol,
            address: self.remote.ip(),
            agent,
            query,
            identity: None,
            tags: Vec::new(),
            extra: vec![("port".to_owned(), self.remote.port().to_string())],
        }
    }

    /// Asks the gate. Whoever is let in is known by name in `access` afterwards; a refusal is logged and told, unless
    /// it only asks for credentials of somebody who showed none.
    pub(crate) async fn ask(self, hub: &Hub, gate: &dyn Gate, access: &mut Access) -> Result<Permit, Denial> {
        match gate.check(access).await {
            Decision::Allow(permit) => {
                access.client = Arc::new(Client {
                    identity: permit.identity.clone(),
                    tags: permit.tags.clone(),
                    ..Client::clone(&access.client)
                });
                Ok(permit)
            }
            Decision::Deny(denial) => {
                if access.proof.is_some() || denial != Denial::Credentials {
                    let path = access.path.as_ref().map_or("", |path| path.as_str());
                    tracing::warn!(conn = %self.conn, remote = %self.remote, path, code = "denied", ?denial, "[{}] access refused", self.name);
                    hub.events().emit(|| Event::Refused {
                        path: access.path.clone(),
                        client: access.client.clone(),
                    });
                }
                Err(denial)
            }
        }
    }
}

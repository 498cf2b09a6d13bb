//! Somebody who asks for a path over HTTP: who it is, whether the gate lets them in, and how they are told if not.

use std::{net::IpAddr, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use ipnet::IpNet;
use uuid::Uuid;
use wasmtx_hub::{Access, Action, Client, Decision, Denial, Event, Events, Gate, PathName, Permit, Proof, Protocol};

use super::{Credentials, Page, Peer, client_address};

/// Says who is asked for a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"wasmtx\"");
/// Seconds after which a blocked address may have one more try.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("6");

/// An answer that is all there is.
pub(crate) type Refusal = Box<Response>;

/// Who sends a request.
pub(crate) struct Visitor {
    /// Where they come from, when trusted proxies are believed.
    pub(crate) address: IpAddr,
    client: Client,
    encrypted: bool,
    proof: Arc<Credentials>,
}

impl Visitor {
    /// Reads a request's head. What the client shows is a header, or what the query says as that of an RTMP URL does.
    pub(crate) fn of(protocol: Protocol, parts: &Parts, peer: Peer, proxies: &[IpNet]) -> Visitor {
        let address = client_address(peer.address, &parts.headers, proxies);
        let query = parts.uri.query().unwrap_or_default();
        let agent = parts.headers.get(header::USER_AGENT);
        Visitor {
            address,
            client: Client {
                id: Uuid::new_v4(),
                protocol,
                address,
                agent: agent.and_then(|agent| agent.to_str().ok()).map(str::to_owned),
                query: query.to_owned(),
                identity: None,
                tags: Vec::new(),
                extra: vec![("port".to_owned(), peer.port.to_string())],
            },
            encrypted: peer.encrypted,
            proof: Arc::new(Credentials::of_player(&parts.headers, query)),
        }
    }

    /// Asks the gate; what it answers goes with the question, in which the client is known by now. `who` is the word in
    /// brackets of the log's line about a refusal.
    pub(crate) async fn ask(
        self,
        action: Action,
        path: &PathName,
        gate: &dyn Gate,
        events: &Events,
        who: &str,
    ) -> Result<(Access, Permit), Refusal> {
        let mut access = Access {
            action,
            path: Some(path.clone()),
            client: Arc::new(self.client),
            encrypted: self.encrypted,
            proof: self.proof.clone(),
        };
        match gate.check(&access).await {
            Decision::Allow(permit) => {
                access.client = Arc::new(Client {
                    identity: permit.identity.clone(),
                    tags: permit.tags.clone(),
                    ..Arc::unwrap_or_clone(access.client)
                });
                Ok((access, permit))
            }
            Decision::Deny(denial) => {
                if self.proof.is_some() || denial != Denial::Credentials {
                    tracing::warn!(remote = %self.address, %path, code = "denied", ?denial, "[{who}] access refused");
                    let (path, client) = (Some(path.clone()), access.client);
                    events.emit(|| Event::Refused { path, client });
                }
                Err(denied(denial))
            }
        }
    }
}

/// Tells the browser whether its page may have the answer.
pub(crate) fn share(page: &Page, headers: &mut HeaderMap) {
    if let Some(allowed) = page.header() {
        if allowed != "*" {
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_CREDENTIALS,
                HeaderValue::from_static("true"),
            );
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
}

/// Browsers ask before they send credentials.
pub(crate) fn preflight() -> Refusal {
    let answers = [
        (header::ACCESS_CONTROL_ALLOW_METHODS, "OPTIONS, GET, HEAD"),
        (header::ACCESS_CONTROL_ALLOW_HEADERS, "Authorization, Range"),
    ];
    (StatusCode::NO_CONTENT, answers).into_response().into()
}

/// A refusal in plain words.
pub(crate) fn refuse(status: StatusCode, words: impl Into<String>) -> Refusal {
    let headers = [(header::CACHE_CONTROL, "no-store")];
    (status, headers, words.into()).into_response().into()
}

/// A refusal of what nobody can have just now.
pub(crate) fn later(status: StatusCode, words: impl Into<String>) -> Refusal {
    let mut refusal = refuse(status, words);
    refusal.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
    refusal
}

fn denied(denial: Denial) -> Refusal {
    match denial {
        Denial::Credentials => {
            let mut refusal = refuse(StatusCode::UNAUTHORIZED, "authentication error");
            refusal.headers_mut().insert(header::WWW_AUTHENTICATE, CHALLENGE);
            refusal
        }
        Denial::NotAllowed => refuse(StatusCode::FORBIDDEN, "permission denied"),
        Denial::NotFound => refuse(StatusCode::NOT_FOUND, "not found"),
        Denial::TooMany => later(StatusCode::TOO_MANY_REQUESTS, "too many failed logins"),
        Denial::Later => later(StatusCode::SERVICE_UNAVAILABLE, "authentication is not available now"),
    }
}

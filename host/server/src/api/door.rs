//! What every request to the API and the metrics passes first: where it really comes from, which web page sent it, and
//! whether the gate lets it in.
//!
//! A browser runs the scripts of any page with the network access of whoever looks at it, so a server that trusts
//! addresses must ask which page is asking (threat T46). Programs send no `Origin` and notice nothing.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderValue, Method, StatusCode, Uri, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use ipnet::IpNet;
use uuid::Uuid;
use wasmtx_endpoints::http::{Credentials, Page, Peer, client_address};
use wasmtx_hub::{Access, Action, Client, Decision, Denial, Gate, Protocol};

use super::{Current, answer::Error};
use crate::config::Global;

/// Says who is asked for a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"wasmtx\"");
/// Seconds after which a blocked address may have one more try.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("6");

/// The way into one HTTP server.
pub(crate) struct Door {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) config: Current,
    /// The permission that a request needs.
    pub(crate) action: fn(&Method, &Uri) -> Action,
    /// `…AllowOrigins` and `…TrustedProxies` of this server.
    pub(crate) settings: fn(&Global) -> (&[String], &[IpNet]),
    /// Methods that some route has, for browsers that ask before.
    pub(crate) methods: &'static str,
}

/// The middleware.
pub(crate) async fn enter(State(door): State<Arc<Door>>, request: Request, next: Next) -> Response {
    let config = (door.config)();
    let (origins, proxies) = (door.settings)(&config.global);
    let page = Page::of(request.headers(), origins);
    let mut response = match door.question(&request, &page, proxies) {
        Ok(access) => match door.gate.check(&access).await {
            Decision::Allow(_) => next.run(request).await,
            Decision::Deny(denial) => refusal(denial),
        },
        Err(response) => *response,
    };
    if let Some(allowed) = page.header() {
        let headers = response.headers_mut();
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        headers.append(header::VARY, HeaderValue::from_static("origin"));
    }
    response
}

impl Door {
    /// What to ask the gate, or the answer when it need not be asked.
    fn question(&self, request: &Request, page: &Page, proxies: &[IpNet]) -> Result<Access, Box<Response>> {
        let headers = request.headers();
        if request.method() == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(self.preflight(page).into());
        }
        let reads = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
        let proves = headers.contains_key(header::AUTHORIZATION);
        let fits = match page {
            Page::None | Page::Known(_) => true,
            Page::Any => reads && !proves,
            // The browser hides the answer from the page; what must not happen is a change.
            Page::Foreign => reads,
        };
        if !fits {
            let refused = Error(StatusCode::FORBIDDEN, "this origin is not listed by name");
            return Err(refused.into_response().into());
        }
        Ok(self.access(request, proxies))
    }

    fn preflight(&self, page: &Page) -> Response {
        let (methods, headers) = match page {
            Page::None | Page::Known(_) => (self.methods, "Authorization, Content-Type"),
            Page::Any => ("OPTIONS, GET", ""),
            Page::Foreign => return StatusCode::NO_CONTENT.into_response(),
        };
        let answers = [
            (header::ACCESS_CONTROL_ALLOW_METHODS, methods),
            (header::ACCESS_CONTROL_ALLOW_HEADERS, headers),
        ];
        (StatusCode::NO_CONTENT, answers).into_response()
    }

    fn access(&self, request: &Request, proxies: &[IpNet]) -> Access {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>().copied();
        // Without a peer, which no listener of ours forgets, nobody's rights are the right ones.
        let nobody = Peer {
            address: IpAddr::from([0, 0, 0, 0]),
            port: 0,
            encrypted: false,
        };
        let Peer { address, encrypted, .. } = peer.unwrap_or(nobody);
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let client = Client {
            id: Uuid::new_v4(),
            protocol: Protocol::Api,
            address: client_address(address, headers, proxies),
            agent: text(header::USER_AGENT).map(str::to_owned),
            query: request.uri().query().unwrap_or_default().to_owned(),
            identity: None,
            tags: Vec::new(),
            extra: Vec::new(),
        };
        Access {
            action: (self.action)(request.method(), request.uri()),
            path: None,
            client: Arc::new(client),
            encrypted,
            proof: Arc::new(Credentials::of(headers)),
        }
    }
}

fn refusal(denial: Denial) -> Response {
    match denial {
        Denial::Credentials => {
            let error = Error(StatusCode::UNAUTHORIZED, "authentication error");
            ([(header::WWW_AUTHENTICATE, CHALLENGE)], error).into_response()
        }
        Denial::NotAllowed => Error(StatusCode::FORBIDDEN, "permission denied").into_response(),
        Denial::NotFound => Error(StatusCode::NOT_FOUND, "not found").into_response(),
        Denial::TooMany => {
            let error = Error(StatusCode::TOO_MANY_REQUESTS, "too many failed logins");
            ([(header::RETRY_AFTER, RETRY_AFTER)], error).into_response()
        }
        Denial::Later => {
            let error = Error(StatusCode::SERVICE_UNAVAILABLE, "authentication is not available now");
            ([(header::RETRY_AFTER, RETRY_AFTER)], error).into_response()
        }
    }
}

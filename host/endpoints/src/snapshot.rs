//! Snapshots: `/snapshot/<path>.jpg` of an HTTP listener is the newest keyframe of what is published there, as JPEG.
//!
//! A request is judged here, what it gets comes from the [`Gallery`], which all listeners share: a keyframe is decoded once,
//! however many ask for it.

mod gallery;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::{
    Extension, Router,
    extract::{Path, Request, State},
    http::{HeaderValue, Method, StatusCode, header, request::Parts},
    middleware,
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use ipnet::IpNet;
use tower_service::Service as _;
use wasmtx_hub::{Action, Gate, Hub, PathName, Protocol};

pub use self::gallery::{Gallery, NoSnapshot};
use crate::{
    codec::NoPicture,
    http::{self, Page, Refusal, Visitor, later, preflight, refuse, share},
};

const PREFIX: &str = "/snapshot/";
const SUFFIX: &str = ".jpg";
const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD");
const JPEG: HeaderValue = HeaderValue::from_static("image/jpeg");
/// The next one may be there in a moment.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// Pixels in a row that may be asked for.
const WIDTHS: std::ops::RangeInclusive<u16> = 16..=8_192;

/// What may change while requests are answered.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Web pages that may look: origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Proxies whose word on the client's address counts.
    pub trusted_proxies: Vec<IpNet>,
}

/// The snapshots of one listener. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    hub: Hub,
    gate: Arc<dyn Gate>,
    gallery: Gallery,
    protocol: Protocol,
    settings: ArcSwap<Settings>,
}

impl Service {
    /// Shows the paths of `hub` to whom `gate` lets read them; `protocol` is what the gate is told that they speak.
    pub fn new(settings: Settings, protocol: Protocol, hub: Hub, gate: Arc<dyn Gate>, gallery: Gallery) -> Service {
        Service(Arc::new(Shared {
            hub,
            gate,
            gallery,
            protocol,
            settings: ArcSwap::from_pointee(settings),
        }))
    }

    /// Puts other settings in force, for the requests to come.
    pub fn configure(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// Answers requests for snapshots and leaves the others to `router`, whatever its routes are.
    pub fn in_front_of(&self, router: Router) -> Router {
        let ours: Router = Router::new()
            .route("/snapshot/{*name}", any(answer))
            .with_state(self.0.clone());
        router.layer(middleware::from_fn(move |request: Request, next: middleware::Next| {
            let mut ours = ours.clone();
            async move {
                let path = request.uri().path();
                if path.starts_with(PREFIX) && path.ends_with(SUFFIX) {
                    match ours.call(request).await {
                        Ok(response) => response,
                        Err(never) => match never {},
                    }
                } else {
                    next.run(request).await
                }
            }
        }))
    }
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<http::Peer>,
    Path(names): Path<Vec<(String, String)>>,
    request: Request,
) -> Response {
    // What the routes behind called it comes first.
    let (_, name) = names.into_iter().next_back().unwrap_or_default();
    let settings = shared.settings.load_full();
    let page = Page::of(request.headers(), &settings.allow_origins);
    let (parts, _) = request.into_parts();
    let looked = shared.look(&name, &parts, peer, &settings).await;
    let mut response = looked.map_or_else(|refusal| *refusal, IntoResponse::into_response);
    share(&page, response.headers_mut());
    response
}

impl Shared {
    async fn look(
        &self,
        name: &str,
        parts: &Parts,
        peer: http::Peer,
        settings: &Settings,
    ) -> Result<impl IntoResponse + use<>, Refusal> {
        if parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(preflight());
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            refusal.headers_mut().insert(header::ALLOW, METHODS);
            return Err(refusal);
        }
        let name = name.strip_suffix(SUFFIX).unwrap_or(name);
        let path = PathName::new(name).map_err(|_| refuse(StatusCode::NOT_FOUND, "not found"))?;
        let visitor = Visitor::of(self.protocol, parts, peer, &settings.trusted_proxies);
        let events = self.hub.events();
        let asked = visitor.ask(Action::Read, &path, &*self.gate, events, "snapshot");
        let (_, permit) = asked.await?;
        // Only who may read learns what is wrong with the question.
        let width = width(parts.uri.query().unwrap_or_default())?;
        let path = permit.path.unwrap_or(path);
        let jpeg = self.gallery.snapshot(&self.hub, &path, width).await;
        let jpeg: Bytes = jpeg.map_err(|why| refusal(&why))?;
        Ok(([(header::CONTENT_TYPE, JPEG), (header::CACHE_CONTROL, NOT_KEPT)], jpeg))
    }
}

/// What the query asks for; 0 when it does not.
fn width(query: &str) -> Result<u16, Refusal> {
    let Some(asked) = query.split('&').find_map(|pair| pair.strip_prefix("width=")) else {
        return Ok(0);
    };
    let width = asked.parse().ok().filter(|width| WIDTHS.contains(width));
    width.ok_or_else(|| {
        let words = format!("width is a number from {} to {}", WIDTHS.start(), WIDTHS.end());
        refuse(StatusCode::BAD_REQUEST, words)
    })
}

fn refusal(why: &NoSnapshot) -> Refusal {
    let words = why.to_string();
    match why {
        NoSnapshot::Offline | NoSnapshot::NoVideo(_) => refuse(StatusCode::NOT_FOUND, words),
        NoSnapshot::NotBuilt | NoSnapshot::Picture(NoPicture::Missing(_) | NoPicture::Codec(_)) => {
            refuse(StatusCode::NOT_IMPLEMENTED, words)
        }
        NoSnapshot::TooLate | NoSnapshot::Picture(_) => later(StatusCode::SERVICE_UNAVAILABLE, words),
    }
}

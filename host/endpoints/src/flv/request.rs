//! A request for a path: which page sends it, who the client is, what there is to play, and how the answer begins.

use std::{sync::Arc, time::Instant};

use axum::{
    Extension,
    body::{Body, HttpBody},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use tungstenite::handshake::derive_accept_key;
use wasmtx_hub::{Action, PathName, Peer, Protocol, ReadError, Reader};
use wasmtx_protocol::flv::{Capabilities, Choice};

use super::{
    Settings, Shared,
    form::FlvForm,
    player::{Player, Visit},
    registry::{Conn, Orders},
};
use crate::{
    http::{self, Page, Refusal, Takeover, Visitor, preflight, refuse, share},
    permission::{Permission, Question},
    tcp::Follower,
    wall_clock,
};

const SUFFIX: &str = ".flv";
/// How the API names a player among the readers of a path.
const KIND: &str = "flvConn";
const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD");
/// The version of RFC 6455.
const WEB_SOCKET_VERSION: HeaderValue = HeaderValue::from_static("13");
/// Bytes of `Sec-WebSocket-Key`, decoded.
const KEY_LEN: usize = 16;

/// Answers a request, or takes its connection over to play.
pub(super) async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<http::Peer>,
    Extension(takeover): Extension<Takeover>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let settings = shared.settings.load_full();
    let page = Page::of(request.headers(), &settings.allow_origins);
    let (parts, body) = request.into_parts();
    let asked = Asked {
        shared: &shared,
        settings: &settings,
        peer,
        page: &page,
        parts: &parts,
        has_body: !body.is_end_stream(),
    };
    let mut response = match asked.judge(&name).await {
        Err(refusal) => *refusal,
        Ok(reading) => {
            let mut head = reading.head;
            share(&page, head.headers_mut());
            if parts.method == Method::HEAD {
                return head.map(|()| Body::empty());
            }
            let (player, head) = (reading.player, http::spell(&head));
            let never = takeover.take(move |taken| player.run(head, taken));
            match never.await {}
        }
    };
    share(&page, response.headers_mut());
    response
}

/// A request, and what is known about who sends it.
struct Asked<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    peer: http::Peer,
    page: &'a Page,
    parts: &'a Parts,
    has_body: bool,
}

/// Whoever asks may have it.
struct Reading {
    player: Player,
    head: Response<()>,
}

impl Asked<'_> {
    async fn judge(&self, name: &str) -> Result<Reading, Refusal> {
        let headers = &self.parts.headers;
        if self.parts.method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(preflight());
        }
        if !name.ends_with(SUFFIX) {
            return Err(refuse(StatusCode::NOT_FOUND, "not found"));
        }
        if self.parts.method != Method::GET && self.parts.method != Method::HEAD {
            let mut refusal = refuse(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            refusal.headers_mut().insert(header::ALLOW, METHODS);
            return Err(refusal);
        }
        if self.has_body {
            return Err(refuse(StatusCode::BAD_REQUEST, "a request to play has no body"));
        }
        let (head, web_socket) = match web_socket_key(self.parts)? {
            // A browser keeps nobody's page from opening a WebSocket: that is for the server to do.
            Some(_) if *self.page == Page::Foreign => {
                return Err(refuse(StatusCode::FORBIDDEN, "this origin is not listed"));
            }
            Some(key) => (switching(&key, headers), true),
            None => (flowing(), false),
        };
        let player = self.read(name, web_socket).await?;
        Ok(Reading { player, head })
    }

    /// The path that a name means: the one that is published under it, else the one before the suffix.
    fn path(&self, name: &str) -> Result<PathName, Refusal> {
        let not_found = |_| refuse(StatusCode::NOT_FOUND, "not found");
        let whole = PathName::new(name).map_err(not_found)?;
        let is_published = |path: Arc<wasmtx_hub::Path>| path.publication().is_some();
        if self.shared.hub.path(&whole).is_some_and(is_published) {
            return Ok(whole);
        }
        PathName::new(name.strip_suffix(SUFFIX).unwrap_or(name)).map_err(not_found)
    }

    /// Asks the gate, then the hub.
    async fn read(&self, name: &str, web_socket: bool) -> Result<Player, Refusal> {
        let shared = self.shared;
        let path = self.path(name)?;
        let visitor = Visitor::of(Protocol::Flv, self.parts, self.peer, &self.settings.trusted_proxies);
        let address = visitor.address;
        // Read before the gate is asked: what changes meanwhile makes it be asked again.
        let rules = shared.registry.rules();
        let (permission, path) = self.allow(visitor, path, rules).await?;
        let client = permission.access().client.clone();
        let id = client.id;
        let visit = Visit::new(&shared.hub, client.clone());
        let peer = Peer { kind: KIND, id };
        let read = shared.hub.read(Instant::now(), &path, peer, client.clone()).await;
        let reader = read.map_err(|error| self.refuse_reading(&path, &error))?;
        let (reader, choice) = choose(reader)?;
        let conn = Conn {
            id,
            created: wall_clock(),
            remote: (address, self.peer.port).into(),
            encrypted: self.peer.encrypted,
            web_socket,
            path: path.to_string(),
            query: client.query.clone(),
            user: client.identity.clone().unwrap_or_default(),
            user_agent: client.agent.clone().unwrap_or_default(),
            inbound_bytes: Default::default(),
            outbound_bytes: Default::default(),
            outbound_frames_discarded: Default::default(),
            orders: Orders::default(),
        };
        let variant = FlvForm::variant(&choice, web_socket);
        let lane = reader
            .publication()
            .lane_of(variant, |_| FlvForm::new(&choice, web_socket));
        let conn = shared.registry.add(conn);
        let follower = Follower::new(reader, lane, Arc::<Conn>::clone(&conn));
        Ok(Player::new(shared.clone(), conn, visit, permission, follower, &choice))
    }

    async fn allow(&self, visitor: Visitor, path: PathName, rules: u64) -> Result<(Permission, PathName), Refusal> {
        let (gate, events) = (&*self.shared.gate, self.shared.hub.events());
        let (access, permit) = visitor.ask(Action::Read, &path, gate, events, "FLV").await?;
        let question = Question {
            action: Action::Read,
            path: path.to_string(),
            query: access.client.query.clone(),
        };
        let path = permit.path.clone().unwrap_or(path);
        let permission = Permission::new(Instant::now(), question, access, &permit, path.clone(), rules);
        Ok((permission, path))
    }

    fn refuse_reading(&self, path: &PathName, error: &ReadError) -> Refusal {
        tracing::info!(%path, "[FLV] cannot read: {error}");
        match error {
            ReadError::Redirect(target) => self.redirect(target),
            ReadError::TooManyReaders | ReadError::TooManyPaths => {
                refuse(StatusCode::SERVICE_UNAVAILABLE, "too many readers or paths")
            }
            _ => refuse(StatusCode::NOT_FOUND, "not found"),
        }
    }

    /// Another path of ours, or wherever else HTTP gets to.
    fn redirect(&self, target: &str) -> Refusal {
        let location = match target.split_once("://") {
            Some(("http" | "https", _)) => target.to_owned(),
            Some(_) => return refuse(StatusCode::NOT_FOUND, "not found"),
            None => {
                let query = self
                    .parts
                    .uri
                    .query()
                    .map_or(String::new(), |query| format!("?{query}"));
                format!("/{}{SUFFIX}{query}", target.trim_start_matches('/'))
            }
        };
        match HeaderValue::try_from(location) {
            Ok(location) => {
                let mut refusal = refuse(StatusCode::FOUND, "elsewhere");
                refusal.headers_mut().insert(header::LOCATION, location);
                refusal
            }
            Err(_) => refuse(StatusCode::NOT_FOUND, "not found"),
        }
    }
}

/// Which tracks are played, of those that FLV carries and web players know.
fn choose(mut reader: Reader) -> Result<(Reader, Choice), Refusal> {
    let choice = Choice::of(&reader.publication().tracks(), &Capabilities::web());
    if choice.tracks.is_empty() {
        let path = &reader.path().name;
        tracing::info!(%path, "[FLV] cannot read: FLV carries none of the tracks: {}", choice.left_out.join(", "));
        return Err(refuse(StatusCode::NOT_ACCEPTABLE, "FLV carries none of the tracks"));
    }
    let tracks: Vec<_> = choice.tracks.iter().map(|track| track.id).collect();
    reader.take(&tracks);
    Ok((reader, choice))
}

/// The head of an answer that ends with its connection.
fn flowing() -> Response<()> {
    let mut head = Response::new(());
    let headers = head.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("video/x-flv"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    head
}

/// The head of the answer that makes a WebSocket of the connection (RFC 6455 section 4.2.2).
fn switching(key: &HeaderValue, headers: &HeaderMap) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let answer = head.headers_mut();
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    if let Ok(accept) = derive_accept_key(key.as_bytes()).parse() {
        answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    // Whatever the client calls it: browsers drop a connection whose offer is not taken up.
    let offers = headers
        .get(header::SEC_WEBSOCKET_PROTOCOL)
        .and_then(|offers| offers.to_str().ok());
    let first = offers.and_then(|offers| offers.split(',').map(str::trim).find(|offer| !offer.is_empty()));
    if let Some(Ok(protocol)) = first.map(HeaderValue::from_str) {
        answer.insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
    }
    head
}

/// The client's key when it wants a WebSocket (RFC 6455 section 4.2.1).
fn web_socket_key(parts: &Parts) -> Result<Option<HeaderValue>, Refusal> {
    let headers = &parts.headers;
    if !lists(headers, &header::UPGRADE, "websocket") {
        return Ok(None);
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY);
    let is_key = |key: &&HeaderValue| STANDARD.decode(key.as_bytes()).is_ok_and(|key| key.len() == KEY_LEN);
    let upgrades = lists(headers, &header::CONNECTION, "upgrade");
    let fits = parts.method == Method::GET && parts.version == Version::HTTP_11 && upgrades;
    let (Some(key), true) = (key.filter(is_key), fits) else {
        return Err(refuse(StatusCode::BAD_REQUEST, "not a handshake of a WebSocket"));
    };
    if headers.get(header::SEC_WEBSOCKET_VERSION) != Some(&WEB_SOCKET_VERSION) {
        let mut refusal = refuse(StatusCode::UPGRADE_REQUIRED, "this version of WebSocket is not spoken");
        let answer = refusal.headers_mut();
        answer.insert(header::SEC_WEBSOCKET_VERSION, WEB_SOCKET_VERSION);
        answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        return Err(refusal);
    }
    Ok(Some(key.clone()))
}

/// Whether a header that is a list has this word in it.
fn lists(headers: &HeaderMap, name: &header::HeaderName, word: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let mut words = values.flat_map(|value| value.split(','));
    words.any(|listed| listed.trim().eq_ignore_ascii_case(word))
}

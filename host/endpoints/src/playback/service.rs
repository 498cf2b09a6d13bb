//! The requests: who asks, for what, and how the answer goes out.

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use axum::{
    Extension, Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
    routing::any,
};
use bytes::Bytes;
use futures_util::stream;
use ipnet::IpNet;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtx_hub::{Action, Gate, Hub, PathName, Protocol};

use super::{
    Error,
    cache::Cache,
    document::{Document, Form, Shelf},
    library::Library,
    list::{Entries, Spelled},
    partial::Wanted,
    plan::{MAX_FILES, Plan},
    query::Query,
    range::{Range, nanoseconds},
    sending::Sending,
    vod::{self, Asked, Playlist},
};
use crate::{
    http::{self, Page, Refusal, Visitor, preflight, share},
    recording::{Archive, Segment},
};

const METHODS: HeaderValue = HeaderValue::from_static("OPTIONS, GET, HEAD");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const MP4: HeaderValue = HeaderValue::from_static("video/mp4");
const M3U8: HeaderValue = HeaderValue::from_static("application/vnd.apple.mpegurl");
/// What there is now may be more in a moment.
const NOT_KEPT: HeaderValue = HeaderValue::from_static("no-store");
/// Seconds after which one that was busy may be asked again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");
/// Answers being sent at once. Each holds at most a megabyte.
const REQUESTS: usize = 256;
/// Ranges being looked for at once, each of which may keep a thread busy.
const SEARCHES: usize = 4;
/// Files behind a range that may still have something of it, since clocks differ.
const AHEAD: usize = 2;
/// How long a request waits for its turn to look.
const PATIENCE: Duration = Duration::from_secs(10);

/// What may change while requests are answered.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Settings {
    /// Web pages that may play: origins, or `*`.
    pub allow_origins: Vec<String>,
    /// Proxies whose word on the client's address and on the scheme counts.
    pub trusted_proxies: Vec<IpNet>,
}

/// The routes of the playback server. Cheap to clone.
#[derive(Clone)]
pub struct Service(Arc<Shared>);

struct Shared {
    library: Arc<dyn Library>,
    hub: Hub,
    gate: Arc<dyn Gate>,
    settings: ArcSwap<Settings>,
    requests: Arc<Semaphore>,
    searches: Arc<Semaphore>,
    cache: Cache,
}

impl Service {
    /// Serves the recordings of `archive` to whom `gate` lets play them back.
    pub fn new(settings: Settings, archive: Arc<Archive>, hub: Hub, gate: Arc<dyn Gate>) -> Service {
        Service::over(settings, archive, hub, gate)
    }

    /// The same of any library.
    pub(super) fn over(settings: Settings, library: Arc<dyn Library>, hub: Hub, gate: Arc<dyn Gate>) -> Service {
        Service(Arc::new(Shared {
            library,
            hub,
            gate,
            settings: ArcSwap::from_pointee(settings),
            requests: Arc::new(Semaphore::new(REQUESTS)),
            searches: Arc::new(Semaphore::new(SEARCHES)),
            cache: Cache::default(),
        }))
    }

    /// Puts other settings in force, for the requests to come.
    pub fn configure(&self, settings: Settings) {
        self.0.settings.store(Arc::new(settings));
    }

    /// For an HTTP listener of ours.
    pub fn router(&self) -> Router {
        Router::new().fallback(any(answer)).with_state(self.0.clone())
    }
}

/// What a URL asks for.
enum Route {
    List,
    Get,
    Vod(Asked),
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    Extension(peer): Extension<http::Peer>,
    request: Request,
) -> Response {
    let settings = shared.settings.load_full();
    let page = Page::of(request.headers(), &settings.allow_origins);
    let (parts, _) = request.into_parts();
    let asked = Asking {
        shared: &shared,
        settings: &settings,
        peer,
        parts: &parts,
    };
    let mut response = asked.answer().await.unwrap_or_else(|refusal| *refusal);
    share(&page, response.headers_mut());
    response
}

/// A request.
struct Asking<'a> {
    shared: &'a Arc<Shared>,
    settings: &'a Settings,
    peer: http::Peer,
    parts: &'a Parts,
}

impl Asking<'_> {
    async fn answer(&self) -> Result<Response, Refusal> {
        let parts = self.parts;
        if parts.method == Method::OPTIONS && parts.headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD) {
            return Err(preflight());
        }
        if parts.method != Method::GET && parts.method != Method::HEAD {
            let mut refusal = error(StatusCode::METHOD_NOT_ALLOWED, "method not allowed");
            refusal.headers_mut().insert(header::ALLOW, METHODS);
            return Err(refusal);
        }
        let query = Query::new(parts.uri.query().unwrap_or_default());
        let unknown = || error(StatusCode::NOT_FOUND, "not found");
        let (name, route) = match parts.uri.path() {
            "/list" => (query.get("path").unwrap_or_default(), Route::List),
            "/get" => (query.get("path").unwrap_or_default(), Route::Get),
            other => {
                let name = other.strip_prefix("/vod/").ok_or_else(unknown)?;
                let (path, asked) = vod::route(name).ok_or_else(unknown)?;
                (path.to_owned(), Route::Vod(asked))
            }
        };
        let path = PathName::new(&name).map_err(|wrong| {
            error(
                StatusCode::BAD_REQUEST,
                &format!("invalid path name: {wrong} ({})", shown(&name)),
            )
        })?;
        let visitor = Visitor::of(Protocol::Other, parts, self.peer, &self.settings.trusted_proxies);
        let events = self.shared.hub.events();
        let asked = visitor.ask(Action::Playback, &path, &*self.shared.gate, events, "playback");
        let (_, permit) = asked.await.map_err(|refusal| in_json(&refusal))?;
        let path = permit.path.unwrap_or(path);
        let result = match route {
            Route::List => self.list(&path, &query).await,
            Route::Get => self.get(&path, &query).await,
            Route::Vod(asked) => self.vod(&path, &query, asked).await,
        };
        result.map_err(|failure| failure.refusal(&path))
    }

    async fn list(&self, path: &PathName, query: &Query<'_>) -> Result<Response, Failure> {
        let (start, end) = (query.time("start")?, query.time("end")?);
        if let (Some(start), Some(end)) = (start, end)
            && end < start
        {
            return Err(Error::Parameter("end", "is before start".to_owned()).into());
        }
        let turn = self.turn()?;
        let micros = |moment: Option<i64>, otherwise| {
            moment.map_or(otherwise, |moment| u64::try_from(moment / 1_000).unwrap_or_default())
        };
        let within = (micros(start, 0), micros(end, u64::MAX).saturating_add(1));
        let segments = self.segments(path, Some(within)).await?;
        let entries = Entries::new(segments, start, end);
        let spelled = Spelled::new(entries, self.base(), path.to_string()).ok_or(Error::NotFound)?;
        let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NOT_KEPT)];
        let pieces = stream::iter(spelled.map(move |text| {
            let _ = &turn;
            Ok::<_, Error>(Bytes::from(text))
        }));
        Ok((headers, Body::from_stream(pieces)).into_response())
    }

    async fn get(&self, path: &PathName, query: &Query<'_>) -> Result<Response, Failure> {
        let range = query.range()?;
        let form = match query.get("format").as_deref() {
            None | Some("fmp4") => Form::Fragments,
            Some("mp4") => Form::Movie,
            Some(other) => return Err(Error::Parameter("format", shown(other)).into()),
        };
        let turn = self.turn()?;
        let segments = self.segments(path, None).await?;
        let wanted = range.select(&segments);
        self.document(turn, path, segments, wanted, None, range, form).await
    }

    async fn vod(&self, path: &PathName, query: &Query<'_>, asked: Asked) -> Result<Response, Failure> {
        let cut = match asked {
            Asked::Playlist => return self.playlist(path, query).await,
            Asked::Header(group) => vod::Cut {
                group,
                file: group,
                zero: 0,
                from: 0,
                to: i64::MAX,
            },
            Asked::Segment(cut) => cut,
        };
        let form = if asked == Asked::Header(cut.group) {
            Form::Header
        } else {
            Form::Parts
        };
        let turn = self.turn()?;
        let segments = self.segments(path, None).await?;
        let found = segments.binary_search_by_key(&cut.file, |segment| segment.start);
        let first = found.map_err(|_| Error::NotFound)?;
        let range = Range {
            origin: nanoseconds(cut.group),
            from: cut.from,
            to: cut.to,
        };
        let until = match form {
            // The header of a group is that of its first file.
            Form::Header => first.saturating_add(1),
            _ => range.select(&segments).end.saturating_add(AHEAD),
        };
        let wanted = first
            ..until
                .clamp(first.saturating_add(1), first.saturating_add(MAX_FILES))
                .min(segments.len());
        self.document(turn, path, segments, wanted, Some(cut.zero), range, form)
            .await
    }

    async fn playlist(&self, path: &PathName, query: &Query<'_>) -> Result<Response, Failure> {
        let (range, proof) = (query.range()?, query.proof());
        let turn = self.turn()?;
        let segments = self.segments(path, None).await?;
        let (library, name) = (self.shared.library.clone(), path.clone());
        let playlist = self
            .search(move || Playlist::new(&library, &name, &segments, range, proof))
            .await?;
        let headers = [(header::CONTENT_TYPE, M3U8), (header::CACHE_CONTROL, NOT_KEPT)];
        if self.parts.method == Method::HEAD {
            return Ok(headers.into_response());
        }
        let lines = stream::try_unfold((playlist, turn), |(mut playlist, turn)| async move {
            let (playlist, next) = blocking(move || (playlist.next(), playlist))
                .await
                .map(|(next, list)| (list, next))?;
            Ok::<_, Error>(next?.map(|text| (Bytes::from(text), (playlist, turn))))
        });
        Ok((headers, Body::from_stream(lines)).into_response())
    }

    /// Plans a file and answers with the bytes of it that are wanted.
    #[allow(clippy::too_many_arguments)]
    async fn document(
        &self,
        turn: OwnedSemaphorePermit,
        path: &PathName,
        segments: Arc<[Segment]>,
        wanted: std::ops::Range<usize>,
        zero: Option<i64>,
        range: Range,
        form: Form,
    ) -> Result<Response, Failure> {
        let library = self.shared.library.clone();
        let key = Cache::key(
            path.as_str(),
            segments.get(wanted.clone()).unwrap_or_default(),
            zero,
            &range,
            form,
        );
        let document = match self.shared.cache.get(&key) {
            Some(document) => document,
            None => {
                let (library, name) = (library.clone(), path.clone());
                let planned = self.search(move || {
                    let plan = Plan::of(&*library, &name, segments, wanted, zero, range)?;
                    Document::new(&*library, plan, form)
                });
                let document = Arc::new(planned.await?);
                self.shared.cache.put(key, &document);
                document
            }
        };
        let tag = key.tag();
        let mut response = Response::new(Body::empty());
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, MP4);
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        if let Ok(tag) = HeaderValue::try_from(&tag) {
            headers.insert(header::ETAG, tag);
        }
        // As long as nobody says otherwise a browser asks again whether it is the same.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let bytes = match Wanted::of(&self.parts.headers, document.len, &tag) {
            Wanted::All => 0..document.len,
            Wanted::Same => {
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
            Wanted::Nothing => {
                let mut refusal = error(StatusCode::RANGE_NOT_SATISFIABLE, "no such bytes");
                let range = HeaderValue::try_from(format!("bytes */{}", document.len));
                if let Ok(range) = range {
                    refusal.headers_mut().insert(header::CONTENT_RANGE, range);
                }
                return Ok(*refusal);
            }
            Wanted::Bytes(bytes) => {
                let range = format!("bytes {}-{}/{}", bytes.start, bytes.end.saturating_sub(1), document.len);
                if let Ok(range) = HeaderValue::try_from(range) {
                    headers.insert(header::CONTENT_RANGE, range);
                }
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                bytes
            }
        };
        let length = bytes.end.saturating_sub(bytes.start);
        response.headers_mut().insert(header::CONTENT_LENGTH, length.into());
        if self.parts.method == Method::GET {
            let sending = Sending::new(Shelf { document, library }, bytes);
            *response.body_mut() = body(sending, turn);
        }
        Ok(response)
    }

    /// A place among those who are answered.
    fn turn(&self) -> Result<OwnedSemaphorePermit, Failure> {
        self.shared
            .requests
            .clone()
            .try_acquire_owned()
            .map_err(|_| Failure::Busy)
    }

    async fn segments(&self, path: &PathName, within: Option<(u64, u64)>) -> Result<Arc<[Segment]>, Failure> {
        let (library, name) = (self.shared.library.clone(), path.clone());
        let found = blocking(move || library.segments(&name, within)).await?;
        found
            .map_err(Error::from)?
            .ok_or_else(|| Error::UnknownPath(path.to_string()).into())
    }

    /// Runs something that may walk over many files, when there is a thread for it.
    async fn search<T: Send + 'static>(
        &self,
        search: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Failure> {
        let turn = tokio::time::timeout(PATIENCE, self.shared.searches.clone().acquire_owned()).await;
        let turn = turn.map_err(|_| Failure::Busy)?.map_err(|_| Failure::Busy)?;
        let found = blocking(move || {
            // A client that hangs up does not end the search, nor make room for another.
            let _turn = turn;
            search()
        });
        Ok(found.await??)
    }

    /// What links begin with.
    fn base(&self) -> String {
        let headers = &self.parts.headers;
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_proxy = self
            .settings
            .trusted_proxies
            .iter()
            .any(|proxy| proxy.contains(&self.peer.address));
        let said = text("x-forwarded-proto").filter(|said| is_proxy && matches!(*said, "http" | "https"));
        let scheme = said.unwrap_or(if self.peer.encrypted { "https" } else { "http" });
        format!("{scheme}://{}", text("host").unwrap_or_default())
    }
}

/// The bytes of a document as they are taken, each piece read when the one before is gone.
fn body(sending: Sending, turn: OwnedSemaphorePermit) -> Body {
    Body::from_stream(stream::try_unfold((sending, turn), |(mut sending, turn)| async move {
        let (sending, next) = blocking(move || {
            let next = sending.next();
            (sending, next)
        })
        .await?;
        let next = next.inspect_err(|error| tracing::warn!(code = "playback", "[playback] answer cut off: {error}"))?;
        Ok::<_, Error>(next.map(|bytes| (bytes, (sending, turn))))
    }))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|stopped| Error::Io(std::io::Error::other(stopped)))
}

/// Why there is no answer.
enum Failure {
    Error(Error),
    Busy,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

impl Failure {
    fn refusal(self, path: &PathName) -> Refusal {
        let failure = match self {
            Failure::Busy => {
                let mut refusal = error(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once");
                refusal.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
                return refusal;
            }
            Failure::Error(error) => error,
        };
        let words = failure.to_string();
        match failure {
            Error::Parameter(..) | Error::UnknownPath(_) => error(StatusCode::BAD_REQUEST, &words),
            Error::NotFound | Error::Gone => error(StatusCode::NOT_FOUND, &words),
            Error::Media(_) | Error::Io(_) => {
                tracing::warn!(%path, code = "playback", "[playback] {words}");
                // What is wrong with a disk is for the log.
                let words = if matches!(failure, Error::Io(_)) {
                    "recording not readable"
                } else {
                    &words
                };
                error(StatusCode::INTERNAL_SERVER_ERROR, words)
            }
        }
    }
}

/// The one form that errors have.
fn error(status: StatusCode, words: &str) -> Refusal {
    let body = serde_json::json!({ "status": "error", "error": words });
    let headers = [(header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NOT_KEPT)];
    (status, headers, body.to_string()).into_response().into()
}

/// The door's refusal in that form.
fn in_json(refusal: &Response) -> Refusal {
    let words = match refusal.status() {
        StatusCode::UNAUTHORIZED => "authentication error",
        StatusCode::FORBIDDEN => "permission denied",
        StatusCode::TOO_MANY_REQUESTS => "too many failed logins",
        StatusCode::SERVICE_UNAVAILABLE => "authentication is not available now",
        _ => "not found",
    };
    let mut ours = error(refusal.status(), words);
    let keep = |name: header::HeaderName, headers: &mut HeaderMap| {
        if let Some(value) = refusal.headers().get(&name) {
            headers.insert(name, value.clone());
        }
    };
    keep(header::WWW_AUTHENTICATE, ours.headers_mut());
    keep(header::RETRY_AFTER, ours.headers_mut());
    ours
}

/// As much of what a client sent as an answer repeats.
fn shown(text: &str) -> String {
    text.chars().take(80).collect()
}

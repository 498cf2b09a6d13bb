//! The HTTP client that plugins use through the host, and the server itself where it fetches plugins.
//!
//! A guest chooses the URL, so nothing about it is trusted: it must be on the list of the plugin's grant ([`Allow`]),
//! the address that its host leads to must be public or listed, and each redirect is judged again. Bodies, headers,
//! time and the number of requests at once are bounded. Connections are kept and used again, per client: plugins do not
//! share any. No proxy is taken from the environment; it would connect in our place, past the guard.

mod allow;
mod connect;
mod request;

use std::{
    error, fmt, io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body, Incoming};
use hyper_util::{
    client::legacy,
    rt::{TokioExecutor, TokioTimer},
};
use tokio::sync::Semaphore;
use url::Url;

use connect::{Connector, Failure, System, World};
use request::Draft;

pub use allow::{Allow, ENTRIES, EntryError};

/// Redirects that are followed.
const REDIRECTS: usize = 3;
/// A connection that nobody used for this long is closed.
const IDLE: Duration = Duration::from_secs(30);
/// Bytes of an answer's first line and headers.
const HEAD_BYTES: usize = 64 << 10;
/// Headers of an answer.
const HEADERS: usize = 64;

/// Why there is no answer. The cases are those of the contract's `http-error`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URL is not on the list.
    #[error("the URL is not on the list of what is granted")]
    NotGranted,
    /// It is on the list, and is not sent all the same: the host leads to an address that is neither public nor listed,
    /// a redirect leads off the list or from https to http, a header belongs to the host, nobody listens there.
    #[error("{0}")]
    Refused(&'static str),
    /// It took too long, waiting for other requests of the same plugin included.
    #[error("no answer in time")]
    Timeout,
    /// The request or the answer is larger than allowed.
    #[error("larger than allowed")]
    TooLarge,
    /// The other side could not prove who it is, or does not speak TLS.
    #[error("TLS: {0}")]
    Tls(#[source] Box<dyn error::Error + Send + Sync>),
    /// Anything else: no such host, a connection that breaks, no HTTP.
    #[error("{0}")]
    Other(#[source] Box<dyn error::Error + Send + Sync>),
}

/// What a client may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Requests at once. Further ones wait, within their own time.
    pub at_once: usize,
    /// Requests that wait; with more, the newest is answered with [`Error::Timeout`] at once.
    pub waiting: usize,
    /// Bytes of a request's body.
    pub request_body: usize,
    /// Bytes of an answer's body.
    pub response_body: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            at_once: 8,
            waiting: 1_024,
            request_body: 1 << 20,
            response_body: 1 << 20,
        }
    }
}

/// The client of one plugin. Cheap to clone; clones share connections and bounds.
#[derive(Clone)]
pub struct Client(Arc<Inner>);

struct Inner {
    allow: Arc<Allow>,
    limits: Limits,
    http: legacy::Client<Connector, Full<Bytes>>,
    places: Semaphore,
    waiting: AtomicUsize,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("allow", &self.0.allow)
            .finish_non_exhaustive()
    }
}

impl Client {
    /// A client that reaches what is listed. Connects to nothing yet, and needs no runtime until it is used.
    pub fn new(allow: Allow, limits: Limits) -> Client {
        Client::with(allow, limits, Arc::new(System))
    }

    fn with(allow: Allow, limits: Limits, world: Arc<dyn World>) -> Client {
        let allow = Arc::new(allow);
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(limits.at_once)
            .http1_max_buf_size(HEAD_BYTES)
            .http1_max_headers(HEADERS)
            .build(Connector::new(allow.clone(), world));
        Client(Arc::new(Inner {
            allow,
            limits,
            http,
            places: Semaphore::new(limits.at_once),
            waiting: AtomicUsize::new(0),
        }))
    }

    /// Sends a request and waits for the whole answer. `timeout` covers everything together: waiting for a place,
    /// redirects, the body. May be dropped at any moment; the connection is closed then.
    ///
    /// The method is one of `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE`, `OPTIONS`; the URL is absolute; `Host`,
    /// `Content-Length` and the headers that belong to a connection are the host's to set.
    ///
    /// # Errors
    /// [`Error`]; a status of 400 and above is none.
    pub async fn send(&self, request: Request<Bytes>, timeout: Duration) -> Result<Response<Bytes>, Error> {
        let draft = Draft::new(request, &self.0.allow, &self.0.limits)?;
        let answered = async {
            let _place = self.place().await?;
            self.follow(draft).await
        };
        tokio::time::timeout(timeout, answered)
            .await
            .unwrap_or(Err(Error::Timeout))
    }

    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Error> {
        if let Ok(place) = self.0.places.try_acquire() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(&self.0.waiting, self.0.limits.waiting).ok_or(Error::Timeout)?;
        self.0
            .places
            .acquire()
            .await
            .map_err(|closed| Error::Other(closed.into()))
    }

    async fn follow(&self, mut draft: Draft) -> Result<Response<Bytes>, Error> {
        for _ in 0..=REDIRECTS {
            let answer = self.0.http.request(draft.to_http()?).await.map_err(judge)?;
            match redirect(&draft.url, answer.status(), answer.headers())? {
                // The connection is given up with the body that nobody reads.
                Some(target) => draft.redirect(answer.status(), target, &self.0.allow)?,
                None => return self.read(answer).await,
            }
        }
        Err(Error::Refused("too many redirects"))
    }

    async fn read(&self, answer: Response<Incoming>) -> Result<Response<Bytes>, Error> {
        let (mut head, body) = answer.into_parts();
        if body.size_hint().lower() > self.0.limits.response_body as u64 {
            return Err(Error::TooLarge);
        }
        let body = Limited::new(body, self.0.limits.response_body).collect().await;
        let body = body.map_err(|error| match error.downcast::<LengthLimitError>() {
            Ok(_) => Error::TooLarge,
            Err(error) => Error::Other(error),
        })?;
        // The body is whole now, however it came.
        let connection: Vec<_> = head
            .headers
            .keys()
            .filter(|name| request::is_hop_by_hop(name))
            .cloned()
            .collect();
        for name in connection {
            head.headers.remove(name);
        }
        Ok(Response::from_parts(head, body.to_bytes()))
    }
}

/// Counts those who wait for a place.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn enter(count: &'a AtomicUsize, most: usize) -> Option<Waiting<'a>> {
        let entered = Waiting(count);
        (count.fetch_add(1, Relaxed) < most).then_some(entered)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Where an answer sends the client, if it does.
fn redirect(from: &Url, status: StatusCode, headers: &HeaderMap) -> Result<Option<Url>, Error> {
    if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    // Without a location it is an answer like any other.
    let Some(location) = headers.get(header::LOCATION) else {
        return Ok(None);
    };
    let target = location.to_str().ok().and_then(|location| from.join(location).ok());
    target.map(Some).ok_or(Error::Refused("a redirect leads to no URL"))
}

/// What an error of the HTTP library means.
fn judge(error: legacy::Error) -> Error {
    let mut source = error::Error::source(&error);
    while let Some(cause) = source {
        match cause.downcast_ref::<Failure>() {
            Some(Failure::Refused) => {
                return Error::Refused("the host leads to addresses that are neither public nor listed");
            }
            Some(Failure::Tls(cause)) => return Error::Tls(cause.to_string().into()),
            Some(Failure::Network(cause)) if cause.kind() == io::ErrorKind::ConnectionRefused => {
                return Error::Refused("nobody listens there");
            }
            Some(Failure::Network(_)) | None => source = cause.source(),
        }
        if cause
            .downcast_ref::<hyper::Error>()
            .is_some_and(hyper::Error::is_parse_too_large)
        {
            return Error::TooLarge;
        }
    }
    Error::Other(error.into())
}

/// A redirected request, as browsers make it: what changed something is not sent twice but on demand.
fn redirected(method: &Method, status: StatusCode) -> Option<Method> {
    match status {
        StatusCode::SEE_OTHER if method != Method::HEAD => Some(Method::GET),
        StatusCode::MOVED_PERMANENTLY | StatusCode::FOUND if method == Method::POST => Some(Method::GET),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

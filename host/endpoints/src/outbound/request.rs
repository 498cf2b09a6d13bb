//! A request on its way: checked once, changed by redirects, each of which is checked again.

use bytes::Bytes;
use http::{
    HeaderMap, Method, Request, StatusCode, Uri,
    header::{self, HeaderName, HeaderValue},
};
use http_body_util::Full;
use url::Url;

use super::{Allow, Error, Limits, redirected};

/// Bytes of a URL.
const URL_BYTES: usize = 8 << 10;
/// Headers of a request.
const HEADERS: usize = 64;
/// Bytes of its headers, names and values together.
const HEADER_BYTES: usize = 16 << 10;
/// What a plugin can ask for. `CONNECT` would be a tunnel, `TRACE` shows headers of ours.
const METHODS: &[Method] = &[
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];
/// What may follow a redirect to another origin. Anything else may be a secret meant for the first one.
const CARRIED: &[HeaderName] = &[
    header::ACCEPT,
    header::ACCEPT_LANGUAGE,
    header::CONTENT_TYPE,
    header::USER_AGENT,
];
/// Who we are, unless the plugin says otherwise.
const AGENT: &str = concat!("wasmtx/", env!("CARGO_PKG_VERSION"));

/// A request that may be sent.
pub(super) struct Draft {
    pub(super) url: Url,
    method: Method,
    headers: HeaderMap,
    body: Bytes,
}

impl Draft {
    pub(super) fn new(request: Request<Bytes>, allow: &Allow, limits: &Limits) -> Result<Draft, Error> {
        let (head, body) = request.into_parts();
        let url = head.uri.to_string();
        if url.len() > URL_BYTES || body.len() > limits.request_body {
            return Err(Error::TooLarge);
        }
        let url = Url::parse(&url).map_err(|_| Error::Refused("not a URL"))?;
        check(&url)?;
        if !allow.admits(&url) {
            return Err(Error::NotGranted);
        }
        if !METHODS.contains(&head.method) {
            return Err(Error::Refused("not a method that can be used"));
        }
        let mut headers = head.headers;
        check_headers(&headers)?;
        headers
            .entry(header::USER_AGENT)
            .or_insert(HeaderValue::from_static(AGENT));
        Ok(Draft {
            url,
            method: head.method,
            headers,
            body,
        })
    }

    /// Turns to where an answer leads.
    pub(super) fn redirect(&mut self, status: StatusCode, target: Url, allow: &Allow) -> Result<(), Error> {
        check(&target)?;
        if self.url.scheme() == "https" && target.scheme() != "https" {
            return Err(Error::Refused("a redirect leads from https to http"));
        }
        if !allow.admits(&target) {
            return Err(Error::Refused("a redirect leads off the list of what is granted"));
        }
        if let Some(method) = redirected(&self.method, status) {
            self.method = method;
            self.body = Bytes::new();
            self.headers.remove(header::CONTENT_TYPE);
        }
        if self.url.origin() != target.origin() {
            self.headers = CARRIED
                .iter()
                .filter_map(|name| Some((name.clone(), self.headers.get(name)?.clone())))
                .collect();
        }
        self.url = target;
        Ok(())
    }

    pub(super) fn to_http(&self) -> Result<Request<Full<Bytes>>, Error> {
        let mut url = self.url.clone();
        url.set_fragment(None);
        let uri: Uri = url
            .as_str()
            .parse()
            .map_err(|_| Error::Refused("not a URL that can be sent"))?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }
}

/// What every URL has to be, whatever is listed.
fn check(url: &Url) -> Result<(), Error> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::Refused("only http and https"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Error::Refused("a user or password in a URL is not sent; use a header"));
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    let bytes = headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len())
        .sum::<usize>();
    if headers.len() > HEADERS || bytes > HEADER_BYTES {
        return Err(Error::TooLarge);
    }
    if headers.keys().any(|name| is_hop_by_hop(name) || is_ours(name)) {
        return Err(Error::Refused("a header that the host sets"));
    }
    Ok(())
}

/// Headers of one connection, not of the request (RFC 9110 §7.6.1), and those that proxies keep for themselves.
pub(super) fn is_hop_by_hop(name: &HeaderName) -> bool {
    let known = [
        header::CONNECTION,
        header::TE,
        header::TRAILER,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
    ];
    known.contains(name) || name == "keep-alive" || name.as_str().starts_with("proxy-")
}

/// Headers that say what the URL and the body say already.
fn is_ours(name: &HeaderName) -> bool {
    [header::HOST, header::CONTENT_LENGTH, header::EXPECT].contains(name)
}

//! RTSP messages (RFC 2326 sections 6 and 7) as types, and how they are written.
//!
//! Reading them is the business of [`super::Decoder`]. `Content-Length` belongs to the framing, not to the headers: the
//! decoder takes it out, the writer puts it in.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of a start line, and of a header's value. Tokens in URLs are long.
pub const MAX_LINE: usize = 16 * 1024;
/// Bytes of a header's key.
pub const MAX_KEY: usize = 128;
/// Headers of one message.
pub const MAX_HEADERS: usize = 64;
/// Bytes of a start line and all headers.
pub const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a body.
pub const MAX_BODY: usize = 64 * 1024;
/// Bytes of a method's name.
pub const MAX_METHOD: usize = 32;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Method {
    /// What can you do?
    Options,
    /// I am about to publish this.
    Announce,
    /// What is there?
    Describe,
    /// Let this media travel this way.
    Setup,
    /// Send.
    Play,
    /// Receive.
    Record,
    /// Stop for now.
    Pause,
    /// Stop for good.
    Teardown,
    /// Mostly: I am still here.
    GetParameter,
    /// Change a setting.
    SetParameter,
    /// Go elsewhere; only servers send it.
    Redirect,
    /// A method that RFC 2326 does not know.
    Other(String),
}

impl Method {
    /// The name as it stands in a request line.
    pub fn name(&self) -> &str {
        match self {
            Method::Options => "OPTIONS",
            Method::Announce => "ANNOUNCE",
            Method::Describe => "DESCRIBE",
            Method::Setup => "SETUP",
            Method::Play => "PLAY",
            Method::Record => "RECORD",
            Method::Pause => "PAUSE",
            Method::Teardown => "TEARDOWN",
            Method::GetParameter => "GET_PARAMETER",
            Method::SetParameter => "SET_PARAMETER",
            Method::Redirect => "REDIRECT",
            Method::Other(name) => name,
        }
    }

    /// The method of this name; methods are case-sensitive.
    pub fn from_name(name: &str) -> Method {
        match name {
            "OPTIONS" => Method::Options,
            "ANNOUNCE" => Method::Announce,
            "DESCRIBE" => Method::Describe,
            "SETUP" => Method::Setup,
            "PLAY" => Method::Play,
            "RECORD" => Method::Record,
            "PAUSE" => Method::Pause,
            "TEARDOWN" => Method::Teardown,
            "GET_PARAMETER" => Method::GetParameter,
            "SET_PARAMETER" => Method::SetParameter,
            "REDIRECT" => Method::Redirect,
            other => Method::Other(other.to_owned()),
        }
    }
}

/// A status code (RFC 2326 section 7.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u16);

impl Status {
    /// 200
    pub const OK: Status = Status(200);
    /// 302
    pub const MOVED_TEMPORARILY: Status = Status(302);
    /// 400
    pub const BAD_REQUEST: Status = Status(400);
    /// 401
    pub const UNAUTHORIZED: Status = Status(401);
    /// 403
    pub const FORBIDDEN: Status = Status(403);
    /// 404
    pub const NOT_FOUND: Status = Status(404);
    /// 405
    pub const METHOD_NOT_ALLOWED: Status = Status(405);
    /// 413
    pub const REQUEST_TOO_LARGE: Status = Status(413);
    /// 415
    pub const UNSUPPORTED_MEDIA_TYPE: Status = Status(415);
    /// 451
    pub const PARAMETER_NOT_UNDERSTOOD: Status = Status(451);
    /// 453
    pub const NOT_ENOUGH_BANDWIDTH: Status = Status(453);
    /// 454
    pub const SESSION_NOT_FOUND: Status = Status(454);
    /// 455
    pub const METHOD_NOT_VALID_IN_THIS_STATE: Status = Status(455);
    /// 457
    pub const INVALID_RANGE: Status = Status(457);
    /// 459
    pub const AGGREGATE_OPERATION_NOT_ALLOWED: Status = Status(459);
    /// 460
    pub const ONLY_AGGREGATE_OPERATION_ALLOWED: Status = Status(460);
    /// 461
    pub const UNSUPPORTED_TRANSPORT: Status = Status(461);
    /// 500
    pub const INTERNAL_SERVER_ERROR: Status = Status(500);
    /// 501
    pub const NOT_IMPLEMENTED: Status = Status(501);
    /// 503
    pub const SERVICE_UNAVAILABLE: Status = Status(503);
    /// 505
    pub const VERSION_NOT_SUPPORTED: Status = Status(505);
    /// 551
    pub const OPTION_NOT_SUPPORTED: Status = Status(551);

    /// Whether the request was carried out.
    pub fn is_success(self) -> bool {
        (200..300).contains(&self.0)
    }

    /// The reason phrase of RFC 2326.
    pub fn phrase(self) -> &'static str {
        match self.0 {
            200 => "OK",
            301 => "Moved Permanently",
            302 => "Moved Temporarily",
            400 => "Bad Request",
            401 => "Unauthorized",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            406 => "Not Acceptable",
            408 => "Request Timeout",
            413 => "Request Entity Too Large",
            415 => "Unsupported Media Type",
            451 => "Parameter Not Understood",
            453 => "Not Enough Bandwidth",
            454 => "Session Not Found",
            455 => "Method Not Valid in This State",
            457 => "Invalid Range",
            459 => "Aggregate Operation Not Allowed",
            460 => "Only Aggregate Operation Allowed",
            461 => "Unsupported Transport",
            462 => "Destination Unreachable",
            500 => "Internal Server Error",
            501 => "Not Implemented",
            503 => "Service Unavailable",
            505 => "RTSP Version Not Supported",
            551 => "Option Not Supported",
            _ => "Status",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.0, self.phrase())
    }
}

/// Headers in the order of the wire. Keys compare without case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers(Vec<(String, String)>);

impl Headers {
    /// No headers.
    pub fn new() -> Headers {
        Headers::default()
    }

    /// The first value under this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter()
            .find(|(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }

    /// All values under this key.
    pub fn get_all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        self.0
            .iter()
            .filter(move |(k, _)| k.eq_ignore_ascii_case(key))
            .map(|(_, v)| v.as_str())
    }

    /// Adds a header. Control characters are left out, so that no value can end its line.
    pub fn push(&mut self, key: impl Into<String>, value: impl Into<String>) {
        let mut value = value.into();
        value.retain(|c| c == '\t' || !c.is_ascii_control());
        self.0.push((key.into(), value));
    }

    /// Adds a header.
    #[must_use]
    pub fn with(mut self, key: impl Into<String>, value: impl Into<String>) -> Headers {
        self.push(key, value);
        self
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Keys and values in the order of the wire.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    fn write(&self, body: &[u8], out: &mut BytesMut) {
        for (key, value) in self.iter() {
            out.put_slice(key.as_bytes());
            out.put_slice(b": ");
            out.put_slice(value.as_bytes());
            out.put_slice(b"\r\n");
        }
        if !body.is_empty() {
            out.put_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
        }
        out.put_slice(b"\r\n");
        out.put_slice(body);
    }
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What is asked for.
    pub method: Method,
    /// The URL as sent, or `*`.
    pub url: String,
    /// Headers, without `Content-Length`.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Request {
        Request {
            method,
            url: url.into(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The bytes of the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(self.method.name().as_bytes());
        out.put_u8(b' ');
        out.put_slice(self.url.as_bytes());
        out.put_slice(b" RTSP/1.0\r\n");
        self.headers.write(&self.body, &mut out);
        out.freeze()
    }
}

/// A response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status code.
    pub status: Status,
    /// The reason phrase, for humans.
    pub phrase: String,
    /// Headers, without `Content-Length`.
    pub headers: Headers,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A response without headers and body.
    pub fn new(status: Status) -> Response {
        Response {
            status,
            phrase: status.phrase().to_owned(),
            headers: Headers::new(),
            body: Bytes::new(),
        }
    }

    /// The bytes of the wire.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(format!("RTSP/1.0 {:03} {}\r\n", self.status.0, self.phrase).as_bytes());
        self.headers.write(&self.body, &mut out);
        out.freeze()
    }
}

/// Whether an octet may stand in a header's key or a method (RFC 2616 section 2.2, "token").
pub(crate) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

//! Requests to HTTP services, through the server's own client: TLS, redirects and connections that are used again are its affair.
//!
//! Must be granted, host by host (`grant: { http: ["https://users.example.com"] }` in mediamtx.yml); private addresses only when they are named. A
//! redirect is followed where the grant allows it. [`Request::send`] waits for the whole answer; meanwhile the server does other things, but this
//! instance does nothing else, and the waiting does not count as the plugin's running time. Filters sit on the media path and may not wait:
//! they get [`Error::NotGranted`] at once.
//!
//! ```
//! use std::time::Duration;
//! use wasmtx_plugin::http::{self, Request};
//! use wasmtx_plugin::json;
//!
//! fn is_known(user: &str) -> Result<bool, http::Error> {
//!     let response = Request::post("https://users.example.com/check")
//!         .header("x-api-key", "…")
//!         .json(&json!({ "user": user }))
//!         .timeout(Duration::from_secs(2))
//!         .send()?;
//!     Ok(response.is_success())
//! }
//! # wasmtx_plugin::testing::answer_http(|_| Ok(http::Response::new(204)));
//! # assert!(is_known("ada").unwrap());
//! ```

use std::time::Duration;

use hmac::{Hmac, Mac};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// Why there is no answer. `Other` is the rest: a URL that is none, an answer that is no HTTP.
///
pub use crate::bindings::imports::wasmtx::plugin::http::HttpError as Error;
/// An answer, whole. Headers come in the order they were sent, names in lower case; at most 1 MiB of body.
pub use crate::bindings::imports::wasmtx::plugin::http::Response;
use crate::{clock, host};

/// A request that is being written. Nothing happens before [`send`](Request::send).
#[derive(Debug, Clone, PartialEq)]
#[must_use = "a request does nothing before it is sent"]
pub struct Request {
    /// GET, POST, …
    pub method: String,
    /// Absolute, `http` or `https`.
    pub url: String,
    /// Names and values in the order they were added. `Host`, `Content-Length` and the like are the server's to write.
    pub headers: Vec<(String, String)>,
    /// At most 1 MiB, unless the operator allows more.
    pub body: Vec<u8>,
    /// How long the whole exchange may take. None: what the server finds usual, 3 s. Never more than a minute.
    pub timeout: Option<Duration>,
    /// Why the body could not be written.
    flaw: Option<String>,
}

impl Request {
    /// A request by any method.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: None,
            flaw: None,
        }
    }

    /// `GET url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// `POST url`.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new("POST", url)
    }

    /// `PUT url`.
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// `DELETE url`.
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// One more header.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// These bytes as the body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self {
            body: body.into(),
            flaw: None,
            ..self
        }
    }

    /// This value as the body, in JSON, and the header that says so. A value without a JSON form (a map whose keys are no text) is not sent: `send` logs
    /// why and answers [`Error::Other`].
    pub fn json(self, value: &(impl Serialize + ?Sized)) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => self.header("content-type", "application/json").body(body),
            Err(error) => Self {
                flaw: Some(error.to_string()),
                ..self
            },
        }
    }

    /// Signs what is written so far, so that the service knows who sends it and that it is not sent again by somebody else: a header `x-wasmtx-timestamp` with
    /// the seconds since 1970, and `x-wasmtx-signature` with `sha256=` and the HMAC-SHA256 (RFC 2104) of the timestamp, a `.` and the body in hexadecimal.
    /// Comes after [`json`](Request::json) or [`body`](Request::body), right before [`send`](Request::send).
    pub fn signed(self, secret: &[u8]) -> Self {
        let timestamp = clock::now().as_secs().to_string();
        // A key of any length does.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else {
            return self;
        };
        mac.update(timestamp.as_bytes());
        mac.update(b".");
        mac.update(&self.body);
        let mut signature = String::from("sha256=");
        for byte in mac.finalize().into_bytes() {
            signature.push_str(&format!("{byte:02x}"));
        }
        self.header("x-wasmtx-timestamp", timestamp)
            .header("x-wasmtx-signature", signature)
    }

    /// How long the whole exchange may take, redirects included, in whole milliseconds.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self {
            timeout: Some(timeout),
            ..self
        }
    }

    /// Sends it and waits for the answer. Any status is an answer; an error means that there was none.
    pub fn send(&self) -> Result<Response, Error> {
        if let Some(flaw) = &self.flaw {
            crate::error!("{} {} not sent, its body is no JSON: {flaw}", self.method, self.url);
            return Err(Error::Other);
        }
        host::http::send(self)
    }
}

impl Response {
    /// An answer without headers and body, for tests.
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Is the status one of 200 to 299?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The first header of this name, upper or lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
        header.map(|(_, value)| value.as_str())
    }

    /// The body as text, none if it is not UTF-8.
    pub fn text(&self) -> Option<&str> {
        str::from_utf8(&self.body).ok()
    }

    /// The body, read as JSON.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::set_clock;

    /// `printf %s '1764000000.{"a":1}' | openssl dgst -sha256 -hmac "a secret of the test"`
    #[test]
    fn a_signature_is_what_openssl_makes_of_time_and_body() {
        set_clock(Duration::from_secs(1_764_000_000));
        let request = Request::post("https://a.example")
            .json(&crate::json!({ "a": 1 }))
            .signed(b"a secret of the test");
        let header = |name: &str| {
            request
                .headers
                .iter()
                .find(|(key, _)| key == name)
                .map(|(_, value)| value.as_str())
        };
        assert_eq!(header("x-wasmtx-timestamp"), Some("1764000000"));
        assert_eq!(
            header("x-wasmtx-signature"),
            Some("sha256=c08b877ba6c37587960c1b980b93382433c1bdeae0548893858c87fa6b20728e")
        );
    }
}

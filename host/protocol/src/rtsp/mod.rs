//! RTSP 1.0 (RFC 2326): messages, SDP, authentication, the session machines of both sides.

pub mod auth;
pub mod client;
mod decode;
mod error;
pub mod headers;
pub mod message;
pub mod sdp;
pub mod server;
pub mod transport;
pub mod url;

pub use decode::{Decoder, FRAME_HEADER, Item};
pub use error::Error;
pub use message::{Headers, Method, Request, Response, Status};
pub use url::Url;

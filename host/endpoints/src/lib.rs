//! In and out: every socket, file, process and timer of the server.
//!
//! Drivers of the machines in `protocol` (one loop each: read, handle, drain, write, sleep until the deadline), sources
//! that the server fetches itself, external commands, and what every listener shares: TLS, the clock.

mod admission;
mod backoff;
pub mod bind;
mod bitrate;
mod caller;
mod clock;
pub mod codec;
mod datagrams;
mod dial;
pub mod fetch;
pub mod flv;
pub mod forward;
mod guard;
pub mod hooks;
pub mod http;
pub mod keeper;
mod listener;
pub mod outbound;
mod permission;
pub mod playback;
mod proxy;
pub mod recording;
mod registry;
pub mod rtmp;
pub mod rtsp;
pub mod snapshot;
pub mod source;
pub mod storage;
mod tcp;
pub mod tls;
mod waits;

pub use clock::wall_clock;

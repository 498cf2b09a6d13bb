//! How it is spoken: sans-IO machines and parsers. Bytes in, frames out.
//!
//! The law of every machine here: feed it with a `handle_*` method, then drain `poll` until it says *wait until*, then
//! feed it again. No async, no socket, no clock, no randomness of its own: time and seeds are arguments
//! (`clippy.toml` of this crate bans the rest).
#![forbid(unsafe_code)]

pub mod flv;
mod percent;
pub mod rtmp;
pub mod rtp;
pub mod rtsp;
pub mod websocket;

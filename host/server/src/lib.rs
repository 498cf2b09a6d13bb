//! What you start: the configuration, the command line, the log, and the wiring of the other rooms.
//!
//! The binary `wasmtx` is a few lines over this library, so that tests can start a server within their own process.
#![forbid(unsafe_code)]

pub mod access;
pub mod api;
pub mod cli;
pub mod config;
pub mod events;
mod force;
pub mod log;
pub mod metrics;
pub mod plugin_cli;
mod recording;
pub mod redact;
mod reload;
pub mod run;
pub mod server;
pub mod sound;
pub mod sources;
mod window;
mod wiring;

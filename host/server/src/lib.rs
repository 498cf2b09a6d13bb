//! What you start: the configuration, the command line, the log, and the wiring of the other rooms.
//!
//! The binary `wasmtx` is a few lines over this library, so that tests can start a server within their own process.
#![forbid(unsafe_code)]

pub mod access;
pub mod cli;
pub mod config;
pub mod log;
pub mod run;
pub mod server;
mod wiring;

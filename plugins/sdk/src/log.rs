//! Lines for the server's log, where they carry the plugin's and the path's name.
//!
//! Use the macros: [`trace!`](crate::trace), [`debug!`](crate::debug), [`info!`](crate::info), [`warn!`](crate::warn), [`error!`](crate::error).
//! A line has at most 4 KiB; past 50 lines in a second the server counts instead of writing.

use crate::host;

/// How much a line matters. Which levels are written is the operator's choice.
pub use crate::bindings::imports::wasmtx::plugin::log::Level;

/// Writes one line.
pub fn log(level: Level, message: &str) {
    host::log(level, message);
}

/// Logs one line that only helps while hunting something, formatted as by `format!`.
#[macro_export]
macro_rules! trace {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Trace, &::std::format!($($arg)+)) };
}

/// Logs one line for developers, formatted as by `format!`.
#[macro_export]
macro_rules! debug {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Debug, &::std::format!($($arg)+)) };
}

/// Logs one line about the normal course of things, formatted as by `format!`.
#[macro_export]
macro_rules! info {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Info, &::std::format!($($arg)+)) };
}

/// Logs one line that an operator should read some day, formatted as by `format!`.
#[macro_export]
macro_rules! warn {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Warn, &::std::format!($($arg)+)) };
}

/// Logs one line that an operator should read now, formatted as by `format!`.
#[macro_export]
macro_rules! error {
    ($($arg:tt)+) => { $crate::log::log($crate::log::Level::Error, &::std::format!($($arg)+)) };
}

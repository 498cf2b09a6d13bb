//! Recordings over HTTP: which there are (`/list`), any range of them as one file (`/get`), and as HLS (`/vod`).

mod cache;
mod document;
mod error;
mod file;
mod fragments;
mod library;
mod list;
mod movie;
mod partial;
mod plan;
mod query;
mod range;
mod sending;
mod service;
#[cfg(test)]
mod tests;
mod transport;
mod vod;

use error::Error;
pub use service::{Service, Settings};

//! The sandbox with real guests, as `make plugins` builds them: what a guest may do, what happens when it does something
//! else, and how one takes the place of another.

mod house;
mod outside;
mod support;

mod auth;
mod conversion;
mod events;
mod filter;
mod hostile;
mod limits;
mod load;
mod manage;
mod recorder;
mod recording;
mod refused;
mod resolver;
mod sinks;
mod swap;
mod transcoder;
mod waiting;

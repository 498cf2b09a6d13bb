//! The bundled plugins as users meet them: in the built server, with real streams and clients.

mod auth;
mod filters;
mod jwt;
mod services;
mod sinks;

//! End to end: FFmpeg, GStreamer and a reader of our own against the built server.
//!
//! Every test starts a server of its own on ports that the system chooses, and talks to it as a user would. What happens
//! is waited for by its effect (a log line, an API answer, a frame), never by time.

mod harness;

mod aac;
mod access;
mod api;
mod auth_http;
mod browser;
mod bundled;
mod chaos;
mod cli;
mod codecs;
mod compile;
mod documents;
mod enhanced;
mod events;
mod examples;
mod flv;
mod forward;
mod hooks;
mod hostile;
mod injection;
mod joining;
mod languages;
mod logs;
mod pairings;
mod playback;
mod plugin_cli;
mod plugins;
mod proxies;
mod pull;
mod recorded;
mod recording;
mod resolver;
mod rtmp;
mod rtmp_api;
mod rtmp_sessions;
mod sessions;
mod sinks;
mod snapshots;
mod sources;
mod sources_rtmp;
mod tokens;
mod vanishing;
mod window;

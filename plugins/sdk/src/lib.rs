//! Write plugins for the wasmtx media server.
//!
//! A plugin is a WebAssembly component. The server loads it when `mediamtx.yml` names it and asks it what its roles are made for. In Rust it is a type
//! with [`Plugin`] for its life, a trait per role, and one line that exports it:
//!
//! ```
//! use wasmtx_plugin::filter::{Filter, Verdict};
//! use wasmtx_plugin::{Error, Frame, NoConfig, Plugin};
//!
//! /// Drops what no other frame needs.
//! struct Slim;
//!
//! impl Plugin for Slim {
//!     type Config = NoConfig;
//!
//!     fn new(_: NoConfig) -> Result<Self, Error> {
//!         Ok(Slim)
//!     }
//! }
//!
//! impl Filter for Slim {
//!     fn frame(&mut self, frame: &Frame) -> Verdict {
//!         if frame.is_disposable() { Verdict::Drop } else { Verdict::Pass }
//!     }
//! }
//!
//! wasmtx_plugin::export!(Slim: filter);
//! # fn main() {}
//! ```
//!
//! # Roles
//!
//! Each has a module with a complete plugin to begin from.
//!
//! | role | trait | is asked | may wait |
//! |---|---|---|---|
//! | `auth` | [`auth::Auth`] | who may publish, read, play back, use the API | yes: its client waits |
//! | `filter` | [`filter::Filter`] | what becomes of each frame between publisher and readers | no: every frame waits |
//! | `sink` | [`sink::Sink`] | to take the frames that readers see, in batches | yes: at its own pace |
//! | `transcoder` | [`transcoder::Transcoder`] | which tracks are coded anew | no: the stream's start does |
//! | `events` | [`events::Events`] | nothing: it is told what happened | yes: from a bounded queue |
//! | `resolver` | [`resolver::Resolver`] | where a stream comes from that nobody publishes | yes: its reader waits |
//!
//! A component may export several, `export!(MyPlugin: auth, events)`. The server then makes instances for each role, and more than one of a role where
//! that helps (one per stream for filters and sinks): fields of the type belong to one instance, and what instances share belongs into [`kv`].
//!
//! # What the server offers
//!
//! | | for | needs a grant |
//! |---|---|---|
//! | [`log`](mod@log), [`clock`], [`random`] | lines of the log, the time, keys and nonces | no |
//! | [`metrics`], [`notify`] | figures and events of the plugin's own | no |
//! | [`auth::verify`] | checking passwords that the plugin does not get to see | no |
//! | [`kv`] | small values that all instances share | `kv: yes` or `persist` |
//! | [`http`] | asking services | `http: [https://…]` |
//! | [`storage`] | files | `storage: ./directory` |
//! | [`control`] | keyframes, ending sessions | `control: yes` or `all` |
//!
//! There is no file system, no socket, no environment and no thread: what a plugin may use is what this crate offers. What it calls ends up in the
//! component's imports, what it does not call does not. What was not granted in `mediamtx.yml` loads all the same, and answers `NotGranted`.
//!
//! # When things go wrong
//!
//! A panic ends the instance, never the server. Its message is logged by the server with the plugin's and the path's name, then the plugin's `onError`
//! policy applies and a new instance is made. The same happens to a call that takes too long and to an instance that wants too much memory. Errors of
//! services turn into [`Error`] with `?`.
//!
//! # Building and testing
//!
//! Build a `cdylib` for `wasm32-unknown-unknown`, then make it a component (`make plugins` in the server's repository does both).
//!
//! Plugins are ordinary Rust natively: `cargo test` runs them against the pretended server of `testing`, which feeds streams and events, answers HTTP
//! requests, keeps files in memory and sets the clock.

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod glue;

pub mod auth;
pub mod clock;
pub mod control;
pub mod events;
pub mod filter;
pub mod http;
pub mod kv;
pub mod log;
pub mod metrics;
pub mod notify;
pub mod random;
pub mod recording;
pub mod resolver;
pub mod sink;
pub mod storage;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod transcoder;

mod config;
mod error;
mod frame;
mod host;
mod interest;
mod pattern;
mod plugin;
mod words;

/// `session` is what the API calls it and what [`control::kick`] takes, `query` what stood behind the `?` of the URL.
///
pub use bindings::imports::wasmtx::plugin::types::Client;
/// Its methods read `flags` and `lead_*`. `pts` and `dts` count in ticks of the track's `clock_rate`.
///
pub use bindings::imports::wasmtx::plugin::types::FrameInfo;
/// [`Error::invalid`] and [`Error::other`] make the usual ones, `?` one out of an error of a service.
///
pub use bindings::imports::wasmtx::plugin::types::PluginError as Error;
pub use bindings::imports::wasmtx::plugin::types::{Action, CloseReason, Media, Protocol, Publication, Track};
pub use frame::{Frame, FrameError, Held, Part, emit};
pub use pattern::Pattern;
pub use plugin::{NoConfig, Plugin, Snapshot};
/// Makes a JSON value in place, for bodies and events: `json!({ "path": path, "score": 0.8 })`.
pub use serde_json::json;

/// Makes the component's exports out of a type: `export!(MyPlugin: filter)`, or several roles, `export!(MyPlugin: auth, events)`.
///
/// The type has [`Plugin`] and for each role its trait: [`auth::Auth`] for `auth`, [`filter::Filter`] for `filter`, [`sink::Sink`] for `sink`,
/// [`transcoder::Transcoder`] for `transcoder`, [`events::Events`] for `events`, [`resolver::Resolver`] for `resolver`. Call it once per component.
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($role:ident),+ $(,)?) => {
        const _: () = {
            ::std::thread_local! {
                static INSTANCE: $crate::glue::Slot<$plugin> = const { $crate::glue::Slot::new() };
            }
            struct Component;
            impl $crate::glue::Exported for Component {
                type Plugin = $plugin;
                fn slot() -> &'static ::std::thread::LocalKey<$crate::glue::Slot<$plugin>> {
                    &INSTANCE
                }
            }
            $crate::bindings::lifecycle::export_lifecycle!(Component with_types_in $crate::bindings::lifecycle);
            $($crate::__export_role!($role);)+
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __export_role {
    (filter) => {
        $crate::bindings::filter::export_filter!(Component with_types_in $crate::bindings::filter);
    };
    (auth) => {
        $crate::bindings::auth::export_auth!(Component with_types_in $crate::bindings::auth);
    };
    (sink) => {
        $crate::bindings::sink::export_sink!(Component with_types_in $crate::bindings::sink);
    };
    (transcoder) => {
        $crate::bindings::transcoder::export_transcoder!(Component with_types_in $crate::bindings::transcoder);
    };
    (events) => {
        $crate::bindings::events::export_events!(Component with_types_in $crate::bindings::events);
    };
    (resolver) => {
        $crate::bindings::resolver::export_resolver!(Component with_types_in $crate::bindings::resolver);
    };
    ($other:ident) => {
        ::std::compile_error!(::std::concat!(
            "no role is called `",
            ::std::stringify!($other),
            "`: there are auth, filter, sink, transcoder, events and resolver"
        ));
    };
}

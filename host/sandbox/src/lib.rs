//! Where guests run: loading plugins, bounding what they may take, and chaining them into paths.
//!
//! A [`Registry`] holds the plugins of a server. [`Registry::chains`] turns the list of a path into a
//! [`wasmtx_hub::Stages`] (its filters, called synchronously for each frame on the publisher's task) and an [`AuthChain`]
//! (asked off the media path). A changed file is compiled aside and takes over between two frames; whatever a guest does,
//! the server, the other paths and, with the usual policy, the stream itself go on.
//!
//! Nothing here links WASI, opens a socket, or lets a guest run without a deadline and a memory limit.

mod admission;
mod aside;
mod auth;
mod bindings;
mod bundled;
mod cache;
mod chain;
mod compile;
mod component;
mod convert;
mod deadline;
mod engine;
mod entry;
mod error;
mod failure;
mod fiber;
mod histogram;
mod hits;
mod host;
pub mod inspect;
mod instance;
mod interest;
mod limits;
mod manage;
mod metrics;
mod observer;
mod plugin;
mod policy;
mod refused;
mod registry;
mod resolver;
mod sampler;
pub mod services;
mod share;
mod shelf;
mod sink;
#[cfg(test)]
mod testing;
mod ticker;
mod transcoder;
mod version;
mod watch;

pub use auth::AuthChain;
pub use bundled::{BUNDLED, TRANSCODING};
pub use compile::{COMPILE_ARGUMENT, Compiling, compile_worker};
pub use component::Role;
pub use error::Error;
pub use histogram::Times;
pub use host::{Grants, Kv, Reach};
pub use limits::Limits;
pub use metrics::{Condition, Conversions, Sample, Usage};
pub use observer::Observers;
pub use plugin::Status;
pub use policy::{AuthFailure, FilterFailure, OnError, SinkFailure, TranscoderFailure};
pub use registry::{Chains, PluginSpec, Registry, Source, Use};
pub use resolver::Resolvers;
pub use services::Services;
pub use sink::{Attendance, Attended, Sinks};
pub use transcoder::{Plan, Planned, Target};
pub use watch::Watch;

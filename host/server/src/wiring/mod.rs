//! From mediamtx.yml to the plain structs that the other rooms take.

mod control;
mod limits;
mod paths;
mod plans;
mod plugins;
mod rtsp;
mod services;

pub(crate) use control::{Late, Streams};
pub(crate) use paths::{PathChains, chains, rules};
pub(crate) use plans::{PathPlans, on_connect, plans};
pub(crate) use plugins::{specs, uses};
pub(crate) use rtsp::{identity_of, rtsp};
pub(crate) use services::services;

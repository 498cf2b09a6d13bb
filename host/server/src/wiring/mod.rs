//! From mediamtx.yml to the plain structs that the other rooms take.

mod paths;
mod plugins;
mod rtsp;

pub(crate) use paths::{PathChains, chains, rules};
pub(crate) use plugins::specs;
pub(crate) use rtsp::{identity_of, rtsp};

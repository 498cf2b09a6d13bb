//! From mediamtx.yml to the plain structs that the other rooms take.

mod codecs;
mod control;
mod files;
mod flv;
mod limits;
mod paths;
mod plans;
mod playback;
mod plugins;
mod recording;
mod rtmp;
mod rtsp;
mod services;
mod serving;

pub(crate) use codecs::gallery;
pub(crate) use control::{Late, Streams};
pub(crate) use files::place;
pub(crate) use flv::Flv;
pub(crate) use paths::{PathChains, chains, rules};
pub(crate) use plans::{PathDestinations, PathPlans, destinations, on_connect, plans};
pub(crate) use playback::Playback;
pub(crate) use plugins::{specs, uses};
pub(crate) use recording::{RECORDER, Recorder, Recorders, archived, recorders};
pub(crate) use rtmp::start_rtmp;
pub(crate) use rtsp::{identity_of, start_rtsp};
pub(crate) use services::{services, services_with};

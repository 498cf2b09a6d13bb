//! What flows through wasmtx: frames, tracks and the codecs' bitstreams.
//!
//! This room knows bytes and boxes and nothing else: no socket, no clock, no path, no reader. Every payload has one
//! canonical form per codec (see [`Codec`]), so that a frame means the same to every protocol, plugin and muxer.
#![forbid(unsafe_code)]

pub mod codec;
pub mod container;
mod error;
mod frame;
pub mod nal;
mod payload;
pub mod read;
pub mod recording;
mod track;

pub use error::Error;
pub use frame::{Flags, Frame, WallClock};
pub use payload::Payload;
pub use track::{Codec, Kind, Track, TrackId, Tracks, readable};

//! What a recorder does, whoever runs it: frames go in, files come out.
//!
//! A [`Recorder`] takes the frames of one stream in the order in which they come. It decides where files begin and end, makes
//! them with the muxers of `wasmtx-media`, and bears with a disk that does not take them. Everything outside is behind
//! [`Server`], so that the same code runs in a component, in tests and natively beside it in a benchmark.

mod lane;
mod muxer;
mod name;
mod recorder;
mod segment;
mod server;
#[cfg(test)]
mod tests;

pub(crate) use recorder::{Frame, Recorder};
pub(crate) use server::{Server, Told, Trouble};

use wasmtx_media::recording::{Format, Template};

/// What a recording is to be like. Times are in microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// How files are called.
    pub(crate) template: Template,
    /// How they are written.
    pub(crate) format: Format,
    /// Of a part, about: what a power cut may cost.
    pub(crate) part: i64,
    /// Bytes of a part: one that grows larger ends sooner.
    pub(crate) part_bytes: usize,
    /// Of a file, at least: it ends with the next keyframe.
    pub(crate) segment: i64,
}

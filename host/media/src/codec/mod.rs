//! One file per codec: its parameter sets, its headers, and the canonical shape of its frames.

pub mod aac;
pub mod ac3;
pub mod adts;
pub mod av1;
pub mod dts;
pub mod flac;
pub mod h264;
pub mod h265;
pub mod jpeg;
pub mod mp3;
pub mod opus;
pub mod pcm;
#[cfg(test)]
mod testdata;
pub mod vp8;
pub mod vp9;

//! What the server and the program `wasmtx-codec` say to each other ([`wire`]), and how sound keeps its time while it is
//! re-encoded ([`clock`]).
//!
//! The library links nothing of FFmpeg: the server uses it without. Only the program beside it does, so that the server
//! starts fast, runs where FFmpeg is not installed, and survives what a stranger's sound does to a decoder.

pub mod clock;
pub mod wire;
